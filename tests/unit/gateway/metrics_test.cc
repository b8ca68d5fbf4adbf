#include "gateway/metrics.h"

#include <gtest/gtest.h>
#include <penstock/plugin.h>

namespace penstock::gateway {
namespace {

TEST(MetricTable, HasOneCellForEachNameOfAnInstance) {
  MetricTable table;
  uint64_t* cell = table.Cell("sink bus", "kafka", PENSTOCK_METRIC_COUNTER, "a_total", "help");
  ASSERT_NE(cell, nullptr);
  EXPECT_EQ(table.Cell("sink bus", "kafka", PENSTOCK_METRIC_COUNTER, "a_total", ""), cell);
  EXPECT_NE(table.Cell("sink lake", "kafka", PENSTOCK_METRIC_COUNTER, "a_total", ""), cell);
  EXPECT_NE(table.Cell("sink bus", "kafka", PENSTOCK_METRIC_GAUGE, "b", ""), cell);
  // After a reload another plugin may stand behind the name.
  EXPECT_NE(table.Cell("sink bus", "file", PENSTOCK_METRIC_GAUGE, "a_total", ""), cell);
  *cell = 7;
  const auto read = table.Read();
  ASSERT_EQ(read.size(), 4u);
  EXPECT_EQ(read[0].instance, "sink bus");
  EXPECT_EQ(read[0].plugin, "kafka");
  EXPECT_EQ(read[0].name, "a_total");
  EXPECT_EQ(read[0].help, "help");
  EXPECT_EQ(read[0].kind, PENSTOCK_METRIC_COUNTER);
  EXPECT_EQ(read[0].value, 7u);
}

TEST(MetricTable, RefusesWhatIsNoName) {
  MetricTable table;
  for (const char* name : {"", "A", "a1", "a-b", "a b", "a\n"})
    EXPECT_EQ(table.Cell("sink bus", "kafka", PENSTOCK_METRIC_GAUGE, name, ""), nullptr) << name;
}

}  // namespace
}  // namespace penstock::gateway
