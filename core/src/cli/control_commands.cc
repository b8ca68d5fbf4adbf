#include "cli/control_commands.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "admin/client.h"
#include "gateway/gateway.h"
#include "plugin/elf.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

// A reload waits for what is to go: at most the longest gateway.drain_timeout, for each part.
constexpr auto kPatience = std::chrono::hours(24);
constexpr auto kPoll = std::chrono::milliseconds(200);

// The text with its line breaks, and nothing else that a terminal would obey.
std::string PrintableLines(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    out += plugin::Printable(text.substr(at, end - at)) + '\n';
    at = end + 1;
  }
  return out;
}

// The answer to one call; nothing when there is none, or it is a refusal, which err tells.
std::optional<std::string> Call(const admin::Client& client, const char* method, const char* target,
                                std::ostream& err) {
  const auto reply = client.Call(method, target);
  if (!reply) {
    err << "penstock: " << reply.error().message << "\n";
    return {};
  }
  if (reply->status == 200) return reply->body;
  err << PrintableLines(reply->body);
  return {};
}

uint64_t Pending(const Json& status) {
  uint64_t sum = 0;
  for (const Json& route : status.at("routes"))
    sum += route.at("ledger").at("pending").get<uint64_t>();
  return sum;
}

// Throws what the JSON library does when the answer is another one than it should be.
int WaitUntilDrained(const admin::Client& client, std::chrono::nanoseconds timeout,
                     std::ostream& out, std::ostream& err) {
  if (!Call(client, "POST", "/drain", err)) return gateway::kExitFailure;
  const Clock::time_point start = Clock::now();
  for (;;) {
    const auto answer = Call(client, "GET", "/status", err);
    if (!answer) return gateway::kExitFailure;
    const Json status = Json::parse(*answer);
    const auto state = status.at("gateway").at("state").get<std::string>();
    if (state == "drained") break;
    if (state != "draining") {
      err << "penstock: the gateway is " << plugin::Printable(state) << " and no longer draining\n";
      return gateway::kExitFailure;
    }
    if (timeout.count() > 0 && Clock::now() - start >= timeout) {
      err << "penstock: " << Pending(status)
          << " events are not settled yet; it goes on, penstock status says why\n";
      return gateway::kExitFailure;
    }
    std::this_thread::sleep_for(kPoll);
  }
  out << "drained: the sources are stopped, and all that was received has settled; "
         "penstock reload starts them again\n";
  return gateway::kExitOk;
}

}  // namespace

int Reload(const RunningGateway& options, std::ostream& out, std::ostream& err) {
  std::string socket;
  if (const auto code = FindSocket(options, &socket, err)) return *code;
  const auto answer = Call(admin::Client(socket, kPatience), "POST", "/reload", err);
  if (!answer) {
    err << "penstock: not reloaded\n";
    return gateway::kExitFailure;
  }
  out << "reloaded: " << PrintableLines(*answer);
  return gateway::kExitOk;
}

int Drain(const DrainOptions& options, std::ostream& out, std::ostream& err) {
  std::string socket;
  if (const auto code = FindSocket(options.gateway, &socket, err)) return *code;
  try {
    return WaitUntilDrained(admin::Client(socket), options.timeout, out, err);
  } catch (const Json::exception& e) {
    err << "penstock: the answer of the gateway on " << socket << " is not understood ("
        << plugin::Printable(e.what()) << "); does it run another version?\n";
    return gateway::kExitFailure;
  }
}

}  // namespace penstock::cli
