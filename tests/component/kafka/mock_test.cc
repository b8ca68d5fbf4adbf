// The error matrix and what is Kafka's own, against librdkafka's mock cluster; what every bus has
// in common is in outcomes_test.cc. The mock knows neither the limits of topics
// nor sequence numbers: those are tried against the real broker.
#include "mock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <thread>

#include "fakes/plugin_host.h"

namespace penstock::kafka_tests {
namespace {

using fakes::FakeMessage;
using fakes::FakeReceipt;
using fakes::FakeSink;
using fakes::FakeSinkHost;
using fakes::Map;
using fakes::Values;
using testing::HasSubstr;

class MockKafka : public testing::Test {
 protected:
  MockKafka() { mock_.Reset(); }
  // The topic depends on the event, so that the sink does not ask for its limit before it opens:
  // the mock never answers that.
  Values With(Map client = {}, Values more = {}) const {
    client.emplace_back("bootstrap.servers", mock_.bootstrap());
    more.emplace("client", client);
    more.emplace("topic", "{subject}");
    return more;
  }
  static std::vector<FakeMessage> Some(int n, const std::string& topic = "t") {
    std::vector<FakeMessage> out;
    for (int i = 0; i < n; ++i)
      out.push_back({.payload = std::to_string(i), .templates = {topic, ""}});
    return out;
  }
  template <typename... Errors>
  void Fail(int16_t api, Errors... errors) {
    mock_.Fail(api, errors...);
  }

