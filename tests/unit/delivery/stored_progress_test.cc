// What a crash sends again: not what settled behind an event that did not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/delivery/rig.h"
#include "unit/delivery/stored_rig.h"

namespace penstock::delivery {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// As the queue behind it, but with room for only so many stretches above the cursor.
class SmallRecord : public queue::Queue {
 public:
  SmallRecord(std::shared_ptr<queue::Queue> behind, size_t max_above)
      : behind_(std::move(behind)), max_above_(max_above) {}
  uint64_t id() const override { return behind_->id(); }
  penstock_status Append(const penstock_event_batch& batch, size_t* accepted,
                         Nanoseconds timeout) override {
    return behind_->Append(batch, accepted, timeout);
  }
  queue::Reader AddReader(const std::string& name, queue::Start start,
                          std::shared_ptr<Signal> wake) override {
    queue::Reader out = behind_->AddReader(name, start, std::move(wake));
    out.max_above = max_above_;
    return out;
  }
  queue::ReadResult Read(queue::ReaderId reader, uint64_t offset, uint64_t max_events,
                         uint64_t max_bytes) override {
    return behind_->Read(reader, offset, max_events, max_bytes);
  }
  void Release(queue::ReaderId reader, queue::Progress progress) override {
    behind_->Release(reader, std::move(progress));
  }
  uint64_t WithinBound(uint64_t offset, uint64_t max_events, uint64_t max_bytes,
                       Nanoseconds max_age) const override {
    return behind_->WithinBound(offset, max_events, max_bytes, max_age);
  }
  uint64_t begin() const override { return behind_->begin(); }
  uint64_t end() const override { return behind_->end(); }
  queue::Stats stats() const override { return behind_->stats(); }
  void Close() override { behind_->Close(); }

 private:
  const std::shared_ptr<queue::Queue> behind_;
  const size_t max_above_;
};

class StoredProgressTest : public testing::Test {
 protected:
  StoredProgressTest() { Start(); }
  ~StoredProgressTest() override {
    Stop();
    EXPECT_EQ(budget_.used(), 0u);
    EXPECT_EQ(lender_.released.load(), lender_.lent.load());
  }

  void Start() {
    auto letters = queue::StoredLetters::Open(rig_.store(), "orders", {}, rig_.clock());
    ASSERT_TRUE(letters) << letters.error().message;
    letters_ = std::move(*letters);
    auto opened = queue::DiskQueue::Open(rig_.store(), "orders", limits_, &budget_, 0, rig_.clock(),
                                         {}, letters_);
    ASSERT_TRUE(opened) << opened.error().message;
    queue_ = std::move(*opened);
    signal_ = std::make_shared<Signal>();
    port_ = std::make_unique<fakes::FakeSinkPort>();
    dispatcher_ = std::make_unique<Dispatcher>(
        "bus", port_.get(), WindowLimits{},
        budget_.MakeShare(0, signal_, queue::MemoryBudget::First::kAlways), rig_.clock(), signal_,
        1);
    port_->dispatcher = dispatcher_.get();
    CursorSpec spec;
    spec.queue = queue_;
    if (max_above_ > 0) spec.queue = std::make_shared<SmallRecord>(queue_, max_above_);
    spec.source = &info_;
    spec.encoder = {event::Format::kRaw, "bus", {}, {}};
    spec.order = order_;
    spec.sink_filter = filter_;
    spec.dead_letters = letters_.get();
    spec.start = queue::Start::kOldest;
    dispatcher_->AddCursor(std::move(spec));
    dispatcher_->SetState(PENSTOCK_STATE_READY, "");
  }
  void Stop() {
    dispatcher_.reset();
    port_.reset();
    queue_.reset();
    letters_.reset();
  }
  void Crash() {
    Stop();
    rig_.Reopen();
    Start();
  }
  void Append(size_t n) {
    fakes::FakeBatch batch(&lender_);
    for (size_t i = 0; i < n; ++i) batch.Add(std::to_string(emitted_ + i), emitted_ + i);
    size_t accepted = 0;
    EXPECT_EQ(batch.AppendTo(*queue_, &accepted, Nanoseconds(0)), PENSTOCK_OK);
    emitted_ += n;
    rig_.Commit();
  }
  void Step() {
    dispatcher_->Step();
    EXPECT_TRUE(ledger().Balances()) << ledger().ToString();
  }
  void Answer(uint64_t offset, int32_t outcome) { port_->Complete(offset, outcome, 0, "why"); }
  // 0 is refused, the others are delivered.
  void RefuseTheFirst(uint64_t end) {
    Step();
    Answer(0, PENSTOCK_RETRY);
    for (uint64_t o = 1; o < end; ++o) Answer(o, PENSTOCK_DELIVERED);
    Step();
  }
  std::vector<std::string> Sent() const { return Payloads(port_->log); }
  Ledger ledger() const { return dispatcher_->Ledgers().at(0); }
  store::CursorRecord Record() { return rig_.store()->Cursors(letters_->queue())->at(0); }
  store::QueueRecord QueueRecord() { return rig_.store()->Queues()->at(0); }

