// The way from a plugin to the witness outside the gateway: lines into a FIFO.
//
//   E SOURCE FIRST LAST   the source is about to emit these numbers
//   A SOURCE NUMBER       the gateway has acknowledged this event
//   D SINK SOURCE NUMBER  the sink has it, and is about to say so
//   R SINK SOURCE NUMBER  the sink is about to reject it
//   X SINK SIZE           the sink got something that is no intact event
#ifndef PENSTOCK_TESTS_FAULTS_PLUGINS_WITNESS_PIPE_H
#define PENSTOCK_TESTS_FAULTS_PLUGINS_WITNESS_PIPE_H

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace penstock_faults {

// A line is in the pipe when Say returns, as long as the pipe has room. Else it waits in memory,
// and when the reader is gone for kPatience it is dropped, which is reported: the gateway never
// waits for the witness for longer. Lines stay whole also when several plugins write to one FIFO.
// Safe from any thread.
class WitnessPipe {
 public:
  static constexpr std::chrono::seconds kPatience{2};

  WitnessPipe(std::string path, std::function<void(const std::string&)> warn)
      : path_(std::move(path)), warn_(std::move(warn)) {
    {
      std::lock_guard lock(mutex_);
      Open();
    }
    thread_ = std::thread([this] { Work(); });
  }
  ~WitnessPipe() {
    Flush();
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (fd_ >= 0) close(fd_);
  }
  WitnessPipe(const WitnessPipe&) = delete;
  WitnessPipe& operator=(const WitnessPipe&) = delete;

  // text: whole lines. Does not block.
  void Say(std::string_view text) {
    std::lock_guard lock(mutex_);
    if (pending_.empty()) {
      since_ = Clock::now();
      if (fd_ < 0) Open();
      text.remove_prefix(WriteSome(text));
      if (gone_) return;
    }
    pending_.append(text);
    if (!pending_.empty()) changed_.notify_all();
  }

  // Waits until all is in the pipe or dropped; no longer than a little over kPatience.
  void Flush() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 2 * kPatience, [this] { return pending_.empty(); });
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Open() {
    fd_ = open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_APPEND | O_CLOEXEC);
    if (fd_ < 0) error_ = errno;
  }

  // Writes whole lines, at most PIPE_BUF at once: those go all or not at all. How many bytes went.
  size_t WriteSome(std::string_view text) {
    size_t done = 0;
    while (fd_ >= 0 && done < text.size()) {
      std::string_view piece = text.substr(done, PIPE_BUF);
      piece = piece.substr(0, piece.rfind('\n') + 1);
      const ssize_t n = WriteWithoutSignal(piece);
      if (n >= 0) {
        done += static_cast<size_t>(n);
      } else if (errno == EAGAIN) {
        return done;
      } else if (errno != EINTR) {
        error_ = errno;
        close(fd_);
        fd_ = -1;
      }
    }
    return done;
  }

  // A reader that is gone shall be an errno whatever the process does about SIGPIPE.
  ssize_t WriteWithoutSignal(std::string_view piece) const {
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    const ssize_t n = write(fd_, piece.data(), piece.size());
    const int error = errno;
    if (n < 0 && error == EPIPE) {
      const timespec now{0, 0};
      sigtimedwait(&pipe, nullptr, &now);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    errno = error;
    return n;
  }

  void Work() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      changed_.wait(lock, [this] { return stopping_ || !pending_.empty(); });
      if (pending_.empty()) continue;
      if (fd_ < 0) Open();
      const size_t n = WriteSome(pending_);
      pending_.erase(0, n);
      if (n > 0) since_ = Clock::now();
      if (!pending_.empty() && Clock::now() - since_ > kPatience) Drop();
      if (pending_.empty())
        changed_.notify_all();
      else
        changed_.wait_for(lock, std::chrono::milliseconds(5), [this] { return stopping_; });
    }
  }

  void Drop() {
    const std::string why = fd_ >= 0 ? "nobody reads it" : std::strerror(error_);
    pending_.clear();
    gone_ = true;
    warn_("the witness " + path_ + " is gone (" + why +
          "): what it should have been told is dropped; the result of this test is void");
  }

  const std::string path_;
  const std::function<void(const std::string&)> warn_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string pending_;
  Clock::time_point since_;
  int fd_ = -1, error_ = 0;
  bool stopping_ = false, gone_ = false;
  std::thread thread_;
};

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_PLUGINS_WITNESS_PIPE_H
