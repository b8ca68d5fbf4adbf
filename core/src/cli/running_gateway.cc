#include "cli/running_gateway.h"

#include <filesystem>

#include "config/config.h"
#include "gateway/gateway.h"

namespace penstock::cli {
namespace {

std::string FirstError(const config::Loaded& loaded) {
  for (const config::Finding& finding : loaded.findings) {
    if (finding.severity == config::Severity::kError) return finding.ToString();
  }
  return "";
}

}  // namespace

std::optional<int> FindSocket(const RunningGateway& options, std::string* socket,
                              std::ostream& err) {
  *socket = options.socket;
  if (!socket->empty()) return {};
  std::error_code ignored;
  const bool default_missing =
      !options.config_given && !std::filesystem::exists(options.config_file, ignored);
  // Of an empty configuration all is as by default.
  const config::Loaded loaded = default_missing ? config::LoadText({{options.config_file, ""}})
                                                : config::Load(options.config_file);
  if (!loaded.complete) {
    err << "penstock: " << FirstError(loaded)
        << "\npenstock: so the gateway's socket is not known: name it with --socket\n";
    return gateway::kExitConfig;
  }
  *socket = loaded.config.gateway.admin_socket;
  if (!socket->empty()) return {};
  err << "penstock: gateway.admin_socket is switched off in " << options.config_file
      << ", so a gateway that runs with it cannot be asked\n";
  return gateway::kExitFailure;
}

}  // namespace penstock::cli
