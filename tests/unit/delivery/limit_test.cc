// Events that are given up, and dead letters that have no room.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LimitTest : public testing::Test {
 protected:
  void Make(CursorOptions options) {
    source_ = &rig_.AddSource();
    sink_ = &rig_.AddSink();
    Rig::Route(*source_, *sink_, options);
    sink_->Connect();
  }
  static CursorOptions Limit(uint64_t attempts, Nanoseconds age, Order order = Order::kRelaxed) {
    CursorOptions options;
    options.order = order;
    options.retry = {milliseconds(100), seconds(1), attempts, age};
    return options;
  }
  void SendAll(size_t n) {
    ASSERT_EQ(rig_.Append(*source_, n), n);
    sink_->Step();
  }
  // To the moment that Step asked for.
  void StepLater() { rig_.clock.AdvanceTo(sink_->Step()), sink_->Step(); }
  fakes::FakeSinkPort& port() { return sink_->port; }
  uint64_t token(size_t i) { return port().in_flight().at(i); }
  std::vector<BuriedLetter>& letters() { return sink_->dead_letters.letters; }

  QuietLog quiet_;
  Rig rig_;
  Rig::Source* source_ = nullptr;
  Rig::Sink* sink_ = nullptr;
};

TEST_F(LimitTest, GivesUpAfterSoManyAttemptsAndTheOthersGoOn) {
  Make(Limit(3, Nanoseconds(0)));
  SendAll(2);
  port().Deliver(token(1));
  for (int attempt = 1; attempt <= 3; ++attempt) {
    EXPECT_THAT(letters(), IsEmpty());
    ASSERT_EQ(port().in_flight().size(), 1u);
    port().Unknown(token(0));
    StepLater();
  }
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].why, DropReason::kRetryLimit);
  EXPECT_EQ(letters()[0].payload, "0");
  EXPECT_EQ(letters()[0].reason, "given up after 3 attempts; the last: no answer in time");
  EXPECT_THAT(port().in_flight(), IsEmpty());
  EXPECT_EQ(sink_->ledger().dead_lettered, 1u);
  EXPECT_EQ(sink_->ledger().delivered, 1u);
  EXPECT_TRUE(sink_->dispatcher->Drained());
}

TEST_F(LimitTest, AFollowerIsNotBlamedForTheOneBeforeIt) {
  Make(Limit(2, Nanoseconds(0), Order::kStrictPipelined));
  SendAll(2);
  for (int attempt = 1; attempt <= 2; ++attempt) {
    ASSERT_EQ(port().in_flight().size(), 2u);
    const uint64_t follower = token(1);
    port().Retry(token(0));
    port().Retry(follower, PENSTOCK_RECEIPT_FOLLOWER);
    StepLater();
  }
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].payload, "0");
  ASSERT_EQ(port().in_flight().size(), 1u);
  EXPECT_EQ(port().in_flight_payloads(), Numbers(1, 1));
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 1u);
}

TEST_F(LimitTest, FollowersOfARejectedEventGoAgainAtOnceAlsoIfMoreWasSentInBetween) {
  Make(Limit(0, Nanoseconds(0), Order::kStrictPipelined));
  SendAll(2);
  const uint64_t follower = token(1);
  port().Reject(token(0));
  sink_->Step();
  SendAll(1);
  const uint64_t last = token(1);
  ASSERT_NE(last, follower);
  port().Retry(follower, PENSTOCK_RECEIPT_FOLLOWER);
  port().Retry(last, PENSTOCK_RECEIPT_FOLLOWER);
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(1, 2)) << "without a pause";
}

TEST_F(LimitTest, GivesUpWhatIsTooOldWhileItWaitsToBeTriedAgain) {
  Make(Limit(0, seconds(5)));
  SendAll(1);
  port().Retry(token(0));
  sink_->Step();
  sink_->Disconnect();
  rig_.clock.Advance(seconds(4));
  sink_->Step();
  EXPECT_THAT(letters(), IsEmpty());
  EXPECT_EQ(sink_->Step(), rig_.clock.Now() + seconds(1)) << "the moment at which it is too old";
  rig_.clock.Advance(seconds(1));
  sink_->Step();
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(sink_->ledger().dead_lettered, 1u);
}

TEST_F(LimitTest, WhatWasNeverTriedIsNotTooOld) {
  Make(Limit(0, seconds(5)));
  sink_->Disconnect();
  SendAll(3);
  rig_.clock.Advance(seconds(60));
  sink_->Step();
  EXPECT_THAT(letters(), IsEmpty());
  sink_->Connect();
  sink_->Step();
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 3u);
}

TEST_F(LimitTest, AsksTheSinkOnceForWhatItHasHeldForTooLong) {
  Make(Limit(0, seconds(5)));
  SendAll(2);
  const uint64_t held = token(0), fine = token(1);
  port().Deliver(fine);
  rig_.clock.Advance(seconds(5));
  sink_->Step();
  sink_->Step();
  EXPECT_THAT(port().cancelled, ElementsAre(held));
  EXPECT_THAT(letters(), IsEmpty()) << "the sink still has it";
  port().Unknown(held);
  sink_->Step();
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(sink_->ledger().dead_lettered, 1u);
  EXPECT_EQ(sink_->ledger().delivered, 1u);
}

TEST_F(LimitTest, ACancelledAttemptDoesNotHideWhyThoseBeforeItFailed) {
  Make(Limit(0, seconds(5)));
  SendAll(1);
  port().Retry(token(0));
  StepLater();
  rig_.clock.Advance(seconds(5));
  sink_->Step();
  ASSERT_EQ(port().cancelled.size(), 1u);
  port().Unknown(token(0));
  sink_->Step();
  ASSERT_EQ(letters().size(), 1u);
  EXPECT_EQ(letters()[0].reason,
            "given up after 2 attempts; the last: no answer in time; before: no stream");
}

TEST_F(LimitTest, FullDeadLettersStopTheRouteUntilThereIsRoom) {
  Make({});
  sink_->dead_letters.full = true;
  SendAll(3);
  port().Reject(token(1));
  port().Deliver(token(0));
  sink_->Step();
  ASSERT_EQ(rig_.Append(*source_, 2), 2u);
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(2, 1)) << "nothing more goes";
  port().DeliverAll();
  sink_->Step();
  EXPECT_EQ(sink_->ledger().pending, 4u);
  EXPECT_FALSE(sink_->dispatcher->Drained());
  sink_->dead_letters.full = false;
  StepLater();
  EXPECT_EQ(letters().size(), 1u);
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().dead_lettered, 1u);
  EXPECT_EQ(sink_->ledger().delivered, 4u);
  EXPECT_TRUE(sink_->dispatcher->Drained());
}

TEST_F(LimitTest, FullDeadLettersStopNobodyElse) {
  Make({});
  Rig::Source& other = rig_.AddSource();
  Rig::Route(other, *sink_);
  sink_->dead_letters.full = true;
  SendAll(1);
  port().Reject(token(0));
  sink_->Step();
  ASSERT_EQ(rig_.Append(other, 3), 3u);
  sink_->Step();
  sink_->Settle();
  EXPECT_EQ(sink_->ledger(1).delivered, 3u);
  EXPECT_EQ(sink_->ledger(0).pending, 1u);
}

}  // namespace
}  // namespace penstock::delivery
