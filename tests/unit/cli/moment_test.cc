#include <gtest/gtest.h>

#include "cli/deadletters_commands.h"

namespace penstock::cli {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kNow = 1'800'000'000 * kSecond;

TEST(MomentTest, ADurationIsSoLongAgo) {
  EXPECT_EQ(ParseMoment("2h", kNow), kNow - 7200 * kSecond);
  EXPECT_EQ(ParseMoment("1h30m", kNow), kNow - 5400 * kSecond);
}

TEST(MomentTest, ATimeIsThatOfRfc3339) {
  const struct {
    const char* text;
    int64_t ns;
  } kTimes[] = {
      {"1970-01-01T00:00:00Z", 0},
      {"2026-11-23T09:19:39Z", 1795425579 * kSecond},
      {"2026-11-23t09:19:39z", 1795425579 * kSecond},
      {"2026-11-23 09:19:39.5Z", 1795425579 * kSecond + 500'000'000},
      {"2026-11-23T09:19:39.123456789Z", 1795425579 * kSecond + 123'456'789},
      {"2026-11-23T10:19:39+01:00", 1795425579 * kSecond},
      {"2026-11-23T03:49:39-05:30", 1795425579 * kSecond},
      {"2024-02-29T00:00:00Z", 1709164800 * kSecond},
  };
  for (const auto& time : kTimes) {
    const auto parsed = ParseMoment(time.text, kNow);
    ASSERT_TRUE(parsed) << time.text;
    EXPECT_EQ(*parsed, time.ns) << time.text;
  }
}

TEST(MomentTest, AnythingElseIsAnErrorThatSaysWhatIsAccepted) {
  for (const char* text :
       {"", "yesterday", "2", "-2h", "2026-11-23", "2026-11-23T09:19:39", "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T09:19:39.Z",
        "2026-11-23T09:19:39+1:00", "2026-11-23T09:19:39Zx", "2026-11-23T09:-9:39Z",
        "1969-12-31T23:59:59Z"}) {
    const auto parsed = ParseMoment(text, kNow);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find("2h"), std::string::npos) << parsed.error().message;
  }
}

}  // namespace
}  // namespace penstock::cli
