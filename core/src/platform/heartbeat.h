// How the loops of the gateway's own threads show that they come round. A loop that has nothing to
// do is woken every pulse and comes round too: standing idle is never told from a deadlock by what
// a thread says of itself, only by the loop having run, with all the locks that it takes.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "platform/clock.h"

namespace penstock {

// Of one loop. Its thread writes it, once a round and once a call, never once an event; any thread
// reads it.
class Beat {
 public:
  // One that nobody watches.
  Beat() = default;
  // component: who is said to stand still, as in the log ("sink bus"); loop: which of its loops
  // ("the delivery thread").
  Beat(std::string component, std::string loop, Nanoseconds pulse, TimePoint now)
      : component_(std::move(component)), loop_(std::move(loop)), pulse_(pulse), passed_(now) {}
  Beat(const Beat&) = delete;
  Beat& operator=(const Beat&) = delete;

  // The loop point. Returns when the loop must be here again at the latest, though there be nothing
  // to do: what it waits with.
  TimePoint Pass(TimePoint now) {
    passed_.store(now, std::memory_order_relaxed);
    return pulse_ == Nanoseconds(0) ? TimePoint::max() : now + pulse_;
  }

  // A call out of the loop into code that is not the gateway's, for as long as the mark lives.
  class Call {
   public:
    // what: a literal, as "submit".
    Call(Beat* beat, const char* what, TimePoint now) : beat_(beat) {
      beat_->passed_.store(now, std::memory_order_relaxed);
      beat_->call_.store(what, std::memory_order_release);
    }
    ~Call() { beat_->call_.store(nullptr, std::memory_order_release); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Beat* const beat_;
  };

 private:
  friend class Heartbeats;
  const std::string component_, loop_;
  const Nanoseconds pulse_{0};  // 0: nobody watches
  // When the loop point was passed, or the call under way began.
  std::atomic<TimePoint> passed_{TimePoint{}};
  std::atomic<const char*> call_{nullptr};
};

// A loop that stands still.
struct Stuck {
  std::string component;  // "sink bus"
  std::string text;       // "submit has not returned for 12 s"
  std::string what;       // the same without the time
};

// All loops of one process.
class Heartbeats {
 public:
  // What the service manager gives a gateway that says nothing, unless it says otherwise.
  static constexpr Nanoseconds kDefaultPeriod = std::chrono::seconds(30);
  // No call into a plugin may last longer, however long the period is.
  static constexpr Nanoseconds kLongestCall = std::chrono::seconds(10);

  // A loop that has not come round for half the period stands still. The clock outlives it.
  explicit Heartbeats(const Clock* clock, Nanoseconds period = kDefaultPeriod)
      : clock_(clock), period_(period) {}
  Heartbeats(const Heartbeats&) = delete;
  Heartbeats& operator=(const Heartbeats&) = delete;

  // A loop that is watched from now on, for as long as somebody holds what is returned. Any thread.
  std::shared_ptr<Beat> Add(std::string component, std::string loop);
  // The control loop, which may have to wait for others in a reload: what waits in steps on its
  // thread calls PassControl in each. Nothing happens while it is not watched.
  std::shared_ptr<Beat> AddControl();
  void PassControl();

  // Those that stand still now, in the order in which they were added. Any thread; waits for none
  // of the loops.
  std::vector<Stuck> Find() const;
  // The same in one line; empty: all is well.
  std::string Unhealthy() const;

  Nanoseconds pulse() const { return period_ / 8; }

 private:
  const Clock* const clock_;
  const Nanoseconds period_;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<const Beat>> beats_;
  std::weak_ptr<Beat> control_;
};

}  // namespace penstock
