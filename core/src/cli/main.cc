#include <cstdlib>
#include <exception>
#include <iostream>

#include "cli/command_line.h"

int main(int argc, char** argv) {
  try {
    const char* directories = std::getenv("PENSTOCK_PLUGIN_DIR");
    const int code = penstock::cli::Main(
        {argv + 1, argv + argc}, directories == nullptr ? "" : directories, std::cout, std::cerr);
    std::cout.flush();
    std::cerr.flush();
    // A plugin's library may have left a thread behind (nats.c before 3.11 in a TLS handshake that
    // never ends), which would run into what other libraries tear down at exit.
    std::_Exit(code);
  } catch (const std::exception& e) {
    std::cerr << "penstock: failed unexpectedly: " << e.what() << "\n";
    return EXIT_FAILURE;
  }
}
