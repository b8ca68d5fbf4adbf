// How many threads this process has; 1 where that cannot be seen.
#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <system_error>

namespace penstock::fakes {

inline size_t Threads() {
  std::error_code error;
  const std::filesystem::directory_iterator tasks("/proc/self/task", error);
  return error ? 1 : static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

}  // namespace penstock::fakes
