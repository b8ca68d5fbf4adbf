#include "event/event.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <type_traits>

#include "platform/abi.h"

namespace penstock::event {
namespace {

std::string_view View(const penstock_str& s) { return {s.ptr, s.len}; }

std::span<const penstock_kv> Attributes(const penstock_event& event) {
  return {event.attributes, event.n_attributes};
}

// What a copy of the event's bytes takes, without its attribute table.
size_t PointedBytes(const penstock_event& event) {
  size_t bytes = event.payload.len + event.subject.len + event.id.len + event.type.len +
                 event.content_type.len;
  for (const penstock_kv& kv : Attributes(event)) bytes += kv.key.len + kv.value.len;
  return bytes;
}

size_t RoundUp(size_t n) {
  constexpr size_t kAlign = alignof(std::max_align_t);
  return (n + kAlign - 1) / kAlign * kAlign;
}

// Lets allocate_shared put room behind the object into the same allocation.
template <typename T>
class TailAllocator {
 public:
  using value_type = T;
  TailAllocator(size_t tail_bytes, char** tail) : tail_bytes_(tail_bytes), tail_(tail) {}
  template <typename U>
  TailAllocator(const TailAllocator<U>& other)
      : tail_bytes_(other.tail_bytes()), tail_(other.tail()) {}

  T* allocate(size_t n) {
    static_assert(alignof(T) <= alignof(std::max_align_t));
    const size_t head = RoundUp(n * sizeof(T));
    char* memory = static_cast<char*>(::operator new(head + tail_bytes_));
    *tail_ = memory + head;
    return reinterpret_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t) { ::operator delete(memory); }

  size_t tail_bytes() const { return tail_bytes_; }
  char** tail() const { return tail_; }
  template <typename U>
  bool operator==(const TailAllocator<U>&) const {
    return true;
  }

 private:
  size_t tail_bytes_;
  char** tail_;  // only looked at by allocate()
};

}  // namespace

size_t ChargedBytes(const penstock_event& event) {
  return kRecordOverhead + PointedBytes(event) + event.n_attributes * sizeof(penstock_kv);
}

penstock_event ReadEvent(const penstock_event_batch& batch, size_t index) {
  return abi::Read(batch.events, batch.stride, index);
}

// Measures the events of a batch, then writes them into the room that was asked for.
class Block::Filler {
 public:
  Filler(const penstock_event_batch& batch, size_t first, size_t count)
      : batch_(batch), first_(first), count_(count) {
    const penstock_owner* last = nullptr;
    for (size_t i = 0; i < count; ++i) {
      const penstock_event event = ReadEvent(batch, first + i);
      if (event.owner == nullptr) {
        copied_bytes_ += PointedBytes(event);
        copied_attributes_ += event.n_attributes;
      } else if (event.owner != last) {
        last = event.owner;
        ++owner_runs_;
      }
    }
  }

  size_t TailBytes() const {
    return count_ * (sizeof(Event) + sizeof(size_t)) + owner_runs_ * sizeof(OwnerRun) +
           copied_attributes_ * sizeof(penstock_kv) + copied_bytes_;
  }

  void Fill(Block* block, char* tail, uint64_t first_offset, int64_t now_ns) {
    static_assert(std::is_trivially_destructible_v<Event>);
    Event* events = Carve<Event>(&tail, count_);
    size_t* charges = Carve<size_t>(&tail, count_);
    OwnerRun* owners = Carve<OwnerRun>(&tail, owner_runs_);
    attributes_ = Carve<penstock_kv>(&tail, copied_attributes_);
    bytes_ = tail;
    size_t runs = 0;
    for (size_t i = 0; i < count_; ++i) {
      penstock_event event = ReadEvent(batch_, first_ + i);
      charges[i] = ChargedBytes(event);
      block->total_charge_ += charges[i];
      if (event.owner == nullptr) {
        Copy(&event);
      } else if (runs != 0 && owners[runs - 1].owner == event.owner) {
        ++owners[runs - 1].events;
      } else {
        owners[runs++] = {event.owner, 1};
      }
      new (&events[i]) Event{View(event.payload),
                             View(event.subject),
                             View(event.id),
                             View(event.type),
                             View(event.content_type),
                             Attributes(event),
                             event.time_ns != 0 ? event.time_ns : now_ns,
                             event.ack_token};
    }
    assert(runs == owner_runs_);
    block->first_offset_ = first_offset;
    block->size_ = count_;
    block->owner_runs_ = owner_runs_;
    block->events_ = events;
    block->charges_ = charges;
    block->owners_ = owners;
  }

 private:
  template <typename T>
  static T* Carve(char** tail, size_t n) {
    static_assert(alignof(T) <= alignof(size_t));  // the order of carving keeps all aligned
    T* out = reinterpret_cast<T*>(*tail);
    *tail += n * sizeof(T);
    return out;
  }

  void Copy(penstock_str* s) {
    if (s->len != 0) std::memcpy(bytes_, s->ptr, s->len);
    s->ptr = bytes_;
    bytes_ += s->len;
  }

  // Makes the event point to our memory instead of the plugin's.
  void Copy(penstock_event* event) {
    for (penstock_str* s :
         {&event->payload, &event->subject, &event->id, &event->type, &event->content_type}) {
      Copy(s);
    }
    penstock_kv* copies = attributes_;
    for (const penstock_kv& kv : Attributes(*event)) {
      penstock_kv* copy = new (attributes_++) penstock_kv(kv);
      Copy(&copy->key);
      Copy(&copy->value);
    }
    event->attributes = copies;
  }

  const penstock_event_batch& batch_;
  const size_t first_, count_;
  size_t owner_runs_ = 0;
  size_t copied_bytes_ = 0;
  size_t copied_attributes_ = 0;
  penstock_kv* attributes_ = nullptr;
  char* bytes_ = nullptr;
};

std::shared_ptr<const Block> Block::Take(const penstock_event_batch& batch, size_t first,
                                         size_t count, uint64_t first_offset, int64_t now_ns) {
  assert(first + count <= batch.count);
  Filler filler(batch, first, count);
  char* tail = nullptr;
  auto block =
      std::allocate_shared<Block>(TailAllocator<Block>(filler.TailBytes(), &tail), Private());
  filler.Fill(block.get(), tail, first_offset, now_ns);
  return block;
}

Block::~Block() {
  for (size_t i = 0; i < owner_runs_; ++i)
    owners_[i].owner->release(owners_[i].owner, owners_[i].events);
}

}  // namespace penstock::event
