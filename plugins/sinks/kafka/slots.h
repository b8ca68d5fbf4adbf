// What is kept of a message while librdkafka has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "topics.h"

namespace penstock::kafka {

struct Slot {
  uint64_t token = 0;
  Topic* topic = nullptr;
  uint32_t lane = 0;
  uint32_t size = 0;  // of a batch that holds only this record
  bool strict = false;
  bool has_key = false;
  bool cancelled = false;
  bool busy = false;
};

// A pool bounded by messages and bytes. Addresses never change. Not thread-safe.
class Slots {
 public:
  explicit Slots(size_t max) : max_(max) {}
  void SetMaxBytes(size_t bytes) { max_bytes_ = bytes; }

  // A slot that holds this; a message larger than the bound goes alone. nullptr: no room.
  Slot* Take(const Slot& value) {
    if (taken_ > 0 && bytes_ + value.size > max_bytes_) return nullptr;
    if (free_.empty()) {
      if (all_.size() >= max_) return nullptr;
      all_.emplace_back();
      free_.push_back(&all_.back());
    }
    Slot* slot = free_.back();
    free_.pop_back();
    *slot = value;
    slot->busy = true;
    bytes_ += slot->size;
    ++taken_;
    return slot;
  }
  void Give(Slot* slot) {
    slot->busy = false;
    bytes_ -= slot->size;
    free_.push_back(slot);
    --taken_;
  }
  size_t taken() const { return taken_; }
  template <typename F>
  void ForEachTaken(F&& f) {
    for (Slot& slot : all_)
      if (slot.busy) f(&slot);
  }

 private:
  const size_t max_;
  size_t max_bytes_ = ~size_t{0};
  size_t taken_ = 0;
  size_t bytes_ = 0;
  std::deque<Slot> all_;
  std::vector<Slot*> free_;
};

}  // namespace penstock::kafka
