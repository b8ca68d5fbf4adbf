#include "platform/heartbeat.h"

#include <gtest/gtest.h>

#include "fakes/fake_clock.h"

namespace penstock {
namespace {

using std::chrono::seconds;

class HeartbeatTest : public testing::Test {
 protected:
  fakes::FakeClock clock_;
  Heartbeats heartbeats_{&clock_, seconds(30)};
  std::shared_ptr<Beat> bus_ = heartbeats_.Add("sink bus", "the delivery thread");
};

TEST_F(HeartbeatTest, ALoopHasHalfAPeriodForARound) {
  clock_.Advance(seconds(15));
  EXPECT_EQ(heartbeats_.Unhealthy(), "");
  clock_.Advance(seconds(1));
  EXPECT_EQ(heartbeats_.Unhealthy(), "sink bus: the delivery thread has not come round for 16 s");
  bus_->Pass(clock_.Now());
  EXPECT_EQ(heartbeats_.Unhealthy(), "");
}

TEST_F(HeartbeatTest, ACallHasTenSeconds) {
  {
    const Beat::Call call(bus_.get(), "submit", clock_.Now());
    clock_.Advance(seconds(10));
    EXPECT_EQ(heartbeats_.Unhealthy(), "");
    clock_.Advance(seconds(2));
    EXPECT_EQ(heartbeats_.Unhealthy(), "sink bus: submit has not returned for 12 s");
  }
  // What is left of the loop's own time, counted from the call's begin.
  EXPECT_EQ(heartbeats_.Unhealthy(), "");
  clock_.Advance(seconds(4));
  EXPECT_EQ(heartbeats_.Unhealthy(), "sink bus: the delivery thread has not come round for 16 s");
}

TEST_F(HeartbeatTest, ManySlowCallsInOneRoundAreNoStandingStill) {
  for (int i = 0; i < 5; ++i) {
    const Beat::Call call(bus_.get(), "submit", clock_.Now());
    clock_.Advance(seconds(9));
    EXPECT_EQ(heartbeats_.Unhealthy(), "") << i;
  }
}

TEST_F(HeartbeatTest, AShortPeriodBoundsCallsToo) {
  Heartbeats hasty(&clock_, seconds(4));
  const auto beat = hasty.Add("sink bus", "the delivery thread");
  const Beat::Call call(beat.get(), "flush", clock_.Now());
  clock_.Advance(seconds(3));
  EXPECT_EQ(hasty.Unhealthy(), "sink bus: flush has not returned for 3 s");
}

TEST_F(HeartbeatTest, ALongPeriodLetsLoopsBeAndNoCall) {
  Heartbeats patient(&clock_, std::chrono::minutes(10));
  const auto idle = patient.Add("store", "the writer");
  const auto beat = patient.Add("sink bus", "the delivery thread");
  const Beat::Call call(beat.get(), "submit", clock_.Now());
  clock_.Advance(seconds(11));
  EXPECT_EQ(patient.Unhealthy(), "sink bus: submit has not returned for 11 s");
}

TEST_F(HeartbeatTest, TheWaitOfAnIdleLoopEndsInTimeForSeveralRounds) {
  EXPECT_EQ(bus_->Pass(clock_.Now()) - clock_.Now(), heartbeats_.pulse());
  EXPECT_LE(4 * heartbeats_.pulse(), seconds(15));
}

TEST_F(HeartbeatTest, ALoopThatNobodyWatchesMayWaitForEver) {
  Beat beat;
  EXPECT_EQ(beat.Pass(clock_.Now()), TimePoint::max());
  EXPECT_EQ(beat.Pass(clock_.Now()), TimePoint::max());
}

TEST_F(HeartbeatTest, WhatTheControlLoopWaitsForPassesForIt) {
  heartbeats_.PassControl();  // nobody watches it yet
  auto control = heartbeats_.AddControl();
  bus_.reset();
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(seconds(9));
    heartbeats_.PassControl();
    EXPECT_EQ(heartbeats_.Unhealthy(), "");
  }
  clock_.Advance(seconds(16));
  EXPECT_EQ(heartbeats_.Unhealthy(), "gateway: the control loop has not come round for 16 s");
  control.reset();
  heartbeats_.PassControl();
  EXPECT_EQ(heartbeats_.Unhealthy(), "");
}

TEST_F(HeartbeatTest, ALoopThatHasEndedIsNotMissed) {
  const auto lake = heartbeats_.Add("sink lake", "the delivery thread");
  clock_.Advance(seconds(16));
  EXPECT_EQ(heartbeats_.Find().size(), 2u);
  EXPECT_EQ(heartbeats_.Unhealthy(),
            "sink bus: the delivery thread has not come round for 16 s; "
            "sink lake: the delivery thread has not come round for 16 s");
  bus_.reset();
  ASSERT_EQ(heartbeats_.Find().size(), 1u);
  EXPECT_EQ(heartbeats_.Find()[0].component, "sink lake");
}

TEST_F(HeartbeatTest, ALoopBeginsWithAllItsTime) {
  clock_.Advance(seconds(100));
  bus_->Pass(clock_.Now());
  const auto late = heartbeats_.Add("store", "the writer");
  EXPECT_EQ(heartbeats_.Unhealthy(), "");
}

}  // namespace
}  // namespace penstock