  const penstock_plugin& plugin_ = fakes::LoadPlugin(PENSTOCK_SINK_FILE);
  const Mock& mock_ = Mock::Shared();
};

// What happens to one batch of ten that meets the error once.
struct Case {
  rd_kafka_resp_err_t error;
  int32_t outcome;
};
void PrintTo(const Case& c, std::ostream* out) { *out << rd_kafka_err2name(c.error); }

class Matrix : public MockKafka, public testing::WithParamInterface<Case> {};

TEST_P(Matrix, GivesTheRightOutcome) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  Fail(kProduce, GetParam().error);
  sink.Submit(Some(10));
  ASSERT_TRUE(host.WaitReceipts(10));
  EXPECT_EQ(host.count(GetParam().outcome), 10u) << host.receipts()[0].reason;
  if (GetParam().outcome == PENSTOCK_DELIVERED) return;
  EXPECT_EQ(host.receipts()[0].code, GetParam().error);
  EXPECT_THAT(host.receipts()[0].reason, HasSubstr("topic t: "));
}

INSTANTIATE_TEST_SUITE_P(
    Errors, Matrix,
    testing::Values(Case{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, PENSTOCK_DELIVERED},
                    Case{RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, PENSTOCK_DELIVERED},
                    Case{RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, PENSTOCK_DELIVERED},
                    Case{RD_KAFKA_RESP_ERR__TRANSPORT, PENSTOCK_DELIVERED},
                    Case{RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER, PENSTOCK_DELIVERED},
                    Case{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, PENSTOCK_REJECTED},
                    Case{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, PENSTOCK_RETRY},
                    Case{RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, PENSTOCK_RETRY},
                    Case{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, PENSTOCK_RETRY},
                    Case{RD_KAFKA_RESP_ERR_INVALID_RECORD, PENSTOCK_REJECTED}),
    [](const auto& one) { return std::string(rd_kafka_err2name(one.param.error)); });

TEST_F(MockKafka, ARefusedBatchIsSentAgainInSmallerOnesUntilTheCulpritIsAlone) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  const auto too_large = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
  Fail(kProduce, too_large);
  sink.Submit(Some(10));
  ASSERT_TRUE(host.WaitReceipts(10));
  EXPECT_EQ(host.count(PENSTOCK_RETRY), 10u);
  EXPECT_THAT(host.receipts()[0].reason, HasSubstr("refused together with 9 others"));
  ASSERT_TRUE(host.WaitText("batches get smaller"));
  // With no record alone above the limit, only what is refused alone is rejected.
  Fail(kProduce, too_large);
  const uint64_t alone = sink.Submit({.payload = "x", .templates = {"t", ""}});
  ASSERT_TRUE(host.WaitReceipts(11));
  EXPECT_EQ(host.receipt(alone).outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(host.metric("batches_refused_total"), 2u);
}

// Topics are looked at in the order in which they came into doubt.
TEST_F(MockKafka, ARecordThatIsRefusedForWhatItIsMakesNoBatchSmaller) {
  rd_kafka_mock_topic_create(mock_.get(), "compact", 1, 1);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  Fail(kProduce, RD_KAFKA_RESP_ERR_INVALID_RECORD);
  sink.Submit(Some(10, "compact"));
  ASSERT_TRUE(host.WaitReceipts(10));
  EXPECT_EQ(host.count(PENSTOCK_REJECTED), 10u);
  Fail(kProduce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  sink.Submit(Some(10));
  ASSERT_TRUE(host.WaitReceipts(20));
  ASSERT_TRUE(host.WaitText("batches get smaller, to fit into topic t:"));
  EXPECT_FALSE(host.HasText("into topic compact"));
}

TEST_F(MockKafka, ARecordThatCannotBeTakenIsSearchedInSmallerBatches) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({}, {{"key", "{subject}"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  Fail(kProduce, RD_KAFKA_RESP_ERR_INVALID_RECORD);
  std::vector<FakeMessage> messages = Some(10);
  for (FakeMessage& message : messages) message.templates[1] = "key";
  sink.Submit(messages);
  ASSERT_TRUE(host.WaitReceipts(10));
  EXPECT_EQ(host.count(PENSTOCK_RETRY), 10u);
  EXPECT_TRUE(host.WaitText("batches get smaller, to fit into topic t:"));
}

TEST_F(MockKafka, BatchesGetLargerAgainAfterATopicsTrouble) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  Fail(kProduce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  sink.Submit(Some(10));
  ASSERT_TRUE(host.WaitText("batches get smaller, to fit into topic t: at most 345 bytes"));
  ASSERT_TRUE(host.WaitText("batches get larger again: at most 1380 bytes"));
  ASSERT_TRUE(host.WaitMetric("producers_made_total", 3));
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Some(100));
  ASSERT_TRUE(host.WaitReceipts(110));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 100u);
}

// What is on its way has to be through before batches get larger.
TEST_F(MockKafka, NothingWaitsLongForLargerBatches) {
  rd_kafka_mock_topic_create(mock_.get(), "stuck", 1, 1);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  Fail(kProduce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  sink.Submit(Some(10));
  ASSERT_TRUE(host.WaitText("batches get smaller"));
  ASSERT_TRUE(host.WaitMetric("producers_made_total", 2));
  mock_.AnswerLate(1);
  sink.Submit(Some(1, "stuck"));
  ASSERT_TRUE(host.WaitText("batches get larger again"));
  const size_t ready = host.ready_calls();
  EXPECT_TRUE(sink.TrySubmit(Some(1), 0, 0).empty());
  EXPECT_TRUE(host.WaitReady(ready + 1));
  EXPECT_EQ(sink.TrySubmit(Some(1), 0, 0).size(), 1u);
  EXPECT_EQ(host.metric("producers_made_total"), 2u);
}

TEST_F(MockKafka, ManyCancelsMakeOneNewProducer) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"linger.ms", "2000"}}));  // so nothing leaves
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  const auto tokens = sink.Submit(Some(10));
  const auto start = std::chrono::steady_clock::now();
  for (const uint64_t token : tokens) sink.Cancel({token});
  sink.Cancel(tokens);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  ASSERT_TRUE(host.WaitReceipts(10));
  sink.Cancel(tokens);
  EXPECT_EQ(host.count(PENSTOCK_RETRY), 10u);
  ASSERT_TRUE(host.WaitText("making a new producer: events were cancelled"));
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Cancel(tokens);
  const auto again = sink.Submit(Some(10));
  sink.Cancel(tokens);
  EXPECT_EQ(host.pending(), 10u);
  EXPECT_EQ(host.metric("producers_made_total"), 2u);
  ASSERT_TRUE(host.WaitReceipts(20));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 10u);
  EXPECT_EQ(host.metric("producers_made_total"), 2u);
}

