// A host for one source plugin under test: gives it configuration, secrets and a queue that can be
// full, and keeps what it emits.
//
//   FakeSourceHost host("orders");
//   FakeSource source(host, LoadPlugin(PENSTOCK_SOURCE_FILE), {{"url", "127.0.0.1:8080"}});
//   source.Run();
//   ASSERT_TRUE(host.WaitEvents(1));
//   EXPECT_EQ(host.events()[0].payload, "hello");
#ifndef PENSTOCK_TESTS_FAKES_FAKE_SOURCE_HOST_H
#define PENSTOCK_TESTS_FAKES_FAKE_SOURCE_HOST_H

#include <gtest/gtest.h>
#include <penstock/plugin.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fakes/fake_config.h"
#include "fakes/fake_host.h"

namespace penstock::fakes {

// A source's configuration: its own options, and the host's common ones that a source may ask for.
class FakeSourceConfig {
 public:
  FakeSourceConfig(const penstock_plugin& plugin, const Values& values)
      : own_(plugin, OwnValues(values)) {
    abi_ = {sizeof abi_, 0, this, &FakeSourceConfig::Get};
    for (const char* name : kCommon) {
      const auto set = values.find(name);
      texts_[name] = set == values.end() ? "" : std::get<std::string>(set->second.data);
      penstock_value& value = common_[name];
      value.type = PENSTOCK_OPT_STRING;
      value.is_set = set == values.end() ? 0 : 1;
      value.str = Str(texts_[name]);
    }
    penstock_value& read_ahead = common_["read_ahead_bytes"];
    read_ahead.type = PENSTOCK_OPT_SIZE;
    read_ahead.i64 = kReadAhead;
  }
  FakeSourceConfig(const FakeSourceConfig&) = delete;
  FakeSourceConfig& operator=(const FakeSourceConfig&) = delete;

  const penstock_config* abi() const { return &abi_; }

  static constexpr int64_t kReadAhead = 2 << 20;

 private:
  static constexpr const char* kCommon[] = {"event_source", "event_name", "event_type"};

  static Values OwnValues(Values values) {
    for (const char* name : kCommon) values.erase(name);
    return values;
  }
  static const penstock_value* Get(const penstock_config* c, const char* name) noexcept {
    const auto* self = static_cast<const FakeSourceConfig*>(c->ctx);
    const auto found = self->common_.find(name);
    return found != self->common_.end() ? &found->second
                                        : self->own_.abi()->get(self->own_.abi(), name);
  }

  const FakeConfig own_;
  penstock_config abi_{};
  std::map<std::string, std::string> texts_;
  std::map<std::string, penstock_value> common_;
};

inline std::vector<FakeFinding> CheckSource(const penstock_plugin& plugin, const Values& values) {
  return Check<FakeSourceConfig>(plugin, values);
}

// An event as the plugin emitted it, copied.
struct FakeEvent {
  std::string payload, subject, id, type, content_type;
  std::chrono::steady_clock::time_point at;
};

// The host's side of one instance. Declare it before the FakeSource that uses it. Releases what it
// takes at once, or later from another thread.
class FakeSourceHost : public FakeHost {
 public:
  explicit FakeSourceHost(std::string instance = "source", uint64_t read_ahead_bytes = 2 << 20)
      : FakeHost(std::move(instance)) {
    abi_.read_ahead_bytes = read_ahead_bytes;
    abi_.emit = [](const penstock_host* h, const penstock_event_batch* batch, size_t* accepted,
                   int64_t timeout_ns) noexcept {
      return Self(h).Emit(batch, accepted, timeout_ns);
    };
    abi_.stopping = [](const penstock_host* h) noexcept {
      std::lock_guard lock(Self(h).mutex_);
      return int32_t{Self(h).stopping_};
    };
  }
  ~FakeSourceHost() {
    for (std::thread& thread : releasers_) thread.join();
  }

  // Room for so many more events; each that is taken uses one up.
  void SetRoom(size_t events) {
    std::lock_guard lock(mutex_);
    room_ = events;
    changed_.notify_all();
  }
  // What is taken is released on other threads.
  void ReleaseElsewhere() { release_elsewhere_ = true; }
  // Past taking anything: emit answers STOPPED.
  void Shutdown() {
    std::lock_guard lock(mutex_);
    shutdown_ = true;
    changed_.notify_all();
  }

  // Each of these waits until the condition holds; false after the timeout.
  bool WaitEvents(size_t total, Timeout timeout = kTimeout) {
    return Wait([&] { return events_.size() >= total; }, timeout);
  }
  // The data thread waits for room inside emit.
  bool WaitBlocked(Timeout timeout = kTimeout) {
    return Wait([&] { return blocked_; }, timeout);
  }

