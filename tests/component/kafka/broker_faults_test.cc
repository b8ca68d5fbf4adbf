// A real broker that dies, comes late, or refuses in mid-stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "broker_fixture.h"

namespace penstock::kafka_tests {
namespace {

using fakes::FakeMessage;
using fakes::FakeSink;
using fakes::FakeSinkHost;
using testing::HasSubstr;

using Faults = RealKafka;

TEST_F(Faults, ABrokerKilledUnderLoadLosesAndRepeatsNothing) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Numbered(0, 5000));
  ASSERT_TRUE(host.WaitReceipts(100));
  broker().Kill();
  sink.Submit(Numbered(5000, 8000));  // as much as the window holds
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_CONNECTING));
  EXPECT_TRUE(host.HasText("can be reached"));
  broker().Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Numbered(8000, 12000));
  ASSERT_TRUE(host.WaitReceipts(12000));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 12000u);
  EXPECT_EQ(Payloads(cluster().ReadAll(topic_)), Numbers(0, 12000));
}

TEST_F(Faults, ABrokerThatComesLateIsWaitedFor) {
  broker().Kill();
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  const bool said = host.WaitText("can be reached");
  broker().Start();
  ASSERT_TRUE(said);
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Numbered(0, 10));
  ASSERT_TRUE(host.WaitReceipts(10));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 10u);
}

TEST_F(Faults, AFrozenBrokerIsNoticedAndStopDoesNotWaitForIt) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Numbered(0, 10));
  ASSERT_TRUE(host.WaitReceipts(10));
  broker().Freeze();
  sink.Submit(Numbered(10, 20));
  const bool noticed = host.WaitState(PENSTOCK_STATE_CONNECTING);
  const auto start = std::chrono::steady_clock::now();
  sink.Destroy();
  const auto took = std::chrono::steady_clock::now() - start;
  broker().Thaw();
  EXPECT_TRUE(noticed);
  EXPECT_LT(took, std::chrono::seconds(6));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 10u);
}

// One strict lane, driven as the host drives it: many batches on their way, and after a failure all
// receipts first, then again from the first event that is not settled.
class StrictLane {
 public:
  StrictLane(FakeSinkHost* host, FakeSink* sink, std::vector<FakeMessage> messages)
      : host_(host), sink_(sink), messages_(std::move(messages)), state_(messages_.size(), 0) {}

  // Returns once all have settled, or after too many rounds. between(i): before event i is sent.
  template <typename F>
  bool Run(F&& between) {
    for (int round = 0; round < 200; ++round) {
      if (!host_->WaitState(PENSTOCK_STATE_READY)) return false;
      uint32_t flags = PENSTOCK_BATCH_STRICT | PENSTOCK_BATCH_RESUME;
      std::map<uint64_t, size_t> tokens;
      bool again = false;
      const size_t ready = host_->ready_calls();
      for (size_t i = 0; i < messages_.size(); ++i) {
        if (state_[i] != 0) continue;
        between(i);
        const auto accepted = sink_->TrySubmit({messages_[i]}, 0, flags);
        again = accepted.empty();
        if (again) break;
        flags = PENSTOCK_BATCH_STRICT;
        tokens[accepted[0]] = i;
      }
      if (!host_->WaitSettled() || (again && !host_->WaitReady(ready + 1))) return false;
      for (const auto& [token, i] : tokens) {
        const int32_t outcome = host_->receipt(token).outcome;
        if (outcome == PENSTOCK_DELIVERED) state_[i] = 1;
        if (outcome == PENSTOCK_REJECTED) state_[i] = 2;
      }
      if (std::count(state_.begin(), state_.end(), 0) == 0) return true;
    }
    return false;
  }
  size_t rejected() const {
    return static_cast<size_t>(std::count(state_.begin(), state_.end(), 2));
  }

 private:
  FakeSinkHost* const host_;
  FakeSink* const sink_;
  const std::vector<FakeMessage> messages_;
  std::vector<int> state_;  // 0 waiting, 1 delivered, 2 rejected
};

// What a reader that knows each event by its first appearance sees.
std::vector<std::string> FirstAppearances(const std::vector<std::string>& all) {
  std::set<std::string> seen;
  std::vector<std::string> out;
  for (const std::string& one : all)
    if (seen.insert(one).second) out.push_back(one);
  return out;
}

