// What check_test runs in a child process: a check, a repair, or one of the ways to go wrong.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>

#include "store/check.h"

int main(int argc, char** argv) {
  using namespace penstock::store;
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "check" && argc == 3) return CheckMain(argv[2], Depth::kFull);
  if (what == "repair" && argc == 4) return RepairMain(argv[2], argv[3]);
  const std::map<std::string, int> signals = {
      {"abort", SIGABRT}, {"SEGV", SIGSEGV}, {"BUS", SIGBUS}, {"KILL", SIGKILL}, {"TERM", SIGTERM}};
  if (const auto found = signals.find(what); found != signals.end()) {
    if (found->second != SIGKILL) signal(found->second, SIG_DFL);
    kill(getpid(), found->second);
  }
  if (what == "silent") {
    for (;;) pause();
  }
  if (what == "silent-closed") {
    close(STDOUT_FILENO);
    for (;;) pause();
  }
  if (what == "endless") {
    for (;;) std::puts("report report report report report report report report report report");
  }
  return 5;
}
