// Everything that can be judged before anything starts: the files, the plugins, their options, the
// routes.
#pragma once

#include <memory>
#include <vector>

#include "config/config.h"
#include "event/event.h"
#include "gateway/gateway.h"
#include "plugin/plugin.h"

namespace penstock::gateway {

template <typename TableConfig>
struct Part {
  const TableConfig* config = nullptr;  // in Prepared::config
  std::shared_ptr<plugin::Plugin> plugin;
  std::shared_ptr<const config::Options> options;
  uint64_t holds = 0;  // of a source: what it may hold before emit, if its plugin said so
};
using SourcePart = Part<config::SourceConfig>;
using SinkPart = Part<config::SinkConfig>;

struct Prepared {
  config::Config config;
  std::vector<SourcePart> sources;  // in the config's order
  std::vector<SinkPart> sinks;
  std::vector<config::Finding> findings;
  bool ok() const;
};

// Never throws; what is wrong is a finding. The parts are complete only if ok(). registry: the
// process's, so that a plugin that is loaded is the same again as long as its file is.
std::unique_ptr<Prepared> Prepare(const CommandOptions& options, plugin::Registry* registry);

// What the source's events say of it.
event::SourceInfo InfoOf(const config::SourceConfig& config);

// Whether a strict route to this sink may be pipelined.
bool MayPipelineStrict(const plugin::Plugin& plugin, const config::SinkConfig& sink);

}  // namespace penstock::gateway
