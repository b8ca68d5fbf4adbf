// librdkafka's log lines on their way to the host: without secrets, and not too many.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::kafka {

// Any thread.
class LogFilter {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kBurst = 20;
  static constexpr std::chrono::milliseconds kEvery{500};  // then two lines a second

  void SetSecrets(std::vector<std::string> secrets) {
    std::lock_guard lock(mutex_);
    secrets_ = std::move(secrets);
  }

  std::string Clean(std::string_view text) const {
    std::string out(text);
    std::lock_guard lock(mutex_);
    for (const std::string& secret : secrets_)
      for (size_t at = out.find(secret); at != std::string::npos; at = out.find(secret, at))
        out.replace(at, secret.size(), "***");
    return out;
  }

  // Whether a line may pass now; *held_back: how many did not since the last that did.
  bool Allow(Clock::time_point now, uint64_t* held_back) {
    std::lock_guard lock(mutex_);
    const auto earned = (now - last_) / kEvery;
    if (earned > 0) {
      tokens_ = static_cast<int>(std::min<int64_t>(kBurst, tokens_ + earned));
      last_ = now;
    }
    if (tokens_ == 0) {
      ++held_back_;
      return false;
    }
    --tokens_;
    *held_back = std::exchange(held_back_, 0);
    return true;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> secrets_;
  int tokens_ = kBurst;
  uint64_t held_back_ = 0;
  Clock::time_point last_{};
};

}  // namespace penstock::kafka
