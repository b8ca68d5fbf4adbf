#include "event/time.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "unit/event/go_vectors.h"

namespace penstock::event {
namespace {

std::string Text(int64_t ns) {
  char out[kMaxTimeSize];
  return {out, WriteTime(ns, out)};
}

TEST(TimeTest, CutsTrailingZeros) {
  EXPECT_EQ(Text(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(Text(1), "1970-01-01T00:00:00.000000001Z");
  EXPECT_EQ(Text(1'700'000'000'120'000'000), "2023-11-14T22:13:20.12Z");
  EXPECT_EQ(Text(-1), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(Text(1'709'210'096'000'000'000), "2024-02-29T12:34:56Z");
}

TEST(TimeTest, WritesTheEndsOfTheRange) {
  EXPECT_EQ(Text(std::numeric_limits<int64_t>::max()), "2262-04-11T23:47:16.854775807Z");
  EXPECT_EQ(Text(std::numeric_limits<int64_t>::min()), "1677-09-21T00:12:43.145224192Z");
}

TEST(TimeTest, AgreesWithGo) {
  for (const GoVector& v : ReadGoVectors("t")) EXPECT_EQ(Text(std::stoll(v.input)), v.result);
}

}  // namespace
}  // namespace penstock::event
