#include "gateway/prepare.h"

#include <algorithm>
#include <filesystem>

#include "gateway/subjects.h"

namespace penstock::gateway {
namespace {

using config::Finding;
using config::Severity;

// What a plugin's check() reports, with the place in the files added.
class CheckReport {
 public:
  CheckReport(std::shared_ptr<const config::Options> options, std::vector<Finding>* findings)
      : options_(std::move(options)), findings_(findings) {
    report_.struct_size = sizeof report_;
    report_.ctx = this;
    report_.add = Add;
    report_.holds = [](const penstock_report* report, uint64_t bytes) noexcept {
      static_cast<CheckReport*>(report->ctx)->holds_ = bytes;
    };
  }
  const penstock_report* abi() const { return &report_; }
  uint64_t holds() const { return holds_; }

 private:
  static void Add(const penstock_report* report, int32_t severity, const char* option,
                  penstock_str text) noexcept {
    auto* self = static_cast<CheckReport*>(report->ctx);
    const Severity kind = severity >= PENSTOCK_ERROR     ? Severity::kError
                          : severity == PENSTOCK_WARNING ? Severity::kWarning
                                                         : Severity::kNotice;
    const std::string_view name = option == nullptr ? "" : option;
    std::string message = name.empty() ? std::string() : std::string(name) + ": ";
    message.append(text.ptr, text.len);
    self->findings_->push_back({kind, self->options_->Where(name), std::move(message)});
  }
  penstock_report report_{};
  std::shared_ptr<const config::Options> options_;
  std::vector<Finding>* findings_;
  uint64_t holds_ = 0;
};

template <typename TableConfig>
void PreparePart(plugin::Kind kind, const TableConfig& table, plugin::Registry* registry,
                 std::vector<Part<TableConfig>>* parts, std::vector<Finding>* findings) {
  if (table.plugin.empty()) return;  // already a finding
  auto loaded = registry->Load(kind, table.plugin);
  if (!loaded) {
    findings->push_back({Severity::kError, table.plugin_where, loaded.error().message});
    return;
  }
  const penstock_plugin& entry = (*loaded)->entry();
  config::Bound bound = config::BindOptions(table, entry);
  const bool bound_ok =
      std::none_of(bound.findings.begin(), bound.findings.end(),
                   [](const Finding& f) { return f.severity == Severity::kError; });
  for (Finding& finding : bound.findings) findings->push_back(std::move(finding));
  Part<TableConfig> part{&table, *loaded,
                         std::make_shared<const config::Options>(std::move(bound.options))};
  if (bound_ok && entry.check != nullptr) {
    const CheckReport report(part.options, findings);
    entry.check(part.options->abi(), report.abi());
    part.holds = report.holds();
  }
  parts->push_back(std::move(part));
}

// The first table that names the plugin of this file; nullptr: none does.
const config::Position* FirstUse(const Prepared& prepared, const std::string& path) {
  for (const SourcePart& source : prepared.sources)
    if (source.plugin->path() == path) return &source.config->plugin_where;
  for (const SinkPart& sink : prepared.sinks)
    if (sink.plugin->path() == path) return &sink.config->plugin_where;
  return nullptr;
}

// Names the files that are passed over for a plugin in use.
void NoteShadowed(const Prepared& prepared, const plugin::Registry& registry,
                  std::vector<Finding>* findings) {
  for (const plugin::Candidate& candidate : registry.List()) {
    if (candidate.shadowed_by.empty()) continue;
    const config::Position* where = FirstUse(prepared, candidate.shadowed_by);
    if (where == nullptr) continue;
    findings->push_back({Severity::kNotice, *where,
                         "plugin " + candidate.id + " is " + candidate.shadowed_by + "; " +
                             candidate.path + " is not used, its directory comes later"});
  }
}

std::string_view TextOf(const SinkPart& sink, const char* option) {
  const penstock_value* value = sink.options->Get(option);
  return value == nullptr || value->str.ptr == nullptr
             ? std::string_view()
             : std::string_view(value->str.ptr, value->str.len);
}

// A source that both read; empty: there is none.
std::string SharedSource(const SinkPart& a, const SinkPart& b) {
  for (const std::string& source : b.config->from)
    if (std::count(a.config->from.begin(), a.config->from.end(), source) > 0) return source;
  return {};
}

std::string BothNames(const SinkPart& a, const SinkPart& b) {
  return "sinks \"" + a.config->name + "\" and \"" + b.config->name + "\"";
}

// Where a sink nats-jetstream writes to, as far as that can be known from its options; empty: not
// known.
std::string Destination(const SinkPart& sink) {
  std::string out;
  for (const char* option : {"servers", "stream.name", "subject"}) {
    const penstock_value* value = sink.options->Get(option);
    if (value == nullptr) return {};
    for (size_t i = 0; i < value->n && value->items != nullptr; ++i)
      out.append(value->items[i].ptr, value->items[i].len) += ' ';
    out.append(TextOf(sink, option)) += '\n';
  }
  return out;
}

bool IdsDifferBySink(const SinkPart& sink) {
  const std::string_view id = TextOf(sink, "msg_id");
  return id.empty() || id.find("{sink}") != std::string_view::npos;
}

// Two sinks that write one source into the same stream with the same ids: the bus drops the second
// copy.
void CheckSharedIds(const SinkPart& a, const SinkPart& b, std::vector<Finding>* findings) {
  const std::string destination = Destination(a);
  if (destination.empty() || destination != Destination(b)) return;
  if (IdsDifferBySink(a) && IdsDifferBySink(b)) return;
  const std::string source = SharedSource(a, b);
  if (source.empty()) return;
  findings->push_back(
      {Severity::kWarning, b.options->Where("msg_id"),
       BothNames(a, b) + " write source \"" + source +
           "\" to the same place with the same ids, so the bus drops the second copy as a "
           "duplicate; set msg_id = \"{id}-{sink}\" in both"});
}

std::string_view Brokers(const SinkPart& sink) {
  const penstock_value* client = sink.options->Get("client");
  for (size_t i = 0; client != nullptr && i < client->n; ++i) {
    const penstock_kv& entry = client->entries[i];
    if (std::string_view(entry.key.ptr, entry.key.len) == "bootstrap.servers")
      return {entry.value.ptr, entry.value.len};
  }
  return {};
}

// Two sinks that write one source into the same topic: Kafka keeps both copies.
void CheckSharedTopic(const SinkPart& a, const SinkPart& b, std::vector<Finding>* findings) {
  const std::string_view topic = TextOf(a, "topic");
  if (topic.empty() || topic != TextOf(b, "topic") ||
      topic.find("{sink}") != std::string_view::npos)
    return;
  if (Brokers(a).empty() || Brokers(a) != Brokers(b)) return;
  // Filters may share the events out.
  const std::string &filter_a = a.config->filter.expression,
                    &filter_b = b.config->filter.expression;
  if (!filter_a.empty() && !filter_b.empty() && filter_a != filter_b) return;
  const std::string source = SharedSource(a, b);
  if (source.empty()) return;
  findings->push_back(
      {Severity::kWarning, b.options->Where("topic"),
       BothNames(a, b) + " write source \"" + source +
           "\" to the same topic of the same brokers, so each event is there twice; give each a "
           "topic of its own, or take the source out of one's from"});
}

// Two sinks that write into the same file: the second waits for ever.
void CheckSharedFile(const SinkPart& a, const SinkPart& b, std::vector<Finding>* findings) {
  const auto path = [](const SinkPart& sink) {
    return std::filesystem::path(TextOf(sink, "path")).lexically_normal();
  };
  if (path(a).empty() || path(a) != path(b)) return;
  findings->push_back({Severity::kError, b.options->Where("path"),
                       BothNames(a, b) + " write to the same file " + path(b).string() +
                           ", which only one of them can; give each its own"});
}

void CheckDestinations(const Prepared& prepared, std::vector<Finding>* findings) {
  for (size_t j = 0; j < prepared.sinks.size(); ++j) {
    const SinkPart& b = prepared.sinks[j];
    for (size_t i = 0; i < j; ++i) {
      const SinkPart& a = prepared.sinks[i];
      const std::string& plugin = b.config->plugin;
      if (a.config->plugin != plugin) continue;
      if (plugin == "nats-jetstream") CheckSharedIds(a, b, findings);
      if (plugin == "kafka") CheckSharedTopic(a, b, findings);
      if (plugin == "file") CheckSharedFile(a, b, findings);
    }
  }
}

// A sink that tries again by itself hides its attempts.
void CheckRetryLimits(const Prepared& prepared, std::vector<Finding>* findings) {
  for (const SinkPart& sink : prepared.sinks) {
    if (sink.config->retry_limit_attempts == 0) continue;
    if ((sink.plugin->entry().caps & PENSTOCK_CAP_RETRIES) == 0) continue;
    findings->push_back({Severity::kError, sink.options->Where("retry"),
                         "sinks." + sink.config->name + ".retry.limit: the plugin " +
                             sink.config->plugin +
                             " tries again by itself, so its attempts cannot be counted; give the "
                             "limit as an age, as limit = \"1h\""});
  }
}

// What each source may buffer before the queue: bounded together by an eighth of the limit.
void ShareReadAhead(config::Config* config) {
  const uint64_t fair =
      config->gateway.memory_limit / 8 / std::max<size_t>(config->sources.size(), 1);
  for (config::SourceConfig& source : config->sources)
    source.read_ahead_bytes = std::clamp<uint64_t>(fair, 64 << 10, 2 << 20);
}

}  // namespace

bool Prepared::ok() const {
  return std::none_of(findings.begin(), findings.end(),
                      [](const Finding& f) { return f.severity == Severity::kError; });
}

std::unique_ptr<Prepared> Prepare(const CommandOptions& options, plugin::Registry* registry) {
  auto prepared = std::make_unique<Prepared>();
  config::Loaded loaded = config::Load(options.config_file);
  prepared->config = std::move(loaded.config);
  prepared->findings = std::move(loaded.findings);
  ShareReadAhead(&prepared->config);
  if (!loaded.complete) return prepared;

  std::vector<plugin::Directory> directories;
  for (const std::string& path : options.plugin_dirs) directories.push_back({path, false});
  for (const std::string& path : prepared->config.gateway.plugin_dirs)
    directories.push_back({path, false});
  directories.push_back({PENSTOCK_PLUGIN_DIR, true});
  registry->SetDirectories(std::move(directories));

  std::vector<Finding>* findings = &prepared->findings;
  for (const auto& source : prepared->config.sources)
    PreparePart(plugin::Kind::kSource, source, registry, &prepared->sources, findings);
  for (const auto& sink : prepared->config.sinks)
    PreparePart(plugin::Kind::kSink, sink, registry, &prepared->sinks, findings);
  NoteShadowed(*prepared, *registry, findings);
  CheckDestinations(*prepared, findings);
  CheckRetryLimits(*prepared, findings);
  CheckSubjects(*prepared, findings);
  config::Sort(loaded.files, findings);
  return prepared;
}

event::SourceInfo InfoOf(const config::SourceConfig& config) {
  return {config.name, config.event_source, config.event_name,
          config.event_type.empty() ? config.plugin : config.event_type, config.metadata};
}

bool MayPipelineStrict(const plugin::Plugin& plugin, const config::SinkConfig& sink) {
  const uint32_t caps = plugin.entry().caps;
  return (caps & PENSTOCK_CAP_PREFIX) != 0 ||
         ((caps & PENSTOCK_CAP_PREFIX_SINGLE) != 0 && sink.from.size() == 1);
}

}  // namespace penstock::gateway
