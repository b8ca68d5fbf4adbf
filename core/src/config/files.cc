#include "config/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

namespace penstock::config {
namespace {

constexpr size_t kFileMost = 1 << 20;
constexpr size_t kFilesMost = 1000;
constexpr size_t kAllFilesMost = 16 << 20;

std::string Reason(int error) { return std::generic_category().message(error); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// A file masked with a link to /dev/null is an empty one.
bool IsNullDevice(const struct stat& info) {
  return S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);
}

bool HasName(const dirent& entry) {
  const std::string_view name = entry.d_name;
  return !name.starts_with(".") && name.ends_with(".toml");
}

// The names of the drop-in files; a folder that is not there has none.
Result<std::vector<std::string>> DropInNames(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), &::closedir);
  if (!dir) {
    if (errno == ENOENT) return names;
    return Fail(Code::kConfig, Cat("the folder cannot be read: ", Reason(errno)));
  }
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (HasName(*entry)) names.emplace_back(entry->d_name);
    errno = 0;
  }
  if (errno != 0) return Fail(Code::kConfig, Cat("the folder cannot be read: ", Reason(errno)));
  if (names.size() > kFilesMost) {
    return Fail(Code::kConfig,
                Cat("the folder holds more than ", std::to_string(kFilesMost), " files"));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string ResolvePath(const Place& place, std::string_view path) {
  if (path.starts_with('/') || !place.file) return std::string(path);
  return Cat(FolderOf(*place.file), "/", path);
}

Result<std::string> ReadWholeFile(const std::string& path, size_t most) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) {
    return Fail(Code::kConfig, Cat("cannot be read: ", Reason(errno)));
  }
  if (S_ISDIR(info.st_mode)) return Fail(Code::kConfig, "is a directory, expected a file");
  if (IsNullDevice(info)) return std::string();
  if (!S_ISREG(info.st_mode)) return Fail(Code::kConfig, "is not a regular file");
  std::string out;
  while (out.size() <= most) {
    const size_t before = out.size();
    out.resize(std::min(most + 1, before + 64 * 1024));
    const ssize_t n = ::read(file.get(), out.data() + before, out.size() - before);
    if (n < 0 && errno != EINTR) return Fail(Code::kConfig, Cat("cannot be read: ", Reason(errno)));
    out.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) return out;
  }
  return Fail(Code::kConfig, Cat("is larger than ", FormatSize(most), ", the most that is read"));
}

std::vector<FileText> ReadConfigFiles(const std::string& main_file, Findings* findings,
                                      bool* incomplete) {
  std::vector<FileText> files;
  size_t left = kAllFilesMost;
  const auto read = [&](const std::string& path, std::string_view hint) {
    auto text = ReadWholeFile(path, std::min(kFileMost, left));
    if (text) {
      left -= text->size();
      files.push_back({path, std::move(*text)});
    } else {
      *incomplete = true;
      findings->Error({path, 0, 0}, Cat(text.error().message, hint));
    }
  };
  read(main_file, "; name the configuration with --config FILE");
  const std::string folder = FolderOf(main_file) + "/conf.d";
  const auto names = DropInNames(folder);
  if (!names) {
    *incomplete = true;
    findings->Error({folder, 0, 0}, names.error().message);
    return files;
  }
  for (const std::string& name : *names) read(Cat(folder, "/", name), "");
  return files;
}

}  // namespace penstock::config
