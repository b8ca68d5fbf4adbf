// The metrics of a gateway, in the text format 0.0.4 of Prometheus. docs/monitoring.md lists them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gateway/metrics.h"
#include "gateway/status.h"
#include "platform/process.h"

namespace penstock::gateway {

inline constexpr char kExpositionType[] = "text/plain; version=0.0.4; charset=utf-8";

// Makes Prometheus' counters of those in a status. A ledger on disk goes on after a crash, from a
// commit that may be behind what was last shown; to Prometheus that would be a start from 0, and
// all that was ever delivered would seem to have happened again. So these count from the start of
// the process. And they never go back while it runs, also where a part is made anew and counts from
// 0. One thread at a time; statuses in the order in which they were read.
class ProcessCounters {
 public:
  // Changes the counters of sources, dead letters and routes in place. Of two parts of one name,
  // which there may be while one takes over from the other, the later one stays.
  void Apply(GatewayStatus* status);

 private:
  struct Seen {
    uint64_t last = 0;     // as it was read
    uint64_t carried = 0;  // from parts that were there before
  };
  static void Lift(uint64_t before, Seen* seen, uint64_t* counter);
  void ApplyTo(SourceStatus* source);
  void ApplyTo(RouteStatus* route);

  std::map<std::string, std::vector<Seen>> seen_;  // by part
};

// All of it, once the status has gone through ProcessCounters.
std::string Exposition(const GatewayStatus& status,
                       const std::vector<MetricTable::Reading>& plugin_metrics,
                       const ProcessUsage& process);

}  // namespace penstock::gateway
