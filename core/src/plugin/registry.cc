#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>

#include "plugin/elf.h"
#include "plugin/entry.h"
#include "plugin/file_name.h"
#include "plugin/image.h"
#include "plugin/libraries.h"
#include "plugin/plugin.h"
#include "plugin/trust.h"

namespace penstock::plugin {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNearDistance = 3;
constexpr size_t kMaxDirectoryEntries = 10'000;

class LoadedPlugin : public Plugin {
 public:
  explicit LoadedPlugin(std::string path) : path_(std::move(path)) {}
  const penstock_plugin& entry() const override { return entry_.table; }
  const std::string& path() const override { return path_; }
  Entry* mutable_entry() { return &entry_; }

 private:
  std::string path_;
  Entry entry_;
};

// A library that is in the process for good, and the file that it was read from.
struct Resident {
  std::string path;
  FileIdentity identity;
  bool fresh;
  LoadedLibrary library;
  Result<std::shared_ptr<Plugin>> outcome;  // what loading it again would give
};

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// "penstock:nats-jetstream 1.2.0 plugins/sink-nats-jetstream.so"
std::string CopyName(const Note& note, const fs::path& path) {
  const fs::path parent = path.parent_path().filename();
  return "penstock:" + note.id + " " + note.version + " " +
         Printable((parent / path.filename()).string());
}

Error InFile(const std::string& path, Error error) {
  error.message = Printable(path) + " " + error.message;
  return error;
}

}  // namespace

struct Registry::Impl {
  std::vector<Directory> directories;
  std::vector<Resident> residents;
  // What was read of files that have not changed since; a listing of fifty sources reads each file
  // once.
  mutable std::map<std::string, std::pair<FileIdentity, ElfFacts>> known;
  LibraryPaths library_paths = LibraryPaths::OfSystem();

  ElfFacts FactsOf(const std::string& path) const;
  Candidate Examine(const std::string& path, const FileName& name,
                    const Directory& directory) const;
  std::vector<Candidate> ListDirectory(const Directory& directory) const;
  std::vector<Candidate> ListAll() const;
  const Resident* FindUnchanged(Kind kind, std::string_view id) const;
  Resident* FindSame(const std::string& path, const FileCopy& copy);
  Result<std::shared_ptr<Plugin>> LoadFile(const Candidate& candidate, const Directory& directory);
  Result<std::shared_ptr<Plugin>> Instate(FileCopy copy, const ElfFacts& facts,
                                          const std::string& path);
  Error Unknown(Kind kind, std::string_view id, const std::vector<Candidate>& found) const;
};

ElfFacts Registry::Impl::FactsOf(const std::string& path) const {
  struct stat st {};
  if (stat(path.c_str(), &st) == 0) {
    const auto it = known.find(path);
    if (it != known.end() && it->second.first == FileIdentity::Of(st)) return it->second.second;
  }
  auto copy = ReadWhole(path);
  if (!copy) {
    ElfFacts facts;
    facts.refusal = copy.error().message;
    return facts;
  }
  ElfFacts facts = ReadElf(copy->bytes);
  if (!copy->identity.IsFresh()) known[path] = {copy->identity, facts};
  return facts;
}

Candidate Registry::Impl::Examine(const std::string& path, const FileName& name,
                                  const Directory& directory) const {
  Candidate out;
  out.path = path;
  out.kind = name.kind;
  out.id = name.id;
  const ElfFacts facts = FactsOf(path);
  if (facts.note) {
    if (!facts.note->id.empty()) {
      out.kind = facts.note->kind;
      out.id = facts.note->id;
    }
    out.version = facts.note->version;
    out.abi_major = facts.note->abi_major;
    out.abi_minor = facts.note->abi_minor;
  }
  out.refusal = TrustRefusal(path, directory);
  if (out.refusal.empty()) out.refusal = facts.refusal;
  if (out.refusal.empty()) out.refusal = MissingLibraries(facts, library_paths);
  return out;
}

