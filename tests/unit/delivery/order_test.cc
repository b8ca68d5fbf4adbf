// Relaxed and strict order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using fakes::Sent;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class OrderTest : public testing::Test {
 protected:
  void Make(Order order, WindowLimits window = {}) {
    source_ = &rig_.AddSource();
    sink_ = &rig_.AddSink(window);
    Rig::Route(*source_, *sink_, {.order = order});
    sink_->Connect();
  }
  void SendAll(size_t n) {
    ASSERT_EQ(rig_.Append(*source_, n), n);
    sink_->Step();
  }
  void PassBackoff() {
    rig_.clock.Advance(seconds(20));
    sink_->Step();
  }
  fakes::FakeSinkPort& port() { return sink_->port; }
  uint64_t token(size_t i) { return port().in_flight().at(i); }

  Rig rig_;
  Rig::Source* source_ = nullptr;
  Rig::Sink* sink_ = nullptr;
};

// ---- relaxed

TEST_F(OrderTest, RelaxedRetriesBehindLaterOnesAndCountsIt) {
  Make(Order::kRelaxed);
  SendAll(3);
  port().Retry(token(0));
  port().Deliver(token(0));
  sink_->Step();
  PassBackoff();
  EXPECT_EQ(port().in_flight_payloads(), (std::vector<std::string>{"2", "0"}));
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().reordered, 1u);
}

// It may stand behind event 1 on the bus, whichever receipt comes first.
TEST_F(OrderTest, RelaxedCountsAlsoWhenTheLaterOneIsConfirmedLast) {
  Make(Order::kRelaxed);
  SendAll(2);
  port().Retry(token(0));
  sink_->Step();
  PassBackoff();
  port().Deliver(token(1));
  port().Deliver(token(0));
  sink_->Step();
  EXPECT_EQ(sink_->ledger().delivered, 2u);
  EXPECT_EQ(sink_->ledger().reordered, 1u);
}

TEST_F(OrderTest, RelaxedDoesNotCountWhatFailedTogether) {
  Make(Order::kRelaxed);
  SendAll(3);
  port().Deliver(token(0));
  port().RetryAll();
  sink_->Step();
  PassBackoff();
  sink_->Settle();
  EXPECT_EQ(sink_->ledger().delivered, 3u);
  EXPECT_EQ(sink_->ledger().reordered, 0u);
}

// ---- strict, one at a time

TEST_F(OrderTest, StrictKeepsOneUnsettledEvent) {
  Make(Order::kStrict);
  SendAll(3);
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 1));
  port().Retry(token(0));
  sink_->Step();
  EXPECT_THAT(port().in_flight(), IsEmpty());
  PassBackoff();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 1));
  port().Deliver(token(0));
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(1, 1));
  port().Reject(token(0));
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(2, 1));
  EXPECT_EQ(port().log.back().flags, 0u) << "the sink makes no promise here";
}

// ---- strict, pipelined

TEST_F(OrderTest, PipelinedMarksItsBatches) {
  Make(Order::kStrictPipelined);
  SendAll(3);
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 3));
  EXPECT_EQ(port().log[0].flags, unsigned{PENSTOCK_BATCH_STRICT});
}

TEST_F(OrderTest, PipelinedStopsAtAFailureUntilAllAreBackAndThenResumes) {
  Make(Order::kStrictPipelined);
  SendAll(4);
  port().Deliver(token(0));
  port().Retry(token(0));
  sink_->Step();
  PassBackoff();
  SendAll(2);
  EXPECT_EQ(port().in_flight_payloads(), Numbers(2, 2)) << "two receipts are still to come";
  port().Retry(token(0), PENSTOCK_RECEIPT_FOLLOWER);
  sink_->Step();
  EXPECT_EQ(port().log.size(), 4u);
  port().Retry(token(0), PENSTOCK_RECEIPT_FOLLOWER);
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(1, 5));
  EXPECT_EQ(port().log[4].flags, unsigned{PENSTOCK_BATCH_STRICT | PENSTOCK_BATCH_RESUME});
  SendAll(1);
  EXPECT_EQ(port().log.back().flags, unsigned{PENSTOCK_BATCH_STRICT}) << "only the first";
}

// Followers say that somebody else failed: they begin no backoff and do not make it longer.
TEST_F(OrderTest, PipelinedFollowersOfARejectedEventGoAtOnce) {
  Make(Order::kStrictPipelined);
  SendAll(3);
  port().Reject(token(0));
  port().Retry(token(0), PENSTOCK_RECEIPT_FOLLOWER);
  port().Retry(token(0), PENSTOCK_RECEIPT_FOLLOWER);
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(1, 2));
  EXPECT_EQ(port().log.back().flags, unsigned{PENSTOCK_BATCH_STRICT | PENSTOCK_BATCH_RESUME});
}

