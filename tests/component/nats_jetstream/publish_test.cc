// What the sink sends, and what it makes of the answers of a server that works.
#include "fixture.h"

namespace penstock::fakes {
namespace {

TEST(NatsJetStreamPublish, DeliversWhatTheStreamAcknowledges) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  std::vector<FakeMessage> batch;
  for (int i = 0; i < 1000; ++i)
    batch.push_back(Message("t.a", "event " + std::to_string(i), "id-" + std::to_string(i)));
  run.sink.Submit(std::move(batch));
  ASSERT_TRUE(run.host.WaitReceipts(1000));

  EXPECT_EQ(run.host.count(PENSTOCK_DELIVERED), 1000u);
  EXPECT_LT(run.host.complete_calls(), 900u) << "receipts come in batches";
  const std::vector<Stored> stored = bus.Read("S");
  ASSERT_EQ(stored.size(), 1000u);
  for (size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(stored[i].subject, "t.a");
    EXPECT_EQ(stored[i].payload, "event " + std::to_string(i));
    EXPECT_EQ(stored[i].headers.at("Nats-Msg-Id"), "id-" + std::to_string(i));
    EXPECT_EQ(stored[i].headers.size(), 1u);
  }
}

TEST(NatsJetStreamPublish, SendsNoHeadersWhenThereAreNone) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  run.Send(Message("t.a", std::string("\0\xff\r\n", 4)));
  run.Send(Message("t.a", ""));
  const std::vector<Stored> stored = bus.Read("S");
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[0].payload, std::string("\0\xff\r\n", 4));
  EXPECT_EQ(stored[1].payload, "");
  EXPECT_TRUE(stored[0].headers.empty());
}

TEST(NatsJetStreamPublish, SendsAttributesAsCloudEventsHeaders) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"format", "cloudevents-binary"}}));
  FakeMessage message = Message("t.a", "{}", "id-1");
  message.content_type = "application/json; charset=utf-8";
  message.attributes = {{"id", "id-1"}, {"source", "/o r\"d%e\xe2\x82\xac"}};
  message.headers = {{"X-Team", "red, blue"}};
  EXPECT_EQ(run.Send(message).outcome, PENSTOCK_DELIVERED);
  const std::vector<Stored> stored = bus.Read("S");
  ASSERT_EQ(stored.size(), 1u);
  const std::map<std::string, std::string> expected = {
      {"Nats-Msg-Id", "id-1"},
      {"X-Team", "red, blue"},
      {"ce-id", "id-1"},
      {"ce-source", "/o%20r%22d%25e%E2%82%AC"},
      {"content-type", "application/json; charset=utf-8"}};
  EXPECT_EQ(stored[0].headers, expected);
  EXPECT_EQ(stored[0].payload, "{}");
}