// In name order. Of those that could be loaded, two with one id refuse each other, and the note
// must agree with the name.
std::vector<Candidate> Registry::Impl::ListDirectory(const Directory& directory) const {
  std::map<std::string, FileName> names;
  std::error_code ec;
  size_t entries = 0;
  for (fs::directory_iterator it(directory.path, ec), end; !ec && it != end; it.increment(ec)) {
    if (++entries > kMaxDirectoryEntries) break;
    if (auto name = ParseFileName(it->path().filename().string()))
      names.emplace(it->path().string(), *name);
  }
  std::vector<Candidate> out;
  std::map<std::pair<Kind, std::string>, std::vector<size_t>> claims;
  for (const auto& [path, name] : names) {
    out.push_back(Examine(path, name, directory));
    if (out.back().refusal.empty())
      claims[{out.back().kind, out.back().id}].push_back(out.size() - 1);
  }
  for (const auto& [claim, indices] : claims) {
    for (size_t index : indices) {
      Candidate& mine = out[index];
      const FileName& name = names.at(mine.path);
      if (indices.size() == 1) {
        mine.refusal = NameRefusal(name, Note{0, 0, mine.kind, mine.id, ""});
        continue;
      }
      const Candidate& other = out[index == indices[0] ? indices[1] : indices[0]];
      mine.refusal = "is the " + std::string(KindName(mine.kind)) + " " + mine.id + ", and so is " +
                     Printable(other.path) + " in the same directory; keep one of them there";
    }
  }
  return out;
}

std::vector<Candidate> Registry::Impl::ListAll() const {
  std::vector<Candidate> out;
  std::map<std::string, std::string> first;  // file name: path
  for (const Directory& directory : directories) {
    for (Candidate& candidate : ListDirectory(directory)) {
      const auto [it, fresh] =
          first.emplace(fs::path(candidate.path).filename().string(), candidate.path);
      if (!fresh) candidate.shadowed_by = it->second;
      out.push_back(std::move(candidate));
    }
  }
  return out;
}

// The short way for the second and every later instance of a plugin.
const Resident* Registry::Impl::FindUnchanged(Kind kind, std::string_view id) const {
  for (const Directory& directory : directories) {
    const std::string path = (fs::path(directory.path) / PluginFile(kind, id)).string();
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0) continue;
    if (stat(path.c_str(), &st) != 0) return nullptr;
    const auto it = std::ranges::find_if(residents, [&](const Resident& r) {
      return r.path == path && r.identity == FileIdentity::Of(st) && !r.fresh;
    });
    return it == residents.end() ? nullptr : &*it;
  }
  return nullptr;
}

Resident* Registry::Impl::FindSame(const std::string& path, const FileCopy& copy) {
  const auto it = std::ranges::find_if(residents, [&](const Resident& r) {
    return r.path == path && HoldsSame(r.library, copy.bytes);
  });
  if (it == residents.end()) return nullptr;
  it->identity = copy.identity;
  it->fresh = copy.identity.IsFresh();
  return &*it;
}

Result<std::shared_ptr<Plugin>> Registry::Impl::LoadFile(const Candidate& candidate,
                                                         const Directory& directory) {
  auto copy = ReadWhole(candidate.path);
  if (!copy) return tl::unexpected(std::move(copy.error()));
  if (const Resident* resident = FindSame(candidate.path, *copy)) return resident->outcome;
  // The verdict of the listing was on what the file held then.
  const ElfFacts facts = ReadElf(copy->bytes);
  std::string refusal = facts.refusal;
  if (refusal.empty()) refusal = MissingLibraries(facts, library_paths);
  if (refusal.empty())
    refusal =
        NameRefusal(*ParseFileName(fs::path(candidate.path).filename().string()), *facts.note);
  if (refusal.empty()) refusal = TrustRefusal(candidate.path, directory);
  if (!refusal.empty()) return Fail(Code::kConfig, refusal);
  return Instate(std::move(*copy), facts, candidate.path);
}

