// The parts of the sink that need no broker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "batch_bound.h"
#include "client_table.h"
#include "fakes/plugin_host.h"
#include "log_filter.h"
#include "outcome.h"
#include "record.h"
#include "slots.h"
#include "topics.h"

namespace penstock::kafka {
namespace {

using fakes::FakeFinding;
using fakes::Map;
using testing::HasSubstr;
using testing::IsEmpty;

class ClientTable : public testing::Test {
 protected:
  std::vector<FakeFinding> Findings(Map client) {
    client.emplace_back("bootstrap.servers", "localhost:1");
    return fakes::Check(plugin_, {{"topic", "t"}, {"client", client}});
  }
  void ExpectRefused(const std::string& key, const std::string& value, const std::string& words) {
    const auto found = Findings({{key, value}});
    ASSERT_EQ(found.size(), 1u) << key << " = " << value;
    EXPECT_EQ(found[0].severity, PENSTOCK_ERROR);
    EXPECT_EQ(found[0].option, "client/" + key);
    EXPECT_THAT(found[0].text, HasSubstr(words));
  }
  const penstock_plugin& plugin_ = fakes::LoadPlugin(PENSTOCK_SINK_FILE);
};

TEST_F(ClientTable, TakesLibrdkafkasProperties) {
  EXPECT_THAT(Findings({{"compression.type", "zstd"},
                        {"linger.ms", "0"},
                        {"acks", "all"},
                        {"request.required.acks", "-1"},
                        {"enable.idempotence", "true"},
                        {"security.protocol", "sasl_ssl"},
                        {"sasl.mechanism", "PLAIN"},
                        {"sasl.username", "env:KAFKA_USER"},
                        {"sasl.password", "credential:kafka"},
                        {"ssl.key.pem", "file:/etc/key.pem"}}),
              IsEmpty());
}

TEST_F(ClientTable, PassesLibrdkafkasRefusalOn) {
  ExpectRefused("linger.mss", "5", "No such configuration property: \"linger.mss\"");
  ExpectRefused("linger.ms", "soon", "Invalid value for configuration property");
  ExpectRefused("linger.mss", "env:LINGER", "No such configuration property");
}

TEST_F(ClientTable, RefusesWhatWouldBreakAPromise) {
  ExpectRefused("acks", "1", "all in-sync replicas");
  ExpectRefused("request.required.acks", "0", "all in-sync replicas");
  ExpectRefused("enable.idempotence", "false", "repeat and reorder");
  ExpectRefused("message.timeout.ms", "30000", "give events up");
  ExpectRefused("delivery.timeout.ms", "30000", "give events up");
  ExpectRefused("delivery.report.only.error", "true", "report of each event");
  ExpectRefused("transactional.id", "x", "transactions");
  ExpectRefused("plugin.library.paths", "x.so", "no code");
  ExpectRefused("queuing.strategy", "lifo", "order");
  ExpectRefused("max.in.flight", "6", "at most 5");
  ExpectRefused("enable.gapless.guarantee", "true", "order");
}

TEST_F(ClientTable, RefusesLiteralSecretsWithoutShowingThem) {
  for (const char* key : {"sasl.password", "ssl.key.password", "ssl.keystore.password",
                          "ssl.key.pem", "sasl.oauthbearer.client.secret"}) {
    ExpectRefused(key, "hunter2", "credential:NAME");
    EXPECT_THAT(Findings({{key, "hunter2"}})[0].text, testing::Not(HasSubstr("hunter2")));
  }
  ExpectRefused("ssl.key.location", "credential:key", "ssl.key.pem");
}

TEST_F(ClientTable, NeedsServersAndATopicThatCanExist) {
  const auto no_servers = fakes::Check(plugin_, {{"topic", "t"}, {"client", Map{}}});
  ASSERT_EQ(no_servers.size(), 1u);
  EXPECT_EQ(no_servers[0].option, "client");
  EXPECT_THAT(no_servers[0].text, HasSubstr("bootstrap.servers"));
  const Map client = {{"bootstrap.servers", "localhost:1"}};
  const auto bad_topic = fakes::Check(plugin_, {{"topic", "a b"}, {"client", client}});
  ASSERT_EQ(bad_topic.size(), 1u);
  EXPECT_EQ(bad_topic[0].option, "topic");
  EXPECT_THAT(fakes::Check(plugin_, {{"topic", "a.{source}"}, {"client", client}}), IsEmpty());
}

TEST(BatchBytes, AreTheUsersOrTheLibrarys) {
  EXPECT_EQ(BatchBytes({{"batch.size", "5000"}}), 5000u);
  EXPECT_EQ(BatchBytes({{"linger.ms", "5"}}), kLibraryBatch);
}

class Bound : public testing::Test {
 protected:
  void Pass(std::chrono::seconds time) { now_ += time; }
  bool Lower(size_t most) { return bound_.Lower(most, now_); }
  bool Raise(size_t most = SIZE_MAX) { return bound_.Raise(most, now_); }
  // How long it takes until it is larger.
  std::chrono::seconds Waited() {
    std::chrono::seconds waited{0};
    for (; !Raise(); ++waited) Pass(std::chrono::seconds(1));
    return waited;
  }
  BatchBound bound_{1000};
  BatchBound::Time now_{std::chrono::hours(1)};
};

TEST_F(Bound, IsSmallerAtOnceAndLargerInSteps) {
  EXPECT_FALSE(Lower(1000));
  EXPECT_FALSE(Raise()) << "it is as configured";
  EXPECT_TRUE(Lower(50));
  EXPECT_FALSE(Lower(50));
  EXPECT_FALSE(Raise()) << "too early";
  EXPECT_EQ(bound_.bytes(), 50u);
  EXPECT_EQ(Waited(), BatchBound::kFirstWait);
  EXPECT_EQ(bound_.bytes(), 200u);
  EXPECT_EQ(Waited(), BatchBound::kFirstWait);
  EXPECT_EQ(bound_.bytes(), 800u);
  EXPECT_EQ(Waited(), BatchBound::kFirstWait);
  EXPECT_EQ(bound_.bytes(), 1000u);
  EXPECT_FALSE(bound_.RaiseIsDue(now_ + std::chrono::hours(1)));
  EXPECT_TRUE(Lower(0));
  EXPECT_EQ(bound_.bytes(), 1u);
}

TEST_F(Bound, StaysBelowWhatTheTopicsTake) {
  Lower(50);
  Pass(BatchBound::kFirstWait);
  EXPECT_TRUE(Raise(120));
  EXPECT_EQ(bound_.bytes(), 120u);
  Pass(BatchBound::kFirstWait);
  EXPECT_FALSE(Raise(120));
  EXPECT_FALSE(Raise()) << "not before the next time";
  Pass(BatchBound::kFirstWait);
  EXPECT_TRUE(Raise());
}

TEST_F(Bound, WaitsLongerWhereItGrewTooEarly) {
  Lower(10);
  EXPECT_EQ(Waited(), BatchBound::kFirstWait);
  Lower(20);
  Lower(10);  // the same search for what the topic takes
  EXPECT_EQ(Waited(), 2 * BatchBound::kFirstWait);
  for (int i = 0; i < 10; ++i) {
    Lower(10);
    Waited();
  }
  Lower(10);
  EXPECT_EQ(Waited(), BatchBound::kLongestWait);
  Pass(BatchBound::kLongestWait);
  Lower(10);
  EXPECT_EQ(Waited(), BatchBound::kFirstWait) << "it held for long";
}

TEST(Slots, AreBoundedByMessagesAndBytes) {
  const auto of_size = [](uint32_t size) {
    Slot slot;
    slot.size = size;
    return slot;
  };
  Slots slots(3);
  slots.SetMaxBytes(100);
  Slot* large = slots.Take(of_size(500));
  ASSERT_NE(large, nullptr) << "alone it may be larger";
  EXPECT_EQ(slots.Take(of_size(1)), nullptr);
  slots.Give(large);
  Slot* first = slots.Take(of_size(60));
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(slots.Take(of_size(41)), nullptr);
  ASSERT_NE(slots.Take(of_size(20)), nullptr);
  ASSERT_NE(slots.Take(of_size(20)), nullptr);
  EXPECT_EQ(slots.Take(of_size(0)), nullptr) << "three are taken";
  slots.Give(first);
  EXPECT_NE(slots.Take(of_size(60)), nullptr);
}

TEST(MakeConf, LetsTheUsersTableWinOverDefaults) {
  Defaults defaults;
  defaults.instance = "lake";
  defaults.window_events = 100000;
  defaults.batch_bytes = 5000;
  const Conf conf = MakeConf({{"bootstrap.servers", "b:1"}, {"linger.ms", "7"}}, defaults);
  const auto get = [&](const char* key) {
    char value[512] = "";
    size_t size = sizeof value;
    EXPECT_EQ(rd_kafka_conf_get(conf.get(), key, value, &size), RD_KAFKA_CONF_OK) << key;
    return std::string(value);
  };
  EXPECT_EQ(get("client.id"), "penstock-lake");
  EXPECT_EQ(get("linger.ms"), "7");
  EXPECT_EQ(get("batch.size"), "5000");
  EXPECT_EQ(get("partitioner"), "murmur2_random");
  EXPECT_EQ(get("queue.buffering.max.messages"), "200000");
  EXPECT_EQ(get("batch.num.messages"), "10000");
  EXPECT_EQ(get("enable.idempotence"), "true");
  EXPECT_EQ(get("enable.gapless.guarantee"), "false");
  EXPECT_EQ(get("acks"), "-1");
  EXPECT_EQ(get("message.timeout.ms"), "0");
  EXPECT_EQ(get("statistics.interval.ms"), "0");
  EXPECT_EQ(get("socket.nagle.disable"), "true");
}

TEST(TopicName, FollowsKafkasRules) {
  EXPECT_EQ(TopicNameFault("orders.eu-1_x"), "");
  EXPECT_EQ(TopicNameFault(std::string(249, 'a')), "");
  EXPECT_THAT(TopicNameFault(std::string(250, 'a')), HasSubstr("249"));
  EXPECT_THAT(TopicNameFault(""), HasSubstr("empty"));
  EXPECT_THAT(TopicNameFault(".."), HasSubstr("may be called"));
  EXPECT_THAT(TopicNameFault("a/b"), HasSubstr("\"a/b\""));
}

TEST(Outcome, FollowsErrorAndStatus) {
  const auto no = RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
  const auto maybe = RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED;
  EXPECT_EQ(OutcomeOf(RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_MSG_STATUS_PERSISTED),
            PENSTOCK_DELIVERED);
  EXPECT_EQ(OutcomeOf(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, no), PENSTOCK_REJECTED);
  EXPECT_EQ(OutcomeOf(RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, no), PENSTOCK_REJECTED);
  EXPECT_EQ(OutcomeOf(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, no), PENSTOCK_RETRY);
  EXPECT_EQ(OutcomeOf(RD_KAFKA_RESP_ERR__PURGE_QUEUE, no), PENSTOCK_RETRY);
  EXPECT_EQ(OutcomeOf(RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, maybe), PENSTOCK_UNKNOWN);
  EXPECT_EQ(OutcomeOf(RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, maybe), PENSTOCK_UNKNOWN);
}

TEST(Outcome, ExplainsWhatToDo) {
  const std::string text = Explain("orders", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  EXPECT_THAT(text, HasSubstr("topic orders: "));
  EXPECT_THAT(text, HasSubstr("(TOPIC_AUTHORIZATION_FAILED)"));
  EXPECT_THAT(text, HasSubstr("right to write"));
}

TEST(LogFilter, CutsSecretsOutAndLimitsTheRate) {
  LogFilter filter;
  filter.SetSecrets({"hunter2"});
  EXPECT_EQ(filter.Clean("password=hunter2, again hunter2."), "password=***, again ***.");
  const LogFilter::Clock::time_point start{std::chrono::hours(1)};
  uint64_t held_back = 0;
  int passed = 0;
  for (int i = 0; i < 100; ++i) passed += filter.Allow(start, &held_back) ? 1 : 0;
  EXPECT_EQ(passed, LogFilter::kBurst);
  EXPECT_EQ(held_back, 0u);
  EXPECT_TRUE(filter.Allow(start + LogFilter::kEvery, &held_back));
  EXPECT_EQ(held_back, 80u);
  EXPECT_FALSE(filter.Allow(start + LogFilter::kEvery, &held_back));
}

class TopicsTest : public testing::Test {
 protected:
  TopicsTest() : producer_(rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), nullptr, 0)) {}
  ~TopicsTest() override {
    topics_.DropHandles();
    rd_kafka_destroy(producer_);
  }
  rd_kafka_t* producer_;
  Topics topics_;
};

TEST_F(TopicsTest, ForgetsTheOneUsedLongestAgoThatIsIdle) {
  Topic* busy = topics_.Get("t0", producer_);
  busy->in_flight = 1;
  for (size_t i = 1; i < Topics::kMax; ++i)
    ASSERT_NE(topics_.Get("t" + std::to_string(i), producer_), nullptr);
  ASSERT_NE(topics_.Get("one more", producer_), nullptr);
  EXPECT_EQ(topics_.Find("t0"), busy);
  EXPECT_EQ(topics_.Find("t1"), nullptr);
  EXPECT_NE(topics_.Find("t2"), nullptr);
}

TEST_F(TopicsTest, KnowsWhichOfThoseInUseTakesLeast) {
  const auto use = [&](const char* name, size_t limit) {
    Topic* topic = topics_.Get(name, producer_);
    topic->used = true;
    topic->limit = limit;
    return topic;
  };
  EXPECT_EQ(topics_.Tightest(), nullptr);
  use("unknown", 0);
  use("large", 5000);
  Topic* small = use("small", 100);
  small->in_flight = 1;
  EXPECT_EQ(topics_.Tightest(), small);
  EXPECT_EQ(topics_.Tightest(), small) << "something is still on its way to it";
  small->in_flight = 0;
  EXPECT_EQ(topics_.Tightest(), small);
  EXPECT_EQ(topics_.Tightest(), nullptr);
}

TEST_F(TopicsTest, HasNoRoomWhileAllAreBusy) {
  for (size_t i = 0; i < Topics::kMax; ++i)
    topics_.Get("t" + std::to_string(i), producer_)->in_flight = 1;
  EXPECT_EQ(topics_.Get("one more", producer_), nullptr);
  EXPECT_NE(topics_.Get("t5", producer_), nullptr);
}

}  // namespace
}  // namespace penstock::kafka
