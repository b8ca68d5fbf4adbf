#include "delivery/backoff.h"

#include <gtest/gtest.h>

#include <set>

namespace penstock::delivery {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(BackoffTest, DoublesUpToTheMaximumAndJitterOnlyShortens) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Backoff backoff({milliseconds(100), seconds(1)}, seed);
    Nanoseconds full = milliseconds(100);
    for (int i = 0; i < 100; ++i) {
      const Nanoseconds delay = backoff.Next();
      ASSERT_LE(delay, full) << "seed " << seed << " try " << i;
      ASSERT_GE(delay, full / 2) << "seed " << seed << " try " << i;
      full = std::min<Nanoseconds>(full * 2, seconds(1));
    }
  }
}

TEST(BackoffTest, ResetBeginsAnew) {
  Backoff backoff({milliseconds(100), seconds(10)}, 1);
  for (int i = 0; i < 5; ++i) backoff.Next();
  EXPECT_EQ(backoff.failures(), 5u);
  backoff.Reset();
  EXPECT_LE(backoff.Next(), milliseconds(100));
}

TEST(BackoffTest, DoesNotOverflow) {
  Backoff backoff({std::chrono::hours(24), std::chrono::hours(24 * 365)}, 1);
  for (int i = 0; i < 200; ++i) {
    const Nanoseconds delay = backoff.Next();
    ASSERT_GT(delay, Nanoseconds(0));
    ASSERT_LE(delay, std::chrono::hours(24 * 365));
  }
}

TEST(BackoffTest, AMaximumBelowTheInitialDelayHolds) {
  Backoff backoff({seconds(10), seconds(1)}, 1);
  EXPECT_LE(backoff.Next(), seconds(1));
}

// Cursors that fail together must not try again together.
TEST(BackoffTest, SeedsSpread) {
  std::set<Nanoseconds> delays;
  for (uint64_t lane = 0; lane < 100; ++lane)
    delays.insert(Backoff({seconds(1), seconds(1)}, 7 + lane * 0x9e3779b97f4a7c15u).Next());
  EXPECT_GT(delays.size(), 95u);
}

}  // namespace
}  // namespace penstock::delivery
