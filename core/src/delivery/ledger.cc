#include "delivery/ledger.h"

namespace penstock::delivery {

bool Ledger::Balances() const {
  return received == delivered + dead_lettered + dropped_total() + pending;
}

std::string Ledger::ToString() const {
  std::string out = source + " -> " + sink + ": received " + std::to_string(received) +
                    " = delivered " + std::to_string(delivered) + " + dead-lettered " +
                    std::to_string(dead_lettered) + " + dropped " + std::to_string(dropped_total());
  std::string reasons;
  for (size_t i = 0; i < kDropReasons; ++i) {
    if (dropped[i] == 0) continue;
    reasons += reasons.empty() ? " (" : ", ";
    reasons += DropReasonName(static_cast<DropReason>(i));
    reasons += ' ' + std::to_string(dropped[i]);
  }
  if (!reasons.empty()) out += reasons + ')';
  out += " + pending " + std::to_string(pending);
  const auto note = [&out](uint64_t n, const char* what) {
    if (n > 0) out += "; " + std::to_string(n) + ' ' + what;
  };
  note(retries, "retries");
  note(unknown, "answers unknown");
  note(duplicates, "duplicates suppressed by the bus");
  note(duplicates_at_once, "duplicates at the first attempt");
  note(reordered, "reordered");
  note(filter_errors, "filter errors");
  if (!Balances()) out += "; DOES NOT BALANCE";
  return out;
}

}  // namespace penstock::delivery
