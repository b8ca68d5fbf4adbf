// The private copy that a plugin is checked and loaded from.
#pragma once

#include <sys/stat.h>

#include <boost/dll/shared_library.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "platform/result.h"

namespace penstock::plugin {

constexpr uint64_t kMaxPluginBytes = 256ull << 20;

// Tells one state of a file from another without reading it.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  int64_t mtime_ns = 0, ctime_ns = 0;

  static FileIdentity Of(const struct stat& st);
  // Whether the last change is so recent that another one could leave the same timestamps.
  bool IsFresh() const;
  bool operator==(const FileIdentity&) const = default;
};

struct FileCopy {
  std::vector<uint8_t> bytes;
  FileIdentity identity;
};

// Reads a regular file of at most kMaxPluginBytes. Fails when it changes meanwhile. The error is a
// sentence without the path. Blocks on the disk.
Result<FileCopy> ReadWhole(const std::string& path);

// A loaded library and what keeps it valid. Never destroyed once loading succeeded: glibc knows a
// library by its path, so that the descriptor's number must not be given out again.
struct LoadedLibrary {
  boost::dll::shared_library library;
  int fd = -1;  // of the copy
};

// Whether the copy that the library was loaded from holds exactly these bytes.
bool HoldsSame(const LoadedLibrary& library, std::span<const uint8_t> bytes);

enum class CopyPlace { kMemoryThenFile, kFileOnly };

// Copies the bytes where nobody can change them and loads them from there: a sealed memfd or, where
// the kernel forbids to run code from one, a private file in the state directory (or a temporary
// one). name shows in /proc/PID/maps and in core dumps. Runs the library's constructors. The error
// is a sentence in which path stands for the copy.
Result<LoadedLibrary> LoadCopy(std::span<const uint8_t> bytes, const std::string& name,
                               const std::string& path,
                               CopyPlace place = CopyPlace::kMemoryThenFile);

}  // namespace penstock::plugin
