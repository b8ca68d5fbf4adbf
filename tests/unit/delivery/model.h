// What a schedule may do to a route, and what must hold whatever it does.
#pragma once

#include <gtest/gtest.h>
#include <penstock/plugin.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "delivery/dispatcher.h"

namespace penstock::delivery {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Below(uint64_t n) { return engine_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  std::mt19937_64 engine_;
};

// The reference: what became of each event of one source at one sink, as the sink sees it.
struct RouteModel {
  // kOpen: it was sent before a crash, and nothing that is stored says what became of it.
  enum class Fate { kNotSent, kInFlight, kFailed, kDelivered, kRejected, kOpen };
  struct Event {
    Fate fate = Fate::kNotSent;
    bool stored = false;    // that it has settled
    uint32_t attempts = 0;  // since the last crash
    uint64_t token = 0;
    std::string id;
  };

  Order order = Order::kRelaxed;
  bool may_drop = false;  // by skip or by the queue's policy
  bool unknowns = true;   // the host sometimes does not know what its bus took
  std::map<uint64_t, Event> events;
  std::set<uint64_t> poison;  // the numbers that the bus rejects, each time
  std::vector<uint64_t> bus;  // the numbers in the order in which the bus took them
  int64_t newest = -1;        // the highest number that was ever sent
  int64_t newest_now = -1;    // since the last crash
  bool broken = false;        // a strict lane, at the sink

  // A filter that drops some numbers, and fails on others.
  static constexpr char kFilter[] = "int(body) % 7 == 3 and nil + 1 or int(body) % 5 ~= 1";
  bool filters = false;
  OnFilterError on_error{};
  static bool FilterFails(uint64_t number) { return number % 7 == 3; }
  static bool FilterDrops(uint64_t number) { return number % 5 == 1 && !FilterFails(number); }
  bool Filtered(uint64_t number) const {
    return filters &&
           (FilterDrops(number) || (FilterFails(number) && on_error != OnFilterError::kPass));
  }

  uint64_t Count(Fate fate) const {
    uint64_t n = 0;
    for (const auto& [number, event] : events) n += event.fate == fate ? 1 : 0;
    return n;
  }
  void Sent(uint64_t number, const penstock_message& m) {
    Event& event = events[number];
    const std::string id(m.id.ptr, m.id.len);
    EXPECT_FALSE(event.stored) << number << " is sent again though it is stored as settled";
    if (event.attempts == 0) {
      const auto signed_number = static_cast<int64_t>(number);
      EXPECT_GT(signed_number, newest_now) << "sent for the first time out of order";
      newest_now = signed_number;
    }
    if (event.fate == Fate::kNotSent) {
      // What was dropped may come back with a crash.
      EXPECT_TRUE(newest_now > newest || may_drop) << number << " was left out";
      newest = std::max(newest, newest_now);
      event.token = m.token;
      event.id = id;
    } else {
      EXPECT_EQ(event.fate, event.attempts == 0 ? Fate::kOpen : Fate::kFailed)
          << number << " is sent again though it has not failed";
      EXPECT_EQ(event.token, m.token);
      EXPECT_EQ(event.id, id);
    }
    EXPECT_EQ(m.attempt, ++event.attempts);
    event.fate = Fate::kInFlight;
  }

  // What is on the disk, as far as it is certain.
  bool buries = true;  // what is rejected; else it may wait for room in the dead letters
  std::vector<uint64_t> taken{}, stepped{};  // settled since the last step, since the last commit
  bool Settled(const Event& event) const {
    return event.fate == Fate::kDelivered || (event.fate == Fate::kRejected && buries);
  }
  void Answered(uint64_t number, Fate fate) {
    Event& event = events[number];
    event.fate = fate;
    if (Settled(event)) taken.push_back(number);
  }
  // The host has taken every receipt that there was.
  void Stepped() {
    stepped.insert(stepped.end(), taken.begin(), taken.end());
    taken.clear();
  }
  // All of that is on the disk. Under strict order only what lies below the cursor is.
  void Committed() {
    if (order == Order::kRelaxed) {
      for (const uint64_t number : stepped) events[number].stored = true;
      stepped.clear();
      return;
    }
    uint64_t next = 0;  // all below were sent, so that they are all in events
    for (auto& [number, event] : events) {
      if (number != next++ || !Settled(event)) return;
      if (std::count(taken.begin(), taken.end(), number) > 0) return;
      event.stored = true;
    }
  }
  void Crashed() {
    taken.clear();
    stepped.clear();
    newest_now = -1;
    broken = false;
    for (auto& [number, event] : events) {
      event.attempts = 0;
      if (!event.stored) event.fate = Fate::kOpen;
    }
  }
};

// A sink that decides at random what its bus takes, and gives the receipts when the schedule says
// so. On strict lanes it keeps the prefix promise.
class RandomSink : public SinkPort {
 public:
  RandomSink(Random* random, size_t max_events) : random_(*random), max_events_(max_events) {}

