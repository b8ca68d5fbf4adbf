// The parts of a running gateway, wired: sources, queues, sinks.
#pragma once

#include <atomic>
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

class Pipeline {
 public:
  // prepared must be ok() and outlive the pipeline. changed is notified when a source finishes or a
  // sink is drained.
  Pipeline(Prepared* prepared, const Clock* clock, Signal* changed);
  // Called once, from the store's thread, when the store has failed. Set before Start.
  void SetOnStoreFailed(std::function<void()> f) { on_store_failed_ = std::move(f); }
  // Who watches the loops of what Start makes; outlives the pipeline. Set before Start.
  void SetHeartbeats(Heartbeats* heartbeats) { heartbeats_ = heartbeats; }
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Makes every instance, then starts the sinks, then the sources. After an error the pipeline is
  // only good to be destroyed.
  Result<void> Start();

  // Takes up the dead letters that are marked to be sent again. Any thread.
  Result<void> StartReplays();

  // For those who look at the store or change it beside the gateway; any thread. Null before Start
  // has returned, and where nothing is kept on disk.
  bool started() const { return started_; }
  store::Store* store() const { return started_ ? store_.get() : nullptr; }
  // Others have removed dead letters: counts anew what there is, so that routes that wait for room
  // go on. Any thread, once started.
  Result<void> RecountLetters();

  // No source emits any more after this: each is asked to stop and waited for until the deadline;
  // what it still emits is taken.
  void StopSources(TimePoint deadline);
  // Begins to drain the sinks.
  void Drain();
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

 private:
  struct Source {
    event::SourceInfo info;
    std::unique_ptr<SourceInstance> instance;
    std::shared_ptr<queue::StoredLetters> letters;  // null: dead letters cannot be kept
    std::shared_ptr<queue::Queue> queue;
    bool disk = false;
    std::map<std::string, std::shared_ptr<queue::ReplayQueue>>
        replays;  // by sink; made when needed
  };
  Result<void> OpenStore();
  Result<void> BuildSource(SourcePart* part, uint64_t reserve);
  Result<std::shared_ptr<queue::Queue>> BuildQueue(
      const config::SourceConfig& config, uint64_t reserve, queue::OnSafe on_safe,
      const std::shared_ptr<queue::StoredLetters>& letters);
  Result<void> BuildSink(SinkPart* part, uint64_t reserve);
  Result<void> StartReplays(const SinkPart& part, SinkInstance* sink, Source* source);
  Result<delivery::CursorSpec> BuildCursor(const SinkPart& part, const Source& source) const;

  Prepared* const prepared_;
  const Clock* const clock_;
  Signal* const changed_;
  std::function<void()> on_store_failed_;
  Heartbeats* heartbeats_ = nullptr;
  // From here on the order matters: what is below uses what is above, and goes first.
  MetricTable metrics_;
  queue::MemoryBudget budget_;
  // By sink, for cursors that are made later: the options themselves go to the sink. Only Start
  // changes it.
  std::map<std::string, std::vector<event::Template>> templates_;
  std::unique_ptr<store::Store> store_;  // null: nothing is kept on disk
  mutable std::mutex parts_mutex_;       // for who is in these two; only Start changes that
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<std::unique_ptr<SinkInstance>> sinks_;
  std::mutex replays_mutex_;
  std::atomic<bool> started_{false};
};

}  // namespace penstock::gateway
