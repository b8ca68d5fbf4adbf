#include "queue/memory_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fakes/fake_clock.h"
#include "fakes/fake_events.h"

namespace penstock::queue {
namespace {

using fakes::ChargeOf;
using fakes::FakeBatch;
using fakes::FakeClock;
using fakes::Lender;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Nanoseconds kTry{0}, kForEver{-1};
constexpr uint64_t kQueueId = 0x1234;

// A queue with its budget, clock and a list of acks.
class QueueTest : public testing::Test {
 protected:
  MemoryQueue& Make(Limits limits, uint64_t memory = 64 << 20, uint64_t reserve = 0) {
    budget_ = std::make_unique<MemoryBudget>(memory);
    queue_ = MakeAnother(limits, reserve);
    return *queue_;
  }
  std::unique_ptr<MemoryQueue> MakeAnother(Limits limits, uint64_t reserve = 0) {
    return std::make_unique<MemoryQueue>(kQueueId, limits, budget_.get(), reserve, &clock_,
                                         [this](const uint64_t* tokens, size_t n) {
                                           acks_.insert(acks_.end(), tokens, tokens + n);
                                         });
  }
  // Events "FIRST".."FIRST+n-1" with ack tokens of the same number; how many were accepted.
  size_t Append(Queue& queue, uint64_t first, size_t n, penstock_status expected = PENSTOCK_OK) {
    FakeBatch batch(&lender_);
    for (size_t i = 0; i < n; ++i) batch.Add(std::to_string(first + i), first + i);
    size_t accepted = 0;
    EXPECT_EQ(batch.AppendTo(queue, &accepted, kTry), expected);
    return accepted;
  }
  bool AppendSized(Queue& queue, size_t payload_bytes) {
    FakeBatch batch;
    batch.Add(std::string(payload_bytes, 'x'));
    size_t accepted = 0;
    batch.AppendTo(queue, &accepted, kTry);
    return accepted == 1;
  }
  static std::vector<std::string> Payloads(const ReadResult& result) {
    std::vector<std::string> out;
    for (const queue::Run& run : result.runs)
      for (uint64_t offset = run.begin; offset < run.end; ++offset)
        out.emplace_back(run.block->at(offset).payload);
    return out;
  }
  std::vector<std::string> ReadAll(Queue& queue, uint64_t offset) {
    return Payloads(queue.Read(0, offset, ~0ull, ~0ull));
  }

