// The delivery of one sink: a cursor for each source that it reads, one window shared by all.
#pragma once

#include <penstock/plugin.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "delivery/backoff.h"
#include "delivery/ledger.h"
#include "event/encode.h"
#include "filter/filter.h"
#include "platform/log.h"
#include "platform/signal.h"
#include "queue/budget.h"
#include "queue/dead_letters.h"
#include "queue/queue.h"

namespace penstock::delivery {

// What delivery needs of a sink: the plugin's data-thread calls.
class SinkPort {
 public:
  SinkPort() = default;
  SinkPort(const SinkPort&) = delete;
  SinkPort& operator=(const SinkPort&) = delete;
  virtual ~SinkPort() = default;
  // As penstock_plugin.submit: takes the first *accepted, each of which gets one receipt by
  // Dispatcher::Complete. Anything but OK with all of them taken, and AGAIN, is an error: the rest
  // is offered again after a backoff.
  virtual penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) = 0;
  virtual void Flush() = 0;
  // Asks for the receipts of messages that have been under way for too long; best effort.
  virtual void Cancel(const std::vector<uint64_t>& tokens) = 0;
};

struct MaxBehind {
  uint64_t events = 0;  // 0: no bound
  uint64_t bytes = 0;
  Nanoseconds age{0};
};

enum class Order {
  kRelaxed,          // pipelined; a refused event may stand after later ones
  kStrict,           // one unsettled event at a time
  kStrictPipelined,  // the sink keeps the prefix promise of PENSTOCK_BATCH_STRICT
};

enum class OnFilterError { kPass, kDrop, kDeadLetter };

// An event goes on if the filter, where there is one, says so.
struct FilterStep {
  std::shared_ptr<filter::Filter> filter;  // only the dispatcher's thread uses it
  OnFilterError on_error = OnFilterError::kDeadLetter;
};

struct CursorSpec {
  std::shared_ptr<queue::Queue> queue;
  const event::SourceInfo* source = nullptr;  // outlives the dispatcher
  event::EncoderSpec encoder;
  FilterStep source_filter, sink_filter;  // asked in this order
  Order order = Order::kRelaxed;
  bool skip_when_behind = false;
  MaxBehind max_behind;
  RetryPolicy retry;
  bool replays = false;  // of dead letters: not a route of its own, and ids are IdentityOf's
  queue::DeadLetters* dead_letters = nullptr;  // outlives the dispatcher; null: there are none
  queue::Start start = queue::Start::kNew;     // where it begins if the queue does not know it yet
};

// What a sink may have in flight. Half of it is split evenly among the cursors as their own, the
// other half is for whoever needs it: so one bus subject that never answers cannot take the window
// from the other sources.
struct WindowLimits {
  uint64_t max_events = 8192;
  uint64_t max_bytes = 16ull << 20;  // exceeded by at most one event for each cursor
};

struct SinkStatus {
  int32_t state = PENSTOCK_STATE_CONNECTING;
  std::string text;
};

// How one cursor stands, as of its last step: what a submit that is under way does is not in it.
struct RouteStatus {
  Ledger ledger;
  Ledger at_start;                          // the same when the cursor was made
  uint64_t committed = 0;                   // all before it have settled
  uint64_t next = 0;                        // the next offset to be read
  std::optional<TimePoint> oldest_pending;  // when it was appended; nothing: not known, or none
  // Attempts in a row that failed, and why the last one did. 0: all is well.
  uint32_t failures = 0;
  std::string reason;
  TimePoint next_try{};  // may be past
  // Events that wait for room in the dead letters, and why the first of them is to go there. Above
  // 0 the route stands still.
  uint64_t held = 0;
  std::string held_reason;
};

class Cursor;
struct Batch;

// One thread calls Step and the set-up functions; Complete, Ready, SetState, Ledgers, Routes and
// Status may be called by any; these never wait for the sink.
class Dispatcher {
 public:
  // port and clock outlive the dispatcher. signal is notified when Step has something
  // to do.
  Dispatcher(std::string sink_name, SinkPort* port, WindowLimits limits,
             std::shared_ptr<queue::MemoryBudget::Share> share, const Clock* clock,
             std::shared_ptr<Signal> signal, uint64_t seed);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // A cursor of a source that this sink does not read yet.
  void AddCursor(CursorSpec spec);
  // The same in the place of the cursor that another dispatcher had for that sink and source: it
  // goes on where that one stands, and sends again what that one left without a receipt.
  void AddCursor(CursorSpec spec, std::unique_ptr<Cursor> predecessor);
  // f runs in the next Step, on its thread. Any thread.
  void Post(std::function<void()> f);

