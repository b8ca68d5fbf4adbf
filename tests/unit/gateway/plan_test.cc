// What a reload takes for changed, and what for the same.
#include "gateway/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr char kBase[] = R"(
[sources.one]
plugin = "generator"
rate = 5
metadata = { b = "2", a = "1" }
[sources.two]
plugin = "generator"
[sinks.bus]
plugin = "null"
from = ["*"]
headers = { x = "y" }
[sinks.lines]
plugin = "file"
from = ["one"]
path = "/tmp/x"
)";

config::Config Parse(std::string text) {
  config::Loaded loaded = config::LoadText({{"test.toml", std::move(text)}});
  for (const config::Finding& finding : loaded.findings) ADD_FAILURE() << finding.ToString();
  return std::move(loaded.config);
}

std::string Replaced(std::string text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

Plan PlanTo(const std::string& next, const std::set<std::string>& restarted = {}) {
  return MakePlan(Parse(kBase), Parse(next), restarted);
}

TEST(PlanTest, TheSameIsUntouchedWhateverTheOrderAndTheLayout) {
  EXPECT_TRUE(PlanTo(kBase).empty());
  EXPECT_TRUE(PlanTo(Replaced(kBase, "rate = 5", "# a comment\n\nrate   = 5")).empty());
  EXPECT_TRUE(
      PlanTo(Replaced(kBase, R"({ b = "2", a = "1" })", R"({ a = "1", b = "2" })")).empty());
  EXPECT_TRUE(PlanTo(Replaced(kBase, R"(from = ["*"])", R"(from = ["one", "two"])")).empty());
  EXPECT_EQ(PlanTo(kBase).ToString(), "nothing has changed");
}

TEST(PlanTest, AChangedValueAtAnyDepthMakesItAnew) {
  for (const auto& [what, with] : {std::pair("rate = 5", "rate = 6"),
                                   {"rate = 5", "rate = 5.0"},
                                   {R"(a = "1")", R"(a = "3")"},
                                   {R"(a = "1")", R"(c = "1")"}}) {
    const Plan plan = PlanTo(Replaced(kBase, what, with));
    EXPECT_THAT(plan.changed_sources, ElementsAre("one")) << with;
    EXPECT_THAT(plan.changed_sinks, IsEmpty()) << with;
  }
  const Plan plan = PlanTo(Replaced(kBase, R"(x = "y")", R"(x = "z")"));
  EXPECT_THAT(plan.changed_sinks, ElementsAre("bus"));
  EXPECT_THAT(plan.changed_sources, IsEmpty());
  EXPECT_EQ(plan.ToString(), "sink bus made anew");
}

TEST(PlanTest, AnotherFromChangesRoutesOnly) {
  const Plan plan = PlanTo(Replaced(kBase, R"(from = ["one"])", R"(from = ["two"])"));
  EXPECT_THAT(plan.changed_sinks, IsEmpty());
  EXPECT_THAT(plan.added_routes, ElementsAre(Pair("two", "lines")));
  EXPECT_THAT(plan.removed_routes, ElementsAre(Pair("one", "lines")));
  EXPECT_EQ(plan.ToString(), "route two -> lines added; route one -> lines removed");
}

TEST(PlanTest, UnderStrictOrderAnotherFromMakesTheSinkAnew) {
  const std::string strict =
      Replaced(kBase, R"(from = ["one"])", "from = [\"one\"]\norder = \"strict\"");
  const Plan plan = MakePlan(
      Parse(strict), Parse(Replaced(strict, R"(from = ["one"])", R"(from = ["one", "two"])")), {});
  EXPECT_THAT(plan.changed_sinks, ElementsAre("lines"));
}

TEST(PlanTest, ASourceTakesItsRoutesWithIt) {
  const Plan plan = PlanTo(Replaced(kBase, "[sources.two]", "[sources.three]"));
  EXPECT_THAT(plan.added_sources, ElementsAre("three"));
  EXPECT_THAT(plan.removed_sources, ElementsAre("two"));
  EXPECT_THAT(plan.changed_sinks, IsEmpty());
  EXPECT_THAT(plan.added_routes, ElementsAre(Pair("three", "bus")));
  EXPECT_THAT(plan.removed_routes, ElementsAre(Pair("two", "bus")));
  EXPECT_EQ(plan.ToString(), "source three added; source two removed");
}

TEST(PlanTest, ASourceWhoseQueueMovesGoesAndComes) {
  const Plan plan = PlanTo(Replaced(kBase, "rate = 5", "rate = 5\nqueue = { storage = \"disk\" }"));
  EXPECT_THAT(plan.moved_sources, ElementsAre("one"));
  EXPECT_THAT(plan.added_sources, ElementsAre("one"));
  EXPECT_THAT(plan.removed_sources, ElementsAre("one"));
  EXPECT_THAT(plan.changed_sources, IsEmpty());
  EXPECT_THAT(plan.removed_routes, ElementsAre(Pair("one", "bus"), Pair("one", "lines")));
  EXPECT_EQ(plan.added_routes, plan.removed_routes);
  EXPECT_EQ(plan.ToString(), "source one moved to another storage");
}

TEST(PlanTest, WhatEndedIsMadeAnew) {
  EXPECT_THAT(PlanTo(kBase, {"two"}).changed_sources, ElementsAre("two"));
}

TEST(PlanTest, KeysThatNeedARestartAreNamed) {
  const config::GatewayConfig a = Parse(kBase).gateway;
  config::GatewayConfig b = a;
  EXPECT_THAT(config::NeedRestart(a, b), IsEmpty());
  b.drain_timeout = std::chrono::seconds(1);
  b.log_level = "debug";
  EXPECT_THAT(config::NeedRestart(a, b), IsEmpty());
  b.memory_limit = 1;
  b.state_dir = "/x";
  EXPECT_THAT(config::NeedRestart(a, b), ElementsAre("gateway.memory_limit", "gateway.state_dir"));
}

}  // namespace
}  // namespace penstock::gateway
