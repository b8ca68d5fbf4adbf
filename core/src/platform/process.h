// What the kernel says of this process.
#pragma once

#include <cstdint>

namespace penstock {

struct ProcessUsage {
  uint64_t resident_bytes = 0, virtual_bytes = 0;
  double cpu_seconds = 0;  // of all threads, in user and in system mode
  uint64_t open_fds = 0, max_fds = 0;
};

// Reads /proc; what cannot be read is 0. Any thread.
ProcessUsage ReadProcessUsage();

}  // namespace penstock
