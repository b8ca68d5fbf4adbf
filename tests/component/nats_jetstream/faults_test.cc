// What the sink does when the server is away, frozen, killed or unwilling.
#include <algorithm>
#include <thread>

#include "fixture.h"
#include "silent_server.h"

namespace penstock::fakes {
namespace {

using Clock = std::chrono::steady_clock;

TEST(NatsJetStreamFaults, WaitsForAServerThatIsAway) {
  NatsServer server;
  server.Stop();
  Running run(With(server), false);
  ASSERT_TRUE(run.host.WaitText("cannot connect to " + server.url()));
  server.Start();
  ASSERT_TRUE(run.host.WaitState(PENSTOCK_STATE_READY));
}

TEST(NatsJetStreamFaults, UsesAnotherServerWhenTheFirstIsAway) {
  NatsServer away, server;
  away.Stop();
  Running run({{"servers", List{away.url(), server.url()}}});
  EXPECT_TRUE(run.host.HasText("connected to " + server.url()));
}

std::string ClusterOf(int port, int other) {
  const auto at = [](int p) { return "127.0.0.1:" + std::to_string(p); };
  return "cluster { name: c, listen: \"" + at(port) + "\", routes: [\"nats://" + at(other) +
         "\"] }";
}

TEST(NatsJetStreamFaults, RemembersTheClustersOtherServers) {
  const int a_port = FreePort(), b_port = FreePort();
  NatsServer a(ClusterOf(a_port, b_port), false), b(ClusterOf(b_port, a_port), false);
  {
    Bus bus(a.url());
    char** urls = nullptr;
    int n = 0;
    while (natsConnection_GetDiscoveredServers(bus.nc(), &urls, &n) == NATS_OK && n == 0)
      std::this_thread::sleep_for(milliseconds(5));  // polls another process
    for (int i = 0; i < n; ++i) std::free(urls[i]);
    std::free(urls);
  }
  Running run(With(a));
  for (int outage = 0; outage < 2; ++outage) {  // the second time it was given b from the start
    const size_t before = run.host.states().size();
    a.Kill();
    b.Kill();
    ASSERT_TRUE(run.host.WaitStates(before + 2));  // lost, and an attempt that failed
    b.Start();
    ASSERT_TRUE(run.host.WaitState(PENSTOCK_STATE_READY));
    EXPECT_TRUE(run.host.HasText("connected to " + b.url()));
  }
}

TEST(NatsJetStreamFaults, SaysUnknownWhenNoAcknowledgementComes) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"ack_timeout", milliseconds(300)}}));
  server.Freeze();
  const auto before = Clock::now();
  std::vector<FakeMessage> batch;
  // More than socket buffers hold: neither submit nor anything else may wait for the server.
  for (int i = 0; i < 200; ++i)
    batch.push_back(Message("t.a", std::string(60000, 'x'), std::to_string(i)));
  run.sink.Submit(std::move(batch));
  EXPECT_LT(Clock::now() - before, seconds(4));
  ASSERT_TRUE(run.host.WaitReceipts(1));
  EXPECT_GE(Clock::now() - before, milliseconds(290));
  EXPECT_EQ(run.host.receipts()[0].outcome, PENSTOCK_UNKNOWN);
  EXPECT_NE(run.host.receipts()[0].reason.find("300ms"), std::string::npos);
  server.Thaw();
  ASSERT_TRUE(run.host.WaitSettled());
  // Whatever was published arrives all the same, and its late acknowledgement is no receipt.
  EXPECT_EQ(run.Send(Message("t.a", "last", "last")).outcome, PENSTOCK_DELIVERED);
  EXPECT_GT(run.host.metric("late_answers_total"), 0u);
}

// A subscriber in the stream's place: the test says when it acknowledges.
TEST(NatsJetStreamFaults, IgnoresTheLateAcknowledgementOfWhatWasCancelled) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  natsSubscription* stream = nullptr;
  ASSERT_EQ(natsConnection_SubscribeSync(&stream, bus.nc(), "mine"), NATS_OK);
  ASSERT_EQ(natsConnection_Flush(bus.nc()), NATS_OK);
  Running run(With(server, {{"ack_timeout", seconds(60)}}));
  const uint64_t token = run.sink.Submit(Message("mine", "x", "1"));
  natsMsg* msg = nullptr;
  ASSERT_EQ(natsSubscription_NextMsg(&msg, stream, 10000), NATS_OK);
  run.sink.Cancel({token});
  ASSERT_TRUE(run.host.WaitReceipts(1));
  EXPECT_EQ(run.host.receipt(token).outcome, PENSTOCK_UNKNOWN);
  natsConnection_PublishString(bus.nc(), natsMsg_GetReply(msg), R"({"stream":"S","seq":1})");
  natsConnection_Flush(bus.nc());
  // The answer to this one comes after the late one.
  EXPECT_EQ(run.Send(Message("t.a", "x", "2")).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(run.host.metric("late_answers_total"), 1u);
  natsMsg_Destroy(msg);
  natsSubscription_Destroy(stream);
}

// A token is used again for the event's next attempt, and the loop sees both at once.
TEST(NatsJetStreamFaults, CancelsOnlyWhatWasSubmittedBefore) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  uint64_t token = 0;
  for (int i = 0; i < 500; ++i) {
    run.sink.Cancel({token + 1});
    token = run.sink.Submit(Message("t.a", "x"));
  }
  ASSERT_TRUE(run.host.WaitReceipts(500));
  EXPECT_EQ(run.host.count(PENSTOCK_DELIVERED), 500u);
}

