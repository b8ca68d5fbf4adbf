#include "gateway/plan.h"

namespace penstock::gateway {
namespace {

std::set<RouteName> Routes(const config::Config& config) {
  std::set<RouteName> out;
  for (const config::SinkConfig& sink : config.sinks)
    for (const std::string& source : sink.from) out.emplace(source, sink.name);
  return out;
}

void Append(const char* what, const std::set<std::string>& names, const char* how,
            const std::set<std::string>& but, std::string* out) {
  for (const std::string& name : names) {
    if (but.contains(name)) continue;
    *out += (out->empty() ? "" : "; ") + std::string(what) + ' ' + name + ' ' + how;
  }
}

// The promise of strict order may hang on the number of routes.
bool SameSink(const config::SinkConfig& a, const config::SinkConfig& b) {
  return config::SameTable(a, b) && (a.order != config::Order::kStrict || a.from == b.from);
}

void PlanRoutes(const config::Config& now, const config::Config& next, Plan* plan) {
  const std::set<RouteName> before = Routes(now), after = Routes(next);
  const auto moved = [&](const RouteName& route) {
    return plan->moved_sources.contains(route.first);
  };
  for (const RouteName& route : before)
    if (!after.contains(route) || moved(route)) plan->removed_routes.insert(route);
  for (const RouteName& route : after)
    if (!before.contains(route) || moved(route)) plan->added_routes.insert(route);
}

}  // namespace

Plan MakePlan(const config::Config& now, const config::Config& next,
              const std::set<std::string>& restarted) {
  Plan plan;
  for (const config::SourceConfig& source : next.sources) {
    const config::SourceConfig* before = now.FindSource(source.name);
    if (before != nullptr && before->queue.storage != source.queue.storage) {
      plan.moved_sources.insert(source.name);
      plan.removed_sources.insert(source.name);
    }
    if (before == nullptr || before->queue.storage != source.queue.storage)
      plan.added_sources.insert(source.name);
    else if (!config::SameTable(*before, source) || restarted.contains(source.name))
      plan.changed_sources.insert(source.name);
  }
  for (const config::SourceConfig& source : now.sources)
    if (next.FindSource(source.name) == nullptr) plan.removed_sources.insert(source.name);
  for (const config::SinkConfig& sink : next.sinks) {
    const config::SinkConfig* before = now.FindSink(sink.name);
    if (before == nullptr)
      plan.added_sinks.insert(sink.name);
    else if (!SameSink(*before, sink))
      plan.changed_sinks.insert(sink.name);
  }
  for (const config::SinkConfig& sink : now.sinks)
    if (next.FindSink(sink.name) == nullptr) plan.removed_sinks.insert(sink.name);
  PlanRoutes(now, next, &plan);
  return plan;
}

bool Plan::empty() const {
  return added_sources.empty() && changed_sources.empty() && removed_sources.empty() &&
         added_sinks.empty() && changed_sinks.empty() && removed_sinks.empty() &&
         added_routes.empty() && removed_routes.empty();
}

std::string Plan::ToString() const {
  std::string out;
  const std::set<std::string> none;
  Append("source", added_sources, "added", moved_sources, &out);
  Append("source", moved_sources, "moved to another storage", none, &out);
  Append("source", changed_sources, "made anew", none, &out);
  Append("source", removed_sources, "removed", moved_sources, &out);
  Append("sink", added_sinks, "added", none, &out);
  Append("sink", changed_sinks, "made anew", none, &out);
  Append("sink", removed_sinks, "removed", none, &out);
  for (const auto& [route, how] :
       {std::pair(&added_routes, "added"), std::pair(&removed_routes, "removed")}) {
    for (const auto& [source, sink] : *route) {
      const bool known = added_sources.contains(source) || removed_sources.contains(source) ||
                         added_sinks.contains(sink) || removed_sinks.contains(sink);
      if (!known) Append("route", {source + " -> " + sink}, how, none, &out);
    }
  }
  return out.empty() ? "nothing has changed" : out;
}

}  // namespace penstock::gateway
