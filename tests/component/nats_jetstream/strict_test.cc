// Strict order: what the stream takes is always a prefix, and a lane never stalls.
#include "fixture.h"

namespace penstock::fakes {
namespace {

std::vector<std::string> Expected(size_t n) {
  std::vector<std::string> all;
  for (size_t i = 0; i < n; ++i) all.push_back(Driver::Payload(i));
  return all;
}

constexpr uint32_t kStrict = PENSTOCK_BATCH_STRICT;
constexpr uint32_t kResume = PENSTOCK_BATCH_STRICT | PENSTOCK_BATCH_RESUME;

TEST(NatsJetStreamStrict, NamesThePredecessorOfEachMessage) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  for (const char* id : {"a", "b", "c"}) run.Send(Message("t.a", id, id), 0, kStrict);
  const std::vector<Stored> stored = bus.Read("S");
  ASSERT_EQ(stored.size(), 3u);
  EXPECT_EQ(stored[0].headers.count("Nats-Expected-Last-Msg-Id"), 0u);
  EXPECT_EQ(stored[1].headers.at("Nats-Expected-Last-Msg-Id"), "a");
  EXPECT_EQ(stored[2].headers.at("Nats-Expected-Last-Msg-Id"), "b");
}

TEST(NatsJetStreamStrict, GoesOnInAStreamThatWasMadeAnew) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  Driver driver(run, "t.a", 600, true);
  ASSERT_TRUE(driver.RunUntil(200, 50));
  bus.DeleteStream("S");
  EXPECT_FALSE(driver.RunUntil(600, 50, seconds(1))) << "no stream takes them";
  const size_t before = driver.delivered();
  bus.AddStream("S", "t.>");
  ASSERT_TRUE(driver.Finish());
  std::vector<std::string> expected = Expected(600);
  expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(before));
  EXPECT_EQ(bus.Payloads("S"), expected);
}

TEST(NatsJetStreamStrict, KeepsOrderThroughKillsOfTheServer) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"ack_timeout", seconds(2)}}));
  constexpr size_t kEvents = 4000;
  Driver driver(run, "t.a", kEvents, true);
  for (const size_t mark : {700u, 1800u, 2900u}) {
    ASSERT_TRUE(driver.RunUntil(mark));
    server.Kill();
    server.Start();
  }
  ASSERT_TRUE(driver.Finish());
  EXPECT_EQ(bus.Payloads("S"), Expected(kEvents));
}

TEST(NatsJetStreamStrict, KeepsOrderWhenAcknowledgementsAreLate) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"ack_timeout", milliseconds(200)}}));
  Driver driver(run, "t.a", 1500, true);
  for (const size_t mark : {300u, 700u, 1100u}) {
    ASSERT_TRUE(driver.RunUntil(mark));
    server.Freeze();
    EXPECT_FALSE(driver.RunUntil(1500, 200, seconds(1)));
    server.Thaw();
  }
  ASSERT_TRUE(driver.Finish());
  EXPECT_EQ(bus.Payloads("S"), Expected(1500));
}

TEST(NatsJetStreamStrict, KeepsOrderThroughAFullStream) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>", [](jsStreamConfig* config) {
    config->MaxMsgs = 130;
    config->Discard = js_DiscardNew;
  });
  Running run(With(server));
  Driver driver(run, "t.a", 500, true);
  std::vector<std::string> all;
  while (driver.delivered() < 500) {
    driver.RunUntil(500, 100, seconds(1));
    for (std::string& payload : bus.Payloads("S")) all.push_back(std::move(payload));
    bus.Purge("S");
  }
  EXPECT_EQ(all, Expected(500));
}

TEST(NatsJetStreamStrict, NamesTheReasonWhenTheChainBreaksInMidWindow) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  EXPECT_EQ(run.Send(Message("t.a", "0", "0"), 0, kStrict).outcome, PENSTOCK_DELIVERED);
  bus.Publish("t.other", "other");
  std::vector<FakeMessage> batch;
  for (const char* id : {"1", "2", "3"}) batch.push_back(Message("t.a", id, id));
  const std::vector<uint64_t> tokens = run.sink.Submit(std::move(batch), 0, kStrict);
  ASSERT_TRUE(run.host.WaitReceipts(4));
  EXPECT_EQ(run.host.receipt(tokens[0]).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(run.host.receipt(tokens[1]).outcome, PENSTOCK_RETRY);
  EXPECT_EQ(run.host.receipt(tokens[1]).flags, 0u) << "a lane of followers alone has no reason";
  EXPECT_EQ(run.host.receipt(tokens[2]).outcome, PENSTOCK_RETRY);
  EXPECT_EQ(run.host.receipt(tokens[2]).flags, static_cast<uint32_t>(PENSTOCK_RECEIPT_FOLLOWER));
  EXPECT_EQ(run.host.metric("chain_breaks_total"), 1u);
}

TEST(NatsJetStreamStrict, GoesOneAtATimeBesideAnotherWriter) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  Driver driver(run, "t.a", 400, true);
  for (size_t mark = 20; mark <= 200; mark += 20) {
    ASSERT_TRUE(driver.RunUntil(mark, 50));
    bus.Publish("t.other", "other");
  }
  ASSERT_TRUE(driver.Finish());
  EXPECT_TRUE(run.host.HasText("somebody else writes into the same stream"));
  std::vector<std::string> ours;
  for (const Stored& stored : bus.Read("S"))
    if (stored.subject == "t.a") ours.push_back(stored.payload);
  EXPECT_EQ(ours, Expected(400));
}

