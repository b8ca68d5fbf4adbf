// One sink: receipts, retries, dead letters, back-pressure, connection, drain and stop.
#include "delivery/dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using fakes::Sent;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// One source, one sink, connected.
class DispatcherTest : public testing::Test {
 protected:
  void Make(CursorOptions options = {}, WindowLimits window = {}, queue::Limits limits = {}) {
    source_ = &rig_.AddSource(limits);
    sink_ = &rig_.AddSink(window);
    Rig::Route(*source_, *sink_, options);
    sink_->Connect();
  }
  void SendAll(size_t n) {
    ASSERT_EQ(rig_.Append(*source_, n), n);
    sink_->Step();
  }
  fakes::FakeSinkPort& port() { return sink_->port; }
  uint64_t token(size_t i) { return port().in_flight().at(i); }

  Rig rig_;
  Rig::Source* source_ = nullptr;
  Rig::Sink* sink_ = nullptr;
};

// ---- delivered

TEST_F(DispatcherTest, DeliversInOrderAndTheLedgerFollows) {
  Make();
  SendAll(3);
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 3));
  EXPECT_EQ(sink_->ledger().pending, 3u);
  port().Deliver(token(1));
  sink_->Step();
  EXPECT_EQ(sink_->ledger().delivered, 0u) << "the cursor has not moved";
  port().Deliver(token(0));
  sink_->Step();
  EXPECT_EQ(sink_->ledger().delivered, 2u);
  EXPECT_EQ(sink_->ledger().pending, 1u);
  EXPECT_FALSE(sink_->dispatcher->Drained());
  port().DeliverAll();
  sink_->Step();
  EXPECT_EQ(sink_->ledger().received, 3u);
  EXPECT_EQ(sink_->ledger().delivered, 3u);
  EXPECT_TRUE(sink_->dispatcher->Drained());
  EXPECT_EQ(sink_->dispatcher->in_flight(), 0u);
}

TEST_F(DispatcherTest, MemoryIsHeldUntilTheReceiptAndThenReleased) {
  Make();
  SendAll(4);
  EXPECT_EQ(rig_.lender.released.load(), 0u);
  EXPECT_GT(rig_.budget.used(), 0u);
  port().DeliverAll();
  sink_->Step();
  EXPECT_EQ(rig_.lender.released.load(), 4u);
  EXPECT_EQ(rig_.budget.used(), 0u);
}

TEST_F(DispatcherTest, AcksWhenEverySinkHasSettledAndNotBefore) {
  Make();
  Rig::Sink& other = rig_.AddSink();
  Rig::Route(*source_, other);
  other.Connect();
  SendAll(3);
  other.Step();
  port().DeliverAll();
  sink_->Step();
  EXPECT_THAT(source_->acks, IsEmpty());
  other.port.Deliver(other.port.in_flight()[1]);
  other.Step();
  EXPECT_THAT(source_->acks, IsEmpty()) << "event 0 has not settled there";
  other.port.Reject(other.port.in_flight()[0]);
  other.Step();
  EXPECT_THAT(source_->acks, ElementsAre(0, 1)) << "a dead letter is settled";
  other.port.DeliverAll();
  other.Step();
  EXPECT_THAT(source_->acks, ElementsAre(0, 1, 2));
}

TEST_F(DispatcherTest, ReceiptsMayComeInsideSubmit) {
  Make();
  port().on_sent = [this](const Sent& sent) { port().Deliver(sent.token); };
  const Signal::Ticket ticket = sink_->signal->Take();
  SendAll(1000);
  EXPECT_NE(sink_->signal->Take(), ticket) << "the host is woken for them";
  sink_->Step();
  EXPECT_EQ(sink_->ledger().delivered, 1000u);
  EXPECT_EQ(rig_.budget.used(), 0u);
}

