// `penstock import argo`.
#pragma once

#include <CLI/CLI.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "import/import.h"

namespace penstock::cli {

class ImportCommand {
 public:
  // Adds the command below the given one; both outlive this.
  explicit ImportCommand(CLI::App* import);
  ImportCommand(const ImportCommand&) = delete;
  ImportCommand& operator=(const ImportCommand&) = delete;

  // Prints the configuration, or writes it into a new file. 0: made, whatever the warnings; 1:
  // there was nothing to convert, or it could not be written; 2: wrong usage; 78: a file is at
  // fault.
  int Run(std::ostream& out, std::ostream& err) const;

 private:
  CLI::App* argo_;
  std::vector<std::string> files_;
  std::string output_;
  import_argo::BusOptions bus_;
};

}  // namespace penstock::cli
