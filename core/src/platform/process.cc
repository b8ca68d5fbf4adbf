#include "platform/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <system_error>

namespace penstock {
namespace {

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

void ReadMemory(ProcessUsage* out) {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return;
  unsigned long long size = 0, resident = 0;  // pages
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  if (std::fscanf(file, "%llu %llu", &size, &resident) == 2) {
    out->virtual_bytes = size * page;
    out->resident_bytes = resident * page;
  }
  std::fclose(file);
}

uint64_t CountFds() {
  std::error_code error;
  uint64_t n = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error))
    ++n;
  return n > 0 ? n - 1 : 0;  // without the one that reads them
}

}  // namespace

ProcessUsage ReadProcessUsage() {
  ProcessUsage out;
  ReadMemory(&out);
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) == 0)
    out.cpu_seconds = Seconds(used.ru_utime) + Seconds(used.ru_stime);
  rlimit fds{};
  if (::getrlimit(RLIMIT_NOFILE, &fds) == 0) out.max_fds = fds.rlim_cur;
  out.open_fds = CountFds();
  return out;
}

}  // namespace penstock
