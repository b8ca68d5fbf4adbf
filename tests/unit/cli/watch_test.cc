#include "cli/watch.h"

#include <gtest/gtest.h>

#include <sstream>

namespace penstock::cli {
namespace {

TEST(Clipped, LeavesAloneWhatFits) {
  EXPECT_EQ(Clipped("", 1, 1), "");
  EXPECT_EQ(Clipped("abc", 1, 3), "abc");
  EXPECT_EQ(Clipped("abc\n", 1, 3), "abc");
  EXPECT_EQ(Clipped("a\n\nc\n", 3, 3), "a\n\nc");
}

TEST(Clipped, CutsLongLines) {
  EXPECT_EQ(Clipped("abcd\ne\nfghi\n", 3, 3), "abc\ne\nfgh");
  EXPECT_EQ(Clipped("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80x", 1, 3),
            "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
}

TEST(Clipped, CountsTheLinesThatHaveNoRoom) {
  EXPECT_EQ(Clipped("a\nb\nc\n", 2, 80), "a\n... 2 more lines");
  EXPECT_EQ(Clipped("a\nb", 1, 80), "... 2 more lines");
  EXPECT_EQ(Clipped("a\nb\nc\nd", 3, 5), "a\nb\n... 2");
}

TEST(Screen, ElsewhereThanOnATerminalPrintsOneBlockAfterAnother) {
  std::ostringstream out;
  Screen screen(out, true);
  EXPECT_FALSE(screen.terminal());
  EXPECT_TRUE(screen.Show("one\n"));
  screen.Wait(std::chrono::nanoseconds(1));
  EXPECT_TRUE(screen.Show("two\n"));
  EXPECT_EQ(out.str(), "one\ntwo\n");
  out.setstate(std::ios::badbit);
  EXPECT_FALSE(screen.Show("three\n"));
}

}  // namespace
}  // namespace penstock::cli