  std::vector<FakeEvent> events() const {
    std::lock_guard lock(mutex_);
    return events_;
  }
  size_t event_count() const {
    std::lock_guard lock(mutex_);
    return events_.size();
  }
  // Calls of emit, to see that events come in batches.
  size_t emit_calls() const {
    std::lock_guard lock(mutex_);
    return emit_calls_;
  }

 private:
  friend class FakeSource;

  static FakeSourceHost& Self(const penstock_host* h) {
    return static_cast<FakeSourceHost&>(*static_cast<FakeHost*>(h->ctx));
  }

  // Takes what there is room for, waiting for more as the real host does.
  penstock_status Emit(const penstock_event_batch* batch, size_t* accepted, int64_t timeout_ns) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
    std::unique_lock lock(mutex_);
    if (destroyed_) ADD_FAILURE() << "emit after destroy";
    ++emit_calls_;
    *accepted = 0;
    const auto may_go_on = [this] { return room_ > 0 || shutdown_; };
    while (*accepted < batch->count) {
      if (!may_go_on()) {
        blocked_ = true;
        changed_.notify_all();
        if (timeout_ns < 0) {
          changed_.wait(lock, may_go_on);
        } else if (!changed_.wait_until(lock, until, may_go_on)) {
          return PENSTOCK_AGAIN;
        }
        blocked_ = false;
      }
      if (shutdown_) return PENSTOCK_STOPPED;
      Take(*penstock_event_at(batch, (*accepted)++));
    }
    changed_.notify_all();
    return PENSTOCK_OK;
  }

  void Take(const penstock_event& event) {
    --room_;
    events_.push_back({std::string(View(event.payload)), std::string(View(event.subject)),
                       std::string(View(event.id)), std::string(View(event.type)),
                       std::string(View(event.content_type)), std::chrono::steady_clock::now()});
    penstock_owner* owner = event.owner;
    if (owner == nullptr) return;
    if (release_elsewhere_ && releasers_.size() < 200) {
      releasers_.emplace_back([owner] { owner->release(owner, 1); });
    } else {
      owner->release(owner, 1);
    }
  }

  bool release_elsewhere_ = false;
  std::vector<std::thread> releasers_;
  size_t room_ = SIZE_MAX;
  size_t emit_calls_ = 0;
  bool blocked_ = false, stopping_ = false, shutdown_ = false;
  std::vector<FakeEvent> events_;
};

// One instance and its data thread. Created at once, stopped and destroyed with the object.
class FakeSource {
 public:
  // Throws std::runtime_error with the plugin's text when it cannot be created.
  FakeSource(FakeSourceHost& host, const penstock_plugin& plugin, const Values& values)
      : host_(host), plugin_(plugin) {
    const FakeSourceConfig config(plugin, values);
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin.create(host.abi(), config.abi(), &instance_, &error) != PENSTOCK_OK) {
      throw std::runtime_error(error.text);
    }
  }
  ~FakeSource() { Destroy(); }
  FakeSource(const FakeSource&) = delete;
  FakeSource& operator=(const FakeSource&) = delete;

  // Begins run() on its own thread.
  void Run() {
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin_.start != nullptr && plugin_.start(instance_, &error) != PENSTOCK_OK) {
      throw std::runtime_error(error.text);
    }
    data_ = std::thread([this] {
      penstock_error failure{};
      failure.struct_size = sizeof failure;
      const penstock_status status = plugin_.run(instance_, &failure);
      if (status != PENSTOCK_OK) ADD_FAILURE() << "run() failed: " << failure.text;
      std::lock_guard lock(host_.mutex_);
      returned_ = true;
      host_.changed_.notify_all();
    });
  }

  void Stop() {
    {
      std::lock_guard lock(host_.mutex_);
      host_.stopping_ = true;
    }
    plugin_.stop(instance_);
  }
  // Waits until run() has returned.
  bool WaitReturned(FakeSourceHost::Timeout timeout = FakeSourceHost::kTimeout) {
    return host_.Wait([&] { return returned_; }, timeout);
  }
  // How long run() takes to return after stop.
  std::chrono::milliseconds StopAndTime() {
    const auto start = std::chrono::steady_clock::now();
    Stop();
    EXPECT_TRUE(WaitReturned());
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 start);
  }

  // Stops, waits for run(), destroys. Safe to call twice.
  void Destroy() {
    if (instance_ == nullptr) return;
    Stop();
    host_.Shutdown();
    if (data_.joinable()) data_.join();
    plugin_.destroy(instance_);
    instance_ = nullptr;
    std::lock_guard lock(host_.mutex_);
    host_.destroyed_ = true;
  }

 private:
  FakeSourceHost& host_;
  const penstock_plugin& plugin_;
  penstock_instance* instance_ = nullptr;
  std::thread data_;
  bool returned_ = false;
};

}  // namespace penstock::fakes

#endif  // PENSTOCK_TESTS_FAKES_FAKE_SOURCE_HOST_H
