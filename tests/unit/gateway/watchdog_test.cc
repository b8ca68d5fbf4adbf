#include "gateway/watchdog.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "fakes/fake_clock.h"

namespace penstock::gateway {
namespace {

using std::chrono::seconds;

class WatchdogTest : public testing::Test {
 protected:
  // Ticks as the thread does, for so long; how often the service manager was told, and what was
  // logged.
  int Pass(Nanoseconds time) {
    fed_ = 0;
    testing::internal::CaptureStderr();
    const TimePoint end = clock_.Now() + time;
    while (clock_.Now() < end) {
      clock_.Advance(watchdog_.interval());
      if (runs_) bus_->Pass(clock_.Now());
      watchdog_.Tick();
    }
    log_ = testing::internal::GetCapturedStderr();
    return fed_;
  }

  fakes::FakeClock clock_;
  Heartbeats heartbeats_{&clock_, seconds(30)};
  std::shared_ptr<Beat> bus_ = heartbeats_.Add("sink bus", "the delivery thread");
  bool runs_ = true;
  int fed_ = 0;
  std::vector<Nanoseconds> longer_;
  Watchdog watchdog_{
      &heartbeats_, &clock_, {[this] { ++fed_; }, [this](Nanoseconds n) { longer_.push_back(n); }}};
  std::string log_;
};

TEST_F(WatchdogTest, FeedsWellWithinThePeriodWhileAllIsWell) {
  EXPECT_GE(Pass(seconds(90)), 6);
  EXPECT_EQ(log_, "");
  EXPECT_TRUE(longer_.empty());
}

TEST_F(WatchdogTest, StopsOnceACallLastsTooLongAndSaysWhich) {
  Pass(seconds(30));
  runs_ = false;
  {
    const Beat::Call call(bus_.get(), "submit", clock_.Now());
    EXPECT_GE(Pass(seconds(7)), 1);
    const int after = Pass(seconds(30));
    EXPECT_EQ(after, 0) << log_;
    EXPECT_NE(log_.find("error sink bus: submit has not returned for 11 s; the service manager "
                        "will restart the gateway\n"),
              log_.npos)
        << log_;
    EXPECT_EQ(std::count(log_.begin(), log_.end(), '\n'), 1) << log_;
  }
  runs_ = true;
  EXPECT_GE(Pass(seconds(8)), 2);
  EXPECT_NE(log_.find("warn  sink bus: goes on again\n"), log_.npos) << log_;
}

TEST_F(WatchdogTest, StopsOnceALoopDoesNotComeRound) {
  runs_ = false;
  Pass(seconds(15));
  EXPECT_EQ(Pass(seconds(30)), 0);
  EXPECT_NE(log_.find("sink bus: the delivery thread has not come round for 18 s"), log_.npos)
      << log_;
}

TEST_F(WatchdogTest, WithoutSomebodyToFeedItStillSaysWhatStandsStill) {
  Watchdog alone(&heartbeats_, &clock_, {});
  const Beat::Call call(bus_.get(), "flush", clock_.Now());
  clock_.Advance(seconds(11));
  testing::internal::CaptureStderr();
  alone.Tick();
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("sink bus: flush has not returned for 11 s; if it stays so, restart the "
                     "gateway"),
            log.npos)
      << log;
}

TEST_F(WatchdogTest, AProcessThatWasFrozenIsNotJudgedByThat) {
  Pass(seconds(30));
  clock_.Advance(seconds(25));
  testing::internal::CaptureStderr();
  fed_ = 0;
  watchdog_.Tick();  // before the loops have had their turn
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(fed_, 1);
  EXPECT_GE(Pass(seconds(30)), 2);
  EXPECT_EQ(log_, "");
  // A loop that does not come back is found all the same.
  clock_.Advance(seconds(25));
  watchdog_.Tick();
  runs_ = false;
  EXPECT_EQ(Pass(seconds(8)), 0);
}

TEST_F(WatchdogTest, AStopAsksForTimeUntilItsDeadline) {
  watchdog_.Stopping(clock_.Now() + seconds(60));
  Pass(seconds(120));
  // In steps that overlap, so that a late one does no harm, and never long past the deadline.
  ASSERT_GE(longer_.size(), 12u);
  EXPECT_LE(longer_.size(), 60u / 3);
  for (const Nanoseconds step : longer_) EXPECT_GE(step, 3 * watchdog_.interval());
  EXPECT_LE(longer_.back(), seconds(20));
}

TEST_F(WatchdogTest, TheThreadFeedsAndEnds) {
  std::atomic<int> fed{0};
  const SystemClock clock;
  Heartbeats heartbeats(&clock, std::chrono::milliseconds(80));
  Watchdog watchdog(&heartbeats, &clock, {[&fed] { ++fed; }, {}});
  watchdog.Start();
  while (fed < 3) std::this_thread::yield();
}

}  // namespace
}  // namespace penstock::gateway
