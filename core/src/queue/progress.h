// What a reader tells its queue: how far it has got, and what became of the events.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "event/event.h"
#include "event/offsets.h"

namespace penstock::queue {

// Why an event was dropped; each by a policy that the user chose, or because nothing is there to
// keep it. The store keeps them by number: new ones come last.
enum class DropReason {
  kWhenFull,
  kBehind,
  kRejected,
  kUnencodable,
  kCorrupted,
  kRetryLimit,
  kForgotten,
  kFiltered,
  kFilterError
};
inline constexpr size_t kDropReasons = 9;
const char* DropReasonName(DropReason reason);

// What became of the events of one source at one sink. They change together with the cursor, or
// with what is recorded above it.
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

// An event that a sink will never take.
struct Letter {
  uint64_t queue_id = 0, offset = 0;  // where its id comes from
  std::shared_ptr<const event::Block> block;
  uint64_t place = 0;  // of the event in block
  std::string id;      // as it went, or would have gone, onto the bus
  DropReason why = DropReason::kRejected;
  std::string reason;  // in words
  int32_t code = 0;    // the bus's own
  uint32_t attempts = 0;
  // Of a letter that is sent again: a filter has dropped it, so that it is not to be kept.
  bool dropped = false;

  const event::Event& event() const { return block->at(place); }
};

struct Progress {
  uint64_t hold = 0;              // the reader will not Read below it any more; >= settled
  uint64_t settled = 0;           // every event below it has settled; <= the queue's end
  Counters counters{};            // of those, and of all that was ever in above
  std::vector<Letter> letters{};  // of those that settled since the last time; room is reserved
  // What settled above settled since the last time, in any order. Only if the queue keeps it.
  std::vector<event::OffsetRange> above{};
};

}  // namespace penstock::queue
