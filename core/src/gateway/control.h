// What moves a running gateway: signals, and what is asked at the admin socket.
#pragma once

#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <string>

#include "gateway/gateway.h"
#include "gateway/pipeline.h"
#include "gateway/prepare.h"
#include "gateway/service.h"
#include "gateway/status.h"

namespace penstock::gateway {

// SIGTERM, SIGINT and SIGHUP as a file descriptor; blocked in this thread and in all that it
// starts.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // The number of the signal that came, or 0 once the time is over (< 0: never) or somebody wakes.
  int Wait(int timeout_ms);
  // Whether one has come that asks for the end. Does not wait.
  bool StopAsked();
  // The same, and leaves it for Wait or StopAsked.
  bool StopPending() const;
  // Wait returns, now or the next time. Any thread.
  void Wake();

 private:
  int fd_, wake_fd_;
};

// What other threads want done on the control thread.
class Requests {
 public:
  enum class Kind { kReload, kDrain };
  struct Request {
    Kind kind;
    std::promise<Result<std::string>> answer;
  };
  explicit Requests(Signals* signals) : signals_(signals) {}

  // Waits for the answer. Any thread but the control thread.
  Result<std::string> Ask(Kind kind);
  std::optional<Request> Take();
  // Refuses what waits and what comes.
  void Close();

 private:
  Signals* const signals_;
  std::mutex mutex_;
  std::deque<Request> waiting_;
  bool closed_ = false;
};

// Everything between the start and the stop; the control thread's.
class Control {
 public:
  struct Parts {
    Signals* signals;
    Requests* requests;
    Pipeline* pipeline;
    StatusReader* status;
    Service* service;
    plugin::Registry* registry;
  };
  // All outlive it.
  Control(const CommandOptions& options, const Parts& parts) : options_(options), p_(parts) {}

  // Returns once a signal asks for the stop, or the store has failed; with exit_when_done also when
  // every source has finished.
  void Run();

 private:
  // The value says what has changed, line by line; an error, why nothing has.
  Result<std::string> Reload();
  Result<std::string> Drain();

  const CommandOptions& options_;
  const Parts p_;
};

void LogFinding(const config::Finding& finding);
// Takes level and format for the log from now on.
void ConfigureLog(const config::GatewayConfig& config);

}  // namespace penstock::gateway
