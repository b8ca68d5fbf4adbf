// Events that filters drop, let pass, or fail on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kEven[] = "int(body) % 2 == 0";
// Fails on every third.
constexpr char kBadThirds[] = "int(body) % 3 == 0 and nil + 1 or true";
constexpr char kWhy[] = "attempt to perform arithmetic on a nil value";

class FilterTest : public testing::Test {
 protected:
  void Make(CursorOptions options, WindowLimits limits = {}) {
    source_ = &rig_.AddSource();
    sink_ = &rig_.AddSink(limits);
    Rig::Route(*source_, *sink_, std::move(options));
    sink_->Connect();
  }
  static CursorOptions AtSource(std::string_view expression,
                                OnFilterError on_error = OnFilterError::kDeadLetter) {
    CursorOptions options;
    options.source_filter = Filtering(expression, on_error);
    return options;
  }
  static CursorOptions AtSink(std::string_view expression,
                              OnFilterError on_error = OnFilterError::kDeadLetter) {
    CursorOptions options;
    options.sink_filter = Filtering(expression, on_error);
    return options;
  }
  void Append(size_t n) { ASSERT_EQ(rig_.Append(*source_, n), n); }
  fakes::FakeSinkPort& port() { return sink_->port; }
  Ledger ledger() const { return sink_->ledger(); }
  uint64_t filtered() const { return Dropped(ledger(), DropReason::kFiltered); }
  uint64_t errors() const { return Dropped(ledger(), DropReason::kFilterError); }
  std::vector<BuriedLetter>& letters() { return sink_->dead_letters.letters; }

  QuietLog quiet_;
  Rig rig_;
  Rig::Source* source_ = nullptr;
  Rig::Sink* sink_ = nullptr;
};

TEST_F(FilterTest, WhatItDropsIsCountedAndTheRestGoes) {
  Make(AtSource(kEven));
  Append(10);
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("0", "2", "4", "6", "8"));
  EXPECT_EQ(ledger().delivered, 5u);
  EXPECT_EQ(filtered(), 5u);
  EXPECT_EQ(ledger().filter_errors, 0u);
  EXPECT_TRUE(sink_->dispatcher->Drained());
  EXPECT_EQ(source_->queue->stats().events, 0u);
  EXPECT_EQ(source_->acks.size(), 10u);
}

TEST_F(FilterTest, BothFiltersHaveToLetItPass) {
  CursorOptions options = AtSource(kEven);
  options.sink_filter = Filtering("int(body) % 4 == 0");
  Make(std::move(options));
  Append(12);
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("0", "4", "8"));
  EXPECT_EQ(filtered(), 9u);
}

TEST_F(FilterTest, TheSinksFilterIsNotAskedOfWhatTheSourcesDrops) {
  CursorOptions options = AtSource(kEven);
  options.sink_filter = Filtering("int(body) % 2 == 0 or nil + 1");
  Make(std::move(options));
  Append(4);
  sink_->Settle();
  EXPECT_EQ(filtered(), 2u);
  EXPECT_EQ(ledger().filter_errors, 0u);
}

TEST_F(FilterTest, EachRouteHasItsOwn) {
  Make(AtSink("int(body) < 1"));
  Rig::Sink& other = rig_.AddSink();
  Rig::Route(*source_, other, AtSink("int(body) >= 1"));
  other.Connect();
  Append(3);
  sink_->Settle();
  other.Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("0"));
  EXPECT_THAT(Payloads(other.port.log), ElementsAre("1", "2"));
  EXPECT_EQ(filtered(), 2u);
  EXPECT_EQ(Dropped(other.ledger(), DropReason::kFiltered), 1u);
  EXPECT_EQ(source_->acks.size(), 3u);
}

TEST_F(FilterTest, ALongRunGoesWithoutASinkThatTakesOrAnythingThatWakes) {
  Make(AtSink("false"), {.max_events = 4, .max_bytes = 1 << 20});
  Append(10'000);
  EXPECT_EQ(sink_->Step(), TimePoint::max());
  EXPECT_EQ(filtered(), 10'000u);
  EXPECT_EQ(port().batches, 0u);
  EXPECT_TRUE(sink_->dispatcher->Drained());
  EXPECT_EQ(source_->queue->stats().events, 0u);
}

TEST_F(FilterTest, NothingIsTakenWhileTheSinkIsAway) {
  Make(AtSink("false"));
  sink_->Disconnect();
  Append(5);
  sink_->Step();
  EXPECT_EQ(ledger().pending, 5u);
  sink_->Connect();
  sink_->Step();
  EXPECT_EQ(filtered(), 5u);
}

// A clock that moves whenever somebody looks.
class Ticking : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(Nanoseconds(now_ += kTick)); }
  int64_t WallNs() const override { return now_; }

 private:
  static constexpr int64_t kTick = 1'000'000;
  mutable int64_t now_ = 1;
};

