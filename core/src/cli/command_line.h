// The command line: what the user wrote, and the command that it means.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace penstock::cli {

// Parses arguments (without the program's name), runs the command and returns the exit code: 0, 1
// for a failure, 2 for wrong usage, 78 for the configuration. plugin_dir_variable is the value of
// PENSTOCK_PLUGIN_DIR, or empty.
int Main(const std::vector<std::string>& arguments, const std::string& plugin_dir_variable,
         std::ostream& out, std::ostream& err);

}  // namespace penstock::cli
