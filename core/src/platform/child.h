// A program that is run as a child, because what it does may crash or hang: that is then an answer,
// and not the end of this process.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/result.h"

namespace penstock {

struct ChildLimits {
  std::chrono::milliseconds silence;  // without a byte from it, or between its last one and its end
  size_t max_line = 16 << 20;
};

enum class ChildEnd {
  kExited,   // number: its exit code
  kSignal,   // number: the signal that ended it
  kSilent,   // it said nothing for too long, and was killed
  kTooMuch,  // a line was too long or unwanted, and it was killed
};
struct ChildOutcome {
  ChildEnd end;
  int number = 0;
};

// Runs executable and hands over each line that it prints on standard output, without its newline;
// on_line answers false when it wants no more. Blocks; the child is gone when it returns. The
// error: it could not be run.
Result<ChildOutcome> RunChild(const std::string& executable,
                              const std::vector<std::string>& arguments, const ChildLimits& limits,
                              const std::function<bool(std::string_view line)>& on_line);

// For the child: writes one line to a descriptor at once. False: nobody reads any more.
bool WriteLine(int fd, std::string line);

}  // namespace penstock