TEST_F(DispatcherTest, ReceiptsForMessagesNotInFlightAreIgnoredAndLogged) {
  Make();
  SendAll(2);
  const uint64_t known = token(0);
  port().Deliver(known);
  sink_->Step();
  for (const uint64_t unknown : {known, uint64_t{77}, uint64_t{5} << 48, ~uint64_t{0}}) {
    const penstock_receipt receipt{unknown, PENSTOCK_DELIVERED, 0, 0, 0, {nullptr, 0}};
    sink_->dispatcher->Complete(&receipt, 1);
  }
  rig_.clock.Advance(seconds(60));
  testing::internal::CaptureStderr();
  sink_->Step();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("not in flight"));
  EXPECT_EQ(sink_->ledger().delivered, 1u);
  EXPECT_EQ(sink_->dispatcher->in_flight(), 1u);
  port().DeliverAll();
  sink_->Step();
  EXPECT_EQ(sink_->ledger().delivered, 2u);
}

TEST_F(DispatcherTest, ASecondReceiptForOneMessageIsIgnored) {
  Make();
  SendAll(3);
  const uint64_t twice = token(1);
  for (const int32_t outcome : {PENSTOCK_DELIVERED, PENSTOCK_RETRY, PENSTOCK_REJECTED}) {
    const penstock_receipt receipt{twice, outcome, 0, 0, 0, {nullptr, 0}};
    sink_->dispatcher->Complete(&receipt, 1);
  }
  EXPECT_EQ(sink_->Step(), TimePoint::max());
  EXPECT_EQ(sink_->dispatcher->in_flight(), 2u);
  port().Deliver(token(0));
  sink_->Step();
  EXPECT_EQ(sink_->ledger().delivered, 2u);
  EXPECT_EQ(sink_->ledger().retries, 0u);
}

TEST_F(DispatcherTest, DuplicatesAreCountedApartByAttempt) {
  Make();
  SendAll(2);
  port().Unknown(token(0));
  sink_->Step();
  rig_.clock.Advance(seconds(1));
  sink_->Step();
  testing::internal::CaptureStderr();
  for (const uint64_t t : std::vector<uint64_t>(port().in_flight()))
    port().Deliver(t, PENSTOCK_RECEIPT_DUPLICATE);
  sink_->Step();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("the bus had event"));
  EXPECT_EQ(sink_->ledger().duplicates, 1u);
  EXPECT_EQ(sink_->ledger().duplicates_at_once, 1u);
  EXPECT_EQ(sink_->ledger().delivered, 2u);
}

// ---- retry and unknown

TEST_F(DispatcherTest, RetriesWithTheSameIdAndTokenAfterTheBackoff) {
  Make({.retry = {milliseconds(100), seconds(10)}});
  SendAll(3);
  port().Retry(token(1));
  const TimePoint next = sink_->Step();
  EXPECT_GE(next - rig_.clock.Now(), milliseconds(50));
  EXPECT_LE(next - rig_.clock.Now(), milliseconds(100));
  rig_.clock.AdvanceTo(next - Nanoseconds(1));
  sink_->Step();
  EXPECT_EQ(port().log.size(), 3u) << "not before its time";
  rig_.clock.AdvanceTo(next);
  sink_->Step();
  ASSERT_EQ(port().log.size(), 4u);
  const Sent &first = port().log[1], &again = port().log[3];
  EXPECT_EQ(again.payload, "1");
  EXPECT_EQ(again.id, first.id);
  EXPECT_EQ(again.token, first.token);
  EXPECT_EQ(first.attempt, 1u);
  EXPECT_EQ(again.attempt, 2u);
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 3u);
  EXPECT_EQ(sink_->ledger().retries, 1u);
  EXPECT_EQ(sink_->ledger().unknown, 0u);
}

TEST_F(DispatcherTest, UnknownIsTriedAgainAndCounted) {
  Make();
  SendAll(1);
  port().Unknown(token(0));
  sink_->Step();
  rig_.clock.Advance(seconds(1));
  sink_->Step();
  EXPECT_EQ(port().in_flight().size(), 1u);
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().unknown, 1u);
  EXPECT_EQ(sink_->ledger().delivered, 1u);
}

