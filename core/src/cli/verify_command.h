// `penstock plugins verify`.
#pragma once

#include <CLI/CLI.hpp>
#include <ostream>
#include <string>

#include "verify/verify.h"

namespace penstock::cli {

class VerifyCommand {
 public:
  explicit VerifyCommand(CLI::App* plugins);
  bool parsed() const { return command_->parsed(); }
  // Prints the verdict on each check. 0: none failed; 1: one did; 2: wrong usage.
  int Run(std::ostream& out, std::ostream& err) const;

 private:
  CLI::App* command_;
  verify::Request request_;
  bool json_ = false;
};

}  // namespace penstock::cli