TEST(NatsJetStreamPublish, RejectsWhatNoServerTakes) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  for (const char* subject : {"", ".", "t.", ".t", "t..a", "t.*", "t.>", "t a", "t\r\nPUB x 0",
                              "$JS.API.STREAM.DELETE.S", "$SYS.x"}) {
    const FakeReceipt receipt = run.Send(Message(subject, "x", "1"));
    EXPECT_EQ(receipt.outcome, PENSTOCK_REJECTED) << subject;
    EXPECT_NE(receipt.reason.find("no subject"), std::string::npos) << receipt.reason;
  }
  FakeMessage message = Message("t.a", "x", "1");
  message.headers = {{"X", "a\r\nNats-Rollup: all"}};
  EXPECT_EQ(run.Send(message).outcome, PENSTOCK_REJECTED);
  message.headers = {{"X:Y", "a"}};
  EXPECT_EQ(run.Send(message).outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(run.Send(Message("t.a", "x", "a\nb")).outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(bus.Count("S"), 0u);
  EXPECT_EQ(run.Send(Message("t.a", "x", "1")).outcome, PENSTOCK_DELIVERED);
}

TEST(NatsJetStreamPublish, RejectsWhatIsLargerThanMaxPayload) {
  NatsServer server("max_payload: 1000");
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server));
  EXPECT_EQ(run.Send(Message("t.a", std::string(1000, 'x'))).outcome, PENSTOCK_DELIVERED);
  const FakeReceipt alone = run.Send(Message("t.a", std::string(1001, 'x')));
  EXPECT_EQ(alone.outcome, PENSTOCK_REJECTED);
  EXPECT_NE(alone.reason.find("max_payload of 1000"), std::string::npos) << alone.reason;
  // The header counts too.
  EXPECT_EQ(run.Send(Message("t.a", std::string(1000, 'x'), "1")).outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(run.Send(Message("t.a", "x", "2")).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(bus.Count("S"), 2u);
}

TEST(NatsJetStreamPublish, RejectsWhatTheStreamWillNeverTake) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>", [](jsStreamConfig* config) { config->MaxMsgSize = 100; });
  Running run(With(server));
  const FakeReceipt large = run.Send(Message("t.a", std::string(200, 'x')));
  EXPECT_EQ(large.outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(large.code, 10054) << large.reason;
  bus.UpdateStream("S", [](jsStreamConfig* config) { config->Sealed = true; });
  const FakeReceipt sealed = run.Send(Message("t.a", "x"));
  EXPECT_EQ(sealed.outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(sealed.code, 10109) << sealed.reason;
}

TEST(NatsJetStreamPublish, SendsAgainWhenJetStreamIsOff) {
  NatsServer server("", false);
  Running run(With(server));
  const FakeReceipt receipt = run.Send(Message("t.a", "x", "1"));
  EXPECT_EQ(receipt.outcome, PENSTOCK_RETRY);
  EXPECT_EQ(receipt.code, 503);
}

TEST(NatsJetStreamPublish, DoesNotTakeAStrangersReplyForAnAcknowledgement) {
  NatsServer server;
  Bus bus(server.url());
  natsSubscription* stranger = nullptr;
  ASSERT_EQ(natsConnection_Subscribe(
                &stranger, bus.nc(), "t.a",
                [](natsConnection* nc, natsSubscription*, natsMsg* msg, void*) {
                  natsConnection_PublishString(nc, natsMsg_GetReply(msg), "thanks");
                  natsMsg_Destroy(msg);
                },
                nullptr),
            NATS_OK);
  ASSERT_EQ(natsConnection_Flush(bus.nc()), NATS_OK);
  Running run(With(server));
  const FakeReceipt receipt = run.Send(Message("t.a", "x", "1"));
  EXPECT_EQ(receipt.outcome, PENSTOCK_RETRY);
  EXPECT_NE(receipt.reason.find("something else listens"), std::string::npos) << receipt.reason;
  natsSubscription_Destroy(stranger);
}

TEST(NatsJetStreamPublish, SendsAgainWhenTheStreamIsFull) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>", [](jsStreamConfig* config) {
    config->MaxMsgs = 2;
    config->Discard = js_DiscardNew;
  });
  Running run(With(server));
  EXPECT_EQ(run.Send(Message("t.a", "1", "1")).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(run.Send(Message("t.a", "2", "2")).outcome, PENSTOCK_DELIVERED);
  const FakeReceipt full = run.Send(Message("t.a", "3", "3"));
  EXPECT_EQ(full.outcome, PENSTOCK_RETRY);
  EXPECT_EQ(full.code, 10077) << full.reason;
  bus.Purge("S");
  EXPECT_EQ(run.Send(Message("t.a", "3", "3")).outcome, PENSTOCK_DELIVERED);
}

TEST(NatsJetStreamPublish, HoldsBackAtItsWindowOfEvents) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"max_in_flight.events", 4}}));
  server.Freeze();
  std::vector<FakeMessage> ten;
  for (int i = 0; i < 10; ++i) ten.push_back(Message("t.a", "x"));
  std::vector<FakeMessage> rest;
  EXPECT_EQ(run.sink.TrySubmit(std::move(ten), 0, 0, &rest).size(), 4u);
  EXPECT_EQ(rest.size(), 6u);
  EXPECT_EQ(run.host.ready_calls(), 0u);
  server.Thaw();
  ASSERT_TRUE(run.host.WaitReady(1));
  run.sink.Submit(std::move(rest));
  ASSERT_TRUE(run.host.WaitReceipts(10));
  EXPECT_EQ(run.host.count(PENSTOCK_DELIVERED), 10u);
}

TEST(NatsJetStreamPublish, HoldsBackAtItsWindowOfBytes) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>");
  Running run(With(server, {{"max_in_flight.bytes", 2500}}));
  server.Freeze();
  std::vector<FakeMessage> five;
  for (int i = 0; i < 5; ++i) five.push_back(Message("t.a", std::string(1000, 'x')));
  std::vector<FakeMessage> rest;
  EXPECT_EQ(run.sink.TrySubmit(std::move(five), 0, 0, &rest).size(), 3u)
      << "like the host's own window it may be exceeded by one message";
  server.Thaw();
  run.sink.Submit(std::move(rest));
  ASSERT_TRUE(run.host.WaitReceipts(5));
  // One that is larger than the window goes alone.
  EXPECT_EQ(run.Send(Message("t.a", std::string(5000, 'x'))).outcome, PENSTOCK_DELIVERED);
}

