// What the service manager is told (sd_notify): nothing happens outside systemd. Any thread. What
// would begin another assignment in a status is replaced, so that a plugin's text cannot.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace penstock {

// Whether there is somebody to tell.
bool NotifyWanted();
void NotifyReady(const std::string& status);
// A reload has begun; NotifyReady ends it, whether it was taken or refused.
void NotifyReloading(const std::string& status);
void NotifyStopping(const std::string& status);
void NotifyStatus(const std::string& status);
// The start or the stop takes longer: at most so long until the next call. Never shortens what the
// unit grants.
void NotifyBusy(const std::string& status, std::chrono::microseconds within);
void NotifyBusy(std::chrono::microseconds within);
// The gateway is alive. The first must come within the period, and each next one.
void NotifyAlive();

// How long the service manager waits for NotifyAlive before it ends the process; nullopt: it does
// not (WatchdogSec of the unit).
std::optional<std::chrono::nanoseconds> WatchdogPeriod();

}  // namespace penstock
