// The sink that prints one line of JSON for each event.
#include <limits.h>
#include <sys/stat.h>

#include <cstring>

#include "lines/line_sink.h"

namespace {

class StdoutSink final : public penstock::lines::LineSink<StdoutSink> {
 public:
  StdoutSink(const penstock::Host& host, const penstock::Config& config) : LineSink(host, config) {}
  ~StdoutSink() override { JoinWriter(); }

  void Start() override { StartWriter(); }

 private:
  friend class penstock::lines::LineSink<StdoutSink>;
  static constexpr int kOut = STDOUT_FILENO;
  // What poll() promises to be writable without blocking: a pipe with less room is not writable.
  static constexpr size_t kStep = PIPE_BUF;
  static constexpr std::chrono::seconds kRetryEvery{1};
  static constexpr std::chrono::milliseconds kTurnEvery{5};

  void Open() {
    struct stat info {};
    if (::fstat(kOut, &info) != 0) {
      Gone(errno);
      return;
    }
    step_ = S_ISREG(info.st_mode) ? kChunkBytes : kStep;
    host().Ready("standard output");
  }

  size_t Write(std::string_view text, const std::vector<size_t>& ends) {
    // Two such sinks in one process must not cut each other's lines.
    static std::mutex turn;
    std::unique_lock lock(turn, std::defer_lock);
    while (!lock.try_lock())
      if (!SleepFor(kTurnEvery)) return 0;
    size_t written = 0;
    while (written < text.size() && WaitWritable(kOut)) {
      const ssize_t n =
          ::write(kOut, text.data() + written, std::min(step_, text.size() - written));
      if (n >= 0) {
        written += static_cast<size_t>(n);
        if (waiting_) host().Ready("standard output");
        waiting_ = false;
      } else if (errno == EPIPE || errno == EBADF) {
        Gone(errno);
        break;
      } else if (errno != EINTR && errno != EAGAIN && !WaitAfter(errno)) {
        break;
      }
    }
    return static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), written) - ends.begin());
  }

  void Gone(int error) {
    const std::string why = std::string("standard output is closed (") + std::strerror(error) +
                            "); start penstock again with something that reads it";
    Broken(why);
    host().Failed(why);
  }

  // A full disk behind a redirected output, say: the line goes on where it stopped.
  bool WaitAfter(int error) {
    host().Connecting(std::string("cannot write to standard output (") + std::strerror(error) +
                      "); trying again every second");
    waiting_ = true;
    return SleepFor(kRetryEvery);
  }

  size_t step_ = kStep;
  bool waiting_ = false;
};

}  // namespace

PENSTOCK_SINK_PLUGIN(StdoutSink, "stdout", PENSTOCK_VERSION,
                     "Prints one line of JSON for each event on standard output.")
