#include "platform/throttle.h"

#include <gtest/gtest.h>

namespace penstock::log {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

int Allowed(Throttle* throttle, const char* component, TimePoint now, int lines) {
  int n = 0;
  for (int i = 0; i < lines; ++i) n += throttle->Allow(component, now) ? 1 : 0;
  return n;
}

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(ThrottleTest, ABurstThenTenASecond) {
  Throttle throttle;
  EXPECT_EQ(Allowed(&throttle, "sink bus", kStart, 1000), 50);
  EXPECT_EQ(Allowed(&throttle, "sink bus", kStart + milliseconds(99), 1000), 0);
  EXPECT_EQ(Allowed(&throttle, "sink bus", kStart + milliseconds(100), 1000), 1);
  EXPECT_EQ(Allowed(&throttle, "sink bus", kStart + milliseconds(1100), 1000), 10);
  // Silence fills the bucket again, and not beyond.
  EXPECT_EQ(Allowed(&throttle, "sink bus", kStart + seconds(100), 1000), 50);
}

TEST(ThrottleTest, OneComponentDoesNotCostAnotherItsLines) {
  Throttle throttle;
  Allowed(&throttle, "sink bus", kStart, 1000);
  EXPECT_EQ(Allowed(&throttle, "sink lake", kStart, 1000), 50);
}

TEST(ThrottleTest, WhatIsHeldBackIsSaidOnceInTenSeconds) {
  Throttle throttle;
  EXPECT_TRUE(throttle.Due(kStart).empty());
  Allowed(&throttle, "sink bus", kStart, 60);
  EXPECT_TRUE(throttle.Due(kStart + milliseconds(9999)).empty());
  const auto notes = throttle.Due(kStart + seconds(10));
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0].component, "sink bus");
  EXPECT_EQ(notes[0].held_back, 10u);
  EXPECT_EQ(Throttle::Text(notes[0]),
            "10 lines were held back: a plugin may log 50 at once, then 10 a second");
  EXPECT_TRUE(throttle.Due(kStart + seconds(11)).empty());
  // A loop that goes on is said again ten seconds after its next line.
  Allowed(&throttle, "sink bus", kStart + seconds(11), 60);
  EXPECT_TRUE(throttle.Due(kStart + seconds(20)).empty());
  EXPECT_EQ(throttle.Due(kStart + seconds(21)).size(), 1u);
}

TEST(ThrottleTest, AtTheEndAllIsSaid) {
  Throttle throttle;
  Allowed(&throttle, "sink bus", kStart, 51);
  EXPECT_EQ(throttle.Due(TimePoint::max()).size(), 1u);
}

}  // namespace
}  // namespace penstock::log
