#include <array>
#include <limits>

#include "unit/config/support.h"

namespace penstock::config {
namespace {

TEST(ParseDuration, ReadsUnits) {
  struct Case {
    const char* text;
    int64_t ns;
  };
  for (const Case& c : {Case{"0s", 0},
                        {"1ns", 1},
                        {"7us", 7'000},
                        {"250ms", 250'000'000},
                        {"10s", 10'000'000'000},
                        {"1.5s", 1'500'000'000},
                        {"2m", 120'000'000'000},
                        {"1h30m", 5'400'000'000'000},
                        {"1d", 86'400'000'000'000},
                        {"0.000000001s", 1},
                        {"0.1h", 360'000'000'000},
                        {"1m0.5s", 60'500'000'000},
                        {"9223372036854775807ns", std::numeric_limits<int64_t>::max()}}) {
    const auto parsed = ParseDuration(c.text);
    ASSERT_TRUE(parsed) << c.text << ": " << parsed.error().message;
    EXPECT_EQ(parsed->count(), c.ns) << c.text;
  }
}

TEST(ParseDuration, RefusesWhatIsNone) {
  for (const char* text : {"", "10", "s", "10 s", "-1s", "+1s", "1.s", ".5s", "1x", "10S", "1m5h",
                           "1s1s", "1e3s", "10s ", " 10s", "1h30", "0x10s", "1..5s"}) {
    const auto parsed = ParseDuration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, Code::kConfig);
    EXPECT_NE(parsed.error().message.find("is not a duration: write numbers with a unit"),
              std::string::npos)
        << parsed.error().message;
  }
}

TEST(ParseDuration, RefusesOverflow) {
  for (const char* text : {"9223372036854775808ns", "200000d", "99999999999999999999s",
                           "18446744073709551615h", "106751d23h59m59s"}) {
    const auto parsed = ParseDuration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find("too long a duration"), std::string::npos) << text;
  }
}

TEST(ParseSize, ReadsUnits) {
  struct Case {
    const char* text;
    uint64_t bytes;
  };
  for (const Case& c : {Case{"0", 0},
                        {"512", 512},
                        {"512B", 512},
                        {"1KB", 1000},
                        {"1kB", 1000},
                        {"100MB", 100'000'000},
                        {"2GB", 2'000'000'000},
                        {"64KiB", 65'536},
                        {"64MiB", 67'108'864},
                        {"1GiB", 1'073'741'824},
                        {"1TiB", 1'099'511'627'776},
                        {"9223372036854775807", 9'223'372'036'854'775'807u}}) {
    const auto parsed = ParseSize(c.text);
    ASSERT_TRUE(parsed) << c.text << ": " << parsed.error().message;
    EXPECT_EQ(*parsed, c.bytes) << c.text;
  }
}

TEST(ParseSize, RefusesWhatIsNone) {
  for (const char* text : {"", "MiB", "1.5GiB", "64M", "64 MiB", "-1", "64mib", "1e6", "64KiB "}) {
    const auto parsed = ParseSize(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find("is not a size"), std::string::npos)
        << parsed.error().message;
  }
  for (const char* text : {"9223372036854775808", "99999999999999999999", "9000000TiB"}) {
    const auto parsed = ParseSize(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find("too large a size"), std::string::npos) << text;
  }
}

TEST(Nearest, FindsTheWordThatWasMeant) {
  constexpr std::array<std::string_view, 6> kWords{"url",       "insecure", "tls.ca_file",
                                                   "max_bytes", "from",     "format"};
  struct Case {
    std::string_view word, nearest;
  };
  for (const Case& c : {Case{"ulr", "url"},
                        {"urll", "url"},
                        {"URL", "url"},
                        {"tls.ca_fil", "tls.ca_file"},
                        {"max-bytes", "max_bytes"},
                        {"MaxBytes", "max_bytes"},
                        {"form", "from"},
                        {"fromat", "format"},
                        {"insecrue", "insecure"},
                        {"zzz", ""},
                        {"u", ""},
                        {"", ""},
                        {"something_else", ""}}) {
    EXPECT_EQ(Nearest(c.word, kWords), c.nearest) << c.word;
  }
  EXPECT_EQ(Nearest(std::string(100'000, 'u'), kWords), "");
  EXPECT_EQ(Nearest("url", {}), "");
}

TEST(Finding, PrintsAsCompilersDo) {
  EXPECT_EQ((Finding{Severity::kError, {"a.toml", 3, 7}, "no"}).ToString(),
            "a.toml:3:7: error: no");
  EXPECT_EQ((Finding{Severity::kWarning, {"a.toml", 0, 0}, "hm"}).ToString(),
            "a.toml: warning: hm");
  EXPECT_EQ((Finding{Severity::kNotice, {}, "so"}).ToString(), "notice: so");
}

}  // namespace
}  // namespace penstock::config
