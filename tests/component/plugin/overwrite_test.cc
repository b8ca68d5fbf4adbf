// What an administrator does: cp another build over a plugin whose code is running.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <atomic>
#include <latch>
#include <thread>

#include "plugin/plugin.h"
#include "unit/plugin/tree.h"

namespace penstock::plugin {
namespace {

using Sum = uint64_t (*)(uint64_t);

// As cp does it: the same inode, emptied first and then filled piece by piece. between runs at each
// step.
void CopyOver(const std::string& path, const Bytes& bytes, const std::function<void()>& between) {
  const int fd = open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  between();
  constexpr size_t kPiece = 4096;
  for (size_t at = 0; at < bytes.size(); at += kPiece) {
    const size_t n = std::min(kPiece, bytes.size() - at);
    ASSERT_EQ(write(fd, bytes.data() + at, n), static_cast<ssize_t>(n));
    between();
  }
  close(fd);
}

// Threads that run a plugin's code and check its answers until Stop.
class Runners {
 public:
  Runners(const Plugin& plugin, uint64_t expected) : started_(kThreads) {
    const auto* sum = static_cast<const Sum*>(plugin.entry().extension(nullptr, "toy.sum"));
    for (std::jthread& thread : threads_) {
      thread = std::jthread([this, sum, expected](const std::stop_token& stop) {
        bool first = true;
        while (!stop.stop_requested()) {
          if ((*sum)(1600) != expected) ++wrong_;
          ++rounds_;
          if (std::exchange(first, false)) started_.count_down();
        }
      });
    }
    started_.wait();
  }
  // Returns once every answer so far and some later ones were given.
  void AwaitMore() const {
    const uint64_t before = rounds_;
    while (rounds_ < before + kThreads) std::this_thread::yield();
  }
  uint64_t wrong() const { return wrong_; }

 private:
  static constexpr int kThreads = 2;
  std::atomic<uint64_t> rounds_{0}, wrong_{0};
  std::latch started_;
  std::jthread threads_[kThreads];
};

TEST(Overwrite, ACopyOverALoadedPluginHarmsNothing) {
  const Tree tree;
  const std::string path = tree.Put("sink-toy.so", Toy("good"));
  Registry registry({{tree.path(), false}});
  const auto first = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(first) << first.error().message;
  const Runners runners(**first, 8000);
  CopyOver(path, Toy("second"), [&] { runners.AwaitMore(); });
  const auto second = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_STREQ((*second)->entry().version, "2.0.0");
  const Runners more(**second, 16000);
  ASSERT_EQ(truncate(path.c_str(), 0), 0);
  runners.AwaitMore();
  more.AwaitMore();
  ASSERT_EQ(unlink(path.c_str()), 0);
  runners.AwaitMore();
  more.AwaitMore();
  EXPECT_EQ(runners.wrong(), 0u);
  EXPECT_EQ(more.wrong(), 0u);
}

TEST(Overwrite, ALoadInTheMiddleOfACopyIsRefusedAndLaterSucceeds) {
  const Tree tree;
  const std::string path = tree.Put("sink-toy.so", Toy("good"));
  Registry registry({{tree.path(), false}});
  const auto first = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(first);
  const Runners runners(**first, 8000);
  const Bytes next = Toy("second");
  int refused = 0;
  CopyOver(path, next, [&] {
    runners.AwaitMore();
    if (std::filesystem::file_size(path) == next.size()) return;
    const auto loaded = registry.Load(Kind::kSink, "toy");
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().message, ::testing::HasSubstr("still being copied?"));
    ++refused;
  });
  EXPECT_GT(refused, 1);
  const auto second = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_STREQ((*second)->entry().version, "2.0.0");
  EXPECT_EQ(runners.wrong(), 0u);
}

// A reader beside a writer that never rests: each load gives a build that is whole, or a reason.
TEST(Overwrite, LoadsBesideCopiesGiveAWholeBuildOrAReason) {
  const Tree tree;
  const std::string path = tree.Put("sink-toy.so", Toy("good"));
  const Bytes builds[] = {Toy("good"), Toy("second")};
  std::jthread writer([&](const std::stop_token& stop) {
    for (size_t i = 1; !stop.stop_requested(); ++i) CopyOver(path, builds[i % 2], [] {});
  });
  Registry registry({{tree.path(), false}});
  for (int i = 0; i < 300; ++i) {
    const auto loaded = registry.Load(Kind::kSink, "toy");
    if (!loaded) {
      EXPECT_THAT(loaded.error().message, ::testing::AnyOf(::testing::HasSubstr("being copied?"),
                                                           ::testing::HasSubstr("being written")));
      continue;
    }
    const penstock_plugin& entry = (*loaded)->entry();
    const auto* sum = static_cast<const Sum*>(entry.extension(nullptr, "toy.sum"));
    EXPECT_EQ((*sum)(16), std::string_view(entry.version) == "2.0.0" ? 160u : 80u);
  }
}

}  // namespace
}  // namespace penstock::plugin
