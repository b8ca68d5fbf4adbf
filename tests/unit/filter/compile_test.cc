#include <algorithm>

#include "support.h"

namespace penstock::filter {
namespace {

TEST(Compile, SaysWhereLuaStopped) {
  EXPECT_EQ(FaultOf("subject == == 'x'"), "1:12: unexpected symbol near '=='");
  EXPECT_EQ(FaultOf("subject == 'x' and"),
            "1:19: unexpected symbol near the end of the expression");
  EXPECT_EQ(FaultOf("subject == 'x' subject"),
            "1:16: unexpected 'subject'; is there an operator missing?");
  EXPECT_EQ(FaultOf("subject ==\n  'x' and\n  or true"), "3:3: unexpected symbol near 'or'");
  EXPECT_EQ(FaultOf("subject == 'é' subject"),
            "1:16: unexpected 'subject'; is there an operator missing?");
  EXPECT_EQ(FaultOf("len(body subject)"), "1:10: ')' expected near 'subject'");
  EXPECT_EQ(FaultOf("subject == 'x"), "1:12: unfinished string near ''x'");
  EXPECT_EQ(FaultOf("(subject == 'x'"),
            "1:16: ')' expected (to close '(' at line 1) near the end of the expression");
  EXPECT_EQ(FaultOf("1, 2"), "1:2: unexpected ','");
  EXPECT_EQ(FaultOf("type(body) == == 1"), "1:15: unexpected symbol near '=='");
  EXPECT_EQ(FaultOf("subject == @"), "1:12: unexpected symbol near '@'");
  EXPECT_EQ(FaultOf("any(body, {.price > 5})"), "1:12: unexpected symbol near '.'");
  EXPECT_EQ(
      FaultOf("matches(subject, '\\d+')"),
      "1:18: invalid escape sequence near ''\\d'; for one \\ write two, or the text in [[ ]]");
}

TEST(Compile, RefusesWhatIsNoExpression) {
  EXPECT_EQ(FaultOf(""), "1:1: it is empty");
  EXPECT_EQ(FaultOf("  -- only a comment"), "1:1: it is empty");
  EXPECT_EQ(FaultOf("true) or (true"), "1:5: unexpected ')'");
  EXPECT_EQ(FaultOf("true) end while true do end; (function() return (true"),
            "1:5: unexpected ')'");
  for (const std::string statement : {"return true", "if body.a then return true end", "local x"})
    EXPECT_EQ(FaultOf(statement),
              "1:1: unexpected '" + statement.substr(0, statement.find(' ')) +
                  "'; write an expression alone, or statements in (function() ... end)()");
  EXPECT_EQ(FaultOf("true end"), "1:6: unexpected 'end'");
  EXPECT_EQ(FaultOf(std::string(70'000, ' ') + "true"), "1:1: it is longer than 65536 bytes");
  const std::string deep = FaultOf(std::string(5000, '(') + "true" + std::string(5000, ')'));
  EXPECT_TRUE(deep.ends_with(": it is nested too deeply")) << deep;
  EXPECT_EQ(FaultOf("body.größe > 5"),
            "1:8: 'ö' can only stand between quotes; a field of such a name is body[\"...\"]");
  EXPECT_EQ(FaultOf("subject == “x”").substr(0, 26), "1:12: '“' can only stand");
  EXPECT_NE(FaultOf(std::string_view("true \0 and", 10)), "none");
  EXPECT_NE(FaultOf("\x1bLua"), "none");
}

TEST(Compile, KnowsTheSignsOfOtherLanguages) {
  EXPECT_EQ(FaultOf("body.a == 1 && body.b == 2"), "1:13: '&&' is not of this language; write and");
  EXPECT_EQ(FaultOf("body.a || body.b"), "1:8: '||' is not of this language; write or");
  EXPECT_EQ(FaultOf("!body.a"), "1:1: '!' is not of this language; write not");
  EXPECT_EQ(FaultOf("body.a != 1"), "1:8: '!=' is not of this language; write ~=");
  EXPECT_EQ(FaultOf("body.a = 1"), "1:8: unexpected '='; to compare, write ==");
  EXPECT_EQ(FaultOf("subject = 'x'"), "1:1: 'subject' cannot be assigned to");
  EXPECT_EQ(FaultOf("'a' in body.tags"),
            "1:5: unexpected 'in'; write contains(LIST, X), one_of(X, ...) or has(TABLE, KEY)");
  EXPECT_EQ(FaultOf("body.a == null"), "1:11: unknown name 'null'; write nil");
  EXPECT_EQ(FaultOf("body.a matches 'x'"),
            "1:8: unexpected 'matches'; write matches(TEXT, PATTERN)");
  EXPECT_EQ(FaultOf("body['a'] startsWith 'x'"),
            "1:11: unexpected 'startsWith'; write starts_with(TEXT, PART)");
  EXPECT_EQ(FaultOf("not matches(body.a, 'x') and contains(body.matches, 'x')"), "none");
  EXPECT_EQ(
      FaultOf("body.end > 5"),
      "1:6: 'end' is a word of the language; a field of that name is [\"end\"], without the dot");
  EXPECT_EQ(FaultOf("body['end'] > 5"), "none");
  EXPECT_EQ(FaultOf("body.a ? 1 : 2"), "1:8: '?' is not of this language; write A and B or C");
}

TEST(Compile, KnowsEveryName) {
  const auto filter = Filter::Compile("match(subject, 'x')");
  ASSERT_FALSE(filter);
  EXPECT_EQ(filter.error().text, "unknown name 'match'");
  EXPECT_EQ(filter.error().unknown, "match");
  const std::vector<std::string_view> known = KnownNames();
  for (const std::string_view name : {"body", "subject", "matches", "math", "type", "tonumber"})
    EXPECT_EQ(std::count(known.begin(), known.end(), name), name == "type" ? 2 : 1) << name;
  for (const char* const name :
       {"io",      "os",     "debug",    "load",  "loadstring",     "dofile",       "require",
        "package", "print",  "error",    "pcall", "xpcall",         "setmetatable", "getmetatable",
        "rawget",  "rawset", "rawequal", "next",  "collectgarbage", "coroutine",    "utf8",
        "table",   "_G",     "assert",   "warn",  "_VERSION"})
    EXPECT_EQ(FaultOf(std::string(name) + " ~= 1"),
              "1:1: unknown name '" + std::string(name) + "'");
  EXPECT_NE(FaultOf("_ENV ~= nil"), "none");
  EXPECT_NE(FaultOf("(function() local _ENV = {} return true end)()"), "none");
  EXPECT_NE(FaultOf("__0 == 1"), "none");
}

TEST(Compile, KnowsWhatIsInTheTables) {
  EXPECT_EQ(
      FaultOf("string.match(subject, 'x') == 'x'"),
      "1:8: unknown name 'string.match'; write contains(TEXT, PART) or matches(TEXT, PATTERN)");
  EXPECT_EQ(FaultOf("math.random() > 0.5"), "1:6: unknown name 'math.random'");
  EXPECT_EQ(FaultOf("string.rep(subject, math.floor(2.5)) == string.format('%s', subject)"),
            "none");
  EXPECT_EQ(FaultOf("body.string.find == 1 and body.math.x == 2"), "none");
  EXPECT_EQ(FaultOf("any(body, function(string) return string.find == 1 end)"), "none");
}

TEST(Compile, NamesOfItsOwnAreNone) {
  EXPECT_EQ(FaultOf("any(body, function(x) return x.y == 1 end)"), "none");
  EXPECT_EQ(FaultOf("(function() local n, m <const> = 0, 1 for i = 1, 3 do n = n + i + m end "
                    "for k, v in pairs(body) do n = n + v end return n > 3 end)()"),
            "none");
  EXPECT_EQ(FaultOf("(function() local function f(a) return a end return f(1) == 1 end)()"),
            "none");
  EXPECT_EQ(FaultOf("(function() goto over ::over:: return true end)()"), "none");
  EXPECT_EQ(FaultOf("({ price = 5, type = 'x' }).price == body.os"), "none");
  EXPECT_EQ(FaultOf("body.type == 'x' and type == 'y' and type(body) == 'table'"), "none");
}

TEST(Compile, NothingThatIsGivenCanBeAssigned) {
  EXPECT_EQ(FaultOf("(function() subject = 1 return true end)()"),
            "1:13: 'subject' cannot be assigned to");
  EXPECT_EQ(FaultOf("(function() matches = nil return true end)()"),
            "1:13: 'matches' cannot be assigned to");
  EXPECT_EQ(FaultOf("(function() x = 1 return true end)()"), "1:13: unknown name 'x'");
  EXPECT_EQ(FaultOf("(function() function x() end return true end)()"),
            "1:22: a function with a name has to be local");
  EXPECT_NE(FaultOf("(function() local n n, id = 1, 2 return true end)()"), "none");
}

TEST(Compile, ValuesHaveNoMethods) {
  EXPECT_EQ(FaultOf("subject:sub(1, 2) == 'a'"),
            "1:8: values have no methods; write string.sub(TEXT, ...), or a function by its name");
}

TEST(Compile, PatternsThatStandThereAreTried) {
  EXPECT_EQ(FaultOf("matches(subject, 'a(')"), "1:18: no regular expression: missing ): a(");
  EXPECT_EQ(FaultOf("true and\nmatches(lower(subject), [[(?=x)]])"),
            "2:25: no regular expression: invalid perl operator: (?=");
  EXPECT_EQ(FaultOf("matches(subject, 'a+')"), "none");
  EXPECT_EQ(FaultOf("matches(subject, body.pattern)"), "none");
}

}  // namespace
}  // namespace penstock::filter
