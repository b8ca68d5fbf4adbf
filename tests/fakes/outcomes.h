// The table of outcomes: what each sink for a bus answers to the same mishaps. The cases and what
// they expect are here, once; a sink brings a driver that causes them:
//
//   INSTANTIATE_TYPED_TEST_SUITE_P(Kafka, Outcomes, KafkaDriver);
//
// A driver is default-constructible and offers
//
//   const penstock_plugin& plugin();
//   Values Config(), StrictConfig();        for a sink in relaxed and in strict order
//   FakeMessage Event(int i);               payload "event I", where the bus takes it
//   FakeMessage TooLarge(), ToNowhere();    more than the bus takes; where there is nothing
//   std::string limit(), nowhere();         what the reasons for these must name
//   std::vector<std::string> OnBus();       payloads of what the bus holds, in its order
//   void Leave(), Return();                 the broker goes away, and is back
//   Tokens InFlight(FakeSink&, int n);      so many that the bus has, and says nothing of
//   Tokens Unsent(FakeSink&, int n);        accepted, and they certainly do not leave until Return
//   Tokens Lost(FakeSink&, int n);          in flight when the producer or the connection breaks
//   void Silence(), EndSilence();           no answer comes; answers come again
//   void RefuseThird(), RefuseNone();       of the events that are sent next
//   static constexpr NotApplicable kNotApplicable[];
//
// The last names the cases that cannot happen at this sink, and why. They are run all the same, say
// so in their output and their report, and prove what can be proved.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fakes/plugin_host.h"

namespace penstock::fakes {

using Tokens = std::vector<uint64_t>;

// What is asked of one receipt.
struct Expected {
  int32_t outcome;
  uint32_t flags = 0;
};
inline bool operator==(const Expected& a, const Expected& b) {
  return a.outcome == b.outcome && a.flags == b.flags;
}
inline void PrintTo(const Expected& e, std::ostream* out) {
  constexpr const char* kNames[] = {"DELIVERED", "RETRY", "UNKNOWN", "REJECTED"};
  if (e.outcome < 0) {
    *out << "no receipt";
  } else {
    *out << kNames[e.outcome] << (e.flags == PENSTOCK_RECEIPT_DUPLICATE ? " DUPLICATE" : "")
         << (e.flags == PENSTOCK_RECEIPT_FOLLOWER ? " FOLLOWER" : "");
  }
}

struct NotApplicable {
  std::string_view name, why;
};

constexpr Expected kDelivered{PENSTOCK_DELIVERED};
constexpr Expected kDuplicate{PENSTOCK_DELIVERED, PENSTOCK_RECEIPT_DUPLICATE};
constexpr Expected kRetry{PENSTOCK_RETRY};
constexpr Expected kFollower{PENSTOCK_RETRY, PENSTOCK_RECEIPT_FOLLOWER};
constexpr Expected kUnknown{PENSTOCK_UNKNOWN};
constexpr Expected kRejected{PENSTOCK_REJECTED};

template <typename Driver>
class Outcomes : public testing::Test {
 protected:
  static constexpr uint32_t kStrict = PENSTOCK_BATCH_STRICT;
  static constexpr uint32_t kResume = PENSTOCK_BATCH_STRICT | PENSTOCK_BATCH_RESUME;

  bool Applicable() {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    for (const NotApplicable& one : Driver::kNotApplicable) {
      if (one.name != name) continue;
      RecordProperty("not_applicable", std::string(one.why));
      std::cout << "[      N/A ] " << name << ": " << one.why << "\n";
      return false;
    }
    return true;
  }

  FakeSink& sink() { return *sink_; }
  void Start(const Values& values) {
    sink_ = std::make_unique<FakeSink>(host_, driver_.plugin(), values);
    sink_->Start();
  }
  void StartReady(const Values& values) {
    Start(values);
    ASSERT_TRUE(host_.WaitState(PENSTOCK_STATE_READY));
  }
  void StartReady() { StartReady(driver_.Config()); }
  // A strict sink, with its first event delivered: what comes before that is the sink's own affair.
  void StartStrict() {
    StartReady(driver_.StrictConfig());
    ASSERT_THAT(Send(0, 1, kStrict), testing::ElementsAre(kDelivered));
  }

