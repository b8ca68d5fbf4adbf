#include "gateway/pipeline.h"

#include <sys/random.h>

#include <algorithm>
#include <cstdlib>

#include "gateway/store_check.h"
#include "gateway/stored.h"
#include "queue/disk_queue.h"
#include "queue/memory_queue.h"

namespace penstock::gateway {
namespace {

uint64_t Random64() {
  uint64_t out = 0;
  if (getrandom(&out, sizeof out, 0) != sizeof out) std::abort();
  return out;
}

// How long sources that wait for room, and no sink makes any, are waited for at a stop: a sink that
// lost its connection a moment ago may be back.
constexpr Nanoseconds kRoomGrace = std::chrono::seconds(2);
constexpr Nanoseconds kStopPoll = std::chrono::milliseconds(50);
// What the last commits may take at a stop.
constexpr Nanoseconds kLastCommit = std::chrono::seconds(5);
// Address space of the store that a reload may give to new or larger queues.
constexpr uint64_t kRoomForReloads = 4ull << 30;

queue::WhenFull ToQueue(config::WhenFull when_full) {
  switch (when_full) {
    case config::WhenFull::kBlock:
      return queue::WhenFull::kBlock;
    case config::WhenFull::kDropNewest:
      return queue::WhenFull::kDropNewest;
    case config::WhenFull::kDropOldest:
      return queue::WhenFull::kDropOldest;
  }
  return queue::WhenFull::kBlock;
}

queue::Limits ToLimits(const config::QueueConfig& config) {
  return {config.max_events, config.max_bytes, ToQueue(config.when_full)};
}

Result<std::vector<event::Template>> Templates(const SinkPart& part) {
  std::vector<event::Template> out;
  const penstock_plugin& entry = part.plugin->entry();
  for (size_t i = 0; i < entry.n_options; ++i) {
    const auto* option = reinterpret_cast<const penstock_option*>(
        reinterpret_cast<const char*>(entry.options) + i * entry.option_stride);
    if (option->type != PENSTOCK_OPT_TEMPLATE) continue;
    const penstock_value* value = part.options->Get(option->name);
    auto parsed = event::Template::Parse(std::string_view(value->str.ptr, value->str.len));
    if (!parsed) return tl::unexpected(std::move(parsed.error()).Prefixed(option->name));
    out.push_back(std::move(*parsed));
  }
  return out;
}

delivery::OnFilterError ToDelivery(config::OnFilterError on_error) {
  switch (on_error) {
    case config::OnFilterError::kPass:
      return delivery::OnFilterError::kPass;
    case config::OnFilterError::kDrop:
      return delivery::OnFilterError::kDrop;
    case config::OnFilterError::kDeadLetter:
      return delivery::OnFilterError::kDeadLetter;
  }
  return delivery::OnFilterError::kDeadLetter;
}

queue::StoredLetters::Limits ToLimits(const config::DeadLettersConfig& bounds) {
  return {bounds.max_events, bounds.max_bytes,
          bounds.when_full == config::LettersFull::kDropOldest};
}

}  // namespace

Pipeline::Pipeline(const Prepared* prepared, const Clock* clock, Signal* changed)
    : prepared_(prepared),
      clock_(clock),
      changed_(changed),
      budget_(prepared->config.gateway.memory_limit),
      config_(std::make_shared<const config::Config>(prepared->config)) {}

Pipeline::~Pipeline() {
  StopSources(clock_->Now(), [] { return true; });
  // The sinks go before the sources: what they settle is told to the sources.
  sinks_.clear();
  sources_.clear();
}

Result<void> Pipeline::Start() {
  const Prepared& prepared = *std::exchange(prepared_, nullptr);
  if (auto opened = OpenStore(prepared.config); !opened) return opened;
  for (const SourcePart& part : prepared.sources) {
    auto source = BuildSource(part);
    if (!source) return tl::unexpected(source.error());
    (*source)->instance = MakeInstance(**source);
    Connect(source->get(), (*source)->instance.get());
    std::lock_guard lock(parts_mutex_);
    sources_.push_back(std::move(*source));
  }
  for (const SinkPart& part : prepared.sinks) {
    auto sink = BuildSink(part);
    if (!sink) return tl::unexpected(sink.error());
    for (const std::string& name : part.config->from) {
      auto cursor = BuildCursor(**sink, *FindSource(name));
      if (!cursor) return tl::unexpected(cursor.error());
      (*sink)->instance->AddCursor(std::move(*cursor));
    }
    if (auto created = (*sink)->instance->Create(); !created) return created;
    std::lock_guard lock(parts_mutex_);
    sinks_.push_back(std::move(*sink));
  }
  for (auto& source : sources_) {
    if (auto created = source->instance->Create(); !created) return created;
  }
  for (auto& sink : sinks_) {
    if (auto started = sink->instance->Start(); !started) return started;
  }
  for (auto& source : sources_) {
    if (auto started = source->instance->Start(); !started) return started;
  }
  if (auto started = StartReplays(); !started) return started;
  started_ = true;
  return {};
}

std::shared_ptr<const config::Config> Pipeline::config() const {
  std::lock_guard lock(parts_mutex_);
  return config_;
}

Pipeline::Source* Pipeline::FindSource(const std::string& name) const {
  const auto found = std::find_if(sources_.begin(), sources_.end(),
                                  [&](const auto& s) { return s->config.name == name; });
  return found == sources_.end() ? nullptr : found->get();
}

Pipeline::Sink* Pipeline::FindSink(const std::string& name) const {
  const auto found = std::find_if(sinks_.begin(), sinks_.end(),
                                  [&](const auto& s) { return s->config.name == name; });
  return found == sinks_.end() ? nullptr : found->get();
}

// An even split of half the limit, so that the other half is shared by need.
uint64_t Pipeline::Reserve() const {
  const size_t parts = config_->sources.size() + config_->sinks.size();
  return std::min<uint64_t>(budget_.total() / 2 / std::max<size_t>(parts, 1), 4 << 20);
}

Result<void> Pipeline::StartReplays() {
  if (!store_) return {};
  std::lock_guard lock(replays_mutex_);
  for (const auto& sink : sinks_) {
    for (const std::string& name : sink->config.from) {
      if (auto started = StartReplays(*sink, FindSource(name)); !started) return started;
    }
  }
  return {};
}

Result<void> Pipeline::StartReplays(const Sink& sink, Source* source) {
  const std::string& name = sink.config.name;
  std::shared_ptr<queue::ReplayQueue>& replays = source->replays[name];
  const bool known = replays != nullptr;
  if (!known) {
    if (source->letters->usage().events == 0) return {};
    replays =
        std::make_shared<queue::ReplayQueue>(store_.get(), source->letters, name, &budget_, clock_);
  }
  const auto waiting = replays->Load();
  if (!waiting) return tl::unexpected(waiting.error());
  if (*waiting > 0) {
    log::Info(source->config.name + " -> " + name,
              std::to_string(*waiting) + " dead letters are sent again");
  }
  if (known) return {};
  if (*waiting == 0) {
    replays.reset();
    return {};
  }
  auto cursor = BuildCursor(sink, *source);
  if (!cursor) return tl::unexpected(cursor.error());
  ToReplays(replays, &*cursor);
  sink.instance->AddCursorLater(std::move(*cursor));
  return {};
}

void Pipeline::ToReplays(std::shared_ptr<queue::ReplayQueue> replays,
                         delivery::CursorSpec* cursor) {
  cursor->dead_letters = replays.get();
  cursor->queue = std::move(replays);
  cursor->replays = true;
  cursor->order = delivery::Order::kRelaxed;
  cursor->skip_when_behind = false;
}

Result<void> Pipeline::OpenStore(const config::Config& config) {
  store::Store::Options options;
  options.map_bytes = StoreBytes(config) + kRoomForReloads;
  options.readers += static_cast<unsigned>(config.sinks.size());
  options.commit = {config.gateway.commit_events, config.gateway.commit_bytes,
                    config.gateway.commit_interval};
  options.heartbeats = heartbeats_;
  auto lock = TakeStore(config.gateway.state_dir);
  if (lock) {
    if (auto checked = CheckStoreAtStart(*lock); !checked) return checked;
  }
  auto opened =
      lock ? store::Store::Open(std::move(*lock), options, clock_) : tl::unexpected(lock.error());
  const bool disk = std::any_of(config.sources.begin(), config.sources.end(), [](const auto& s) {
    return s.queue.storage == config::Storage::kDisk;
  });
  if (!opened && !disk && (!lock || opened.error().code == Code::kConfig)) {
    // A gateway without state is a way to run one, but nobody should find out too late.
    log::Warn("store",
              "no dead letters are kept, events that a sink rejects are dropped and "
              "counted: " +
                  opened.error().message);
    return {};
  }
  if (!opened) return tl::unexpected(opened.error());
  {
    std::lock_guard parts(parts_mutex_);
    store_ = std::move(*opened);
  }
  if (on_store_failed_) store_->SetOnFailed(on_store_failed_);
  return ReconcileStore(store_.get(), config);
}

Result<std::unique_ptr<Pipeline::Source>> Pipeline::BuildSource(const SourcePart& part) {
  auto source = std::make_unique<Source>();
  source->config = *part.config;
  source->plugin = part.plugin;
  source->options = part.options;
  source->infos.push_back(InfoOf(source->config));
  if (store_) {
    auto letters = queue::StoredLetters::Open(store_.get(), source->config.name,
                                              ToLimits(source->config.dead_letters), clock_);
    if (!letters) return tl::unexpected(letters.error());
    source->letters = std::move(*letters);
  }
  auto queue = BuildQueue(source->config, source->letters);
  if (!queue) return tl::unexpected(queue.error());
  source->queue = std::move(*queue);
  source->at_start = source->queue->stats();
  return source;
}

Result<std::shared_ptr<queue::Queue>> Pipeline::BuildQueue(
    const config::SourceConfig& config, const std::shared_ptr<queue::StoredLetters>& letters) {
  if (config.queue.storage == config::Storage::kMemory) {
    return std::make_shared<queue::MemoryQueue>(Random64(), ToLimits(config.queue), &budget_,
                                                Reserve(), clock_, nullptr, letters);
  }
  auto queue = queue::DiskQueue::Open(store_.get(), config.name, ToLimits(config.queue), &budget_,
                                      Reserve(), clock_, nullptr, letters);
  if (!queue) return tl::unexpected(queue.error());
  const queue::Stats stats = (*queue)->stats();
  if (stats.events > 0) {
    log::Info("store", "recovered " + std::to_string(stats.events) + " events of source " +
                           config.name + ", from offset " + std::to_string((*queue)->begin()));
  }
  return *queue;
}

std::unique_ptr<SourceInstance> Pipeline::MakeInstance(
    const Running<config::SourceConfig>& source) {
  return std::make_unique<SourceInstance>(source.config.name, source.plugin, source.options,
                                          &metrics_, source.config.read_ahead_bytes,
                                          [this] { changed_->Notify(); });
}

queue::Limits Pipeline::LimitsOf(const config::SourceConfig& config) {
  return ToLimits(config.queue);
}

Result<void> Pipeline::Restart(Source* source, std::unique_ptr<SourceInstance> instance) {
  std::unique_ptr<SourceInstance> old;
  source->to_restart = false;
  // Nobody tells the old one anything any more once the queue has the new one's function.
  Connect(source, instance.get());
  {
    std::lock_guard lock(parts_mutex_);
    old = std::exchange(source->instance, std::move(instance));
  }
  old.reset();  // what it holds, such as a port, the new one may want
  return source->instance->Start();
}

Result<void> Pipeline::Restart(Source* source) {
  source->to_restart = false;
  auto instance = MakeInstance(*source);
  auto back = instance->Create();
  if (back) back = Restart(source, std::move(instance));
  if (!back)
    return Fail(back.error().code, "it could not be started again, and is at the next reload: " +
                                       back.error().message);
  return {};
}

void Pipeline::RestartEnded() {
  for (auto& source : sources_) {
    if (!source->to_restart || !source->instance->finished()) continue;
    if (auto back = Restart(source.get()); !back)
      log::LogError("source " + source->config.name, back.error().message);
  }
}

void Pipeline::Connect(Source* source, SourceInstance* instance) const {
  instance->SetQueue(source->queue);
  source->queue->SetLimits(LimitsOf(source->config));
  if (source->letters) source->letters->SetLimits(ToLimits(source->config.dead_letters));
  queue::OnSafe on_safe;
  if (instance->WantsAcks())
    on_safe = [instance](const uint64_t* tokens, size_t n) { instance->OnAck(tokens, n); };
  source->queue->SetOnSafe(std::move(on_safe));
}

Result<std::unique_ptr<Pipeline::Sink>> Pipeline::BuildSink(const SinkPart& part) {
  auto sink = std::make_unique<Sink>();
  sink->config = *part.config;
  sink->plugin = part.plugin;
  sink->options = part.options;
  const config::SinkConfig& config = sink->config;
  auto templates = Templates(part);
  if (!templates)
    return tl::unexpected(std::move(templates.error()).Prefixed("sink " + config.name));
  sink->templates = std::move(*templates);
  auto filter = BuildFilter(config.filter);
  if (!filter) return tl::unexpected(std::move(filter.error()).Prefixed("sink " + config.name));
  sink->filter = std::move(*filter);
  sink->instance = std::make_unique<SinkInstance>(
      config.name, part.plugin, part.options, &metrics_,
      delivery::WindowLimits{config.max_in_flight_events, config.max_in_flight_bytes}, &budget_,
      Reserve(), clock_, Random64());
  sink->instance->SetOnDrained([this] { changed_->Notify(); });
  sink->instance->SetHeartbeats(heartbeats_);
  return sink;
}

Result<delivery::FilterStep> Pipeline::BuildFilter(const config::FilterConfig& config) {
  delivery::FilterStep out;
  if (config.expression.empty()) return out;
  auto filter = filter::Filter::Compile(config.expression);
  if (!filter) return Fail(Code::kConfig, "filter: " + filter.error().text);
  out.filter = std::move(*filter);
  out.on_error = ToDelivery(config.on_error);
  return out;
}

Result<delivery::CursorSpec> Pipeline::BuildCursor(const Sink& sink, const Source& source) const {
  const config::SinkConfig& config = sink.config;
  event::EncoderSpec encoder{config.format, config.name, sink.templates, {}};
  for (const auto& [name, text] : config.headers) {
    auto parsed = event::Template::Parse(text);
    if (!parsed)
      return tl::unexpected(
          std::move(parsed.error()).Prefixed("sink " + config.name + ": headers." + name));
    encoder.headers.emplace_back(name, std::move(*parsed));
  }
  auto source_filter = BuildFilter(source.config.filter);
  if (!source_filter) return tl::unexpected(source_filter.error());
  delivery::CursorSpec cursor;
  cursor.queue = source.queue;
  cursor.source = &source.infos.back();
  cursor.source_filter = std::move(*source_filter);
  cursor.sink_filter = sink.filter;
  cursor.encoder = std::move(encoder);
  if (config.order == config::Order::kStrict) {
    cursor.order = MayPipelineStrict(*sink.plugin, config) ? delivery::Order::kStrictPipelined
                                                           : delivery::Order::kStrict;
  }
  cursor.skip_when_behind = config.when_behind == config::WhenBehind::kSkip;
  cursor.max_behind = {config.max_behind.events, config.max_behind.bytes, config.max_behind.age};
  cursor.retry = {config.retry_initial, config.retry_max, config.retry_limit_attempts,
                  config.retry_limit_age};
  cursor.dead_letters = source.letters.get();
  cursor.start = config.start_oldest ? queue::Start::kOldest : queue::Start::kNew;
  return cursor;
}

void Pipeline::Drain() {
  for (auto& source : sources_) {
    source->to_restart = false;
    source->instance->Stop();
  }
}

bool Pipeline::MayFinish(const Source& source) const {
  if (!source.instance->waits_for_room() || !source.disk()) return true;
  return std::any_of(sinks_.begin(), sinks_.end(), [&source](const auto& sink) {
    if (sink->instance->Status().state != PENSTOCK_STATE_READY) return false;
    const std::vector<delivery::Ledger> routes = sink->instance->Ledgers();
    return std::any_of(routes.begin(), routes.end(), [&source](const auto& ledger) {
      return ledger.source == source.config.name && ledger.pending > 0;
    });
  });
}

void Pipeline::StopSources(TimePoint deadline, const std::function<bool()>& hurried) {
  for (auto& source : sources_) source->instance->Stop();
  // Room keeps coming as long as the sinks take events, so a source that waits in emit gets its
  // events in; past the deadline the queues close and it must give up.
  bool in_haste = false;
  TimePoint hope = clock_->Now();  // when there last was any
  for (;;) {
    const Signal::Ticket ticket = changed_->Take();
    const TimePoint now = clock_->Now();
    in_haste = hurried();
    if (sources_finished() || now >= deadline || in_haste) break;
    if (std::any_of(sources_.begin(), sources_.end(), [this](const auto& source) {
          return !source->instance->finished() && MayFinish(*source);
        })) {
      hope = now;
    }
    if (now - hope >= kRoomGrace) break;
    changed_->WaitPast(ticket, std::min(deadline, now + kStopPoll));
  }
  for (auto& source : sources_) source->queue->Close();
  for (auto& source : sources_) source->instance->Join();
  // The sinks see only what is stored. A disk that takes nothing must not hold up the exit.
  const TimePoint last = clock_->Now() + kLastCommit;
  if (store_) store_->Flush(in_haste ? last : std::max(deadline, last));
}

void Pipeline::DrainSinks() {
  for (auto& sink : sinks_) sink->instance->Drain();
}

bool Pipeline::drained() const {
  return std::all_of(sinks_.begin(), sinks_.end(),
                     [](const auto& s) { return s->instance->drained(); });
}

bool Pipeline::worth_draining() const {
  return std::any_of(sinks_.begin(), sinks_.end(), [this](const auto& sink) {
    if (sink->instance->drained()) return false;
    return sink->instance->Status().state == PENSTOCK_STATE_READY ||
           std::any_of(sink->config.from.begin(), sink->config.from.end(),
                       [this](const std::string& source) { return !on_disk(source); });
  });
}

void Pipeline::StopSinks() {
  // All first, so that they take their time together.
  for (auto& sink : sinks_) sink->instance->AskToStop();
  for (auto& sink : sinks_) sink->instance->Stop();
  if (store_) store_->Flush(clock_->Now() + kLastCommit);
}

std::string Pipeline::store_failure() const {
  if (!store_) return {};
  const store::StoreState state = store_->state();
  return state.kind == store::StoreState::Kind::kFailed ? state.reason : std::string();
}

uint64_t Pipeline::unstored() const {
  uint64_t n = 0;
  for (const auto& source : sources_) n += source->queue->stats().unstored;
  return n;
}

bool Pipeline::on_disk(const std::string& source) const {
  const Source* found = FindSource(source);
  return found != nullptr && found->disk();
}

bool Pipeline::sources_finished() const {
  return std::all_of(sources_.begin(), sources_.end(),
                     [](const auto& s) { return s->instance->finished(); });
}

bool Pipeline::any_source_failed() const {
  return std::any_of(sources_.begin(), sources_.end(),
                     [](const auto& s) { return s->instance->failed(); });
}

std::vector<delivery::Ledger> Pipeline::Ledgers() const {
  std::vector<delivery::Ledger> out;
  for (const auto& sink : sinks_) {
    for (delivery::Ledger& ledger : sink->instance->Ledgers()) out.push_back(std::move(ledger));
  }
  return out;
}

std::string Pipeline::Summary() const {
  return std::to_string(sources_.size()) + " sources, " + std::to_string(sinks_.size()) + " sinks";
}

}  // namespace penstock::gateway
