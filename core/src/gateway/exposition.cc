#include "gateway/exposition.h"

#include <penstock/plugin.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <set>
#include <span>
#include <sstream>
#include <string_view>
#include <utility>

namespace penstock::gateway {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using Readings = std::vector<MetricTable::Reading>;

double Number(uint64_t n) { return static_cast<double>(n); }
double Seconds(Nanoseconds n) { return std::chrono::duration<double>(n).count(); }
double Seconds(int64_t ns) { return Seconds(Nanoseconds(ns)); }

// One family after another, so that only one of them is in memory.
class Writer {
 public:
  void Begin(std::string name, std::string help, MetricType type) {
    Flush();
    family_.front().name = std::move(name);
    family_.front().help = std::move(help);
    family_.front().type = type;
  }
  void Counter(const char* name, const char* help) { Begin(name, help, MetricType::Counter); }
  void Gauge(const char* name, const char* help) { Begin(name, help, MetricType::Gauge); }

  void Add(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = metric.gauge.value = metric.untyped.value = value;
    family_.front().metric.push_back(std::move(metric));
  }
  void Gauge(const char* name, const char* help, double value) {
    Gauge(name, help);
    Add({}, value);
  }
  // One line for each state that there is: 1 for the present one, else 0.
  void AddStates(const Labels& labels, std::span<const std::string_view> states,
                 const std::string& now) {
    const auto add = [&](std::string_view state) {
      Labels with = labels;
      with.push_back({"state", std::string(state)});
      Add(std::move(with), state == now ? 1 : 0);
    };
    std::for_each(states.begin(), states.end(), add);
    if (std::find(states.begin(), states.end(), now) == states.end()) add(now);
  }

  std::string Take() {
    Flush();
    return std::move(out_).str();
  }

 private:
  void Flush() {
    if (!family_.front().metric.empty()) serializer_.Serialize(out_, family_);
    family_.front().metric.clear();
  }