  const QuietLog quiet_;
  StoredRig rig_;
  queue::Limits limits_{1 << 20, 1 << 30, queue::WhenFull::kBlock};
  Order order_ = Order::kRelaxed;
  size_t max_above_ = 0;  // 0: the queue's own
  FilterStep filter_;
  queue::MemoryBudget budget_{64 << 20};
  fakes::Lender lender_;
  event::SourceInfo info_{"orders", "orders", "created", "generic", {}};
  std::shared_ptr<queue::StoredLetters> letters_;
  std::shared_ptr<queue::DiskQueue> queue_;
  std::shared_ptr<Signal> signal_;
  std::unique_ptr<fakes::FakeSinkPort> port_;
  std::unique_ptr<Dispatcher> dispatcher_;
  uint64_t emitted_ = 0;
};

TEST_F(StoredProgressTest, SendsOnlyTheStuckEventAgain) {
  Append(10);
  RefuseTheFirst(10);
  EXPECT_EQ(ledger().delivered, 9u);
  EXPECT_EQ(ledger().pending, 1u);
  rig_.Commit();
  EXPECT_EQ(store::Pending(QueueRecord(), Record()), 1u);
  Crash();
  EXPECT_EQ(ledger().delivered, 9u);
  EXPECT_EQ(ledger().pending, 1u);
  Append(2);
  Step();
  EXPECT_THAT(Sent(), ElementsAre("0", "10", "11"));
  port_->DeliverAll();
  Step();
  EXPECT_EQ(ledger().delivered, 12u);
  EXPECT_EQ(ledger().reordered, 1u);
  EXPECT_TRUE(dispatcher_->Drained());
  rig_.Commit();
  EXPECT_EQ(Record().committed, 12u);
  EXPECT_THAT(Record().settled, IsEmpty());
}

TEST_F(StoredProgressTest, SendsAgainWhatSettledAfterTheLastCommit) {
  Append(4);
  Step();
  Answer(1, PENSTOCK_DELIVERED);
  Step();
  rig_.Commit();
  Answer(3, PENSTOCK_DELIVERED);
  Step();
  Crash();
  EXPECT_EQ(ledger().delivered, 1u);
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_THAT(Sent(), ElementsAre("0", "2", "3"));
}

TEST_F(StoredProgressTest, ShowsWhatItFoundAtTheStart) {
  EXPECT_EQ(dispatcher_->Routes().at(0).at_start.ToString(), ledger().ToString());
  Append(4);
  RefuseTheFirst(4);
  rig_.Commit();
  EXPECT_EQ(dispatcher_->Routes().at(0).at_start.received, 0u);
  Crash();
  Append(1);
  Step();
  port_->DeliverAll();
  Step();
  EXPECT_EQ(ledger().delivered, 5u);
  const Ledger at_start = dispatcher_->Routes().at(0).at_start;
  EXPECT_TRUE(at_start.Balances()) << at_start.ToString();
  EXPECT_EQ(at_start.received, 4u);
  EXPECT_EQ(at_start.delivered, 3u);
  EXPECT_EQ(at_start.pending, 1u);
}

TEST_F(StoredProgressTest, AtTheEndNothingIsLeftToBeSent) {
  Append(5);
  RefuseTheFirst(5);
  rig_.Commit();
  Crash();
  Step();
  EXPECT_THAT(Sent(), ElementsAre("0"));
  port_->DeliverAll();
  Step();
  EXPECT_TRUE(dispatcher_->Drained());
  EXPECT_EQ(ledger().pending, 0u);
}

TEST_F(StoredProgressTest, ADeadLetterDoesNotWaitForTheCursor) {
  Append(4);
  Step();
  Answer(2, PENSTOCK_REJECTED);
  Step();
  EXPECT_EQ(ledger().dead_lettered, 1u);
  rig_.Commit();
  EXPECT_EQ(Record().committed, 0u);
  EXPECT_EQ(rig_.Letters(letters_->queue(), "bus").size(), 1u);
  Crash();
  EXPECT_EQ(ledger().dead_lettered, 1u);
  EXPECT_EQ(letters_->usage().events, 1u);
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_THAT(Sent(), ElementsAre("0", "1", "3"));
  port_->DeliverAll();
  Step();
  rig_.Commit();
  EXPECT_EQ(ledger().dead_lettered, 1u);
  EXPECT_EQ(rig_.Letters(letters_->queue(), "bus").size(), 1u);
}

TEST_F(StoredProgressTest, KeepsTheLowestStretchesWhenThereAreTooMany) {
  Stop();
  max_above_ = 2;
  Start();
  Append(10);
  Step();
  for (const uint64_t offset : {9, 7, 5, 3, 1}) Answer(offset, PENSTOCK_DELIVERED);
  Step();
  EXPECT_EQ(ledger().delivered, 2u) << "what is not recorded is not counted";
  EXPECT_EQ(ledger().pending, 8u);
  Answer(4, PENSTOCK_DELIVERED);
  Step();
  rig_.Commit();
  EXPECT_LE(Record().settled.size(), 2u);
  Crash();
  const uint64_t recorded = ledger().delivered;
  EXPECT_EQ(recorded, 10 - ledger().pending);
  for (int i = 0; i < 6; ++i) Step();
  EXPECT_EQ(Sent().size(), 10 - recorded);
  port_->DeliverAll();
  Step();
  EXPECT_EQ(ledger().delivered, 10u);
  EXPECT_TRUE(dispatcher_->Drained());
}

TEST_F(StoredProgressTest, OnceThereIsRoomTheRestIsRecorded) {
  Stop();
  max_above_ = 1;
  Start();
  Append(6);
  Step();
  for (const uint64_t offset : {1, 3, 5}) Answer(offset, PENSTOCK_DELIVERED);
  Step();
  EXPECT_EQ(ledger().delivered, 1u);
  Answer(0, PENSTOCK_DELIVERED);
  Step();
  EXPECT_EQ(ledger().delivered, 3u) << "0, 1 and 3";
  Answer(2, PENSTOCK_DELIVERED);
  Step();
  EXPECT_EQ(ledger().delivered, 5u);
  rig_.Commit();
  EXPECT_EQ(Record().committed, 4u);
  EXPECT_THAT(Record().settled, ElementsAre(event::OffsetRange{5, 6}));
}

TEST_F(StoredProgressTest, StrictOrderRecordsNothingAboveTheCursorButHeedsWhatIsThere) {
  Append(3);
  RefuseTheFirst(3);
  rig_.Commit();
  Stop();
  order_ = Order::kStrictPipelined;
  Start();
  Append(3);
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_THAT(Sent(), ElementsAre("0", "3", "4", "5"));
  Answer(4, PENSTOCK_DELIVERED);
  Step();
  rig_.Commit();
  EXPECT_THAT(Record().settled, ElementsAre(event::OffsetRange{1, 3}));
  port_->DeliverAll();
}

TEST_F(StoredProgressTest, ADropOfTheOldestCountsOnlyWhatHadNotSettled) {
  Stop();
  limits_ = {6, 1 << 30, queue::WhenFull::kDropOldest};
  Start();
  for (int i = 0; i < 6; ++i) Append(1);
  Step();
  Answer(1, PENSTOCK_DELIVERED);
  Answer(3, PENSTOCK_DELIVERED);
  Step();
  rig_.Commit();
  for (int i = 0; i < 4; ++i) Append(1);
  rig_.Commit();
  ASSERT_EQ(queue_->begin(), 4u);
  EXPECT_EQ(store::Pending(QueueRecord(), Record()), 6u);
  Crash();
  for (int i = 0; i < 4; ++i) Step();
  EXPECT_THAT(Sent(), ElementsAre("4", "5", "6", "7", "8", "9"));
  EXPECT_EQ(ledger().delivered, 2u);
  port_->DeliverAll();
  Step();
  EXPECT_EQ(ledger().delivered, 8u);
  EXPECT_EQ(Dropped(ledger(), DropReason::kWhenFull), 2u);
  EXPECT_TRUE(dispatcher_->Drained());
}

TEST_F(StoredProgressTest, WhatAFilterDroppedIsCountedOnceOverACrash) {
  Stop();
  filter_ = Filtering("int(body) % 3 == 0");  // 0, 3, 6 and 9 go
  Start();
  Append(10);
  Step();
  Answer(3, PENSTOCK_DELIVERED);
  Answer(9, PENSTOCK_DELIVERED);
  Step();
  rig_.Commit();
  // 1 to 5 and 7 to 9 have settled above the cursor, which 0 holds back.
  EXPECT_EQ(Record().committed, 0u);
  EXPECT_THAT(Record().settled, ElementsAre(event::OffsetRange{1, 6}, event::OffsetRange{7, 10}));
  Crash();
  EXPECT_EQ(Dropped(ledger(), DropReason::kFiltered), 6u);
  for (int i = 0; i < 3; ++i) Step();
  EXPECT_THAT(Sent(), ElementsAre("0", "6"));
  port_->DeliverAll();
  Step();
  EXPECT_EQ(ledger().delivered, 4u);
  EXPECT_EQ(Dropped(ledger(), DropReason::kFiltered), 6u);
  EXPECT_TRUE(dispatcher_->Drained());
}

// Version 0.1.0 knows the reasons up to kForgotten.
uint64_t SumAsOfVersion010(const store::CursorRecord& record) {
  uint64_t sum = 0;
  for (size_t i = 0; i < 9; ++i) sum += record.counters[i];
  return sum;
}

TEST_F(StoredProgressTest, OlderGatewaysReadALedgerThatBalances) {
  static_assert(static_cast<size_t>(DropReason::kForgotten) == 6);
  static_assert(static_cast<size_t>(DropReason::kFiltered) == 7);
  static_assert(static_cast<size_t>(DropReason::kFilterError) == 8);
  Stop();
  filter_ = Filtering("int(body) ~= 1 or nil + 1", OnFilterError::kDrop);
  Start();
  Append(3);
  Step();
  port_->DeliverAll();
  Step();
  rig_.Commit();
  store::CursorRecord record = Record();
  EXPECT_EQ(record.committed, 3u);
  EXPECT_EQ(SumAsOfVersion010(record), 3u);
  EXPECT_EQ(Dropped(ledger(), DropReason::kFilterError), 1u);
  // It writes back only what it knows.
  std::fill(record.counters.begin() + 9, record.counters.end(), 0);
  const queue::Counters old = queue::CountersOf(record);
  EXPECT_EQ(old.delivered, 2u);
  EXPECT_EQ(old.dropped[static_cast<size_t>(DropReason::kForgotten)], 1u);
  EXPECT_EQ(old.dropped_total(), 1u);
  // And what it has written reads as it was.
  filter_ = {};
  Crash();
  EXPECT_EQ(Dropped(ledger(), DropReason::kFilterError), 1u);
  EXPECT_EQ(Dropped(ledger(), DropReason::kForgotten), 0u);
  EXPECT_TRUE(ledger().Balances());
}

}  // namespace
}  // namespace penstock::delivery