TEST_F(OrderTest, PipelinedFollowersOfNobodyWait) {
  Make(Order::kStrictPipelined);
  SendAll(3);
  for (int i = 0; i < 3; ++i) port().Retry(token(0), PENSTOCK_RECEIPT_FOLLOWER);
  EXPECT_NE(sink_->Step(), TimePoint::max());
  EXPECT_THAT(port().in_flight(), IsEmpty());
  PassBackoff();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 3));
}

TEST_F(OrderTest, PipelinedResumeWaitsForTheSinksRoom) {
  Make(Order::kStrictPipelined);
  SendAll(4);
  port().RetryAll();
  port().capacity = 0;
  sink_->Step();
  PassBackoff();
  EXPECT_THAT(port().in_flight(), IsEmpty());
  port().capacity = 2;
  sink_->dispatcher->Ready();
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 2));
  EXPECT_EQ(port().log.back().flags, unsigned{PENSTOCK_BATCH_STRICT | PENSTOCK_BATCH_RESUME});
  port().capacity = 2;
  sink_->dispatcher->Ready();
  sink_->Step();
  EXPECT_EQ(port().in_flight_payloads(), Numbers(0, 4));
  EXPECT_EQ(port().log.back().flags, unsigned{PENSTOCK_BATCH_STRICT});
}

// ---- a bus that fails at random, seen from the bus

// Keeps the promise of PENSTOCK_CAP_PREFIX: what the bus has is always a prefix.
class RandomPrefixBus {
 public:
  RandomPrefixBus(fakes::FakeSinkPort* port, uint64_t seed) : port_(port), random_(seed) {}

  // Answers for some of what is in flight, in any order that such a sink could.
  void Answer() {
    size_t n = random_() % 6;
    while (n-- > 0 && !port_->in_flight().empty()) {
      const uint64_t token = port_->in_flight().front();
      const Sent sent = port_->sent(token);
      if ((sent.flags & PENSTOCK_BATCH_RESUME) != 0 && sent.batch > broken_batch_) broken_ = false;
      if (broken_) {
        port_->Retry(token, PENSTOCK_RECEIPT_FOLLOWER);
        continue;
      }
      switch (random_() % 12) {
        case 0:
          Break(sent);
          port_->Retry(token);
          break;
        case 1:  // taken, but the answer is lost; what follows must not be taken before it is known
          bus.push_back(sent.payload);
          Break(sent);
          port_->Unknown(token);
          break;
        case 2:
          if (random_() % 2 == 0) Break(sent);
          rejected.push_back(sent.payload);
          port_->Reject(token);
          break;
        default:
          bus.push_back(sent.payload);
          port_->Deliver(token);
      }
    }
  }

  std::vector<std::string> bus, rejected;

 private:
  void Break(const Sent& sent) {
    if ((sent.flags & PENSTOCK_BATCH_STRICT) == 0) return;  // one at a time: nothing is behind it
    broken_ = true;
    broken_batch_ = std::max(sent.batch, port_->batches);
  }

  fakes::FakeSinkPort* const port_;
  std::mt19937_64 random_;
  bool broken_ = false;
  size_t broken_batch_ = 0;  // a RESUME in a later batch mends the lane
};

// Each number of the bus stands behind all smaller ones; an unknown may repeat, at once.
void ExpectInOrder(const std::vector<std::string>& bus) {
  int64_t last = -1;
  for (const std::string& payload : bus) {
    const int64_t number = std::stoll(payload);
    ASSERT_GE(number, last);
    last = number;
  }
}

TEST_F(OrderTest, StrictIsNeverViolatedHoweverTheBusFails) {
  const QuietLog quiet;
  for (const Order order : {Order::kStrict, Order::kStrictPipelined}) {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      Rig rig;
      Rig::Source& source = rig.AddSource();
      Rig::Sink& sink = rig.AddSink({.max_events = 16});
      Rig::Route(source, sink, {.order = order});
      sink.Connect();
      RandomPrefixBus bus(&sink.port, seed);
      std::mt19937_64 random(seed);
      for (int step = 0; !sink.dispatcher->Drained() || source.emitted < 100; ++step) {
        ASSERT_LT(step, 10000) << "no end: " << sink.ledger().ToString();
        if (source.emitted < 100) rig.Append(source, random() % 9);
        if (random() % 4 == 0) sink.port.capacity = random() % 5;
        if (random() % 2 == 0) {
          sink.port.capacity = fakes::FakeSinkPort::kUnlimited;
          sink.dispatcher->Ready();
        }
        rig.clock.Advance(milliseconds(random() % 3000));
        sink.Step();
        bus.Answer();
      }
      ASSERT_NO_FATAL_FAILURE(ExpectInOrder(bus.bus));
      const Ledger ledger = sink.ledger();
      EXPECT_EQ(ledger.delivered + ledger.dead_lettered, source.emitted);
      EXPECT_EQ(ledger.dead_lettered, bus.rejected.size());
      EXPECT_EQ(ledger.reordered, 0u);
    }
  }
}

}  // namespace
}  // namespace penstock::delivery
