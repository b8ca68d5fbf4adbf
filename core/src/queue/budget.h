// gateway.memory_limit: one bound on all queues and in-flight copies together.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "platform/signal.h"

namespace penstock::queue {

// Splits total bytes into a reserved minimum for each share and a common pool that all draw from,
// so that one full queue leaves every other source its minimum, and a thousand sources and a dead
// bus end in back-pressure. Any thread.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t total);
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // What a share that holds nothing may count on, however little is left. Without it an event
  // larger than the budget would wait for ever.
  enum class First {
    kUnlessOverdrawn,  // one piece, if no other share has overdrawn the budget like this
    kAlways,           // one piece: for a sink, because all others wait for what it sets free
  };

  // One queue's or sink's part of the budget.
  class Share {
   public:
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Takes bytes, or none of them.
    bool TryTake(uint64_t bytes);
    void Return(uint64_t bytes);
    uint64_t used() const { return used_.load(std::memory_order_relaxed); }
    // Notifies wake once when bytes that this share could have come back after this call: call it,
    // try once more, then wait.
    void WakeWhenFreed();

   private:
    friend class MemoryBudget;
    Share(MemoryBudget* budget, uint64_t reserve, std::shared_ptr<Signal> wake, First first);

    MemoryBudget* const budget_;
    const uint64_t reserve_;
    const First first_;
    const std::shared_ptr<Signal> wake_;
    std::atomic<uint64_t> used_{0};
    std::atomic<bool> waiting_{false};  // changes under the budget's mutex
  };

  // reserve is cut to what is left of total. The budget must outlive the share.
  std::shared_ptr<Share> MakeShare(uint64_t reserve, std::shared_ptr<Signal> wake,
                                   First first = First::kUnlessOverdrawn);

  uint64_t total() const { return total_; }
  uint64_t used() const;

 private:
  // Notifies the waiting shares, or only that one.
  void Wake(const Share* only);

  const uint64_t total_;
  mutable std::mutex mutex_;
  int64_t pool_;  // free bytes that no share has reserved; below 0 while it is overdrawn
  std::vector<Share*> shares_;
  std::atomic<uint32_t> waiting_{0};
};

}  // namespace penstock::queue
