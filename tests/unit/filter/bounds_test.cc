// No expression and no event can make an evaluation long, large or remember anything.
#include <chrono>

#include "support.h"

namespace penstock::filter {
namespace {

constexpr char kSteps[] = "it took more than 1000000 steps";
constexpr char kMemory[] = "it took more than 64 MiB of memory";

// Seconds of any single evaluation that ends by its bounds: far above what they take, and far below
// what the same would take without.
std::string Bounded(std::string_view expression, const std::string& body = "") {
  const auto filter = Compiled(expression);
  const auto begin = std::chrono::steady_clock::now();
  std::string says = Says(filter.get(), TestEvent(body));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30)) << expression;
  // It is as good as before, and has given back what it took.
  EXPECT_LT(filter->memory_used(), 3u << 20) << expression;
  EXPECT_EQ(Says(filter.get(), TestEvent(body)), says) << expression;
  return says;
}

TEST(Bounds, Steps) {
  EXPECT_EQ(Bounded("(function() while true do end end)()"), kSteps);
  EXPECT_EQ(Bounded("(function() for i = 1, 1e18 do local x = i end return true end)()"), kSteps);
  EXPECT_EQ(Bounded("(function() ::a:: goto a end)()"), kSteps);
  EXPECT_EQ(
      Bounded("(function() local t = {} t.f = function() return t.f() end return t.f() end)()"),
      kSteps);
  std::string list = "[1";
  for (int i = 0; i < 2000; ++i) list += ",1";
  EXPECT_EQ(Bounded("all(body, function(a) return all(body, function(b) return true end) end)",
                    list + "]"),
            kSteps);
}

TEST(Bounds, FewStepsAreEnoughForNothing) {
  Limits limits;
  limits.steps = 500;
  const auto filter =
      Compiled("(function() for i = 1, body do local x = i end return true end)()", limits);
  EXPECT_EQ(Says(filter.get(), TestEvent("10")), "pass");
  EXPECT_EQ(Says(filter.get(), TestEvent("1000")), "it took more than 500 steps");
  EXPECT_EQ(Says(filter.get(), TestEvent("10")), "pass");
}

TEST(Bounds, Memory) {
  EXPECT_EQ(Bounded("#string.rep('x', 1e9 // 1 | 0) > 0"),
            "string.rep: more than the memory of an evaluation");
  EXPECT_EQ(Bounded("#string.rep('x', 30000000) > 0"), "pass");
  EXPECT_EQ(Bounded("#string.rep('x', 60000000) + #string.rep('y', 60000000) > 0"), kMemory);
  EXPECT_EQ(Bounded("#string.rep('', 1000000000000000000) == 0"), "pass");
  EXPECT_EQ(Bounded("#(string.rep('x', 40000000) .. string.rep('y', 40000000)) > 0"), kMemory);
  EXPECT_EQ(Bounded("(function() local t = {} for i = 1, 1e9 do t[i] = {i} end end)()"), kSteps);
  Limits limits;
  limits.steps = 1ull << 40;
  limits.bytes = 8 << 20;
  const auto filter = Compiled(
      "(function() local t = {} for i = 1, body do t[i] = {i} end return true end)()", limits);
  EXPECT_EQ(Says(filter.get(), TestEvent("1000000000")), "it took more than 8 MiB of memory");
  EXPECT_LT(filter->memory_used(), 3u << 20);
  EXPECT_EQ(Says(filter.get(), TestEvent("10")), "pass");
}

TEST(Bounds, Stacks) {
  const std::string deep = Bounded(
      "(function() local f f = function(n) return 1 + f(n + 1) end return f(1) == 1 end)()");
  EXPECT_EQ(deep, kSteps);  // the stack is memory, too
  const std::string nested =
      Bounded("(function() local f f = function() return any({1}, f) end return f() end)()");
  EXPECT_NE(nested.find("C stack overflow"), nested.npos) << nested;
  EXPECT_NE(Bounded("#string.char(string.byte(string.rep('x', 10000000), 1, -1)) > 0"), "pass");
}