  Tokens Submit(std::vector<FakeMessage> messages, uint32_t flags = 0) {
    return sink_->Submit(std::move(messages), 0, flags);
  }
  std::vector<FakeMessage> Events(int from, int to) {
    std::vector<FakeMessage> out;
    for (int i = from; i < to; ++i) out.push_back(driver_.Event(i));
    return out;
  }
  std::vector<Expected> Answers(const Tokens& tokens) const {
    std::vector<Expected> out;
    for (const uint64_t token : tokens) {
      const FakeReceipt receipt = host_.receipt(token);
      out.push_back({receipt.outcome, receipt.flags});
    }
    return out;
  }
  // Submits events and waits for their receipts.
  std::vector<Expected> Send(int from, int to, uint32_t flags = 0) {
    const Tokens tokens = Submit(Events(from, to), flags);
    EXPECT_TRUE(host_.WaitSettled());
    return Answers(tokens);
  }
  FakeReceipt SendOne(FakeMessage message) {
    std::vector<FakeMessage> one;
    one.push_back(std::move(message));
    const Tokens tokens = Submit(std::move(one));
    EXPECT_TRUE(host_.WaitSettled());
    return host_.receipt(tokens.at(0));
  }
  // The sink works, after whatever happened.
  void ExpectGoesOn() {
    ASSERT_TRUE(host_.WaitState(PENSTOCK_STATE_READY));
    EXPECT_THAT(Send(1000, 1010), testing::Each(kDelivered));
  }
  // What a reader sees that knows each event by its first appearance.
  std::vector<std::string> FirstOnBus() {
    std::set<std::string> seen;
    std::vector<std::string> out;
    for (std::string& payload : driver_.OnBus())
      if (seen.insert(payload).second) out.push_back(std::move(payload));
    return out;
  }
  std::vector<std::string> Payloads(int from, int to) {
    std::vector<std::string> out;
    for (const FakeMessage& event : Events(from, to)) out.push_back(event.payload);
    return out;
  }

  // The broker outlives the sink. The host fails a second receipt for a token, and the sink's end
  // waits for the first.
  Driver driver_;
  FakeSinkHost host_{"bus"};
  std::unique_ptr<FakeSink> sink_;
};

TYPED_TEST_SUITE_P(Outcomes);

TYPED_TEST_P(Outcomes, Delivered) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  EXPECT_THAT(this->Send(0, 100), testing::Each(kDelivered));
  EXPECT_EQ(this->driver_.OnBus(), this->Payloads(0, 100));
  EXPECT_EQ(this->host_.states().back().first, PENSTOCK_STATE_READY);
}

TYPED_TEST_P(Outcomes, DuplicateOfAnEarlierAttempt) {
  const bool can = (this->driver_.plugin().caps & PENSTOCK_CAP_DEDUPLICATES) != 0;
  EXPECT_EQ(can, this->Applicable());
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  EXPECT_THAT(this->Send(0, 1), testing::ElementsAre(kDelivered));
  EXPECT_THAT(this->Send(0, 1), testing::ElementsAre(can ? kDuplicate : kDelivered));
  EXPECT_EQ(this->driver_.OnBus().size(), can ? 1u : 2u);
}

TYPED_TEST_P(Outcomes, TooLargeForTheBus) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  const FakeReceipt receipt = this->SendOne(this->driver_.TooLarge());
  EXPECT_EQ((Expected{receipt.outcome, receipt.flags}), kRejected);
  EXPECT_THAT(receipt.reason, testing::HasSubstr(this->driver_.limit()));
  this->ExpectGoesOn();
}

TYPED_TEST_P(Outcomes, NoSuchStreamOrTopic) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  const FakeReceipt receipt = this->SendOne(this->driver_.ToNowhere());
  EXPECT_EQ((Expected{receipt.outcome, receipt.flags}), kRetry);
  EXPECT_THAT(receipt.reason, testing::HasSubstr(this->driver_.nowhere()));
  this->ExpectGoesOn();
}

