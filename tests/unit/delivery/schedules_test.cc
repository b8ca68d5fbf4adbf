// Random interleavings of everything that can happen to queues and sinks, checked against a model.
//
//   PENSTOCK_SEED=N PENSTOCK_SCHEDULES=1 schedules_test    the schedule that failed
//   PENSTOCK_SEED=$RANDOM PENSTOCK_SCHEDULES=1000000 schedules_test
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "delivery/cursor.h"
#include "unit/delivery/model.h"
#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSchedules = 2000;
#else
constexpr uint64_t kSchedules = 20000;
#endif

class Schedule {
 public:
  explicit Schedule(uint64_t seed) : random_(seed), budget_(Pick({6000, 20000, 1 << 20})) {
    const size_t n_sources = 1 + random_.Below(3), n_sinks = 1 + random_.Below(3);
    for (size_t i = 0; i < n_sources; ++i) AddSource();
    for (size_t i = 0; i < n_sinks; ++i) AddSink();
  }

  void Run() {
    for (uint64_t ops = Pick({30, 100, 300}); ops > 0; --ops) Once();
    Finish();
    CheckEnd();
    sinks_.clear();
    sources_.clear();
    EXPECT_EQ(budget_.used(), 0u);
    EXPECT_EQ(lender_.released.load(), lender_.lent.load());
  }

 private:
  struct Source {
    event::SourceInfo info;
    std::shared_ptr<queue::MemoryQueue> queue;
    bool drops = false;
    uint64_t emitted = 0;
    std::set<uint64_t> acked;
    std::vector<RouteModel*> routes;
    bool read = false;
  };
  struct Sink {
    Sink(Random* random, size_t max_events) : port(random, max_events) {}
    RandomSink port;
    FakeDeadLetters dead_letters;
    std::unique_ptr<Dispatcher> dispatcher;
    std::deque<RouteModel> routes;
    std::vector<Source*> sources;
    std::string name;
    WindowLimits limits;
    std::vector<CursorSpec> specs;
  };

  uint64_t Pick(std::initializer_list<uint64_t> choices) {
    return choices.begin()[random_.Below(choices.size())];
  }

  void AddSource() {
    Source& source = sources_.emplace_back();
    source.info = {"s" + std::to_string(sources_.size()), "s", "e", "t", {}};
    queue::Limits limits;
    limits.max_events = Pick({1, 3, 10, 1000});
    limits.max_bytes = Pick({600, 3000, 1 << 20});
    limits.when_full = static_cast<queue::WhenFull>(random_.Below(3));
    source.drops = limits.when_full != queue::WhenFull::kBlock;
    source.queue = std::make_shared<queue::MemoryQueue>(
        sources_.size(), limits, &budget_, Pick({0, 1000, 5000}), &clock_,
        [this, &source](const uint64_t* tokens, size_t n) {
          for (size_t i = 0; i < n; ++i) Acked(source, tokens[i]);
        });
  }

  void AddSink() {
    WindowLimits limits;
    limits.max_events = Pick({1, 4, 16, 256});
    limits.max_bytes = Pick({50, 1000, 1 << 20});
    Sink& sink = sinks_.emplace_back(&random_, limits.max_events);
    sink.name = "bus" + std::to_string(sinks_.size());
    sink.limits = limits;
    MakeDispatcher(sink);
    sink.port.unknowns = random_.OneIn(2);
    sink.dead_letters.keep = random_.OneIn(2);
    for (Source& source : sources_)
      if (random_.OneIn(2) || &source == &sources_.front()) AddRoute(source, sink);
    if (!random_.OneIn(4)) sink.port.Connect();
  }

  void MakeDispatcher(Sink& sink) {
    const auto signal = std::make_shared<Signal>();
    sink.dispatcher = std::make_unique<Dispatcher>(
        sink.name, &sink.port, sink.limits,
        budget_.MakeShare(Pick({0, 2000}), signal, queue::MemoryBudget::First::kAlways), &clock_,
        signal, random_.Below(1000));
    sink.port.dispatcher = sink.dispatcher.get();
  }

  void AddRoute(Source& source, Sink& sink) {
    RouteModel& route = sink.routes.emplace_back();
    CursorSpec spec;
    spec.queue = source.queue;
    spec.source = &source.info;
    spec.encoder = {event::Format::kCloudEventsBinary, "bus", {}, {}};
    spec.order = route.order = static_cast<Order>(random_.Below(3));
    spec.retry = {milliseconds(100), seconds(5)};
    spec.dead_letters = &sink.dead_letters;
    if (random_.OneIn(3)) {
      spec.skip_when_behind = true;
      spec.max_behind.events = Pick({0, 1, 5});
      spec.max_behind.bytes = Pick({0, 1000});
      spec.max_behind.age = seconds(Pick({0, 3}));
    }
    if (random_.OneIn(2)) AddFilter(&route, &spec);
    route.unknowns = sink.port.unknowns;
    route.may_drop = spec.skip_when_behind || source.drops;
    source.routes.push_back(&route);
    source.read = true;
    sink.sources.push_back(&source);
    sink.port.lanes.push_back(&route);
    sink.specs.push_back(spec);
    sink.dispatcher->AddCursor(std::move(spec));
  }

