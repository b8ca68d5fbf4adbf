// The events of one cursor that have left its queue and have not settled below the cursor yet.
#pragma once

#include <cassert>
#include <cstdint>
#include <deque>
#include <memory>

#include "delivery/ledger.h"
#include "event/arena.h"
#include "event/event.h"
#include "platform/clock.h"

namespace penstock::delivery {

// kHeld: for the dead letters, which have no room for it now. kBefore: it settled before the last
// restart.
enum class SlotState : uint8_t {
  kInFlight,
  kRetry,
  kHeld,
  kDelivered,
  kDeadLettered,
  kDropped,
  kBefore
};

// One event, or a run of dropped ones, or of those that settled before.
struct Slot {
  uint64_t offset = 0;
  uint64_t count = 1;  // > 1 only in states kDropped and kBefore
  SlotState state = SlotState::kInFlight;
  DropReason drop_reason = DropReason::kBehind;
  bool recorded = false;   // the queue was told that it has settled, and it is counted
  bool unread = false;     // dropped before it was read
  bool late = false;       // submitted again when a later event was on its way already
  bool cancelled = false;  // the sink was asked to give it back
  uint32_t attempt = 0;
  uint32_t failures = 0;  // attempts that failed for the event's own sake
  uint64_t bytes = 0;     // charged to the sink's window while in flight
  TimePoint appended_at{};
  TimePoint first_sent{};  // zero: not submitted yet
  std::shared_ptr<const event::Block> block;
  std::shared_ptr<const event::Arena> arena;  // holds what the sink was given

  bool settled() const { return state >= SlotState::kDelivered; }
  const event::Event& event() const { return block->at(offset); }
};

// Slots in offset order, without gaps between the committed offset and the next one.
class Window {
 public:
  explicit Window(uint64_t start) : committed_(start), next_(start) {}

  uint64_t committed() const { return committed_; }  // all below have settled
  uint64_t next() const { return next_; }            // the next offset to be read
  bool empty() const { return slots_.empty(); }
  const Slot& front() const { return slots_.front(); }
  size_t size() const { return slots_.size(); }

  // Appends an event at next(). The reference is good until the next call that appends or commits.
  Slot& Append(std::shared_ptr<const event::Block> block, TimePoint appended_at) {
    Slot& slot = slots_.emplace_back();
    slot.offset = next_++;
    slot.appended_at = appended_at;
    slot.block = std::move(block);
    return slot;
  }
  // Everything in [next(), end) was dropped.
  void AppendDropped(uint64_t end, DropReason reason) {
    assert(end > next_);
    // Neighbours become one, so that a cursor that keeps on falling behind does not grow.
    const bool extends = !slots_.empty() && slots_.back().state == SlotState::kDropped &&
                         slots_.back().drop_reason == reason && slots_.back().unread;
    Slot& slot = extends ? slots_.back() : slots_.emplace_back();
    if (extends) {
      runs_ -= slot.count > 1 ? 1 : 0;
      slot.count += end - next_;
    } else {
      slot.offset = next_;
      slot.count = end - next_;
      slot.state = SlotState::kDropped;
      slot.drop_reason = reason;
      slot.unread = true;
    }
    runs_ += slot.count > 1 ? 1 : 0;
    next_ = end;
  }
  // Everything in [next(), end) settled before, and was counted then.
  void AppendBefore(uint64_t end) {
    assert(end > next_);
    Slot& slot = slots_.emplace_back();
    slot.offset = next_;
    slot.count = end - next_;
    slot.state = SlotState::kBefore;
    slot.recorded = true;
    runs_ += slot.count > 1 ? 1 : 0;
    next_ = end;
  }
  // Takes back the last event, which was not submitted after all.
  void Unappend() {
    assert(!slots_.empty() && slots_.back().count == 1);
    slots_.pop_back();
    --next_;
  }

  // The slot of an offset, or nullptr when it is outside.
  Slot* Find(uint64_t offset) {
    if (offset < committed_ || offset >= next_) return nullptr;
    if (runs_ == 0) return &slots_[offset - committed_];
    size_t low = 0, high = slots_.size();
    while (high - low > 1) {
      const size_t middle = (low + high) / 2;
      (slots_[middle].offset <= offset ? low : high) = middle;
    }
    return &slots_[low];
  }

  bool Recorded(uint64_t offset) {
    const Slot* slot = Find(offset);
    return slot != nullptr && slot->recorded;
  }

  // The highest offset that is in flight or delivered, or committed() if there is none.
  uint64_t HighestTaken() const {
    for (auto slot = slots_.rbegin(); slot != slots_.rend(); ++slot) {
      if (slot->state == SlotState::kInFlight || slot->state == SlotState::kDelivered ||
          slot->state == SlotState::kBefore)
        return slot->offset;
    }
    return committed_;
  }

  // From the oldest on, until f returns false.
  template <typename F>
  void ForEach(F&& f) {
    for (Slot& slot : slots_) {
      if (!f(slot)) return;
    }
  }
  template <typename F>
  void ForEach(F&& f) const {
    for (const Slot& slot : slots_) {
      if (!f(slot)) return;
    }
  }

  // Drops the settled slots at the front; f sees each.
  template <typename F>
  void Commit(F&& f) {
    while (!slots_.empty() && slots_.front().settled()) {
      f(static_cast<const Slot&>(slots_.front()));
      committed_ = slots_.front().offset + slots_.front().count;
      runs_ -= slots_.front().count > 1 ? 1 : 0;
      slots_.pop_front();
    }
  }

 private:
  std::deque<Slot> slots_;
  uint64_t committed_, next_;
  size_t runs_ = 0;  // slots that stand for more than one offset
};

}  // namespace penstock::delivery
