// The running gateway as the service manager sees it: ready, alive, how it does, stopping.
#pragma once

#include <memory>

#include "gateway/status.h"
#include "gateway/status_line.h"
#include "gateway/watchdog.h"
#include "platform/clock.h"
#include "platform/heartbeat.h"

namespace penstock::gateway {

// Used by the control loop alone.
class Service {
 public:
  // All outlive it. The watchdog's period is what the heartbeats were made with.
  Service(Heartbeats* heartbeats, StatusReader* status, const Clock* clock);

  // The gateway runs, or does again after a reload, and the status says so: from here on its loops
  // are watched, the control loop among them.
  void Ready();
  // A reload has begun; Ready ends it, whether it was taken or refused.
  void Reloading();
  // The control loop's point; now and then a status line.
  void Tick();
  // How long the control loop may wait for something to happen before it calls Tick.
  int tick_ms() const;
  // The stop has begun, as the status says, and may take until the deadline. The control loop now
  // waits for others, so the stop is bounded by its deadline and by the unit's TimeoutStopSec, and
  // no longer watched.
  void Stopping(TimePoint deadline);

 private:
  Heartbeats* const heartbeats_;
  StatusReader* const status_;
  const Clock* const clock_;
  StatusTeller teller_;
  std::shared_ptr<Beat> control_;
  Watchdog watchdog_;
};

}  // namespace penstock::gateway