TEST(NatsJetStreamFaults, ReportsAnOutageInFewLines) {
  NatsServer server;
  Running run(With(server));
  server.Kill();
  ASSERT_TRUE(run.host.WaitText("cannot connect to"));
  // Several attempts: the server is only back after a while.
  std::this_thread::sleep_for(milliseconds(1200));
  server.Start();
  ASSERT_TRUE(run.host.WaitState(PENSTOCK_STATE_READY));
  const auto states = run.host.states();
  EXPECT_LE(states.size(), 5u);  // connecting, ready, lost, refused, ready
  EXPECT_TRUE(run.host.logs().empty());
  EXPECT_EQ(run.host.metric("connects_total"), 2u);
}

TEST(NatsJetStreamFaults, LosesAndDoublesNothingWhenTheServerIsKilledUnderLoad) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"ack_timeout", seconds(2)}}));
  constexpr size_t kEvents = 6000;
  Driver driver(run, "t.a", kEvents, false);
  for (const size_t mark : {1000u, 2500u, 4000u}) {
    ASSERT_TRUE(driver.RunUntil(mark));
    server.Kill();
    server.Start();
  }
  ASSERT_TRUE(driver.Finish());
  std::vector<std::string> payloads = bus.Payloads("S");
  EXPECT_EQ(payloads.size(), kEvents);
  std::sort(payloads.begin(), payloads.end());
  EXPECT_EQ(std::unique(payloads.begin(), payloads.end()), payloads.end());
}

TEST(NatsJetStreamFaults, EndsSoonWithAFrozenServer) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  server.Freeze();
  for (int i = 0; i < 50; ++i) run.sink.Submit(Message("t.a", std::string(60000, 'x')));
  const auto before = Clock::now();
  run.sink.Destroy();
  EXPECT_LT(Clock::now() - before, seconds(4));
  EXPECT_EQ(run.host.count(PENSTOCK_DELIVERED), 0u);
}

TEST(NatsJetStreamFaults, EndsSoonWhileConnectingToAFrozenServer) {
  NatsServer server;
  server.Freeze();
  Running run(With(server), false);
  ASSERT_TRUE(run.host.WaitState(PENSTOCK_STATE_CONNECTING));
  const auto before = Clock::now();
  run.sink.Destroy();
  EXPECT_LT(Clock::now() - before, seconds(4));
  server.Kill();
}

TEST(NatsJetStreamFaults, EndsSoonInTheMiddleOfATlsHandshake) {
  const size_t threads = ThreadsOfNats();
  {
    SilentServer server;  // its end ends the thread that was left behind
    Running run({{"servers", List{server.url()}}}, false);
    ASSERT_TRUE(server.Accept(seconds(10)));
    ASSERT_TRUE(server.Hears(seconds(10)));
    const auto before = Clock::now();
    run.sink.Destroy();
    EXPECT_LT(Clock::now() - before, seconds(4));
  }
  // It must be gone before OpenSSL cleans up at the end of the process.
  WaitThreads(threads, seconds(10));
}

TEST(NatsJetStreamFaults, EndsATlsHandshakeInWhichTheServerFallsSilent) {
  const size_t threads = ThreadsOfNats();
  SilentServer server;
  {
    Running run({{"servers", List{server.url()}}}, false);
    ASSERT_TRUE(server.Accept(seconds(10)));
    EXPECT_TRUE(server.Accept(seconds(10))) << "no second attempt";
#if NATS_VERSION_NUMBER < 0x030B00
    EXPECT_TRUE(run.host.HasText("says nothing in the TLS handshake for 5s"));
#endif
  }
  // The second one's thread ends by itself, too.
  EXPECT_TRUE(WaitThreads(threads, seconds(10)));
}

TEST(NatsJetStreamFaults, CanBeStoppedTwiceAndBeforeStart) {
  NatsServer server;
  FakeSinkHost host;
  FakeSink sink(host, Plugin(), With(server));
  sink.Stop();
  sink.Stop();
}

TEST(NatsJetStreamFaults, RejectsWhatTheUserMayNotPublish) {
  NatsServer server(R"(
authorization { users = [
  { user: "w", password: "p", permissions: {
      publish: { deny: ["t.secret"] } } }
  { user: "admin", password: "p" } ] })");
  Bus bus(server.url(), [](natsOptions* o) { natsOptions_SetUserInfo(o, "admin", "p"); });
  bus.AddStream("S", "t.>");
  FakeSinkHost host;
  host.SetSecret("env:P", "p");
  FakeSink sink(host, Plugin(),
                With(server, {{"user", "w"}, {"password", "env:P"}, {"ack_timeout", seconds(30)}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  const uint64_t denied = sink.Submit(Message("t.secret", "x", "1"));
  const uint64_t allowed = sink.Submit(Message("t.open", "x", "2"));
  ASSERT_TRUE(host.WaitReceipts(2));
  EXPECT_EQ(host.receipt(denied).outcome, PENSTOCK_REJECTED);
  EXPECT_NE(host.receipt(denied).reason.find("t.secret"), std::string::npos);
  EXPECT_EQ(host.receipt(allowed).outcome, PENSTOCK_DELIVERED);
}

TEST(NatsJetStreamFaults, SaysThatAcknowledgementsCannotBeReceived) {
  NatsServer server(R"(
authorization { users = [
  { user: "w", password: "p", permissions: { subscribe: { deny: ["_INBOX.>"] } } } ] })");
  FakeSinkHost host;
  host.SetSecret("env:P", "p");
  FakeSink sink(host, Plugin(), With(server, {{"user", "w"}, {"password", "env:P"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitText("does not let this user receive acknowledgements"));
  EXPECT_FALSE(host.WaitState(PENSTOCK_STATE_READY, milliseconds(300)));
}

}  // namespace
}  // namespace penstock::fakes
