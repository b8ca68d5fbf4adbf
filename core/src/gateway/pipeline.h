// The parts of a running gateway, wired: sources, queues, sinks.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/instance.h"
#include "gateway/prepare.h"
#include "queue/memory_queue.h"

namespace penstock::gateway {

// Counts what no sink will take; nothing is kept of it yet.
class CountedDeadLetters : public delivery::DeadLetters {
 public:
  bool Put(const delivery::DeadLetter&) override { return false; }
};

class Pipeline {
 public:
  // prepared must be ok() and outlive the pipeline. changed is notified when a source finishes or a
  // sink is drained.
  Pipeline(Prepared* prepared, const Clock* clock, Signal* changed);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Makes every instance, then starts the sinks, then the sources. After an error the pipeline is
  // only good to be destroyed.
  Result<void> Start();

  // No source emits any more after this: each is asked to stop and waited for until the deadline;
  // what it still emits is taken.
  void StopSources(TimePoint deadline);
  // Begins to drain the sinks.
  void Drain();
  bool drained() const;
  void StopSinks();

  bool sources_finished() const;
  bool any_source_failed() const;
  std::vector<delivery::Ledger> Ledgers() const;
  std::string Summary() const;  // one line for the service manager

 private:
  struct Source {
    event::SourceInfo info;
    std::unique_ptr<SourceInstance> instance;
    std::shared_ptr<queue::MemoryQueue> queue;
  };
  void BuildSource(SourcePart* part, uint64_t reserve, uint64_t read_ahead);
  Result<void> BuildSink(SinkPart* part, uint64_t reserve);
  Result<delivery::CursorSpec> BuildCursor(const SinkPart& part, const Source& source) const;

  Prepared* const prepared_;
  const Clock* const clock_;
  Signal* const changed_;
  // From here on the order matters: what is below uses what is above, and goes first.
  MetricTable metrics_;
  queue::MemoryBudget budget_;
  CountedDeadLetters dead_letters_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<std::unique_ptr<SinkInstance>> sinks_;
};

}  // namespace penstock::gateway