// What a plugin from the future might say must not be taken for delivered.
TEST_F(DispatcherTest, AnOutcomeThatIsNoneIsTriedAgain) {
  Make();
  SendAll(1);
  port().Complete(token(0), 99, 0, "");
  sink_->Step();
  EXPECT_EQ(sink_->ledger().pending, 1u);
  rig_.clock.Advance(seconds(1));
  sink_->Step();
  EXPECT_EQ(port().in_flight().size(), 1u);
}

TEST_F(DispatcherTest, BackoffGrowsUntilSomethingIsDelivered) {
  Make({.retry = {milliseconds(100), seconds(10)}});
  SendAll(1);
  Nanoseconds full = milliseconds(100);
  for (int i = 0; i < 8; ++i) {
    port().RetryAll();
    const Nanoseconds delay = sink_->Step() - rig_.clock.Now();
    EXPECT_LE(delay, full);
    EXPECT_GE(delay, full / 2);
    full = std::min<Nanoseconds>(full * 2, seconds(10));
    rig_.clock.Advance(delay);
    sink_->Step();
    ASSERT_EQ(port().in_flight().size(), 1u);
  }
  port().DeliverAll();
  SendAll(1);
  port().RetryAll();
  EXPECT_LE(sink_->Step() - rig_.clock.Now(), milliseconds(100));
}

// The first attempts of others say nothing about what has failed.
TEST_F(DispatcherTest, BackoffGrowsWhileTheRetriedEventIsInFlight) {
  Make({.retry = {milliseconds(100), seconds(10)}});
  SendAll(1);
  port().RetryAll();
  rig_.clock.AdvanceTo(sink_->Step());
  sink_->Step();
  SendAll(1);
  port().Deliver(token(1));
  sink_->Step();
  port().Retry(token(0));
  EXPECT_GT(sink_->Step() - rig_.clock.Now(), milliseconds(99)) << "the second delay";
}

TEST_F(DispatcherTest, NothingOfTheCursorGoesDuringItsBackoff) {
  Make();
  SendAll(2);
  port().Retry(token(0));
  sink_->Step();
  SendAll(5);
  EXPECT_EQ(port().log.size(), 2u);
}

// ---- rejected

TEST_F(DispatcherTest, RejectedGoesToTheDeadLettersAndBlocksNobody) {
  Make();
  SendAll(3);
  const std::string id = port().sent(token(1)).id;
  port().Reject(token(1));
  EXPECT_EQ(sink_->Step(), TimePoint::max()) << "no backoff";
  ASSERT_EQ(sink_->dead_letters.letters.size(), 1u);
  const BuriedLetter& letter = sink_->dead_letters.letters[0];
  EXPECT_EQ(letter.sink, "bus");
  EXPECT_EQ(letter.offset, 1u);
  EXPECT_EQ(letter.id, id);
  EXPECT_EQ(letter.payload, "1");
  EXPECT_EQ(letter.reason, "too large");
  EXPECT_EQ(letter.why, DropReason::kRejected);
  SendAll(1);
  EXPECT_EQ(port().log.back().payload, "3");
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 3u);
  EXPECT_EQ(sink_->ledger().dead_lettered, 1u);
}

TEST_F(DispatcherTest, RejectedIsDroppedAndCountedWhereNothingKeepsIt) {
  Make();
  sink_->dead_letters.keep = false;
  SendAll(1);
  port().Reject(token(0));
  sink_->Step();
  EXPECT_EQ(sink_->ledger().dead_lettered, 0u);
  EXPECT_EQ(Dropped(sink_->ledger(), DropReason::kRejected), 1u);
  EXPECT_TRUE(sink_->dispatcher->Drained());
}

