// How many threads this process has; 1 where that cannot be seen.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <thread>

namespace penstock::fakes {

inline size_t Threads() {
  std::error_code error;
  const std::filesystem::directory_iterator tasks("/proc/self/task", error);
  return error ? 1 : static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

// False when there are more than that after the time.
inline bool WaitThreads(size_t most, std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (Threads() > most && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return Threads() <= most;
}

}  // namespace penstock::fakes