// The host submits nothing to a sink that is not ready. What comes all the same, because the host
// has not heard of it yet, is kept or given back, and never said to be more than that.
TYPED_TEST_P(Outcomes, BrokerAway) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  this->driver_.Leave();
  ASSERT_TRUE(this->host_.WaitState(PENSTOCK_STATE_CONNECTING));
  EXPECT_NE(this->host_.states().back().second, "");
  EXPECT_TRUE(this->host_.receipts().empty());
  const Tokens tokens = this->sink().TrySubmit(this->Events(0, 5));
  this->driver_.Return();
  ASSERT_TRUE(this->host_.WaitState(PENSTOCK_STATE_READY));
  ASSERT_TRUE(this->host_.WaitSettled());
  EXPECT_THAT(this->Answers(tokens), testing::Each(testing::AnyOf(kDelivered, kRetry)));
  for (size_t i = 0; i < 5; ++i) {
    if (i < tokens.size() && this->host_.receipt(tokens[i]).outcome == PENSTOCK_DELIVERED) continue;
    const int event = static_cast<int>(i);
    EXPECT_THAT(this->Send(event, event + 1), testing::ElementsAre(kDelivered));
  }
  EXPECT_EQ(this->driver_.OnBus(), this->Payloads(0, 5));
}

TYPED_TEST_P(Outcomes, AckNeverComes) {
  if (!this->Applicable()) return;
  Values values = this->driver_.Config();
  values.insert_or_assign("ack_timeout", std::chrono::milliseconds(300));
  ASSERT_NO_FATAL_FAILURE(this->StartReady(values));
  const Tokens tokens = this->driver_.InFlight(this->sink(), 5);
  ASSERT_TRUE(this->host_.WaitSettled());
  EXPECT_THAT(this->Answers(tokens), testing::Each(kUnknown));
  EXPECT_THAT(this->host_.receipt(tokens[0]).reason, testing::HasSubstr("300ms"));
  this->ExpectGoesOn();
}

TYPED_TEST_P(Outcomes, CancelledBeforeItWasSent) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  const Tokens tokens = this->driver_.Unsent(this->sink(), 5);
  EXPECT_THAT(this->Answers(tokens), testing::Each(Expected{-1}));
  this->sink().Cancel(tokens);
  EXPECT_TRUE(this->host_.WaitReceipts(5));
  EXPECT_THAT(this->Answers(tokens), testing::Each(kRetry));
  EXPECT_THAT(this->host_.receipt(tokens[0]).reason, testing::HasSubstr("cancelled"));
  this->driver_.Return();
  this->ExpectGoesOn();
}

TYPED_TEST_P(Outcomes, CancelledInFlight) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  const Tokens tokens = this->driver_.InFlight(this->sink(), 5);
  EXPECT_EQ(this->host_.pending(), 5u);
  this->sink().Cancel(tokens);
  ASSERT_TRUE(this->host_.WaitReceipts(5));
  EXPECT_THAT(this->Answers(tokens), testing::Each(kUnknown));
  EXPECT_THAT(this->host_.receipt(tokens[0]).reason, testing::HasSubstr("cancelled"));
  this->ExpectGoesOn();
}

TYPED_TEST_P(Outcomes, CancelOfWhatIsNotHeld) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  Tokens tokens = this->Submit(this->Events(0, 5));
  ASSERT_TRUE(this->host_.WaitSettled());
  // Nor what comes under these tokens later: a token is used again for the event's next attempt.
  for (uint64_t token = 1; token < 20; ++token) tokens.push_back(token);
  const size_t states = this->host_.states().size();
  this->sink().Cancel(tokens);
  this->sink().Cancel({});
  EXPECT_THAT(this->Send(5, 10), testing::Each(kDelivered));
  EXPECT_EQ(this->host_.states().size(), states);
  EXPECT_EQ(this->driver_.OnBus(), this->Payloads(0, 10));
}

