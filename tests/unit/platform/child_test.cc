#include "platform/child.h"

#include <gmock/gmock.h>
#include <signal.h>

namespace penstock {
namespace {

using ::testing::ElementsAre;

struct Heard {
  Result<ChildOutcome> outcome;
  std::vector<std::string> lines;
};

Heard Shell(const std::string& script, ChildLimits limits = {std::chrono::seconds(30)},
            size_t most_lines = 100) {
  std::vector<std::string> lines;
  auto outcome = RunChild("/bin/sh", {"-c", script}, limits, [&](std::string_view line) {
    lines.emplace_back(line);
    return lines.size() < most_lines;
  });
  return {std::move(outcome), std::move(lines)};
}

TEST(Child, HandsOverLinesAndTheExitCode) {
  const Heard heard = Shell("echo one; echo; printf 'two\\nrest'; exit 3");
  ASSERT_TRUE(heard.outcome) << heard.outcome.error().message;
  EXPECT_EQ(heard.outcome->end, ChildEnd::kExited);
  EXPECT_EQ(heard.outcome->number, 3);
  EXPECT_THAT(heard.lines, ElementsAre("one", "", "two", "rest"));
}

TEST(Child, ASignalIsAnOutcome) {
  const Heard heard = Shell("echo one; kill -SEGV $$");
  ASSERT_TRUE(heard.outcome);
  EXPECT_EQ(heard.outcome->end, ChildEnd::kSignal);
  EXPECT_EQ(heard.outcome->number, SIGSEGV);
  EXPECT_THAT(heard.lines, ElementsAre("one"));
}

TEST(Child, SilenceEndsItAlsoBehindAClosedOutput) {
  const ChildLimits limits{std::chrono::milliseconds(50)};
  for (const char* script : {"exec sleep 1000", "exec sleep 1000 >&-"})
    EXPECT_EQ(Shell(script, limits).outcome->end, ChildEnd::kSilent) << script;
}

TEST(Child, TooLongALineOrTooManyEndIt) {
  EXPECT_EQ(Shell("exec yes").outcome->end, ChildEnd::kTooMuch);
  ChildLimits limits{std::chrono::seconds(30)};
  limits.max_line = 1000;
  EXPECT_EQ(Shell("yes | tr -d '\\n'", limits).outcome->end, ChildEnd::kTooMuch);
}

TEST(Child, WhatCannotBeRunIsAnError) {
  const auto outcome =
      RunChild("/nowhere/at/all", {}, {std::chrono::seconds(30)}, [](auto) { return true; });
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, ::testing::HasSubstr("/nowhere/at/all"));
}

}  // namespace
}  // namespace penstock