TEST(NatsJetStreamStream, CreatesOneThatPushesBack) {
  NatsServer server;
  Bus bus(server.url());
  const Values values = With(server, {{"stream.name", "S"},
                                      {"stream.create", true},
                                      {"stream.subjects", List{"t.>", "u.*"}},
                                      {"stream.storage", "memory"},
                                      {"stream.max_bytes", 1 << 20},
                                      {"stream.duplicates", seconds(30)}});
  Running run(values);
  bool seen = bus.Look("S", [](const jsStreamInfo& info) {
    const jsStreamConfig& config = *info.Config;
    EXPECT_EQ(config.SubjectsLen, 2);
    EXPECT_STREQ(config.Subjects[0], "t.>");
    EXPECT_EQ(config.Storage, js_MemoryStorage);
    EXPECT_EQ(config.MaxBytes, 1 << 20);
    EXPECT_EQ(config.Discard, js_DiscardNew);
    EXPECT_EQ(config.Duplicates, std::chrono::nanoseconds(seconds(30)).count());
    EXPECT_EQ(config.Replicas, 1);
  });
  EXPECT_TRUE(seen);
  EXPECT_TRUE(run.host.WaitText("created stream S"));
  EXPECT_EQ(run.Send(Message("t.a", "x", "1")).outcome, PENSTOCK_DELIVERED);
}

// What preset = "argo" gives, on a server alone.
Values ArgosStream(int64_t replicas) {
  return {{"stream.name", "default"},
          {"stream.create", true},
          {"stream.subjects", List{"default.*.*"}},
          {"stream.replicas", replicas},
          {"stream.max_messages", 50000},
          {"stream.max_age", std::chrono::hours(168)},
          {"stream.discard", "old"},
          {"stream.duplicates", seconds(300)}};
}

TEST(NatsJetStreamStream, CreatesTheOneOfArgoEvents) {
  NatsServer server;
  Bus bus(server.url());
  Running run(With(server, ArgosStream(1)));
  const bool seen = bus.Look("default", [](const jsStreamInfo& info) {
    const jsStreamConfig& config = *info.Config;
    EXPECT_STREQ(config.Subjects[0], "default.*.*");
    EXPECT_EQ(config.Storage, js_FileStorage);
    EXPECT_EQ(config.Retention, js_LimitsPolicy);
    EXPECT_EQ(config.Discard, js_DiscardOld);
    EXPECT_EQ(config.MaxMsgs, 50000);
    EXPECT_EQ(config.MaxBytes, -1);
    EXPECT_EQ(config.MaxAge, std::chrono::nanoseconds(std::chrono::hours(168)).count());
    EXPECT_EQ(config.Duplicates, std::chrono::nanoseconds(seconds(300)).count());
  });
  EXPECT_TRUE(seen);
  EXPECT_EQ(run.Send(Message("default.es.ev", "x", "1")).outcome, PENSTOCK_DELIVERED);
}

TEST(NatsJetStreamStream, SaysWhatToWriteWhenAServerAloneCannotReplicate) {
  NatsServer server;
  Running run(With(server, ArgosStream(3)), false);
  EXPECT_TRUE(run.host.WaitText("write stream = { replicas = 1 }"));
  EXPECT_EQ(run.host.states().back().first, PENSTOCK_STATE_CONNECTING);
}

TEST(NatsJetStreamStream, LeavesOneThatExistsAndNamesTheDifferences) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>", [](jsStreamConfig* config) { config->MaxMsgs = 7; });
  Running run(With(server, {{"stream.name", "S"},
                            {"stream.create", true},
                            {"stream.subjects", List{"t.>"}},
                            {"stream.max_age", seconds(150)}}));
  EXPECT_TRUE(run.host.WaitText("discard is old, configured is new"));
  EXPECT_TRUE(run.host.WaitText("max_messages is 7, configured is unlimited"));
  EXPECT_TRUE(run.host.WaitText("max_age is unlimited, configured is 150s"));
  EXPECT_FALSE(run.host.HasText("subjects is"));
  bus.Look("S", [](const jsStreamInfo& info) { EXPECT_EQ(info.Config->Discard, js_DiscardOld); });
}