  Dispatcher* dispatcher = nullptr;
  std::vector<RouteModel*> lanes;
  bool connected = false, healthy = false, unknowns = true;
  size_t capacity = ~size_t{0};

  penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) override {
    EXPECT_TRUE(connected) << "submitted while not connected";
    EXPECT_FALSE(again_) << "submitted although ready() has not come";
    if (!healthy && random_.OneIn(50)) return PENSTOCK_E_FAILED;
    const size_t n = std::min(batch.count, capacity);
    if (n > 0) CheckFlags(batch);
    for (size_t i = 0; i < n; ++i) Take(batch.lane, *penstock_message_at(&batch, i));
    EXPECT_LE(flights_.size(), max_events_);
    if (capacity != ~size_t{0}) capacity -= n;
    *accepted = n;
    again_ = n < batch.count;
    return again_ ? PENSTOCK_AGAIN : PENSTOCK_OK;
  }
  void Flush() override {}
  void Cancel(const std::vector<uint64_t>&) override {}

  void Ready(size_t room) {
    capacity = room;
    again_ = false;
    dispatcher->Ready();
  }
  void Connect() {
    if (connected) return;
    connected = true;
    again_ = false;
    dispatcher->SetState(PENSTOCK_STATE_READY, "");
  }
  void Disconnect() {
    connected = false;
    dispatcher->SetState(PENSTOCK_STATE_CONNECTING, "");
    CutOff();
    for (const Flight& flight : flights_)
      if (flight.outcome != PENSTOCK_DELIVERED) lanes[flight.lane]->broken = true;
  }

  // The bus takes or refuses one of those in flight.
  void DecideOne() {
    if (flights_.empty()) return;
    const uint32_t lane = flights_[random_.Below(flights_.size())].lane;
    // Without unknowns the bus is such that every inversion is of the host's making.
    const bool in_order = Strict(*lanes[lane]) || !unknowns;
    std::vector<Flight*> open;
    for (Flight& flight : flights_)
      if (!flight.decided && flight.lane == lane) open.push_back(&flight);
    if (!open.empty()) DecideRandomly(open[in_order ? 0 : random_.Below(open.size())]);
  }
  // One receipt, of any message whose fate is decided.
  void AnswerOne() {
    std::vector<size_t> decided;
    for (size_t i = 0; i < flights_.size(); ++i)
      if (flights_[i].decided) decided.push_back(i);
    if (decided.empty()) return;
    const size_t at = decided[random_.Below(decided.size())];
    const Flight flight = flights_[at];
    flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_EQ(Number(flight.message), flight.number) << "the message's memory has changed";
    lanes[flight.lane]->Answered(flight.number,
                                 flight.outcome == PENSTOCK_DELIVERED ? RouteModel::Fate::kDelivered
                                 : flight.outcome == PENSTOCK_REJECTED ? RouteModel::Fate::kRejected
                                                                       : RouteModel::Fate::kFailed);
    const penstock_receipt receipt{
        flight.message.token, flight.outcome, flight.flags, 0, 0, {"why", 3}};
    dispatcher->Complete(&receipt, 1);
  }
  void AnswerAll() {
    while (!flights_.empty()) {
      DecideOne();
      AnswerOne();
    }
  }
  bool idle() const { return flights_.empty(); }
  // Another one takes its place. Of what was under way the host learns nothing: it sends it again.
  void Replaced() {
    CutOff();
    for (const Flight& flight : flights_) {
      lanes[flight.lane]->events[flight.number].fate = RouteModel::Fate::kFailed;
      lanes[flight.lane]->unknowns = true;
    }
    for (RouteModel* lane : lanes) lane->broken = false;
    HostDied();
  }
  // The host is gone. What was under way has reached the bus or not.
  void HostDied() {
    CutOff();
    flights_.clear();
    connected = again_ = false;
    capacity = ~size_t{0};
  }

