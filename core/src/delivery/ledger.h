// What became of the events of one route: received = delivered + dead-lettered + dropped + pending,
// always.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace penstock::delivery {

// Why an event was dropped; each by a policy that the user chose, or because nothing is there to
// keep it.
enum class DropReason { kWhenFull, kBehind, kRejected, kUnencodable };
inline constexpr size_t kDropReasons = 4;
const char* DropReasonName(DropReason reason);

// Counters of one source at one sink. They change only when the cursor moves; what lies above it is
// pending.
struct Ledger {
  std::string source, sink;
  uint64_t received = 0;
  uint64_t delivered = 0;
  uint64_t dead_lettered = 0;
  std::array<uint64_t, kDropReasons> dropped{};
  uint64_t pending = 0;

  // Not part of the balance.
  uint64_t retries = 0;     // receipts RETRY and UNKNOWN
  uint64_t unknown = 0;     // of those, UNKNOWN
  uint64_t duplicates = 0;  // the bus had the id already, after an earlier attempt
  uint64_t duplicates_at_once =
      0;  // the bus had the id at the first attempt: two writers of one id, or a replay
  uint64_t reordered = 0;  // delivered after a later one

  uint64_t dropped_total() const;
  bool Balances() const;
  // "orders -> bus: received 100 = delivered 98 + dead-lettered 0 + dropped 1 (behind 1) + pending
  // 1"
  std::string ToString() const;
};

}  // namespace penstock::delivery
