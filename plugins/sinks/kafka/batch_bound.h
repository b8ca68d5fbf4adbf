// How large the producer's batches may be: as configured, and less while a topic takes no more.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace penstock::kafka {

// Gets smaller at once and larger in steps, so that a topic which refuses again costs few batches.
// Not thread-safe.
class BatchBound {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr size_t kStep = 4;  // times larger
  static constexpr std::chrono::seconds kFirstWait{5}, kLongestWait{300};

  explicit BatchBound(size_t configured) : configured_(configured), bytes_(configured) {}

  size_t bytes() const { return bytes_; }

  // True when batches have to get smaller for it.
  bool Lower(size_t most, Time now) {
    if (most >= bytes_) return false;
    // Larger ones may have been tried too early.
    if (raised_)
      wait_ = now - raised_at_ < kLongestWait ? std::min(2 * wait_, kLongestWait) : kFirstWait;
    raised_ = false;
    bytes_ = std::max<size_t>(most, 1);
    next_ = now + wait_;
    return true;
  }

  bool RaiseIsDue(Time now) const { return bytes_ < configured_ && now >= next_; }

  // The next step, where it is due: not above what the topics in use take. True when batches may
  // get larger.
  bool Raise(size_t most, Time now) {
    if (!RaiseIsDue(now)) return false;
    next_ = now + wait_;
    const size_t bytes = std::min({kStep * bytes_, most, configured_});
    if (bytes <= bytes_) return false;
    bytes_ = bytes;
    raised_ = true;
    raised_at_ = now;
    return true;
  }

 private:
  size_t configured_;
  size_t bytes_;
  std::chrono::seconds wait_ = kFirstWait;
  bool raised_ = false;
  Time raised_at_{}, next_{};
};

}  // namespace penstock::kafka
