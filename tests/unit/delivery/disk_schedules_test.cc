// Random interleavings of everything that can happen to queues on disk and their sinks, with
// crashes and restarts, checked against a model. The store is a real one; what was not committed is
// gone after a crash.
//
//   PENSTOCK_SEED=N PENSTOCK_SCHEDULES=1 disk_schedules_test --gtest_filter='*/0'    again
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "unit/delivery/model.h"
#include "unit/delivery/rig.h"
#include "unit/delivery/stored_rig.h"

namespace penstock::delivery {
namespace {

constexpr uint64_t kParts = 4;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSchedules = 1000;
#else
constexpr uint64_t kSchedules = 20000;  // in each part
#endif

// Defects that the model has to find.
enum class Flaw {
  kNone,
  kCursorBeforeReceipt,
  kForgetsWhatSettledAbove,
  kCountsWhatItForgets,
  kLosesLetters,
  kAcknowledgesBeforeTheCommit,
};

// As the queue behind it, but for one defect.
class FlawedQueue : public queue::Queue {
 public:
  FlawedQueue(std::shared_ptr<queue::Queue> behind, Flaw flaw)
      : behind_(std::move(behind)), flaw_(flaw) {}
  uint64_t id() const override { return behind_->id(); }
  penstock_status Append(const penstock_event_batch& batch, size_t* accepted,
                         Nanoseconds timeout) override {
    return behind_->Append(batch, accepted, timeout);
  }
  queue::Reader AddReader(const std::string& name, queue::Start start,
                          std::shared_ptr<Signal> wake) override {
    queue::Reader out = behind_->AddReader(name, start, std::move(wake));
    if (flaw_ == Flaw::kForgetsWhatSettledAbove) out.max_above = 0;
    return out;
  }
  queue::ReadResult Read(queue::ReaderId reader, uint64_t offset, uint64_t max_events,
                         uint64_t max_bytes) override {
    return behind_->Read(reader, offset, max_events, max_bytes);
  }
  void Release(queue::ReaderId reader, queue::Progress progress) override {
    if (flaw_ == Flaw::kCursorBeforeReceipt) progress.settled = progress.hold;
    if (flaw_ == Flaw::kCountsWhatItForgets) progress.above.clear();
    if (flaw_ == Flaw::kLosesLetters) progress.letters.clear();
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
  const Flaw flaw_;
};

class DiskSchedule {
 public:
  DiskSchedule(uint64_t seed, StoredRig* rig, Flaw flaw)
      : random_(seed), rig_(*rig), flaw_(flaw), budget_(Pick({20000, 1 << 20, 1 << 20})) {
    rig_.Clear();
    const size_t n_sources = 1 + random_.Below(2), n_sinks = 1 + random_.Below(3);
    for (size_t i = 0; i < n_sources; ++i) AddSource();
    for (size_t i = 0; i < n_sinks; ++i) AddSink();
    Open();
  }

  void Run() {
    for (uint64_t ops = Pick({40, 80, 160}); ops > 0; --ops) Once();
    Finish();
    CheckEnd();
    Close();
    EXPECT_EQ(budget_.used(), 0u);
    EXPECT_EQ(lender_.released.load(), lender_.lent.load());
  }

 private:
  struct Source {
    event::SourceInfo info;
    queue::Limits limits;
    queue::StoredLetters::Limits letter_limits;
    bool keeps_letters = false;
    bool drops() const { return limits.when_full != queue::WhenFull::kBlock; }
    bool letters_wait() const {
      return keeps_letters && letter_limits.max_events < 1000 && !letter_limits.drop_oldest;
    }
    std::shared_ptr<queue::StoredLetters> letters;
    std::shared_ptr<queue::DiskQueue> queue;
    uint32_t number = 0;  // in the store
    uint64_t id = 0;
    uint64_t emitted = 0;
    std::set<uint64_t> acked;
  };
  struct Route {
    Source* source = nullptr;
    CursorSpec spec;
    RouteModel model;
  };
  struct Sink {
    Sink(Random* random, size_t max_events) : port(random, max_events) {}
    std::string name;
    WindowLimits limits;
    RandomSink port;
    std::deque<Route> routes;
    std::unique_ptr<Dispatcher> dispatcher;
  };

  uint64_t Pick(std::initializer_list<uint64_t> choices) {
    return choices.begin()[random_.Below(choices.size())];
  }