  FakeClock clock_;
  Lender lender_;
  std::vector<uint64_t> acks_;
  std::unique_ptr<MemoryBudget> budget_;
  std::unique_ptr<MemoryQueue> queue_;
};

// ---- reading

TEST_F(QueueTest, OffsetsGrowByOneAcrossBatches) {
  MemoryQueue& queue = Make({});
  EXPECT_EQ(queue.end(), 0u);
  Append(queue, 0, 3);
  Append(queue, 3, 2);
  EXPECT_EQ(queue.end(), 5u);
  EXPECT_THAT(ReadAll(queue, 0), ElementsAre("0", "1", "2", "3", "4"));
  EXPECT_THAT(ReadAll(queue, 2), ElementsAre("2", "3", "4"));
  EXPECT_THAT(ReadAll(queue, 5), IsEmpty());
  EXPECT_EQ(queue.stats().appended, 5u);
}

TEST_F(QueueTest, ReadStopsAtItsBoundsButGivesAtLeastOne) {
  MemoryQueue& queue = Make({});
  Append(queue, 0, 4);
  Append(queue, 4, 4);
  EXPECT_THAT(Payloads(queue.Read(0, 2, 4, ~0ull)), ElementsAre("2", "3", "4", "5"));
  EXPECT_THAT(Payloads(queue.Read(0, 0, ~0ull, 1)), ElementsAre("0"));
  EXPECT_THAT(Payloads(queue.Read(0, 0, ~0ull, ChargeOf(1) + 1)), ElementsAre("0", "1"));
  const ReadResult nothing = queue.Read(0, 8, 10, 10);
  EXPECT_EQ(nothing.begin, 8u);
  EXPECT_EQ(nothing.end, 8u);
}

TEST_F(QueueTest, WakesTheReaderWhenThereIsSomethingToRead) {
  MemoryQueue& queue = Make({});
  const auto wake = std::make_shared<Signal>();
  queue.AddReader("r", Start::kOldest, wake).id;
  const Signal::Ticket before = wake->Take();
  Append(queue, 0, 1);
  EXPECT_NE(wake->Take(), before);
}

// ---- bounds

TEST_F(QueueTest, BoundByEvents) {
  MemoryQueue& queue = Make({.max_events = 3});
  EXPECT_EQ(Append(queue, 0, 5, PENSTOCK_AGAIN), 3u);
  EXPECT_EQ(Append(queue, 3, 1, PENSTOCK_AGAIN), 0u);
  EXPECT_EQ(queue.stats().events, 3u);
}

TEST_F(QueueTest, BoundByBytes) {
  MemoryQueue& queue = Make({.max_bytes = 3 * ChargeOf(100)});
  EXPECT_TRUE(AppendSized(queue, 100));
  EXPECT_TRUE(AppendSized(queue, 100));
  EXPECT_FALSE(AppendSized(queue, 101));
  EXPECT_TRUE(AppendSized(queue, 100));
  EXPECT_FALSE(AppendSized(queue, 0));
  EXPECT_EQ(queue.stats().bytes, 3 * ChargeOf(100));
}

TEST_F(QueueTest, AnEventLargerThanEveryBoundPassesAlone) {
  MemoryQueue& queue = Make({.max_events = 10, .max_bytes = 1000}, /*memory=*/2000);
  const ReaderId reader = queue.AddReader("reader", Start::kOldest, std::make_shared<Signal>()).id;
  ASSERT_TRUE(AppendSized(queue, 100));
  EXPECT_FALSE(AppendSized(queue, 5000)) << "not beside another";
  queue.Release(reader, {1, 1});
  EXPECT_TRUE(AppendSized(queue, 5000));
  EXPECT_FALSE(AppendSized(queue, 0)) << "nothing beside it";
  queue.Release(reader, {2, 2});
  EXPECT_TRUE(AppendSized(queue, 0));
  queue.Release(reader, {3, 3});
  EXPECT_EQ(budget_->used(), 0u);
}

TEST_F(QueueTest, WhatAReaderHoldsStaysUntilEveryReaderLetsGo) {
  MemoryQueue& queue = Make({.max_events = 2});
  const ReaderId fast = queue.AddReader("fast", Start::kOldest, std::make_shared<Signal>()).id;
  const ReaderId slow = queue.AddReader("slow", Start::kOldest, std::make_shared<Signal>()).id;
  Append(queue, 0, 2);
  queue.Release(fast, {2, 2});
  EXPECT_EQ(queue.begin(), 0u);
  EXPECT_EQ(Append(queue, 2, 1, PENSTOCK_AGAIN), 0u);
  queue.Release(slow, {1, 0});
  EXPECT_EQ(queue.begin(), 1u);
  EXPECT_EQ(Append(queue, 2, 1), 1u);
}

TEST_F(QueueTest, AReaderIsFoundAgainByItsName) {
  MemoryQueue& queue = Make({});
  const auto first = std::make_shared<Signal>(), second = std::make_shared<Signal>();
  const Reader reader = queue.AddReader("r", Start::kOldest, first);
  Append(queue, 0, 3);
  queue.Release(reader.id, {2, 1});
  const Reader again = queue.AddReader("r", Start::kNew, second);
  EXPECT_EQ(again.id, reader.id);
  EXPECT_EQ(again.start, 0u);
  EXPECT_EQ(again.settled, 1u);
  const Signal::Ticket before = first->Take(), waiting = second->Take();
  Append(queue, 3, 1);
  EXPECT_EQ(first->Take(), before);
  EXPECT_NE(second->Take(), waiting);
}

TEST_F(QueueTest, AReaderThatIsRemovedHoldsNothing) {
  MemoryQueue& queue = Make({.max_events = 2});
  const ReaderId stays = queue.AddReader("stays", Start::kOldest, std::make_shared<Signal>()).id;
  const ReaderId goes = queue.AddReader("goes", Start::kOldest, std::make_shared<Signal>()).id;
  Append(queue, 0, 2);
  queue.Release(stays, {2, 2});
  EXPECT_EQ(queue.stats().events, 2u);
  queue.RemoveReader(goes);
  EXPECT_EQ(queue.stats().events, 0u);
  EXPECT_THAT(acks_, ElementsAre(0, 1));
  queue.Release(goes, {2, 2});  // nobody minds
}

TEST_F(QueueTest, ANewOwnerIsToldOfItsOwnEventsOnly) {
  MemoryQueue& queue = Make({});
  const ReaderId reader = queue.AddReader("r", Start::kOldest, std::make_shared<Signal>()).id;
  Append(queue, 0, 4);
  queue.Release(reader, {1, 1});
  std::vector<uint64_t> told;
  queue.SetOnSafe([&](const uint64_t* tokens, size_t n) { told.assign(tokens, tokens + n); });
  Append(queue, 4, 2);
  queue.Release(reader, {5, 5});
  EXPECT_THAT(told, ElementsAre(4));
  queue.Release(reader, {6, 6});
  EXPECT_THAT(told, ElementsAre(5));
  EXPECT_THAT(acks_, ElementsAre(0));
  queue.SetOnSafe(nullptr);
  Append(queue, 6, 1);
  queue.Release(reader, {7, 7});
  EXPECT_THAT(told, ElementsAre(5));
}

TEST_F(QueueTest, NewLimitsLeaveWhatIsHeld) {
  MemoryQueue& queue = Make({.max_events = 4});
  const ReaderId reader = queue.AddReader("r", Start::kOldest, std::make_shared<Signal>()).id;
  Append(queue, 0, 4);
  queue.SetLimits({.max_events = 2});
  EXPECT_EQ(queue.stats().events, 4u);
  queue.Release(reader, {2, 2});
  EXPECT_EQ(Append(queue, 4, 1, PENSTOCK_AGAIN), 0u);
  queue.Release(reader, {3, 3});
  EXPECT_EQ(Append(queue, 4, 1), 1u);
}

TEST_F(QueueTest, MemoryIsChargedUntilTheLastBlockIsLetGo) {
  MemoryQueue& queue = Make({});
  const ReaderId reader = queue.AddReader("reader", Start::kOldest, std::make_shared<Signal>()).id;
  Append(queue, 0, 4);
  EXPECT_EQ(budget_->used(), 4 * ChargeOf(1));
  ReadResult in_flight = queue.Read(0, 0, 2, ~0ull);
  queue.Release(reader, {4, 0});
  EXPECT_EQ(queue.stats().events, 0u);
  EXPECT_EQ(queue.stats().bytes, 0u);
  EXPECT_EQ(budget_->used(), 4 * ChargeOf(1)) << "the block is still read";
  EXPECT_EQ(lender_.released.load(), 0u);
  in_flight.runs.clear();
  EXPECT_EQ(budget_->used(), 0u);
  EXPECT_EQ(lender_.released.load(), 4u);
}

TEST_F(QueueTest, AQueueThatGoesGivesEverythingBack) {
  MemoryQueue& queue = Make({});
  Append(queue, 0, 3);
  Append(queue, 3, 3);
  queue_.reset();
  EXPECT_EQ(budget_->used(), 0u);
  EXPECT_EQ(lender_.released.load(), 6u);
}

// ---- when_full = block

class Blocked {
 public:
  // Appends from another thread and lets the test see when it returns.
  Blocked(MemoryQueue& queue, size_t events, size_t payload_bytes, Nanoseconds timeout = kForEver)
      : thread_([this, &queue, events, payload_bytes, timeout] {
          FakeBatch batch;
          for (size_t i = 0; i < events; ++i) batch.Add(std::string(payload_bytes, 'b'));
          status_ = batch.AppendTo(queue, &accepted_, timeout);
          returned_ = true;
        }) {}
  ~Blocked() {
    if (thread_.joinable()) thread_.join();
  }
  // Until the queue has grown to end: the append has taken what it could.
  static void WaitEnd(const Queue& queue, uint64_t end) {
    while (queue.end() < end) std::this_thread::yield();
  }
  bool returned() const { return returned_; }
  penstock_status Join() {
    thread_.join();
    return status_;
  }
  size_t accepted() const { return accepted_; }

