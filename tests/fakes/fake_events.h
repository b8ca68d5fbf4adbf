// Events as a source plugin would emit them.
#pragma once

#include <penstock/plugin.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "event/event.h"
#include "platform/clock.h"

namespace penstock::fakes {

// Counts the events whose memory the host has given back.
struct Lender {
  std::atomic<uint64_t> lent{0}, released{0};
};

// A batch of events. With a lender the host gets references to memory that is freed when it has
// released the last of them, so that a sanitizer sees a late read; without one it must copy.
class FakeBatch {
 public:
  explicit FakeBatch(Lender* lender = nullptr) : memory_(new Memory(lender)) {
    owner_ = lender != nullptr ? memory_ : nullptr;
  }
  FakeBatch(const FakeBatch&) = delete;
  FakeBatch& operator=(const FakeBatch&) = delete;
  ~FakeBatch() { memory_->Unref(1); }

  FakeBatch& Add(std::string payload, uint64_t ack_token = 0) {
    penstock_event event{};
    event.payload = Keep(std::move(payload));
    event.owner = owner_;
    event.ack_token = ack_token;
    events_.push_back(event);
    return *this;
  }
  // For what Add does not set.
  penstock_event& back() { return events_.back(); }
  penstock_str Keep(std::string text) {
    memory_->texts.push_back(std::move(text));
    return {memory_->texts.back().data(), memory_->texts.back().size()};
  }
  size_t size() const { return events_.size(); }

  // Offers the events to a queue, once; a batch may be emitted only once.
  template <typename Queue>
  penstock_status AppendTo(Queue& queue, size_t* accepted, Nanoseconds timeout) {
    if (owner_ != nullptr) {
      memory_->references += static_cast<int64_t>(size());
      memory_->lender->lent += size();
    }
    const penstock_event_batch batch{sizeof batch, sizeof(penstock_event), events_.data(), size()};
    const penstock_status status = queue.Append(batch, accepted, timeout);
    if (owner_ != nullptr) {
      memory_->lender->lent -= size() - *accepted;
      memory_->Unref(size() - *accepted);
    }
    return status;
  }

 private:
  struct Memory : penstock_owner {
    explicit Memory(Lender* l) : lender(l) {
      release = [](penstock_owner* self, uint32_t n) noexcept {
        auto* memory = static_cast<Memory*>(self);
        memory->lender->released += n;
        memory->Unref(n);
      };
    }
    void Unref(uint64_t n) {
      if ((references -= static_cast<int64_t>(n)) == 0) delete this;
    }
    Lender* const lender;
    std::atomic<int64_t> references{1};  // one is the batch's own
    std::deque<std::string> texts;
  };

  Memory* const memory_;
  penstock_owner* owner_;
  std::vector<penstock_event> events_;
};

// What an event with a payload of that size and nothing else is charged with.
inline uint64_t ChargeOf(size_t payload_bytes) { return event::kRecordOverhead + payload_bytes; }

}  // namespace penstock::fakes
