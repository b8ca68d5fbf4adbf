// The sink against a real broker.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "broker_fixture.h"

namespace penstock::kafka_tests {
namespace {

using fakes::FakeMessage;
using fakes::FakeReceipt;
using fakes::FakeSink;
using fakes::FakeSinkHost;
using fakes::Map;
using fakes::Values;
using testing::HasSubstr;

TEST_F(RealKafka, DeliversInOrderIntoATopicThatTheBrokerCreates) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Numbered(0, 20000));
  ASSERT_TRUE(host.WaitReceipts(20000));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 20000u);
  EXPECT_LT(host.complete_calls(), 2000u);
  EXPECT_EQ(Payloads(cluster().ReadAll(topic_)), Numbers(0, 20000));
}

// One message through a sink of its own, as the broker has it then.
class Formats : public RealKafka {
 protected:
  Record Through(const char* format, FakeMessage message) {
    cluster().CreateTopic(topic_, 1);
    FakeSinkHost host;
    FakeSink sink(host, plugin_, With(topic_, {}, {{"format", format}}));
    sink.Start();
    EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
    sink.Submit(std::move(message));
    EXPECT_TRUE(host.WaitSettled());
    const std::vector<Record> records = cluster().ReadAll(topic_);
    return records.size() == 1 ? records[0] : Record{};
  }
  using Headers = std::map<std::string, std::string>;
};

TEST_F(Formats, RawHasTheRoutesHeadersOnly) {
  FakeMessage message = To(std::string("a\0b", 3), "key");
  message.content_type = "text/plain";
  message.headers = {{"route", "r"}};
  const Record record = Through("raw", message);
  EXPECT_EQ(record.value, std::string("a\0b", 3));
  EXPECT_EQ(record.key, "key");
  EXPECT_EQ(record.headers, (Headers{{"route", "r"}}));
}

TEST_F(Formats, StructuredSaysItsContentType) {
  FakeMessage message = To("{}");
  message.content_type = "application/cloudevents+json";
  const Record record = Through("cloudevents", message);
  EXPECT_FALSE(record.has_key);
  EXPECT_EQ(record.headers,
            (Headers{{"content-type", "application/cloudevents+json; charset=UTF-8"}}));
}

TEST_F(Formats, BinaryHasTheAttributesAsHeaders) {
  FakeMessage message = To("x");
  message.content_type = "text/plain";
  message.attributes = {{"id", "7"}, {"source", "/s"}};
  message.headers = {{"route", "r"}};
  EXPECT_EQ(
      Through("cloudevents-binary", message).headers,
      (Headers{
          {"content-type", "text/plain"}, {"ce_id", "7"}, {"ce_source", "/s"}, {"route", "r"}}));
}

TEST_F(Formats, AnEmptyPayloadIsAnEmptyValueAndNoTombstone) {
  const Record record = Through("raw", To(""));
  EXPECT_TRUE(record.has_value);
  EXPECT_EQ(record.value, "");
}

TEST_F(RealKafka, PutsKeysWhereJavasClientPutsThem) {
  // What org.apache.kafka.common.utils.Utils.toPositive(murmur2(key)) % 7 gives.
  const std::map<std::string, int> kPartitions = {{"21", 3},
                                                  {"foobar", 0},
                                                  {"a-little-bit-long-string", 1},
                                                  {"abc", 4},
                                                  {"orders.created", 0},
                                                  {"k0", 2},
                                                  {"k1", 0},
                                                  {"k2", 2}};
  cluster().CreateTopic(topic_, 7);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  for (const auto& [key, partition] : kPartitions) sink.Submit(To("x", key));
  ASSERT_TRUE(host.WaitSettled());
  std::map<std::string, int> found;
  for (const Record& record : cluster().ReadAll(topic_, 7)) found[record.key] = record.partition;
  EXPECT_EQ(found, kPartitions);
}

// The largest record that the topic takes, and one byte more.
TEST_F(RealKafka, ARecordTooLargeIsRejectedAloneAndToTheByte) {
  constexpr size_t kLimit = 2000;
  cluster().CreateTopic(topic_, 1, {{"max.message.bytes", std::to_string(kLimit)}});
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  // 61 for the batch, 2 + 8 for the record, of which 2 say how long the payload is.
  const size_t most = kLimit - 61 - 2 - 3 - 1 - 2 - 1;
  std::vector<FakeMessage> messages;
  for (int i = 0; i < 300; ++i) messages.push_back(To(std::string(100, 'g')));
  messages[100] = To(std::string(most + 1, 'x'));
  messages[200] = To(std::string(most, 'y'));
  const auto tokens = sink.Submit(messages);
  ASSERT_TRUE(host.WaitReceipts(300));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 299u);
  const FakeReceipt rejected = host.receipt(tokens[100]);
  EXPECT_EQ(rejected.outcome, PENSTOCK_REJECTED);
  EXPECT_THAT(rejected.reason, HasSubstr("a record of 2001 bytes"));
  EXPECT_THAT(rejected.reason, HasSubstr("takes 2000 (max.message.bytes)"));
  EXPECT_EQ(cluster().ReadAll(topic_).size(), 299u);
  EXPECT_EQ(host.metric("batches_refused_total"), 0u);
}

