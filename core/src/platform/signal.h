// Wakes a thread that waits for "something has changed". A waiter takes a ticket, looks whether
// there is work, and waits past the ticket if not: what is notified in between is never missed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "platform/clock.h"

namespace penstock {

class Signal {
 public:
  using Ticket = uint32_t;

  Ticket Take() const { return version_.load(); }

  // Cheap when nobody waits. Any thread; never blocks for long.
  void Notify() {
    version_.fetch_add(1);
    if (waiting_.load() == 0) return;
    { std::lock_guard lock(mutex_); }
    changed_.notify_all();
  }

  // Returns at the next Notify after the ticket was taken, or at the deadline.
  void WaitPast(Ticket ticket, TimePoint deadline) {
    std::unique_lock lock(mutex_);
    waiting_.fetch_add(1);
    const auto notified = [&] { return version_.load() != ticket; };
    if (deadline == TimePoint::max()) {
      changed_.wait(lock, notified);
    } else {
      changed_.wait_until(lock, deadline, notified);
    }
    waiting_.fetch_sub(1);
  }

 private:
  std::atomic<uint32_t> version_{0};
  std::atomic<uint32_t> waiting_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace penstock
