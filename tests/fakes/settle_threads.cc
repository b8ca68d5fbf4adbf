// For AddressSanitizer only. Its leak check at exit stops all threads and reads their stacks, and
// falls over one that is just ending; libraries end threads of their own in the background. So the
// process waits, after the tests, until the number of its threads has come to rest.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <thread>

namespace {

using std::chrono::milliseconds;

size_t Threads() {
  std::error_code error;
  const std::filesystem::directory_iterator tasks("/proc/self/task", error);
  return error ? 1 : static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

class SettleThreads : public testing::Environment {
 public:
  void TearDown() override {
    constexpr milliseconds kAtRest{100};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    size_t threads = Threads();
    auto since = std::chrono::steady_clock::now();
    while (threads > 1) {
      std::this_thread::sleep_for(milliseconds(5));
      const auto now = std::chrono::steady_clock::now();
      if (const size_t count = Threads(); count != threads) {
        threads = count;
        since = now;
      }
      if (now - since >= kAtRest || now >= deadline) return;
    }
  }
};

const testing::Environment* const kSettled = testing::AddGlobalTestEnvironment(new SettleThreads);

}  // namespace