TEST(NatsJetStreamStrict, GoesOneAtATimeWithoutIds) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>", [](jsStreamConfig* config) {
    config->MaxMsgs = 3;
    config->Discard = js_DiscardNew;
  });
  Running run(With(server, {{"msg_id", ""}}));
  std::vector<FakeMessage> batch;
  for (int i = 0; i < 6; ++i) batch.push_back(Message("t.a", std::to_string(i)));
  const std::vector<uint64_t> tokens = run.sink.Submit(std::move(batch), 0, kStrict);
  ASSERT_TRUE(run.host.WaitReceipts(6));
  EXPECT_EQ(run.host.receipt(tokens[2]).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(run.host.receipt(tokens[3]).code, 10077);
  EXPECT_EQ(run.host.receipt(tokens[5]).flags, static_cast<uint32_t>(PENSTOCK_RECEIPT_FOLLOWER));
  EXPECT_EQ(bus.Payloads("S"), (std::vector<std::string>{"0", "1", "2"}));
}

TEST(NatsJetStreamStrict, StopsBehindOneThatIsRejected) {
  NatsServer server("max_payload: 1000");
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  std::vector<FakeMessage> batch;
  batch.push_back(Message("t.a", "0", "0"));
  batch.push_back(Message("t.a", std::string(2000, 'x'), "1"));
  batch.push_back(Message("t.a", "2", "2"));
  const std::vector<uint64_t> tokens = run.sink.Submit(std::move(batch), 0, kStrict);
  ASSERT_TRUE(run.host.WaitReceipts(3));
  EXPECT_EQ(run.host.receipt(tokens[0]).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(run.host.receipt(tokens[1]).outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(run.host.receipt(tokens[2]).flags, static_cast<uint32_t>(PENSTOCK_RECEIPT_FOLLOWER));
  EXPECT_EQ(run.Send(Message("t.a", "2", "2"), 0, kResume).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(bus.Payloads("S"), (std::vector<std::string>{"0", "2"}));
  EXPECT_EQ(run.host.metric("chain_breaks_total"), 0u);
}

// The lane is resumed by a message that has not left yet: it must not open the lane again for those
// behind the cancelled one.
TEST(NatsJetStreamStrict, LeavesNoGapWhereOneIsCancelledBeforeItWasSent) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"max_in_flight.bytes", 64 << 20}}));
  EXPECT_EQ(run.Send(Message("none.a", "0", "0"), 0, kStrict).outcome, PENSTOCK_RETRY);
  server.Freeze();
  std::vector<FakeMessage> fill, batch;
  for (int i = 0; i < 40; ++i) fill.push_back(Message("t.b", std::string(1000000, 'x')));
  run.sink.Submit(std::move(fill), 1, 0);
  for (const char* id : {"1", "2", "3", "4"}) batch.push_back(Message("t.a", id, id));
  const std::vector<uint64_t> tokens = run.sink.Submit(std::move(batch), 0, kResume);
  run.sink.Cancel({tokens[2]});
  ASSERT_TRUE(run.host.WaitReceipts(5));
  std::vector<uint32_t> flags;
  for (const uint64_t token : tokens) {
    EXPECT_EQ(run.host.receipt(token).outcome, PENSTOCK_RETRY);
    flags.push_back(run.host.receipt(token).flags);
  }
  EXPECT_EQ(flags, (std::vector<uint32_t>{0, 0, 0, PENSTOCK_RECEIPT_FOLLOWER}));
  server.Thaw();
  ASSERT_TRUE(run.host.WaitSettled());
  EXPECT_EQ(run.Send(Message("t.a", "1", "1"), 0, kResume).outcome, PENSTOCK_DELIVERED);
  std::vector<std::string> ours;
  for (const Stored& stored : bus.Read("S"))
    if (stored.subject == "t.a") ours.push_back(stored.payload);
  EXPECT_EQ(ours, (std::vector<std::string>{"1"}));
}

// Without ids one is on its way and the others are held back.
TEST(NatsJetStreamStrict, GivesBackWhatIsHeldInSingleFile) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"msg_id", ""}}));
  server.Freeze();
  std::vector<FakeMessage> batch;
  for (int i = 0; i < 4; ++i) batch.push_back(Message("t.a", std::to_string(i)));
  const std::vector<uint64_t> tokens = run.sink.Submit(std::move(batch), 0, kStrict);
  run.sink.Cancel({tokens[2], tokens[3]});
  ASSERT_TRUE(run.host.WaitReceipts(3));
  for (const size_t i : {1u, 2u, 3u}) {
    EXPECT_EQ(run.host.receipt(tokens[i]).outcome, PENSTOCK_RETRY);
    EXPECT_EQ(run.host.receipt(tokens[i]).flags, 0u);
  }
  server.Thaw();
  ASSERT_TRUE(run.host.WaitSettled());
  EXPECT_EQ(run.Send(Message("t.a", "x"), 0, kStrict).outcome, PENSTOCK_RETRY);
}

TEST(NatsJetStreamStrict, DoesNotDisturbRelaxedLanes) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  run.sink.Submit(Message("none.a", "x", "1"), 0, kStrict);
  run.sink.Submit(Message("t.a", "y", "2"), 1, 0);
  ASSERT_TRUE(run.host.WaitReceipts(2));
  EXPECT_EQ(run.host.count(PENSTOCK_DELIVERED), 1u);
}

}  // namespace
}  // namespace penstock::fakes
