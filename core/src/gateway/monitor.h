// What monitoring asks of a running gateway. None of it changes anything or waits for a plugin, so
// that it may be served to anybody.
//
//   GET /status    JSON: all there is to know
//   GET /metrics   the same for Prometheus
//   GET /healthz   200: the process works; 503 with the reason: it should be restarted
//   GET /readyz    200: events flow; 503 with a line for each reason: some do not
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "gateway/status.h"
#include "gateway/store_tools.h"

namespace penstock::gateway {

class Pipeline;

// Why the process should be restarted, or nothing. Any thread; must not block.
using HealthCheck = std::function<std::string()>;

// Reader and pipeline outlive the endpoints. health: empty for one that is always well.
std::vector<Endpoint> MonitorEndpoints(StatusReader* reader, const Pipeline* pipeline,
                                       HealthCheck health);

// What keeps events from flowing until somebody or something changes it: the gateway starts or
// stops, the store takes nothing, a sink is not ready, a source has ended with an error, a route
// waits for room in the dead letters. A source that looks for its server is none: no event is held
// up. One line each; empty: ready.
std::vector<std::string> WhyNotReady(const GatewayStatus& status);

}  // namespace penstock::gateway