  void AddSource() {
    Source& source = sources_.emplace_back();
    const std::string name = "s" + std::to_string(sources_.size());
    source.info = {name, name, "e", "t", {}};
    source.limits.max_events = Pick({3, 10, 1000});
    source.limits.max_bytes = Pick({3000, 1 << 20});
    if (random_.OneIn(2)) source.limits.when_full = static_cast<queue::WhenFull>(random_.Below(3));
    source.keeps_letters = !random_.OneIn(4);
    if (random_.OneIn(3)) source.letter_limits.max_events = Pick({1, 3});
    source.letter_limits.drop_oldest = random_.OneIn(2);
  }

  void AddSink() {
    WindowLimits limits;
    limits.max_events = Pick({1, 4, 16, 256});
    limits.max_bytes = Pick({50, 1000, 1 << 20});
    Sink& sink = sinks_.emplace_back(&random_, limits.max_events);
    sink.name = "bus" + std::to_string(sinks_.size());
    sink.limits = limits;
    sink.port.unknowns = random_.OneIn(2);
    for (Source& source : sources_)
      if (random_.OneIn(2) || &source == &sources_.front()) AddRoute(source, sink);
  }

  void AddRoute(Source& source, Sink& sink) {
    Route& route = sink.routes.emplace_back();
    route.source = &source;
    CursorSpec& spec = route.spec;
    spec.source = &source.info;
    spec.encoder = {event::Format::kCloudEventsBinary, sink.name, {}, {}};
    spec.order = route.model.order =
        random_.OneIn(2) ? Order::kRelaxed : static_cast<Order>(random_.Below(3));
    // Under strict order a letter above the cursor keeps its room until the cursor is there, so
    // that one below it may wait for ever when there is next to none.
    if (source.letters_wait()) spec.order = route.model.order = Order::kRelaxed;
    spec.retry = {milliseconds(100), seconds(5)};
    if (random_.OneIn(4)) spec.retry.max_attempts = 2;
    if (random_.OneIn(4)) spec.retry.max_age = seconds(3);
    spec.start = queue::Start::kOldest;
    if (random_.OneIn(4)) {
      spec.skip_when_behind = true;
      spec.max_behind.events = Pick({0, 1, 5});
      spec.max_behind.age = seconds(Pick({0, 3}));
    }
    // Of a strict route the model must know what was never sent.
    if (spec.order == Order::kRelaxed && random_.OneIn(2)) {
      static const auto filter = Filtering(RouteModel::kFilter).filter;  // all run on this thread
      route.model.filters = true;
      route.model.on_error = static_cast<OnFilterError>(random_.Below(3));
      spec.sink_filter = {filter, route.model.on_error};
    }
    route.model.unknowns = sink.port.unknowns;
    route.model.may_drop = spec.skip_when_behind || source.drops();
    route.model.buries = !source.letters_wait();
    sink.port.lanes.push_back(&route.model);
  }

  // ---- lives

  void Open() {
    for (Source& source : sources_) Open(source);
    for (Sink& sink : sinks_) {
      const auto signal = std::make_shared<Signal>();
      sink.dispatcher = std::make_unique<Dispatcher>(
          sink.name, &sink.port, sink.limits,
          budget_.MakeShare(0, signal, queue::MemoryBudget::First::kAlways), rig_.clock(), signal,
          random_.Below(1000));
      sink.port.dispatcher = sink.dispatcher.get();
      for (Route& route : sink.routes) {
        CursorSpec spec = route.spec;
        spec.queue = route.source->queue;
        if (flaw_ != Flaw::kNone) spec.queue = std::make_shared<FlawedQueue>(spec.queue, flaw_);
        spec.dead_letters = route.source->letters.get();
        sink.dispatcher->AddCursor(std::move(spec));
      }
      if (!random_.OneIn(4)) sink.port.Connect();
    }
  }
  void Open(Source& source) {
    if (source.keeps_letters) {
      auto letters = queue::StoredLetters::Open(rig_.store(), source.info.name,
                                                source.letter_limits, rig_.clock());
      ASSERT_TRUE(letters) << letters.error().message;
      source.letters = std::move(*letters);
    }
    auto opened = queue::DiskQueue::Open(
        rig_.store(), source.info.name, source.limits, &budget_, 0, rig_.clock(),
        [this, &source](const uint64_t* tokens, size_t n) {
          for (size_t i = 0; i < n; ++i) Acked(source, tokens[i]);
        },
        source.letters);
    ASSERT_TRUE(opened) << opened.error().message;
    source.queue = std::move(*opened);
    EXPECT_TRUE(source.id == 0 || source.queue->id() == source.id) << "other ids after a restart";
    source.id = source.queue->id();
    source.number = rig_.store()->FindOrMakeQueue(source.info.name)->queue;
    CheckStored(source);
  }
  void Close() {
    for (Sink& sink : sinks_) sink.dispatcher.reset();
    for (Source& source : sources_) {
      source.queue.reset();
      source.letters.reset();
    }
  }

