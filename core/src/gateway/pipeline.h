// The parts of a running gateway, wired: sources, queues, sinks.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gateway/instance.h"
#include "gateway/prepare.h"
#include "gateway/status.h"
#include "queue/queue.h"
#include "queue/replay_queue.h"
#include "queue/stored_letters.h"
#include "store/store.h"

namespace penstock::gateway {

class Reloading;

class Pipeline {
 public:
  // prepared must be ok(); only Start uses it. changed is notified when a source finishes or a sink
  // is drained.
  Pipeline(const Prepared* prepared, const Clock* clock, Signal* changed);
  // Called once, from the store's thread, when the store has failed. Set before Start.
  void SetOnStoreFailed(std::function<void()> f) { on_store_failed_ = std::move(f); }
  // Asked by Reload, which then waits for nothing any more. Set before Start.
  void SetStopWanted(std::function<bool()> f) { stop_wanted_ = std::move(f); }
  // Who watches the loops of what Start makes; outlives the pipeline. Set before Start.
  void SetHeartbeats(Heartbeats* heartbeats) { heartbeats_ = heartbeats; }
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Makes every instance, then starts the sinks, then the sources. After an error the pipeline is
  // only good to be destroyed.
  Result<void> Start();

  // Changes what runs into what next says, which must be ok(). What is the same goes on untouched.
  // The value says what changed; an error says why all is as it was. Once started; the control
  // thread.
  Result<std::string> Reload(const Prepared& next);

  // The configuration that runs. Any thread.
  std::shared_ptr<const config::Config> config() const;

  // Takes up the dead letters that are marked to be sent again. Any thread.
  Result<void> StartReplays();

  // For those who look at the store or change it beside the gateway; any thread. Null before Start
  // has returned, and where nothing is kept on disk.
  bool started() const { return started_; }
  store::Store* store() const { return started_ ? store_.get() : nullptr; }

  // Begins those sources again that a reload ended and could not begin again at once, and that have
  // got in what they had read. Does not wait. The control thread.
  void RestartEnded();

  // Every source is asked to stop, and what it still emits is taken; the next Reload starts them
  // again. Does not wait.
  void Drain();
  // No source emits any more after this: each is asked to stop and waited for until the deadline,
  // or until hurried says so; what it still emits is taken. Those that wait for room in a queue on
  // disk are given up earlier when no sink makes any.
  void StopSources(TimePoint deadline, const std::function<bool()>& hurried);
  // Begins to drain the sinks.
  void DrainSinks();
  bool drained() const;
  // Whether going on to drain may still save an event, or bring one further: false once all that is
  // left is on disk and its sinks are not connected.
  bool worth_draining() const;
  // Stops the sinks; what they have settled is on disk after this, if the store still takes it.
  void StopSinks();

  bool sources_finished() const;
  bool any_source_failed() const;
  // Why the store takes nothing more; empty: it does.
  std::string store_failure() const;
  // Events that were received into queues on disk and could not be stored.
  uint64_t unstored() const;
  bool on_disk(const std::string& source) const;
  std::vector<delivery::Ledger> Ledgers() const;
  std::string Summary() const;  // one line for the service manager
  // Fills in memory, sources, sinks and routes, but for the rates; those that are made so far. Any
  // thread, at any time; takes short locks only, and calls into no plugin.
  void Describe(GatewayStatus* status) const;
  // What the plugins count; any thread, likewise.
  std::vector<MetricTable::Reading> PluginMetrics() const { return metrics_.Read(); }

 private:
  friend class Reloading;

  template <typename TableConfig>
  struct Running {
    TableConfig config;
    std::shared_ptr<plugin::Plugin> plugin;
    std::shared_ptr<const config::Options> options;
  };
  struct Source : Running<config::SourceConfig> {
    // Its instance has ended: the queue, which may live on, must not tell it anything any more.
    ~Source() {
      if (queue) queue->SetOnSafe(nullptr);
    }
    std::deque<event::SourceInfo> infos;  // the last one is true; cursors may still use the others
    std::shared_ptr<queue::StoredLetters> letters;  // null: dead letters cannot be kept
    std::shared_ptr<queue::Queue> queue;
    queue::Stats at_start;  // of the queue, when it was made
    std::unique_ptr<SourceInstance> instance;
    bool to_restart = false;  // once its instance has finished; the control thread's
    std::map<std::string, std::shared_ptr<queue::ReplayQueue>>
        replays;  // by sink; made when needed
    bool disk() const { return config.queue.storage == config::Storage::kDisk; }
  };
  struct Sink : Running<config::SinkConfig> {
    std::vector<event::Template> templates;
    delivery::FilterStep filter;
    std::unique_ptr<SinkInstance> instance;
  };

  Result<void> OpenStore(const config::Config& config);
  // All but the instance: where the events of the source go.
  Result<std::unique_ptr<Source>> BuildSource(const SourcePart& part);
  Result<std::shared_ptr<queue::Queue>> BuildQueue(
      const config::SourceConfig& config, const std::shared_ptr<queue::StoredLetters>& letters);
  std::unique_ptr<SourceInstance> MakeInstance(const Running<config::SourceConfig>& source);
  static queue::Limits LimitsOf(const config::SourceConfig& config);
  // The instance takes the place of the source's, which has finished, and is started.
  Result<void> Restart(Source* source, std::unique_ptr<SourceInstance> instance);
  // The same with an instance that is made as the source's table says.
  Result<void> Restart(Source* source);
  // The instance's events go into the source's queue, and it is told what became of them.
  void Connect(Source* source, SourceInstance* instance) const;
  // Without cursors, not created yet.
  Result<std::unique_ptr<Sink>> BuildSink(const SinkPart& part);
  Result<void> StartReplays(const Sink& sink, Source* source);
  // For one dispatcher: what it holds is not shared with another one.
  static Result<delivery::FilterStep> BuildFilter(const config::FilterConfig& config);
  Result<delivery::CursorSpec> BuildCursor(const Sink& sink, const Source& source) const;
  static void ToReplays(std::shared_ptr<queue::ReplayQueue> replays, delivery::CursorSpec* cursor);
  Source* FindSource(const std::string& name) const;  // null: there is none
  Sink* FindSink(const std::string& name) const;
  // Whether a source that has not finished may still get in what it has in its hands.
  bool MayFinish(const Source& source) const;
  // Each part's own minimum of the memory.
  uint64_t Reserve() const;

  const Prepared* prepared_;  // null after Start
  const Clock* const clock_;
  Signal* const changed_;
  std::function<void()> on_store_failed_;
  std::function<bool()> stop_wanted_ = [] { return false; };
  Heartbeats* heartbeats_ = nullptr;
  // From here on the order matters: what is below uses what is above, and goes first.
  MetricTable metrics_;
  queue::MemoryBudget budget_;
  std::unique_ptr<store::Store> store_;  // null: nothing is kept on disk
  // For what other threads look at: who is in these, and their configs and instances. Only Start
  // and Reload change that.
  mutable std::mutex parts_mutex_;
  std::shared_ptr<const config::Config> config_;
  std::vector<std::unique_ptr<Source>> sources_;  // in the config's order
  std::vector<std::unique_ptr<Sink>> sinks_;
  std::mutex replays_mutex_;  // before parts_mutex_; held by Reload too
  std::atomic<bool> started_{false};
};

}  // namespace penstock::gateway
