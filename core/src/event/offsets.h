// Stretches of a queue's offsets.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock::event {

// The offsets [first, end).
struct OffsetRange {
  uint64_t first = 0, end = 0;
  bool operator==(const OffsetRange&) const = default;
};

// A set of offsets, cheap to add to in any order: what was added is put in order when it is asked
// for, or when much of it has gathered. Used by one thread at a time.
class OffsetSet {
 public:
  void Add(OffsetRange range) {
    if (!added_.empty() && added_.back().end == range.first) {
      added_.back().end = range.end;
      return;
    }
    added_.push_back(range);
    if (added_.size() >= std::max(kGathered, ranges_.size())) Sort();
  }
  // Nobody asks for offsets below it any more.
  void DropBelow(uint64_t offset) { floor_ = std::max(floor_, offset); }
  // In order, and with at least one offset between them.
  const std::vector<OffsetRange>& ranges() {
    Sort();
    return ranges_;
  }

 private:
  static constexpr size_t kGathered = 1024;

  void Sort() {
    if (added_.empty() && (ranges_.empty() || ranges_.front().first >= floor_)) return;
    const auto passed = [this](const OffsetRange& range) { return range.end <= floor_; };
    std::erase_if(added_, passed);
    std::erase_if(ranges_, passed);
    const auto before = [](const OffsetRange& a, const OffsetRange& b) {
      return a.first < b.first;
    };
    std::sort(added_.begin(), added_.end(), before);
    const auto middle = static_cast<std::ptrdiff_t>(ranges_.size());
    ranges_.insert(ranges_.end(), added_.begin(), added_.end());
    added_.clear();
    std::inplace_merge(ranges_.begin(), ranges_.begin() + middle, ranges_.end(), before);
    Join();
  }
  void Join() {
    size_t kept = 0;
    for (const OffsetRange& range : ranges_) {
      const OffsetRange above{std::max(range.first, floor_), range.end};
      if (kept > 0 && ranges_[kept - 1].end >= above.first) {
        ranges_[kept - 1].end = std::max(ranges_[kept - 1].end, above.end);
      } else {
        ranges_[kept++] = above;
      }
    }
    ranges_.resize(kept);
  }

  uint64_t floor_ = 0;
  std::vector<OffsetRange> ranges_;  // in order
  std::vector<OffsetRange> added_;   // since
};

}  // namespace penstock::event
