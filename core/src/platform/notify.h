// What the service manager is told (sd_notify): nothing happens outside systemd.
#pragma once

#include <string>

namespace penstock {

void NotifyReady(const std::string& status);
void NotifyStopping(const std::string& status);

}  // namespace penstock
