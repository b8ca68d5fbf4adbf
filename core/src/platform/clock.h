// The seam for time: everything that waits or measures asks a Clock, so that tests own time.
#pragma once

#include <chrono>

namespace penstock {

using TimePoint = std::chrono::steady_clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  virtual TimePoint Now() const = 0;   // monotonic
  virtual int64_t WallNs() const = 0;  // since the Unix epoch
};

class SystemClock : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
  int64_t WallNs() const override {
    return std::chrono::duration_cast<Nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace penstock
