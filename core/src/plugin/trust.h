// Who could have put code there: owner and mode of a plugin, of its directory and of all that leads
// to it.
#pragma once

#include <sys/stat.h>

#include <string>

#include "plugin/plugin.h"

namespace penstock::plugin {

// Why nobody but root (or, outside a packaged directory, the user that this process runs as) can be
// sure of what is at path; empty when one can. path is absolute; follows every symbolic link on the
// way. Reads no file. Any thread.
std::string TrustRefusal(const std::string& path, const Directory& directory);

}  // namespace penstock::plugin
