#include "platform/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace penstock {
namespace {

TEST(ProcessUsage, IsOfThisProcess) {
  const ProcessUsage before = ReadProcessUsage();
  EXPECT_GT(before.resident_bytes, 1u << 20);
  EXPECT_GT(before.virtual_bytes, before.resident_bytes);
  EXPECT_GE(before.open_fds, 3u);
  EXPECT_GT(before.max_fds, before.open_fds);
  EXPECT_GT(before.cpu_seconds, 0);

  const std::vector<char> memory(32 << 20, 'x');
  const int fd = dup(0);
  ASSERT_GE(fd, 0);
  const ProcessUsage after = ReadProcessUsage();
  close(fd);
  EXPECT_GT(after.resident_bytes, before.resident_bytes + (24 << 20)) << memory.back();
  EXPECT_EQ(after.open_fds, before.open_fds + 1);
  EXPECT_GE(after.cpu_seconds, before.cpu_seconds);
}

}  // namespace
}  // namespace penstock
