#include "state.h"

#include <utility>

namespace penstock_generic {
namespace {

// A stream that lived as long as this was a connection in its own right.
constexpr std::chrono::seconds kLasting{5};
// How soon a new reason of the same outage may be told.
constexpr std::chrono::seconds kReasonPause{10};

}  // namespace

void StateReporter::Start() { host_.Connecting("connecting to " + where_); }

void StateReporter::Up(Clock::time_point now) {
  stream_up_ = true;
  up_since_ = now;
  if (std::exchange(reported_up_, true)) return;
  host_.Ready("receiving from " + where_);
}

void StateReporter::Down(const std::string& reason, const std::string& plan,
                         Clock::time_point now) {
  const bool was_up = std::exchange(stream_up_, false);
  if (told_at_) {
    if (reported_up_ && was_up && now - up_since_ < kLasting) return;
    const bool other_reason = reason != told_reason_ && now - *told_at_ >= kReasonPause;
    if (!reported_up_ && !other_reason) return;
  }
  reported_up_ = false;
  told_at_ = now;
  told_reason_ = reason;
  host_.Connecting(where_ + ": " + reason + "; " + plan);
}

}  // namespace penstock_generic
