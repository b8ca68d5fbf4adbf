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

// What the last commits may take at a stop.
constexpr Nanoseconds kLastCommit = std::chrono::seconds(5);

// Each part's own minimum: an even split of half the limit, so that the other half is shared by
// need.
uint64_t Reserve(uint64_t memory_limit, size_t parts) {
  return std::min<uint64_t>(memory_limit / 2 / std::max<size_t>(parts, 1), 4 << 20);
}

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

Result<std::vector<event::Template>> Templates(const SinkPart& part) {
  std::vector<event::Template> out;
  const penstock_plugin& entry = part.plugin->entry();
  for (size_t i = 0; i < entry.n_options; ++i) {
    const auto* option = reinterpret_cast<const penstock_option*>(
        reinterpret_cast<const char*>(entry.options) + i * entry.option_stride);
    if (option->type != PENSTOCK_OPT_TEMPLATE) continue;
    const penstock_value* value = part.options.Get(option->name);
    auto parsed = event::Template::Parse(std::string_view(value->str.ptr, value->str.len));
    if (!parsed) return tl::unexpected(std::move(parsed.error()).Prefixed(option->name));
    out.push_back(std::move(*parsed));
  }
  return out;
}

}  // namespace

Pipeline::Pipeline(Prepared* prepared, const Clock* clock, Signal* changed)
    : prepared_(prepared),
      clock_(clock),
      changed_(changed),
      budget_(prepared->config.gateway.memory_limit) {}

Pipeline::~Pipeline() {
  StopSources(clock_->Now());
  // The sinks go before the sources: what they settle is told to the sources.
  sinks_.clear();
  sources_.clear();
}

Result<void> Pipeline::Start() {
  const uint64_t limit = prepared_->config.gateway.memory_limit;
  const uint64_t reserve = Reserve(limit, prepared_->sources.size() + prepared_->sinks.size());
  if (auto opened = OpenStore(); !opened) return opened;
  for (SourcePart& part : prepared_->sources) {
    if (auto built = BuildSource(&part, reserve); !built) return built;
  }
  for (SinkPart& part : prepared_->sinks) {
    if (auto built = BuildSink(&part, reserve); !built) return built;
  }
  for (auto& source : sources_) {
    if (auto created = source->instance->Create(); !created) return created;
  }
  for (auto& sink : sinks_) {
    if (auto started = sink->Start(); !started) return started;
  }
  for (auto& source : sources_) {
    if (auto started = source->instance->Start(); !started) return started;
  }
  if (auto started = StartReplays(); !started) return started;
  started_ = true;
  return {};
}

Result<void> Pipeline::RecountLetters() {
  for (const auto& source : sources_) {
    if (!source->letters) continue;
    if (auto counted = source->letters->Recount(); !counted) return counted;
  }
  return {};
}

Result<void> Pipeline::StartReplays() {
  if (!store_) return {};
  std::lock_guard lock(replays_mutex_);
  for (size_t i = 0; i < sinks_.size(); ++i) {
    const SinkPart& part = prepared_->sinks[i];
    for (const auto& source : sources_) {
      const std::vector<std::string>& from = part.config->from;
      if (std::find(from.begin(), from.end(), source->info.name) == from.end()) continue;
      if (auto started = StartReplays(part, sinks_[i].get(), source.get()); !started)
        return started;
    }
  }
  return {};
}

Result<void> Pipeline::StartReplays(const SinkPart& part, SinkInstance* sink, Source* source) {
  std::shared_ptr<queue::ReplayQueue>& replays = source->replays[part.config->name];
  const bool known = replays != nullptr;
  if (!known) {
    if (source->letters->usage().events == 0) return {};
    replays = std::make_shared<queue::ReplayQueue>(store_.get(), source->letters, part.config->name,
                                                   &budget_, clock_);
  }
  const auto waiting = replays->Load();
  if (!waiting) return tl::unexpected(waiting.error());
  if (*waiting > 0) {
    log::Info(source->info.name + " -> " + part.config->name,
              std::to_string(*waiting) + " dead letters are sent again");
  }
  if (known) return {};
  if (*waiting == 0) {
    replays.reset();
    return {};
  }
  auto cursor = BuildCursor(part, *source);
  if (!cursor) return tl::unexpected(cursor.error());
  cursor->queue = replays;
  cursor->replays = true;
  cursor->order = delivery::Order::kRelaxed;
  cursor->skip_when_behind = false;
  cursor->dead_letters = replays.get();
  sink->AddCursorLater(std::move(*cursor));
  return {};
}

