#include "platform/signal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace penstock {
namespace {

TEST(SignalTest, WhatIsNotifiedBeforeTheWaitIsNotMissed) {
  Signal signal;
  const Signal::Ticket ticket = signal.Take();
  signal.Notify();
  signal.WaitPast(ticket, TimePoint::max());  // would hang
  EXPECT_NE(signal.Take(), ticket);
}

TEST(SignalTest, ReturnsAtTheDeadline) {
  Signal signal;
  const TimePoint deadline = SystemClock().Now() + std::chrono::milliseconds(2);
  signal.WaitPast(signal.Take(), deadline);
  EXPECT_GE(SystemClock().Now(), deadline);
}

TEST(SignalTest, APastDeadlineDoesNotWait) {
  Signal signal;
  signal.WaitPast(signal.Take(), TimePoint{});
}

// Two threads hand a number to and fro; one missed wake-up and the test hangs.
TEST(SignalTest, NeverLosesAWakeUpBetweenThreads) {
  constexpr uint32_t kRounds = 20000;
  Signal there, back;
  std::atomic<uint32_t> sent{0}, answered{0};
  const auto wait_for = [](Signal& signal, const std::atomic<uint32_t>& value, uint32_t wanted) {
    for (;;) {
      const Signal::Ticket ticket = signal.Take();
      if (value.load() >= wanted) return;
      signal.WaitPast(ticket, TimePoint::max());
    }
  };
  std::thread other([&] {
    for (uint32_t i = 1; i <= kRounds; ++i) {
      wait_for(there, sent, i);
      answered = i;
      back.Notify();
    }
  });
  for (uint32_t i = 1; i <= kRounds; ++i) {
    sent = i;
    there.Notify();
    wait_for(back, answered, i);
  }
  other.join();
  EXPECT_EQ(answered.load(), kRounds);
}

TEST(SignalTest, WakesEveryWaiter) {
  Signal signal;
  const Signal::Ticket ticket = signal.Take();
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i)
    waiters.emplace_back([&] { signal.WaitPast(ticket, TimePoint::max()); });
  signal.Notify();
  for (std::thread& waiter : waiters) waiter.join();
}

}  // namespace
}  // namespace penstock
