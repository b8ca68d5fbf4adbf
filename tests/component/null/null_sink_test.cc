#include <gtest/gtest.h>

#include "fakes/plugin_host.h"

namespace penstock::fakes {
namespace {

TEST(NullSink, ConfirmsABatchInsideSubmitWithOneCall) {
  FakeSinkHost host;
  FakeSink sink(host, LoadPlugin(PENSTOCK_SINK_FILE), {});
  sink.Start();
  std::vector<FakeMessage> messages(100, FakeMessage{.payload = "x"});
  EXPECT_EQ(sink.TrySubmit(messages).size(), 100u);
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 100u);
  EXPECT_EQ(host.pending(), 0u);
  EXPECT_EQ(host.complete_calls(), 1u);
}

}  // namespace
}  // namespace penstock::fakes
