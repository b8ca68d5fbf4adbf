#include "gateway/monitor.h"

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/exposition.h"
#include "gateway/pipeline.h"
#include "plugin/elf.h"

namespace penstock::gateway {
namespace {

using admin::Request;
using admin::Response;
using plugin::Printable;

constexpr size_t kReasonsMost = 32;

Response Status(StatusReader* reader) {
  Response response;
  response.content_type = "application/json";
  response.body =
      ToJson(reader->Read()).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
      "\n";
  return response;
}

// What the answers have in common that /metrics gives.
struct Scraped {
  std::mutex mutex;  // so that a status that was read earlier is counted earlier
  ProcessCounters counters;
};

Response Metrics(StatusReader* reader, const Pipeline* pipeline, Scraped* scraped) {
  GatewayStatus status;
  {
    std::lock_guard lock(scraped->mutex);
    status = reader->Read();
    scraped->counters.Apply(&status);
  }
  Response response;
  response.content_type = kExpositionType;
  response.body = Exposition(status, pipeline->PluginMetrics(), ReadProcessUsage());
  return response;
}

// 200 and the first word, or 503, the second, and the reasons; short enough for a log.
Response Verdict(const std::vector<std::string>& reasons, const char* good, const char* bad) {
  Response response;
  if (reasons.empty()) {
    response.body = std::string(good) + "\n";
    return response;
  }
  response.status = 503;
  response.body = std::string(bad) + "\n";
  for (size_t i = 0; i < reasons.size() && i < kReasonsMost; ++i)
    response.body += Printable(reasons[i]) + "\n";
  if (reasons.size() > kReasonsMost)
    response.body += "and " + std::to_string(reasons.size() - kReasonsMost) + " more\n";
  return response;
}

Response Health(const HealthCheck& health) {
  const std::string reason = health ? health() : std::string();
  return Verdict(reason.empty() ? std::vector<std::string>() : std::vector{reason}, "healthy",
                 "not healthy");
}

std::string Because(std::string what, const std::string& reason) {
  return reason.empty() ? what : std::move(what) + ": " + reason;
}

}  // namespace

std::vector<std::string> WhyNotReady(const GatewayStatus& status) {
  std::vector<std::string> out;
  if (status.state != "running") out.push_back("gateway: " + status.state);
  if (status.store && status.store->state != "good")
    out.push_back(Because("store: " + status.store->state, status.store->reason));
  for (const SinkStatus& sink : status.sinks) {
    if (sink.state != "ready")
      out.push_back(Because("sink " + sink.name + ": " + sink.state, sink.reason));
  }
  for (const SourceStatus& source : status.sources) {
    if (source.state == "failed")
      out.push_back(Because("source " + source.name + ": failed", source.reason));
  }
  for (const RouteStatus& route : status.routes) {
    if (route.held == 0) continue;
    out.push_back(route.ledger.source + " -> " + route.ledger.sink +
                  ": stopped: no room for more dead letters of source " + route.ledger.source);
  }
  return out;
}

std::vector<Endpoint> MonitorEndpoints(StatusReader* reader, const Pipeline* pipeline,
                                       HealthCheck health) {
  return {
      {"GET", "/status", [reader](const Request&) { return Status(reader); }},
      {"GET", "/metrics",
       [reader, pipeline, scraped = std::make_shared<Scraped>()](const Request&) {
         return Metrics(reader, pipeline, scraped.get());
       }},
      {"GET", "/healthz", [health = std::move(health)](const Request&) { return Health(health); }},
      {"GET", "/readyz", [reader](const Request&) {
         return Verdict(WhyNotReady(reader->Read()), "ready", "not ready");
       }}};
}

}  // namespace penstock::gateway