TEST(Bounds, Bodies) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(Bounded("body[1][1][1] ~= nil", nested(10'000)), "pass");
  EXPECT_EQ(Bounded("body ~= nil", nested(10'001)),
            "the body, which is declared as JSON, is not JSON: nested deeper than 10000 levels "
            "at byte offset 10000");
  std::string objects, closed;
  for (int i = 0; i < 9'000; ++i) objects += R"({"a":)", closed += '}';
  EXPECT_EQ(Bounded("body.a.a.a ~= nil", objects + "1" + closed), "pass");
  std::string tables = "[{}";
  for (int i = 0; i < 2'000'000; ++i) tables += ",{}";
  const std::string too_much = Bounded("body ~= nil", tables + "]");
  EXPECT_TRUE(too_much == kMemory || too_much == kSteps) << too_much;
  std::string numbers = "[1";
  for (int i = 0; i < 1'000'000; ++i) numbers += ",1";
  EXPECT_EQ(Bounded("len(body) == 1000001", numbers + "]"), "pass");
  EXPECT_EQ(Bounded("len(body) == 4000000", '"' + std::string(4'000'000, 'x') + '"'), "pass");
}

TEST(Bounds, Patterns) {
  const std::string text = '"' + std::string(1'000'000, 'a') + "b\"";
  EXPECT_EQ(Bounded("matches(body, '^(a+)+$')", text), "drop");
  EXPECT_EQ(Bounded("matches(body, '(a|aa)+c')", text), "drop");
  // Its automaton has thousands of states, and it is asked again and again.
  EXPECT_EQ(Bounded("(function() for i = 1, 1000 do if matches(body, '(a?){500}(b|c){500}x') then "
                    "return true end end return false end)()",
                    text),
            kSteps);
  EXPECT_EQ(
      Bounded("(function() for i = 1, 1e6 do matches('x', str(i) .. 'y') end return true end)()"),
      kSteps);
  const std::string huge = Bounded("matches('x', body)", R"("((x{100}){100}){100}")");
  EXPECT_TRUE(huge.starts_with("matches: ")) << huge;
  // Which would take gigabytes only to be found too large.
  EXPECT_EQ(Bounded("matches('x', string.rep('\\\\pL', 1000000))"),
            "matches: it has 3000000 bytes, more than 4096; several, joined by or, are as good");
}

TEST(Bounds, SearchesTakeTheSumOfBothLengths) {
  const std::string part = "string.rep('a', 2000000) .. 'b'";
  EXPECT_EQ(Bounded("#split(string.rep('a', 4000000), " + part + ") == 1"), "pass");
  EXPECT_EQ(Bounded("contains(string.rep('a', 4000000), " + part + ")"), "drop");
}

TEST(Bounds, ComparisonsOfLongTexts) {
  // No step and no memory tells of these.
  const std::string says = Bounded(
      "(function() local a, b = string.rep('x', 15000000), string.rep('x', 15000000) local n = 0 "
      "while a == b do n = n + 1 end return false end)()");
  EXPECT_TRUE(says == "it took more than 1000 ms of processor time" || says == kSteps) << says;
}

TEST(Bounds, NothingIsKept) {
  const auto keeps = [](std::string_view expression) {
    const auto filter = Compiled(expression);
    const std::string first = Says(filter.get(), TestEvent("{}"));
    EXPECT_EQ(Says(filter.get(), TestEvent("{}")), first) << expression;
    return first;
  };
  EXPECT_EQ(keeps("(function() math['seen'] = 1 return true end)()"), "this cannot be assigned to");
  EXPECT_EQ(keeps("(function() string.rep = nil return true end)()"), "this cannot be assigned to");
  EXPECT_EQ(keeps("(function() body.seen = (body.seen or 0) + 1 return body.seen == 1 end)()"),
            "pass");
  EXPECT_EQ(keeps("(function() local n body, n = 1, 2 return true end)()"),
            "'body' cannot be assigned to");
  EXPECT_EQ(keeps("math['random'] == nil and math['randomseed'] == nil"), "pass");
}

TEST(Bounds, ThereIsNoWayOut) {
  for (const char* const name :
       {"dump", "gsub", "gmatch", "match", "find", "pack", "unpack", "packsize"})
    EXPECT_EQ(Says("string['" + std::string(name) + "'] == nil"), "pass") << name;
  EXPECT_EQ(Says("('').rep == nil and (1).x == nil and (true).x == nil and (nil).x == nil"),
            "pass");
  EXPECT_EQ(Says("(function() local s = '' s.x = 1 return true end)()"),
            "attempt to index a string value (local 's')");
  EXPECT_EQ(Says("math['__index'] == nil and string['__index'] == nil"), "pass");
}

}  // namespace
}  // namespace penstock::filter
