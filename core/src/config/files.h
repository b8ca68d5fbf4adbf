// Bytes from disk, bounded. Private to this folder.
#pragma once

#include <string>
#include <vector>

#include "config/node.h"
#include "config/text.h"
#include "platform/result.h"

namespace penstock::config {

// The whole of a regular file. Never blocks on a pipe or a device. The message does not repeat the
// path.
Result<std::string> ReadWholeFile(const std::string& path, size_t most);

// main_file and conf.d/*.toml beside it, in name order. What cannot be read is a finding, and sets
// *incomplete.
std::vector<FileText> ReadConfigFiles(const std::string& main_file, Findings* findings,
                                      bool* incomplete);

// A path in a configuration file, taken from the folder of that file when it is relative, so that
// it means the same whoever reads it.
std::string ResolvePath(const Place& place, std::string_view path);

// The folder that the file stands in; "." when the path has none.
std::string FolderOf(const std::string& path);

}  // namespace penstock::config
