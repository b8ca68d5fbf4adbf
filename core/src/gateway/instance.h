// A source or a sink at work: one instance of a plugin, the host's services for it, and its thread.
#pragma once

#include <penstock/plugin.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "config/config.h"
#include "delivery/cursor.h"
#include "delivery/dispatcher.h"
#include "gateway/metrics.h"
#include "platform/clock.h"
#include "platform/heartbeat.h"
#include "plugin/plugin.h"
#include "queue/queue.h"

namespace penstock::gateway {

// What an instance last said of itself, or how its run ended.
struct InstanceState {
  std::string name = "starting";  // or connecting, ready, failed, running, finished, stopped
  std::string reason;
  int64_t since_ns = 0;  // the name is this since then, as Clock::WallNs
};

// What both have: the plugin's instance and the host table that it sees.
class Instance {
 public:
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const std::string& name() const { return name_; }
  InstanceState state() const;  // any thread; never waits for the plugin

 protected:
  Instance(plugin::Kind kind, std::string name, std::shared_ptr<plugin::Plugin> plugin,
           std::shared_ptr<const config::Options> options, MetricTable* metrics);
  virtual ~Instance();

  Result<void> Create();
  Result<void> StartPlugin();
  void StopPlugin();
  void Destroy();

  const penstock_plugin& entry() const { return plugin_->entry(); }
  penstock_instance* plugin_instance() const { return instance_; }
  penstock_host& table() { return host_; }
  const std::string& component() const { return component_; }
  void Show(std::string_view state, std::string_view reason);
  // Logs the first thing that the plugin does against plugin.h. Any thread.
  void NoteMisuse(std::string_view what);

  // The plugin says what state it is in; already filtered to changes.
  virtual void OnState(int32_t state, std::string_view text) = 0;

 private:
  static Instance* Of(const penstock_host* host) { return static_cast<Instance*>(host->ctx); }
  static void Log(const penstock_host*, int32_t level, penstock_str text, const penstock_kv* fields,
                  size_t n) noexcept;
  static uint64_t* Metric(const penstock_host*, int32_t kind, const char* name,
                          const char* help) noexcept;
  static void ReportState(const penstock_host*, int32_t state, penstock_str text) noexcept;
  static penstock_status ReadSecret(const penstock_host*, penstock_str reference, char* buf,
                                    size_t cap, size_t* len, penstock_error*) noexcept;
  static const void* Extension(const penstock_host*, const char* id) noexcept;
  // Whether to log a report: each change of state, and another reason for the same state, such as
  // why it cannot connect, at most every ten seconds. Under state_mutex_.
  bool IsNews(int32_t state, std::string_view reason);

  const std::string name_;
  const std::string component_;  // "source orders"
  const std::shared_ptr<plugin::Plugin> plugin_;
  const std::shared_ptr<const config::Options> options_;
  MetricTable* const metrics_;
  penstock_host host_{};
  penstock_instance* instance_ = nullptr;
  std::mutex state_mutex_;
  int32_t state_ = 0;   // 0: nothing reported yet
  std::string reason_;  // as last logged
  TimePoint reason_due_{};
  std::atomic<bool> misuse_noted_{false};
  mutable std::mutex shown_mutex_;  // apart from state_mutex_, which is held while a line is logged
  InstanceState shown_;
};

class SourceInstance final : public Instance {
 public:
  // on_finished is called once from the source's thread when run() has returned.
  SourceInstance(std::string name, std::shared_ptr<plugin::Plugin> plugin,
                 std::shared_ptr<const config::Options> options, MetricTable* metrics,
                 uint64_t read_ahead_bytes, std::function<void()> on_finished);
  ~SourceInstance() override;

  // Set before Start: where events go.
  void SetQueue(std::shared_ptr<queue::Queue> queue) { queue_ = std::move(queue); }
  bool WantsAcks() const { return (entry().caps & PENSTOCK_CAP_ACK) != 0; }
  void OnAck(const uint64_t* ack_tokens, size_t n);