// Retries what comes back, as the host would, until all has settled for good.
size_t SendUntilSettled(FakeSinkHost* host, FakeSink* sink, const std::vector<FakeMessage>& all) {
  std::vector<FakeMessage> waiting = all;
  size_t rejected = 0;
  for (int round = 0; !waiting.empty() && round < 100; ++round) {
    if (!host->WaitState(PENSTOCK_STATE_READY)) break;
    const std::vector<uint64_t> tokens = sink->Submit(waiting);
    if (!host->WaitSettled()) break;
    std::vector<FakeMessage> again;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const int32_t outcome = host->receipt(tokens[i]).outcome;
      if (outcome == PENSTOCK_REJECTED) ++rejected;
      if (outcome == PENSTOCK_RETRY || outcome == PENSTOCK_UNKNOWN) again.push_back(waiting[i]);
    }
    waiting = std::move(again);
  }
  EXPECT_TRUE(waiting.empty());
  return rejected;
}

TEST_F(RealKafka, ALimitThatIsLoweredWhileRunningCostsOneRecordOnly) {
  cluster().CreateTopic(topic_, 1);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  cluster().LowerLimit(topic_, 20000);
  std::vector<FakeMessage> messages = Numbered(0, 2000);
  for (FakeMessage& message : messages) message.payload.append(100, '.');
  messages[1000].payload.append(30000, '!');
  EXPECT_EQ(SendUntilSettled(&host, &sink, messages), 1u);
  EXPECT_GT(host.metric("batches_refused_total"), 0u);
  std::set<std::string> there;
  for (const Record& record : cluster().ReadAll(topic_)) there.insert(record.value);
  EXPECT_EQ(there.size(), 1999u);
}

TEST_F(RealKafka, ATopicWithASmallLimitHoldsOthersBackOnlyWhileItIsInUse) {
  const std::string small = topic_ + "-small", compact = topic_ + "-compact";
  cluster().CreateTopic(topic_, 1);
  cluster().CreateTopic(small, 1, {{"max.message.bytes", "2000"}});
  cluster().CreateTopic(compact, 1, {{"cleanup.policy", "compact"}});
  const auto to = [&](const std::string& topic) {
    FakeMessage message = To(std::string(100, '.'));
    message.templates[0] = topic;
    return std::vector<FakeMessage>(200, message);
  };
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With("{subject}"));
  sink.Start();
  EXPECT_EQ(SendUntilSettled(&host, &sink, to(compact)), 200u);
  EXPECT_EQ(SendUntilSettled(&host, &sink, to(small)), 0u);
  ASSERT_TRUE(host.WaitText("batches get smaller, to fit into topic " + small + ": at most 2000"));
  EXPECT_FALSE(host.HasText("to fit into topic " + compact));
  ASSERT_TRUE(host.WaitText("batches get larger again: at most 8000 bytes"));
  ASSERT_TRUE(host.WaitMetric("producers_made_total", 3));
  EXPECT_EQ(SendUntilSettled(&host, &sink, to(topic_)), 0u);
  // What is known of it still holds: no batch is refused to find out.
  const uint64_t refused = host.metric("batches_refused_total");
  EXPECT_EQ(SendUntilSettled(&host, &sink, to(small)), 0u);
  EXPECT_EQ(host.metric("batches_refused_total"), refused);
}

TEST_F(RealKafka, AUserWithoutTheRightIsRejectedForThatTopicOnly) {
  cluster().CreateTopic(topic_, 1);
  cluster().CreateTopic(topic_ + "-forbidden", 1);
  cluster().Forbid("alice", topic_ + "-forbidden");
  FakeSinkHost host;
  host.SetSecret("env:PASSWORD", "alice-secret");
  FakeSink sink(host, plugin_,
                With("{subject}", {{"bootstrap.servers", broker().address("SASL_PLAINTEXT")},
                                   {"security.protocol", "sasl_plaintext"},
                                   {"sasl.mechanism", "PLAIN"},
                                   {"sasl.username", "alice"},
                                   {"sasl.password", "env:PASSWORD"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  const uint64_t good = sink.Submit(To("x"));
  const uint64_t bad = sink.Submit({.payload = "x", .templates = {topic_ + "-forbidden", ""}});
  ASSERT_TRUE(host.WaitReceipts(2));
  EXPECT_EQ(host.receipt(good).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(host.receipt(bad).outcome, PENSTOCK_REJECTED);
  EXPECT_THAT(host.receipt(bad).reason, HasSubstr("right to write"));
}

}  // namespace
}  // namespace penstock::kafka_tests