  const prometheus::TextSerializer serializer_{};
  std::ostringstream out_;
  std::vector<MetricFamily> family_{1};
};

// ---- the gateway

constexpr std::string_view kGatewayStates[] = {"starting", "running", "stopping"};
constexpr std::string_view kStoreStates[] = {"good", "full", "failed"};
constexpr std::string_view kSourceStates[] = {"starting", "connecting", "ready",  "running",
                                              "failed",   "finished",   "stopped"};
constexpr std::string_view kSinkStates[] = {"starting", "connecting", "ready", "failed"};

void WriteGateway(const GatewayStatus& status, Writer* out) {
  out->Gauge("penstock_build_info", "The version of Penstock and of its plugin ABI; always 1.");
  out->Add({{"version", status.version},
            {"abi", std::to_string(PENSTOCK_ABI_MAJOR) + "." + std::to_string(PENSTOCK_ABI_MINOR)}},
           1);
  out->Gauge("penstock_gateway_info", "The name of this gateway; always 1.");
  out->Add({{"name", status.name}}, 1);
  out->Gauge("penstock_gateway_state", "1 for the state that the gateway is in.");
  out->AddStates({}, kGatewayStates, status.state);
  out->Gauge("penstock_memory_used_bytes",
             "What queues, events in flight and read-ahead take of gateway.memory_limit.",
             Number(status.memory_used));
  out->Gauge("penstock_memory_limit_bytes", "gateway.memory_limit.", Number(status.memory_limit));
  if (!status.store) return;
  out->Gauge("penstock_store_state",
             "1 for the state of the store on disk; full: what does not fit waits.");
  out->AddStates({}, kStoreStates, status.store->state);
}

void WriteProcess(const GatewayStatus& status, const ProcessUsage& process, Writer* out) {
  out->Gauge("process_start_time_seconds", "When the process started, since the Unix epoch.",
             Seconds(status.started_ns));
  out->Counter("process_cpu_seconds_total", "Processor time, in user and in system mode.");
  out->Add({}, process.cpu_seconds);
  out->Gauge("process_resident_memory_bytes", "Resident memory.", Number(process.resident_bytes));
  out->Gauge("process_virtual_memory_bytes", "Virtual memory.", Number(process.virtual_bytes));
  out->Gauge("process_open_fds", "Open file descriptors.", Number(process.open_fds));
  out->Gauge("process_max_fds", "The most file descriptors that may be open.",
             Number(process.max_fds));
}

// ---- sources, their queues and dead letters

void WriteSourceStates(const std::vector<SourceStatus>& sources, Writer* out) {
  out->Gauge("penstock_source_info", "What a source is; always 1.");
  for (const SourceStatus& source : sources) {
    out->Add({{"source", source.name},
              {"plugin", source.plugin},
              {"storage", source.queue.storage},
              {"when_full", source.queue.when_full}},
             1);
  }
  out->Gauge("penstock_source_state", "1 for the state that a source is in.");
  for (const SourceStatus& source : sources)
    out->AddStates({{"source", source.name}}, kSourceStates, source.state);
  out->Gauge("penstock_source_state_change_timestamp_seconds",
             "Since when a source is in its state, since the Unix epoch.");
  for (const SourceStatus& source : sources)
    out->Add({{"source", source.name}}, Seconds(source.since_ns));
}

// How a number of a source is told.
struct SourceFamily {
  MetricType type;
  const char *name, *help;
  uint64_t (*value)(const SourceStatus&);
};

constexpr SourceFamily kSourceFamilies[] = {
    {MetricType::Counter, "penstock_source_received_events_total",
     "Events that a source has handed over, those dropped at once by a full queue included.",
     [](const SourceStatus& s) { return s.received; }},
    {MetricType::Counter, "penstock_source_dropped_events_total",
     "Of those, events that a full queue dropped at once (when_full = \"drop_newest\"); all its "
     "routes count them too.",
     [](const SourceStatus& s) { return s.queue.dropped_newest; }},
    {MetricType::Gauge, "penstock_queue_events", "Events in the source's queue.",
     [](const SourceStatus& s) { return s.queue.events; }},
    {MetricType::Gauge, "penstock_queue_limit_events", "queue.max_events of the source.",
     [](const SourceStatus& s) { return s.queue.max_events; }},
    {MetricType::Gauge, "penstock_queue_bytes", "What the events in the source's queue take.",
     [](const SourceStatus& s) { return s.queue.bytes; }},
    {MetricType::Gauge, "penstock_queue_limit_bytes", "queue.max_bytes of the source.",
     [](const SourceStatus& s) { return s.queue.max_bytes; }},
    {MetricType::Gauge, "penstock_queue_unstored_events",
     "Events in a queue on disk that are not on the disk yet.",
     [](const SourceStatus& s) { return s.queue.unstored; }},
};

constexpr SourceFamily kLetterFamilies[] = {
    {MetricType::Gauge, "penstock_dead_letter_events", "Dead letters of the source that are kept.",
     [](const SourceStatus& s) { return s.letters->events; }},
    {MetricType::Gauge, "penstock_dead_letter_limit_events", "dead_letters.max_events.",
     [](const SourceStatus& s) { return s.letters->max_events; }},
    {MetricType::Gauge, "penstock_dead_letter_bytes", "What the dead letters take.",
     [](const SourceStatus& s) { return s.letters->bytes; }},
    {MetricType::Gauge, "penstock_dead_letter_limit_bytes", "dead_letters.max_bytes.",
     [](const SourceStatus& s) { return s.letters->max_bytes; }},
    {MetricType::Counter, "penstock_dead_letter_replayed_events_total",
     "Dead letters that were delivered after all, ever: kept over restarts.",
     [](const SourceStatus& s) { return s.letters->replayed; }},
    {MetricType::Counter, "penstock_dead_letter_dropped_events_total",
     "Dead letters that were dropped by hand or to make room, ever: kept over restarts.",
     [](const SourceStatus& s) { return s.letters->dropped; }},
};

void WriteSources(const std::vector<SourceStatus>& sources, Writer* out) {
  WriteSourceStates(sources, out);
  for (const SourceFamily& family : kSourceFamilies) {
    out->Begin(family.name, family.help, family.type);
    for (const SourceStatus& source : sources)
      out->Add({{"source", source.name}}, Number(family.value(source)));
  }
  for (const SourceFamily& family : kLetterFamilies) {
    out->Begin(family.name, family.help, family.type);
    for (const SourceStatus& source : sources) {
      if (source.letters) out->Add({{"source", source.name}}, Number(family.value(source)));
    }
  }
}

// ---- sinks and routes

void WriteSinks(const std::vector<SinkStatus>& sinks, Writer* out) {
  out->Gauge("penstock_sink_info", "What a sink is; always 1.");
  for (const SinkStatus& sink : sinks) out->Add({{"sink", sink.name}, {"plugin", sink.plugin}}, 1);
  out->Gauge("penstock_sink_state", "1 for the state that a sink is in.");
  for (const SinkStatus& sink : sinks)
    out->AddStates({{"sink", sink.name}}, kSinkStates, sink.state);
  out->Gauge("penstock_sink_state_change_timestamp_seconds",
             "Since when a sink is in its state, since the Unix epoch.");
  for (const SinkStatus& sink : sinks) out->Add({{"sink", sink.name}}, Seconds(sink.since_ns));
}

Labels LabelsOf(const RouteStatus& route) {
  return {{"source", route.ledger.source}, {"sink", route.ledger.sink}};
}

struct RouteFamily {
  MetricType type;
  const char *name, *help;
  uint64_t (*value)(const RouteStatus&);
};

constexpr RouteFamily kRouteFamilies[] = {
    {MetricType::Gauge, "penstock_route_recovered_events",
     "Events that waited for the sink when it started. received + recovered = delivered + "
     "dead-lettered + dropped + pending.",
     [](const RouteStatus& r) { return r.at_start.pending; }},
    {MetricType::Counter, "penstock_route_received_events_total",
     "Events that the source has received for the sink.",
     [](const RouteStatus& r) { return r.ledger.received; }},
    {MetricType::Counter, "penstock_route_delivered_events_total",
     "Events that the bus has confirmed.", [](const RouteStatus& r) { return r.ledger.delivered; }},
    {MetricType::Counter, "penstock_route_dead_lettered_events_total",
     "Events that went to the dead letters.",
     [](const RouteStatus& r) { return r.ledger.dead_lettered; }},
    {MetricType::Gauge, "penstock_route_pending_events", "Events that are not settled yet.",
     [](const RouteStatus& r) { return r.ledger.pending; }},
    {MetricType::Counter, "penstock_route_retries_total",
     "Attempts that are made again, because the bus refused or its answer is not known.",
     [](const RouteStatus& r) { return r.ledger.retries; }},
    {MetricType::Counter, "penstock_route_unknown_answers_total",
     "Of the retries, those whose answer is not known: the bus may have taken the event.",
     [](const RouteStatus& r) { return r.ledger.unknown; }},
    {MetricType::Counter, "penstock_route_reordered_events_total",
     "Events that were delivered after a later one.",
     [](const RouteStatus& r) { return r.ledger.reordered; }},
    {MetricType::Counter, "penstock_route_filter_errors_total",
     "Events that a filter failed on, whatever on_filter_error made of them.",
     [](const RouteStatus& r) { return r.ledger.filter_errors; }},
    {MetricType::Gauge, "penstock_route_failures_in_a_row",
     "Attempts in a row that failed; 0: all is well.",
     [](const RouteStatus& r) { return uint64_t{r.failures}; }},
    {MetricType::Gauge, "penstock_route_held_events",
     "Events that wait for room in the dead letters; above 0 the route stands still.",
     [](const RouteStatus& r) { return r.held; }},
};

void WriteRoutes(const GatewayStatus& status, Writer* out) {
  for (const RouteFamily& family : kRouteFamilies) {
    out->Begin(family.name, family.help, family.type);
    for (const RouteStatus& route : status.routes)
      out->Add(LabelsOf(route), Number(family.value(route)));
  }
  out->Counter("penstock_route_dropped_events_total",
               "Events that were dropped, by the policy that the configuration chose.");
  for (const RouteStatus& route : status.routes) {
    for (size_t i = 0; i < route.ledger.dropped.size(); ++i) {
      Labels labels = LabelsOf(route);
      const auto reason = static_cast<delivery::DropReason>(i);
      labels.push_back({"reason", delivery::DropReasonName(reason)});
      out->Add(std::move(labels), Number(route.ledger.dropped[i]));
    }
  }
  out->Counter("penstock_route_duplicate_events_total",
               "Events that the bus had already: at the first attempt (somebody else writes the "
               "same ids) or at a later one (an answer was lost).");
  for (const RouteStatus& route : status.routes) {
    for (const auto& [attempt, n] : {std::pair("first", route.ledger.duplicates_at_once),
                                     std::pair("later", route.ledger.duplicates)}) {
      Labels labels = LabelsOf(route);
      labels.push_back({"attempt", attempt});
      out->Add(std::move(labels), Number(n));
    }
  }
  out->Gauge("penstock_route_oldest_pending_age_seconds",
             "How long the oldest pending event has waited; 0: none is pending.");
  for (const RouteStatus& route : status.routes) {
    if (route.ledger.pending > 0 && !route.oldest_pending) continue;  // not known
    const auto age = route.oldest_pending ? status.now - *route.oldest_pending : Nanoseconds(0);
    out->Add(LabelsOf(route), Seconds(std::max(age, Nanoseconds(0))));
  }
}

// ---- what plugins count

struct PluginMetric {
  Labels labels;
  uint64_t value;
};
struct PluginFamily {
  std::string help;
  MetricType type;
  std::set<std::string> instances;  // that are in metrics
  std::vector<PluginMetric> metrics;
};

// A plugin's text goes into a format of lines.
std::string OneLine(std::string text) {
  for (char& c : text) {
    if (c < 0x20 || c >= 0x7f || c == '\\') c = '?';
  }
  return text;
}

std::string PluginName(const MetricTable::Reading& reading) {
  std::string name = "penstock_plugin_" + reading.plugin + "_" + reading.name;
  std::replace(name.begin(), name.end(), '-', '_');
  if (reading.kind == PENSTOCK_METRIC_COUNTER && !name.ends_with("_total")) name += "_total";
  return name;
}

// "source orders" to {source="orders"}.
Labels InstanceLabels(const std::string& instance) {
  const size_t space = std::min(instance.find(' '), instance.size());
  return {{instance.substr(0, space), instance.substr(std::min(space + 1, instance.size()))}};
}

// "source orders generic" of all that there are now.
std::set<std::string> Instances(const GatewayStatus& status) {
  std::set<std::string> out;
  for (const SourceStatus& source : status.sources)
    out.insert("source " + source.name + " " + source.plugin);
  for (const SinkStatus& sink : status.sinks) out.insert("sink " + sink.name + " " + sink.plugin);
  return out;
}

void WritePlugins(const GatewayStatus& status, const Readings& readings, Writer* out) {
  std::map<std::string, PluginFamily> families;
  const std::set<std::string> instances = Instances(status);
  for (const MetricTable::Reading& reading : readings) {
    if (!instances.contains(reading.instance + " " + reading.plugin)) continue;
    const MetricType type =
        reading.kind == PENSTOCK_METRIC_COUNTER ? MetricType::Counter : MetricType::Gauge;
    PluginFamily& family =
        families.try_emplace(PluginName(reading), PluginFamily{OneLine(reading.help), type, {}, {}})
            .first->second;
    // Two plugins may come to one name, "a" with "b_c" and "a-b" with "c".
    if (family.type != type) family.type = MetricType::Untyped;
    if (family.instances.insert(reading.instance).second)
      family.metrics.push_back({InstanceLabels(reading.instance), reading.value});
  }
  for (auto& [name, family] : families) {
    out->Begin(name, std::move(family.help), family.type);
    for (PluginMetric& metric : family.metrics)
      out->Add(std::move(metric.labels), Number(metric.value));
  }
}

// Of parts with one name the last.
template <typename Part, typename NameOf>
void KeepLast(std::vector<Part>* parts, NameOf name_of) {
  std::set<std::string> seen;
  const auto twice = [&](const Part& part) { return !seen.insert(name_of(part)).second; };
  const auto first = std::remove_if(parts->rbegin(), parts->rend(), twice);
  parts->erase(parts->begin(), first.base());
}

}  // namespace