TYPED_TEST_P(Outcomes, CancelledUnderStrict) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartStrict());
  this->driver_.Silence();
  const Tokens window = this->Submit(this->Events(1, 9), this->kStrict);
  const Tokens cancelled = {window[2], window[3]};
  this->sink().Cancel(cancelled);
  ASSERT_TRUE(this->host_.WaitReceiptsOf(cancelled));
  // What was sent may be there; nobody says that one was sent that was not.
  EXPECT_THAT(this->Answers(cancelled), testing::Each(testing::AnyOf(kRetry, kUnknown)));
  this->driver_.EndSilence();
  ASSERT_TRUE(this->host_.WaitState(PENSTOCK_STATE_READY));
  ASSERT_TRUE(this->host_.WaitSettled());
  // The host goes on with a new lane's first batch only when it has all receipts.
  EXPECT_THAT(this->Send(100, 101, this->kStrict), testing::ElementsAre(kFollower));
  std::vector<FakeMessage> rest;
  for (int i = 1; i < 9; ++i) {
    if (this->host_.receipt(window[static_cast<size_t>(i - 1)]).outcome != PENSTOCK_DELIVERED)
      rest.push_back(this->driver_.Event(i));
  }
  const Tokens again = this->Submit(std::move(rest), this->kResume);
  ASSERT_TRUE(this->host_.WaitSettled());
  EXPECT_THAT(this->Answers(again), testing::Each(testing::AnyOf(kDelivered, kDuplicate)));
  EXPECT_EQ(this->FirstOnBus(), this->Payloads(0, 9));
}

TYPED_TEST_P(Outcomes, StoppedWithMessagesInFlight) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  const Tokens tokens = this->driver_.InFlight(this->sink(), 5);
  this->sink().Stop();
  ASSERT_TRUE(this->host_.WaitReceipts(5));
  EXPECT_THAT(this->Answers(tokens), testing::Each(kUnknown));
}

TYPED_TEST_P(Outcomes, ProducerOrConnectionBreaks) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartReady());
  const Tokens tokens = this->driver_.Lost(this->sink(), 5);
  ASSERT_TRUE(this->host_.WaitReceipts(5));
  EXPECT_THAT(this->Answers(tokens), testing::Each(kUnknown));
  // Ready, not ready, and ready again.
  ASSERT_TRUE(this->host_.WaitStates(4));
  this->ExpectGoesOn();
}

TYPED_TEST_P(Outcomes, RefusedInMidWindowUnderStrict) {
  if (!this->Applicable()) return;
  ASSERT_NO_FATAL_FAILURE(this->StartStrict());
  this->driver_.RefuseThird();
  const Tokens window = this->Submit(this->Events(1, 6), this->kStrict);
  ASSERT_TRUE(this->host_.WaitSettled());
  // What was on its way behind the refused one may be unknown to the sink, and is not on the bus.
  const auto behind = testing::AnyOf(kFollower, kUnknown);
  EXPECT_THAT(this->Answers(window),
              testing::ElementsAre(kDelivered, kDelivered, kRetry, behind, behind));
  EXPECT_EQ(this->driver_.OnBus(), this->Payloads(0, 3));
  this->driver_.RefuseNone();
  ASSERT_TRUE(this->host_.WaitState(PENSTOCK_STATE_READY));
  // Until the lane is resumed nothing of it leaves.
  EXPECT_THAT(this->Send(5, 6, this->kStrict), testing::ElementsAre(kFollower));
  EXPECT_THAT(this->Send(3, 6, this->kResume), testing::Each(kDelivered));
  EXPECT_EQ(this->driver_.OnBus(), this->Payloads(0, 6));
}

TYPED_TEST_P(Outcomes, NotApplicableNamesCases) {
  const testing::TestSuite& suite = *testing::UnitTest::GetInstance()->current_test_suite();
  std::set<std::string_view> names;
  for (int i = 0; i < suite.total_test_count(); ++i) names.insert(suite.GetTestInfo(i)->name());
  for (const NotApplicable& one : TypeParam::kNotApplicable) {
    EXPECT_EQ(names.count(one.name), 1u) << one.name;
    EXPECT_NE(one.why, "");
  }
}

REGISTER_TYPED_TEST_SUITE_P(Outcomes, Delivered, DuplicateOfAnEarlierAttempt, TooLargeForTheBus,
                            NoSuchStreamOrTopic, BrokerAway, AckNeverComes,
                            CancelledBeforeItWasSent, CancelledInFlight, CancelOfWhatIsNotHeld,
                            CancelledUnderStrict, StoppedWithMessagesInFlight,
                            ProducerOrConnectionBreaks, RefusedInMidWindowUnderStrict,
                            NotApplicableNamesCases);

}  // namespace penstock::fakes