  void Crash() {
    for (Sink& sink : sinks_) {
      sink.port.HostDied();
      for (Route& route : sink.routes) route.model.Crashed();
    }
    Close();
    if (random_.OneIn(8)) rig_.Reopen();
    Open();
    CheckPending();
  }

  void Acked(Source& source, uint64_t number) {
    const bool first = source.acked.insert(number).second;
    EXPECT_TRUE(first || flaw_ != Flaw::kNone) << number << " is acknowledged twice";
  }

  // ---- what can happen

  static bool Unencodable(uint64_t number) { return number % 23 == 7; }

  void Append() {
    Source& source = sources_[random_.Below(sources_.size())];
    fakes::FakeBatch batch(random_.OneIn(3) ? nullptr : &lender_);
    static constexpr penstock_kv kBad{{"No Name", 7}, {"x", 1}};
    const size_t n = 1 + random_.Below(8);
    for (size_t i = 0; i < n; ++i) {
      const uint64_t number = source.emitted + i;
      batch.Add(std::to_string(number) + std::string(Pick({0, 20, 300}), ' '), number);
      if (!Unencodable(number)) continue;
      batch.back().attributes = &kBad;
      batch.back().n_attributes = 1;
    }
    size_t accepted = 0;
    batch.AppendTo(*source.queue, &accepted, Nanoseconds(0));
    if (flaw_ == Flaw::kAcknowledgesBeforeTheCommit)
      for (size_t i = 0; i < accepted; ++i) Acked(source, source.emitted + i);
    source.emitted += accepted;
  }

  void Step(Sink& sink) {
    sink.dispatcher->Step();
    for (const Ledger& ledger : sink.dispatcher->Ledgers())
      EXPECT_TRUE(ledger.Balances()) << ledger.ToString();
    for (Route& route : sink.routes) route.model.Stepped();
  }

  void Commit() {
    rig_.Commit();
    for (Sink& sink : sinks_)
      for (Route& route : sink.routes) route.model.Committed();
    for (Source& source : sources_) CheckStored(source);
  }

  // Somebody makes room in the dead letters.
  void DropLetters() {
    for (Source& source : sources_) {
      if (!source.letters_wait()) continue;
      store::LetterFilter filter;
      filter.queue = source.letters->queue();
      EXPECT_TRUE(store::DropLetters(rig_.store(), filter));
    }
  }

  void Once() {
    Sink& sink = sinks_[random_.Below(sinks_.size())];
    const uint64_t dice = random_.Below(40);
    if (dice < 6) return Append();
    if (dice < 14) return Step(sink);
    if (dice < 20) return sink.port.DecideOne();
    if (dice < 26) return sink.port.AnswerOne();
    if (dice < 31) return Commit();
    if (dice < 33) return sink.port.Ready(random_.OneIn(3) ? random_.Below(5) : ~size_t{0});
    if (dice < 35) return rig_.clock()->Advance(milliseconds(random_.Below(2000)));
    if (dice < 37) return sink.port.Connect();
    if (dice < 38) return Crash();
    if (dice < 39) return DropLetters();
    sink.port.Disconnect();
  }

  // Everything is well from now on.
  void Finish() {
    for (int round = 0; round < 2000; ++round) {
      Commit();
      bool drained = true;
      for (Sink& sink : sinks_) {
        sink.port.healthy = true;
        sink.port.Ready(~size_t{0});
        sink.port.Connect();
        sink.port.AnswerAll();
        Step(sink);
        drained = drained && sink.dispatcher->Drained() && sink.port.idle();
      }
      if (drained) return Commit();
      if (round % 10 == 9) DropLetters();
      rig_.clock()->Advance(milliseconds(150));
    }
    for (Sink& sink : sinks_)
      for (const Ledger& ledger : sink.dispatcher->Ledgers()) ADD_FAILURE() << ledger.ToString();
    FAIL() << "not drained";
  }

  // ---- what must hold

  void CheckStored(const Source& source) {
    if (flaw_ == Flaw::kAcknowledgesBeforeTheCommit) return;
    if (source.drops()) return;  // those count as well
    EXPECT_EQ(source.queue->end(), source.acked.size()) << "what was stored was acknowledged";
  }