Result<void> Pipeline::OpenStore() {
  const config::Config& config = prepared_->config;
  store::Store::Options options;
  bool disk = false;
  for (const config::SourceConfig& source : config.sources) {
    options.map_bytes += 2 * source.dead_letters.max_bytes;
    if (source.queue.storage != config::Storage::kDisk) continue;
    disk = true;
    options.map_bytes += 2 * source.queue.max_bytes;
  }
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

Result<void> Pipeline::BuildSource(SourcePart* part, uint64_t reserve) {
  const config::SourceConfig& config = *part->config;
  auto source = std::make_unique<Source>();
  source->info = {config.name, config.event_source, config.event_name,
                  config.event_type.empty() ? config.plugin : config.event_type, config.metadata};
  source->disk = config.queue.storage == config::Storage::kDisk;
  source->instance = std::make_unique<SourceInstance>(
      config.name, part->plugin, std::move(part->options), &metrics_, config.read_ahead_bytes,
      [this] { changed_->Notify(); });
  queue::OnSafe on_safe;
  if (source->instance->WantsAcks()) {
    on_safe = [instance = source->instance.get()](const uint64_t* tokens, size_t n) {
      instance->OnAck(tokens, n);
    };
  }
  if (store_) {
    const config::DeadLettersConfig& bounds = config.dead_letters;
    auto letters = queue::StoredLetters::Open(
        store_.get(), config.name,
        {bounds.max_events, bounds.max_bytes, bounds.when_full == config::LettersFull::kDropOldest},
        clock_);
    if (!letters) return tl::unexpected(letters.error());
    source->letters = std::move(*letters);
  }
  auto queue = BuildQueue(config, reserve, std::move(on_safe), source->letters);
  if (!queue) return tl::unexpected(queue.error());
  source->queue = std::move(*queue);
  source->instance->SetQueue(source->queue);
  std::lock_guard lock(parts_mutex_);
  sources_.push_back(std::move(source));
  return {};
}

Result<std::shared_ptr<queue::Queue>> Pipeline::BuildQueue(
    const config::SourceConfig& config, uint64_t reserve, queue::OnSafe on_safe,
    const std::shared_ptr<queue::StoredLetters>& letters) {
  const queue::Limits limits{config.queue.max_events, config.queue.max_bytes,
                             ToQueue(config.queue.when_full)};
  if (config.queue.storage == config::Storage::kMemory) {
    return std::make_shared<queue::MemoryQueue>(Random64(), limits, &budget_, reserve, clock_,
                                                std::move(on_safe), letters);
  }
  auto queue = queue::DiskQueue::Open(store_.get(), config.name, limits, &budget_, reserve, clock_,
                                      std::move(on_safe), letters);
  if (!queue) return tl::unexpected(queue.error());
  const queue::Stats stats = (*queue)->stats();
  if (stats.events > 0) {
    log::Info("store", "recovered " + std::to_string(stats.events) + " events of source " +
                           config.name + ", from offset " + std::to_string((*queue)->begin()));
  }
  return *queue;
}

Result<void> Pipeline::BuildSink(SinkPart* part, uint64_t reserve) {
  const config::SinkConfig& config = *part->config;
  auto templates = Templates(*part);
  if (!templates)
    return tl::unexpected(std::move(templates.error()).Prefixed("sink " + config.name));
  templates_[config.name] = std::move(*templates);
  std::vector<delivery::CursorSpec> cursors;
  for (const std::string& name : config.from) {
    const auto source = std::find_if(sources_.begin(), sources_.end(),
                                     [&](const auto& s) { return s->info.name == name; });
    auto cursor = BuildCursor(*part, **source);
    if (!cursor) return tl::unexpected(std::move(cursor.error()).Prefixed("sink " + config.name));
    cursors.push_back(std::move(*cursor));
  }
  auto sink = std::make_unique<SinkInstance>(
      config.name, part->plugin, std::move(part->options), &metrics_,
      delivery::WindowLimits{config.max_in_flight_events, config.max_in_flight_bytes}, &budget_,
      reserve, clock_, Random64());
  for (delivery::CursorSpec& cursor : cursors) sink->AddCursor(std::move(cursor));
  sink->SetOnDrained([this] { changed_->Notify(); });
  sink->SetHeartbeats(heartbeats_);
  if (auto created = sink->Create(); !created) return created;
  std::lock_guard lock(parts_mutex_);
  sinks_.push_back(std::move(sink));
  return {};
}

Result<delivery::CursorSpec> Pipeline::BuildCursor(const SinkPart& part,
                                                   const Source& source) const {
  const config::SinkConfig& config = *part.config;
  event::EncoderSpec encoder{config.format, config.name, templates_.at(config.name), {}};
  for (const auto& [name, text] : config.headers) {
    auto parsed = event::Template::Parse(text);
    if (!parsed) return tl::unexpected(std::move(parsed.error()).Prefixed("headers." + name));
    encoder.headers.emplace_back(name, std::move(*parsed));
  }
  delivery::CursorSpec cursor;
  cursor.queue = source.queue;
  cursor.source = &source.info;
  cursor.encoder = std::move(encoder);
  if (config.order == config::Order::kStrict) {
    cursor.order =
        MayPipelineStrict(part) ? delivery::Order::kStrictPipelined : delivery::Order::kStrict;
  }
  cursor.skip_when_behind = config.when_behind == config::WhenBehind::kSkip;
  cursor.max_behind = {config.max_behind.events, config.max_behind.bytes, config.max_behind.age};
  cursor.retry = {config.retry_initial, config.retry_max, config.retry_limit_attempts,
                  config.retry_limit_age};
  cursor.dead_letters = source.letters.get();
  cursor.start = config.start_oldest ? queue::Start::kOldest : queue::Start::kNew;
  return cursor;
}

void Pipeline::StopSources(TimePoint deadline) {
  for (auto& source : sources_) source->instance->Stop();
  // Room keeps coming as long as the sinks take events, so a source that waits in emit gets its
  // events in; past the deadline the queues close and it must give up.
  for (;;) {
    const Signal::Ticket ticket = changed_->Take();
    if (sources_finished() || clock_->Now() >= deadline) break;
    changed_->WaitPast(ticket, deadline);
  }
  for (auto& source : sources_) source->queue->Close();
  for (auto& source : sources_) source->instance->Join();
  // The sinks see only what is stored. A disk that takes nothing must not hold up the exit.
  if (store_) store_->Flush(std::max(deadline, clock_->Now() + kLastCommit));
}

void Pipeline::Drain() {
  for (auto& sink : sinks_) sink->Drain();
}

bool Pipeline::drained() const {
  return std::all_of(sinks_.begin(), sinks_.end(), [](const auto& s) { return s->drained(); });
}

bool Pipeline::worth_draining() const {
  return std::any_of(
      prepared_->sinks.begin(), prepared_->sinks.end(), [this](const SinkPart& part) {
        const auto sink = std::find_if(sinks_.begin(), sinks_.end(), [&part](const auto& s) {
          return s->name() == part.config->name;
        });
        if ((*sink)->drained()) return false;
        return (*sink)->Status().state == PENSTOCK_STATE_READY ||
               std::any_of(part.config->from.begin(), part.config->from.end(),
                           [this](const std::string& source) { return !on_disk(source); });
      });
}

void Pipeline::StopSinks() {
  // All first, so that they take their time together.
  for (auto& sink : sinks_) sink->AskToStop();
  for (auto& sink : sinks_) sink->Stop();
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
  return std::any_of(sources_.begin(), sources_.end(),
                     [&](const auto& s) { return s->info.name == source && s->disk; });
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
    for (delivery::Ledger& ledger : sink->Ledgers()) out.push_back(std::move(ledger));
  }
  return out;
}

std::string Pipeline::Summary() const {
  return std::to_string(sources_.size()) + " sources, " + std::to_string(sinks_.size()) + " sinks";
}

}  // namespace penstock::gateway
