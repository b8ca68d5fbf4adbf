// A sink that falls behind: hold and skip, beside a healthy sink.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using ::testing::IsEmpty;

// One source with two sinks; the second one is dead.
class BehindTest : public testing::Test {
 protected:
  void Make(CursorOptions dead_options, queue::Limits limits = {}) {
    source_ = &rig_.AddSource(limits);
    healthy_ = &rig_.AddSink();
    dead_ = &rig_.AddSink();
    Rig::Route(*source_, *healthy_);
    Rig::Route(*source_, *dead_, dead_options);
    healthy_->Connect();
    dead_->Step();
  }
  void Emit(size_t n) {
    ASSERT_EQ(rig_.Append(*source_, n), n);
    dead_->Step();
    healthy_->Settle();
  }

  Rig rig_;
  Rig::Source* source_ = nullptr;
  Rig::Sink *healthy_ = nullptr, *dead_ = nullptr;
};

TEST_F(BehindTest, HoldKeepsEverythingAndThenStopsTheSource) {
  Make({}, {.max_events = 10});
  for (int i = 0; i < 5; ++i) Emit(2);
  EXPECT_EQ(rig_.Append(*source_, 1), 0u) << "the source's policy acts for all";
  EXPECT_EQ(healthy_->ledger().delivered, 10u);
  EXPECT_THAT(source_->acks, IsEmpty());
  dead_->Connect();
  dead_->Settle();
  EXPECT_EQ(Payloads(dead_->port.log), Numbers(0, 10));
  EXPECT_EQ(source_->acks.size(), 10u);
  EXPECT_EQ(rig_.Append(*source_, 1), 1u);
}

TEST_F(BehindTest, WhatDropOldestDroppedShowsWhileTheSinkIsAway) {
  Make({}, {.max_events = 4, .when_full = queue::WhenFull::kDropOldest});
  for (int i = 0; i < 10; ++i) Emit(2);
  EXPECT_EQ(dead_->ledger().pending, 4u);
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kWhenFull), 16u);
  EXPECT_TRUE(dead_->dispatcher->Routes().at(0).oldest_pending);
  dead_->Connect();
  dead_->Settle();
  EXPECT_EQ(Payloads(dead_->port.log), Numbers(16, 4));
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kWhenFull), 16u);
}

TEST_F(BehindTest, WhatDropOldestDroppedShowsBehindWhatWaitsForARetry) {
  Make({}, {.max_events = 4, .when_full = queue::WhenFull::kDropOldest});
  dead_->Connect();
  Emit(1);
  dead_->port.Retry(0);
  dead_->Disconnect();
  dead_->Step();
  for (int i = 0; i < 10; ++i) Emit(2);
  EXPECT_EQ(dead_->ledger().pending, 5u) << "one to be tried again, four in the queue";
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kWhenFull), 16u);
  dead_->Connect();
  dead_->Settle();
  EXPECT_EQ(dead_->ledger().delivered, 5u);
  EXPECT_EQ(dead_->ledger().pending, 0u);
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kWhenFull), 16u);
}

TEST_F(BehindTest, NothingIsSkippedThatTheRouteIsNotToSee) {
  Make({.skip = true, .max_behind = {.events = 2}},
       {.max_events = 4, .when_full = queue::WhenFull::kDropOldest});
  Emit(2);
  dead_->dispatcher->EndRoute("s0", 2);
  for (int i = 0; i < 10; ++i) Emit(2);
  const Ledger ledger = dead_->ledger();
  EXPECT_EQ(ledger.received, 2u);
  EXPECT_EQ(ledger.dropped_total(), 2u);
  EXPECT_EQ(ledger.pending, 0u);
  EXPECT_TRUE(dead_->dispatcher->Ended("s0"));
}

TEST_F(BehindTest, SkipByEvents) {
  Make({.skip = true, .max_behind = {.events = 4}}, {.max_events = 10});
  for (int i = 0; i < 10; ++i) Emit(2);
  EXPECT_EQ(healthy_->ledger().delivered, 20u);
  EXPECT_EQ(dead_->ledger().pending, 4u);
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kBehind), 16u);
  EXPECT_EQ(source_->acks.size(), 16u);
  dead_->Connect();
  dead_->Settle();
  EXPECT_EQ(Payloads(dead_->port.log), Numbers(16, 4));
  EXPECT_EQ(healthy_->ledger().dropped_total(), 0u);
}

