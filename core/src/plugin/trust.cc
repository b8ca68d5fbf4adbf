#include "plugin/trust.h"

#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <deque>
#include <filesystem>

#include "plugin/elf.h"

namespace penstock::plugin {
namespace {

constexpr int kMaxLinks = 40;

std::string UserName(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr)
    return found->pw_name;
  return "user " + std::to_string(uid);
}

// Follows a path component by component, as the kernel does, and judges all that it meets.
class Walk {
 public:
  Walk(const std::string& path, const Directory& directory) : packaged_(directory.packaged) {
    std::error_code ignored;  // then nothing equals it, and the walk itself fails with the reason
    directory_ = std::filesystem::canonical(directory.path, ignored);
    Push(path);
  }

  std::string Run() {
    std::string refusal = Judge("/", true);
    while (refusal.empty() && !rest_.empty()) {
      const std::string name = std::move(rest_.front());
      rest_.pop_front();
      refusal = Step(name);
    }
    return refusal;
  }

 private:
  void Push(const std::filesystem::path& path) {
    if (path.is_absolute()) at_ = "/";
    const auto relative = path.relative_path();
    rest_.insert(rest_.begin(), relative.begin(), relative.end());
  }

  std::string Step(const std::string& name) {
    if (name.empty() || name == ".") return "";
    if (name == "..") {
      at_ = at_.parent_path();
      return "";
    }
    const std::filesystem::path next = at_ / name;
    struct stat st {};
    if (lstat(next.c_str(), &st) != 0)
      return "cannot be examined: " + next.string() + ": " + std::strerror(errno);
    if (S_ISLNK(st.st_mode)) {
      if (++links_ > kMaxLinks)
        return "is reached through too many symbolic links; use the real path";
      if (std::string why = JudgeOwner(next, st, "the symbolic link "); !why.empty()) return why;
      std::error_code ec;
      const auto target = std::filesystem::read_symlink(next, ec);
      if (ec) return "cannot be examined: " + next.string() + ": " + ec.message();
      Push(target);
      return "";
    }
    at_ = next;
    return Judge(next, !rest_.empty());
  }

  std::string JudgeOwner(const std::filesystem::path& path, const struct stat& st,
                         const std::string& what) const {
    if (st.st_uid == 0 || (!packaged_ && st.st_uid == geteuid())) return "";
    const std::string who = packaged_ || geteuid() == 0 ? "root" : "root or " + UserName(geteuid());
    return "cannot be trusted: " + what + Printable(path.string()) + " belongs to " +
           UserName(st.st_uid) + ", who could replace the code; it must belong to " + who +
           ": chown " + (packaged_ ? "root" : UserName(geteuid())) + " " + Printable(path.string());
  }

  std::string Judge(const std::filesystem::path& path, bool directory) const {
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0)
      return "cannot be examined: " + path.string() + ": " + std::strerror(errno);
    const std::string what = directory ? "the directory " : "the file ";
    if (std::string why = JudgeOwner(path, st, what); !why.empty()) return why;
    // In a sticky directory others can add files, but cannot rename or remove what is not theirs.
    // That is enough on the way to the plugins, not where they lie.
    const bool excused = directory && (st.st_mode & S_ISVTX) != 0 && path != directory_;
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0 || excused) return "";
    const bool others = (st.st_mode & S_IWOTH) != 0;
    return "cannot be trusted: " + what + Printable(path.string()) + " is writable by " +
           (others ? "everybody" : "its group") + ", who could replace the code: chmod go-w " +
           Printable(path.string());
  }

  std::filesystem::path at_ = "/";
  std::deque<std::string> rest_;
  std::filesystem::path directory_;
  bool packaged_;
  int links_ = 0;
};

}  // namespace

std::string TrustRefusal(const std::string& path, const Directory& directory) {
  return Walk(path, directory).Run();
}

}  // namespace penstock::plugin
