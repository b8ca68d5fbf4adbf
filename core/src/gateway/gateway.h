// The commands that run, or check, a whole gateway.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace penstock::gateway {

struct CommandOptions {
  std::string config_file;
  std::vector<std::string> plugin_dirs;  // searched before the configured and the packaged ones
  bool exit_when_done = false;  // Run ends once every source has finished and all is settled
};

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitConfig = 78;  // EX_CONFIG of sysexits.h

// Runs until SIGTERM or SIGINT; returns the exit code. Called once, from the main thread, before
// other threads exist.
int Run(const CommandOptions& options);

// Checks the configuration without touching the network, and says to out what each route
// guarantees; findings go to err.
int Check(const CommandOptions& options, std::ostream& out, std::ostream& err);

}  // namespace penstock::gateway
