// The real threads of a gateway: sources append, two sinks' delivery threads step, plugins' own
// threads give receipts.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kEvents = 3000;
#else
constexpr uint64_t kEvents = 20000;
#endif

// A sink with a thread of its own that gives receipts in batches, now and then a failure; it takes
// a bounded number of messages and says AGAIN.
class ThreadedPort : public SinkPort {
 public:
  explicit ThreadedPort(size_t capacity) : capacity_(capacity) {}
  ~ThreadedPort() override { EXPECT_FALSE(thread_.joinable()); }
  void Start(Dispatcher* dispatcher) {
    dispatcher_ = dispatcher;
    thread_ = std::thread([this] { Run(); });
  }

  penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) override {
    EXPECT_FALSE(forbidden_.load()) << "submit after stop";
    {
      std::lock_guard lock(mutex_);
      const size_t n = std::min<size_t>(batch.count, capacity_ - messages_.size());
      messages_.insert(messages_.end(), batch.messages, batch.messages + n);
      *accepted = n;
      full_ = n < batch.count;
    }
    signal_.Notify();
    return *accepted == batch.count ? PENSTOCK_OK : PENSTOCK_AGAIN;
  }
  void Flush() override { EXPECT_FALSE(forbidden_.load()); }
  void Cancel(const std::vector<uint64_t>&) override {}
  void Forbid() { forbidden_ = true; }
  void Join() {
    stopping_ = true;
    signal_.Notify();
    thread_.join();
  }

 private:
  void Run() {
    while (!stopping_) {
      const Signal::Ticket ticket = signal_.Take();
      std::vector<penstock_message> taken;
      bool ready = false;
      {
        std::lock_guard lock(mutex_);
        taken.swap(messages_);
        ready = std::exchange(full_, false);
      }
      if (taken.empty()) {
        signal_.WaitPast(ticket, TimePoint::max());
        continue;
      }
      std::vector<penstock_receipt> receipts;
      for (const penstock_message& m : taken) receipts.push_back(Answer(m));
      dispatcher_->Complete(receipts.data(), receipts.size());
      if (ready) dispatcher_->Ready();
    }
  }
  penstock_receipt Answer(const penstock_message& m) {
    const uint64_t number = std::stoull(std::string(m.payload.ptr, m.payload.len));
    penstock_receipt receipt{m.token, PENSTOCK_DELIVERED, 0, 0, 0, {nullptr, 0}};
    if (++answered_ % 1000 == 0) receipt.outcome = PENSTOCK_RETRY;
    if (number % 777 == 5) receipt.outcome = PENSTOCK_REJECTED;
    return receipt;
  }

  const size_t capacity_;
  Dispatcher* dispatcher_ = nullptr;
  Signal signal_;
  std::mutex mutex_;
  std::vector<penstock_message> messages_;
  bool full_ = false;
  uint64_t answered_ = 0;
  std::atomic<bool> stopping_{false}, forbidden_{false};
  std::thread thread_;
};

// As SinkInstance runs it.
class SinkThread {
 public:
  SinkThread(const char* name, queue::MemoryBudget* budget, size_t capacity)
      : port_(capacity),
        dispatcher_(name, &port_, {.max_events = 256},
                    budget->MakeShare(0, signal_, queue::MemoryBudget::First::kAlways), &clock_,
                    signal_, 1) {}
  ~SinkThread() {
    if (thread_.joinable()) thread_.join();
    port_.Join();
  }
  void Route(std::shared_ptr<queue::MemoryQueue> queue, const event::SourceInfo* source) {
    CursorSpec spec;
    spec.dead_letters = &letters_;
    spec.queue = std::move(queue);
    spec.source = source;
    spec.encoder = {event::Format::kCloudEventsBinary, "bus", {}, {}};
    spec.retry = {milliseconds(1), milliseconds(4)};
    dispatcher_.AddCursor(std::move(spec));
  }
  void Start() {
    port_.Start(&dispatcher_);
    thread_ = std::thread([this] { Run(); });
    dispatcher_.SetState(PENSTOCK_STATE_READY, "");
  }
  // Returns once everything has settled.
  void Drain() {
    draining_ = true;
    dispatcher_.SetDraining();
    signal_->Notify();
    thread_.join();
  }
  // In the midst of things.
  void Stop() {
    dispatcher_.StopSubmitting();
    port_.Forbid();
    stopping_ = true;
    signal_->Notify();
    thread_.join();
  }
  Dispatcher& dispatcher() { return dispatcher_; }

