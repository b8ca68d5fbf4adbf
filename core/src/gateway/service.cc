#include "gateway/service.h"

#include <algorithm>

#include "platform/log.h"
#include "platform/notify.h"

namespace penstock::gateway {
namespace {

Watchdog::Calls Calls() {
  Watchdog::Calls calls;
  if (WatchdogPeriod()) calls.feed = NotifyAlive;
  calls.need_longer = [](Nanoseconds within) {
    NotifyBusy(std::chrono::duration_cast<std::chrono::microseconds>(within));
  };
  return calls;
}

}  // namespace

Service::Service(Heartbeats* heartbeats, StatusReader* status, const Clock* clock)
    : heartbeats_(heartbeats),
      status_(status),
      clock_(clock),
      teller_(NotifyStatus),
      watchdog_(heartbeats, clock, Calls()) {}

void Service::Ready() {
  if (!control_) {
    control_ = heartbeats_->AddControl();
    watchdog_.Start();
  }
  control_->Pass(clock_->Now());
  const std::string line = StatusLine(status_->Read());
  NotifyReady(line);
  teller_.Told(clock_->Now(), line);
}

void Service::Reloading() {
  NotifyReloading("reloading");
  teller_.Told(clock_->Now(), "reloading");
}

void Service::Tick() {
  const TimePoint now = clock_->Now();
  if (control_) control_->Pass(now);
  log::SayHeldBack(now);
  if (NotifyWanted()) teller_.Tick(now, [this] { return StatusLine(status_->Read()); });
}

int Service::tick_ms() const {
  constexpr Nanoseconds kLongest = std::chrono::seconds(1);
  const Nanoseconds tick = std::min(heartbeats_->pulse(), kLongest);
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(tick).count());
}

void Service::Stopping(TimePoint deadline) {
  control_.reset();
  const std::string line = StatusLine(status_->Read());
  NotifyStopping(line);
  teller_.Told(clock_->Now(), line);
  watchdog_.Stopping(deadline);
}

}  // namespace penstock::gateway
