#include "plugin/image.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace penstock::plugin {
namespace {

constexpr size_t kMaxMemfdName = 249;
// Longer than any kernel's timestamp step.
constexpr int64_t kTimestampStepNs = 100'000'000;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string Reason() { return std::strerror(errno); }

int64_t Nanoseconds(const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; }

bool WriteAll(int fd, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

// Fills bytes from the file's start. A file that ends early leaves zeros, which its size then
// shows.
bool ReadAll(int fd, std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = read(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

bool FileHolds(int fd, std::span<const uint8_t> bytes) {
  struct stat st {};
  if (fstat(fd, &st) != 0 || static_cast<size_t>(st.st_size) != bytes.size()) return false;
  std::vector<uint8_t> chunk(64 * 1024);
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = pread(fd, chunk.data(), chunk.size(), static_cast<off_t>(at));
    if (n <= 0 || static_cast<size_t>(n) > bytes.size() - at) return false;
    if (std::memcmp(chunk.data(), bytes.data() + at, static_cast<size_t>(n)) != 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

// Kernels know MFD_NOEXEC_SEAL since 6.3; it forbids execve, not mapping code, and is all that
// vm.memfd_noexec = 2 lets through.
int CreateMemfd(const std::string& name) {
  const std::string cut = name.substr(0, kMaxMemfdName);
  const int fd = memfd_create(cut.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return fd;
  return memfd_create(cut.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

// Whether code can be mapped from there; noexec mounts, systemd's NoExecPaths and security modules
// forbid it.
bool MayMapCode(int fd) {
  void* page = mmap(nullptr, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
  if (page == MAP_FAILED) return false;
  munmap(page, 1);
  return true;
}

// What the dynamic linker said, with the plugin's path instead of its copy's.
std::string LinkerText(const std::string& what, const std::string& copy, const std::string& path) {
  constexpr std::string_view kBegin = "(dlerror system message: ";
  std::string text = what;
  if (const size_t begin = text.find(kBegin); begin != text.npos) {
    text.erase(0, begin + kBegin.size());
    if (const size_t end = text.rfind(')'); end != text.npos) text.erase(end);
  }
  for (size_t at = 0; (at = text.find(copy, at)) != text.npos; at += path.size())
    text.replace(at, copy.size(), path);
  if (text.starts_with(path + ": ")) text.erase(0, path.size() + 2);
  return text;
}

std::string Remedy(const std::string& text) {
  const auto has = [&](std::string_view part) { return text.find(part) != text.npos; };
  if (has("undefined symbol"))
    return "; link it with the library that has the symbol (-Wl,-z,defs finds this when it is "
           "built)";
  if (has("' not found"))
    return "; it was built on a newer system or against a newer library: build it on this one, or "
           "upgrade the library";
  if (has("cannot open shared object file"))
    return "; a library that it needs needs this one in turn: install the package that provides it";
  if (has("static TLS")) return "; compile it without -ftls-model=initial-exec";
  return "; build it again for this system";
}

Result<boost::dll::shared_library> Open(const std::string& copy, const std::string& path) {
  namespace dll = boost::dll;
  constexpr auto kMode = dll::load_mode::rtld_now | dll::load_mode::rtld_local |
                         static_cast<dll::load_mode::type>(RTLD_NODELETE);
  try {
    return dll::shared_library(std::filesystem::path(copy), kMode);
  } catch (const std::exception& e) {
    const std::string text = LinkerText(e.what(), copy, path);
    return Fail(Code::kConfig, "cannot be loaded: " + text + Remedy(text));
  }
}

// Empty where code cannot be run from files.
std::optional<std::string> PrivateDirectory(std::string base, bool temporary) {
  struct statvfs fs {};
  if (statvfs(base.c_str(), &fs) != 0 || (fs.f_flag & ST_NOEXEC) != 0) return std::nullopt;
  if (temporary) {
    base += "/penstock-XXXXXX";
    if (mkdtemp(base.data()) == nullptr) return std::nullopt;
    return base;
  }
  base += "/plugin-copies";
  if (mkdir(base.c_str(), 0700) != 0 && errno != EEXIST) return std::nullopt;
  struct stat st {};
  const bool own = lstat(base.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
  if (!own || chmod(base.c_str(), 0700) != 0) return std::nullopt;
  return base;
}

Result<LoadedLibrary> LoadFromFile(std::span<const uint8_t> bytes, const std::string& path,
                                   const std::string& directory) {
  // glibc would take an earlier library for this one if a name came twice.
  static std::atomic<uint64_t> count{0};
  std::string copy =
      directory + "/" + std::to_string(getpid()) + "-" + std::to_string(++count) + "-XXXXXX.so";
  Fd fd(mkostemps(copy.data(), 3, O_CLOEXEC));
  if (fd.get() < 0) return Fail(Code::kFatal, "cannot be copied to " + directory + ": " + Reason());
  Result<LoadedLibrary> out = LoadedLibrary{};
  if (!WriteAll(fd.get(), bytes) || fchmod(fd.get(), 0400) != 0) {
    out = Fail(Code::kFatal,
               "cannot be copied to " + directory + ": " + Reason() + "; make room there");
  } else if (auto library = Open(copy, path); library) {
    out->library = std::move(*library);
    out->fd = fd.Release();
  } else {
    out = tl::unexpected(std::move(library.error()));
  }
  unlink(copy.c_str());
  return out;
}

Result<LoadedLibrary> LoadFromPrivateFile(std::span<const uint8_t> bytes, const std::string& path) {
  std::vector<std::pair<std::string, bool>> bases;
  if (const char* state = std::getenv("STATE_DIRECTORY"); state != nullptr && state[0] == '/')
    bases.emplace_back(std::string(state).substr(0, std::string_view(state).find(':')), false);
  if (const char* temporary = std::getenv("TMPDIR"); temporary != nullptr && temporary[0] == '/')
    bases.emplace_back(temporary, true);
  bases.emplace_back("/tmp", true);
  bases.emplace_back("/var/tmp", true);
  for (const auto& [base, temporary] : bases) {
    const auto directory = PrivateDirectory(base, temporary);
    if (!directory) continue;
    auto out = LoadFromFile(bytes, path, *directory);
    if (temporary) rmdir(directory->c_str());
    return out;
  }
  return Fail(Code::kFatal,
              "cannot be loaded: this system forbids running code from memory files, and no "
              "directory for a private "
              "copy allows it either; set STATE_DIRECTORY to a directory of this user on a file "
              "system that is not "
              "mounted noexec");
}

}  // namespace

FileIdentity FileIdentity::Of(const struct stat& st) {
  return {st.st_dev, st.st_ino, st.st_size, Nanoseconds(st.st_mtim), Nanoseconds(st.st_ctim)};
}

bool FileIdentity::IsFresh() const {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t age = Nanoseconds(now) - ctime_ns;
  return age < kTimestampStepNs;
}

Result<FileCopy> ReadWhole(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() < 0) return Fail(Code::kConfig, "cannot be opened: " + Reason());
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return Fail(Code::kConfig, "cannot be examined: " + Reason());
  if (!S_ISREG(st.st_mode))
    return Fail(Code::kConfig, "is not a regular file; remove or rename it");
  if (static_cast<uint64_t>(st.st_size) > kMaxPluginBytes) {
    return Fail(Code::kConfig,
                "is larger than the bound of 256 MiB: " + std::to_string(st.st_size) +
                    " bytes; is it a plugin? strip removes debug information");
  }
  FileCopy copy;
  copy.identity = FileIdentity::Of(st);
  copy.bytes.resize(static_cast<size_t>(st.st_size));
  if (!ReadAll(fd.get(), copy.bytes)) return Fail(Code::kConfig, "cannot be read: " + Reason());
  // Timestamps step too slowly to show a change within the last moment; a second look does.
  const bool same = fstat(fd.get(), &st) == 0 && FileIdentity::Of(st) == copy.identity &&
                    (!copy.identity.IsFresh() || FileHolds(fd.get(), copy.bytes));
  if (!same) {
    return Fail(Code::kRetry,
                "is being written to at this moment; try again when the copy is complete");
  }
  return copy;
}

bool HoldsSame(const LoadedLibrary& library, std::span<const uint8_t> bytes) {
  return FileHolds(library.fd, bytes);
}

Result<LoadedLibrary> LoadCopy(std::span<const uint8_t> bytes, const std::string& name,
                               const std::string& path, CopyPlace place) {
  if (place == CopyPlace::kFileOnly) return LoadFromPrivateFile(bytes, path);
  Fd fd(CreateMemfd(name));
  if (fd.get() < 0 && errno != EACCES && errno != EPERM && errno != ENOSYS)
    return Fail(Code::kFatal, "cannot be copied to memory: " + Reason());
  if (fd.get() < 0) return LoadFromPrivateFile(bytes, path);
  if (!WriteAll(fd.get(), bytes))
    return Fail(Code::kFatal, "cannot be copied to memory: " + Reason());
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return Fail(Code::kFatal, "cannot be sealed in memory: " + Reason());
  const std::string copy = "/proc/self/fd/" + std::to_string(fd.get());
  if (!MayMapCode(fd.get()) || access(copy.c_str(), R_OK) != 0)
    return LoadFromPrivateFile(bytes, path);
  auto library = Open(copy, path);
  if (!library) return tl::unexpected(std::move(library.error()));
  return LoadedLibrary{std::move(*library), fd.Release()};
}

}  // namespace penstock::plugin
