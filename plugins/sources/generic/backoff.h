// How long to wait before the next attempt.
#ifndef PENSTOCK_SOURCES_GENERIC_BACKOFF_H
#define PENSTOCK_SOURCES_GENERIC_BACKOFF_H

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace penstock_generic {

// Doubles from initial to max. Jitter takes off up to a quarter and never adds, so that max is a
// promise. Not thread-safe.
class Backoff {
 public:
  using Time = std::chrono::nanoseconds;

  Backoff(Time initial, Time max, uint32_t seed)
      : initial_(initial), max_(std::max(initial, max)), next_(initial), random_(seed) {}

  // The pause before the next attempt; the one after that will be twice as long.
  Time Next() {
    const Time pause = Jitter(next_);
    next_ = next_ > max_ / 2 ? max_ : next_ * 2;
    return pause;
  }
  // After an attempt that was of use: begin at initial again.
  void Reset() { next_ = initial_; }
  // For what cannot pass by itself: straight to the longest pause, and not less than at_least.
  Time Longest(Time at_least) {
    next_ = max_;
    return std::max(max_, at_least);
  }

 private:
  Time Jitter(Time pause) {
    std::uniform_real_distribution<double> share(0.75, 1.0);
    return Time(static_cast<int64_t>(static_cast<double>(pause.count()) * share(random_)));
  }

  const Time initial_;
  const Time max_;
  Time next_;
  std::mt19937 random_;
};

}  // namespace penstock_generic

#endif  // PENSTOCK_SOURCES_GENERIC_BACKOFF_H
