// Sources, queues and sinks on a fake clock, put together as a test wants them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "delivery/dispatcher.h"
#include "fakes/fake_clock.h"
#include "fakes/fake_events.h"
#include "fakes/fake_sink_port.h"
#include "queue/memory_queue.h"

namespace penstock::delivery {

using std::chrono::milliseconds;
using std::chrono::seconds;

// For tests that fail deliveries by the thousand.
class QuietLog {
 public:
  QuietLog() { log::Configure(log::Level(5), log::Format::kText); }
  ~QuietLog() { log::Configure(log::Level::kInfo, log::Format::kText); }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;
};

// A copy of what was put there.
struct BuriedLetter {
  std::string sink, id, reason, payload;
  uint64_t offset = 0;
  DropReason why{};
};

class FakeDeadLetters : public queue::DeadLetters {
 public:
  bool keep = true;
  bool full = false;
  std::vector<BuriedLetter> letters;
  Room Reserve(const queue::Letter& l, const std::string& sink) override {
    if (full) return Room::kFull;
    letters.push_back({sink, l.id, l.reason, std::string(l.event().payload), l.offset, l.why});
    return keep ? Room::kReserved : Room::kNowhere;
  }
  void Keep(const std::string&, std::vector<queue::Letter>, std::function<void()> stored) override {
    stored();
  }
};

struct CursorOptions {
  Order order = Order::kRelaxed;
  bool skip = false;
  MaxBehind max_behind{};
  RetryPolicy retry{};
  event::Format format = event::Format::kRaw;
  FilterStep source_filter{}, sink_filter{};
};

inline FilterStep Filtering(std::string_view expression,
                            OnFilterError on_error = OnFilterError::kDeadLetter,
                            const filter::Limits& limits = {}) {
  auto filter = filter::Filter::Compile(expression, limits);
  EXPECT_TRUE(filter.has_value()) << filter.error().text;
  return {std::move(*filter), on_error};
}

class Rig {
 public:
  struct Source {
    event::SourceInfo info;
    std::shared_ptr<queue::MemoryQueue> queue;
    std::vector<uint64_t> acks;
    uint64_t emitted = 0;
  };
  struct Sink {
    std::shared_ptr<Signal> signal = std::make_shared<Signal>();
    fakes::FakeSinkPort port;
    FakeDeadLetters dead_letters;
    std::unique_ptr<Dispatcher> dispatcher;
    Clock* clock = nullptr;

    void Connect() { dispatcher->SetState(PENSTOCK_STATE_READY, "connected"); }
    void Disconnect() { dispatcher->SetState(PENSTOCK_STATE_CONNECTING, "gone"); }
    // One step; every ledger balances after it.
    TimePoint Step() {
      const TimePoint next = dispatcher->Step();
      for (const Ledger& ledger : dispatcher->Ledgers())
        EXPECT_TRUE(ledger.Balances()) << ledger.ToString();
      return next;
    }
    // Steps and delivers what is in flight until there is nothing more to do now.
    void Settle() {
      do {
        port.DeliverAll();
        Step();
      } while (!port.in_flight().empty());
    }
    Ledger ledger(size_t cursor = 0) const { return dispatcher->Ledgers().at(cursor); }
  };

  explicit Rig(uint64_t memory = 64 << 20) : budget(memory) {}
  // Nothing may be left of it all.
  ~Rig() {
    sinks_.clear();
    sources_.clear();
    EXPECT_EQ(budget.used(), 0u);
    EXPECT_EQ(lender.released.load(), lender.lent.load());
  }

  Source& AddSource(queue::Limits limits = {}, uint64_t reserve = 0) {
    Source& source = sources_.emplace_back();
    const std::string name = "s" + std::to_string(sources_.size() - 1);
    source.info = {name, name, "created", "generic", {}};
    source.queue = std::make_shared<queue::MemoryQueue>(
        sources_.size(), limits, &budget, reserve, &clock,
        [&source](const uint64_t* tokens, size_t n) {
          source.acks.insert(source.acks.end(), tokens, tokens + n);
        });
    return source;
  }
  Sink& AddSink(WindowLimits limits = {}, uint64_t reserve = 0) {
    Sink& sink = sinks_.emplace_back();
    sink.clock = &clock;
    const std::string name = sinks_.size() == 1 ? "bus" : "bus" + std::to_string(sinks_.size());
    sink.dispatcher = std::make_unique<Dispatcher>(
        name, &sink.port, limits,
        budget.MakeShare(reserve, sink.signal, queue::MemoryBudget::First::kAlways), &clock,
        sink.signal, sinks_.size());
    sink.port.dispatcher = sink.dispatcher.get();
    return sink;
  }
  static void Route(Source& source, Sink& sink, CursorOptions options = {}) {
    CursorSpec spec;
    spec.queue = source.queue;
    spec.source = &source.info;
    spec.encoder = {options.format, "bus", {}, {}};
    spec.order = options.order;
    spec.skip_when_behind = options.skip;
    spec.max_behind = options.max_behind;
    spec.retry = options.retry;
    spec.dead_letters = &sink.dead_letters;
    spec.source_filter = options.source_filter;
    spec.sink_filter = options.sink_filter;
    sink.dispatcher->AddCursor(std::move(spec));
  }

  // Emits n events in one batch, their payloads and ack tokens are their numbers within the source;
  // how many were taken.
  size_t Append(Source& source, size_t n) {
    fakes::FakeBatch batch(&lender);
    for (size_t i = 0; i < n; ++i)
      batch.Add(std::to_string(source.emitted + i), source.emitted + i);
    size_t accepted = 0;
    batch.AppendTo(*source.queue, &accepted, Nanoseconds(0));
    source.emitted += accepted;
    return accepted;
  }
  bool AppendPayload(Source& source, std::string payload, const char* content_type = "") {
    fakes::FakeBatch batch(&lender);
    batch.Add(std::move(payload), source.emitted);
    batch.back().content_type = batch.Keep(content_type);
    size_t accepted = 0;
    batch.AppendTo(*source.queue, &accepted, Nanoseconds(0));
    source.emitted += accepted;
    return accepted == 1;
  }

  fakes::FakeClock clock;
  queue::MemoryBudget budget;
  fakes::Lender lender;

 private:
  std::deque<Source> sources_;
  std::deque<Sink> sinks_;
};

// "FIRST", "FIRST+1" ... n of them.
inline std::vector<std::string> Numbers(uint64_t first, size_t n) {
  std::vector<std::string> out;
  for (uint64_t i = first; i < first + n; ++i) out.push_back(std::to_string(i));
  return out;
}

// What the sink was sent in all, in order.
inline std::vector<std::string> Payloads(const std::vector<fakes::Sent>& log) {
  std::vector<std::string> out;
  for (const fakes::Sent& sent : log) out.push_back(sent.payload);
  return out;
}

inline uint64_t Dropped(const Ledger& ledger, DropReason reason) {
  return ledger.dropped[static_cast<size_t>(reason)];
}

}  // namespace penstock::delivery
