#include "delivery/ledger.h"

#include <gtest/gtest.h>

namespace penstock::delivery {
namespace {

TEST(LedgerTest, BalancesOnlyIfNothingIsMissing) {
  Ledger ledger;
  ledger.received = 10;
  ledger.delivered = 5;
  ledger.dead_lettered = 1;
  ledger.dropped[static_cast<size_t>(DropReason::kBehind)] = 2;
  ledger.pending = 2;
  EXPECT_TRUE(ledger.Balances());
  ledger.pending = 1;
  EXPECT_FALSE(ledger.Balances());
}

TEST(LedgerTest, IsOneReadableLine) {
  Ledger ledger;
  ledger.source = "orders";
  ledger.sink = "bus";
  ledger.received = 100;
  ledger.delivered = 95;
  ledger.dropped[static_cast<size_t>(DropReason::kBehind)] = 3;
  ledger.dropped[static_cast<size_t>(DropReason::kRejected)] = 1;
  ledger.pending = 1;
  EXPECT_EQ(ledger.ToString(),
            "orders -> bus: received 100 = delivered 95 + dead-lettered 0 + dropped 4 (behind 3, "
            "rejected 1) + pending 1");
  ledger.retries = 7;
  ledger.reordered = 2;
  EXPECT_NE(ledger.ToString().find("; 7 retries; 2 reordered"), std::string::npos);
  EXPECT_EQ(ledger.ToString().find("DOES NOT BALANCE"), std::string::npos);
  ledger.delivered = 94;
  EXPECT_NE(ledger.ToString().find("DOES NOT BALANCE"), std::string::npos);
}

}  // namespace
}  // namespace penstock::delivery
