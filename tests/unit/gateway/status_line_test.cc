#include "gateway/status_line.h"

#include <gtest/gtest.h>

namespace penstock::gateway {
namespace {

using std::chrono::seconds;

GatewayStatus Example() {
  GatewayStatus status;
  status.state = "running";
  status.now_ns = Nanoseconds(seconds(1000)).count();
  status.sources.resize(2);
  status.sources[0].name = "orders";
  status.sources[0].state = "ready";
  status.sources[1].name = "rows";
  status.sources[1].state = "running";
  status.sinks.resize(1);
  status.sinks[0].name = "bus";
  status.sinks[0].state = "ready";
  status.routes.resize(2);
  return status;
}

TEST(StatusLineTest, CountsAndRate) {
  GatewayStatus status = Example();
  EXPECT_EQ(StatusLine(status), "running: 2 sources, 1 sink");
  status.rate_over = 5.0;
  status.routes[0].rate = 1'000'000.4;
  status.routes[1].rate = 234'567.0;
  EXPECT_EQ(StatusLine(status), "running: 2 sources, 1 sink; 1,234,567 delivered/s");
  status.routes[0].rate = 0.0;
  status.routes[1].rate = 999.0;
  EXPECT_EQ(StatusLine(status), "running: 2 sources, 1 sink; 999 delivered/s");
}

TEST(StatusLineTest, NamesWhatIsTrouble) {
  GatewayStatus status = Example();
  status.sinks[0].state = "connecting";
  status.sinks[0].since_ns = Nanoseconds(seconds(988)).count();
  status.sinks[0].reason = "connecting";
  EXPECT_EQ(StatusLine(status), "running: 2 sources, 1 sink; sink bus: connecting for 12 s");
  status.sinks[0].reason = "no servers available";
  status.sources[1].state = "failed";
  status.sources[1].since_ns = status.now_ns;
  status.store = StoreStatus{"/s", "full", "no room"};
  EXPECT_EQ(StatusLine(status),
            "running: 2 sources, 1 sink; store: full; sink bus: connecting for 12 s (no servers "
            "available); source rows: failed for 0 s");
}

TEST(StatusLineTest, IsBounded) {
  GatewayStatus status = Example();
  status.sinks.resize(50);
  for (SinkStatus& sink : status.sinks) {
    sink.name = "s";
    sink.state = "failed";
    sink.since_ns = status.now_ns;
    sink.reason = std::string(79, 'x') + "\xc3\xa4 and so on";
  }
  const std::string trouble = "; sink s: failed for 0 s (" + std::string(79, 'x') + "...)";
  EXPECT_EQ(StatusLine(status),
            "running: 2 sources, 50 sinks" + trouble + trouble + trouble + "; 47 more");
}

TEST(StatusLineTest, AStopSaysWhatIsLeft) {
  GatewayStatus status = Example();
  status.state = "stopping";
  status.routes[0].ledger.pending = 1200;
  status.routes[1].ledger.pending = 34;
  EXPECT_EQ(StatusLine(status), "stopping: 2 sources, 1 sink; 1,234 pending");
}

TEST(StatusTellerTest, TellsChangesAtMostEveryFiveSeconds) {
  std::vector<std::string> told;
  StatusTeller teller([&told](const std::string& line) { told.push_back(line); });
  TimePoint now{std::chrono::hours(1)};
  int asked = 0;
  std::string line = "a";
  const auto tick = [&] {
    teller.Tick(now, [&] {
      ++asked;
      return line;
    });
  };
  teller.Told(now, "a");
  for (int i = 0; i < 20; ++i) {
    now += seconds(1);
    tick();
  }
  EXPECT_EQ(asked, 4);
  EXPECT_TRUE(told.empty());
  for (int i = 0; i < 20; ++i) {
    now += seconds(1);
    line = std::to_string(i);
    tick();
  }
  EXPECT_EQ(told.size(), 4u);
  teller.Told(now, "reloading");
  tick();
  EXPECT_EQ(told.size(), 4u);
}

}  // namespace
}  // namespace penstock::gateway
