// Many sources at one sink: none slows the others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "unit/delivery/rig.h"

namespace penstock::delivery {
namespace {

using ::testing::IsEmpty;

constexpr size_t kSources = 50;
constexpr uint32_t kBad = 7;  // the lane of the source whose subject nobody takes

class ShareTest : public testing::Test {
 protected:
  void Make(WindowLimits window, size_t sources = kSources) {
    sink_ = &rig_.AddSink(window);
    for (size_t i = 0; i < sources; ++i) {
      sources_.push_back(&rig_.AddSource());
      Rig::Route(*sources_.back(), *sink_);
    }
    sink_->Connect();
  }
  std::map<uint32_t, size_t> InFlight() {
    std::map<uint32_t, size_t> out;
    for (const uint64_t token : sink_->port.in_flight()) ++out[sink_->port.sent(token).lane];
    return out;
  }
  // Delivers all that is in flight and not of the bad lane.
  void DeliverGood() {
    for (const uint64_t token : std::vector<uint64_t>(sink_->port.in_flight()))
      if (sink_->port.sent(token).lane != kBad) sink_->port.Deliver(token);
  }
  uint64_t Delivered(size_t source) { return sink_->ledger(source).delivered; }

  Rig rig_;
  std::vector<Rig::Source*> sources_;
  Rig::Sink* sink_ = nullptr;
};

TEST_F(ShareTest, ABusyWindowIsSharedEvenly) {
  Make({.max_events = 1000}, 4);
  for (Rig::Source* source : sources_) rig_.Append(*source, 2000);
  sink_->Step();
  for (const auto& [lane, n] : InFlight()) EXPECT_EQ(n, 250u) << "lane " << lane;
  EXPECT_EQ(InFlight().size(), 4u);
}

TEST_F(ShareTest, OneBusySourceGetsAllButTheOthersOwn) {
  Make({.max_events = 1000}, 4);
  rig_.Append(*sources_[0], 2000);
  sink_->Step();
  EXPECT_EQ(InFlight()[0], 625u) << "the common half and a quarter of the other";
  rig_.Append(*sources_[1], 2000);
  sink_->Step();
  EXPECT_EQ(InFlight()[1], 125u);
}

TEST_F(ShareTest, ByBytes) {
  Make({.max_bytes = 100000}, 2);
  for (int i = 0; i < 200; ++i) {
    rig_.AppendPayload(*sources_[0], std::string(1000, 'a'));
    rig_.AppendPayload(*sources_[1], std::string(100, 'b'));
  }
  sink_->Step();
  std::map<uint32_t, size_t> bytes;
  for (const uint64_t token : sink_->port.in_flight())
    bytes[sink_->port.sent(token).lane] += sink_->port.sent(token).payload.size();
  EXPECT_EQ(bytes[0], 75000u) << "its own quarter and the common half";
  EXPECT_EQ(bytes[1], 20000u) << "all that it has";
}

TEST_F(ShareTest, EverySourceHasItsTurnWhenTheSinkTakesOneAtATime) {
  Make({.max_events = 100}, 5);
  for (Rig::Source* source : sources_) rig_.Append(*source, 20);
  std::map<uint32_t, size_t> taken;
  for (int i = 0; i < 50; ++i) {
    sink_->port.capacity = 1;
    sink_->dispatcher->Ready();
    sink_->Settle();
  }
  for (const fakes::Sent& sent : sink_->port.log) ++taken[sent.lane];
  for (uint32_t lane = 0; lane < 5; ++lane)
    EXPECT_NEAR(static_cast<double>(taken[lane]), static_cast<double>(sink_->port.log.size()) / 5,
                1.0);
}

// The bus answers at once that it does not take the subject.
TEST_F(ShareTest, OneRefusedSourceOfFiftyDoesNotSlowTheOthers) {
  Make({.max_events = 500});
  for (Rig::Source* source : sources_) rig_.Append(*source, 300);
  size_t steps = 0;
  const auto others_done = [this] {
    for (size_t i = 0; i < kSources; ++i)
      if (i != kBad && Delivered(i) < 300) return false;
    return true;
  };
  sink_->Step();
  while (!others_done() && ++steps < 1000) {
    for (const uint64_t token : std::vector<uint64_t>(sink_->port.in_flight()))
      if (sink_->port.sent(token).lane == kBad) sink_->port.Retry(token);
    DeliverGood();
    rig_.clock.Advance(milliseconds(1));
    sink_->Step();
  }
  EXPECT_LE(steps, 40u) << "49 * 300 events through a window of 500 take 30 rounds";
  EXPECT_EQ(Delivered(kBad), 0u);
  EXPECT_LE(InFlight()[kBad], 5u) << "half the window by fifty, while it is only trying";
}

TEST_F(ShareTest, ACursorInBackoffHoldsNothingOfTheWindow) {
  Make({.max_events = 100}, 2);
  rig_.Append(*sources_[0], 100);
  sink_->Step();
  sink_->port.RetryAll();
  rig_.Append(*sources_[1], 200);
  sink_->Step();
  EXPECT_EQ(InFlight()[0], 0u);
  EXPECT_EQ(InFlight()[1], 75u) << "its own quarter and the common half";
}

// The bus does not answer for the subject at all, until the plugin's own time is over.
TEST_F(ShareTest, OneSilentSourceOfFiftyDoesNotSlowTheOthers) {
  Make({.max_events = 500});
  rig_.Append(*sources_[kBad], 5000);
  sink_->Step();
  EXPECT_EQ(InFlight()[kBad], 255u) << "it was alone";
  for (size_t i = 0; i < kSources; ++i)
    if (i != kBad) rig_.Append(*sources_[i], 50);
  for (int round = 0; round < 10; ++round) {
    sink_->Step();
    DeliverGood();
  }
  sink_->Step();
  for (size_t i = 0; i < kSources; ++i) EXPECT_EQ(Delivered(i), i == kBad ? 0u : 50u) << i;
  EXPECT_EQ(InFlight()[kBad], 255u);
}

TEST_F(ShareTest, AfterAFailureASourceOnlyTriesItsOwnPart) {
  Make({.max_events = 100}, 5);
  rig_.Append(*sources_[0], 200);
  sink_->Step();
  EXPECT_EQ(InFlight()[0], 60u);
  sink_->port.RetryAll();
  sink_->Step();
  rig_.clock.Advance(seconds(20));
  sink_->Step();
  EXPECT_EQ(InFlight()[0], 10u);
  sink_->port.Deliver(sink_->port.in_flight()[0]);
  sink_->Step();
  EXPECT_EQ(InFlight()[0], 60u) << "one was taken: it works again";
}

TEST_F(ShareTest, MoreSourcesThanTheWindowHasRoomForAllGetThrough) {
  Make({.max_events = 8}, 40);
  for (Rig::Source* source : sources_) rig_.Append(*source, 5);
  for (int i = 0; i < 200; ++i) {
    sink_->Step();
    EXPECT_LE(sink_->port.in_flight().size(), 8u);
    sink_->port.DeliverAll();
  }
  EXPECT_TRUE(sink_->dispatcher->Drained());
}

// Two hundred sources and a dead bus: back-pressure, within the limit, and all is delivered in the
// end.
TEST(MemoryLimitTest, HoldsWithManySourcesAndADeadBus) {
  constexpr uint64_t kLimit = 2 << 20;
  constexpr size_t kMany = 200;
  Rig rig(kLimit);
  std::vector<Rig::Source*> sources;
  Rig::Sink& sink = rig.AddSink({}, kLimit / 2 / (kMany + 1));
  for (size_t i = 0; i < kMany; ++i) {
    sources.push_back(&rig.AddSource({}, kLimit / 2 / (kMany + 1)));
    Rig::Route(*sources.back(), sink, {.format = event::Format::kCloudEvents});
  }
  sink.Step();
  bool full = false;
  while (!full) {
    full = true;
    for (Rig::Source* source : sources)
      if (rig.Append(*source, 3) > 0) full = false;
    ASSERT_LE(rig.budget.used(), kLimit);
  }
  uint64_t emitted = 0;
  for (Rig::Source* source : sources) {
    EXPECT_GT(source->emitted, 0u);
    emitted += source->emitted;
  }
  sink.Connect();
  sink.Settle();
  uint64_t delivered = 0;
  for (const Ledger& ledger : sink.dispatcher->Ledgers()) delivered += ledger.delivered;
  EXPECT_EQ(delivered, emitted);
  EXPECT_EQ(rig.budget.used(), 0u);
}

}  // namespace
}  // namespace penstock::delivery
