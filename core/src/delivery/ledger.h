// What became of the events of one route: received = delivered + dead-lettered + dropped + pending,
// always.
#pragma once

#include <cstdint>
#include <string>

#include "queue/progress.h"

namespace penstock::delivery {

using queue::DropReason;
using queue::DropReasonName;
using queue::kDropReasons;

// The counters of one source at one sink change when the cursor moves, and, where the queue keeps
// what settled above it, with that; all else is pending.
struct Ledger : queue::Counters {
  std::string source, sink;
  uint64_t received = 0;
  uint64_t pending = 0;

  // Not part of the balance.
  uint64_t retries = 0;     // receipts RETRY and UNKNOWN
  uint64_t unknown = 0;     // of those, UNKNOWN
  uint64_t duplicates = 0;  // the bus had the id already, after an earlier attempt
  uint64_t duplicates_at_once =
      0;  // the bus had the id at the first attempt: two writers of one id, or a replay
  uint64_t reordered = 0;      // delivered after a later one
  uint64_t filter_errors = 0;  // whatever became of the event then

  bool Balances() const;
  // "orders -> bus: received 100 = delivered 98 + dead-lettered 0 + dropped 1 (behind 1) + pending
  // 1"
  std::string ToString() const;
};

}  // namespace penstock::delivery
