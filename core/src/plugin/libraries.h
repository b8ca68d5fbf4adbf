// Whether the libraries that a plugin needs are there, asked before anything is loaded.
#pragma once

#include <string>
#include <vector>

#include "plugin/elf.h"

namespace penstock::plugin {

// Where the dynamic linker looks. The defaults are this machine's.
struct LibraryPaths {
  std::string cache_file = "/etc/ld.so.cache";
  std::vector<std::string> directories;

  static LibraryPaths OfSystem();
};

// Empty when the dynamic linker will find every library that the file names; else the sentence that
// lists those that it will not. Loads nothing. What those libraries need in turn comes out at
// loading.
std::string MissingLibraries(const ElfFacts& facts, const LibraryPaths& paths);

}  // namespace penstock::plugin
