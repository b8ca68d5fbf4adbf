// The loop thread: takes messages from submit, publishes them, matches answers to them and gives
// receipts.
//
// Each message in flight has a slot; the reply subject of its publish names slot and generation, so
// that an answer that comes after the slot was given up is known as late and ignored. All slots,
// lanes and the connection's state belong to the loop thread; submit only appends to a list.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <penstock/plugin.hpp>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include "ack.h"
#include "connection.h"
#include "message.h"
#include "port.h"
#include "settings.h"

namespace penstock::nats_jetstream {

class Publisher {
 public:
  Publisher(const Host& host, Settings settings);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  void Start();
  // [data] The number of messages taken, from the first.
  size_t Submit(const penstock_message_batch& batch);
  // [data] Gives these back soon: UNKNOWN where the server may have them, else RETRY. Tokens that
  // are not held are ignored.
  void Cancel(const uint64_t* tokens, size_t n);
  // Every message gets its receipt soon. Any thread, any number of times.
  void Stop();

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};

  struct Incoming {
    penstock_message message;
    uint32_t lane;
    bool strict, resume;
  };
  struct Slot {
    enum State : uint8_t { kFree, kQueued, kHeld, kInFlight };
    penstock_message message;
    uint32_t use = 0;         // counts the messages that had this slot
    uint32_t generation = 0;  // counts publishes and ends, for the reply subject
    uint32_t lane = 0;
    uint32_t older = kNone, newer = kNone;  // in flight, by deadline
    State state = kFree;
    bool strict = false, resume = false;
    bool chained = false;  // published with an expected predecessor
    int64_t deadline_ns = 0;
  };
  struct SlotRef {
    uint32_t slot, use;
  };
  // A source in strict order. Each message names its predecessor, and the server refuses what comes
  // out of turn.
  struct Lane {
    std::string chain_id;      // of the last message published
    std::string delivered_id;  // of the last message delivered
    bool broken = false;       // one failed: all until RESUME fail too
    bool unblamed = false;     // it broke without a failure: the next to fail says why
    std::deque<SlotRef> unsettled;
    std::deque<SlotRef> held;  // single file: waiting for the one in flight
    uint32_t in_flight = 0;
    int strikes = 0;              // times that the chain did not hold, with little in between
    uint64_t since_strike = 0;    // delivered since
    int64_t single_until_ns = 0;  // one at a time until then
  };

  void Run();
  void Turn();
  int64_t WaitTime(int64_t now) const;
  bool NothingWaits();

  // The connection's life.
  void BeginConnect(int64_t now);
  size_t Ending();
  void HandleNotes(int64_t now);
  void HandleUp(const Note& note, int64_t now);
  void HandleNotAllowed(const std::string& text);
  void CheckLink(int64_t now);
  void DropConnection();
  void ScheduleConnect(int64_t now, bool slow);
  void ReportConnecting(const std::string& why);

  // Messages on their way out.
  void TakeIncoming();
  void GiveBackCancelled();
  void GiveBackOfLane(Lane* lane);
  void GiveBack(uint32_t index);
  void PublishQueued(int64_t now);
  void HandleSlot(uint32_t index, int64_t now);
  bool HoldBack(Lane& lane, uint32_t index, int64_t now);
  void Publish(uint32_t index, std::string_view expected_id, int64_t now);
  void RefuseUnpublished(uint32_t index, natsStatus status);
  void WriteOut();
  void ReadIn();

  // Answers and receipts.
  void HandleAnswers(int64_t now);
  void HandleAnswer(const Answer& answer, int64_t now);
  void HandleError(uint32_t index, const Ack& ack, int64_t now);
  bool HandleChainError(uint32_t index, const Ack& ack, int64_t now);
  void NoteStrike(Lane& lane, int64_t now);
  void Expire(int64_t now);
  void FailEverything(const std::string& why);
  void ReleaseHeld(Lane& lane, int64_t now);
  void Settle(uint32_t index, int32_t outcome, std::string_view reason, int32_t code = 0,
              uint32_t flags = 0);
  void SettleLane(uint32_t index, int32_t outcome);
  void FlushReceipts();

  uint32_t NewSlot();
  void Link(uint32_t index);
  void Unlink(uint32_t index);
  bool Valid(const SlotRef& ref) const;
  std::string_view MsgId(uint32_t index) const;

  const Host host_;
  const std::shared_ptr<const Settings> settings_;
  const std::shared_ptr<Port> port_;
  const Metric reconnects_, late_answers_, chain_breaks_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};

  // Between submit and the loop.
  std::mutex incoming_mutex_;
  std::vector<Incoming> incoming_;
  std::unordered_set<uint64_t> cancelled_;   // tokens of what was submitted earlier
  size_t held_events_ = 0, held_bytes_ = 0;  // accepted, without a receipt
  bool ready_wanted_ = false;

  // The loop thread's.
  std::vector<Incoming> taken_;
  std::unordered_set<uint64_t> to_give_back_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::deque<SlotRef> queued_;
  uint32_t oldest_ = kNone, newest_ = kNone;
  size_t in_flight_ = 0;
  std::map<uint32_t, Lane> lanes_;  // strict ones
  std::vector<Answer> answers_;
  std::vector<Note> notes_;
  std::vector<penstock_receipt> receipts_;
  std::deque<std::string> reasons_;
  size_t settled_bytes_ = 0;
  MessageWriter writer_;
  Trash trash_;
  std::string reply_;

  std::mutex connection_mutex_;  // for Stop, which must reach the connection from outside
  std::shared_ptr<Connection> connection_;
  std::vector<std::shared_ptr<Connection>> ending_;  // released, their threads may still run
  std::vector<std::string> known_servers_;           // beside the configured ones, the latest first
  uint64_t next_connection_ = 1;
  bool up_ = false;
  bool write_blocked_ = false;
  int64_t next_connect_ns_ = 0, connect_deadline_ns_ = 0, connect_patience_ns_ = 0,
          up_since_ns_ = 0, last_hung_ns_ = 0;
  int64_t backoff_ns_ = 0;
  std::string last_reason_;
  int64_t last_reason_ns_ = 0;
  std::set<std::string> denied_subjects_;  // logged once
  std::minstd_rand random_;
};

}  // namespace penstock::nats_jetstream
