#include "platform/child.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "store/check.h"
#include "store/repair.h"

namespace penstock::store {
namespace {

// ---- the child's side: lines, of which those with "progress" are only signs of life

constexpr char kProgress[] = "progress ";
constexpr char kReport[] = "report ";
constexpr char kError[] = "error ";

void ShowProgress(uint64_t bytes) { WriteLine(STDOUT_FILENO, kProgress + std::to_string(bytes)); }

int Answer(const Result<Report>& report) {
  if (!report) {
    WriteLine(STDOUT_FILENO, kError + report.error().message);
    return 2;
  }
  if (!WriteLine(STDOUT_FILENO, kReport + ToJson(*report))) return 2;
  return report->sound() ? 0 : 1;
}

// ---- the parent's side

// A signal that a program brings upon itself. Any other one came from somebody else, and says
// nothing about what was checked.
bool OwnFault(int signal_number) {
  for (const int own : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP})
    if (signal_number == own) return true;
  return false;
}

Report Dead(const std::string& how) {
  Report out;
  out.Damage(how + "; the store is damaged in a way that could not be named, or the machine is");
  return out;
}

}  // namespace

int CheckMain(const std::string& directory, Depth depth) {
  return Answer(Verify(directory, depth, ShowProgress));
}

int RepairMain(const std::string& directory, const std::string& out_directory) {
  return Answer(Repair(directory, out_directory, ShowProgress));
}

Result<Report> CheckInChild(const std::string& executable,
                            const std::vector<std::string>& arguments, const CheckLimits& limits) {
  std::string output;  // without signs of life
  const auto ended = RunChild(executable, arguments, {limits.no_progress, limits.max_output},
                              [&](std::string_view line) {
                                if (limits.alive) limits.alive();
                                if (!line.starts_with(kProgress)) output.append(line);
                                return output.size() <= limits.max_output;
                              });
  if (!ended) return tl::unexpected(ended.error());
  if (ended->end == ChildEnd::kSilent)
    return Dead("the check made no progress for " + std::to_string(limits.no_progress.count()) +
                " ms and was ended");
  if (ended->end == ChildEnd::kTooMuch)
    return Dead("the check said more than it should and was ended");
  if (ended->end == ChildEnd::kSignal) {
    const std::string how =
        std::string("the check was ended by a signal: ") + strsignal(ended->number);
    if (OwnFault(ended->number)) return Dead(how);
    return Fail(Code::kRetry,
                how +
                    ", which came from outside (the kernel sends it when memory runs out, see its "
                    "log). Nothing was found out about the store, and nothing in it was changed: "
                    "try again");
  }
  if (output.starts_with(kReport)) return ReportFromJson(output.substr(sizeof kReport - 1));
  if (output.starts_with(kError)) return Fail(Code::kFatal, output.substr(sizeof kError - 1));
  return Fail(Code::kFatal,
              executable + " gave no report, and exit code " + std::to_string(ended->number));
}

}  // namespace penstock::store
