// Which running gateway a command is for.
#pragma once

#include <optional>
#include <ostream>
#include <string>

namespace penstock::cli {

struct RunningGateway {
  std::string config_file;
  bool config_given = false;  // by the user; else the default file need not be there
  std::string socket;         // empty: the one that the configuration names
};

// The admin socket to ask; an exit code when there is none.
std::optional<int> FindSocket(const RunningGateway& options, std::string* socket,
                              std::ostream& err);

}  // namespace penstock::cli
