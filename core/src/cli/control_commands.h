// `penstock reload` and `penstock drain`: what a running gateway is told to do.
#pragma once

#include <chrono>
#include <ostream>

#include "cli/running_gateway.h"

namespace penstock::cli {

// Waits until it has taken its configuration files anew, and says what changed. 1: it goes on as
// before, err says why, or no gateway answers.
int Reload(const RunningGateway& options, std::ostream& out, std::ostream& err);

struct DrainOptions {
  RunningGateway gateway;
  std::chrono::nanoseconds timeout{0};  // 0: for ever
};

// Has it stop its sources, and waits until all that it had received has settled. 1: that took
// longer, and goes on, or no gateway answers.
int Drain(const DrainOptions& options, std::ostream& out, std::ostream& err);

}  // namespace penstock::cli
