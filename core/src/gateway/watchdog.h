// Tells the service manager that the gateway is alive for as long as none of its loops stands
// still, and logs which one does: on a thread of its own, which takes no lock that another holds
// for long and calls nobody but the service manager and the log.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "platform/clock.h"
#include "platform/heartbeat.h"
#include "platform/signal.h"

namespace penstock::gateway {

class Watchdog {
 public:
  // What it does; empty: not done.
  struct Calls {
    std::function<void()> feed;                    // "the gateway is alive"
    std::function<void(Nanoseconds)> need_longer;  // "the stop goes on for at most so long"
  };
  // Both outlive it.
  Watchdog(const Heartbeats* heartbeats, const Clock* clock, Calls calls);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void Start();
  // The gateway stops, and may take until the deadline for it: the service manager is kept from
  // losing patience before that. Any thread.
  void Stopping(TimePoint deadline);

  // What the thread does every interval().
  void Tick();
  Nanoseconds interval() const;

 private:
  void Report(std::vector<Stuck> now);
  void Run();

  const Heartbeats* const heartbeats_;
  const Clock* const clock_;
  const Calls calls_;
  // The thread's.
  TimePoint last_tick_{};
  std::vector<Stuck> stuck_;  // as logged
  std::atomic<TimePoint> stop_deadline_{TimePoint{}};
  std::atomic<bool> ended_{false};
  Signal signal_;
  std::thread thread_;
};

}  // namespace penstock::gateway
