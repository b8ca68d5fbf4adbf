#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "store/check.h"
#include "store/repair.h"

extern char** environ;

namespace penstock::store {
namespace {

using SteadyClock = std::chrono::steady_clock;

// ---- the child's side: lines, of which those with "progress" are only signs of life

constexpr char kProgress[] = "progress ";
constexpr char kReport[] = "report ";
constexpr char kError[] = "error ";

bool WriteLine(std::string line) {
  line.push_back('\n');
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = write(STDOUT_FILENO, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

void ShowProgress(uint64_t bytes) { WriteLine(kProgress + std::to_string(bytes)); }

int Answer(const Result<Report>& report) {
  if (!report) {
    WriteLine(kError + report.error().message);
    return 2;
  }
  if (!WriteLine(kReport + ToJson(*report))) return 2;
  return report->sound() ? 0 : 1;
}

// ---- the parent's side

struct Pipe {
  int ends[2] = {-1, -1};
  ~Pipe() {
    for (const int end : ends)
      if (end >= 0) close(end);
  }
};

// A child that is killed, and waited for, when its owner goes.
class Child {
 public:
  ~Child() { Kill(); }
  Result<void> Start(const std::string& executable, const std::vector<std::string>& arguments,
                     int output) {
    std::vector<char*> argv{const_cast<char*>(executable.c_str())};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    const int error =
        posix_spawn(&pid_, executable.c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error == 0) return {};
    pid_ = -1;
    return Fail(Code::kFatal, "cannot run " + executable + ": " + std::strerror(error));
  }
  void Kill() {
    if (pid_ < 0) return;
    kill(pid_, SIGKILL);
    Wait();
  }
  // false: it goes on for too long.
  bool Ends(std::chrono::milliseconds within) const {
    pollfd ended{static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)), POLLIN, 0};
    if (ended.fd < 0) return true;
    int n = 0;
    while ((n = poll(&ended, 1, static_cast<int>(within.count()))) < 0 && errno == EINTR) {
    }
    close(ended.fd);
    return n > 0;
  }
  int Wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
};

enum class Ended { kClosed, kSilent, kTooMuch };

// Collects what is worth keeping: the last lines, without signs of life.
Ended Collect(int from, const ChildLimits& limits, std::string* out) {
  auto deadline = SteadyClock::now() + limits.no_progress;
  char bytes[65536];
  size_t line = 0;  // where the last line of *out begins
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    pollfd ready{from, POLLIN, 0};
    const int n = poll(&ready, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return Ended::kSilent;
    const ssize_t got = read(from, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Ended::kClosed;
    deadline = SteadyClock::now() + limits.no_progress;
    if (limits.alive) limits.alive();
    out->append(bytes, static_cast<size_t>(got));
    for (size_t end; (end = out->find('\n', line)) != std::string::npos;) {
      if (out->compare(line, sizeof kProgress - 1, kProgress) == 0)
        out->erase(line, end + 1 - line);
      else
        line = end + 1;
    }
    if (out->size() > limits.max_output) return Ended::kTooMuch;
  }
}

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
                            const std::vector<std::string>& arguments, const ChildLimits& limits) {
  Pipe pipe;
  if (pipe2(pipe.ends, O_CLOEXEC) != 0)
    return Fail(Code::kFatal, std::string("cannot make a pipe: ") + std::strerror(errno));
  Child child;
  if (auto started = child.Start(executable, arguments, pipe.ends[1]); !started)
    return tl::unexpected(started.error());
  close(std::exchange(pipe.ends[1], -1));
  std::string output;
  const Ended ended = Collect(pipe.ends[0], limits, &output);
  if (ended == Ended::kSilent || (ended == Ended::kClosed && !child.Ends(limits.no_progress)))
    return Dead("the check made no progress for " + std::to_string(limits.no_progress.count()) +
                " ms and was ended");
  if (ended == Ended::kTooMuch) return Dead("the check said more than it should and was ended");
  const int status = child.Wait();
  if (WIFSIGNALED(status)) {
    const std::string how =
        std::string("the check was ended by a signal: ") + strsignal(WTERMSIG(status));
    if (OwnFault(WTERMSIG(status))) return Dead(how);
    return Fail(Code::kRetry,
                how +
                    ", which came from outside (the kernel sends it when memory runs out, see its "
                    "log). Nothing was found out about the store, and nothing in it was changed: "
                    "try again");
  }
  if (!output.empty() && output.back() == '\n') output.pop_back();
  if (output.starts_with(kReport)) return ReportFromJson(output.substr(sizeof kReport - 1));
  if (output.starts_with(kError)) return Fail(Code::kFatal, output.substr(sizeof kError - 1));
  return Fail(Code::kFatal,
              executable + " gave no report, and exit code " + std::to_string(WEXITSTATUS(status)));
}

}  // namespace penstock::store
