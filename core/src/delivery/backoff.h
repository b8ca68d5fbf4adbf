// Exponential backoff; jitter only shortens, so that the maximum is a promise.
#pragma once

#include <algorithm>
#include <cstdint>

#include "platform/clock.h"

namespace penstock::delivery {

struct RetryPolicy {
  Nanoseconds initial{std::chrono::milliseconds(100)};
  Nanoseconds max{std::chrono::seconds(10)};
  // When an event is given up; 0 each: never.
  uint64_t max_attempts = 0;
  Nanoseconds max_age{0};  // since it was first submitted
};

class Backoff {
 public:
  Backoff(RetryPolicy policy, uint64_t seed) : policy_(policy), random_(seed | 1) {}

  // The next delay: between half and all of initial * 2^n, at most max.
  Nanoseconds Next() {
    const int64_t doubled = policy_.initial.count() << std::min(failures_, 30u);
    const int64_t full =
        doubled > 0 && doubled >> std::min(failures_, 30u) == policy_.initial.count()
            ? std::min(doubled, policy_.max.count())
            : policy_.max.count();
    ++failures_;
    // xorshift64 (Marsaglia, "Xorshift RNGs", 2003)
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return Nanoseconds(full - static_cast<int64_t>(random_ % static_cast<uint64_t>(full / 2 + 1)));
  }
  void Reset() { failures_ = 0; }
  uint32_t failures() const { return failures_; }

 private:
  RetryPolicy policy_;
  uint64_t random_;
  uint32_t failures_ = 0;
};

}  // namespace penstock::delivery
