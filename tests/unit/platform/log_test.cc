#include "platform/log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

namespace penstock::log {
namespace {

// What is written to standard error while f runs.
template <typename F>
std::string Logged(F&& f) {
  testing::internal::CaptureStderr();
  f();
  return testing::internal::GetCapturedStderr();
}

class LogTest : public testing::Test {
 protected:
  ~LogTest() override { Configure(Level::kInfo, Format::kText); }
};

TEST_F(LogTest, TextHasLevelComponentTextAndFields) {
  const std::string line = Logged([] {
    Write(Level::kWarn, "sink bus", "not delivered", {{"waiting", "3"}});
  });
  EXPECT_NE(line.find("warn"), std::string::npos) << line;
  EXPECT_NE(line.find("sink bus"), std::string::npos) << line;
  EXPECT_NE(line.find("not delivered"), std::string::npos) << line;
  EXPECT_NE(line.find("waiting=3"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
}

TEST_F(LogTest, NothingBelowTheThreshold) {
  Configure(Level::kError, Format::kText);
  EXPECT_EQ(Logged([] { Warn("gateway", "unseen"); }), "");
  EXPECT_NE(Logged([] { LogError("gateway", "seen"); }), "");
  EXPECT_EQ(*Threshold(), static_cast<int32_t>(Level::kError));
}

TEST_F(LogTest, ControlCharactersCannotForgeALine) {
  const std::string line = Logged([] {
    Write(Level::kError, "sink bus", "one\nINFO forged\x1b[2J", {{"key", "a\nb\x07"}});
  });
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  EXPECT_EQ(line.find('\x1b'), std::string::npos) << line;
  EXPECT_EQ(line.find('\x07'), std::string::npos) << line;
}

TEST_F(LogTest, JsonEscapesWhatJsonForbids) {
  Configure(Level::kInfo, Format::kJson);
  const std::string line = Logged([] { Info("sink \"bus\"", "back\\slash\nline"); });
  EXPECT_EQ(line.front(), '{') << line;
  EXPECT_NE(line.find("sink \\\"bus\\\""), std::string::npos) << line;
  EXPECT_NE(line.find("back\\\\slash"), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
}

TEST_F(LogTest, APluginsLinesAreBoundedAndTheHostsOwnAreNot) {
  const std::string said = Logged([] {
    for (int i = 0; i < 1000; ++i) WriteBounded(Level::kError, "sink loud", "again", nullptr, 0);
    WriteBounded(Level::kInfo, "sink quiet", "once", nullptr, 0);
    for (int i = 0; i < 100; ++i) LogError("sink loud", "the host says so");
  });
  const auto lines = [&said](const std::string& text) {
    size_t n = 0;
    for (size_t at = said.find(text); at != said.npos; at = said.find(text, at + 1)) ++n;
    return n;
  };
  EXPECT_GE(lines("sink loud: again"), 50u);
  EXPECT_LT(lines("sink loud: again"), 200u);  // a slow machine earns some more
  EXPECT_EQ(lines("sink quiet: once"), 1u);
  EXPECT_EQ(lines("the host says so"), 100u);
  EXPECT_EQ(Logged([] { SayHeldBack(SystemClock().Now()); }), "");
  const std::string held_back = std::to_string(1000 - lines("sink loud: again"));
  const std::string note = Logged([] { Flush(); });
  EXPECT_NE(note.find("warn  sink loud: " + held_back + " lines were held back"), note.npos)
      << note;
}

TEST_F(LogTest, TheJournalIsKnownByItsStream) {
  struct stat file {};
  ASSERT_EQ(fstat(STDERR_FILENO, &file), 0);
  const std::string here = std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino);
  unsetenv("JOURNAL_STREAM");
  EXPECT_EQ(AutoFormat(), Format::kText);
  setenv("JOURNAL_STREAM", here.c_str(), 1);
  EXPECT_EQ(AutoFormat(), Format::kJournal);
  // It was inherited, and standard error is another file by now.
  setenv("JOURNAL_STREAM", (here + "1").c_str(), 1);
  EXPECT_EQ(AutoFormat(), Format::kText);
  unsetenv("JOURNAL_STREAM");
}

TEST_F(LogTest, LevelsByName) {
  EXPECT_EQ(ParseLevel("debug"), Level::kDebug);
  EXPECT_EQ(ParseLevel("error"), Level::kError);
  EXPECT_EQ(ParseLevel("loud"), Level::kInfo);
}

TEST_F(LogTest, LimiterLetsOneThroughPerIntervalAndCountsTheRest) {
  Limiter limiter{std::chrono::seconds(10)};
  TimePoint now{std::chrono::hours(1)};
  EXPECT_TRUE(limiter.Allow(now));
  EXPECT_FALSE(limiter.Allow(now + std::chrono::seconds(1)));
  EXPECT_FALSE(limiter.Allow(now + std::chrono::milliseconds(9999)));
  EXPECT_TRUE(limiter.Allow(now + std::chrono::seconds(10)));
  EXPECT_EQ(limiter.HeldBackNote(), " (2 more like it were held back)");
  EXPECT_EQ(limiter.HeldBackNote(), "");
}

}  // namespace
}  // namespace penstock::log