 private:
  std::atomic<bool> returned_{false};
  penstock_status status_ = PENSTOCK_E_FAILED;
  size_t accepted_ = 0;
  std::thread thread_;
};

TEST_F(QueueTest, ABlockedAppendGoesOnWhenAReaderLetsGo) {
  MemoryQueue& queue = Make({.max_events = 2});
  const ReaderId reader = queue.AddReader("reader", Start::kOldest, std::make_shared<Signal>()).id;
  Blocked append(queue, 5, 1);
  for (uint64_t held = 2; held <= 4; ++held) {
    Blocked::WaitEnd(queue, held);
    EXPECT_FALSE(append.returned());
    queue.Release(reader, {held - 1, held - 1});
  }
  EXPECT_EQ(append.Join(), PENSTOCK_OK);
  EXPECT_EQ(append.accepted(), 5u);
  EXPECT_EQ(queue.end(), 5u);
}

TEST_F(QueueTest, ABlockedAppendGoesOnWithLargerLimits) {
  MemoryQueue& queue = Make({.max_events = 2});
  Blocked append(queue, 5, 1);
  Blocked::WaitEnd(queue, 2);
  queue.SetLimits({.max_events = 4});
  Blocked::WaitEnd(queue, 4);
  queue.SetLimits({.max_events = 4, .when_full = WhenFull::kDropNewest});
  EXPECT_EQ(append.Join(), PENSTOCK_OK);
  EXPECT_EQ(append.accepted(), 5u);
  EXPECT_EQ(queue.end(), 4u);
}

TEST_F(QueueTest, CloseEndsABlockedAppendAndReadersGoOn) {
  MemoryQueue& queue = Make({.max_events = 2});
  Blocked append(queue, 5, 1);
  Blocked::WaitEnd(queue, 2);
  queue.Close();
  EXPECT_EQ(append.Join(), PENSTOCK_STOPPED);
  EXPECT_EQ(append.accepted(), 2u);
  EXPECT_EQ(ReadAll(queue, 0).size(), 2u);
  EXPECT_EQ(Append(queue, 9, 1, PENSTOCK_STOPPED), 0u);
}

TEST_F(QueueTest, ABlockedAppendGoesOnWhenAnotherQueueFreesMemory) {
  Make({}, /*memory=*/4 * ChargeOf(100));
  auto other = MakeAnother({});
  const ReaderId reader = queue_->AddReader("r", Start::kOldest, std::make_shared<Signal>()).id;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendSized(*queue_, 100));
  Blocked append(*other, 2, 100);
  Blocked::WaitEnd(*other, 1);
  EXPECT_FALSE(append.returned());
  queue_->Release(reader, {1, 1});
  EXPECT_EQ(append.Join(), PENSTOCK_OK);
  EXPECT_FALSE(AppendSized(*other, 100));
}

TEST_F(QueueTest, ABlockedAppendGoesOnWhenWhatIsInFlightComesBack) {
  MemoryQueue& queue = Make({}, /*memory=*/ChargeOf(100) + 50);
  const ReaderId reader = queue.AddReader("reader", Start::kOldest, std::make_shared<Signal>()).id;
  ASSERT_TRUE(AppendSized(queue, 100));
  ReadResult in_flight = queue.Read(0, 0, 1, ~0ull);
  queue.Release(reader, {1, 0});
  Blocked append(queue, 1, 100);
  in_flight.runs.clear();
  EXPECT_EQ(append.Join(), PENSTOCK_OK);
}

TEST_F(QueueTest, AppendGivesUpAtItsTimeout) {
  SystemClock clock;
  MemoryBudget budget(1 << 20);
  MemoryQueue queue(kQueueId, {.max_events = 1}, &budget, 0, &clock, nullptr);
  FakeBatch batch;
  batch.Add("a").Add("b");
  size_t accepted = 0;
  const TimePoint start = clock.Now();
  EXPECT_EQ(batch.AppendTo(queue, &accepted, std::chrono::milliseconds(3)), PENSTOCK_AGAIN);
  EXPECT_EQ(accepted, 1u);
  EXPECT_GE(clock.Now() - start, std::chrono::milliseconds(3));
}

TEST_F(QueueTest, TheLongestTimeoutMeansForEver) {
  MemoryQueue& queue = Make({.max_events = 1});
  const ReaderId reader = queue.AddReader("reader", Start::kOldest, std::make_shared<Signal>()).id;
  Blocked append(queue, 2, 1, Nanoseconds::max());
  Blocked::WaitEnd(queue, 1);
  queue.Release(reader, {1, 1});
  EXPECT_EQ(append.Join(), PENSTOCK_OK);
}

// ---- when_full = drop_newest

TEST_F(QueueTest, DropNewestKeepsTheOldAndCountsAndAcksTheRest) {
  MemoryQueue& queue = Make({.max_events = 3, .when_full = WhenFull::kDropNewest});
  EXPECT_EQ(Append(queue, 0, 5), 5u);
  EXPECT_THAT(ReadAll(queue, 0), ElementsAre("0", "1", "2"));
  EXPECT_EQ(queue.stats().dropped_newest, 2u);
  EXPECT_EQ(queue.stats().appended, 3u);
  EXPECT_EQ(lender_.released.load(), 2u);
  EXPECT_THAT(acks_, ElementsAre(3, 4));
}

TEST_F(QueueTest, DropNewestDropsOnlyWhatDoesNotFit) {
  MemoryQueue& queue = Make({.max_bytes = 4 * ChargeOf(10), .when_full = WhenFull::kDropNewest});
  FakeBatch batch;
  batch.Add("a").Add(std::string(2000, 'b')).Add("c");
  size_t accepted = 0;
  EXPECT_EQ(batch.AppendTo(queue, &accepted, kTry), PENSTOCK_OK);
  EXPECT_EQ(accepted, 3u);
  EXPECT_THAT(ReadAll(queue, 0), ElementsAre("a", "c"));
  EXPECT_EQ(queue.stats().dropped_newest, 1u);
}

TEST_F(QueueTest, DropNewestNeverWaits) {
  MemoryQueue& queue = Make({.max_events = 1, .when_full = WhenFull::kDropNewest});
  FakeBatch batch;
  batch.Add("a").Add("b");
  size_t accepted = 0;
  EXPECT_EQ(batch.AppendTo(queue, &accepted, kForEver), PENSTOCK_OK);
  EXPECT_EQ(accepted, 2u);
}

// ---- when_full = drop_oldest

TEST_F(QueueTest, DropOldestKeepsTheNewestAndTellsTheLaggingReader) {
  MemoryQueue& queue = Make({.max_events = 3, .when_full = WhenFull::kDropOldest});
  queue.AddReader("r", Start::kOldest, std::make_shared<Signal>()).id;
  EXPECT_EQ(Append(queue, 0, 5), 5u);
  EXPECT_EQ(Append(queue, 5, 1), 1u);
  const ReadResult result = queue.Read(0, 0, ~0ull, ~0ull);
  EXPECT_EQ(result.begin, 3u);
  EXPECT_THAT(Payloads(result), ElementsAre("3", "4", "5"));
  EXPECT_EQ(queue.stats().dropped_newest, 0u);
  EXPECT_EQ(queue.stats().bytes, 3 * ChargeOf(1));
}

TEST_F(QueueTest, DropOldestNeverFreesWhatIsInFlight) {
  MemoryQueue& queue = Make({.max_events = 2, .when_full = WhenFull::kDropOldest});
  Append(queue, 0, 2);
  const ReadResult in_flight = queue.Read(0, 0, 2, ~0ull);
  Append(queue, 2, 10);
  EXPECT_EQ(queue.begin(), 10u);
  EXPECT_THAT(Payloads(in_flight), ElementsAre("0", "1"));
  EXPECT_EQ(budget_->used(), 4 * ChargeOf(1) + 2 /* of the payloads "10" and "11" */)
      << "two in flight, two held";
}

TEST_F(QueueTest, DropOldestMakesRoomByBytes) {
  MemoryQueue& queue = Make({.max_bytes = 3 * ChargeOf(100), .when_full = WhenFull::kDropOldest});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendSized(queue, 100));
  EXPECT_TRUE(AppendSized(queue, 150));
  EXPECT_EQ(queue.begin(), 2u);
  EXPECT_TRUE(AppendSized(queue, 5000)) << "larger than the bound: alone";
  EXPECT_EQ(queue.stats().events, 1u);
}

