// What takes gRPC's own timeouts to see.
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "component/generic/silent_server.h"
#include "component/generic/test_server.h"
#include "fakes/plugin_host.h"

namespace penstock::testing {
namespace {

using fakes::FakeSource;
using fakes::FakeSourceHost;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

const penstock_plugin& Plugin() { return fakes::LoadPlugin(PENSTOCK_SOURCE_FILE); }

// No event is due, and the connection stays as it is: only the ping that nobody answers tells.
TEST(GenericSourceSlow, KeepaliveFindsAFrozenServer) {
  TestServer server({"--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(),
                    {{"url", server.url()}, {"insecure", true}, {"keepalive_time", seconds(5)}});
  source.Run();
  ASSERT_TRUE(host.WaitEvents(1));
  server.Freeze();
  ASSERT_TRUE(host.WaitText("keepalive watchdog timeout", seconds(60)));
  server.Thaw();
  EXPECT_TRUE(host.WaitEvents(2));
}

// A full queue for longer than keepalive takes: the connection must live on, and no event may be
// missing.
TEST(GenericSourceSlow, AFullQueueOutlastsKeepalive) {
  TestServer server({"--count", "20000", "--size", "1000"});
  FakeSourceHost host;
  host.SetRoom(1000);
  FakeSource source(host, Plugin(),
                    {{"url", server.url()}, {"insecure", true}, {"keepalive_time", seconds(5)}});
  source.Run();
  ASSERT_TRUE(host.WaitBlocked());
  EXPECT_FALSE(host.WaitText("keepalive", seconds(35)));
  host.SetRoom(SIZE_MAX);
  ASSERT_TRUE(host.WaitEvents(20000));
  EXPECT_EQ(host.metric("reconnects_total"), 0u);
  EXPECT_EQ(server.CountLines("STREAM"), 1u);
}

TEST(GenericSourceSlow, AConnectThatHangsIsGivenUp) {
  SilentServer server;
  FakeSourceHost host;
  FakeSource source(host, Plugin(), {{"url", server.url()}, {"insecure", true}});
  source.Run();
  const Clock::time_point start = Clock::now();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 2, seconds(30)));
  EXPECT_LT(Clock::now() - start, seconds(20));
  EXPECT_GE(host.states().size(), 2u);
}

}  // namespace
}  // namespace penstock::testing
