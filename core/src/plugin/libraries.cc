#include "plugin/libraries.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>
#include <string_view>

namespace penstock::plugin {
namespace {

// The format that ldconfig writes since glibc 2.2, alone or behind an older table.
constexpr std::string_view kCacheMagic = "glibc-ld.so.cache1.1";
struct CacheHeader {
  char magic[20];
  uint32_t count, strings_size;
  uint32_t unused[5];
};
struct CacheEntry {
  int32_t flags;
  uint32_t name, path, os_version;
  uint64_t hwcap;
};
static_assert(sizeof(CacheHeader) == 48 && sizeof(CacheEntry) == 24);

#if defined(__x86_64__)
constexpr int32_t kCacheFlags = 0x0303;
constexpr char kMultiarch[] = "x86_64-linux-gnu";
#elif defined(__aarch64__)
constexpr int32_t kCacheFlags = 0x0a03;
constexpr char kMultiarch[] = "aarch64-linux-gnu";
#else
constexpr int32_t kCacheFlags = -1;  // any
constexpr char kMultiarch[] = "";
#endif

// The names that the cache knows for this CPU. Empty when there is no cache or none that can be
// read.
std::set<std::string> ReadCache(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const size_t start = bytes.find(kCacheMagic);
  std::set<std::string> names;
  CacheHeader header;
  if (start == bytes.npos || bytes.size() - start < sizeof header) return names;
  const std::string_view table = std::string_view(bytes).substr(start);
  std::memcpy(&header, table.data(), sizeof header);
  if (header.count > (table.size() - sizeof header) / sizeof(CacheEntry)) return names;
  for (uint32_t i = 0; i < header.count; ++i) {
    CacheEntry entry;
    std::memcpy(&entry, table.data() + sizeof header + i * sizeof entry, sizeof entry);
    if (kCacheFlags >= 0 && entry.flags != kCacheFlags) continue;
    const auto text = [&](uint32_t at) {
      if (at >= table.size()) return std::string();
      return std::string(table.data() + at, strnlen(table.data() + at, table.size() - at));
    };
    if (const std::string file = text(entry.path);
        !file.empty() && access(file.c_str(), R_OK) == 0) {
      names.insert(text(entry.name));
    }
  }
  return names;
}

void SplitInto(const char* list, std::vector<std::string>* out) {
  if (list == nullptr) return;
  std::string_view rest = list;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find_first_of(":;"), rest.size());
    if (end > 0) out->emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

bool IsLoaded(const std::string& name) {
  void* handle = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return false;
  dlclose(handle);
  return true;
}

bool InDirectories(const std::string& name, const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    if (directory.empty() || directory[0] != '/') continue;
    if (access((directory + "/" + name).c_str(), R_OK) == 0) return true;
  }
  return false;
}

// A sanitizer's runtime that is not there from the process's start ends the process when it is
// loaded.
bool IsSanitizer(const std::string& name) {
  constexpr std::string_view kRuntimes[] = {"libasan.so", "libtsan.so", "liblsan.so",
                                            "libhwasan.so"};
  return std::any_of(std::begin(kRuntimes), std::end(kRuntimes),
                     [&](std::string_view runtime) { return name.starts_with(runtime); });
}

}  // namespace

LibraryPaths LibraryPaths::OfSystem() {
  LibraryPaths paths;
  if (getauxval(AT_SECURE) == 0) SplitInto(std::getenv("LD_LIBRARY_PATH"), &paths.directories);
  for (const char* base : {"/lib/", "/usr/lib/"}) {
    if (kMultiarch[0] != '\0') paths.directories.push_back(std::string(base) + kMultiarch);
  }
  for (const char* directory : {"/lib64", "/usr/lib64", "/lib", "/usr/lib"})
    paths.directories.push_back(directory);
  return paths;
}

std::string MissingLibraries(const ElfFacts& facts, const LibraryPaths& paths) {
  std::vector<std::string> missing;
  std::set<std::string> cached;
  bool cache_read = false;
  for (const std::string& name : facts.needed) {
    if (IsSanitizer(name) && !IsLoaded(name)) {
      return "is built with a sanitizer (" + Printable(name) +
             "), which would end a process that is built without; build it without -fsanitize";
    }
    if (name.find('/') != name.npos) {
      if (name[0] != '/' || access(name.c_str(), R_OK) != 0) missing.push_back(name);
      continue;
    }
    if (InDirectories(name, facts.run_path) || InDirectories(name, paths.directories) ||
        IsLoaded(name))
      continue;
    if (!cache_read) cached = ReadCache(paths.cache_file);
    cache_read = true;
    if (cached.count(name) == 0) missing.push_back(name);
  }
  if (missing.empty()) return "";
  std::string list;
  for (size_t i = 0; i < missing.size(); ++i) {
    if (i > 0) list += i + 1 == missing.size() ? " and " : ", ";
    list += Printable(missing[i]);
  }
  const bool one = missing.size() == 1;
  return "needs " + std::string(one ? "a library that is" : "libraries that are") +
         " not installed: " + list + "; install the package" +
         (one ? " that provides it" : "s that provide them") +
         " (if installed outside the system's directories, run ldconfig)";
}

}  // namespace penstock::plugin
