#include "platform/notify.h"

#include <systemd/sd-daemon.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace penstock {
namespace {

std::string Status(const std::string& text) {
  std::string out = "STATUS=";
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return out;
}

std::string Extend(std::chrono::microseconds within) {
  return "EXTEND_TIMEOUT_USEC=" + std::to_string(within.count());
}

void Tell(const std::string& text) { sd_notify(0, text.c_str()); }

}  // namespace

bool NotifyWanted() { return std::getenv("NOTIFY_SOCKET") != nullptr; }

void NotifyReady(const std::string& status) { Tell("READY=1\n" + Status(status)); }

void NotifyReloading(const std::string& status) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t now_us = int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  Tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now_us) + "\n" + Status(status));
}

void NotifyStopping(const std::string& status) { Tell("STOPPING=1\n" + Status(status)); }

void NotifyStatus(const std::string& status) { Tell(Status(status)); }

void NotifyBusy(const std::string& status, std::chrono::microseconds within) {
  Tell(Extend(within) + "\n" + Status(status));
}

void NotifyBusy(std::chrono::microseconds within) { Tell(Extend(within)); }

void NotifyAlive() { Tell("WATCHDOG=1"); }

std::optional<std::chrono::nanoseconds> WatchdogPeriod() {
  uint64_t period_us = 0;
  if (sd_watchdog_enabled(0, &period_us) <= 0) return {};
  return std::chrono::microseconds(period_us);
}

}  // namespace penstock