TEST_F(QueueTest, DropOldestMakesRoomInTheBudget) {
  MemoryQueue& queue = Make({.when_full = WhenFull::kDropOldest}, /*memory=*/3 * ChargeOf(100));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(AppendSized(queue, 100));
  EXPECT_EQ(queue.begin(), 2u);
  EXPECT_EQ(queue.stats().dropped_newest, 0u);
}

TEST_F(QueueTest, DropOldestDropsTheNewestWhenOthersHaveAllMemory) {
  Make({}, /*memory=*/3 * ChargeOf(100));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(AppendSized(*queue_, 100));
  auto other = MakeAnother({.when_full = WhenFull::kDropOldest});
  ASSERT_TRUE(AppendSized(*other, 100)) << "an empty queue always gets its first event";
  ReadResult in_flight = other->Read(0, 0, 1, ~0ull);
  ASSERT_TRUE(AppendSized(*other, 100)) << "accepted, and dropped";
  EXPECT_EQ(other->stats().dropped_newest, 1u);
  in_flight.runs.clear();
}

// ---- memory_limit

TEST_F(QueueTest, ManyQueuesStayWithinTheLimitAndEachHasItsReserve) {
  constexpr size_t kQueues = 200;
  constexpr uint64_t kLimit = 1 << 20;
  const uint64_t reserve = kLimit / 2 / kQueues;
  budget_ = std::make_unique<MemoryBudget>(kLimit);
  std::vector<std::unique_ptr<MemoryQueue>> queues;
  for (size_t i = 0; i < kQueues; ++i) queues.push_back(MakeAnother({}, reserve));
  while (AppendSized(*queues[0], 100)) {
  }
  EXPECT_GT(queues[0]->stats().bytes, kLimit / 2 - ChargeOf(100))
      << "the pool is for whoever needs it";
  for (size_t i = 1; i < kQueues; ++i) {
    while (AppendSized(*queues[i], 100)) {
    }
    EXPECT_GE(queues[i]->stats().events, reserve / ChargeOf(100)) << "queue " << i;
  }
  EXPECT_LE(budget_->used(), kLimit);
  queues.clear();
  EXPECT_EQ(budget_->used(), 0u);
}

