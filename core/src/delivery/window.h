// The events of one cursor that have left its queue and have not settled below the cursor yet.
#pragma once

#include <cassert>
#include <cstdint>
#include <deque>
#include <memory>

#include "delivery/ledger.h"
#include "event/arena.h"
#include "event/event.h"

namespace penstock::delivery {

enum class SlotState : uint8_t { kInFlight, kRetry, kDelivered, kDeadLettered, kDropped };

// One event, or a run of dropped ones.
struct Slot {
  uint64_t offset = 0;
  uint64_t count = 1;  // > 1 only in state kDropped
  SlotState state = SlotState::kInFlight;
  DropReason drop_reason = DropReason::kBehind;
  uint32_t attempt = 0;
  uint32_t bytes = 0;  // charged to the sink's window while in flight
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
  size_t size() const { return slots_.size(); }

  // Appends an event at next(). The reference is good until the next call that appends or commits.
  Slot& Append(std::shared_ptr<const event::Block> block) {
    slots_.push_back(Slot{});
    Slot& slot = slots_.back();
    slot.offset = next_++;
    slot.block = std::move(block);
    return slot;
  }
  // Everything in [next(), end) was dropped.
  void AppendDropped(uint64_t end, DropReason reason) {
    assert(end > next_);
    slots_.push_back(Slot{});
    Slot& slot = slots_.back();
    slot.offset = next_;
    slot.count = end - next_;
    slot.state = SlotState::kDropped;
    slot.drop_reason = reason;
    has_runs_ = has_runs_ || slot.count > 1;
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
    if (!has_runs_) return &slots_[offset - slots_.front().offset];
    size_t low = 0, high = slots_.size();
    while (high - low > 1) {
      const size_t middle = (low + high) / 2;
      (slots_[middle].offset <= offset ? low : high) = middle;
    }
    return &slots_[low];
  }

  // Drops the settled slots at the front; f sees each.
  template <typename F>
  void Commit(F&& f) {
    while (!slots_.empty() && slots_.front().settled()) {
      f(static_cast<const Slot&>(slots_.front()));
      committed_ = slots_.front().offset + slots_.front().count;
      slots_.pop_front();
    }
    if (slots_.empty()) has_runs_ = false;
  }

 private:
  std::deque<Slot> slots_;
  uint64_t committed_, next_;
  bool has_runs_ = false;
};

}  // namespace penstock::delivery
