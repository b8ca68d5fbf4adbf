// The gateway's state in one line, for the service manager: what `systemctl status` shows.
#pragma once

#include <functional>
#include <string>

#include "gateway/status.h"
#include "platform/clock.h"

namespace penstock::gateway {

// "running: 2 sources, 2 sinks; 1,234 delivered/s; sink bus: connecting for 12 s (no servers)":
// what is trouble last, the first few of it by name.
std::string StatusLine(const GatewayStatus& status);

// Tells a line on, if it is another one than the last, at most once every five seconds. One thread.
class StatusTeller {
 public:
  explicit StatusTeller(std::function<void(const std::string&)> tell) : tell_(std::move(tell)) {}

  // Asks for the line, when it is time again to look whether it has changed.
  void Tick(TimePoint now, const std::function<std::string()>& line);
  // Told by others at this moment, as with READY=1.
  void Told(TimePoint now, std::string line);

 private:
  const std::function<void(const std::string&)> tell_;
  TimePoint due_{};
  std::string last_;
};

}  // namespace penstock::gateway