TEST(NatsJetStreamStream, WarnsOfOneThatDeletesWhatNobodyHasRead) {
  NatsServer server;
  Bus bus(server.url());
  bus.AddStream("S", "t.>", [](jsStreamConfig* config) { config->MaxMsgs = 7; });
  bus.AddStream("N", "n.>", [](jsStreamConfig* config) {
    config->MaxMsgs = 7;
    config->Discard = js_DiscardNew;
  });
  Running old(With(server, {{"stream.name", "S"}})), fresh(With(server, {{"stream.name", "N"}}));
  EXPECT_TRUE(old.host.WaitText("discard = old, so when it has 7 messages the server deletes"));
  EXPECT_FALSE(fresh.host.HasText("events can be lost"));
}

TEST(NatsJetStreamStream, WarnsOfOneThatIsMissing) {
  NatsServer server;
  Running run(With(server, {{"stream.name", "S"}}));
  EXPECT_TRUE(run.host.WaitText("there is no stream S"));
}

TEST(NatsJetStreamStream, IsNotReadyBeforeItCanBeCreated) {
  NatsServer server("", false);
  Running run(
      With(server,
           {{"stream.name", "S"}, {"stream.create", true}, {"stream.subjects", List{"t.>"}}}),
      false);
  ASSERT_TRUE(run.host.WaitText("stream S"));
  EXPECT_EQ(run.host.states().back().first, PENSTOCK_STATE_CONNECTING);
  server.Stop();
  // The same server, with JetStream.
  server.SetConfig("jetstream { store_dir: \"" + server.store() + "\" }");
  server.Start();
  ASSERT_TRUE(run.host.WaitState(PENSTOCK_STATE_READY));
  EXPECT_EQ(run.Send(Message("t.a", "x", "1")).outcome, PENSTOCK_DELIVERED);
}

TEST(NatsJetStreamCheck, FindsWhatCannotWork) {
  const auto texts = [](Values values) {
    values.insert({"servers", List{"nats://h:4222"}});
    std::string all;
    for (const FakeFinding& finding : Check(Plugin(), values))
      all += std::to_string(finding.severity) + " " + finding.option + ": " + finding.text + "\n";
    return all;
  };
  EXPECT_EQ(texts({}), "");
  const auto finds = [&](const Values& values, const std::string& words) {
    EXPECT_NE(texts(values).find(words), std::string::npos) << words << "\n" << texts(values);
  };
  finds({{"servers", List{"http://h"}}}, "2 servers: \"http://h\" has an unknown scheme");
  finds({{"servers", List{"nats://u:p@h"}}}, "2 servers: a server's address must not hold");
  finds({{"user", "u"}}, "2 user: user needs a password");
  finds({{"password", "env:P"}}, "2 password: password needs a user");
  finds({{"token", "env:T"}, {"creds_file", "/c"}}, "2 : more than one way to authenticate");
  finds({{"tls.cert_file", "/c"}}, "2 tls.cert_file: tls.cert_file and tls.key_file");
  finds({{"tls.insecure_skip_verify", true}}, "1 tls.insecure_skip_verify:");
  finds({{"stream.name", "a.b"}}, "2 stream.name:");
  finds({{"stream.create", true}}, "2 stream.create: stream.create needs stream.name");
  finds({{"stream.create", true}, {"stream.name", "S"}}, "needs stream.subjects");
  Values made = {{"stream.create", true}, {"stream.name", "S"}, {"stream.subjects", List{"t.>"}}};
  EXPECT_EQ(texts(made), "");
  const auto with = [&](Values more) {
    more.insert(made.begin(), made.end());
    return more;
  };
  EXPECT_EQ(texts(with({{"stream.discard", "old"}})), "") << "nothing bounds it";
  EXPECT_EQ(texts(with({{"stream.max_messages", 5}})), "") << "it refuses what has no room";
  finds(with({{"stream.discard", "old"}, {"stream.max_messages", 5}}),
        "1 stream.discard: EVENTS CAN BE LOST: when the stream has 5 messages, ");
  finds(with({{"stream.discard", "old"}, {"stream.max_messages", 5}, {"stream.max_bytes", 9}}),
        "5 messages or 9 bytes");
  finds(with({{"stream.max_age", std::chrono::hours(1)}}), "0 stream.max_age: the stream deletes");
  finds(with({{"stream.max_age", milliseconds(50)}}), "2 stream.max_age:");
  finds(with({{"stream.max_age", seconds(60)}}), "2 stream.duplicates: ");
  finds({{"msg_id", ""}}, "0 msg_id: without msg_id");
  finds({{"max_in_flight.events", 2000000}}, "2 max_in_flight.events:");
}

}  // namespace
}  // namespace penstock::fakes
