#include "cli/text.h"

#include <gtest/gtest.h>

namespace penstock::cli {
namespace {

TEST(Text, TableAlignsColumnsAndLeavesNoTrailingBlanks) {
  EXPECT_EQ(Table({{{"A", "B"}, ""}, {{"long", "x"}, "why so"}, {{"s", ""}, ""}}),
            "A     B\nlong  x\n    why so\ns\n");
}

TEST(Text, WrapsAtTheWidthAndIndents) {
  EXPECT_EQ(Wrapped("one two three", 2, 9), "  one two\n  three\n");
  EXPECT_EQ(Wrapped("unbreakable", 2, 5), "  unbreakable\n");
  EXPECT_EQ(Wrapped("  a   b ", 0, 80), "a b\n");
  EXPECT_EQ(Wrapped("", 2, 80), "");
}

TEST(Text, DurationsAndSizesTakeTheLargestWholeUnit) {
  EXPECT_EQ(FormatDuration(0), "0ns");
  EXPECT_EQ(FormatDuration(250'000'000), "250ms");
  EXPECT_EQ(FormatDuration(90'000'000'000), "90s");
  EXPECT_EQ(FormatDuration(7'200'000'000'000), "2h");
  EXPECT_EQ(FormatSize(512), "512B");
  EXPECT_EQ(FormatSize(64 * 1024), "64KiB");
  EXPECT_EQ(FormatSize(int64_t{3} << 40), "3TiB");
  EXPECT_EQ(FormatSize(1025), "1025B");
}

}  // namespace
}  // namespace penstock::cli
