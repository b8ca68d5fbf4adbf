// Turns the life of many streams into few lines: what the host's state of the source is, and when
// to say so.
#ifndef PENSTOCK_SOURCES_GENERIC_STATE_H
#define PENSTOCK_SOURCES_GENERIC_STATE_H

#include <chrono>
#include <optional>
#include <penstock/plugin.hpp>
#include <string>

namespace penstock_generic {

// Reports a change of state once. A server that ends each stream soon after it began would change
// the state many times a second; a stream that follows such a short one is therefore the same
// connection to the host. Not thread-safe.
class StateReporter {
 public:
  using Clock = std::chrono::steady_clock;

  // where: the url, for the texts.
  StateReporter(const penstock::Host& host, std::string where)
      : host_(host), where_(std::move(where)) {}

  // The source begins to connect for the first time.
  void Start();
  // The stream is established; once for each.
  void Up(Clock::time_point now);
  // The stream ended, or an attempt to connect failed. plan: when the next attempt comes.
  void Down(const std::string& reason, const std::string& plan, Clock::time_point now);
  bool up() const { return stream_up_; }

 private:
  const penstock::Host host_;
  const std::string where_;
  bool stream_up_ = false;    // what is
  bool reported_up_ = false;  // what the host knows
  Clock::time_point up_since_{};
  std::optional<Clock::time_point> told_at_;  // an outage
  std::string told_reason_;
};

}  // namespace penstock_generic

#endif  // PENSTOCK_SOURCES_GENERIC_STATE_H