 private:
  // Decides what had not been decided, for good.
  void CutOff() {
    std::set<uint32_t> cut;
    for (Flight& flight : flights_) {
      RouteModel& lane = *lanes[flight.lane];
      if (flight.decided) continue;
      // The bus may have taken some more, on a strict lane only a prefix; nobody will ever know.
      const bool refused = lane.poison.count(flight.number) > 0 ||
                           (Strict(lane) && (lane.broken || cut.count(flight.lane) > 0));
      const bool taken = unknowns && !refused && random_.OneIn(2);
      if (taken) lane.bus.push_back(flight.number);
      if (!taken) cut.insert(flight.lane);
      Decide(&flight, taken ? PENSTOCK_UNKNOWN : PENSTOCK_RETRY, 0);
    }
  }

  struct Flight {
    uint32_t lane;
    uint64_t number;
    penstock_message message;
    bool decided = false;
    int32_t outcome = 0;
    uint32_t flags = 0;
  };

  static bool Strict(const RouteModel& lane) { return lane.order != Order::kRelaxed; }
  // Payloads are "NUMBER" and padding.
  static uint64_t Number(const penstock_message& m) {
    return std::stoull(std::string(m.payload.ptr, m.payload.len));
  }

  void CheckFlags(const penstock_message_batch& batch) {
    RouteModel& lane = *lanes.at(batch.lane);
    size_t in_flight = 0;
    for (const Flight& flight : flights_) in_flight += flight.lane == batch.lane ? 1 : 0;
    if (lane.order == Order::kStrict) {
      EXPECT_EQ(in_flight, 0u) << "strict without a promise: one at a time";
      EXPECT_EQ(batch.count, 1u);
      lane.broken = false;
    }
    const bool pipelined = lane.order == Order::kStrictPipelined;
    EXPECT_EQ((batch.flags & PENSTOCK_BATCH_STRICT) != 0, pipelined);
    if ((batch.flags & PENSTOCK_BATCH_RESUME) == 0) return;
    EXPECT_TRUE(pipelined);
    EXPECT_EQ(in_flight, 0u) << "RESUME before every earlier message had its receipt";
    lane.broken = false;
  }
  void Take(uint32_t lane, const penstock_message& m) {
    const uint64_t number = Number(m);
    lanes[lane]->Sent(number, m);
    flights_.push_back({lane, number, m});
  }
  static void Decide(Flight* flight, int32_t outcome, uint32_t flags) {
    flight->decided = true;
    flight->outcome = outcome;
    flight->flags = flags;
  }
  void DecideRandomly(Flight* flight) {
    RouteModel& lane = *lanes[flight->lane];
    if (Strict(lane) && lane.broken)
      return Decide(flight, PENSTOCK_RETRY, PENSTOCK_RECEIPT_FOLLOWER);
    if (lane.poison.count(flight->number) > 0) return Decide(flight, PENSTOCK_REJECTED, 0);
    const uint64_t dice = healthy ? 9 : random_.Below(12);
    if (dice == 0) {
      lane.broken = true;
      return Decide(flight, PENSTOCK_RETRY, 0);
    }
    if (dice == 1 && unknowns) {
      lane.broken = true;
      if (random_.OneIn(2)) lane.bus.push_back(flight->number);
      return Decide(flight, PENSTOCK_UNKNOWN, 0);
    }
    if (dice == 2) {
      lane.poison.insert(flight->number);
      lane.broken = lane.broken || random_.OneIn(2);
      return Decide(flight, PENSTOCK_REJECTED, 0);
    }
    lane.bus.push_back(flight->number);
    Decide(flight, PENSTOCK_DELIVERED, 0);
  }

  Random& random_;
  const size_t max_events_;
  std::vector<Flight> flights_;
  bool again_ = false;
};

}  // namespace penstock::delivery
