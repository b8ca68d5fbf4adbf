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

TEST(Text, WhatIsMeasuredIsRounded) {
  EXPECT_EQ(RoundedDuration(0), "0ms");
  EXPECT_EQ(RoundedDuration(0.0004), "0ms");
  EXPECT_EQ(RoundedDuration(0.34), "340ms");
  EXPECT_EQ(RoundedDuration(0.9996), "1.0s");
  EXPECT_EQ(RoundedDuration(59.94), "59.9s");
  EXPECT_EQ(RoundedDuration(59.96), "1m0s");
  EXPECT_EQ(RoundedDuration(3599.6), "1h0m");
  EXPECT_EQ(RoundedDuration(11525), "3h12m");
  EXPECT_EQ(RoundedDuration(86400 * 2 + 3600 * 3 + 1), "2d3h");
  EXPECT_EQ(RoundedSize(0), "0B");
  EXPECT_EQ(RoundedSize(999), "999B");
  EXPECT_EQ(RoundedSize(1000), "1.0KiB");
  EXPECT_EQ(RoundedSize(1258291), "1.2MiB");
  EXPECT_EQ(RoundedSize(uint64_t{250} << 20), "250MiB");
  EXPECT_EQ(RoundedSize(uint64_t{5} << 60), "5242880TiB");
}

}  // namespace
}  // namespace penstock::cli
