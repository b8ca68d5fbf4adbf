// Part of every test program. After the tests it waits until the number of threads has come to
// rest: libraries end threads of their own in the background, and one that still runs while the
// process exits meets OpenSSL's clean-up (a crash) or AddressSanitizer's leak check (a false
// alarm).
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <thread>

#include "fakes/threads.h"

namespace {

using penstock::fakes::Threads;
using std::chrono::milliseconds;

class SettleThreads : public testing::Environment {
 public:
  void TearDown() override {
    constexpr milliseconds kAtRest{50};
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
