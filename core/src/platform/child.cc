#include "platform/child.h"

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

extern char** environ;

namespace penstock {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Pipe {
  int ends[2] = {-1, -1};
  ~Pipe() {
    for (const int end : ends)
      if (end >= 0) close(end);
  }
};

// Killed, and waited for, when its owner goes.
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

// Reads until the child closes its output. Else the reason for which it must be killed.
ChildEnd ReadLines(int from, const ChildLimits& limits,
                   const std::function<bool(std::string_view line)>& on_line) {
  auto deadline = SteadyClock::now() + limits.silence;
  std::string line;
  char bytes[65536];
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    pollfd ready{from, POLLIN, 0};
    const int n = poll(&ready, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return ChildEnd::kSilent;
    const ssize_t got = read(from, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return line.empty() || on_line(line) ? ChildEnd::kExited : ChildEnd::kTooMuch;
    deadline = SteadyClock::now() + limits.silence;
    std::string_view rest(bytes, static_cast<size_t>(got));
    for (size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      line.append(rest.substr(0, end));
      if (!on_line(line)) return ChildEnd::kTooMuch;
      line.clear();
    }
    line.append(rest);
    if (line.size() > limits.max_line) return ChildEnd::kTooMuch;
  }
}

}  // namespace

Result<ChildOutcome> RunChild(const std::string& executable,
                              const std::vector<std::string>& arguments, const ChildLimits& limits,
                              const std::function<bool(std::string_view line)>& on_line) {
  Pipe pipe;
  if (pipe2(pipe.ends, O_CLOEXEC) != 0)
    return Fail(Code::kFatal, std::string("cannot make a pipe: ") + std::strerror(errno));
  Child child;
  if (auto started = child.Start(executable, arguments, pipe.ends[1]); !started)
    return tl::unexpected(started.error());
  close(std::exchange(pipe.ends[1], -1));
  const ChildEnd read = ReadLines(pipe.ends[0], limits, on_line);
  if (read != ChildEnd::kExited) return ChildOutcome{read};
  if (!child.Ends(limits.silence)) return ChildOutcome{ChildEnd::kSilent};
  const int status = child.Wait();
  if (WIFSIGNALED(status)) return ChildOutcome{ChildEnd::kSignal, WTERMSIG(status)};
  return ChildOutcome{ChildEnd::kExited, WEXITSTATUS(status)};
}

bool WriteLine(int fd, std::string line) {
  line.push_back('\n');
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = write(fd, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace penstock
