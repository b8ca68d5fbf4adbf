// `penstock plugins list` and `penstock plugins info`.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "plugin/plugin.h"

namespace penstock::cli {

// Where plugins are looked for: the given directories, then those of the configuration if there is
// one, then the packaged one. A configuration that cannot be read is noted on err and left out.
std::vector<plugin::Directory> PluginDirectories(const std::vector<std::string>& given,
                                                 const std::string& config_file, std::ostream& err);

// Prints every candidate with its verdict; runs no plugin code. Always 0.
int ListPlugins(const std::vector<plugin::Directory>& directories, bool json, std::ostream& out);

// Loads NAME, as source, as sink or as both, and prints what it says of itself. "sink-NAME" means
// the sink only. 1 when there is none or it is refused.
int DescribePlugin(const std::vector<plugin::Directory>& directories, const std::string& name,
                   bool json, std::ostream& out, std::ostream& err);

}  // namespace penstock::cli
