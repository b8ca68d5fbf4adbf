// The thread that commits, as the watchdog sees it.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "fakes/temp_dir.h"
#include "platform/heartbeat.h"
#include "store/store.h"

namespace penstock::store {
namespace {

// Its Write does not return until it is let go.
class HeldMember : public Member {
 public:
  Result<void> Write(Transaction&, uint64_t*) override {
    std::unique_lock lock(mutex_);
    held_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return let_go_; });
    return {};
  }
  void Committed() override {}

  void WaitHeld() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return held_; });
  }
  void LetGo() {
    std::lock_guard lock(mutex_);
    let_go_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false, let_go_ = false;
};

// Until the condition holds; the test's own limit is what ends it otherwise.
template <typename F>
void WaitUntil(F condition) {
  while (!condition()) std::this_thread::yield();
}

TEST(WriterTest, ComesRoundWhenIdleAndIsNamedWhenItStandsStill) {
  fakes::TempDir dir;
  SystemClock clock;
  Heartbeats heartbeats(&clock, std::chrono::milliseconds(400));
  auto lock = Lock::Take(dir.path() + "/store");
  ASSERT_TRUE(lock) << lock.error().message;
  Store::Options options;
  options.heartbeats = &heartbeats;
  auto store = Store::Open(std::move(*lock), options, &clock);
  ASSERT_TRUE(store) << store.error().message;

  // Idle for longer than it may stand still.
  const TimePoint end = clock.Now() + std::chrono::milliseconds(600);
  WaitUntil([&] { return clock.Now() >= end; });
  WaitUntil([&] { return heartbeats.Unhealthy().empty(); });

  HeldMember member;
  (*store)->Changed(&member, Store::Urgency::kNow);
  member.WaitHeld();
  WaitUntil([&] { return !heartbeats.Unhealthy().empty(); });
  EXPECT_EQ(heartbeats.Unhealthy(), "store: the writer has not come round for 0 s");
  member.LetGo();
  WaitUntil([&] { return heartbeats.Unhealthy().empty(); });
  (*store)->Remove(&member);
  store->reset();
  EXPECT_EQ(heartbeats.Unhealthy(), "");
}

}  // namespace
}  // namespace penstock::store
