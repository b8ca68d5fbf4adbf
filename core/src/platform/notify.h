// What the service manager is told (sd_notify): nothing happens outside systemd.
#pragma once

#include <chrono>
#include <string>

namespace penstock {

// The start takes longer: at most so long until the next call.
void NotifyBusy(const std::string& status, std::chrono::microseconds within);
void NotifyReady(const std::string& status);
void NotifyStopping(const std::string& status);

}  // namespace penstock