  Result<void> Create() { return Instance::Create(); }
  // After an error it has failed for good.
  Result<void> Start();
  // Asks run() to return.
  void Stop();
  bool finished() const { return finished_; }
  bool failed() const { return failed_; }
  bool stopping() const { return stopping_; }
  bool running() const { return thread_.joinable() && !finished_; }
  // It has events in its hands that its queue has had no room for lately.
  bool waits_for_room() const { return waits_for_room_ && !finished_; }
  // Waits until run() has returned, and logs what was not taken.
  void Join();

 private:
  void OnState(int32_t, std::string_view) override {}
  void Run();
  static penstock_status Emit(const penstock_host*, const penstock_event_batch*, size_t* accepted,
                              int64_t timeout_ns) noexcept;
  static int32_t Stopping(const penstock_host*) noexcept;

  std::shared_ptr<queue::Queue> queue_;
  const std::function<void()> on_finished_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> waits_for_room_{false};
  std::atomic<uint64_t> not_taken_{0};  // events in its hands when its queue was closed
  std::atomic<bool> finished_{false};
  std::atomic<bool> failed_{false};
  std::thread thread_;
};

class SinkInstance final : public Instance, private delivery::SinkPort {
 public:
  SinkInstance(std::string name, std::shared_ptr<plugin::Plugin> plugin,
               std::shared_ptr<const config::Options> options, MetricTable* metrics,
               delivery::WindowLimits limits, queue::MemoryBudget* budget, uint64_t reserve,
               const Clock* clock, uint64_t seed);
  ~SinkInstance() override;

  void AddCursor(delivery::CursorSpec spec) { dispatcher_.AddCursor(std::move(spec)); }
  // While it runs. Any thread.
  void AddCursorLater(delivery::CursorSpec spec);
  // Who watches the delivery thread. Set before Start.
  void SetHeartbeats(Heartbeats* heartbeats) { heartbeats_ = heartbeats; }
  // Runs f on the delivery thread, between two steps, and waits for it. The control thread.
  void Change(const std::function<void(delivery::Dispatcher&)>& f);
  Result<void> Create() { return Instance::Create(); }
  // Starts the plugin and the delivery thread.
  Result<void> Start();

  // The queues get no more: deliver what they hold, then be drained.
  void Drain();
  bool drained() const { return drained_; }
  // Notified when drained() becomes true. Set before Start.
  void SetOnDrained(std::function<void()> f) { on_drained_ = std::move(f); }
  // It gets nothing more: whoever comes after it gets the rest. Waits for the receipts of what it
  // has, as long as it is connected and may_wait says so; then ends it, as Stop and destroying it
  // do, and gives its cursors away.
  std::vector<std::unique_ptr<delivery::Cursor>> Retire(const std::function<bool()>& may_wait);
  // The delivery thread ends soon, drained or not: once it has the sink's last receipts, or in
  // about two seconds. Waits for no more than a call into the plugin that is under way.
  void AskToStop();
  // The same, and waits for that end.
  void Stop();

  std::vector<delivery::Ledger> Ledgers() const { return dispatcher_.Ledgers(); }
  std::vector<delivery::RouteStatus> Routes() const { return dispatcher_.Routes(); }
  delivery::SinkStatus Status() const { return dispatcher_.Status(); }

 private:
  penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) override;
  void Flush() override;
  void Cancel(const std::vector<uint64_t>& tokens) override;
  void OnState(int32_t state, std::string_view text) override;
  void Run();
  static void Complete(const penstock_host*, const penstock_receipt*, size_t n) noexcept;
  static void Ready(const penstock_host*) noexcept;

  const Clock* const clock_;
  const std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();
  delivery::Dispatcher dispatcher_;
  std::function<void()> on_drained_;
  std::shared_ptr<Signal> changed_ = std::make_shared<Signal>();  // what Change waits for is done
  Heartbeats* heartbeats_ = nullptr;
  std::shared_ptr<Beat> beat_ = std::make_shared<Beat>();  // the delivery thread's
  std::atomic<bool> reported_{false};
  std::atomic<bool> draining_{false};
  std::atomic<bool> drained_{false};
  std::atomic<bool> stopped_{false};
  TimePoint stop_deadline_{};  // the delivery thread's
  std::thread thread_;
};

}  // namespace penstock::gateway
