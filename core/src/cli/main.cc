#include <cstdlib>
#include <exception>
#include <iostream>

#include "cli/command_line.h"

int main(int argc, char** argv) {
  try {
    const char* directories = std::getenv("PENSTOCK_PLUGIN_DIR");
    return penstock::cli::Main({argv + 1, argv + argc}, directories == nullptr ? "" : directories,
                               std::cout, std::cerr);
  } catch (const std::exception& e) {
    std::cerr << "penstock: failed unexpectedly: " << e.what() << "\n";
    return EXIT_FAILURE;
  }
}
