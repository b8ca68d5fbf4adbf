// A cursor's record: what settled above it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/catalog.h"
#include "store/format.h"

namespace penstock::store {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

CursorRecord Cursor(uint64_t committed, std::vector<event::OffsetRange> settled) {
  return {1, "bus", 0, committed, 0, {}, std::move(settled)};
}

Result<CursorRecord> Again(const std::string& value) { return DecodeCursor(Open(value)->body); }

// The body with other bytes behind the counters.
std::string WithTail(const std::string& tail) {
  const std::string value = Encode(Cursor(10, {}), 1);
  return std::string(Open(value)->body) + tail;
}

TEST(CursorRecordTest, KeepsWhatSettledAboveTheCursor) {
  const auto record = Again(Encode(Cursor(10, {{11, 12}, {300, 70000}, {1 << 20, 1 << 21}}), 1));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->committed, 10u);
  EXPECT_THAT(record->settled,
              ElementsAre(event::OffsetRange{11, 12}, event::OffsetRange{300, 70000},
                          event::OffsetRange{1 << 20, 1 << 21}));
  EXPECT_EQ(record->end(), uint64_t{1} << 21);
}

TEST(CursorRecordTest, WithoutStretchesItIsAsBefore) {
  const std::string value = Encode(Cursor(10, {}), 1);
  const auto record = Again(value);
  ASSERT_TRUE(record);
  EXPECT_THAT(record->settled, IsEmpty());
  EXPECT_EQ(record->end(), 10u);
  EXPECT_EQ(Open(value)->body.size(), 4 + 4 + 3 + 3 * 8 + kMaxCounters * 8);
}

TEST(CursorRecordTest, ManyStretchesTakeFewBytes) {
  std::vector<event::OffsetRange> settled;
  for (uint64_t i = 0; i < kMaxSettledRanges; ++i) settled.push_back({100 + 8 * i, 103 + 8 * i});
  const std::string value = Encode(Cursor(10, settled), 1);
  EXPECT_LE(value.size(), 300 + 2 * kMaxSettledRanges);
  EXPECT_EQ(Again(value)->settled, settled);
}

TEST(CursorRecordTest, RefusesWhatEncodeDoesNotWrite) {
  using namespace std::string_literals;
  const std::string largest = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
  EXPECT_TRUE(DecodeCursor(WithTail("\x01\x01\x01")));
  for (const std::string& tail :
       {"\x00"s, "\x01\x00\x01"s, "\x01\x01\x00"s, "\x01\x01"s, "\x02\x01\x01"s,
        "\x01\x01\x01\x01"s, "\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x01"s,
        "\x01" + largest + "\x01", "\x01\x01" + largest, "\x81\x20"s}) {
    const auto record = DecodeCursor(WithTail(tail));
    ASSERT_FALSE(record) << testing::PrintToString(tail);
    EXPECT_THAT(record.error().message, HasSubstr("malformed cursor record"));
  }
}

TEST(CursorRecordTest, PendingIsWhatHasNotSettledAndIsStillThere) {
  const CursorRecord cursor = Cursor(10, {{12, 15}, {20, 30}});
  QueueRecord queue{1, 1, "orders", true, 5, 40, 0, 0};
  EXPECT_EQ(Pending(queue, cursor), 30u - 13);
  queue.begin = 14;  // by drop_oldest
  EXPECT_EQ(Pending(queue, cursor), 26u - 11);
  queue.begin = queue.end = 40;
  EXPECT_EQ(Pending(queue, cursor), 0u);
  EXPECT_EQ(cursor.Unsettled(0, 14), 2u);
}

class CatalogTest : public testing::Test {
 protected:
  // Events [0, 100) but for those in lost, and the cursors.
  Report Judged(std::vector<CursorRecord> cursors, event::OffsetRange lost = {}) {
    Catalog catalog;
    const auto add = [&catalog](auto record) { catalog.Add(Value{{}, {}, std::move(record)}); };
    add(FormatRecord{});
    add(QueueRecord{1, 1, "orders", true, 0, 100, 0, 0});
    for (CursorRecord& cursor : cursors) add(std::move(cursor));
    for (uint64_t o = 0; o < 100; ++o)
      if (o < lost.first || o >= lost.end) add(ChunkHead{1, 1, 1, o, 0, 50, 0});
    Report report;
    catalog.Judge(&report);
    return report;
  }
};

TEST_F(CatalogTest, StretchesWithinTheQueueAreSound) {
  EXPECT_TRUE(Judged({Cursor(10, {{20, 30}, {90, 100}})}).sound());
}

TEST_F(CatalogTest, AStretchBehindTheQueuesEndIsDamage) {
  const Report report = Judged({Cursor(10, {{20, 30}, {90, 101}})});
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_FALSE(report.sound());
  EXPECT_THAT(report.findings[0].text,
              HasSubstr("cursor of sink \"bus\" says that the events [90, 101) have settled, "
                        "behind the queue's end at 100"));
}

TEST_F(CatalogTest, EventsThatEverySinkHasSettledAreNoLoss) {
  const auto lake = [](std::vector<event::OffsetRange> settled) {
    return CursorRecord{1, "lake", 0, 15, 0, {}, std::move(settled)};
  };
  EXPECT_TRUE(Judged({Cursor(10, {{20, 30}}), lake({{18, 26}})}, {20, 26}).sound());
  EXPECT_TRUE(Judged({Cursor(10, {{11, 30}}), lake({{18, 26}})}, {12, 15}).sound());
  const Report report = Judged({Cursor(10, {{20, 30}}), lake({{18, 26}})}, {20, 27});
  EXPECT_FALSE(report.sound());
  EXPECT_EQ(report.lost(), (std::vector<LostRange>{{1, "orders", 26, 27}}));
}

}  // namespace
}  // namespace penstock::store
