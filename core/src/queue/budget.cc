#include "queue/budget.h"

#include <algorithm>
#include <cassert>

namespace penstock::queue {
namespace {

uint64_t Excess(uint64_t used, uint64_t reserve) { return used > reserve ? used - reserve : 0; }

}  // namespace

MemoryBudget::MemoryBudget(uint64_t total) : total_(total), pool_(static_cast<int64_t>(total)) {}

uint64_t MemoryBudget::used() const {
  std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const Share* share : shares_) sum += share->used();
  return sum;
}

std::shared_ptr<MemoryBudget::Share> MemoryBudget::MakeShare(uint64_t reserve,
                                                             std::shared_ptr<Signal> wake,
                                                             First first) {
  std::lock_guard lock(mutex_);
  const auto free = static_cast<uint64_t>(std::max<int64_t>(pool_, 0));
  const uint64_t granted = std::min(reserve, free);
  pool_ -= static_cast<int64_t>(granted);
  std::shared_ptr<Share> share(new Share(this, granted, std::move(wake), first));
  shares_.push_back(share.get());
  return share;
}

void MemoryBudget::Wake(const Share* only) {
  std::vector<std::shared_ptr<Signal>> to_wake;
  {
    std::lock_guard lock(mutex_);
    for (Share* share : shares_) {
      if (!share->waiting_ || (only != nullptr && share != only)) continue;
      share->waiting_ = false;
      to_wake.push_back(share->wake_);
    }
    waiting_.fetch_sub(static_cast<uint32_t>(to_wake.size()));
  }
  for (const auto& signal : to_wake) signal->Notify();
}

MemoryBudget::Share::Share(MemoryBudget* budget, uint64_t reserve, std::shared_ptr<Signal> wake,
                           First first)
    : budget_(budget), reserve_(reserve), first_(first), wake_(std::move(wake)) {}

MemoryBudget::Share::~Share() {
  {
    std::lock_guard lock(budget_->mutex_);
    assert(used() == 0);
    std::erase(budget_->shares_, this);
    if (waiting_) budget_->waiting_.fetch_sub(1);
    budget_->pool_ += static_cast<int64_t>(reserve_);
  }
  if (budget_->waiting_.load() > 0) budget_->Wake(nullptr);
}

bool MemoryBudget::Share::TryTake(uint64_t bytes) {
  // Within the reserve no lock is needed: nobody else may use it.
  uint64_t used = used_.load();
  while (used + bytes <= reserve_) {
    if (used_.compare_exchange_weak(used, used + bytes)) return true;
  }
  std::lock_guard lock(budget_->mutex_);
  used = used_.load();
  for (;;) {
    const auto more = static_cast<int64_t>(Excess(used + bytes, reserve_) - Excess(used, reserve_));
    const bool first = used == 0 && (first_ == First::kAlways || budget_->pool_ >= 0);
    if (more > budget_->pool_ && !first) return false;
    if (!used_.compare_exchange_weak(used, used + bytes)) continue;
    budget_->pool_ -= more;
    return true;
  }
}

void MemoryBudget::Share::Return(uint64_t bytes) {
  uint64_t used = used_.load();
  while (used <= reserve_) {
    assert(used >= bytes);
    if (!used_.compare_exchange_weak(used, used - bytes)) continue;
    // It stays this share's own: nobody else is any better off.
    if (waiting_) budget_->Wake(this);
    return;
  }
  {
    std::lock_guard lock(budget_->mutex_);
    used = used_.load();
    assert(used >= bytes);
    while (!used_.compare_exchange_weak(used, used - bytes)) {
    }
    budget_->pool_ += static_cast<int64_t>(Excess(used, reserve_) - Excess(used - bytes, reserve_));
  }
  if (budget_->waiting_.load() > 0) budget_->Wake(nullptr);
}

void MemoryBudget::Share::WakeWhenFreed() {
  std::lock_guard lock(budget_->mutex_);
  if (waiting_) return;
  waiting_ = true;
  budget_->waiting_.fetch_add(1);
}

}  // namespace penstock::queue
