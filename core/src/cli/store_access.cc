#include "cli/store_access.h"

#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "admin/client.h"
#include "gateway/gateway.h"
#include "gateway/store_check.h"
#include "gateway/store_tools.h"
#include "platform/log.h"
#include "plugin/elf.h"

namespace penstock::cli {
namespace {

constexpr char kDefaultConfig[] = "/etc/penstock/penstock.toml";
// A change of many dead letters is answered when it is on disk.
constexpr std::chrono::minutes kAnswerWithin{10};

std::string Encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::strchr("-._~", c) != nullptr) {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

std::string Target(const std::string& path, const Query& query) {
  std::string out = path;
  for (const auto& [key, value] : query)
    out += (out.size() == path.size() ? "?" : "&") + key + "=" + Encoded(value);
  return out;
}

std::string WithoutNewline(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return plugin::Printable(text);
}

// Thrown out of the client to end an answer that nobody wants more of.
struct Enough {};

class Remote final : public StoreTools {
 public:
  explicit Remote(const std::string& socket) : StoreTools(true), client_(socket, kAnswerWithin) {}

 private:
  Result<void> Call(const std::string& method, const std::string& path, const Query& query,
                    const OnData& on_data) override {
    try {
      const auto reply =
          client_.Stream(method, Target(path, query), "", [&on_data](std::string_view data) {
            if (!on_data(data)) throw Enough();
          });
      if (!reply) return Fail(Code::kReject, reply.error().message);
      if (reply->status != 200) return Fail(Code::kReject, WithoutNewline(reply->body));
    } catch (const Enough&) {
    }
    return {};
  }

  const admin::Client client_;
};

class Direct final : public StoreTools {
 public:
  Direct(std::shared_ptr<const config::Config> config, std::unique_ptr<Clock> clock,
         std::unique_ptr<store::Store> store)
      : StoreTools(false),
        config_(std::move(config)),
        clock_(std::move(clock)),
        store_(std::move(store)) {
    gateway::StoreAccess access;
    access.store = [this]() -> Result<store::Store*> { return store_.get(); };
    access.config = [config = config_] { return config; };
    endpoints_ = gateway::StoreEndpoints(std::move(access));
  }
  ~Direct() override {
    const std::string directory = store_->directory();
    store_.reset();
    gateway::GiveToOwner(directory);
  }

 private:
  Result<void> Call(const std::string& method, const std::string& path, const Query& query,
                    const OnData& on_data) override {
    for (const gateway::Endpoint& endpoint : endpoints_) {
      if (endpoint.method != method || endpoint.path != path) continue;
      const admin::Response response = endpoint.handler({path, query, ""});
      if (response.status != 200) return Fail(Code::kReject, WithoutNewline(response.body));
      if (!response.pull) {
        on_data(response.body);
        return {};
      }
      for (;;) {
        const auto piece = response.pull();
        if (!piece) return tl::unexpected(piece.error());
        if (piece->empty() || !on_data(*piece)) return {};
      }
    }
    return Fail(Code::kReject, "there is no " + method + " " + path);
  }

  const std::shared_ptr<const config::Config> config_;
  const std::unique_ptr<Clock> clock_;
  std::unique_ptr<store::Store> store_;
  std::vector<gateway::Endpoint> endpoints_;
};

std::string FirstError(const config::Loaded& loaded) {
  for (const config::Finding& finding : loaded.findings) {
    if (finding.severity == config::Severity::kError) return finding.ToString();
  }
  return "";
}

Result<std::unique_ptr<StoreTools>> OpenDirectly(StorePlace place) {
  const std::string directory = gateway::StoreIn(place.state_dir);
  const auto found = gateway::FindStore(place.state_dir);
  if (!found) {
    // Nothing is made: the gateway may run as another user.
    const bool hidden = access(directory.c_str(), R_OK | X_OK) != 0 && errno == EACCES;
    return Fail(Code::kConfig, hidden ? "the store in " + directory +
                                            " may only be read by the user that the gateway runs "
                                            "as, and by root"
                                      : "there is no store in " + directory);
  }
  if (found->set_aside) {
    return Fail(Code::kConfig, "there is no store in " + directory +
                                   ", but a damaged one was set aside as " + found->directory +
                                   "; run penstock queue repair");
  }
  auto lock = store::Lock::Take(directory);
  if (!lock) return Fail(Code::kConfig, lock.error().message);
  const auto report = gateway::CheckStoreBeforeUse(directory);
  if (!report) return Fail(Code::kConfig, report.error().message);
  if (!report->sound()) {
    return Fail(Code::kConfig, "the store in " + directory +
                                   " is damaged: see penstock queue verify, then penstock queue "
                                   "repair");
  }
  // What the operations log is the gateway's; here the answer says it.
  log::Configure(log::Level::kWarn, log::Format::kText);
  // Answers may end early; the store is closed all the same.
  signal(SIGPIPE, SIG_IGN);
  store::Store::Options options;
  options.thread = false;
  auto clock = std::make_unique<SystemClock>();
  auto store = store::Store::Open(std::move(*lock), options, clock.get());
  if (!store) return Fail(Code::kConfig, store.error().message);
  gateway::GiveToOwner(directory);
  return std::make_unique<Direct>(std::move(place.config), std::move(clock), std::move(*store));
}

}  // namespace

void StoreOptions::AddTo(CLI::App* command) {
  CLI::Option* config = command->add_option("-c,--config", config_file,
                                            "The configuration, which names state_dir and socket");
  config->type_name("FILE")->default_str(kDefaultConfig);
  command
      ->add_option("--state-dir", state_dir,
                   "The gateway's state directory, without a configuration")
      ->type_name("DIR")
      ->excludes(config);
  command
      ->add_option("--socket", socket,
                   "The running gateway's admin socket; else the one of the configuration")
      ->type_name("PATH");
}

Result<StorePlace> FindPlace(const StoreOptions& options) {
  StorePlace place;
  place.socket = options.socket;
  if (!options.state_dir.empty()) {
    std::error_code ignored;
    place.state_dir = std::filesystem::absolute(options.state_dir, ignored).lexically_normal();
    while (place.state_dir.size() > 1 && place.state_dir.back() == '/') place.state_dir.pop_back();
    return place;
  }
  const bool given = !options.config_file.empty();
  const std::string file = given ? options.config_file : kDefaultConfig;
  std::error_code ignored;
  const bool missing = !given && !std::filesystem::exists(file, ignored);
  config::Loaded loaded = missing ? config::LoadText({{file, ""}}) : config::Load(file);
  if (!loaded.complete) {
    return Fail(Code::kConfig, FirstError(loaded) +
                                   "\npenstock: so it is not known where the store is: name its "
                                   "place with --state-dir");
  }
  place.state_dir = loaded.config.gateway.state_dir;
  if (place.socket.empty()) place.socket = loaded.config.gateway.admin_socket;
  if (!missing) place.config = std::make_unique<config::Config>(std::move(loaded.config));
  return place;
}

Result<std::unique_ptr<StoreTools>> StoreTools::Open(const StoreOptions& options) {
  auto place = FindPlace(options);
  if (!place) return tl::unexpected(place.error());
  const auto holder = store::Lock::Holder(gateway::StoreIn(place->state_dir));
  if (!holder && options.socket.empty()) return OpenDirectly(std::move(*place));
  if (place->socket.empty()) {
    return Fail(Code::kReject, "process " + *holder + " uses the store in " + place->state_dir +
                                   ": name the admin socket of that gateway with --socket");
  }
  return std::make_unique<Remote>(place->socket);
}

Result<std::string> StoreTools::Get(const std::string& path, const Query& query) {
  std::string body;
  auto done = Call("GET", path, query, [&body](std::string_view data) {
    body += data;
    return true;
  });
  if (!done) return tl::unexpected(done.error());
  return body;
}

Result<std::string> StoreTools::Post(const std::string& path, const Query& query) {
  std::string body;
  auto done = Call("POST", path, query, [&body](std::string_view data) {
    body += data;
    return true;
  });
  if (!done) return tl::unexpected(done.error());
  return body;
}

Result<void> StoreTools::GetLines(const std::string& path, const Query& query,
                                  const std::function<bool(std::string_view)>& on_line) {
  std::string rest;
  return Call("GET", path, query, [&](std::string_view data) {
    rest += data;
    size_t begin = 0;
    for (size_t end; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (!on_line(std::string_view(rest).substr(begin, end - begin))) return false;
    }
    rest.erase(0, begin);
    return true;
  });
}

int Report(const Error& error, std::ostream& err) {
  err << "penstock: " << error.message << "\n";
  return error.code == Code::kConfig ? gateway::kExitConfig : gateway::kExitFailure;
}

}  // namespace penstock::cli
