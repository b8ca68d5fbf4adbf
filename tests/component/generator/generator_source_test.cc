#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "fakes/plugin_host.h"

namespace penstock::testing {
namespace {

using fakes::FakeSource;
using fakes::FakeSourceHost;
using std::chrono::milliseconds;
using std::chrono::seconds;

const penstock_plugin& Plugin() { return fakes::LoadPlugin(PENSTOCK_SOURCE_FILE); }

TEST(GeneratorSource, FinishesAfterCount) {
  FakeSourceHost host;
  FakeSource source(host, Plugin(), {{"count", 1000}, {"size", 100}});
  source.Run();
  ASSERT_TRUE(source.WaitReturned());
  const auto events = host.events();
  ASSERT_EQ(events.size(), 1000u);
  for (size_t i = 0; i < events.size(); ++i) {
    ASSERT_EQ(events[i].payload.size(), 100u);
    ASSERT_EQ(std::stoull(events[i].payload), i);
    ASSERT_EQ(events[i].content_type, "");
  }
  EXPECT_LT(host.emit_calls(), 100u);
}

TEST(GeneratorSource, Json) {
  FakeSourceHost host;
  FakeSource source(host, Plugin(), {{"count", 2}, {"size", 24}, {"json", true}});
  source.Run();
  ASSERT_TRUE(source.WaitReturned());
  EXPECT_EQ(host.events()[1].payload, R"({"seq":1,"pad":"xxxxxx"})");
  EXPECT_EQ(host.events()[1].content_type, "application/json");
}

TEST(GeneratorSource, SizeTooSmallForTheNumber) {
  FakeSourceHost host;
  FakeSource source(host, Plugin(), {{"count", 11}, {"size", 0}});
  source.Run();
  ASSERT_TRUE(source.WaitReturned());
  EXPECT_EQ(host.events()[10].payload, "10 ");
}

TEST(GeneratorSource, KeepsTheRate) {
  FakeSourceHost host;
  FakeSource source(host, Plugin(), {{"count", 100}, {"rate", 500.0}});
  const auto start = std::chrono::steady_clock::now();
  source.Run();
  ASSERT_TRUE(source.WaitReturned());
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(host.event_count(), 100u);
  EXPECT_GE(took, milliseconds(199));
}

TEST(GeneratorSource, StopsWhileItWaitsForTheNextEvent) {
  FakeSourceHost host;
  FakeSource source(host, Plugin(), {{"rate", 0.001}});
  source.Run();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  EXPECT_LT(source.StopAndTime(), seconds(1));
}

TEST(GeneratorSource, StoppedByAFullQueueAndShutdown) {
  FakeSourceHost host;
  host.SetRoom(100);
  host.ReleaseElsewhere();
  FakeSource source(host, Plugin(), {{"size", 1000}});
  source.Run();
  ASSERT_TRUE(host.WaitBlocked());
  EXPECT_EQ(host.event_count(), 100u);
  source.Stop();
  host.Shutdown();
  EXPECT_TRUE(source.WaitReturned());
  EXPECT_EQ(host.event_count(), 100u);
}

TEST(GeneratorSource, NegativeRateIsAnError) {
  const auto found = fakes::Check(Plugin(), {{"rate", -1.0}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].option, "rate");
  EXPECT_EQ(found[0].severity, PENSTOCK_ERROR);
  EXPECT_TRUE(fakes::Check(Plugin(), {}).empty());
}

}  // namespace
}  // namespace penstock::testing
