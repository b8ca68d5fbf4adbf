// `penstock status`.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>

#include "cli/running_gateway.h"

namespace penstock::cli {

struct StatusOptions {
  RunningGateway gateway;
  bool json = false;
  bool watch = false;
  std::chrono::nanoseconds interval{std::chrono::seconds(2)};  // between two looks of a watch
};

// Asks the running gateway and prints how it does, for people or as the JSON that it gave. The
// former asks twice, a second apart, if there are no rates yet. 1: there is no answer; 78: the
// configuration cannot be read. A watch goes on until a signal ends it: once a gateway has
// answered, one that does not is waited for.
int ShowStatus(const StatusOptions& options, std::ostream& out, std::ostream& err);

// The JSON of GET /status, for people. Throws nlohmann's exceptions if it is something else.
std::string StatusText(const nlohmann::ordered_json& status);

}  // namespace penstock::cli
