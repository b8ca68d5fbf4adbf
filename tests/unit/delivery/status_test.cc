// What others are shown of a cursor while it works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using ::testing::HasSubstr;

class StatusTest : public testing::Test {
 protected:
  StatusTest() : source_(rig_.AddSource()), sink_(rig_.AddSink()) { Rig::Route(source_, sink_); }
  RouteStatus Status() const { return sink_.dispatcher->Routes().at(0); }
  void Append(size_t n) { ASSERT_EQ(rig_.Append(source_, n), n); }

  Rig rig_;
  Rig::Source& source_;
  Rig::Sink& sink_;
};

TEST_F(StatusTest, ShowsHowFarTheCursorIs) {
  sink_.Connect();
  Append(5);
  sink_.Step();
  EXPECT_EQ(Status().committed, 0u);
  EXPECT_EQ(Status().next, 5u);
  EXPECT_EQ(Status().ledger.pending, 5u);
  sink_.port.Deliver(sink_.port.in_flight().at(0));
  sink_.port.Deliver(sink_.port.in_flight().at(0));
  sink_.Step();
  EXPECT_EQ(Status().committed, 2u);
  EXPECT_EQ(Status().ledger.delivered, 2u);
  EXPECT_EQ(Status().failures, 0u);
}

TEST_F(StatusTest, ShowsSinceWhenTheOldestEventWaits) {
  EXPECT_EQ(Status().oldest_pending, std::nullopt);
  const TimePoint first = rig_.clock.Now();
  Append(1);
  rig_.clock.Advance(seconds(3));
  const TimePoint second = rig_.clock.Now();
  Append(1);
  // Not read yet, since the sink is not connected.
  EXPECT_EQ(Status().oldest_pending, first);
  sink_.Connect();
  sink_.Step();
  EXPECT_EQ(Status().oldest_pending, first);
  sink_.port.Deliver(sink_.port.in_flight().at(0));
  sink_.Step();
  EXPECT_EQ(Status().oldest_pending, second);
  sink_.Settle();
  EXPECT_EQ(Status().oldest_pending, std::nullopt);
  // The window is empty again: the queue's word counts.
  sink_.Disconnect();
  sink_.Step();
  rig_.clock.Advance(seconds(3));
  Append(1);
  EXPECT_EQ(Status().oldest_pending, rig_.clock.Now());
}

TEST_F(StatusTest, ShowsTheBackoffWithItsReasonUntilAnEventGetsThrough) {
  sink_.Connect();
  Append(1);
  sink_.Step();
  sink_.port.RetryAll();
  sink_.Step();
  EXPECT_EQ(Status().failures, 1u);
  EXPECT_THAT(Status().reason, HasSubstr("no stream"));
  EXPECT_GT(Status().next_try, rig_.clock.Now());
  EXPECT_EQ(Status().ledger.retries, 1u);
  rig_.clock.AdvanceTo(Status().next_try);
  sink_.Step();
  EXPECT_EQ(Status().failures, 1u) << "on its way again, and nobody knows yet";
  EXPECT_LE(Status().next_try, rig_.clock.Now());
  sink_.Settle();
  EXPECT_EQ(Status().failures, 0u);
  EXPECT_EQ(Status().reason, "");
}

TEST_F(StatusTest, ANewConnectionEndsTheBackoff) {
  sink_.Connect();
  Append(1);
  sink_.Step();
  sink_.port.RetryAll();
  sink_.Disconnect();
  sink_.Step();
  EXPECT_EQ(Status().failures, 1u);
  sink_.Connect();
  sink_.port.capacity = 0;
  sink_.Step();
  EXPECT_EQ(Status().failures, 0u);
}

TEST_F(StatusTest, DoesNotWaitForASinkThatIsInSubmit) {
  sink_.Connect();
  Append(2);
  RouteStatus seen;
  SinkStatus sink;
  sink_.port.on_sent = [&](const fakes::Sent&) {
    std::thread([&] {
      seen = Status();
      sink = sink_.dispatcher->Status();
    }).join();
  };
  sink_.Step();
  EXPECT_EQ(seen.ledger.pending, 2u);
  EXPECT_EQ(sink.state, PENSTOCK_STATE_READY);
  sink_.Settle();
}

}  // namespace
}  // namespace penstock::delivery
