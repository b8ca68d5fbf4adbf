// The delivery of one sink: a cursor for each source that it reads, one window shared by all.
#pragma once

#include <penstock/plugin.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "delivery/backoff.h"
#include "delivery/ledger.h"
#include "event/encode.h"
#include "platform/log.h"
#include "platform/signal.h"
#include "queue/budget.h"
#include "queue/queue.h"

namespace penstock::delivery {

// What delivery needs of a sink: the plugin's data-thread calls.
class SinkPort {
 public:
  SinkPort() = default;
  SinkPort(const SinkPort&) = delete;
  SinkPort& operator=(const SinkPort&) = delete;
  virtual ~SinkPort() = default;
  // As penstock_plugin.submit: takes the first *accepted, each of which gets one receipt by Dispatcher::Complete.
  virtual penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) = 0;
  virtual void Flush() = 0;
};

// An event that a sink will never take.
struct DeadLetter {
  std::string source, sink;
  uint64_t offset = 0;
  std::string id;
  std::string reason;
  const event::Event* event = nullptr;
};

// Keeps dead letters, keyed by (source, sink, offset).
class DeadLetters {
 public:
  DeadLetters() = default;
  DeadLetters(const DeadLetters&) = delete;
  DeadLetters& operator=(const DeadLetters&) = delete;
  virtual ~DeadLetters() = default;
  // true: kept. false: there is no place for it; it is counted as dropped.
  virtual bool Put(const DeadLetter& letter) = 0;
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

struct CursorSpec {
  std::shared_ptr<queue::Queue> queue;
  const event::SourceInfo* source = nullptr;  // outlives the dispatcher
  event::EncoderSpec encoder;
  Order order = Order::kRelaxed;
  bool skip_when_behind = false;
  MaxBehind max_behind;
  RetryPolicy retry;
  uint64_t start = 0;  // the first offset to deliver
};

struct WindowLimits {
  uint64_t max_events = 8192;
  uint64_t max_bytes = 16ull << 20;
};

struct SinkStatus {
  int32_t state = PENSTOCK_STATE_CONNECTING;
  std::string text;
};

class Cursor;
struct Batch;

// One thread calls Step and the set-up functions; Complete, Ready, SetState, Ledgers and Status may be called by any.
class Dispatcher {
 public:
  // port, clock and dead_letters outlive the dispatcher. signal is notified when Step has something to do.
  Dispatcher(std::string sink_name, SinkPort* port, WindowLimits limits,
             std::shared_ptr<queue::MemoryBudget::Share> share, DeadLetters* dead_letters,
             const Clock* clock, std::shared_ptr<Signal> signal, uint64_t seed);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void AddCursor(CursorSpec spec);

  // Handles what came in, submits what can be submitted, and returns when it wants to be called again even if the signal is
  // not notified: TimePoint::max() for never. Blocks only as long as the sink's Submit does.
  TimePoint Step();

  // From now on the sink is flushed whenever there is nothing more to read.
  void SetDraining() { draining_ = true; }
  // From now on Step only handles receipts. Any thread.
  void StopSubmitting() { stopped_ = true; }
  // Everything that the queues hold has settled.
  bool Drained() const;
  uint64_t in_flight() const { return in_flight_events_; }

  // What the sink says.
  void Complete(const penstock_receipt* receipts, size_t n);
  void Ready();
  void SetState(int32_t state, std::string_view text);

  std::vector<Ledger> Ledgers() const;
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
    bool state_changed = false;
  };

  void TakeInbox();
  void Settle(const Done& done, const std::vector<std::string>& reasons);
  void OnConnected();
  void Fill();
  // Submits up to one batch of the cursor's events; how many the sink took.
  size_t SubmitSome(Cursor& cursor, uint64_t max_events, uint64_t max_bytes);
  // Charges the batch's encoded copies to the budget until the last of them is gone; false: there is no room now.
  bool TakeMemory(Batch* batch);
  bool MaySubmit() const;
  TimePoint NextDeadline() const;

  const std::string name_;
  SinkPort* const port_;
  const WindowLimits limits_;
  const std::shared_ptr<queue::MemoryBudget::Share> share_;
  DeadLetters* const dead_letters_;
  const Clock* const clock_;
  const std::shared_ptr<Signal> signal_;
  const uint64_t seed_;

  std::vector<std::unique_ptr<Cursor>> cursors_;
  size_t turn_ = 0;  // whose turn it is
  uint64_t in_flight_events_ = 0, in_flight_bytes_ = 0;
  bool paused_ = false;  // submit said AGAIN and ready() has not come
  bool connected_ = false;
  bool unflushed_ = false;
  std::atomic<bool> draining_{false}, stopped_{false};
  TimePoint now_{};
  log::Limiter misuse_log_{std::chrono::seconds(10)};

  mutable std::mutex mutex_;  // guards inbox_ and status_
  Inbox inbox_;
  SinkStatus status_;
  Inbox working_;  // swapped with inbox_, to keep its memory
};

}  // namespace penstock::delivery
