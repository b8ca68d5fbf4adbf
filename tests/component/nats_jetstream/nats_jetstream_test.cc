// The sink nats-jetstream against a real nats-server.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "bus.h"
#include "fakes/fake_sink_host.h"
#include "fakes/nats_server.h"

namespace penstock::fakes {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const penstock_plugin& Plugin() {
  static const penstock_plugin& plugin = LoadPlugin(PENSTOCK_SINK_NATS_JETSTREAM);
  return plugin;
}

FakeMessage Message(const std::string& subject, const std::string& payload,
                    const std::string& id = "") {
  return {.payload = payload, .templates = {subject, id}, .id = id};
}

Values With(const NatsServer& server, Values more = {}) {
  more.insert({"servers", List{server.url()}});
  return more;
}

TEST(NatsJetStream, DeliversWhatTheStreamAcknowledges) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  FakeSinkHost host("bus");
  FakeSink sink(host, Plugin(), With(server));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));

  std::vector<FakeMessage> batch;
  for (int i = 0; i < 1000; ++i)
    batch.push_back(Message("t.a", "event " + std::to_string(i), "id-" + std::to_string(i)));
  sink.Submit(std::move(batch));
  ASSERT_TRUE(host.WaitReceipts(1000));

  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 1000u);
  EXPECT_LT(host.complete_calls(), 500u) << "receipts come in batches";
  const std::vector<Stored> stored = bus.Read("S");
  ASSERT_EQ(stored.size(), 1000u);
  for (size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(stored[i].subject, "t.a");
    EXPECT_EQ(stored[i].payload, "event " + std::to_string(i));
    EXPECT_EQ(stored[i].headers.at("Nats-Msg-Id"), "id-" + std::to_string(i));
    EXPECT_EQ(stored[i].headers.size(), 1u);
  }
}

TEST(NatsJetStream, SendsNoHeadersWithoutAnId) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  FakeSinkHost host("bus");
  FakeSink sink(host, Plugin(), With(server));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Message("t.a", std::string("\0\xff\r\n", 4)));
  sink.Submit(Message("t.a", ""));
  ASSERT_TRUE(host.WaitReceipts(2));
  const std::vector<Stored> stored = bus.Read("S");
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[0].payload, std::string("\0\xff\r\n", 4));
  EXPECT_EQ(stored[1].payload, "");
  EXPECT_TRUE(stored[0].headers.empty());
}

}  // namespace
}  // namespace penstock::fakes