TEST_F(Faults, StrictOrderSurvivesBatchesThatAreRefusedInMidStream) {
  cluster().CreateTopic(topic_, 1);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_, {{"linger.ms", "1"}}));
  sink.Start();
  std::vector<FakeMessage> messages = Numbered(0, 3000);
  std::vector<std::string> expected;
  for (size_t i = 0; i < messages.size(); ++i) {
    messages[i].payload.append(":").append(i % 500 == 250 ? 30000 : 100, '.');
    if (i % 500 != 250 || i < 1000) expected.push_back(messages[i].payload);
  }
  StrictLane lane(&host, &sink, messages);
  bool lowered = false;
  ASSERT_TRUE(lane.Run([&](size_t i) {
    if (i < 1000 || lowered) return;
    lowered = true;
    host.WaitSettled();
    cluster().LowerLimit(topic_, 20000);
  }));
  EXPECT_EQ(lane.rejected(), 4u);
  EXPECT_TRUE(host.HasText("GAPLESS_GUARANTEE"));
  EXPECT_EQ(FirstAppearances(Payloads(cluster().ReadAll(topic_))), expected);
}

// Of the batches on their way some are too large as a whole and some are not: without the gapless
// guarantee the latter would be taken although the former come again.
TEST_F(Faults, StrictOrderHasNoGapWhereOnlySomeBatchesAreRefused) {
  cluster().CreateTopic(topic_, 1);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_, {{"batch.num.messages", "3"}}));
  sink.Start();
  std::vector<FakeMessage> messages = Numbered(0, 900);
  std::vector<std::string> expected;
  for (size_t i = 0; i < messages.size(); ++i) {
    messages[i].payload.append(":").append(i / 3 % 4 == 0 ? 8000 : 100, '.');
    expected.push_back(messages[i].payload);
  }
  StrictLane lane(&host, &sink, messages);
  bool lowered = false;
  ASSERT_TRUE(lane.Run([&](size_t i) {
    if (i < 300 || lowered) return;
    lowered = true;
    host.WaitSettled();
    cluster().LowerLimit(topic_, 20000);
  }));
  EXPECT_EQ(lane.rejected(), 0u);
  EXPECT_GT(host.metric("batches_refused_total"), 0u);
  EXPECT_EQ(FirstAppearances(Payloads(cluster().ReadAll(topic_))), expected);
}

TEST_F(Faults, StrictOrderSurvivesAKill) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  StrictLane lane(&host, &sink, Numbered(0, 5000));
  bool killed = false;
  ASSERT_TRUE(lane.Run([&](size_t i) {
    if (i < 2500 || killed) return;
    killed = true;
    broker().Kill();
    broker().Start();
  }));
  EXPECT_EQ(Payloads(cluster().ReadAll(topic_)), Numbers(0, 5000));
}

// What the frozen broker had in its socket is written later, in the midst of the second attempt.
TEST_F(Faults, StrictOrderSurvivesACancelAtAFrozenBroker) {
  cluster().CreateTopic(topic_, 1);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_, {{"linger.ms", "1"}, {"socket.timeout.ms", "1000"}}));
  sink.Start();
  StrictLane lane(&host, &sink, Numbered(0, 3000));
  std::vector<uint64_t> all(10000);
  std::iota(all.begin(), all.end(), 1);
  bool frozen = false, cancelled = false;
  ASSERT_TRUE(lane.Run([&](size_t i) {
    if (i >= 1000 && !frozen) {
      frozen = true;
      host.WaitSettled();
      broker().Freeze();
    }
    if (i < 2000 || cancelled) return;
    cancelled = true;
    EXPECT_TRUE(host.WaitText("in-flight"));  // timed out: so it has been sent
    sink.Cancel(all);
    EXPECT_TRUE(host.WaitSettled());
    broker().Thaw();
  }));
  EXPECT_TRUE(cancelled);
  EXPECT_GT(host.count(PENSTOCK_UNKNOWN), 0u);
  EXPECT_TRUE(host.HasText("making a new producer: events were cancelled"));
  EXPECT_EQ(FirstAppearances(Payloads(cluster().ReadAll(topic_))), Numbers(0, 3000));
}

TEST_F(Faults, StrictOrderOverPartitionsWithoutAKeyIsWarnedOf) {
  cluster().CreateTopic(topic_, 3);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With(topic_));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.TrySubmit(Numbered(0, 1), 0, PENSTOCK_BATCH_STRICT);
  ASSERT_TRUE(host.WaitText("Kafka keeps the order only within a partition"));
}

}  // namespace
}  // namespace penstock::kafka_tests
