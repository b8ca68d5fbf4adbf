#include "platform/heartbeat.h"

#include <algorithm>

namespace penstock {

static_assert(std::atomic<TimePoint>::is_always_lock_free);

std::shared_ptr<Beat> Heartbeats::Add(std::string component, std::string loop) {
  auto beat = std::make_shared<Beat>(std::move(component), std::move(loop), pulse(), clock_->Now());
  std::lock_guard lock(mutex_);
  std::erase_if(beats_, [](const auto& other) { return other.expired(); });
  beats_.push_back(beat);
  return beat;
}

std::shared_ptr<Beat> Heartbeats::AddControl() {
  auto beat = Add("gateway", "the control loop");
  std::lock_guard lock(mutex_);
  control_ = beat;
  return beat;
}

void Heartbeats::PassControl() {
  std::lock_guard lock(mutex_);
  if (const auto control = control_.lock()) control->Pass(clock_->Now());
}

std::vector<Stuck> Heartbeats::Find() const {
  const Nanoseconds longest_loop = period_ / 2;
  const Nanoseconds longest_call = std::min(longest_loop, kLongestCall);
  std::vector<Stuck> out;
  std::lock_guard lock(mutex_);
  for (const auto& weak : beats_) {
    const auto beat = weak.lock();
    if (!beat) continue;
    // In this order: the time is then at least as new as the call.
    const char* call = beat->call_.load(std::memory_order_acquire);
    const TimePoint passed = beat->passed_.load(std::memory_order_relaxed);
    const Nanoseconds still = clock_->Now() - passed;
    if (still <= (call != nullptr ? longest_call : longest_loop)) continue;
    const std::string what = call != nullptr ? std::string(call) + " has not returned"
                                             : beat->loop_ + " has not come round";
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(still).count();
    out.push_back({beat->component_, what + " for " + std::to_string(seconds) + " s", what});
  }
  return out;
}

std::string Heartbeats::Unhealthy() const {
  std::string out;
  for (const Stuck& stuck : Find()) {
    if (!out.empty()) out += "; ";
    out += stuck.component + ": " + stuck.text;
  }
  return out;
}

}  // namespace penstock
