// What the hosts of a source and of a sink under test have in common: they keep what the plugin
// logs, counts and reports, and give it secrets.
//
// PENSTOCK_TEST_LOG=1 shows what the plugin logs as it comes.
#pragma once

#include <gtest/gtest.h>
#include <penstock/plugin.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fakes/fake_config.h"

namespace penstock::fakes {

class FakeHost {
 public:
  using Timeout = std::chrono::milliseconds;
  using Lines = std::vector<std::pair<int32_t, std::string>>;  // level or state, and its text
  static constexpr Timeout kTimeout{20000};

  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  const penstock_host* abi() const { return &abi_; }

  // By reference, as "env:NAME"; anything else cannot be read.
  void SetSecret(const std::string& reference, std::string value) {
    std::lock_guard lock(mutex_);
    secrets_[reference] = std::move(value);
  }

  // Each of these waits until the condition holds; false after the timeout. WaitState: the current
  // state, not one of the past. WaitText: a line or a state's text that holds the words.
  bool WaitState(int32_t state, Timeout timeout = kTimeout) {
    return Wait([&] { return !states_.empty() && states_.back().first == state; }, timeout);
  }
  bool WaitStates(size_t changes, Timeout timeout = kTimeout) {
    return Wait([&] { return states_.size() >= changes; }, timeout);
  }
  bool WaitText(const std::string& words, Timeout timeout = kTimeout) {
    return Wait([&] { return HasTextLocked(words); }, timeout);
  }
  bool WaitMetric(const std::string& name, uint64_t least, Timeout timeout = kTimeout) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (metric(name) < least) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  bool HasText(const std::string& words) const {
    std::lock_guard lock(mutex_);
    return HasTextLocked(words);
  }
  Lines states() const {
    std::lock_guard lock(mutex_);
    return states_;
  }
  Lines logs() const {
    std::lock_guard lock(mutex_);
    return logs_;
  }
  uint64_t metric(const std::string& name) const {
    std::lock_guard lock(mutex_);
    const auto found = metrics_.find(name);
    return found == metrics_.end() ? 0 : __atomic_load_n(&found->second, __ATOMIC_RELAXED);
  }

  int32_t log_level = PENSTOCK_LOG_DEBUG;

 protected:
  // What only a source or only a sink may call is a failure here; the other one replaces it.
  explicit FakeHost(std::string instance) : name_(std::move(instance)) {
    const char* level = std::getenv("PENSTOCK_TEST_LOG");
    verbose_ = level != nullptr && *level != '\0';
    abi_.struct_size = sizeof abi_;
    abi_.abi_major = PENSTOCK_ABI_MAJOR;
    abi_.abi_minor = PENSTOCK_ABI_MINOR;
    abi_.ctx = this;
    abi_.instance_name = name_.c_str();
    abi_.host_version = "test";
    abi_.log_level = &log_level;
    abi_.log = [](const penstock_host* h, int32_t lvl, penstock_str text, const penstock_kv* fields,
                  size_t n) noexcept { Of(h).Log(lvl, text, fields, n); };
    abi_.metric = [](const penstock_host* h, int32_t, const char* name, const char*) noexcept {
      std::lock_guard lock(Of(h).mutex_);
      return &Of(h).metrics_[name];
    };
    abi_.report_state = [](const penstock_host* h, int32_t state, penstock_str text) noexcept {
      Of(h).State(state, text);
    };
    abi_.read_secret = [](const penstock_host* h, penstock_str reference, char* buf, size_t cap,
                          size_t* len, penstock_error* error) noexcept {
      return Of(h).ReadSecret(reference, buf, cap, len, error);
    };
    abi_.emit = [](const penstock_host*, const penstock_event_batch*, size_t*, int64_t) noexcept {
      ADD_FAILURE() << "a sink called emit";
      return penstock_status{PENSTOCK_STOPPED};
    };
    abi_.stopping = [](const penstock_host*) noexcept { return int32_t{0}; };
    abi_.complete = [](const penstock_host*, const penstock_receipt*, size_t) noexcept {
      ADD_FAILURE() << "a source called complete";
    };
    abi_.ready = [](const penstock_host*) noexcept { ADD_FAILURE() << "a source called ready"; };
    abi_.extension = [](const penstock_host*, const char*) noexcept -> const void* {
      return nullptr;
    };
  }
  ~FakeHost() = default;

  template <typename Condition>
  bool Wait(Condition condition, Timeout timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, condition);
  }

  penstock_host abi_{};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool destroyed_ = false;

 private:
  static FakeHost& Of(const penstock_host* h) { return *static_cast<FakeHost*>(h->ctx); }

  bool HasTextLocked(const std::string& words) const {
    for (const auto* lines : {&logs_, &states_})
      for (const auto& [level, text] : *lines)
        if (text.find(words) != std::string::npos) return true;
    return false;
  }

  void Log(int32_t level, penstock_str text, const penstock_kv* fields, size_t n) {
    std::string line(View(text));
    for (size_t i = 0; i < n; ++i)
      line.append(" ").append(View(fields[i].key)).append("=").append(View(fields[i].value));
    if (verbose_) std::fprintf(stderr, "[%s log %d] %s\n", name_.c_str(), level, line.c_str());
    std::lock_guard lock(mutex_);
    if (destroyed_) ADD_FAILURE() << "log after destroy: " << line;
    logs_.emplace_back(level, std::move(line));
    changed_.notify_all();
  }

  void State(int32_t state, penstock_str text) {
    std::string line(View(text));
    if (verbose_) std::fprintf(stderr, "[%s state %d] %s\n", name_.c_str(), state, line.c_str());
    std::lock_guard lock(mutex_);
    if (destroyed_) ADD_FAILURE() << "report_state after destroy: " << line;
    states_.emplace_back(state, std::move(line));
    changed_.notify_all();
  }

  penstock_status ReadSecret(penstock_str reference, char* buf, size_t cap, size_t* len,
                             penstock_error* error) {
    std::lock_guard lock(mutex_);
    const auto found = secrets_.find(std::string(View(reference)));
    if (found == secrets_.end() || found->second.size() > cap) {
      std::snprintf(error->text, sizeof error->text, "secret %.*s cannot be read",
                    static_cast<int>(reference.len), reference.ptr);
      return PENSTOCK_E_FAILED;
    }
    std::memcpy(buf, found->second.data(), found->second.size());
    *len = found->second.size();
    return PENSTOCK_OK;
  }

  const std::string name_;
  bool verbose_ = false;
  Lines states_, logs_;
  std::map<std::string, uint64_t> metrics_;
  std::map<std::string, std::string> secrets_;
};

}  // namespace penstock::fakes