TEST_F(DispatcherTest, WhatCannotBeEncodedIsADeadLetterAndItsNeighboursGo) {
  Make({.format = event::Format::kCloudEvents});
  for (const char* payload : {"1", "{broken", "{also", "2"})
    ASSERT_TRUE(rig_.AppendPayload(*source_, payload, "application/json"));
  sink_->Step();
  sink_->Settle();
  EXPECT_EQ(port().log.size(), 2u);
  EXPECT_EQ(sink_->ledger().delivered, 2u);
  EXPECT_EQ(sink_->ledger().dead_lettered, 2u);
  ASSERT_EQ(sink_->dead_letters.letters.size(), 2u);
  EXPECT_EQ(sink_->dead_letters.letters[0].payload, "{broken");
}

TEST_F(DispatcherTest, WhatCannotBeEncodedIsBuriedOnceAlthoughTheSinkIsFull) {
  Make({.format = event::Format::kCloudEvents});
  port().capacity = 1;
  for (const char* payload : {"1", "2", "{broken", "3"})
    ASSERT_TRUE(rig_.AppendPayload(*source_, payload, "application/json"));
  sink_->Step();
  EXPECT_THAT(sink_->dead_letters.letters, IsEmpty()) << "it stands behind one that was not taken";
  port().capacity = fakes::FakeSinkPort::kUnlimited;
  sink_->dispatcher->Ready();
  sink_->Step();
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 3u);
  EXPECT_EQ(sink_->dead_letters.letters.size(), 1u);
}

// ---- back-pressure

TEST_F(DispatcherTest, AgainLosesRepeatsAndReordersNothing) {
  Make();
  port().capacity = 3;
  SendAll(10);
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 3));
  sink_->Step();
  SendAll(1);
  EXPECT_EQ(port().batches, 1u) << "not before ready()";
  for (size_t round = 0; round < 4; ++round) {
    port().capacity = 2;
    const Signal::Ticket ticket = sink_->signal->Take();
    sink_->dispatcher->Ready();
    EXPECT_NE(sink_->signal->Take(), ticket);
    sink_->Step();
  }
  EXPECT_EQ(Payloads(port().log), Numbers(0, 11));
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 11u);
}

TEST_F(DispatcherTest, AgainForRetriesKeepsTheirOrder) {
  Make();
  SendAll(6);
  port().RetryAll();
  rig_.clock.AdvanceTo(sink_->Step());
  ASSERT_EQ(rig_.Append(*source_, 2), 2u);
  port().log.clear();
  for (int i = 0; i < 4; ++i) {
    port().capacity = 2;
    sink_->dispatcher->Ready();
    sink_->Step();
  }
  EXPECT_EQ(Payloads(port().log), Numbers(0, 8));
  EXPECT_EQ(sink_->ledger().reordered, 0u);
}

TEST_F(DispatcherTest, ReadyMayComeInsideSubmit) {
  Make();
  port().capacity = 1;
  port().on_sent = [this](const Sent&) { sink_->dispatcher->Ready(); };
  SendAll(3);
  for (int i = 0; i < 2; ++i) {
    port().capacity = 1;
    sink_->Step();
  }
  EXPECT_EQ(Payloads(port().log), Numbers(0, 3));
}

TEST_F(DispatcherTest, AnErrorOfSubmitIsRetriedAfterAGrowingBackoff) {
  Make({.retry = {milliseconds(100), seconds(10)}});
  port().error = PENSTOCK_E_FAILED;
  ASSERT_EQ(rig_.Append(*source_, 5), 5u);
  const Nanoseconds first = sink_->Step() - rig_.clock.Now();
  EXPECT_LE(first, milliseconds(100));
  for (int i = 0; i < 5; ++i) {
    rig_.clock.Advance(seconds(10));
    sink_->Step();
  }
  EXPECT_EQ(port().batches, 6u);
  EXPECT_GT(sink_->Step() - rig_.clock.Now(), seconds(1));
  port().error = PENSTOCK_OK;
  rig_.clock.Advance(seconds(10));
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 5));
}