  // What the store says is what the ledgers say.
  void CheckPending() {
    for (Sink& sink : sinks_) {
      const std::vector<Ledger> ledgers = sink.dispatcher->Ledgers();
      for (size_t i = 0; i < ledgers.size(); ++i) {
        EXPECT_TRUE(ledgers[i].Balances()) << ledgers[i].ToString();
        if (sink.routes[i].source->drops()) continue;
        const auto cursors = rig_.store()->Cursors(sink.routes[i].source->number);
        for (const store::CursorRecord& cursor : *cursors) {
          if (cursor.sink != sink.name) continue;
          const auto record = rig_.store()->FindOrMakeQueue(ledgers[i].source);
          EXPECT_EQ(store::Pending(*record, cursor), ledgers[i].pending);
        }
      }
    }
  }

  void CheckEnd() {
    CheckPending();
    const auto counts = store::CountsOfLetters(*rig_.store());
    for (Sink& sink : sinks_) {
      const std::vector<Ledger> ledgers = sink.dispatcher->Ledgers();
      for (size_t i = 0; i < ledgers.size(); ++i) {
        SCOPED_TRACE(ledgers[i].ToString());
        uint64_t buried = 0;
        for (const store::LetterCounts& c : *counts)
          if (c.queue == sink.routes[i].source->number && c.sink == sink.name) buried = c.buried;
        EXPECT_EQ(buried, ledgers[i].dead_lettered) << "each dead letter once";
        CheckRoute(ledgers[i], sink.name, sink.routes[i]);
        CheckOrder(sink.routes[i]);
      }
    }
    for (const Source& source : sources_)
      if (source.keeps_letters) CheckUsage(source);
  }

  // What is counted of the dead letters is what is there.
  void CheckUsage(const Source& source) {
    store::LetterFilter filter;
    filter.queue = source.number;
    queue::StoredLetters::Usage there;
    EXPECT_TRUE(
        store::ForEachLetter(*rig_.store(), filter, [&there](const store::LetterRecord& letter) {
          ++there.events;
          there.bytes += store::LetterBytes(letter);
          return true;
        }));
    EXPECT_EQ(source.letters->usage().events, there.events);
    EXPECT_EQ(source.letters->usage().bytes, there.bytes);
  }

  void CheckRoute(const Ledger& ledger, const std::string& sink, const Route& route) {
    using Fate = RouteModel::Fate;
    const Source& source = *route.source;
    const RouteModel& model = route.model;
    EXPECT_EQ(ledger.pending, 0u);
    EXPECT_GE(ledger.delivered, model.Count(Fate::kDelivered));
    EXPECT_LE(ledger.delivered, model.Count(Fate::kDelivered) + model.Count(Fate::kOpen));
    for (const auto& [number, event] : model.events)
      EXPECT_EQ(source.acked.count(number), 1u) << number << " is invented";
    EXPECT_EQ(ledger.received, source.queue->end() + source.queue->stats().dropped_newest);
    if (model.may_drop) return;
    EXPECT_EQ(Dropped(ledger, DropReason::kBehind) + Dropped(ledger, DropReason::kWhenFull) +
                  Dropped(ledger, DropReason::kCorrupted),
              0u);
    uint64_t filtered = 0, failed = 0;
    for (const uint64_t number : source.acked) {
      const auto sent = model.events.find(number);
      if (model.Filtered(number)) {
        EXPECT_TRUE(sent == model.events.end()) << number << " is not filtered";
        filtered += RouteModel::FilterDrops(number) ? 1 : 0;
        failed += RouteModel::FilterDrops(number) ? 0 : 1;
      } else if (!Unencodable(number)) {
        EXPECT_TRUE(sent != model.events.end()) << number << " is lost";
      }
    }
    EXPECT_EQ(Dropped(ledger, DropReason::kFiltered), filtered);
    const bool drops = model.filters && model.on_error == OnFilterError::kDrop;
    EXPECT_GE(Dropped(ledger, DropReason::kFilterError), drops ? failed : 0);
    if (source.keeps_letters && source.letter_limits.max_events >= 1000) CheckLetters(sink, route);
  }

  // All that was not delivered lies there, and nothing else.
  void CheckLetters(const std::string& sink, const Route& route) {
    using Fate = RouteModel::Fate;
    std::set<uint64_t> buried;
    for (const store::LetterRecord& letter : rig_.Letters(route.source->number, sink)) {
      const auto block = store::DecodeRecord(letter.event, letter.offset);
      ASSERT_TRUE(block) << block.error().message;
      const uint64_t number = std::stoull(std::string((*block)->at(letter.offset).payload));
      EXPECT_TRUE(buried.insert(number).second);
      const auto sent = route.model.events.find(number);
      EXPECT_EQ(sent == route.model.events.end(),
                Unencodable(number) || route.model.FilterBuries(number))
          << number;
      if (sent == route.model.events.end()) continue;
      EXPECT_NE(sent->second.fate, Fate::kDelivered) << number << " is delivered and buried";
      EXPECT_EQ(sent->second.id, letter.id);
    }
    for (const uint64_t number : route.source->acked) {
      if (buried.count(number) > 0) continue;
      ASSERT_FALSE(route.model.FilterBuries(number)) << number << " is lost";
      if (route.model.Filtered(number)) continue;
      ASSERT_FALSE(Unencodable(number)) << number << " is lost";
      const auto sent = route.model.events.find(number);
      if (sent == route.model.events.end()) continue;  // told already
      const bool open = sent->second.fate == Fate::kOpen && route.model.order != Order::kRelaxed;
      EXPECT_TRUE(sent->second.fate == Fate::kDelivered || open) << number << " is lost";
    }
  }

