#include "gateway/monitor.h"

#include <gmock/gmock.h>

namespace penstock::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

GatewayStatus Ready() {
  GatewayStatus status;
  status.state = "running";
  status.store = StoreStatus{"/s", "good", ""};
  status.sources.resize(2);
  status.sources[0].name = "orders";
  status.sources[0].state = "ready";
  status.sources[1].name = "bills";
  status.sources[1].state = "finished";
  status.sinks.resize(1);
  status.sinks[0].name = "bus";
  status.sinks[0].state = "ready";
  status.routes.resize(1);
  status.routes[0].ledger.source = "orders";
  status.routes[0].ledger.sink = "bus";
  return status;
}

TEST(WhyNotReady, IsNothingWhenEventsFlow) {
  GatewayStatus status = Ready();
  EXPECT_THAT(WhyNotReady(status), IsEmpty());
  status.store.reset();
  EXPECT_THAT(WhyNotReady(status), IsEmpty());
  // An event server that is away holds up no event, nor does one event that is tried again.
  status.sources[0].state = "connecting";
  status.routes[0].failures = 3;
  EXPECT_THAT(WhyNotReady(status), IsEmpty());
}

TEST(WhyNotReady, NamesEachPartThatKeepsEventsFromFlowing) {
  GatewayStatus status = Ready();
  status.state = "stopping";
  status.store = StoreStatus{"/s", "full", "no space left"};
  status.sources[0].state = "failed";
  status.sources[0].reason = "stopped for good";
  status.sinks[0].state = "connecting";
  status.sinks[0].reason = "nobody answers";
  status.sinks.emplace_back();
  status.sinks[1].name = "lake";
  status.sinks[1].state = "starting";
  status.routes[0].held = 2;
  EXPECT_THAT(
      WhyNotReady(status),
      ElementsAre("gateway: stopping", "store: full: no space left",
                  "sink bus: connecting: nobody answers", "sink lake: starting",
                  "source orders: failed: stopped for good",
                  "orders -> bus: stopped: no room for more dead letters of source orders"));
}

// The endpoint of that path, asked.
admin::Response Ask(const std::string& path, HealthCheck health) {
  for (const Endpoint& endpoint : MonitorEndpoints(nullptr, nullptr, std::move(health))) {
    EXPECT_EQ(endpoint.method, "GET");
    if (endpoint.path == path) return endpoint.handler({});
  }
  ADD_FAILURE() << path;
  return {};
}

TEST(Health, IsWhatTheCheckSays) {
  EXPECT_EQ(Ask("/healthz", {}).status, 200);
  const admin::Response well = Ask("/healthz", [] { return std::string(); });
  EXPECT_EQ(well.status, 200);
  EXPECT_EQ(well.body, "healthy\n");
  const admin::Response ill = Ask("/healthz", [] { return std::string("delivery\nis stuck"); });
  EXPECT_EQ(ill.status, 503);
  EXPECT_EQ(ill.body, "not healthy\ndelivery?is stuck\n");
  const admin::Response long_one = Ask("/healthz", [] { return std::string(100'000, 'x'); });
  EXPECT_LT(long_one.body.size(), 300u);
}

}  // namespace
}  // namespace penstock::gateway
