// The way to a store: through the admin socket of the gateway that has it open, or by opening it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include "config/config.h"
#include "platform/clock.h"
#include "platform/result.h"
#include "store/store.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace penstock::cli {

// Which store.
struct StoreOptions {
  std::string config_file;
  std::string state_dir;  // instead of the configuration's
  std::string socket;     // likewise

  // Adds --config, --state-dir and --socket to a command.
  void AddTo(CLI::App* command);
};

// What the options and the configuration say. The error has code kConfig: it cannot be read.
struct StorePlace {
  std::string state_dir, socket;
  std::unique_ptr<config::Config> config;  // null: not known
};
Result<StorePlace> FindPlace(const StoreOptions& options);

using Query = std::map<std::string, std::string>;

// Asks the endpoints of core/src/gateway/store_tools.h. The errors of all calls: kConfig, the store
// cannot be used (exit 78); kReject, the answer was no, or the gateway could not be asked (exit 1).
class StoreTools {
 public:
  // Prints nothing. The store is checked before it is opened.
  static Result<std::unique_ptr<StoreTools>> Open(const StoreOptions& options);
  virtual ~StoreTools() = default;

  bool running() const { return running_; }  // a gateway has the store open
  Result<std::string> Get(const std::string& path, const Query& query);
  Result<std::string> Post(const std::string& path, const Query& query);
  // Gives each line, without its end, until on_line returns false.
  Result<void> GetLines(const std::string& path, const Query& query,
                        const std::function<bool(std::string_view)>& on_line);

 protected:
  explicit StoreTools(bool running) : running_(running) {}
  // false from on_data: no more is wanted. An answer that is not 200 is an error.
  using OnData = std::function<bool(std::string_view)>;
  virtual Result<void> Call(const std::string& method, const std::string& path, const Query& query,
                            const OnData& on_data) = 0;

 private:
  const bool running_;
};

// Says what went wrong on err; the exit code for it.
int Report(const Error& error, std::ostream& err);

}  // namespace penstock::cli
