#include "event/offsets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace penstock::event {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(OffsetSetTest, JoinsWhatTouches) {
  OffsetSet set;
  set.Add({5, 7});
  set.Add({1, 2});
  set.Add({2, 3});
  EXPECT_THAT(set.ranges(), ElementsAre(OffsetRange{1, 3}, OffsetRange{5, 7}));
  set.Add({3, 5});
  EXPECT_THAT(set.ranges(), ElementsAre(OffsetRange{1, 7}));
}

TEST(OffsetSetTest, ForgetsWhatLiesBelow) {
  OffsetSet set;
  set.Add({1, 3});
  set.Add({5, 9});
  set.DropBelow(6);
  EXPECT_THAT(set.ranges(), ElementsAre(OffsetRange{6, 9}));
  set.Add({0, 4});
  set.DropBelow(9);
  EXPECT_THAT(set.ranges(), IsEmpty());
}

TEST(OffsetSetTest, IsASetWhateverTheOrder) {
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    OffsetSet set;
    std::set<uint64_t> expected;
    uint64_t floor = 0;
    for (int i = 0; i < 3000; ++i) {
      const uint64_t first = floor + random() % 5000, length = 1 + random() % 3;
      set.Add({first, first + length});
      for (uint64_t o = first; o < first + length; ++o) expected.insert(o);
      if (random() % 20 > 0) continue;
      floor += random() % 100;
      set.DropBelow(floor);
      expected.erase(expected.begin(), expected.lower_bound(floor));
    }
    std::set<uint64_t> found;
    uint64_t before = 0;
    for (const OffsetRange& range : set.ranges()) {
      EXPECT_TRUE(found.empty() || range.first > before) << "seed " << seed;
      before = range.end;
      for (uint64_t o = range.first; o < range.end; ++o) found.insert(o);
    }
    EXPECT_EQ(found, expected) << "seed " << seed;
  }
}

}  // namespace
}  // namespace penstock::event
