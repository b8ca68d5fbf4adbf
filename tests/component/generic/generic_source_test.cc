// The generic source against the real C++ test server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>

#include "component/generic/test_server.h"
#include "fakes/fake_source_host.h"

namespace penstock::testing {
namespace {

using fakes::FakeSource;
using fakes::FakeSourceHost;
using fakes::Values;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Clock = std::chrono::steady_clock;

const penstock_plugin& Plugin() { return fakes::LoadPlugin(PENSTOCK_SOURCE_FILE); }

Values Plain(const std::string& url, Values more = {}) {
  more.insert({{"url", url}, {"insecure", true}, {"event_name", "created"}});
  return more;
}

// The number in a JSON payload of the test servers.
int64_t Number(const std::string& payload) {
  return payload.rfind("{\"seq\":", 0) == 0 ? std::stoll(payload.substr(7)) : -1;
}

TEST(GenericSource, FirstEventArrives) {
  TestServer server({"--count", "1", "--size", "100"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(1));
  const fakes::FakeEvent event = host.events()[0];
  EXPECT_EQ(event.payload.size(), 100u);
  EXPECT_EQ(Number(event.payload), 0);
  EXPECT_EQ(event.content_type, "");
  EXPECT_EQ(event.subject, "");
  EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  EXPECT_LT(source.StopAndTime(), seconds(1));
}

TEST(GenericSource, SendsNameAndConfigToTheLetter) {
  TestServer server({"--count", "1"});
  const std::string config("key1: value1\n\tü \0 \xff\r\n", 23);
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"config", config}}));
  source.Run();
  const std::string line = server.WaitLine("STREAM 1 ");
  EXPECT_EQ(HexField(line, "name"), "created");
  EXPECT_EQ(HexField(line, "config"), config);
  EXPECT_EQ(HexField(line, "authorization"), "");
  EXPECT_THAT(HexField(line, "agent"), StartsWith("penstock/"));
}

TEST(GenericSource, ServerThatStartsLate) {
  const int port = FreePort();
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain("127.0.0.1:" + std::to_string(port)));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 4));
  TestServer server({"--port", std::to_string(port), "--count", "1"});
  const Clock::time_point up = Clock::now();
  ASSERT_TRUE(host.WaitEvents(1));
  EXPECT_LT(Clock::now() - up, milliseconds(1500));
  EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
}

TEST(GenericSource, ManyEventsInOrder) {
  TestServer server({"--count", "100000", "--size", "64"});
  FakeSourceHost host;
  host.ReleaseElsewhere();
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(100000));
  const auto events = host.events();
  for (size_t i = 0; i < events.size(); ++i) {
    ASSERT_EQ(Number(events[i].payload), static_cast<int64_t>(i));
  }
  EXPECT_LT(host.emit_calls(), 50000u);
  EXPECT_EQ(host.metric("received_total"), 100000u);
}

}  // namespace
}  // namespace penstock::testing
