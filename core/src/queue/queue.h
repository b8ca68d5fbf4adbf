// The bounded, ordered log of one source's events. A source appends once; every sink reads at its
// own pace.
#pragma once

#include <penstock/plugin.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "event/event.h"
#include "platform/clock.h"
#include "platform/signal.h"
#include "queue/progress.h"

namespace penstock::queue {

// What happens to an event that does not fit.
enum class WhenFull {
  kBlock,       // Append waits
  kDropNewest,  // it is dropped and counted
  kDropOldest,  // the oldest events go; readers that had not reached them find out at their next
                // Read
};

struct Limits {
  uint64_t max_events = 16384;
  uint64_t max_bytes = 32ull << 20;
  WhenFull when_full = WhenFull::kBlock;
};

using ReaderId = uint32_t;

// Called with the ack tokens of events that are safe: stored, or settled by every reader, or
// dropped by the user's choice. In their order, never twice at once.
using OnSafe = std::function<void(const uint64_t* ack_tokens, size_t n)>;

// Where a new reader begins.
enum class Start { kNew, kOldest };

// Where a reader stands when it is added: at the queue's end or its begin, or where it stood when
// the gateway was stopped.
struct Reader {
  ReaderId id = 0;
  uint64_t start = 0;                  // the first offset that it was ever to see
  uint64_t settled = 0;                // its next offset: all before it have settled
  uint64_t dropped_newest_before = 0;  // Stats::dropped_newest when it was first added
  Counters counters;                   // what became of those before settled, and of those above
  // What has settled above settled, in order, and must not be sent again.
  std::vector<event::OffsetRange> above{};
  // The queue keeps that over a restart; at most so many stretches. 0: it does not.
  size_t max_above = 0;
};

// A stretch of neighbouring events that a reader may use for as long as it holds the block.
struct Run {
  std::shared_ptr<const event::Block> block;
  uint64_t begin = 0, end = 0;  // offsets in block
  TimePoint appended_at{};      // all of them
};

struct ReadResult {
  // Where the runs begin: the offset asked for, or a later one when those before it were dropped.
  uint64_t begin = 0;
  DropReason skipped = DropReason::kWhenFull;  // why
  uint64_t end = 0;  // behind the last event read; equal to begin when there is nothing
  std::vector<Run> runs;
};

struct Stats {
  uint64_t appended = 0;           // events that got an offset, and are stored
  uint64_t dropped_newest = 0;     // events that did not, by kDropNewest
  uint64_t events = 0, bytes = 0;  // held now
  uint64_t unstored = 0;           // of those, not on disk yet (queues on disk)
};

// Offsets start where begin() says, grow by one per event, and are never used twice. Unless a
// function says otherwise, any thread may call it.
class Queue {
 public:
  Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  virtual ~Queue() = default;

  // The 64 random bits in the ids of this queue's events.
  virtual uint64_t id() const = 0;

  // What the id of the event at offset is made of.
  virtual std::pair<uint64_t, uint64_t> IdentityOf(uint64_t offset) const { return {id(), offset}; }

  // Takes the events of the batch in order; *accepted says how many were taken (or dropped by
  // policy, and counted). PENSTOCK_OK: all. PENSTOCK_AGAIN: no room within timeout (0: try, < 0:
  // for ever). PENSTOCK_STOPPED: closed. One thread at a time; blocks.
  virtual penstock_status Append(const penstock_event_batch& batch, size_t* accepted,
                                 Nanoseconds timeout) = 0;

  // The reader of that name, made if there is none; it holds back everything that it has not
  // settled. wake is notified when there is something new to read, and no other any more.
  virtual Reader AddReader(const std::string& name, Start start, std::shared_ptr<Signal> wake) = 0;
  // Nothing is held back for the reader any more, and its place is forgotten.
  virtual void RemoveReader(ReaderId /*reader*/) {}

  // What is held stays, also beyond new limits.
  virtual void SetLimits(const Limits& /*limits*/) {}
  // Only while no Append is under way. From now on on_safe is called, for events that are appended
  // from now on; empty: nobody is. The function of before is not being called when this returns,
  // and will not be.
  virtual void SetOnSafe(OnSafe /*on_safe*/) {}

  // Up to max_events and about max_bytes (at least one event, if there is one) from offset on. The
  // reader's thread.
  virtual ReadResult Read(ReaderId reader, uint64_t offset, uint64_t max_events,
                          uint64_t max_bytes) = 0;

  // The reader has got further.
  virtual void Release(ReaderId reader, Progress progress) = 0;

  // The smallest offset from which at most max_events, max_bytes and only events no older than
  // max_age are behind (0 each: no bound), but not below offset. The newest event is never too
  // large to be behind, only too old.
  virtual uint64_t WithinBound(uint64_t offset, uint64_t max_events, uint64_t max_bytes,
                               Nanoseconds max_age) const = 0;

  virtual uint64_t begin() const = 0;  // the oldest offset held
  virtual uint64_t end() const = 0;    // behind the last event that may be read
  virtual Stats stats() const = 0;
  // When the event at offset was appended; nothing if it is not held. May read a disk, but waits
  // for no other thread that does.
  virtual std::optional<TimePoint> AppendedAt(uint64_t /*offset*/) const { return {}; }

  // Append takes nothing from now on. Readers go on.
  virtual void Close() = 0;
};

}  // namespace penstock::queue