TEST_F(BehindTest, SkipByBytes) {
  Make({.skip = true, .max_behind = {.bytes = 3 * fakes::ChargeOf(100)}});
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(rig_.AppendPayload(*source_, std::string(100, 'x')));
    dead_->Step();
    healthy_->Settle();
  }
  EXPECT_EQ(dead_->ledger().pending, 3u);
  EXPECT_EQ(healthy_->ledger().delivered, 10u);
}

TEST_F(BehindTest, AnEventLargerThanTheBoundIsNotSkippedByASinkThatIsNotBehind) {
  Make({.skip = true, .max_behind = {.bytes = 1000}});
  dead_->Connect();
  ASSERT_TRUE(rig_.AppendPayload(*source_, std::string(5000, 'x')));
  dead_->Settle();
  EXPECT_EQ(dead_->ledger().delivered, 1u);
}

TEST_F(BehindTest, SkipByAgeHappensByItself) {
  Make({.skip = true, .max_behind = {.age = seconds(10)}});
  Emit(3);
  rig_.clock.Advance(seconds(6));
  Emit(2);
  EXPECT_EQ(dead_->ledger().pending, 5u);
  const TimePoint next = dead_->Step();
  ASSERT_NE(next, TimePoint::max()) << "it wants to look again";
  rig_.clock.Advance(seconds(5));
  EXPECT_LE(next, rig_.clock.Now());
  dead_->Step();
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kBehind), 3u);
  rig_.clock.Advance(seconds(6));
  dead_->Step();
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kBehind), 5u);
  EXPECT_EQ(dead_->ledger().pending, 0u);
  EXPECT_EQ(source_->acks.size(), 5u);
}

TEST_F(BehindTest, WhatIsInFlightIsNotSkippedAndWhatWaitsForARetryIs) {
  Make({.skip = true, .max_behind = {.events = 4}});
  dead_->Connect();
  Emit(3);
  ASSERT_EQ(dead_->port.in_flight().size(), 3u);
  dead_->port.Retry(dead_->port.in_flight()[0]);
  dead_->port.Retry(dead_->port.in_flight()[0]);
  dead_->Disconnect();
  dead_->Step();
  Emit(2);
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kBehind), 1u) << "0 is more than 4 behind";
  Emit(6);
  EXPECT_EQ(dead_->port.in_flight_payloads(), Numbers(2, 1));
  dead_->port.DeliverAll();
  dead_->Step();
  const Ledger ledger = dead_->ledger();
  EXPECT_EQ(ledger.delivered, 1u);
  EXPECT_EQ(ledger.pending, 4u);
  EXPECT_EQ(Dropped(ledger, DropReason::kBehind), 6u);
  dead_->Connect();
  dead_->port.log.clear();
  dead_->Settle();
  EXPECT_EQ(Payloads(dead_->port.log), Numbers(7, 4));
}

TEST_F(BehindTest, RetriesThatAreTooOldAreSkippedThoughNothingNewCame) {
  Make({.skip = true, .max_behind = {.age = seconds(30)}, .retry = {seconds(100), seconds(100)}});
  dead_->Connect();
  Emit(2);
  dead_->port.RetryAll();
  TimePoint next = dead_->Step();
  EXPECT_EQ(dead_->ledger().pending, 2u);
  rig_.clock.Advance(seconds(31));
  EXPECT_LE(next, rig_.clock.Now()) << "not only at the end of the backoff";
  dead_->Step();
  EXPECT_EQ(Dropped(dead_->ledger(), DropReason::kBehind), 2u);
  EXPECT_TRUE(dead_->dispatcher->Drained());
}

TEST_F(BehindTest, ASinkThatKeepsUpSkipsNothing) {
  Make({.skip = true, .max_behind = {.events = 5, .bytes = 5000, .age = seconds(1)}});
  dead_->Connect();
  for (int i = 0; i < 100; ++i) {
    Emit(4);
    dead_->Settle();
    rig_.clock.Advance(milliseconds(500));
  }
  EXPECT_EQ(dead_->ledger().delivered, 400u);
}

}  // namespace
}  // namespace penstock::delivery
