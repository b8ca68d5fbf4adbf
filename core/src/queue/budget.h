// gateway.memory_limit: one bound on all queues and in-flight copies together.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "platform/signal.h"

namespace penstock::queue {

// Splits total bytes into a reserved minimum for each share and a common pool that all draw from, so that one full queue
// leaves every other source its minimum, and a thousand sources and a dead bus end in back-pressure. Any thread.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t total);
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // One queue's or sink's part of the budget.
  class Share {
   public:
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Takes bytes, or none of them. A share that holds nothing always gets what it asks for, so that one event larger
    // than the budget still passes.
    bool TryTake(uint64_t bytes);
    void Return(uint64_t bytes);
    uint64_t used() const { return used_.load(std::memory_order_relaxed); }
    // Notifies wake once when bytes come back after this call: call it, try once more, then wait.
    void WakeWhenFreed();

   private:
    friend class MemoryBudget;
    Share(MemoryBudget* budget, uint64_t reserve, std::shared_ptr<Signal> wake);

    MemoryBudget* budget_;
    const uint64_t reserve_;
    const std::shared_ptr<Signal> wake_;
    std::atomic<uint64_t> used_{0};
    bool waiting_ = false;  // guarded by the budget's mutex
  };

  // reserve is cut to what is left of total. The budget must outlive the share.
  std::shared_ptr<Share> MakeShare(uint64_t reserve, std::shared_ptr<Signal> wake);

  uint64_t total() const { return total_; }
  uint64_t used() const;

 private:
  void Wake();

  const uint64_t total_;
  mutable std::mutex mutex_;
  int64_t pool_;  // free bytes that no share has reserved; below 0 after one event larger than it
  std::vector<Share*> shares_;
  std::atomic<uint32_t> waiting_{0};
};

}  // namespace penstock::queue