// Ready() will not follow, so waiting for it would be for ever.
TEST_F(DispatcherTest, OkForAPartOfABatchIsTriedAgainLater) {
  class Careless : public SinkPort {
   public:
    penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) override {
      *accepted = 1;
      tokens.push_back(batch.messages[0].token);
      return PENSTOCK_OK;
    }
    void Flush() override {}
    void Cancel(const std::vector<uint64_t>&) override {}
    std::vector<uint64_t> tokens;
  } careless;
  Rig::Source& source = rig_.AddSource();
  const auto signal = std::make_shared<Signal>();
  Dispatcher dispatcher("bus", &careless, {}, rig_.budget.MakeShare(0, signal), &rig_.clock, signal,
                        1);
  CursorSpec spec;
  spec.queue = source.queue;
  spec.source = &source.info;
  spec.encoder.format = event::Format::kRaw;
  dispatcher.AddCursor(std::move(spec));
  dispatcher.SetState(PENSTOCK_STATE_READY, "");
  rig_.Append(source, 3);
  for (int i = 0; i < 3; ++i) {
    dispatcher.Step();
    rig_.clock.Advance(seconds(20));
  }
  EXPECT_THAT(careless.tokens, ElementsAre(0, 1, 2));
}

// ---- the window

TEST_F(DispatcherTest, NeverMoreInFlightThanTheWindowByEvents) {
  Make({}, {.max_events = 10});
  SendAll(25);
  EXPECT_EQ(port().in_flight().size(), 10u);
  sink_->Settle();
  EXPECT_EQ(Payloads(port().log), Numbers(0, 25));
}

TEST_F(DispatcherTest, AFullWindowIsFilledAgainWhenHalfOfItHasSettled) {
  Make({}, {.max_events = 10});
  SendAll(25);
  for (int i = 0; i < 4; ++i) port().Deliver(token(0));
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(4, 6)) << "not yet";
  port().Deliver(token(0));
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(5, 10));
  for (size_t i = 5; i < 10; ++i) EXPECT_EQ(port().sent(token(i)).batch, 2u) << "one submit";
}

TEST_F(DispatcherTest, NeverMoreInFlightThanTheWindowByBytesButAlwaysOne) {
  Make({}, {.max_bytes = 1000});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(rig_.AppendPayload(*source_, std::string(300, 'a')));
  ASSERT_TRUE(rig_.AppendPayload(*source_, std::string(5000, 'b')));
  sink_->Step();
  EXPECT_LE(port().in_flight().size(), 4u);
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 11u);
}

// An event that the bus never takes stays at the cursor while later ones pass; what is remembered
// of those is bounded.
TEST_F(DispatcherTest, AWindowWithAStuckEventIsBounded) {
  Make({}, {.max_events = 8});
  SendAll(1000);
  const uint64_t stuck = token(0);
  size_t last = 0;
  while (port().log.size() > last) {
    last = port().log.size();
    for (const uint64_t t : std::vector<uint64_t>(port().in_flight()))
      if (t != stuck) port().Deliver(t);
    sink_->Step();
  }
  EXPECT_EQ(port().log.size(), 32u);
  EXPECT_EQ(source_->queue->stats().events, 1000u - 32u);
  sink_->dispatcher->SetDraining();
  sink_->Step();
  EXPECT_EQ(port().flushes, 1u) << "nothing more can be submitted";
  port().Deliver(stuck);
  sink_->Step();
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 1000u);
}

TEST_F(DispatcherTest, EncodedCopiesAreChargedUntilTheirReceipts) {
  Rig rig(20000);
  Rig::Source& source = rig.AddSource();
  Rig::Sink& sink = rig.AddSink();
  Rig::Route(source, sink, {.format = event::Format::kCloudEvents});
  sink.Connect();
  ASSERT_EQ(rig.Append(source, 10), 10u);
  const uint64_t queued = rig.budget.used();
  sink.Step();
  EXPECT_GT(rig.budget.used(), queued + 10 * 100);
  sink.Settle();
  EXPECT_EQ(rig.budget.used(), 0u);
}