  void AddFilter(RouteModel* route, CursorSpec* spec) {
    route->filters = true;
    route->on_error = static_cast<OnFilterError>(random_.Below(3));
    static const auto filter = Filtering(RouteModel::kFilter).filter;  // all run on this thread
    (random_.OneIn(2) ? spec->source_filter : spec->sink_filter) = {filter, route->on_error};
  }

  // A reload: the sink is made anew, and goes on where it stood. Some receipts are never given.
  void HandOver(Sink& sink) {
    sink.dispatcher->StopSubmitting();
    for (uint64_t n = random_.Below(10); n > 0; --n) {
      sink.port.DecideOne();
      sink.port.AnswerOne();
    }
    Step(sink);
    sink.port.Replaced();
    auto cursors = sink.dispatcher->TakeCursors();
    ASSERT_EQ(cursors.size(), sink.specs.size());
    const auto old = std::move(sink.dispatcher);
    MakeDispatcher(sink);
    for (size_t i = 0; i < cursors.size(); ++i)
      sink.dispatcher->AddCursor(sink.specs[i], std::move(cursors[i]));
    if (random_.OneIn(2)) sink.port.Connect();
  }

  // An ack must mean that the event has settled at every sink; whether it was dropped there only
  // the counts tell.
  void Acked(Source& source, uint64_t number) {
    EXPECT_TRUE(source.acked.insert(number).second) << number << " is acked twice";
    for (const RouteModel* route : source.routes) {
      const auto found = route->events.find(number);
      const auto fate =
          found == route->events.end() ? RouteModel::Fate::kNotSent : found->second.fate;
      EXPECT_NE(fate, RouteModel::Fate::kInFlight) << number << " is acked while in flight";
      const bool settled =
          fate == RouteModel::Fate::kDelivered || fate == RouteModel::Fate::kRejected;
      EXPECT_TRUE(settled || route->may_drop || Unencodable(number) || route->Filtered(number))
          << number << " is acked and nothing has become of it";
    }
  }

  // ---- what can happen

  static bool Unencodable(uint64_t number) { return number % 23 == 7; }

  void Append() {
    Source& source = sources_[random_.Below(sources_.size())];
    if (!source.read) return;
    const bool copied = random_.OneIn(3);
    fakes::FakeBatch batch(copied ? nullptr : &lender_);
    static constexpr penstock_kv kBad{{"No Name", 7}, {"x", 1}};
    const size_t n = 1 + random_.Below(8);
    for (size_t i = 0; i < n; ++i) {
      const uint64_t number = source.emitted + i;
      const size_t padding = random_.OneIn(30) ? 5000 : Pick({0, 20, 300});
      batch.Add(std::to_string(number) + std::string(padding, ' '), number);
      if (!Unencodable(number)) continue;
      batch.back().attributes = &kBad;
      batch.back().n_attributes = 1;
    }
    size_t accepted = 0;
    const penstock_status status = batch.AppendTo(*source.queue, &accepted, Nanoseconds(0));
    EXPECT_EQ(status, accepted == n ? PENSTOCK_OK : PENSTOCK_AGAIN);
    EXPECT_TRUE(accepted == n || !source.drops);
    source.emitted += accepted;
  }

  void Step(Sink& sink) {
    sink.dispatcher->Step();
    const std::vector<Ledger> ledgers = sink.dispatcher->Ledgers();
    for (size_t i = 0; i < ledgers.size(); ++i) {
      const Ledger& ledger = ledgers[i];
      EXPECT_TRUE(ledger.Balances()) << ledger.ToString();
      EXPECT_EQ(ledger.received, sink.sources[i]->emitted);
      EXPECT_LE(ledger.delivered, sink.routes[i].Count(RouteModel::Fate::kDelivered));
      EXPECT_TRUE(ledger.reordered == 0 || sink.routes[i].order == Order::kRelaxed);
    }
  }

  void Once() {
    Sink& sink = sinks_[random_.Below(sinks_.size())];
    if (random_.OneIn(50)) return HandOver(sink);
    switch (random_.Below(16)) {
      case 0:
      case 1:
      case 2:
        return Append();
      case 3:
      case 4:
      case 5:
        return Step(sink);
      case 6:
      case 7:
      case 8:
        return sink.port.DecideOne();
      case 9:
      case 10:
      case 11:
        return sink.port.AnswerOne();
      case 12:
        return sink.port.Ready(random_.OneIn(3) ? random_.Below(5) : ~size_t{0});
      case 13:
        return clock_.Advance(milliseconds(random_.Below(2000)));
      case 14:
        return sink.port.Connect();
      default:
        if (random_.OneIn(3)) sink.port.Disconnect();
    }
  }

