// What a reload has to do: how the configuration that is wanted differs from the one that runs.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"

namespace penstock::gateway {

using RouteName = std::pair<std::string, std::string>;  // source, sink

struct Plan {
  // Names; what is in none of these goes on untouched.
  std::set<std::string> added_sources, changed_sources, removed_sources;
  // In removed_sources and in added_sources: those of the same name whose queue lies elsewhere now.
  std::set<std::string> moved_sources;
  std::set<std::string> added_sinks, changed_sinks, removed_sinks;
  std::set<RouteName> added_routes, removed_routes;

  bool empty() const;
  // "source a added; sink b changed", or that nothing has.
  std::string ToString() const;
};

// restarted: sources that are to be made anew though their tables are the same.
Plan MakePlan(const config::Config& now, const config::Config& next,
              const std::set<std::string>& restarted);

}  // namespace penstock::gateway
