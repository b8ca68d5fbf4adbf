// Routes that change while their sink runs: they end, leave, go over to another dispatcher.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "delivery/cursor.h"
#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class HandoverTest : public testing::Test {
 protected:
  HandoverTest() { sink_.Connect(); }

  CursorSpec Spec(Rig::Sink& sink) {
    CursorSpec spec;
    spec.queue = source_.queue;
    spec.source = &source_.info;
    spec.encoder = {event::Format::kRaw, "bus", {}, {}};
    spec.dead_letters = &sink.dead_letters;
    return spec;
  }
  // As a reload does; the new sink bears the old one's name.
  Rig::Sink& HandOver() {
    sink_.dispatcher->StopSubmitting();
    sink_.Step();
    auto cursors = sink_.dispatcher->TakeCursors();
    Rig::Sink& fresh = rig_.AddSink();
    fresh.dispatcher = std::make_unique<Dispatcher>(
        "bus", &fresh.port, WindowLimits{},
        rig_.budget.MakeShare(0, fresh.signal, queue::MemoryBudget::First::kAlways), &rig_.clock,
        fresh.signal, 1);
    fresh.port.dispatcher = fresh.dispatcher.get();
    for (auto& cursor : cursors) fresh.dispatcher->AddCursor(Spec(fresh), std::move(cursor));
    fresh.Connect();
    return fresh;
  }

  Rig rig_;
  Rig::Source& source_ = rig_.AddSource();
  Rig::Sink& sink_ = rig_.AddSink();
};

TEST_F(HandoverTest, TheNewOneGetsTheRestAndWhatHadNoReceipt) {
  Rig::Route(source_, sink_);
  rig_.Append(source_, 3);
  sink_.Step();
  sink_.port.Deliver(0);  // and no receipt of 1 and 2
  rig_.Append(source_, 2);
  Rig::Sink& fresh = HandOver();
  fresh.Step();
  EXPECT_THAT(Payloads(fresh.port.log), ElementsAre("1", "2", "3", "4"));
  EXPECT_EQ(fresh.port.log[0].attempt, 2u);
  EXPECT_EQ(fresh.port.log[2].attempt, 1u);
  fresh.Settle();
  const Ledger ledger = fresh.ledger();
  EXPECT_EQ(ledger.received, 5u);
  EXPECT_EQ(ledger.delivered, 5u);
  EXPECT_EQ(ledger.unknown, 2u);
  EXPECT_THAT(source_.acks, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(source_.queue->stats().events, 0u);
}

TEST_F(HandoverTest, WhatSettledBehindAnOpenOneIsNotSentAgain) {
  Rig::Route(source_, sink_);
  rig_.Append(source_, 3);
  sink_.Step();
  sink_.port.Deliver(1);
  Rig::Sink& fresh = HandOver();
  fresh.Step();
  EXPECT_THAT(Payloads(fresh.port.log), ElementsAre("0", "2"));
  fresh.Settle();
  EXPECT_EQ(fresh.ledger().delivered, 3u);
}

TEST_F(HandoverTest, ALateReceiptOfTheOldOneIsNobodys) {
  Rig::Route(source_, sink_);
  rig_.Append(source_, 1);
  sink_.Step();
  Rig::Sink& fresh = HandOver();
  const penstock_receipt late{0, PENSTOCK_DELIVERED, 0, 0, 0, {nullptr, 0}};
  sink_.dispatcher->Complete(&late, 1);
  sink_.dispatcher->Step();
  EXPECT_EQ(fresh.ledger().pending, 1u);
  fresh.Settle();
  EXPECT_EQ(fresh.ledger().delivered, 1u);
}

TEST_F(HandoverTest, ARouteEndsWhereItIsTold) {
  Rig::Route(source_, sink_);
  rig_.Append(source_, 2);
  sink_.dispatcher->EndRoute("s0", 2);
  rig_.Append(source_, 2);
  sink_.Step();
  EXPECT_THAT(Payloads(sink_.port.log), ElementsAre("0", "1"));
  EXPECT_FALSE(sink_.dispatcher->Ended("s0"));
  sink_.Settle();
  EXPECT_TRUE(sink_.dispatcher->Ended("s0"));
  EXPECT_EQ(sink_.ledger().received, 2u) << "it will never see the rest";
  EXPECT_EQ(sink_.ledger().pending, 0u);
  sink_.dispatcher->EndRoute("s0", ~uint64_t{0});
  sink_.Step();
  EXPECT_THAT(Payloads(sink_.port.log), ElementsAre("0", "1", "2", "3"));
  sink_.Settle();
}

TEST_F(HandoverTest, AReplayGoesOnWhenItsRouteDoesNotEndAfterAll) {
  CursorSpec spec = Spec(sink_);
  spec.replays = true;
  sink_.dispatcher->AddCursor(std::move(spec));
  sink_.dispatcher->EndRoute("s0", 0);
  rig_.Append(source_, 1);
  sink_.Step();
  EXPECT_THAT(sink_.port.log, IsEmpty());
  sink_.dispatcher->EndRoute("s0", ~uint64_t{0});
  sink_.Settle();
  EXPECT_THAT(Payloads(sink_.port.log), ElementsAre("0"));
}

TEST_F(HandoverTest, ARemovedRouteHoldsNothingBackAndItsLaneIsNotUsedAgain) {
  Rig::Source& other = rig_.AddSource();
  Rig::Route(source_, sink_);
  Rig::Route(other, sink_);
  rig_.Append(source_, 1);
  sink_.Settle();
  sink_.Step();
  sink_.dispatcher->RemoveRoute("s0");
  rig_.Append(source_, 3);
  EXPECT_EQ(source_.queue->begin(), 1u) << "nobody has released since";
  rig_.Append(other, 1);
  sink_.Settle();
  ASSERT_EQ(sink_.dispatcher->Ledgers().size(), 1u);
  EXPECT_EQ(sink_.ledger().source, "s1");
  EXPECT_EQ(sink_.ledger().delivered, 1u);
  Rig::Route(source_, sink_);
  rig_.Append(source_, 1);
  sink_.Step();
  EXPECT_EQ(sink_.port.log.back().token >> kLaneShift, 2u);
  sink_.Settle();
}

TEST_F(HandoverTest, ANewSourceInfoIsInWhatIsEncodedFromThenOn) {
  CursorSpec spec = Spec(sink_);
  spec.encoder.format = event::Format::kCloudEvents;
  sink_.dispatcher->AddCursor(std::move(spec));
  rig_.Append(source_, 1);
  sink_.Step();
  event::SourceInfo changed = source_.info;
  changed.event_source = "shop";
  sink_.dispatcher->SetSource(&changed, {});
  rig_.Append(source_, 1);
  sink_.Step();
  ASSERT_EQ(sink_.port.log.size(), 2u);
  EXPECT_THAT(sink_.port.log[0].payload, testing::HasSubstr("\"source\":\"s0\""));
  EXPECT_THAT(sink_.port.log[1].payload, testing::HasSubstr("\"source\":\"shop\""));
  sink_.Settle();
}

}  // namespace
}  // namespace penstock::delivery