 private:
  void Run() {
    while (!stopping_) {
      const Signal::Ticket ticket = signal_->Take();
      const TimePoint next = dispatcher_.Step();
      if (draining_ && dispatcher_.Drained()) return;
      if (next > clock_.Now()) signal_->WaitPast(ticket, next);
    }
  }

  const SystemClock clock_;
  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();
  FakeDeadLetters letters_;
  std::atomic<bool> draining_{false}, stopping_{false};
  ThreadedPort port_;
  Dispatcher dispatcher_;
  std::thread thread_;
};

struct ThreadedSource {
  event::SourceInfo info{"orders", "orders", "created", "generic", {}};
  std::vector<uint64_t> acks;  // never written by two threads at once
  std::shared_ptr<queue::MemoryQueue> queue;
  std::thread thread;
};

class ThreadsTest : public testing::Test {
 protected:
  static constexpr size_t kSources = 2;

  ThreadsTest() {
    for (ThreadedSource& source : sources_) {
      source.queue = std::make_shared<queue::MemoryQueue>(
          1, queue::Limits{.max_events = 300}, &budget_, 10000, &clock_,
          [&source](const uint64_t* tokens, size_t n) {
            source.acks.insert(source.acks.end(), tokens, tokens + n);
          });
      for (SinkThread* sink : {&first_, &second_}) sink->Route(source.queue, &source.info);
    }
    first_.Start();
    second_.Start();
  }
  ~ThreadsTest() override {
    for (ThreadedSource& source : sources_)
      if (source.thread.joinable()) source.thread.join();
  }
  // Emits until all are taken or the queue is closed.
  void StartSources() {
    for (ThreadedSource& source : sources_) {
      source.thread = std::thread([this, &source] {
        for (uint64_t number = 0; number < kEvents;) {
          fakes::FakeBatch batch(&lender_);
          const uint64_t n = std::min<uint64_t>(1 + number % 50, kEvents - number);
          for (uint64_t i = 0; i < n; ++i) batch.Add(std::to_string(number + i), number + i);
          size_t accepted = 0;
          if (batch.AppendTo(*source.queue, &accepted, Nanoseconds(-1)) != PENSTOCK_OK) return;
          number += n;
        }
      });
    }
  }

  const QuietLog quiet_;
  const SystemClock clock_;
  queue::MemoryBudget budget_{150000};
  fakes::Lender lender_;
  ThreadedSource sources_[kSources];
  SinkThread first_{"first", &budget_, 64}, second_{"second", &budget_, 1000};
};

TEST_F(ThreadsTest, EverythingIsDeliveredAndAckedInOrder) {
  StartSources();
  std::atomic<bool> done{false};
  std::thread observer([&] {
    while (!done) {
      for (SinkThread* sink : {&first_, &second_}) {
        for (const Ledger& ledger : sink->dispatcher().Ledgers())
          EXPECT_TRUE(ledger.Balances()) << ledger.ToString();
        sink->dispatcher().Status();
      }
      budget_.used();
      std::this_thread::yield();
    }
  });
  for (ThreadedSource& source : sources_) source.thread.join();
  first_.Drain();
  second_.Drain();
  done = true;
  observer.join();
  for (SinkThread* sink : {&first_, &second_}) {
    for (const Ledger& ledger : sink->dispatcher().Ledgers()) {
      EXPECT_EQ(ledger.received, kEvents);
      EXPECT_EQ(ledger.delivered + ledger.dead_lettered, kEvents);
      EXPECT_GT(ledger.dead_lettered, 0u);
    }
  }
  for (ThreadedSource& source : sources_) {
    ASSERT_EQ(source.acks.size(), kEvents);
    for (uint64_t i = 0; i < kEvents; ++i) ASSERT_EQ(source.acks[i], i);
  }
  EXPECT_EQ(budget_.used(), 0u);
  EXPECT_EQ(lender_.released.load(), kSources * kEvents);
}

TEST_F(ThreadsTest, StopInTheMidstOfThings) {
  StartSources();
  while (sources_[0].queue->end() < kEvents / 3) std::this_thread::yield();
  first_.Stop();
  second_.Stop();
  for (ThreadedSource& source : sources_) source.queue->Close();
  for (ThreadedSource& source : sources_) source.thread.join();
  for (SinkThread* sink : {&first_, &second_})
    for (const Ledger& ledger : sink->dispatcher().Ledgers())
      EXPECT_TRUE(ledger.Balances()) << ledger.ToString();
}

}  // namespace
}  // namespace penstock::delivery