// A sink that has something in flight and wants more, while others have all the memory.
class NoMemoryTest : public DispatcherTest {
 protected:
  void Make() {
    DispatcherTest::Make({.format = event::Format::kCloudEvents});
    SendAll(1);
    taken_ = rig_.budget.total() - rig_.budget.used() - kLeft;
    ASSERT_TRUE(others_->TryTake(taken_));
  }
  void FreeMemory() { others_->Return(taken_); }

  static constexpr uint64_t kLeft = 1000;  // for the queue, not for another batch of copies
  uint64_t taken_ = 0;
  std::shared_ptr<queue::MemoryBudget::Share> others_ =
      rig_.budget.MakeShare(0, std::make_shared<Signal>());
};

TEST_F(NoMemoryTest, ABatchWaitsAndTheSinkIsWokenWhenMemoryComesBack) {
  Make();
  SendAll(2);
  EXPECT_EQ(port().in_flight().size(), 1u);
  const Signal::Ticket ticket = sink_->signal->Take();
  FreeMemory();
  EXPECT_NE(sink_->signal->Take(), ticket);
  sink_->Step();
  EXPECT_EQ(port().in_flight().size(), 3u);
}

// Else a step would encode the same batch for ever, and never see the receipts that free memory.
TEST_F(NoMemoryTest, ABatchWaitsAlsoBeforeAnEventThatCannotBeEncoded) {
  Make();
  ASSERT_TRUE(rig_.AppendPayload(*source_, "1", "application/json"));
  ASSERT_TRUE(rig_.AppendPayload(*source_, "{broken", "application/json"));
  sink_->Step();
  EXPECT_EQ(port().in_flight().size(), 1u);
  EXPECT_THAT(sink_->dead_letters.letters, IsEmpty());
  FreeMemory();
  sink_->Settle();
  EXPECT_TRUE(sink_->dispatcher->Drained());
  EXPECT_EQ(sink_->dead_letters.letters.size(), 1u);
}

// ---- the connection

TEST_F(DispatcherTest, NothingIsSubmittedWhileTheSinkIsNotReady) {
  Make();
  sink_->Disconnect();
  SendAll(3);
  EXPECT_EQ(port().batches, 0u);
  sink_->dispatcher->SetState(PENSTOCK_STATE_FAILED, "no such user");
  sink_->Step();
  EXPECT_EQ(port().batches, 0u);
  sink_->Connect();
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 3));
  EXPECT_EQ(sink_->dispatcher->Status().state, PENSTOCK_STATE_READY);
}

TEST_F(DispatcherTest, AReconnectEndsEveryBackoff) {
  Make({.retry = {seconds(10), seconds(60)}});
  SendAll(2);
  port().RetryAll();
  sink_->Disconnect();
  sink_->Step();
  EXPECT_THAT(port().in_flight(), IsEmpty());
  sink_->Connect();
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 2));
}

TEST_F(DispatcherTest, AReconnectBetweenTwoStepsIsSeen) {
  Make({.retry = {seconds(10), seconds(60)}});
  SendAll(2);
  port().RetryAll();
  sink_->Step();
  sink_->Disconnect();
  sink_->Connect();
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 2));
}

TEST_F(DispatcherTest, AReconnectForgetsThatTheSinkWasFull) {
  Make();
  port().capacity = 1;
  SendAll(3);
  port().RetryAll();
  sink_->Disconnect();
  sink_->Step();
  port().capacity = fakes::FakeSinkPort::kUnlimited;
  sink_->Connect();
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 3));
}

// ---- the queue's policies as a sink sees them

TEST_F(DispatcherTest, DroppedNewestIsInTheLedgerOfEverySink) {
  Make({}, {}, {.max_events = 3, .when_full = queue::WhenFull::kDropNewest});
  sink_->Disconnect();
  EXPECT_EQ(rig_.Append(*source_, 10), 10u);
  sink_->Step();
  EXPECT_EQ(sink_->ledger().received, 10u);
  EXPECT_EQ(sink_->ledger().pending, 3u);
  EXPECT_EQ(Dropped(sink_->ledger(), DropReason::kWhenFull), 7u);
  sink_->Connect();
  sink_->Settle();
  EXPECT_EQ(Payloads(port().log), Numbers(0, 3));
}