TEST_F(FilterTest, AStepEndsInTimeAndAsksForTheNext) {
  source_ = &rig_.AddSource();
  Ticking clock;
  const auto signal = std::make_shared<Signal>();
  Dispatcher dispatcher("bus", &rig_.AddSink().port, {},
                        rig_.budget.MakeShare(0, signal, queue::MemoryBudget::First::kAlways),
                        &clock, signal, 1);
  CursorSpec spec;
  spec.queue = source_->queue;
  spec.source = &source_->info;
  spec.encoder = {event::Format::kRaw, "bus", {}, {}};
  spec.sink_filter = Filtering("false");
  dispatcher.AddCursor(std::move(spec));
  dispatcher.SetState(PENSTOCK_STATE_READY, "");
  Append(2000);
  size_t steps = 0;
  uint64_t before = 0;
  for (; !dispatcher.Drained(); ++steps) {
    const TimePoint next = dispatcher.Step();
    const uint64_t now = Dropped(dispatcher.Ledgers().at(0), DropReason::kFiltered);
    EXPECT_GT(now, before);
    EXPECT_LE(now - before, 100u);
    before = now;
    EXPECT_TRUE(dispatcher.Drained() || next <= clock.Now());
  }
  EXPECT_GT(steps, 20u);
  EXPECT_EQ(before, 2000u);
}

TEST_F(FilterTest, WhatStandsBehindAMessageThatIsNotTakenIsFilteredAgain) {
  Make(AtSink("int(body) % 3 == 1"));  // 1 4 7 10
  port().capacity = 2;
  Append(12);
  sink_->Step();
  EXPECT_THAT(port().in_flight_payloads(), ElementsAre("1", "4"));
  // 0 is behind the cursor; 2, 3, 5 and 6 have settled, 8 and 9 have not been read.
  EXPECT_EQ(filtered(), 1u);
  EXPECT_EQ(sink_->dispatcher->Routes().at(0).next, 7u);
  port().DeliverAll();
  sink_->Step();
  EXPECT_EQ(filtered(), 5u);
  EXPECT_EQ(sink_->dispatcher->Routes().at(0).committed, 7u);
  port().capacity = fakes::FakeSinkPort::kUnlimited;
  sink_->dispatcher->Ready();
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("1", "4", "7", "10"));
  EXPECT_EQ(filtered(), 8u);
  EXPECT_EQ(ledger().delivered, 4u);
}

TEST_F(FilterTest, WhatStandsInFrontOfAMessageThatIsNotTakenHasSettled) {
  Make(AtSink("int(body) >= 5"));
  port().capacity = 0;
  Append(8);
  sink_->Step();
  EXPECT_EQ(filtered(), 5u);
  EXPECT_EQ(sink_->dispatcher->Routes().at(0).committed, 5u);
  EXPECT_EQ(sink_->dispatcher->Routes().at(0).next, 5u);
  EXPECT_EQ(ledger().pending, 3u);
}

TEST_F(FilterTest, ErrorsBehindAMessageThatIsNotTakenAreNotCountedTwice) {
  for (const OnFilterError on_error :
       {OnFilterError::kPass, OnFilterError::kDrop, OnFilterError::kDeadLetter}) {
    Make(AtSink(kBadThirds, on_error));  // 0 and 3
    port().capacity = 0;
    Append(5);
    for (int i = 0; i < 3; ++i) {
      sink_->Step();
      sink_->dispatcher->Ready();
    }
    port().capacity = fakes::FakeSinkPort::kUnlimited;
    sink_->dispatcher->Ready();
    sink_->Settle();
    EXPECT_EQ(ledger().filter_errors, 2u);
    EXPECT_EQ(ledger().delivered, on_error == OnFilterError::kPass ? 5u : 3u);
  }
}

TEST_F(FilterTest, RetriedMessagesThatAreNotTakenHoldNothingBack) {
  Make(AtSink("int(body) ~= 1 and int(body) ~= 2"));
  Append(1);
  sink_->Step();
  port().RetryAll();
  const TimePoint next = sink_->Step();
  Append(3);  // 1, 2: dropped, 3
  rig_.clock.AdvanceTo(next);
  port().capacity = 0;
  sink_->Step();
  port().capacity = 1;
  sink_->dispatcher->Ready();
  sink_->Step();
  EXPECT_THAT(port().in_flight_payloads(), ElementsAre("0"));
  port().capacity = fakes::FakeSinkPort::kUnlimited;
  sink_->dispatcher->Ready();
  sink_->Settle();
  EXPECT_EQ(filtered(), 2u);
  EXPECT_THAT(Payloads(port().log), ElementsAre("0", "0", "3"));
}

