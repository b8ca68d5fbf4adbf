// A sink that writes each event as one line of JSON, from a thread of its own.
#pragma once

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <penstock/plugin.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "json_line.h"

namespace penstock::lines {

// Derive as class X final : public LineSink<X>, and implement
//
//   // Runs on the writer's thread before the first Write.
//   void Open();
//   // Writes whole lines, waiting for the output as long as it takes; ends[i] is the offset behind
//   // line i. Returns how many lines are written for good, from the front: fewer than all only
//   when
//   // Stopping() or once Broken() was called. Runs on the writer's thread.
//   size_t Write(std::string_view text, const std::vector<size_t>& ends);
//
// and call StartWriter from Start and JoinWriter from the destructor. The two are no virtual
// functions because the writer may still call them when the destructor begins.
template <typename Derived>
class LineSink : public Sink {
 public:
  static constexpr uint32_t kCaps = PENSTOCK_CAP_PREFIX;

  size_t Submit(const penstock_message_batch& batch) override {
    std::unique_lock lock(mutex_);
    if (stop_) return 0;
    size_t taken = 0;
    while (taken < batch.count && unsettled_ < kMaxUnsettled && unsettled_bytes_ < kMaxBytes) {
      const penstock_message& message = *penstock_message_at(&batch, taken++);
      pending_.push_back(message);
      ++unsettled_;
      unsettled_bytes_ += message.payload.len;
    }
    if (taken < batch.count) refused_ = true;
    lock.unlock();
    wake_.notify_one();
    return taken;
  }

  void Stop() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      if (!writer_.joinable()) Abandon();
    }
    wake_.notify_all();
    const uint64_t one = 1;
    // The counter of an eventfd only fills up after 2^64 calls.
    [[maybe_unused]] const ssize_t written = ::write(stop_fd_, &one, sizeof one);
  }

  ~LineSink() override {
    if (stop_fd_ >= 0) ::close(stop_fd_);
  }

 protected:
  // More than the host's window in any sensible configuration; the bound is there all the same.
  static constexpr size_t kMaxUnsettled = 65536;
  static constexpr size_t kMaxBytes = size_t{64} << 20;
  static constexpr size_t kChunkBytes = size_t{256} << 10;
  static constexpr size_t kChunkLines = 4096;

  LineSink(const Host& host, const Config& config)
      : Sink(host), stop_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (stop_fd_ < 0) throw std::runtime_error("no file descriptor is left; raise LimitNOFILE");
    const std::string format = config.Str("format");
    payload_is_json_ = format == "cloudevents" || format == "argo";
  }

  void StartWriter() {
    writer_ = std::thread([this] { Run(); });
  }
  void JoinWriter() {
    if (!writer_.joinable()) return;
    LineSink::Stop();
    writer_.join();
  }

  bool Stopping() const {
    std::lock_guard lock(mutex_);
    return stop_;
  }
  // Sleeps on the writer's thread; false at once when the sink is to stop.
  bool SleepFor(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return !wake_.wait_for(lock, time, [this] { return stop_; });
  }
  // Waits until fd takes bytes; false when the sink is to stop.
  bool WaitWritable(int fd) {
    pollfd fds[2] = {{fd, POLLOUT, 0}, {stop_fd_, POLLIN, 0}};
    while (::poll(fds, 2, -1) < 0 && errno == EINTR) {
    }
    return (fds[1].revents & POLLIN) == 0;
  }
  // The output will never take anything again: every message gets RETRY from now on.
  void Broken(std::string why) { broken_ = std::move(why); }

 private:
  void Run() {
    // A reader that goes away is an error of write(), not the end of the process.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    static_cast<Derived*>(this)->Open();
    std::vector<penstock_message> batch;
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !pending_.empty(); });
        if (stop_) {
          Abandon();
          return;
        }
        batch.swap(pending_);
      }
      WriteBatch(batch);
      batch.clear();
    }
  }

  void WriteBatch(const std::vector<penstock_message>& batch) {
    size_t done = 0;
    while (done < batch.size()) {
      text_.clear();
      ends_.clear();
      for (size_t i = done;
           i < batch.size() && text_.size() < kChunkBytes && ends_.size() < kChunkLines; ++i) {
        AppendLine(batch[i], payload_is_json_, &text_);
        ends_.push_back(text_.size());
      }
      const size_t written =
          broken_.empty() && !Stopping() ? static_cast<Derived*>(this)->Write(text_, ends_) : 0;
      Settle(&batch[done], written, PENSTOCK_DELIVERED, {});
      done += written;
      if (written == ends_.size()) continue;
      Settle(&batch[done], batch.size() - done, PENSTOCK_RETRY,
             broken_.empty() ? kStopped : std::string_view(broken_));
      return;
    }
  }

  // With mutex_ held: what was accepted and not begun goes back to the host.
  void Abandon() {
    std::vector<penstock_message> left;
    left.swap(pending_);
    receipts_.clear();
    for (const penstock_message& message : left)
      receipts_.push_back({message.token, PENSTOCK_RETRY, 0, 0, 0, penstock::Str(kStopped)});
    Complete(receipts_.data(), receipts_.size());
    unsettled_ = unsettled_bytes_ = 0;
  }

  void Settle(const penstock_message* messages, size_t n, int32_t outcome,
              std::string_view reason) {
    if (n == 0) return;
    size_t bytes = 0;
    receipts_.clear();
    for (size_t i = 0; i < n; ++i) {
      bytes += messages[i].payload.len;
      receipts_.push_back({messages[i].token, outcome, 0, 0, 0, penstock::Str(reason)});
    }
    bool room = false;
    {
      std::lock_guard lock(mutex_);
      unsettled_ -= n;
      unsettled_bytes_ -= bytes;
      room = refused_ && unsettled_ <= kMaxUnsettled / 2 && unsettled_bytes_ <= kMaxBytes / 2;
      if (room) refused_ = false;
    }
    Complete(receipts_.data(), receipts_.size());
    if (room) ReadyForMore();
  }

  static constexpr std::string_view kStopped = "the sink was stopped before it wrote this";

  const int stop_fd_;
  bool payload_is_json_ = false;
  std::thread writer_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  bool refused_ = false;  // the host waits for ready()
  size_t unsettled_ = 0;  // accepted, no receipt yet
  size_t unsettled_bytes_ = 0;
  std::vector<penstock_message> pending_;

  // Of the writer's thread.
  std::string text_;
  std::vector<size_t> ends_;
  std::vector<penstock_receipt> receipts_;
  std::string broken_;
};

}  // namespace penstock::lines