TEST_F(DispatcherTest, DropOldestMovesTheLaggingCursorOnlyAndNotWhatIsInFlight) {
  Make({}, {.max_events = 2}, {.max_events = 4, .when_full = queue::WhenFull::kDropOldest});
  Rig::Sink& healthy = rig_.AddSink();
  Rig::Route(*source_, healthy);
  healthy.Connect();
  for (int i = 0; i < 10; ++i) {
    SendAll(2);
    healthy.Settle();
  }
  EXPECT_EQ(healthy.ledger().delivered, 20u);
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 2));
  sink_->Settle();
  EXPECT_EQ(Payloads(port().log), (std::vector<std::string>{"0", "1", "16", "17", "18", "19"}));
  EXPECT_EQ(Dropped(sink_->ledger(), DropReason::kWhenFull), 14u);
  EXPECT_EQ(source_->acks.size(), 20u) << "dropped is settled";
}

// ---- drain and stop

TEST_F(DispatcherTest, FlushesWhenThereIsNothingMoreToSubmitWhileDraining) {
  Make({}, {.max_events = 2});
  SendAll(3);
  port().DeliverAll();
  sink_->Step();
  EXPECT_EQ(port().flushes, 0u);
  sink_->dispatcher->SetDraining();
  sink_->Step();
  EXPECT_EQ(port().flushes, 1u);
  sink_->Step();
  EXPECT_EQ(port().flushes, 1u) << "once";
  EXPECT_FALSE(sink_->dispatcher->Drained());
  ASSERT_EQ(rig_.Append(*source_, 4), 4u);
  sink_->Step();
  EXPECT_EQ(port().flushes, 1u) << "the window is full, there is more to come";
  sink_->Settle();
  EXPECT_TRUE(sink_->dispatcher->Drained());
  EXPECT_EQ(port().flushes, 2u);
}

TEST_F(DispatcherTest, AfterStopSubmittingOnlyReceiptsAreHandled) {
  Make();
  SendAll(4);
  sink_->dispatcher->StopSubmitting();
  port().stopped = true;
  ASSERT_EQ(rig_.Append(*source_, 3), 3u);
  port().Deliver(token(0));
  port().Deliver(token(0));
  port().RetryAll();
  sink_->Step();
  rig_.clock.Advance(seconds(60));
  sink_->Step();
  EXPECT_EQ(sink_->dispatcher->in_flight(), 0u);
  EXPECT_EQ(sink_->ledger().delivered, 2u);
  EXPECT_EQ(sink_->ledger().pending, 5u);
}

// The plugin is stopped right after it, and no submit may overlap that.
TEST_F(DispatcherTest, StopSubmittingWaitsForASubmitThatIsUnderWay) {
  Make();
  std::atomic<bool> returned{false};
  std::thread stopper;
  port().on_sent = [&](const Sent&) {
    stopper = std::thread([&] {
      sink_->dispatcher->StopSubmitting();
      returned = true;
    });
    for (int i = 0; i < 500; ++i) std::this_thread::yield();
    EXPECT_FALSE(returned.load());
  };
  SendAll(1);
  stopper.join();
  EXPECT_TRUE(returned.load());
}

TEST_F(DispatcherTest, NeitherSubmitsNorFlushesOnceStopped) {
  Make();
  sink_->dispatcher->SetDraining();
  sink_->dispatcher->StopSubmitting();
  port().stopped = true;
  SendAll(1);
  EXPECT_EQ(port().flushes, 0u);
  EXPECT_EQ(port().batches, 0u);
  EXPECT_EQ(sink_->ledger().pending, 1u);
}

}  // namespace
}  // namespace penstock::delivery
