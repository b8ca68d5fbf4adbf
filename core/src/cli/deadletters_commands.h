// `penstock deadletters list|show|replay|drop`.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include "cli/store_access.h"

namespace penstock::cli {

class DeadLettersCommands {
 public:
  // Adds the commands below the given one; both outlive this.
  explicit DeadLettersCommands(CLI::App* deadletters);
  DeadLettersCommands(const DeadLettersCommands&) = delete;
  DeadLettersCommands& operator=(const DeadLettersCommands&) = delete;

  // Runs the one that was given; the exit code.
  int Run(std::ostream& out, std::ostream& err);

 private:
  int List(std::ostream& out, std::ostream& err);
  int Show(std::ostream& out, std::ostream& err);
  int Change(const char* what, std::ostream& out, std::ostream& err);
  void AddFilter(CLI::App* command);
  Result<Query> Filter() const;

  StoreOptions store_;
  std::string source_, sink_, id_, reason_, since_, until_;
  bool json_ = false, raw_ = false, all_ = false;
  CLI::App *list_, *show_, *replay_, *drop_;
};

// "2h" (so long before now_ns) or a time of RFC 3339, as nanoseconds since the Unix epoch. The
// error says what is accepted.
Result<int64_t> ParseMoment(std::string_view text, int64_t now_ns);

}  // namespace penstock::cli