  // As a bus that drops repeated ids has it.
  static void CheckOrder(const Route& route) {
    const RouteModel& model = route.model;
    if (model.order == Order::kRelaxed) return;
    // What was given up or dropped may be tried again after a crash that came before the commit,
    // and then succeed behind later ones.
    const RetryPolicy& retry = route.spec.retry;
    if (retry.max_attempts > 0 || retry.max_age > Nanoseconds(0)) return;
    const bool drops_oldest = route.source->limits.when_full == queue::WhenFull::kDropOldest;
    if (drops_oldest || route.spec.skip_when_behind) return;
    std::set<uint64_t> taken;
    for (const uint64_t number : model.bus) {
      if (!taken.insert(number).second) continue;
      EXPECT_EQ(*taken.rbegin(), number) << "out of order on the bus";
    }
  }

  Random random_;
  StoredRig& rig_;
  const Flaw flaw_;
  queue::MemoryBudget budget_;
  fakes::Lender lender_;
  std::deque<Source> sources_;
  std::deque<Sink> sinks_;
};

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::strtoull(value, nullptr, 10) : otherwise;
}

// Parts, so that they run beside each other.
class DiskSchedulesTest : public testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Part, DiskSchedulesTest, testing::Range<uint64_t>(0, kParts));

TEST_P(DiskSchedulesTest, NothingThatIsStoredIsLostOrSentAgainOnceItHasSettled) {
  const QuietLog quiet;
  const uint64_t n = FromEnvironment("PENSTOCK_SCHEDULES", kSchedules);
  const uint64_t first = FromEnvironment("PENSTOCK_SEED", 1) + GetParam() * n;
  std::printf("PENSTOCK_SEED=%llu PENSTOCK_SCHEDULES=%llu\n",
              static_cast<unsigned long long>(first), static_cast<unsigned long long>(n));
  StoredRig rig;
  for (uint64_t seed = first; seed < first + n; ++seed) {
    DiskSchedule(seed, &rig, Flaw::kNone).Run();
    if (!HasFailure()) continue;
    std::printf(
        "again with PENSTOCK_SEED=%llu PENSTOCK_SCHEDULES=1 disk_schedules_test "
        "--gtest_filter='*/0'\n",
        static_cast<unsigned long long>(seed));
    return;
  }
}

// The model is able to fail: how many schedules it takes to find the flaw; 0: it does not.
uint64_t FoundAfter(Flaw flaw) {
  const QuietLog quiet;
  constexpr uint64_t kTries = 300;
  StoredRig rig;
  testing::TestPartResultArray failures;
  for (uint64_t seed = 1; seed <= kTries; ++seed) {
    {
      const testing::ScopedFakeTestPartResultReporter reporter(
          testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
      DiskSchedule(seed, &rig, flaw).Run();
    }
    if (failures.size() > 0) return seed;
  }
  return 0;
}

TEST(DiskModelTest, FindsACursorBeforeTheReceipt) {
  EXPECT_GT(FoundAfter(Flaw::kCursorBeforeReceipt), 0u);
}
TEST(DiskModelTest, FindsThatWhatSettledAboveTheCursorIsForgotten) {
  EXPECT_GT(FoundAfter(Flaw::kForgetsWhatSettledAbove), 0u);
}
TEST(DiskModelTest, FindsThatWhatIsForgottenIsCounted) {
  EXPECT_GT(FoundAfter(Flaw::kCountsWhatItForgets), 0u);
}
TEST(DiskModelTest, FindsLostLetters) { EXPECT_GT(FoundAfter(Flaw::kLosesLetters), 0u); }
TEST(DiskModelTest, FindsAnAcknowledgementBeforeTheCommit) {
  EXPECT_GT(FoundAfter(Flaw::kAcknowledgesBeforeTheCommit), 0u);
}

}  // namespace
}  // namespace penstock::delivery
