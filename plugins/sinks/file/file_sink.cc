// The sink that appends one line of JSON for each event to a file.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cstring>

#include "lines/line_sink.h"

namespace {

using penstock::Option;

std::string Reason(int error) { return std::strerror(error); }

// The permission bits behind "0640"; -1 when the text is no octal number up to 0777.
int ParseMode(const std::string& text) {
  if (text.empty() || text.size() > 4) return -1;
  int mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') return -1;
    mode = mode * 8 + (c - '0');
  }
  return mode <= 0777 ? mode : -1;
}

class FileSink final : public penstock::lines::LineSink<FileSink> {
 public:
  static constexpr Option kOptions[] = {
      Option::String("path").Required().Help("The file to append to, with its full path."),
      Option::Size("rotate_size")
          .Default("0")
          .Range(0, int64_t{1} << 50)
          .Help("Start a new file before this one grows beyond this size; 0: never."),
      Option::Int("rotate_keep")
          .Default("5")
          .Range(1, 10000)
          .Help("How many full files to keep beside the current one, as PATH.1 (the newest) to "
                "PATH.N."),
      Option::String("fsync")
          .Default("batch")
          .Choices("never|batch")
          .Help("batch: an event counts as delivered once it is on the disk; never: once it is "
                "written."),
      Option::String("mode").Default("0640").Help("Permissions of a file that the sink creates."),
  };

  static void Check(const penstock::Config& config, const penstock::Report& report) {
    const std::string path = config.Str("path");
    if (path.empty() || path[0] != '/' || path.back() == '/')
      report.Error("path", "\"" + path + "\" is not the full path of a file; write it from / on");
    if (ParseMode(config.Str("mode")) < 0)
      report.Error("mode",
                   "\"" + config.Str("mode") +
                       "\" is no set of permissions; expected octal digits, as in \"0640\"");
    if (config.IsSet("rotate_keep") && config.Int("rotate_size") == 0)
      report.Warning("rotate_keep", "has no effect without rotate_size");
  }

  FileSink(const penstock::Host& host, const penstock::Config& config)
      : LineSink(host, config),
        path_(config.Str("path")),
        rotate_size_(config.Size("rotate_size")),
        rotate_keep_(static_cast<int>(config.Int("rotate_keep"))),
        sync_(config.Str("fsync") == "batch"),
        mode_(static_cast<mode_t>(ParseMode(config.Str("mode")))) {}
  ~FileSink() override {
    JoinWriter();
    Close();
  }

  void Start() override { StartWriter(); }

 private:
  friend class penstock::lines::LineSink<FileSink>;
  static constexpr std::chrono::seconds kRetryEvery{1};
  static constexpr std::chrono::seconds kLookEvery{1};

  void Open() {
    while (!TryOpen())
      if (!SleepFor(kRetryEvery)) return;
  }

  size_t Write(std::string_view text, const std::vector<size_t>& ends) {
    size_t done = 0;  // lines
    while (done < ends.size()) {
      if (!Usable()) {
        if (!SleepFor(kRetryEvery)) break;
        continue;
      }
      const size_t begin = done == 0 ? 0 : ends[done - 1];
      const size_t last = LastThatFits(ends, done, begin);
      if (last == done) {
        if (!Rotate() && !SleepFor(kRetryEvery)) break;
        continue;
      }
      if (Append(text.substr(begin, ends[last - 1] - begin))) {
        done = last;
      } else if (!SleepFor(kRetryEvery)) {
        break;
      }
    }
    return done;
  }

  // How many lines from the front may go into the current file; at least one into an empty file.
  size_t LastThatFits(const std::vector<size_t>& ends, size_t done, size_t begin) const {
    if (rotate_size_ == 0) return ends.size();
    size_t last = done;
    while (last < ends.size() && size_ + (ends[last] - begin) <= rotate_size_) ++last;
    return last == done && size_ == 0 ? done + 1 : last;
  }

  // Whether the file at path_ is open, and free of the tail of a failed write.
  bool Usable() {
    const auto now = std::chrono::steady_clock::now();
    if (fd_ >= 0 && now - looked_ >= kLookEvery) {
      looked_ = now;
      LookForAnother();
    }
    return fd_ >= 0 ? CutBack() : TryOpen();
  }

  // logrotate and its like move the file away, or cut it to nothing.
  void LookForAnother() {
    struct stat open {
    }, named{};
    const bool same = ::fstat(fd_, &open) == 0 && ::stat(path_.c_str(), &named) == 0 &&
                      open.st_dev == named.st_dev && open.st_ino == named.st_ino;
    if (same) {
      size_ = static_cast<size_t>(open.st_size) - tail_;
    } else {
      CutBack();
      Close();
    }
  }