// ---- acks

TEST_F(QueueTest, AcksOnceEveryReaderHasSettledAndNotBefore) {
  MemoryQueue& queue = Make({});
  const ReaderId a = queue.AddReader("a", Start::kOldest, std::make_shared<Signal>()).id;
  const ReaderId b = queue.AddReader("b", Start::kOldest, std::make_shared<Signal>()).id;
  Append(queue, 100, 4);
  queue.Release(a, {4, 3});
  EXPECT_THAT(acks_, IsEmpty());
  queue.Release(b, {4, 0});
  EXPECT_THAT(acks_, IsEmpty()) << "read is not settled";
  queue.Release(b, {4, 2});
  EXPECT_THAT(acks_, ElementsAre(100, 101));
  queue.Release(b, {4, 4});
  EXPECT_THAT(acks_, ElementsAre(100, 101, 102));
  queue.Release(a, {4, 4});
  EXPECT_THAT(acks_, ElementsAre(100, 101, 102, 103));
}

TEST_F(QueueTest, AcksComeInOrderFromTwoReadersThreads) {
  constexpr uint64_t kEvents = 1000;
  budget_ = std::make_unique<MemoryBudget>(64 << 20);
  std::vector<uint64_t> acks;
  std::atomic<bool> inside{false};
  MemoryQueue queue(kQueueId, {}, budget_.get(), 0, &clock_, [&](const uint64_t* tokens, size_t n) {
    EXPECT_FALSE(inside.exchange(true)) << "twice at once";
    std::this_thread::yield();
    acks.insert(acks.end(), tokens, tokens + n);
    inside = false;
  });
  const ReaderId readers[] = {queue.AddReader("a", Start::kOldest, std::make_shared<Signal>()).id,
                              queue.AddReader("b", Start::kOldest, std::make_shared<Signal>()).id};
  for (uint64_t i = 0; i < kEvents; i += 100) Append(queue, i, 100);
  // Each waits for the other now and then, so that now this one and now that one is the last to
  // settle.
  std::atomic<uint64_t> progress[2] = {0, 0};
  std::vector<std::thread> threads;
  for (size_t me = 0; me < 2; ++me) {
    threads.emplace_back([&, me] {
      for (uint64_t i = 1; i <= kEvents; ++i) {
        while (progress[1 - me] + 2 < i) std::this_thread::yield();
        queue.Release(readers[me], {i, i});
        progress[me] = i;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(acks.size(), kEvents);
  for (uint64_t i = 0; i < kEvents; ++i) ASSERT_EQ(acks[i], i);
}

// ---- how far a reader is behind

TEST_F(QueueTest, WithinBoundByEvents) {
  MemoryQueue& queue = Make({});
  Append(queue, 0, 10);
  EXPECT_EQ(queue.WithinBound(0, 4, 0, seconds(0)), 6u);
  EXPECT_EQ(queue.WithinBound(7, 4, 0, seconds(0)), 7u);
  EXPECT_EQ(queue.WithinBound(0, 10, 0, seconds(0)), 0u);
  EXPECT_EQ(queue.WithinBound(0, 0, 0, seconds(0)), 0u) << "no bound";
}

TEST_F(QueueTest, WithinBoundByBytes) {
  MemoryQueue& queue = Make({});
  for (uint64_t i = 0; i < 9; i += 3) Append(queue, i, 3);
  const uint64_t one = ChargeOf(1);
  for (uint64_t n = 1; n <= 9; ++n) {
    EXPECT_EQ(queue.WithinBound(0, 0, n * one, seconds(0)), 9 - n);
    EXPECT_EQ(queue.WithinBound(0, 0, n * one + one - 1, seconds(0)), 9 - n);
  }
  EXPECT_EQ(queue.WithinBound(5, 0, 8 * one, seconds(0)), 5u);
  EXPECT_EQ(queue.WithinBound(9, 0, one, seconds(0)), 9u) << "nothing is behind";
}

// Else an event larger than max_behind would be skipped by a sink that is not behind at all.
TEST_F(QueueTest, TheNewestEventIsNeverTooLargeToBeBehind) {
  MemoryQueue& queue = Make({});
  AppendSized(queue, 10);
  AppendSized(queue, 5000);
  EXPECT_EQ(queue.WithinBound(0, 0, 1000, seconds(0)), 1u);
  AppendSized(queue, 10);
  EXPECT_EQ(queue.WithinBound(0, 0, 1000, seconds(0)), 2u);
}

TEST_F(QueueTest, WithinBoundByBytesAfterSomeHaveGone) {
  MemoryQueue& queue = Make({.max_events = 4, .when_full = WhenFull::kDropOldest});
  for (uint64_t i = 0; i < 90; i += 3) Append(queue, i % 10, 3);
  EXPECT_EQ(queue.WithinBound(0, 0, 2 * ChargeOf(1), seconds(0)), 88u);
  EXPECT_EQ(queue.WithinBound(0, 0, 100 * ChargeOf(1), seconds(0)), 86u);
}

TEST_F(QueueTest, KnowsWhenAnEventWasAppendedAsLongAsItHoldsIt) {
  MemoryQueue& queue = Make({3, 1 << 20, WhenFull::kDropOldest});
  const TimePoint first = clock_.Now();
  Append(queue, 0, 2);
  EXPECT_EQ(queue.AppendedAt(0), first);
  clock_.Advance(seconds(1));
  Append(queue, 2, 2);
  EXPECT_EQ(queue.AppendedAt(0), std::nullopt) << "not held any more";
  EXPECT_EQ(queue.AppendedAt(1), first);
  EXPECT_EQ(queue.AppendedAt(2), clock_.Now());
  EXPECT_EQ(queue.AppendedAt(4), std::nullopt) << "not appended yet";
}

TEST_F(QueueTest, WithinBoundByAge) {
  MemoryQueue& queue = Make({});
  Append(queue, 0, 2);
  clock_.Advance(seconds(5));
  Append(queue, 2, 2);
  EXPECT_EQ(queue.WithinBound(0, 0, 0, seconds(5)), 0u);
  clock_.Advance(seconds(1));
  EXPECT_EQ(queue.WithinBound(0, 0, 0, seconds(5)), 2u);
  EXPECT_EQ(queue.WithinBound(3, 0, 0, seconds(5)), 3u);
  clock_.Advance(seconds(5));
  EXPECT_EQ(queue.WithinBound(0, 0, 0, seconds(5)), 4u);
}

}  // namespace
}  // namespace penstock::queue
