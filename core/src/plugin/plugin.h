// Finds, verifies and loads plugins. Listing runs no plugin code; loading works on a private,
// sealed copy, so that what was checked is what runs, and overwriting the file later touches
// nobody.
#pragma once

#include <penstock/plugin.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "platform/result.h"

namespace penstock::plugin {

enum class Kind { kSource = PENSTOCK_SOURCE, kSink = PENSTOCK_SINK };
std::string_view KindName(Kind kind);  // "source", "sink"

// What the note of a file says, and whether the file could be loaded.
struct Candidate {
  std::string path;
  Kind kind = Kind::kSource;
  std::string id;
  std::string version;
  uint32_t abi_major = 0, abi_minor = 0;
  std::string refusal;      // empty: loadable. Else one sentence: what, why, what to do
  std::string shadowed_by;  // the path in an earlier directory that wins over this one; empty: none
};

// A loaded plugin. Lives as long as the process; the library is never unloaded.
class Plugin {
 public:
  Plugin() = default;
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  virtual ~Plugin() = default;
  virtual const penstock_plugin& entry() const = 0;  // checked: magic, sizes, callbacks of its kind
  virtual const std::string& path() const = 0;       // the file that it was copied from
};

struct Directory {
  std::string path;
  // Owned by the package manager: files must belong to root. Elsewhere the daemon's own user is
  // accepted too.
  bool packaged = false;
};

// The plugins of some directories. Not thread-safe; used by the control thread.
class Registry {
 public:
  explicit Registry(std::vector<Directory> directories = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Looks there from now on; what is loaded stays so.
  void SetDirectories(std::vector<Directory> directories);

  // Every file named source-*.so or sink-*.so of every directory, in search order, with its
  // verdict. Reads notes only.
  std::vector<Candidate> List() const;

  // Verifies and loads. The same id again gives the same object, as long as the file on disk is the
  // same. The error names the path and says why and what to do; for an unknown id it lists the
  // directories searched and the nearest id found.
  Result<std::shared_ptr<Plugin>> Load(Kind kind, std::string_view id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::plugin
