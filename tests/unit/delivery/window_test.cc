#include "delivery/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace penstock::delivery {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<uint64_t> Commit(Window& window) {
  std::vector<uint64_t> out;
  window.Commit([&out](const Slot& slot) { out.push_back(slot.offset); });
  return out;
}

TEST(WindowTest, CommitsOnlyWhatHasSettledAtTheFront) {
  Window window(10);
  for (int i = 0; i < 4; ++i) window.Append(nullptr, {});
  window.Find(11)->state = SlotState::kDelivered;
  window.Find(13)->state = SlotState::kDelivered;
  EXPECT_THAT(Commit(window), IsEmpty());
  window.Find(10)->state = SlotState::kDropped;
  EXPECT_THAT(Commit(window), ElementsAre(10, 11));
  EXPECT_EQ(window.committed(), 12u);
  EXPECT_EQ(window.next(), 14u);
  EXPECT_EQ(window.Find(11), nullptr);
  EXPECT_EQ(window.Find(14), nullptr);
  EXPECT_EQ(window.Find(13)->offset, 13u);
}

TEST(WindowTest, FindsBetweenRunsOfDroppedEvents) {
  Window window(0);
  window.Append(nullptr, {});
  window.AppendDropped(100, DropReason::kBehind);
  window.Append(nullptr, {});
  window.Append(nullptr, {});
  window.AppendDropped(110, DropReason::kBehind);
  window.Append(nullptr, {});
  EXPECT_EQ(window.Find(0)->offset, 0u);
  EXPECT_EQ(window.Find(50)->state, SlotState::kDropped);
  EXPECT_EQ(window.Find(101)->offset, 101u);
  EXPECT_EQ(window.Find(105)->state, SlotState::kDropped);
  EXPECT_EQ(window.Find(110)->offset, 110u);
  window.Find(0)->state = SlotState::kDelivered;
  EXPECT_THAT(Commit(window), ElementsAre(0, 1));
  EXPECT_EQ(window.committed(), 100u);
  EXPECT_EQ(window.Find(101)->offset, 101u);
}

TEST(WindowTest, NeighbouringDropsAreOneSlot) {
  Window window(0);
  for (uint64_t end = 1; end <= 50; ++end) window.AppendDropped(end, DropReason::kBehind);
  EXPECT_EQ(window.size(), 1u);
  window.AppendDropped(51, DropReason::kWhenFull);
  EXPECT_EQ(window.size(), 2u);
  uint64_t counted = 0;
  window.Commit([&counted](const Slot& slot) { counted += slot.count; });
  EXPECT_EQ(counted, 51u);
  EXPECT_EQ(window.committed(), 51u);
  window.Append(nullptr, {});
  EXPECT_EQ(window.Find(51)->offset, 51u);
}

TEST(WindowTest, TakesBackTheLastOnes) {
  Window window(5);
  window.Append(nullptr, {});
  window.Append(nullptr, {});
  window.Unappend();
  EXPECT_EQ(window.next(), 6u);
  EXPECT_EQ(window.Find(6), nullptr);
  EXPECT_EQ(window.Append(nullptr, {}).offset, 6u);
}

TEST(WindowTest, KnowsTheHighestThatTheSinkHasTaken) {
  Window window(0);
  EXPECT_EQ(window.HighestTaken(), 0u);
  for (int i = 0; i < 4; ++i) window.Append(nullptr, {}).state = SlotState::kRetry;
  EXPECT_EQ(window.HighestTaken(), 0u);
  window.Find(2)->state = SlotState::kDelivered;
  EXPECT_EQ(window.HighestTaken(), 2u);
  window.Find(3)->state = SlotState::kDeadLettered;
  EXPECT_EQ(window.HighestTaken(), 2u);
}

}  // namespace
}  // namespace penstock::delivery
