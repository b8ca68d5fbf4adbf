#include "gateway/watchdog.h"

#include <sys/prctl.h>

#include <algorithm>

#include "platform/log.h"

namespace penstock::gateway {
namespace {

// However long the watchdog's period: the stop asks for more time in steps.
constexpr Nanoseconds kLongestInterval = std::chrono::seconds(4);
// What a step asks for. The last one is asked for before the deadline, and leaves time for the
// sinks' last receipts and the last commit.
constexpr Nanoseconds kStopStep = std::chrono::seconds(20);
// This thread came so many intervals late: then the whole process was held up.
constexpr int kLate = 3;

bool Has(const std::vector<Stuck>& all, const Stuck& one) {
  return std::any_of(all.begin(), all.end(), [&one](const Stuck& other) {
    return other.component == one.component && other.what == one.what;
  });
}

}  // namespace

Watchdog::Watchdog(const Heartbeats* heartbeats, const Clock* clock, Calls calls)
    : heartbeats_(heartbeats), clock_(clock), calls_(std::move(calls)) {}

Watchdog::~Watchdog() {
  ended_ = true;
  signal_.Notify();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Watchdog::Stopping(TimePoint deadline) {
  stop_deadline_ = deadline;
  signal_.Notify();
}

Nanoseconds Watchdog::interval() const { return std::min(heartbeats_->pulse(), kLongestInterval); }

void Watchdog::Run() {
  prctl(PR_SET_NAME, "watchdog");
  while (!ended_) {
    const Signal::Ticket ticket = signal_.Take();
    Tick();
    if (!ended_) signal_.WaitPast(ticket, clock_->Now() + interval());
  }
}

void Watchdog::Tick() {
  const TimePoint now = clock_->Now();
  // A process that was frozen, or got no processor, is judged once its loops have had their turn.
  const bool held_up = last_tick_ != TimePoint{} && now - last_tick_ > kLate * interval();
  last_tick_ = now;
  if (!held_up) Report(heartbeats_->Find());
  if (stuck_.empty() && calls_.feed) calls_.feed();
  if (now < stop_deadline_.load() && calls_.need_longer) calls_.need_longer(kStopStep);
}

void Watchdog::Report(std::vector<Stuck> now) {
  for (const Stuck& stuck : now) {
    if (Has(stuck_, stuck)) continue;
    log::LogError(stuck.component,
                  stuck.text + (calls_.feed ? "; the service manager will restart the gateway"
                                            : "; if it stays so, restart the gateway"));
  }
  for (const Stuck& stuck : stuck_) {
    if (!Has(now, stuck)) log::Warn(stuck.component, "goes on again");
  }
  stuck_ = std::move(now);
}

}  // namespace penstock::gateway
