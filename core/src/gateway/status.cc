#include "gateway/status.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "event/time.h"
#include "gateway/pipeline.h"

namespace penstock::gateway {
namespace {

using Json = nlohmann::ordered_json;
using Counts = std::vector<store::LetterCounts>;

// Rates are of a stretch of at least the first, so that they say something, and of at most the
// second, so that they are of now.
constexpr Nanoseconds kRateLeast = std::chrono::milliseconds(500);
constexpr Nanoseconds kRateMost = std::chrono::seconds(15);

const char* StorageName(config::Storage storage) {
  return storage == config::Storage::kDisk ? "disk" : "memory";
}

const char* WhenFullName(config::WhenFull when_full) {
  switch (when_full) {
    case config::WhenFull::kBlock:
      return "block";
    case config::WhenFull::kDropNewest:
      return "drop_newest";
    case config::WhenFull::kDropOldest:
      return "drop_oldest";
  }
  return "?";
}

const char* PhaseName(StatusReader::Phase phase) {
  switch (phase) {
    case StatusReader::Phase::kStarting:
      return "starting";
    case StatusReader::Phase::kRunning:
      return "running";
    case StatusReader::Phase::kReloading:
      return "reloading";
    case StatusReader::Phase::kDraining:
      return "draining";
    case StatusReader::Phase::kStopping:
      return "stopping";
  }
  return "?";
}

const char* StoreStateName(store::StoreState::Kind kind) {
  switch (kind) {
    case store::StoreState::Kind::kGood:
      return "good";
    case store::StoreState::Kind::kNoRoom:
      return "full";
    case store::StoreState::Kind::kFailed:
      return "failed";
  }
  return "?";
}

void FillInstance(const Instance& instance, InstanceStatus* out) {
  const InstanceState state = instance.state();
  out->name = instance.name();
  out->state = state.name;
  out->reason = state.reason;
  out->since_ns = state.since_ns;
}

QueueStatus ReadQueue(const queue::Queue& queue, const config::QueueConfig& config) {
  QueueStatus out;
  out.storage = StorageName(config.storage);
  out.when_full = WhenFullName(config.when_full);
  out.max_events = config.max_events;
  out.max_bytes = config.max_bytes;
  const queue::Stats stats = queue.stats();
  out.events = stats.events;
  out.bytes = stats.bytes;
  out.begin = queue.begin();
  out.end = queue.end();
  out.dropped_newest = stats.dropped_newest;
  out.unstored = stats.unstored;
  return out;
}

LettersStatus ReadLetters(const queue::StoredLetters& letters,
                          const std::vector<store::LetterCounts>& counts) {
  LettersStatus out;
  const queue::StoredLetters::Limits& limits = letters.limits();
  out.when_full = limits.drop_oldest ? "drop_oldest" : "hold";
  const queue::StoredLetters::Usage usage = letters.usage();
  out.events = usage.events;
  out.max_events = limits.max_events;
  out.bytes = usage.bytes;
  out.max_bytes = limits.max_bytes;
  for (const store::LetterCounts& route : counts) {
    if (route.queue != letters.queue()) continue;
    out.replayed += route.replayed;
    out.dropped += route.dropped;
  }
  return out;
}

std::string RouteName(const RouteStatus& route) {
  return route.ledger.source + " -> " + route.ledger.sink;
}

bool IsDrained(const GatewayStatus& status) {
  return std::all_of(status.sources.begin(), status.sources.end(),
                     [](const SourceStatus& source) {
                       return (source.state == "finished" || source.state == "stopped" ||
                               source.state == "failed") &&
                              source.queue.unstored == 0;
                     }) &&
         std::all_of(status.routes.begin(), status.routes.end(),
                     [](const RouteStatus& route) { return route.ledger.pending == 0; });
}

double Seconds(Nanoseconds n) { return std::chrono::duration<double>(n).count(); }

// ---- JSON

std::string Time(int64_t unix_ns) {
  char text[event::kMaxTimeSize];
  return {text, event::WriteTime(unix_ns, text)};
}

Json Optional(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json InstanceJson(const InstanceStatus& instance, int64_t now_ns) {
  return {{"name", instance.name},
          {"plugin", instance.plugin},
          {"state", instance.state},
          {"reason", instance.reason},
          {"since", Time(instance.since_ns)},
          {"seconds_in_state", Seconds(Nanoseconds(now_ns - instance.since_ns))}};
}

Json QueueJson(const QueueStatus& queue) {
  return {{"storage", queue.storage},
          {"when_full", queue.when_full},
          {"events", queue.events},
          {"max_events", queue.max_events},
          {"bytes", queue.bytes},
          {"max_bytes", queue.max_bytes},
          {"begin", queue.begin},
          {"end", queue.end},
          {"dropped_newest", queue.dropped_newest},
          {"unstored", queue.unstored}};
}

Json LettersJson(const LettersStatus& letters) {
  return {{"when_full", letters.when_full},   {"events", letters.events},
          {"max_events", letters.max_events}, {"bytes", letters.bytes},
          {"max_bytes", letters.max_bytes},   {"replayed", letters.replayed},
          {"dropped", letters.dropped}};
}

Json LedgerJson(const delivery::Ledger& ledger) {
  Json dropped = Json::object();
  for (size_t i = 0; i < ledger.dropped.size(); ++i)
    dropped[delivery::DropReasonName(static_cast<delivery::DropReason>(i))] = ledger.dropped[i];
  return {{"received", ledger.received},
          {"delivered", ledger.delivered},
          {"dead_lettered", ledger.dead_lettered},
          {"dropped", std::move(dropped)},
          {"pending", ledger.pending},
          {"retries", ledger.retries},
          {"unknown", ledger.unknown},
          {"duplicates", ledger.duplicates},
          {"duplicates_at_once", ledger.duplicates_at_once},
          {"reordered", ledger.reordered},
          {"filter_errors", ledger.filter_errors}};
}

Json RouteJson(const RouteStatus& route, TimePoint now) {
  Json age, backoff;
  if (route.oldest_pending) age = Seconds(std::max(now - *route.oldest_pending, Nanoseconds(0)));
  if (route.failures > 0) {
    backoff = {{"failures", route.failures},
               {"reason", route.reason},
               {"seconds_to_next_try", Seconds(std::max(route.next_try - now, Nanoseconds(0)))}};
  }
  Json held;
  if (route.held > 0) {
    held = {{"events", route.held},
            {"reason", "no room for more dead letters of source " + route.ledger.source +
                           "; make room with penstock deadletters replay or drop"},
            {"first", route.held_reason}};
  }
  return {{"source", route.ledger.source},
          {"sink", route.ledger.sink},
          {"ledger", LedgerJson(route.ledger)},
          {"cursor", {{"committed", route.committed}, {"next", route.next}}},
          {"oldest_pending_seconds", std::move(age)},
          {"delivered_per_second", Optional(route.rate)},
          {"backoff", std::move(backoff)},
          {"held", std::move(held)}};
}

}  // namespace

Json ToJson(const GatewayStatus& status) {
  Json out;
  out["gateway"] = {{"name", status.name},
                    {"version", status.version},
                    {"state", status.state},
                    {"pid", status.pid},
                    {"started", Time(status.started_ns)},
                    {"uptime_seconds", Seconds(Nanoseconds(status.now_ns - status.started_ns))},
                    {"rates_over_seconds", Optional(status.rate_over)}};
  out["memory"] = {{"used", status.memory_used}, {"limit", status.memory_limit}};
  out["store"] = nullptr;
  if (status.store) {
    out["store"] = {{"directory", status.store->directory},
                    {"state", status.store->state},
                    {"reason", status.store->reason}};
  }
  out["sources"] = Json::array();
  for (const SourceStatus& source : status.sources) {
    Json one = InstanceJson(source, status.now_ns);
    one["received_per_second"] = Optional(source.rate);
    one["queue"] = QueueJson(source.queue);
    one["dead_letters"] = source.letters ? LettersJson(*source.letters) : Json();
    out["sources"].push_back(std::move(one));
  }
  out["sinks"] = Json::array();
  for (const SinkStatus& sink : status.sinks)
    out["sinks"].push_back(InstanceJson(sink, status.now_ns));
  out["routes"] = Json::array();
  for (const RouteStatus& route : status.routes)
    out["routes"].push_back(RouteJson(route, status.now));
  return out;
}

void Pipeline::Describe(GatewayStatus* status) const {
  status->memory_used = budget_.used();
  status->memory_limit = budget_.total();
  std::lock_guard lock(parts_mutex_);
  if (store_) {
    store::StoreState state = store_->state();
    status->store = {store_->directory(), StoreStateName(state.kind), std::move(state.reason)};
  }
  // Counts that cannot be read are told by those who look for damage.
  const auto counts = store_ ? store::CountsOfLetters(*store_) : Result<Counts>();
  for (const auto& source : sources_) {
    SourceStatus one;
    FillInstance(*source->instance, &one);
    one.plugin = source->config.plugin;
    one.queue = ReadQueue(*source->queue, source->config.queue);
    one.received = one.queue.end + one.queue.dropped_newest;
    one.received_before = source->at_start.appended + source->at_start.dropped_newest;
    one.dropped_before = source->at_start.dropped_newest;
    if (source->letters) one.letters = ReadLetters(*source->letters, counts.value_or(Counts()));
    status->sources.push_back(std::move(one));
  }
  for (const auto& sink : sinks_) {
    SinkStatus one;
    FillInstance(*sink->instance, &one);
    one.plugin = sink->config.plugin;
    status->sinks.push_back(std::move(one));
    for (delivery::RouteStatus& route : sink->instance->Routes())
      status->routes.push_back({std::move(route), {}});
  }
}

StatusReader::StatusReader(const Pipeline* pipeline, const config::GatewayConfig* config,
                           const Clock* clock)
    : pipeline_(pipeline), config_(config), clock_(clock), started_ns_(clock->WallNs()) {}

GatewayStatus StatusReader::Read() {
  GatewayStatus status;
  status.name = config_->name;
  status.version = PENSTOCK_VERSION;
  status.state = PhaseName(phase_);
  status.pid = getpid();
  status.started_ns = started_ns_;
  pipeline_->Describe(&status);
  if (phase_ == Phase::kDraining && IsDrained(status)) status.state = "drained";
  status.now_ns = clock_->WallNs();
  status.now = clock_->Now();
  AddRates(&status);
  return status;
}

void StatusReader::AddRates(GatewayStatus* status) {
  Sample sample;
  sample.at = status->now;
  for (const SourceStatus& source : status->sources) sample.received[source.name] = source.received;
  for (const RouteStatus& route : status->routes)
    sample.delivered[RouteName(route)] = route.ledger.delivered;

  std::lock_guard lock(mutex_);
  const bool rested = newer_ && sample.at - newer_->at >= kRateLeast;
  const std::optional<Sample>& base = rested ? newer_ : older_;
  if (base && sample.at - base->at >= kRateLeast && sample.at - base->at <= kRateMost) {
    const double seconds = Seconds(sample.at - base->at);
    const auto rate = [seconds](const std::map<std::string, uint64_t>& before,
                                const std::map<std::string, uint64_t>& now,
                                const std::string& name) -> Rate {
      const auto then = before.find(name);
      if (then == before.end() || now.at(name) < then->second) return {};
      return static_cast<double>(now.at(name) - then->second) / seconds;
    };
    status->rate_over = seconds;
    for (SourceStatus& source : status->sources)
      source.rate = rate(base->received, sample.received, source.name);
    for (RouteStatus& route : status->routes)
      route.rate = rate(base->delivered, sample.delivered, RouteName(route));
  }
  if (!newer_) {
    newer_ = std::move(sample);
  } else if (rested) {
    older_ = std::exchange(newer_, std::move(sample));
  }
}

}  // namespace penstock::gateway
