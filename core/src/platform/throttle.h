// Bounds what one of many may log: so much at once, then so much a second. What is held back is
// counted, and the count is to be said now and then.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "platform/clock.h"

namespace penstock::log {

// One thread at a time.
class Throttle {
 public:
  static constexpr uint32_t kBurst = 50;
  static constexpr uint32_t kPerSecond = 10;
  static constexpr Nanoseconds kBetweenNotes = std::chrono::seconds(10);

  struct Note {
    std::string component;
    uint64_t held_back;
  };

  // Whether the component's line may be written.
  bool Allow(std::string_view component, TimePoint now);
  // What is to be said by now: ten seconds after the first line that was held back since the last
  // note. At TimePoint::max() all that there is.
  std::vector<Note> Due(TimePoint now);
  static std::string Text(const Note& note);

 private:
  struct Bucket {
    // When it is full again: so many lines as are missing are so much time in the future.
    TimePoint full_at{};
    uint64_t held_back = 0;
    TimePoint note_due{};
  };
  std::map<std::string, Bucket, std::less<>> buckets_;
};

}  // namespace penstock::log
