#include "verify/process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <locale>

#include "plugin/elf.h"

extern char** environ;

namespace penstock::verify {
namespace {

int captured = -1;

std::string Bytes(const void* from, size_t n) {
  return std::string(static_cast<const char*>(from), n);
}

size_t CountEntries(const char* directory) {
  size_t n = 0;
  std::error_code ignored;
  for (std::filesystem::directory_iterator it(directory, ignored), end; it != end;
       it.increment(ignored))
    ++n;
  return n;
}

std::string Handlers() {
  std::string out;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) != 0) continue;
    out += Bytes(&action.sa_handler, sizeof action.sa_handler) + std::to_string(action.sa_flags);
  }
  return out;
}

std::string Blocked() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  std::string out;
  for (int signal = 1; signal < NSIG; ++signal) out += sigismember(&mask, signal) == 1 ? 'x' : '-';
  return out;
}

std::string Stream(int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return "closed";
  return std::to_string(st.st_dev) + " " + std::to_string(st.st_ino) + " " +
         std::to_string(fcntl(fd, F_GETFL));
}

// The private copy that a plugin is loaded from stays open for ever, by intent.
bool IsCopy(const std::string& target) {
  return target.starts_with("/memfd:penstock:") || target.find("plugin-copies/") != target.npos ||
         target.find("/penstock-") != target.npos;
}

}  // namespace

ProcessState ProcessState::Now() {
  ProcessState out;
  out.threads = CountThreads();
  std::error_code ignored;
  for (std::filesystem::directory_iterator it("/proc/self/fd", ignored), end; it != end;
       it.increment(ignored)) {
    const std::string target = std::filesystem::read_symlink(it->path(), ignored);
    if (!ignored && !IsCopy(target) && !target.ends_with("/fd"))
      out.descriptors[std::atoi(it->path().filename().c_str())] = target;
  }
  std::string variables;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable)
    variables += std::string(*variable) + "\n";
  const mode_t creation = umask(0);
  umask(creation);
  out.rest = {{"the signal handlers", Handlers()},
              {"the signal mask", Blocked()},
              {"the locale", std::setlocale(LC_ALL, nullptr) + std::locale().name()},
              {"the environment", variables},
              {"the working directory", std::filesystem::current_path(ignored)},
              {"the umask", std::to_string(creation)},
              {"the standard streams", Stream(0) + ", " + Stream(1) + ", " + Stream(2)}};
  return out;
}

std::string NewDescriptors(const ProcessState& before, const ProcessState& after) {
  std::string out;
  for (const auto& [number, target] : after.descriptors) {
    const auto old = before.descriptors.find(number);
    if (old != before.descriptors.end() && old->second == target) continue;
    out +=
        (out.empty() ? "" : ", ") + std::to_string(number) + " (" + plugin::Printable(target) + ")";
  }
  return out;
}

std::string Changed(const ProcessState& before, const ProcessState& after) {
  std::string out;
  for (const auto& [name, value] : after.rest) {
    if (before.rest.at(name) != value) out += (out.empty() ? "" : " and ") + name;
  }
  return out;
}

size_t CountThreads() { return CountEntries("/proc/self/task"); }
size_t CountDescriptors() { return CountEntries("/proc/self/fd"); }

void CaptureOutput() {
  captured = memfd_create("output", MFD_CLOEXEC);
  if (captured < 0) return;
  dup2(captured, STDOUT_FILENO);
  dup2(captured, STDERR_FILENO);
}

std::string CapturedOutput() {
  static off_t seen = 0;
  std::fflush(nullptr);
  char text[200];
  const ssize_t n = pread(captured, text, sizeof text, seen);
  seen = lseek(captured, 0, SEEK_END);
  return n <= 0 ? "" : plugin::Printable({text, static_cast<size_t>(n)});
}

}  // namespace penstock::verify
