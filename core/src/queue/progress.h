// What a reader tells its queue: how far it has got, and what became of the events.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace penstock::queue {

// Why an event was dropped; each by a policy that the user chose, or because nothing is there to
// keep it. The store keeps them by number: new ones come last.
enum class DropReason { kWhenFull, kBehind, kRejected, kUnencodable, kCorrupted };
inline constexpr size_t kDropReasons = 5;
const char* DropReasonName(DropReason reason);

// What became of the events of one source at one sink. They change together with the cursor.
struct Counters {
  uint64_t delivered = 0;
  uint64_t dead_lettered = 0;
  std::array<uint64_t, kDropReasons> dropped{};

  uint64_t dropped_total() const {
    uint64_t sum = 0;
    for (const uint64_t n : dropped) sum += n;
    return sum;
  }
};

struct Progress {
  uint64_t hold = 0;     // the reader will not Read below it any more; >= settled
  uint64_t settled = 0;  // every event below it has settled; <= the queue's end
  Counters counters;     // of those
};

}  // namespace penstock::queue
