#include "gateway/stored.h"

#include <gtest/gtest.h>

namespace penstock::gateway {
namespace {

using std::chrono::seconds;

TEST(LeftBehind, SaysTheWaysOutOfTheQueueThatItIs) {
  EXPECT_EQ(LeftBehind({"a", "b"}, 2, config::Storage::kDisk, seconds(0)).message,
            "route a -> b is no longer in the configuration, and 2 events of it are not delivered; "
            "put it back until they are, or stop the gateway and give them up with: penstock queue "
            "forget a --sink b");
  EXPECT_EQ(LeftBehind({"a", "b"}, 2, config::Storage::kMemory, seconds(0)).message,
            "route a -> b is no longer in the configuration, and 2 events of it are not delivered; "
            "put it back until they are, or restart the gateway, which loses them: their queue is "
            "in memory");
}

TEST(LeftBehind, NamesTheTimeThatWasOver) {
  EXPECT_EQ(LeftBehind({"a", "b"}, 2, config::Storage::kMemory, seconds(90)).message,
            "route a -> b is no longer in the configuration, and 2 events of it are not delivered "
            "within gateway.drain_timeout, 1m30s; put it back until they are, or restart the "
            "gateway, which loses them: their queue is in memory");
}

}  // namespace
}  // namespace penstock::gateway