  // Everything is well from now on.
  void Finish() {
    for (int round = 0; round < 2000; ++round) {
      bool drained = true;
      for (Sink& sink : sinks_) {
        sink.port.healthy = true;
        sink.port.Ready(~size_t{0});
        sink.port.Connect();
        sink.port.AnswerAll();
        Step(sink);
        drained = drained && sink.dispatcher->Drained() && sink.port.idle();
      }
      if (drained) return;
      clock_.Advance(milliseconds(50));
    }
    for (Sink& sink : sinks_)
      for (const Ledger& ledger : sink.dispatcher->Ledgers()) ADD_FAILURE() << ledger.ToString();
    FAIL() << "not drained";
  }

  // ---- what must hold at the end

  void CheckEnd() {
    for (Sink& sink : sinks_) {
      EXPECT_EQ(sink.dispatcher->in_flight(), 0u);
      const std::vector<Ledger> ledgers = sink.dispatcher->Ledgers();
      for (size_t i = 0; i < ledgers.size(); ++i)
        CheckRoute(ledgers[i], *sink.sources[i], sink.routes[i], sink.dead_letters.keep);
    }
    for (Source& source : sources_) {
      EXPECT_EQ(source.acked.size(), source.emitted) << "each event is acked once";
      EXPECT_EQ(source.queue->stats().events, 0u);
      EXPECT_EQ(source.queue->stats().bytes, 0u);
    }
  }

  void CheckRoute(const Ledger& ledger, const Source& source, const RouteModel& route,
                  bool keeps_dead_letters) {
    SCOPED_TRACE(ledger.ToString());
    const uint64_t delivered = route.Count(RouteModel::Fate::kDelivered);
    const uint64_t rejected = route.Count(RouteModel::Fate::kRejected);
    const uint64_t unencodable = Dropped(ledger, DropReason::kUnencodable);
    const uint64_t buried =
        ledger.dead_lettered + unencodable + Dropped(ledger, DropReason::kRejected);
    const uint64_t by_policy =
        Dropped(ledger, DropReason::kBehind) + Dropped(ledger, DropReason::kWhenFull);
    EXPECT_EQ(ledger.pending, 0u);
    EXPECT_EQ(ledger.received, source.emitted);
    EXPECT_EQ(ledger.delivered, delivered);
    const uint64_t filtered = Dropped(ledger, DropReason::kFiltered);
    const uint64_t failed = Dropped(ledger, DropReason::kFilterError);
    EXPECT_EQ(delivered + buried + by_policy + filtered + failed, source.emitted);
    EXPECT_GE(buried, rejected);
    EXPECT_EQ(ledger.dead_lettered > 0 && !keeps_dead_letters, false);
    for (const auto& [number, event] : route.events) {
      EXPECT_LT(number, source.emitted) << "invented";
      EXPECT_FALSE(Unencodable(number));
      EXPECT_FALSE(route.Filtered(number)) << number;
    }
    uint64_t drops = 0, fails = 0;
    for (uint64_t number = 0; number < source.emitted && route.filters; ++number) {
      drops += RouteModel::FilterDrops(number) ? 1 : 0;
      fails += RouteModel::FilterFails(number) ? 1 : 0;
    }
    EXPECT_LE(filtered, drops);
    EXPECT_LE(failed, fails);
    EXPECT_LE(ledger.filter_errors, fails);
    if (!route.may_drop) {
      EXPECT_EQ(by_policy, 0u);
      EXPECT_EQ(filtered, drops);
      EXPECT_EQ(ledger.filter_errors, fails) << "counted more than once, or not at all";
      EXPECT_EQ(delivered + rejected, route.events.size());
    }
    CheckOrder(ledger, route);
  }

  // As a bus that drops repeated ids has it.
  static void CheckOrder(const Ledger& ledger, const RouteModel& route) {
    std::set<uint64_t> taken;
    uint64_t late = 0;
    for (const uint64_t number : route.bus) {
      if (!taken.insert(number).second) continue;
      late += *taken.rbegin() != number ? 1 : 0;
    }
    if (route.order != Order::kRelaxed) {
      EXPECT_EQ(late, 0u) << "out of order on the bus";
    } else if (!route.unknowns) {
      EXPECT_LE(late, ledger.reordered) << "out of order on the bus, and not counted";
    }
  }

  Random random_;
  fakes::FakeClock clock_;
  queue::MemoryBudget budget_;
  fakes::Lender lender_;
  std::deque<Source> sources_;
  std::deque<Sink> sinks_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::strtoull(value, nullptr, 10) : otherwise;
}

TEST(SchedulesTest, EveryEventIsSettledExactlyOnceWhateverHappens) {
  const QuietLog quiet;
  const uint64_t first = FromEnvironment("PENSTOCK_SEED", 1);
  const uint64_t n = FromEnvironment("PENSTOCK_SCHEDULES", kSchedules);
  std::printf("PENSTOCK_SEED=%llu PENSTOCK_SCHEDULES=%llu\n",
              static_cast<unsigned long long>(first), static_cast<unsigned long long>(n));
  for (uint64_t seed = first; seed < first + n; ++seed) {
    Schedule(seed).Run();
    if (!HasFailure()) continue;
    std::printf("again with PENSTOCK_SEED=%llu PENSTOCK_SCHEDULES=1\n",
                static_cast<unsigned long long>(seed));
    return;
  }
}

}  // namespace
}  // namespace penstock::delivery
