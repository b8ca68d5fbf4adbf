#include "gateway/reload.h"

#include <algorithm>

#include "gateway/store_tools.h"
#include "gateway/stored.h"
#include "platform/log.h"

namespace penstock::gateway {
namespace {

constexpr char kMe[] = "reload";
// Between two looks at what is waited for, and whether a stop is wanted.
constexpr Nanoseconds kPoll = std::chrono::milliseconds(10);
// How long new sinks may take to connect before the answer says that they are not ready.
constexpr Nanoseconds kConnectGrace = std::chrono::seconds(1);
// How often the control thread shows that it lives.
constexpr Nanoseconds kPassInterval = std::chrono::seconds(1);
// How long each part is waited for at the least, though others have used up drain_timeout.
constexpr Nanoseconds kGrace = std::chrono::seconds(1);
// What the last commit may take.
constexpr Nanoseconds kLastCommit = std::chrono::seconds(5);

Error Stopping() { return {Code::kRetry, "a signal asks the gateway to stop"}; }

template <typename TableConfig>
const Part<TableConfig>* FindPart(const std::vector<Part<TableConfig>>& parts,
                                  const std::string& name) {
  const auto found = std::find_if(parts.begin(), parts.end(),
                                  [&](const auto& part) { return part.config->name == name; });
  return found == parts.end() ? nullptr : &*found;
}

bool SameInfo(const event::SourceInfo& a, const event::SourceInfo& b) {
  return a.name == b.name && a.event_source == b.event_source && a.event_name == b.event_name &&
         a.event_type == b.event_type && a.metadata == b.metadata;
}

// As the tables of the configuration are.
template <typename Part, typename TableConfig>
void SortLike(const std::vector<TableConfig>& tables, std::vector<std::unique_ptr<Part>>* parts) {
  const auto place = [&](const std::unique_ptr<Part>& part) {
    return std::find_if(tables.begin(), tables.end(),
                        [&](const TableConfig& t) { return t.name == part->config.name; });
  };
  std::stable_sort(parts->begin(), parts->end(),
                   [&](const auto& a, const auto& b) { return place(a) < place(b); });
}

}  // namespace

Result<std::string> Pipeline::Reload(const Prepared& next) { return Reloading(this, next).Run(); }

Reloading::Reloading(Pipeline* pipeline, const Prepared& next)
    : p_(*pipeline),
      next_(next),
      deadline_(pipeline->clock_->Now() + next.config.gateway.drain_timeout) {
  std::set<std::string> ended;
  for (const auto& source : p_.sources_) {
    // Drained, or failed for good: a reload is another chance.
    if (source->instance->stopping() || source->instance->failed())
      ended.insert(source->config.name);
  }
  plan_ = MakePlan(*p_.config_, next.config, ended);
}

Result<std::string> Reloading::Run() {
  std::lock_guard lock(p_.replays_mutex_);
  Result<void> done = Judge();
  if (done) done = Create();
  if (done) done = EndRoutes();
  if (done) done = SwitchSources();
  if (!done) {
    RollBack();
    return tl::unexpected(done.error());
  }
  const std::string old_builds = OldBuilds();
  SwitchSinks();
  Conclude();
  return plan_.ToString() + old_builds + NotReady();
}

// ---- 1

Result<void> Reloading::Judge() const {
  const auto keys = config::NeedRestart(p_.config_->gateway, next_.config.gateway);
  if (!keys.empty()) {
    std::string names;
    for (const std::string& key : keys) names += (names.empty() ? "" : ", ") + key;
    return Fail(Code::kConfig, names + (keys.size() == 1 ? " has" : " have") +
                                   " changed, which takes a restart of the gateway");
  }
  const bool disk = std::any_of(
      next_.config.sources.begin(), next_.config.sources.end(),
      [](const auto& source) { return source.queue.storage == config::Storage::kDisk; });
  if (disk && !p_.store_) {
    return Fail(Code::kConfig,
                "the first queue on disk takes a restart of the gateway: it could not open its "
                "store when it started");
  }
  if (p_.store_ && StoreBytes(next_.config) > p_.store_->stats().map_bytes) {
    return Fail(Code::kConfig,
                "the queues on disk and the dead letters may take more than the store was opened "
                "for, which takes a restart of the gateway");
  }
  return {};
}

Result<void> Reloading::Create() {
  if (StopWanted()) return tl::unexpected(Stopping());
  for (const std::string& name : plan_.changed_sources) {
    const SourcePart& part = *FindPart(next_.sources, name);
    auto instance = p_.MakeInstance({*part.config, part.plugin, part.options});
    if (auto created = instance->Create(); !created) return created;
    fresh_instances_.emplace(name, std::move(instance));
  }
  for (const SinkPart& part : next_.sinks) {
    const std::string& name = part.config->name;
    if (!plan_.added_sinks.contains(name) && !plan_.changed_sinks.contains(name)) continue;
    auto sink = p_.BuildSink(part);
    if (!sink) return tl::unexpected(sink.error());
    if (auto created = (*sink)->instance->Create(); !created) return created;
    if (auto started = (*sink)->instance->Start(); !started) return started;
    fresh_sinks_.emplace(name, std::move(*sink));
  }
  return {};
}

// ---- 2

void Reloading::ForEachRemovedRoute(
    const std::function<void(const RouteName&, Sink*, Source*)>& f) const {
  for (const RouteName& route : plan_.removed_routes)
    f(route, p_.FindSink(route.second), p_.FindSource(route.first));
}

Result<void> Reloading::RefuseBacklog() const {
  Result<void> out;
  ForEachRemovedRoute([&](const RouteName& route, Sink* sink, Source* source) {
    for (const delivery::RouteStatus& status : sink->instance->Routes()) {
      if (!out || status.ledger.source != route.first || status.ledger.pending == 0) continue;
      const bool flows = sink->instance->Status().state == PENSTOCK_STATE_READY &&
                         status.held == 0 && status.failures == 0;
      if (!flows)
        out = tl::unexpected(
            LeftBehind(route, status.ledger.pending, source->config.queue.storage, Nanoseconds(0)));
    }
  });
  return out;
}

Result<void> Reloading::EndRoutes() {
  if (plan_.removed_routes.empty() && plan_.removed_sources.empty()) return {};
  if (auto flows = RefuseBacklog(); !flows) return flows;
  for (const std::string& name : plan_.removed_sources) {
    Source* source = p_.FindSource(name);
    ended_.push_back(source);
    if (auto ended = EndForNext(source); !ended) return ended;
  }
  if (auto flushed = FlushStore(MayWait()); !flushed) return flushed;
  fenced_ = true;
  ForEachRemovedRoute([](const RouteName& route, Sink* sink, Source* source) {
    const uint64_t end = source->queue->end();
    sink->instance->Change(
        [&](delivery::Dispatcher& dispatcher) { dispatcher.EndRoute(route.first, end); });
  });
  if (auto ended = WaitForRoutes(); !ended) return ended;
  return FlushStore(MayWait());
}

Result<void> Reloading::WaitForRoutes() {
  for (const auto may_wait = MayWait();;) {
    Result<void> ended;
    ForEachRemovedRoute([&](const RouteName& route, Sink* sink, Source* source) {
      bool over = true;
      sink->instance->Change(
          [&](delivery::Dispatcher& dispatcher) { over = dispatcher.Ended(route.first); });
      if (over || !ended) return;
      uint64_t left = 0;
      for (const delivery::Ledger& ledger : sink->instance->Ledgers())
        if (ledger.source == route.first) left = ledger.pending;
      ended = tl::unexpected(LeftBehind(route, left, source->config.queue.storage,
                                        next_.config.gateway.drain_timeout));
    });
    if (ended) return ended;
    if (StopWanted()) return tl::unexpected(Stopping());
    if (!may_wait()) return ended;
    Wait(p_.changed_->Take());
  }
}

std::function<bool()> Reloading::MayWait() const {
  const TimePoint until = std::max(deadline_, p_.clock_->Now() + kGrace);
  return [this, until] { return p_.clock_->Now() < until && !StopWanted(); };
}

void Reloading::Wait(Signal::Ticket ticket) const {
  p_.changed_->WaitPast(ticket, p_.clock_->Now() + kPoll);
  if (p_.heartbeats_ != nullptr) p_.heartbeats_->PassControl();
}

Result<void> Reloading::FlushStore(const std::function<bool()>& may_wait) const {
  if (!p_.store_) return {};
  for (;;) {
    if (p_.store_->Flush(p_.clock_->Now() + kPassInterval)) return {};
    if (StopWanted()) return tl::unexpected(Stopping());
    if (!may_wait() || p_.store_->state().kind == store::StoreState::Kind::kFailed)
      return Fail(Code::kRetry, "the store takes nothing now; penstock status says why");
    if (p_.heartbeats_ != nullptr) p_.heartbeats_->PassControl();
  }
}

// ---- 3

bool Reloading::End(Source* source, const std::function<bool()>& may_wait) const {
  SourceInstance& instance = *source->instance;
  instance.Stop();
  while (instance.running()) {
    const Signal::Ticket ticket = p_.changed_->Take();
    if (instance.finished()) break;
    if (!may_wait()) return false;
    Wait(ticket);
  }
  instance.Join();
  return true;
}

Result<void> Reloading::EndForNext(Source* source) const {
  if (End(source, MayWait())) return {};
  if (StopWanted()) return tl::unexpected(Stopping());
  const std::string name = "source " + source->config.name;
  if (!source->instance->waits_for_room())
    return Fail(Code::kRetry,
                name + " has not ended within drain_timeout; reload again, or raise it");
  return Fail(Code::kRetry,
              name +
                  " cannot end: its queue is full, and what it has read has found no room within "
                  "drain_timeout; see in penstock status which sink does not take its events, "
                  "and reload again once it does, or with a larger queue for the source");
}

void Reloading::TellSinks(Source* source, event::SourceInfo info) const {
  source->infos.push_back(std::move(info));
  for (const auto& sink : p_.sinks_) {
    const auto filter = Pipeline::BuildFilter(source->config.filter);
    if (!filter) std::abort();  // it was compiled before
    sink->instance->Change(
        [&](delivery::Dispatcher& d) { d.SetSource(&source->infos.back(), *filter); });
  }
}

Result<void> Reloading::SwitchSource(const SourcePart& part) {
  Source* source = p_.FindSource(part.config->name);
  ended_.push_back(source);
  // A larger queue takes what finds no room in this one.
  queue::Limits limits = Pipeline::LimitsOf(*part.config);
  const queue::Limits now = Pipeline::LimitsOf(source->config);
  limits.max_events = std::max(limits.max_events, now.max_events);
  limits.max_bytes = std::max(limits.max_bytes, now.max_bytes);
  source->queue->SetLimits(limits);
  if (auto ended = EndForNext(source); !ended) return ended;
  event::SourceInfo info = InfoOf(*part.config);
  const bool told =
      !SameInfo(info, source->infos.back()) || source->config.filter != part.config->filter;
  before_.push_back({source, *source, told});
  {
    std::lock_guard lock(p_.parts_mutex_);
    source->config = *part.config;
  }
  source->plugin = part.plugin;
  source->options = part.options;
  if (told) TellSinks(source, std::move(info));
  return p_.Restart(source, std::move(fresh_instances_.at(part.config->name)));
}

Result<void> Reloading::CreateAdded(const SourcePart& part) {
  auto source = p_.BuildSource(part);
  if (!source) return tl::unexpected(source.error());
  fresh_sources_.push_back(std::move(*source));
  Source* added = fresh_sources_.back().get();
  // Its sinks find their places in the queue before anything comes in.
  const auto wake = std::make_shared<Signal>();
  for (const config::SinkConfig& sink : next_.config.sinks) {
    if (std::count(sink.from.begin(), sink.from.end(), added->config.name) > 0)
      added->queue->AddReader(sink.name, queue::Start::kOldest, wake);
  }
  added->instance = p_.MakeInstance(*added);
  p_.Connect(added, added->instance.get());
  return added->instance->Create();
}

Result<void> Reloading::SwitchSources() {
  for (const SourcePart& part : next_.sources) {
    if (!plan_.changed_sources.contains(part.config->name)) continue;
    if (auto switched = SwitchSource(part); !switched) return switched;
  }
  for (const SourcePart& part : next_.sources) {
    if (!plan_.added_sources.contains(part.config->name)) continue;
    if (auto created = CreateAdded(part); !created) return created;
  }
  // What they receive is lost if a later one fails.
  for (auto& added : fresh_sources_) {
    if (auto started = added->instance->Start(); !started) return started;
  }
  return {};
}

// ---- 4

void Reloading::RemoveRoutes() {
  ForEachRemovedRoute([](const RouteName& route, Sink* sink, Source* source) {
    for (const delivery::Ledger& ledger : sink->instance->Ledgers())
      if (ledger.source == route.first) log::Info("ledger", ledger.ToString() + " (removed)");
    sink->instance->Change(
        [&](delivery::Dispatcher& dispatcher) { dispatcher.RemoveRoute(route.first); });
    source->replays.erase(route.second);
  });
}

void Reloading::SwitchSink(Sink* old, std::unique_ptr<Sink> fresh) {
  auto cursors = old->instance->Retire(MayWait());
  for (auto& cursor : cursors) {
    Source* source = p_.FindSource(cursor->source());
    auto spec = p_.BuildCursor(*fresh, *source);
    if (!spec) std::abort();  // its templates were parsed before
    if (cursor->replays()) Pipeline::ToReplays(source->replays.at(old->config.name), &*spec);
    fresh->instance->Change([&](delivery::Dispatcher& dispatcher) {
      dispatcher.AddCursor(std::move(*spec), std::move(cursor));
    });
  }
  std::lock_guard lock(p_.parts_mutex_);
  std::swap(*old, *fresh);
}

void Reloading::AddRoutes() {
  for (const RouteName& route : plan_.added_routes) {
    Sink* sink = p_.FindSink(route.second);
    auto spec = p_.BuildCursor(*sink, *p_.FindSource(route.first));
    if (!spec) std::abort();
    sink->instance->Change(
        [&](delivery::Dispatcher& dispatcher) { dispatcher.AddCursor(std::move(*spec)); });
  }
}

void Reloading::RemoveParts() {
  std::vector<std::unique_ptr<Source>> sources;
  std::vector<std::unique_ptr<Sink>> sinks;
  {
    std::lock_guard lock(p_.parts_mutex_);
    for (const std::string& name : plan_.removed_sources) {
      const auto at = std::find_if(p_.sources_.begin(), p_.sources_.end(),
                                   [&](const auto& source) { return source->config.name == name; });
      sources.push_back(std::move(*at));
      p_.sources_.erase(at);
    }
    for (const std::string& name : plan_.removed_sinks) {
      const auto at = std::find_if(p_.sinks_.begin(), p_.sinks_.end(),
                                   [&](const auto& sink) { return sink->config.name == name; });
      sinks.push_back(std::move(*at));
      p_.sinks_.erase(at);
    }
  }
  for (auto& sink : sinks) sink->instance->AskToStop();
  for (auto& sink : sinks) sink->instance->Stop();
  for (auto& source : sources) source->queue->Close();
  // The places of the readers that are gone leave the store with one more commit.
  const TimePoint until = p_.clock_->Now() + kLastCommit;
  if (!sources.empty()) (void)FlushStore([&] { return p_.clock_->Now() < until; });
}

void Reloading::HurrySinks() {
  for (auto& [name, fresh] : fresh_sinks_) {
    Sink* old = fresh ? p_.FindSink(name) : nullptr;
    if (old != nullptr) old->instance->AskToStop();
  }
}

void Reloading::SwitchSinks() {
  RemoveRoutes();
  for (auto& [name, fresh] : fresh_sinks_) {
    if (StopWanted()) HurrySinks();
    if (Sink* old = p_.FindSink(name)) SwitchSink(old, std::move(fresh));
  }
  RemoveParts();
  std::lock_guard lock(p_.parts_mutex_);
  for (auto& source : fresh_sources_) p_.sources_.push_back(std::move(source));
  for (auto& [name, fresh] : fresh_sinks_) {
    if (fresh) p_.sinks_.push_back(std::move(fresh));
  }
  SortLike(next_.config.sources, &p_.sources_);
  SortLike(next_.config.sinks, &p_.sinks_);
}

void Reloading::Conclude() {
  AddRoutes();
  std::lock_guard lock(p_.parts_mutex_);
  for (const auto& sink : p_.sinks_)
    sink->config.from = FindPart(next_.sinks, sink->config.name)->config->from;
  p_.config_ = std::make_shared<const config::Config>(next_.config);
}

std::string Reloading::OldBuilds() const {
  std::string out;
  const auto note = [&](const char* kind, const auto& running, const auto& parts) {
    const auto* part = FindPart(parts, running.config.name);
    if (part == nullptr || part->plugin == running.plugin) return;
    out += std::string("\n") + kind + ' ' + running.config.name + " still runs the build of " +
           running.plugin->path() +
           " that was loaded before; a restart of the gateway, or a change of its table, takes in "
           "the newer one";
  };
  for (const auto& source : p_.sources_)
    if (!plan_.removed_sources.contains(source->config.name))
      note("source", *source, next_.sources);
  for (const auto& sink : p_.sinks_)
    if (!plan_.changed_sinks.contains(sink->config.name)) note("sink", *sink, next_.sinks);
  return out;
}

std::string Reloading::NotReady() const {
  const TimePoint deadline = p_.clock_->Now() + kConnectGrace;
  for (;;) {
    const Signal::Ticket ticket = p_.changed_->Take();
    std::string out;
    for (const auto& sink : p_.sinks_) {
      const std::string& name = sink->config.name;
      const InstanceState state = sink->instance->state();
      if (!fresh_sinks_.contains(name) || state.name == "ready") continue;
      out += "\nsink " + name + " is not ready yet, it is " + state.name +
             (state.reason.empty() ? "" : ": " + state.reason) + "; see penstock status";
    }
    if (out.empty() || StopWanted() || p_.clock_->Now() >= deadline) return out;
    Wait(ticket);
  }
}

// ---- back

void Reloading::DropAdded(std::unique_ptr<Source> source) {
  const std::string name = source->config.name;
  const bool disk = source->disk();
  if (source->instance) {
    source->instance->Stop();
    source->queue->Close();
    source->instance->Join();
  }
  const queue::Stats stats = source->queue->stats();
  const uint64_t received = stats.appended - source->at_start.appended + stats.unstored;
  if (received > 0)
    log::Warn("source " + name,
              std::to_string(received) + " events that it had received are dropped with it");
  source.reset();
  if (!disk) return;
  // The next start would refuse a queue that its configuration does not have.
  if (auto forgotten = ForgetQueue(p_.store_.get(), *p_.config_, name); !forgotten) {
    log::LogError(kMe, "its queue stays in the store: " + forgotten.error().message +
                           "; stop the gateway and give it up with: penstock queue forget " + name);
  }
}

void Reloading::RollBack() {
  for (auto& source : fresh_sources_) DropAdded(std::move(source));
  // All first, so that they take their time together.
  for (const Before& before : before_) before.source->instance->Stop();
  const TimePoint until = p_.clock_->Now() + kGrace;
  const auto may_wait = [&] { return p_.clock_->Now() < until; };
  for (Before& before : before_) {
    Source* source = before.source;
    (void)End(source, may_wait);
    {
      std::lock_guard lock(p_.parts_mutex_);
      source->config = before.was.config;
    }
    if (before.told) TellSinks(source, InfoOf(source->config));
    source->plugin = before.was.plugin;
    source->options = before.was.options;
  }
  if (fenced_) {
    ForEachRemovedRoute([](const RouteName& route, Sink* sink, Source*) {
      sink->instance->Change([&](delivery::Dispatcher& dispatcher) {
        dispatcher.EndRoute(route.first, std::numeric_limits<uint64_t>::max());
      });
    });
  }
  if (StopWanted()) return;
  for (Source* source : ended_) {
    const std::string name = "source " + source->config.name;
    source->queue->SetLimits(Pipeline::LimitsOf(source->config));
    if (!End(source, may_wait)) {
      source->to_restart = true;
      log::Warn(name, "it ends, and is started again once what it has read is in its queue");
    } else if (auto back = p_.Restart(source); !back) {
      log::LogError(name, back.error().message);
    }
  }
}

}  // namespace penstock::gateway
