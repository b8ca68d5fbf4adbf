// `penstock queue list|info|cat|export|verify|repair|forget`.
#pragma once

#include <ostream>
#include <string>

#include "cli/store_access.h"

namespace penstock::cli {

class QueueCommands {
 public:
  // Adds the commands below the given one; both outlive this.
  explicit QueueCommands(CLI::App* queue);
  QueueCommands(const QueueCommands&) = delete;
  QueueCommands& operator=(const QueueCommands&) = delete;

  // Runs the one that was given; the exit code. Asks on standard input what needs a yes, if that is
  // a terminal.
  int Run(std::ostream& out, std::ostream& err);

 private:
  int List(std::ostream& out, std::ostream& err);
  int Info(std::ostream& out, std::ostream& err);
  int Cat(std::ostream& out, std::ostream& err);
  int Export(std::ostream& out, std::ostream& err);
  int Verify(std::ostream& out, std::ostream& err);
  int Repair(std::ostream& out, std::ostream& err);
  int Forget(std::ostream& out, std::ostream& err);
  Query EventsQuery() const;

  StoreOptions store_;
  std::string name_, sink_, file_, from_, count_;
  bool json_ = false, yes_ = false;
  CLI::App *list_, *info_, *cat_, *export_, *verify_, *repair_, *forget_;
};

}  // namespace penstock::cli
