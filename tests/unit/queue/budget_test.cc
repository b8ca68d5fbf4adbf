#include "queue/budget.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace penstock::queue {
namespace {

std::shared_ptr<Signal> NewSignal() { return std::make_shared<Signal>(); }

TEST(MemoryBudgetTest, AFullShareLeavesEveryOtherItsReserve) {
  MemoryBudget budget(1000);
  auto greedy = budget.MakeShare(100, NewSignal());
  auto modest = budget.MakeShare(100, NewSignal());
  EXPECT_TRUE(greedy->TryTake(900));
  EXPECT_FALSE(greedy->TryTake(1));
  EXPECT_TRUE(modest->TryTake(50));
  EXPECT_TRUE(modest->TryTake(50));
  EXPECT_FALSE(modest->TryTake(1));
  EXPECT_EQ(budget.used(), 1000u);
  greedy->Return(900);
  modest->Return(100);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(MemoryBudgetTest, TakesAllOrNothing) {
  MemoryBudget budget(1000);
  auto share = budget.MakeShare(0, NewSignal());
  ASSERT_TRUE(share->TryTake(600));
  EXPECT_FALSE(share->TryTake(401));
  EXPECT_EQ(share->used(), 600u);
  EXPECT_TRUE(share->TryTake(400));
  share->Return(1000);
}

TEST(MemoryBudgetTest, WhatComesBackBelongsToTheReserveFirstAndThenToAll) {
  MemoryBudget budget(1000);
  auto a = budget.MakeShare(300, NewSignal());
  auto b = budget.MakeShare(0, NewSignal());
  ASSERT_TRUE(a->TryTake(500));  // 300 of its own, 200 of the pool's 700
  ASSERT_TRUE(b->TryTake(500));
  EXPECT_FALSE(b->TryTake(1));
  a->Return(100);  // the pool's
  EXPECT_TRUE(b->TryTake(100));
  a->Return(400);  // 100 of the pool's, 300 of its own
  EXPECT_TRUE(b->TryTake(100));
  EXPECT_FALSE(b->TryTake(1));
  EXPECT_TRUE(a->TryTake(300));
  a->Return(300);
  b->Return(700);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(MemoryBudgetTest, AnEventLargerThanTheWholeBudgetPassesAlone) {
  MemoryBudget budget(1000);
  auto share = budget.MakeShare(100, NewSignal());
  EXPECT_TRUE(share->TryTake(5000));
  EXPECT_FALSE(share->TryTake(1));
  share->Return(5000);
  EXPECT_TRUE(share->TryTake(1000));
  share->Return(1000);
  EXPECT_EQ(budget.used(), 0u);
}

// Else a thousand sources with large events would each hold one beyond the bound.
TEST(MemoryBudgetTest, OnlyOneShareAtATimeOverdrawsTheBudget) {
  MemoryBudget budget(1000);
  auto a = budget.MakeShare(0, NewSignal());
  auto b = budget.MakeShare(0, NewSignal());
  ASSERT_TRUE(a->TryTake(5000));
  EXPECT_FALSE(b->TryTake(5000));
  EXPECT_FALSE(b->TryTake(1));
  a->Return(5000);
  EXPECT_TRUE(b->TryTake(5000));
  b->Return(5000);
}

// A sink that may hold nothing at all can never give anything back: neither could the queues that
// wait for it.
TEST(MemoryBudgetTest, AShareThatFreesOthersAlwaysGetsItsFirstPiece) {
  MemoryBudget budget(1000);
  auto queue = budget.MakeShare(0, NewSignal());
  auto sink = budget.MakeShare(0, NewSignal(), MemoryBudget::First::kAlways);
  ASSERT_TRUE(queue->TryTake(5000));
  EXPECT_TRUE(sink->TryTake(300));
  EXPECT_FALSE(sink->TryTake(300));
  sink->Return(300);
  queue->Return(5000);
  EXPECT_EQ(budget.used(), 0u);
}

TEST(MemoryBudgetTest, ReservesAreCutToTheTotal) {
  MemoryBudget budget(1000);
  auto a = budget.MakeShare(800, NewSignal());
  auto b = budget.MakeShare(800, NewSignal());
  ASSERT_TRUE(b->TryTake(200));
  EXPECT_FALSE(b->TryTake(1));
  EXPECT_TRUE(a->TryTake(800));
  EXPECT_FALSE(a->TryTake(1));
  a->Return(800);
  b->Return(200);
}

TEST(MemoryBudgetTest, AShareThatGoesGivesItsReserveBack) {
  MemoryBudget budget(1000);
  auto a = budget.MakeShare(500, NewSignal());
  auto b = budget.MakeShare(0, NewSignal());
  ASSERT_TRUE(b->TryTake(500));
  EXPECT_FALSE(b->TryTake(1));
  a.reset();
  EXPECT_TRUE(b->TryTake(500));
  b->Return(1000);
}

TEST(MemoryBudgetTest, WakesThoseWhoAskedOnce) {
  MemoryBudget budget(1000);
  const auto signal = NewSignal();
  auto taker = budget.MakeShare(0, NewSignal());
  auto waiter = budget.MakeShare(0, signal);
  ASSERT_TRUE(taker->TryTake(1000));
  const Signal::Ticket before = signal->Take();
  taker->Return(10);
  EXPECT_EQ(signal->Take(), before) << "nobody had asked";
  waiter->WakeWhenFreed();
  waiter->WakeWhenFreed();
  taker->Return(10);
  EXPECT_EQ(signal->Take(), before + 1);
  taker->Return(10);
  EXPECT_EQ(signal->Take(), before + 1) << "asked once, told once";
  taker->Return(970);
}

// What another share returns to its own reserve is of no use to anybody else.
TEST(MemoryBudgetTest, DoesNotWakeForBytesThatNobodyElseMayHave) {
  MemoryBudget budget(1000);
  const auto mine = NewSignal(), others = NewSignal();
  auto a = budget.MakeShare(500, mine);
  auto b = budget.MakeShare(0, others);
  ASSERT_TRUE(a->TryTake(500));
  b->WakeWhenFreed();
  const Signal::Ticket before = others->Take();
  a->Return(100);
  EXPECT_EQ(others->Take(), before);
  const Signal::Ticket mine_before = mine->Take();
  a->WakeWhenFreed();
  a->Return(100);
  EXPECT_EQ(mine->Take(), mine_before + 1);
  EXPECT_EQ(others->Take(), before);
  a->Return(300);
}

TEST(MemoryBudgetTest, BalancesUnderThreads) {
  constexpr int kThreads = 4, kRounds = 5000;
  MemoryBudget budget(4000);
  std::vector<std::shared_ptr<MemoryBudget::Share>> shares;
  std::vector<std::shared_ptr<Signal>> signals;
  for (int i = 0; i < kThreads; ++i) {
    signals.push_back(NewSignal());
    shares.push_back(budget.MakeShare(200, signals.back()));
  }
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      MemoryBudget::Share& share = *shares[t];
      for (uint64_t i = 0; i < kRounds; ++i) {
        const uint64_t bytes = 1 + (i * 7919 + t * 104729) % 1500;
        for (;;) {
          const Signal::Ticket ticket = signals[t]->Take();
          if (share.TryTake(bytes)) break;
          share.WakeWhenFreed();
          if (share.TryTake(bytes)) break;
          signals[t]->WaitPast(ticket, TimePoint::max());
        }
        share.Return(bytes / 2);
        share.Return(bytes - bytes / 2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_TRUE(shares[0]->TryTake(4000 - (kThreads - 1) * 200)) << "the pool is whole again";
  EXPECT_FALSE(shares[0]->TryTake(1));
  shares[0]->Return(4000 - (kThreads - 1) * 200);
}

}  // namespace
}  // namespace penstock::queue