// ---- ProcessCounters

void ProcessCounters::Lift(uint64_t before, Seen* seen, uint64_t* counter) {
  const uint64_t now = *counter - std::min(before, *counter);
  if (now < seen->last) seen->carried += seen->last;
  seen->last = now;
  *counter = seen->carried + now;
}

void ProcessCounters::ApplyTo(SourceStatus* source) {
  std::vector<Seen>& seen = seen_["source " + source->name];
  seen.resize(4);
  Lift(source->received_before, &seen[0], &source->received);
  Lift(source->dropped_before, &seen[1], &source->queue.dropped_newest);
  if (!source->letters) return;
  // These are read from the store, and are 0 where that fails.
  for (const auto& [i, counter] :
       {std::pair(2, &source->letters->replayed), std::pair(3, &source->letters->dropped)}) {
    Seen& last = seen[static_cast<size_t>(i)];
    last.last = *counter = std::max(*counter, last.last);
  }
}

void ProcessCounters::ApplyTo(RouteStatus* route) {
  delivery::Ledger& now = route->ledger;
  const delivery::Ledger& before = route->at_start;
  std::vector<Seen>& seen = seen_["route " + now.source + " " + now.sink];
  size_t at = 0;
  const auto lift = [&](uint64_t was, uint64_t* counter) {
    if (seen.size() <= at) seen.emplace_back();
    Lift(was, &seen[at++], counter);
  };
  lift(before.received, &now.received);
  lift(before.delivered, &now.delivered);
  lift(before.dead_lettered, &now.dead_lettered);
  for (size_t i = 0; i < now.dropped.size(); ++i) lift(before.dropped[i], &now.dropped[i]);
  lift(before.retries, &now.retries);
  lift(before.unknown, &now.unknown);
  lift(before.duplicates, &now.duplicates);
  lift(before.duplicates_at_once, &now.duplicates_at_once);
  lift(before.reordered, &now.reordered);
  lift(before.filter_errors, &now.filter_errors);
}

void ProcessCounters::Apply(GatewayStatus* status) {
  KeepLast(&status->sources, [](const SourceStatus& source) { return source.name; });
  KeepLast(&status->sinks, [](const SinkStatus& sink) { return sink.name; });
  KeepLast(&status->routes,
           [](const RouteStatus& route) { return route.ledger.source + " " + route.ledger.sink; });
  for (SourceStatus& source : status->sources) ApplyTo(&source);
  for (RouteStatus& route : status->routes) ApplyTo(&route);
}

std::string Exposition(const GatewayStatus& status, const Readings& plugin_metrics,
                       const ProcessUsage& process) {
  Writer out;
  WriteGateway(status, &out);
  WriteSources(status.sources, &out);
  WriteSinks(status.sinks, &out);
  WriteRoutes(status, &out);
  WritePlugins(status, plugin_metrics, &out);
  WriteProcess(status, process, &out);
  return out.Take();
}

}  // namespace penstock::gateway
