#include "platform/notify.h"

#include <systemd/sd-daemon.h>

namespace penstock {

void NotifyBusy(const std::string& status, std::chrono::microseconds within) {
  const std::string text =
      "EXTEND_TIMEOUT_USEC=" + std::to_string(within.count()) + "\nSTATUS=" + status;
  sd_notify(0, text.c_str());
}

void NotifyReady(const std::string& status) { sd_notify(0, ("READY=1\nSTATUS=" + status).c_str()); }

void NotifyStopping(const std::string& status) {
  sd_notify(0, ("STOPPING=1\nSTATUS=" + status).c_str());
}

}  // namespace penstock