  bool TryOpen() {
    fd_ = ::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, mode_);
    if (fd_ < 0) {
      const bool no_directory = errno == ENOENT || errno == ENOTDIR;
      return Trouble("cannot open " + path_ + " (" + Reason(errno) + ")" +
                     (no_directory ? "; create its directory" : "") +
                     "; trying again every second");
    }
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      Close();
      return Trouble(path_ + " is not a regular file; give another path, or remove what is there");
    }
    // Whoever cuts a failed write off must be the only writer.
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      Close();
      return Trouble(path_ +
                     " is being written by another sink or process; give each its own file");
    }
    looked_ = std::chrono::steady_clock::now();
    size_ = static_cast<size_t>(info.st_size);
    tail_ = 0;
    if (!EndLastLine()) return false;
    SyncDirectory();
    return Fine();
  }

  // A crash may have left the beginning of a line: the next event starts on its own.
  bool EndLastLine() {
    char last = '\n';
    if (size_ == 0 || (::pread(fd_, &last, 1, static_cast<off_t>(size_ - 1)) == 1 && last == '\n'))
      return true;
    if (!Append("\n")) return false;
    host().Warn(path_ + " ended in an unfinished line; it was closed with a newline");
    return true;
  }

  // Writes all of text and makes it as safe as asked for, or takes it back.
  bool Append(std::string_view text) {
    size_t written = 0;
    while (written < text.size()) {
      const ssize_t n = ::write(fd_, text.data() + written, text.size() - written);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return Undo("cannot write to ", n < 0 ? errno : ENOSPC);
      written += static_cast<size_t>(n);
      tail_ += static_cast<size_t>(n);
    }
    // After a failed sync nobody knows what is on the disk, so the lines are cut off and written
    // anew.
    if (sync_ && ::fdatasync(fd_) != 0) return Undo("cannot sync ", errno);
    size_ += text.size();
    tail_ = 0;
    return Fine();
  }

  bool Undo(const char* what, int error) {
    Trouble(what + path_ + " (" + Reason(error) + "); trying again every second" +
            (error == ENOSPC || error == EDQUOT ? "; make room" : ""));
    CutBack();
    return false;
  }

  bool CutBack() {
    if (tail_ == 0) return true;
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || ::ftruncate(fd_, info.st_size - static_cast<off_t>(tail_)) != 0)
      return Trouble("cannot cut an unfinished line off " + path_ + " (" + Reason(errno) +
                     "); trying again every second");
    tail_ = 0;
    return true;
  }

  // PATH.N goes, PATH.N-1 becomes PATH.N, and so on; then PATH becomes PATH.1.
  bool Rotate() {
    for (int i = rotate_keep_ - 1; i >= 0; --i) {
      const std::string from = i == 0 ? path_ : path_ + "." + std::to_string(i);
      const std::string to = path_ + "." + std::to_string(i + 1);
      if (::rename(from.c_str(), to.c_str()) == 0 || errno == ENOENT) continue;
      return Trouble("cannot rename " + from + " to " + to + " (" + Reason(errno) +
                     "); trying again every second");
    }
    Close();
    return true;
  }

  void SyncDirectory() {
    if (!sync_) return;
    const std::string directory = path_.substr(0, std::max<size_t>(path_.rfind('/'), 1));
    const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || ::fsync(fd) != 0)
      host().Warn("cannot sync the directory " + directory + " (" + Reason(errno) +
                  "): after a power cut the file itself may be missing");
    if (fd >= 0) ::close(fd);
  }

  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  bool Trouble(const std::string& text) {
    if (text != trouble_) host().Connecting(text);
    trouble_ = text;
    ready_ = false;
    return false;
  }
  bool Fine() {
    if (!ready_) host().Ready(path_);
    ready_ = true;
    trouble_.clear();
    return true;
  }

  const std::string path_;
  const size_t rotate_size_;
  const int rotate_keep_;
  const bool sync_;
  const mode_t mode_;

  int fd_ = -1;
  size_t size_ = 0;     // of the file, up to the last line that is whole
  size_t tail_ = 0;     // bytes behind size_, of a write or a sync that failed
  bool ready_ = false;  // as the host was told
  std::string trouble_;
  std::chrono::steady_clock::time_point looked_;
};

}  // namespace

PENSTOCK_SINK_PLUGIN(FileSink, "file", PENSTOCK_VERSION,
                     "Appends one line of JSON for each event to a file.")