TEST_F(FilterTest, AnErrorGoesToTheDeadLetters) {
  Make(AtSource(kBadThirds));
  Append(5);
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("1", "2", "4"));
  ASSERT_EQ(letters().size(), 2u);
  EXPECT_EQ(letters()[0].why, DropReason::kFilterError);
  EXPECT_EQ(letters()[0].payload, "0");
  EXPECT_EQ(letters()[0].reason, std::string("the source's filter: ") + kWhy);
  EXPECT_EQ(letters()[1].payload, "3");
  EXPECT_EQ(ledger().dead_lettered, 2u);
  EXPECT_EQ(ledger().filter_errors, 2u);
  EXPECT_TRUE(sink_->dispatcher->Drained());
}

TEST_F(FilterTest, AnErrorIsDropped) {
  Make(AtSink(kBadThirds, OnFilterError::kDrop));
  Append(5);
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("1", "2", "4"));
  EXPECT_THAT(letters(), IsEmpty());
  EXPECT_EQ(errors(), 2u);
  EXPECT_EQ(ledger().filter_errors, 2u);
}

TEST_F(FilterTest, AnErrorPasses) {
  CursorOptions options = AtSource(kBadThirds, OnFilterError::kPass);
  options.sink_filter = Filtering("int(body) ~= 3");
  Make(std::move(options));
  Append(5);
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("0", "1", "2", "4"));
  EXPECT_EQ(ledger().filter_errors, 2u);
  EXPECT_EQ(errors(), 0u);
  EXPECT_EQ(filtered(), 1u);
}

TEST_F(FilterTest, WithoutDeadLettersTheErrorIsDropped) {
  Make(AtSink(kBadThirds));
  sink_->dead_letters.keep = false;
  Append(2);
  sink_->Settle();
  EXPECT_EQ(errors(), 1u);
  EXPECT_EQ(ledger().dead_lettered, 0u);
}

TEST_F(FilterTest, AnErrorWaitsForRoomAmongTheDeadLetters) {
  Make(AtSink(kBadThirds));
  sink_->dead_letters.full = true;
  Append(2);
  sink_->Settle();
  const RouteStatus status = sink_->dispatcher->Routes().at(0);
  EXPECT_EQ(status.held, 1u);
  EXPECT_EQ(status.held_reason, std::string("the sink's filter: ") + kWhy);
  EXPECT_THAT(port().log, IsEmpty());
  sink_->dead_letters.full = false;
  rig_.clock.Advance(seconds(2));
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("1"));
  EXPECT_EQ(ledger().dead_lettered, 1u);
  EXPECT_EQ(ledger().filter_errors, 1u);
}

TEST_F(FilterTest, ARepeatedAttemptIsNotFilteredAgain) {
  Make(AtSink("int(body) == 0"));
  Append(1);
  sink_->Step();
  // The new filter of the source would not let it pass.
  sink_->dispatcher->SetSource(&source_->info, Filtering("false"));
  port().RetryAll();
  rig_.clock.AdvanceTo(sink_->Step());
  Append(1);
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("0", "0"));
  EXPECT_EQ(ledger().delivered, 1u);
  EXPECT_EQ(filtered(), 1u);
}

TEST_F(FilterTest, StrictOrderGoesOnOverWhatIsDropped) {
  for (const Order order : {Order::kStrict, Order::kStrictPipelined}) {
    CursorOptions options = AtSink(kEven);
    options.order = order;
    Make(std::move(options));
    Append(600);
    size_t retried = 0;
    while (!sink_->dispatcher->Drained()) {
      const TimePoint next = sink_->Step();
      if (port().in_flight().empty()) {
        if (!sink_->dispatcher->Drained()) rig_.clock.AdvanceTo(next);
      } else if (order == Order::kStrict && retried++ % 7 == 0) {
        EXPECT_EQ(port().in_flight().size(), 1u);
        port().RetryAll();
      } else {
        port().DeliverAll();
      }
      ASSERT_LT(port().log.size(), 1000u);
    }
    EXPECT_EQ(ledger().delivered, 300u);
    EXPECT_EQ(filtered(), 300u);
    EXPECT_EQ(ledger().reordered, 0u);
  }
}

TEST_F(FilterTest, WhoeverIsTooFarBehindSkipsWithoutAsking) {
  CursorOptions options = AtSink(kBadThirds, OnFilterError::kDrop);
  options.skip = true;
  options.max_behind.events = 4;
  Make(std::move(options));
  sink_->Disconnect();
  Append(10);
  sink_->Connect();
  sink_->Settle();
  EXPECT_THAT(Payloads(port().log), ElementsAre("7", "8"));
  EXPECT_EQ(Dropped(ledger(), DropReason::kBehind), 6u);
  EXPECT_EQ(errors(), 2u);  // 6 and 9
}

TEST_F(FilterTest, TheLedgerSaysIt) {
  Make(AtSink(kEven));
  Append(3);
  sink_->Settle();
  EXPECT_THAT(ledger().ToString(), HasSubstr("dropped 1 (filtered 1)"));
}

}  // namespace
}  // namespace penstock::delivery
