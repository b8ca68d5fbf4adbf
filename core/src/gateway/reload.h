// One reload of a running pipeline, in steps that each can be taken back but the last.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/pipeline.h"
#include "gateway/plan.h"

namespace penstock::gateway {

// 1. Create: the new instances are made, and new sinks begin to connect, beside what runs.
// 2. EndRoutes: what is to go is delivered; its sources are stopped for that.
// 3. SwitchSources: old streams end, and new ones begin, into the same queues.
// 4. SwitchSinks: new sinks go on where the old ones stand. Nothing can fail any more.
// After an error in 1 to 3 all is as it was, but that the sources touched were started again, or
// are once what they had read is in their queue. Once a stop is wanted nothing is waited for: that
// is an error in 1 to 3, and 4 takes what is there.
class Reloading {
 public:
  Reloading(Pipeline* pipeline, const Prepared& next);
  Result<std::string> Run();

 private:
  using Source = Pipeline::Source;
  using Sink = Pipeline::Sink;

  // A changed source, as it was.
  struct Before {
    Source* source;
    Pipeline::Running<config::SourceConfig> was;
    bool told;  // its sinks, as its info or its filter has changed
  };

  Result<void> Judge() const;
  Result<void> Create();
  Result<void> EndRoutes();
  Result<void> RefuseBacklog() const;
  Result<void> WaitForRoutes();
  bool StopWanted() const { return p_.stop_wanted_(); }
  // For one part of the reload, beginning now: until a stop is wanted, or what drain_timeout leaves
  // is over, and at the least a moment.
  std::function<bool()> MayWait() const;
  // Until something changes, or a moment.
  void Wait(Signal::Ticket ticket) const;
  Result<void> FlushStore(const std::function<bool()>& may_wait) const;
  Result<void> SwitchSources();
  Result<void> SwitchSource(const SourcePart& part);
  // All but its start.
  Result<void> CreateAdded(const SourcePart& part);
  void SwitchSinks();
  void RemoveRoutes();
  // The old sinks that are left take the time of their end together.
  void HurrySinks();
  void SwitchSink(Sink* old, std::unique_ptr<Sink> fresh);
  void AddRoutes();
  void RemoveParts();
  void Conclude();
  void RollBack();
  // Its queue on disk is forgotten with all that is in it.
  void DropAdded(std::unique_ptr<Source> source);

  // Stops the source's instance and waits until it has returned; what it still emits is taken.
  // False: it has not.
  bool End(Source* source, const std::function<bool()>& may_wait) const;
  // The same for what comes next; an error says why it has not.
  Result<void> EndForNext(Source* source) const;
  // What the sinks that run read of the source from now on has that info, and passes the filter of
  // the source's table.
  void TellSinks(Source* source, event::SourceInfo info) const;
  void ForEachRemovedRoute(const std::function<void(const RouteName&, Sink*, Source*)>& f) const;
  std::string OldBuilds() const;
  // The new sinks that are not ready, and why. Waits for them for a moment.
  std::string NotReady() const;

  Pipeline& p_;
  const Prepared& next_;
  Plan plan_;
  const TimePoint deadline_;  // what the parts have together
  std::map<std::string, std::unique_ptr<SourceInstance>> fresh_instances_;  // of changed sources
  std::map<std::string, std::unique_ptr<Sink>> fresh_sinks_;
  std::vector<std::unique_ptr<Source>> fresh_sources_;
  std::vector<Source*> ended_;  // those whose instance was asked to end
  bool fenced_ = false;
  std::vector<Before> before_;
};

}  // namespace penstock::gateway