Result<std::shared_ptr<Plugin>> Registry::Impl::Instate(FileCopy copy, const ElfFacts& facts,
                                                        const std::string& path) {
  auto library = LoadCopy(copy.bytes, CopyName(*facts.note, path), path);
  if (!library) return tl::unexpected(std::move(library.error()));
  auto plugin = std::make_shared<LoadedPlugin>(path);
  auto good = FindEntry(library->library, *facts.note, plugin->mutable_entry());
  Result<std::shared_ptr<Plugin>> outcome = plugin;
  if (!good) outcome = tl::unexpected(std::move(good.error()));
  residents.push_back(
      {path, copy.identity, copy.identity.IsFresh(), std::move(*library), std::move(outcome)});
  return residents.back().outcome;
}

Error Registry::Impl::Unknown(Kind kind, std::string_view id,
                              const std::vector<Candidate>& found) const {
  std::string text = "no " + std::string(KindName(kind)) + " plugin \"" + Printable(id) +
                     "\": there is no file " + Printable(PluginFile(kind, id)) + " in ";
  for (size_t i = 0; i < directories.size(); ++i) {
    std::error_code ec;
    text += (i == 0                        ? ""
             : i + 1 == directories.size() ? " or "
                                           : ", ") +
            Printable(directories[i].path);
    const fs::directory_iterator probe(directories[i].path, ec);
    if (ec) text += " (" + ec.message() + ")";
  }
  if (directories.empty()) text += "any directory, for none is configured";
  size_t best = kNearDistance + 1;
  std::string nearest;
  for (const Candidate& candidate : found) {
    // "nats" is nearer to "nats-jetstream" than to "null".
    const bool part = id.size() >= 3 && candidate.id.find(id) != std::string::npos;
    const size_t distance = part ? 0 : EditDistance(id, candidate.id);
    if (candidate.kind != kind && candidate.id == id) {
      return {Code::kConfig, text + "; \"" + candidate.id + "\" is a " +
                                 std::string(KindName(candidate.kind)) + ", not a " +
                                 std::string(KindName(kind))};
    }
    if (candidate.kind != kind || distance >= best) continue;
    best = distance;
    nearest = candidate.id;
  }
  if (!nearest.empty())
    return {Code::kConfig, text + "; did you mean \"" + Printable(nearest) + "\"?"};
  return {Code::kConfig, text + "; `penstock plugins list` shows what is there"};
}

Registry::Registry(std::vector<Directory> directories) : impl_(std::make_unique<Impl>()) {
  SetDirectories(std::move(directories));
}

Registry::~Registry() = default;

void Registry::SetDirectories(std::vector<Directory> directories) {
  impl_->directories.clear();
  for (Directory& directory : directories) {
    directory.path = fs::absolute(directory.path).lexically_normal().string();
    if (directory.path.size() > 1 && directory.path.back() == '/') directory.path.pop_back();
    const auto same = std::ranges::find(impl_->directories, directory.path, &Directory::path);
    if (same == impl_->directories.end()) {
      impl_->directories.push_back(std::move(directory));
    } else {
      same->packaged = same->packaged || directory.packaged;
    }
  }
}

std::vector<Candidate> Registry::List() const { return impl_->ListAll(); }

Result<std::shared_ptr<Plugin>> Registry::Load(Kind kind, std::string_view id) {
  if (const Resident* resident = impl_->FindUnchanged(kind, id); resident && resident->outcome)
    return resident->outcome;
  const std::vector<Candidate> found = impl_->ListAll();
  const std::string file = PluginFile(kind, id);
  for (const Candidate& candidate : found) {
    const fs::path path(candidate.path);
    if (path.filename() != file) continue;
    if (!candidate.refusal.empty())
      return tl::unexpected(InFile(candidate.path, {Code::kConfig, candidate.refusal}));
    const auto directory =
        std::ranges::find(impl_->directories, path.parent_path().string(), &Directory::path);
    auto plugin = impl_->LoadFile(candidate, *directory);
    if (!plugin) return tl::unexpected(InFile(candidate.path, std::move(plugin.error())));
    return plugin;
  }
  return tl::unexpected(impl_->Unknown(kind, id, found));
}

}  // namespace penstock::plugin