TEST_F(MockKafka, ACancelTakesTheRestWithIt) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"linger.ms", "60000"}}, {{"topic", "t"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  const auto strict = sink.Submit(Some(3), 3, PENSTOCK_BATCH_STRICT);
  const auto other_lane = sink.Submit(Some(2), 4, PENSTOCK_BATCH_STRICT);
  const auto relaxed = sink.Submit(Some(1), 5);
  sink.Cancel({strict[1]});
  ASSERT_TRUE(host.WaitReceipts(6));
  EXPECT_EQ(host.count(PENSTOCK_RETRY), 6u);
  const auto flags = [&](uint64_t token) { return host.receipt(token).flags; };
  const unsigned follower = PENSTOCK_RECEIPT_FOLLOWER;
  // The first report of each lane says why, and so does what was cancelled. Which is the first is
  // not known: librdkafka purges what waits for its partition and what is about to be sent apart.
  EXPECT_EQ(flags(strict[1]), 0u);
  EXPECT_EQ(flags(strict[0]) | flags(strict[2]), follower);
  EXPECT_EQ(flags(other_lane[0]) + flags(other_lane[1]), follower);
  EXPECT_EQ(flags(relaxed[0]), 0u);
  EXPECT_THAT(host.receipt(strict[1]).reason, HasSubstr("cancelled"));
  EXPECT_THAT(host.receipt(strict[0]).reason, testing::Not(HasSubstr("cancelled")));
}

// The keeper looks at the new topic u by then, and waits two seconds for the answer; the events
// need not. The topic t is known before, or the silence would keep its events from being sent.
TEST_F(MockKafka, ACancelDoesNotWaitForASilentBroker) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Some(1));
  ASSERT_TRUE(host.WaitReceipts(1));
  ASSERT_EQ(host.count(PENSTOCK_DELIVERED), 1u);
  rd_kafka_mock_broker_set_rtt(mock_.get(), 1, 60000);
  mock_.AnswerLate(1);
  sink.Submit(Some(1, "u"));
  const auto tokens = sink.Submit(Some(50));
  while (mock_.AnswersLeft() > 0) std::this_thread::yield();
  const auto start = std::chrono::steady_clock::now();
  sink.Cancel({tokens[7]});
  ASSERT_TRUE(host.WaitReceipts(52));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 1u);
  EXPECT_EQ(host.receipt(tokens[7]).outcome, PENSTOCK_UNKNOWN);
}

TEST_F(MockKafka, AStrictLaneWantsAProducerWithoutGapsAndStopsAlone) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({}, {{"topic", "t"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Some(10), 3, PENSTOCK_BATCH_STRICT);
  ASSERT_TRUE(host.WaitReceipts(10));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 10u);
  EXPECT_EQ(host.metric("producers_made_total"), 2u);
  Fail(kProduce, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH);
  sink.Submit(Some(10), 3, PENSTOCK_BATCH_STRICT);
  ASSERT_TRUE(host.WaitReceipts(20));
  EXPECT_EQ(host.count(PENSTOCK_RETRY), 10u);
  ASSERT_TRUE(host.WaitText("GAPLESS_GUARANTEE"));
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  const uint64_t stopped = sink.Submit(Some(1), 3, PENSTOCK_BATCH_STRICT)[0];
  const uint64_t other_lane = sink.Submit(Some(1), 4, PENSTOCK_BATCH_STRICT)[0];
  ASSERT_TRUE(host.WaitReceipts(22));
  EXPECT_EQ(host.receipt(stopped).outcome, PENSTOCK_RETRY);
  EXPECT_EQ(host.receipt(other_lane).outcome, PENSTOCK_DELIVERED);
}

TEST_F(MockKafka, ATopicThatNobodyCanHaveIsRejected) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  std::vector<FakeMessage> messages = Some(3);
  messages[1].templates[0] = "a b";
  const auto tokens = sink.Submit(messages);
  ASSERT_TRUE(host.WaitReceipts(3));
  EXPECT_EQ(host.receipt(tokens[0]).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(host.receipt(tokens[1]).outcome, PENSTOCK_REJECTED);
  EXPECT_EQ(host.receipt(tokens[2]).outcome, PENSTOCK_DELIVERED);
}

