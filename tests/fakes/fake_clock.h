// Time as the test says.
#pragma once

#include <atomic>
#include <chrono>

#include "platform/clock.h"

namespace penstock::fakes {

// Starts at an arbitrary moment that is not zero. Any thread.
class FakeClock : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(Nanoseconds(now_ns_.load())); }
  int64_t WallNs() const override { return kWallOffsetNs + now_ns_.load(); }

  void Advance(Nanoseconds by) { now_ns_.fetch_add(by.count()); }
  // To a deadline that somebody asked for; never backwards.
  void AdvanceTo(TimePoint to) {
    if (to > Now()) Advance(to - Now());
  }

 private:
  static constexpr int64_t kWallOffsetNs = 1'700'000'000'000'000'000;
  std::atomic<int64_t> now_ns_{Nanoseconds(std::chrono::hours(1)).count()};
};

}  // namespace penstock::fakes