  // Of one source's cursors, its replays included; all like AddCursor.
  // Nothing is read from offset on; max(): all is. Replays end where they are.
  void EndRoute(const std::string& source, uint64_t offset);
  // All up to there has settled, and nothing is in flight.
  bool Ended(const std::string& source) const;
  // Once ended: the queue forgets the reader.
  void RemoveRoute(const std::string& source);
  // What is read from now on passes that filter of its source, and is encoded to say so of it.
  void SetSource(const event::SourceInfo* source, const FilterStep& filter);
  // All cursors, for the dispatcher that comes after this one. Nobody steps or will step.
  std::vector<std::unique_ptr<Cursor>> TakeCursors();

  // Handles what came in, submits what can be submitted, and returns when it wants to be called
  // again even if the signal is not notified: TimePoint::max() for never. Blocks only as long as
  // the sink's Submit does.
  TimePoint Step();

  // From now on the sink is flushed whenever there is nothing more to submit. Any thread.
  void SetDraining() { draining_ = true; }
  // From now on Step only handles receipts. When this returns the
  // port is not being called and will not be called again; it blocks for as long as a call is under
  // way. Any thread but from within the port.
  void StopSubmitting();
  // Everything that the queues hold has settled.
  bool Drained() const;
  uint64_t in_flight() const { return in_flight_; }

  // What the sink says.
  void Complete(const penstock_receipt* receipts, size_t n);
  void Ready();
  void SetState(int32_t state, std::string_view text);

  std::vector<Ledger> Ledgers() const;
  std::vector<RouteStatus> Routes() const;
  SinkStatus Status() const;

 private:
  // A receipt as it waits for Step.
  struct Done {
    uint64_t token;
    int32_t outcome;
    uint32_t flags;
    int32_t code;
    int32_t reason;  // index into Inbox::reasons, -1: none
  };
  struct Inbox {
    std::vector<Done> done;
    std::vector<std::string> reasons;
    bool ready = false;
    bool connected = false;  // the state has become READY
    bool state_changed = false;
    std::vector<std::function<void()>> posted;
  };
  // What a cursor may have in flight in addition.
  struct Room {
    uint64_t events, bytes;
  };

  void TakeInbox();
  void Settle(const Done& done, const std::vector<std::string>& reasons);
  void OnConnected();
  void Fill();
  // One round robin turn for each of the busy cursors; those that may want another one. None once
  // it has taken long, which it can where filters drop much: then Step is to be called again.
  std::vector<Cursor*> TakeTurns(const std::vector<Cursor*>& busy);
  // sharers: how many want the window now.
  Room RoomFor(const Cursor& cursor, uint64_t sharers) const;
  // The part of the window that belongs to each cursor alone.
  Room Own() const;
  void CountShared();
  // Submits up to one batch of the cursor's events; how many events are a step further.
  size_t SubmitSome(Cursor& cursor, Room room);
  // Hands the batch to the port, unless that must not be called any more.
  penstock_status Submit(const Cursor& cursor, const Batch& batch, size_t* accepted);
  // Charges the batch's encoded copies to the budget until the last of them is gone; false: there
  // is no room now.
  bool TakeMemory(Batch* batch);
  void FlushIfIdle();
  // Gives up events whose age is over their route's limit.
  void Expire();
  bool MaySubmit() const { return connected_ && !paused_ && !stopped_; }
  TimePoint NextDeadline() const;

  const std::string name_;
  SinkPort* const port_;
  const WindowLimits limits_;
  const std::shared_ptr<queue::MemoryBudget::Share> share_;
  const Clock* const clock_;
  const std::shared_ptr<Signal> signal_;
  const uint64_t seed_;

  // Only Step's thread changes it, under cursors_mutex_; others read it under that.
  std::vector<std::unique_ptr<Cursor>> cursors_;
  mutable std::mutex cursors_mutex_;
  std::vector<Cursor*> lanes_;  // by their number; null: it is gone, and its number with it
  size_t turn_ = 0;             // whose turn it is
  uint64_t in_flight_ = 0;
  Room shared_{0, 0};    // in flight beyond each cursor's own part of the window
  bool paused_ = false;  // submit said AGAIN and ready() has not come
  bool connected_ = false;
  bool unflushed_ = false;
  bool again_ = false;            // Fill has left off before all was looked at
  TimePoint fill_end_{};          // when it does
  std::unique_ptr<Batch> batch_;  // the one that is being submitted; kept for its memory
  std::atomic<bool> draining_{false}, stopped_{false};
  std::mutex port_mutex_;  // held while the port is called
  TimePoint now_{};
  log::Limiter misuse_log_{std::chrono::seconds(10)};

  mutable std::mutex mutex_;  // guards inbox_ and status_
  Inbox inbox_;
  SinkStatus status_;
  Inbox working_;  // swapped with inbox_, to keep its memory
};

}  // namespace penstock::delivery