TEST_F(MockKafka, AFullQueueHoldsBackAndComesFree) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_,
                With({{"queue.buffering.max.messages", "50"}, {"linger.ms", "100"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  std::vector<FakeMessage> rest;
  EXPECT_EQ(sink.TrySubmit(Some(200), 0, 0, &rest).size(), 50u);
  EXPECT_EQ(rest.size(), 150u);
  ASSERT_TRUE(host.WaitReady(1));
  sink.Submit(std::move(rest));
  ASSERT_TRUE(host.WaitReceipts(200));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 200u);
}

TEST_F(MockKafka, TheWindowIsABoundOfItsOwn) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"linger.ms", "100"}}, {{"max_in_flight.events", 20}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  std::vector<FakeMessage> rest;
  EXPECT_EQ(sink.TrySubmit(Some(30), 0, 0, &rest).size(), 20u);
  ASSERT_TRUE(host.WaitReady(1));
  sink.Submit(std::move(rest));
  ASSERT_TRUE(host.WaitReceipts(30));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 30u);
}

// The mock never says what a topic takes, so that each look lasts a second.
TEST_F(MockKafka, AnOutageIsSaidInTheMiddleOfManyLooksAtTopics) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  for (int i = 0; i < 30; ++i) sink.Submit(Some(1, "many-" + std::to_string(i)));
  ASSERT_TRUE(host.WaitReceipts(30));
  rd_kafka_mock_broker_set_down(mock_.get(), 1);
  const uint64_t token = sink.Submit(Some(1)).at(0);
  EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_CONNECTING, std::chrono::seconds(8)));
  sink.Cancel({token});
  EXPECT_TRUE(host.WaitText("making a new producer", std::chrono::seconds(8)));
}

TEST_F(MockKafka, AnOutageCostsNoProducer) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  rd_kafka_mock_broker_set_down(mock_.get(), 1);
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_CONNECTING));
  rd_kafka_mock_broker_set_up(mock_.get(), 1);
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  EXPECT_EQ(host.metric("producers_made_total"), 1u);
}

TEST_F(MockKafka, TooFewReplicasForLongCostNeitherEventsNorAProducer) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"batch.num.messages", "2"}, {"retry.backoff.ms", "10"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  for (int i = 0; i < 30; ++i) {
    Fail(kProduce, i % 3 == 0 ? RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND
                              : RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
  }
  sink.Submit(Some(10));  // five batches, each refused time and again
  ASSERT_TRUE(host.WaitReceipts(10));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 10u);
  EXPECT_EQ(mock_.AnswersLeft(), 0u);
  EXPECT_EQ(host.metric("producers_made_total"), 1u);
}

TEST_F(MockKafka, StopsSoonWithADeadBroker) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  rd_kafka_mock_broker_set_down(mock_.get(), 1);
  sink.Submit(Some(50));
  const auto start = std::chrono::steady_clock::now();
  sink.Destroy();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
  EXPECT_EQ(host.count(PENSTOCK_RETRY) + host.count(PENSTOCK_UNKNOWN), 50u);
}

TEST_F(MockKafka, WhatABrokerForbidsFromTheStartIsSaid) {
  for (int i = 0; i < 3; ++i) Fail(kInitProducerId, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitText("CLUSTER_AUTHORIZATION_FAILED"));
  sink.Submit(Some(5));  // after the third refusal it works
  ASSERT_TRUE(host.WaitReceipts(5));
}

TEST_F(MockKafka, AServerThatIsNotThereIsNoErrorOfStart) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_,
                {{"topic", "t"}, {"client", Map{{"bootstrap.servers", "127.0.0.1:1"}}}});
  sink.Start();
  ASSERT_TRUE(host.WaitText("no broker of 127.0.0.1:1 can be reached"));
  EXPECT_EQ(host.states().back().first, PENSTOCK_STATE_CONNECTING);
  ASSERT_TRUE(host.WaitText("Connection refused"));
  std::vector<FakeMessage> rest;
  EXPECT_TRUE(sink.TrySubmit(Some(1), 0, 0, &rest).empty());
}

TEST_F(MockKafka, WhatLibrdkafkaRefusesAsAWholeIsAnErrorOfStart) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_,
                With({{"security.protocol", "ssl"}, {"ssl.ca.location", "/does/not/exist"}}));
  try {
    sink.Start();
    FAIL() << "started";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("ssl.ca.location"));
  }
}

TEST_F(MockKafka, ASecretThatCannotBeReadIsAnErrorOfStart) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"sasl.password", "env:ABSENT"}}));
  try {
    sink.Start();
    FAIL() << "started";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("env:ABSENT"));
  }
}

}  // namespace
}  // namespace penstock::kafka_tests
