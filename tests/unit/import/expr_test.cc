// What Lua is written for an expression. That it says the same is filter_vectors_test's.
#include "import/expr.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock::import_argo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Translated(const std::string& filter, const FilterContext& context = {true, true}) {
  const auto lua = TranslateFilter(filter, context);
  if (lua) return *lua;
  return std::to_string(lua.error().at) + ": " + lua.error().text;
}

// The expression without the helpers in front of it.
std::string Expression(const std::string& filter, const FilterContext& context = {true, true}) {
  const std::string lua = Translated(filter, context);
  const std::string before = "\n  return ";
  const size_t at = lua.rfind(before);
  if (at == lua.npos) return lua;
  return lua.substr(at + before.size(), lua.size() - at - before.size() - 7);
}

struct Pair {
  std::string expr, lua;
};

TEST(Expr, IsPlainLuaWhereNilChangesNoAnswer) {
  const std::vector<Pair> pairs = {
      {"body.id == 4", "body.id == 4"},
      {"4 == body.id", "4 == body.id"},
      {"(body.id == 4) && (body.name != 'Joe')", "body.id == 4 and body.name ~= \"Joe\""},
      {"body.a.b == 'x' and body.a.c != 'y'", "body.a.b == \"x\" and body.a.c ~= \"y\""},
      {"body.t == 'a' || body.t == 'b'", "body.t == \"a\" or body.t == \"b\""},
      {"body.a == 1 && (body.b == 2 || body.c == 3)",
       "body.a == 1 and (body.b == 2 or body.c == 3)"},
      {"body.id > 3 && body.id <= 7.5", "body.id > 3 and body.id <= 7.5"},
      {"body?.a?.b == 1", "body.a.b == 1"},
      {"body[\"a b\"].end == 'x'", "body[\"a b\"][\"end\"] == \"x\""},
      {"body.x != nil", "body.x ~= nil"},
      {"body.flag", "body.flag == true"},
      {"body.flag && body.id == 1", "body.flag == true and body.id == 1"},
      {"body.id in [1, 2.5, \"x\"]", "one_of(body.id, 1, 2.5, \"x\")"},
      {"body.t in ['a', 'b'] || body.t startsWith 'c'",
       "one_of(body.t, \"a\", \"b\") or starts_with(body.t, \"c\")"},
      {"body.s contains 'x'", "type(body.s) == \"string\" and contains(body.s, \"x\")"},
      {"body.s startsWith 'x' and body.s contains 'y'",
       "starts_with(body.s, \"x\") and contains(body.s, \"y\")"},
      {R"(body.s matches "^a\\d+$")", R"(matches(body.s, "^a\\d+$"))"},
      {"any(body.items, {.price > 10})", "any(body.items, function(it) return it.price > 10 end)"},
      {"metadata.team == 'blue'", "metadata.team == \"blue\""},
      {"metadata.team != 'blue'", "metadata.team ~= \"blue\""},
      {"true", "true"},
      {"1 + 2 * 3 > 6", "1 + 2 * 3 > 6"},
      {"(1 + 2) * 3 > 6", "(1 + 2) * 3 > 6"},
      {"10 - (4 - 3) == 9", "10 - (4 - 3) == 9"},
      {"7 % 4 == 3", "math.fmod(7, 4) == 3"},
      {"2 ** 3 ** 2 == 512", "2 ^ 3 ^ 2 == 512"},
      {"'a' + 'b' == 'ab'", "\"a\" .. \"b\" == \"ab\""},
      {"body.id == 0xFF", "body.id == 255"},
      {"body.id == 1_000", "body.id == 1000"},
      {"body.s == \"\\u00e9\\t\\\"\"", "body.s == \"é\\x09\\\"\""}};
  for (const Pair& pair : pairs) EXPECT_EQ(Translated(pair.expr), pair.lua) << pair.expr;
}

TEST(Expr, BringsHelpersWhereExprFails) {
  const std::vector<Pair> pairs = {
      {"body.name != 'Joe'", "get(body, \"name\") ~= \"Joe\""},
      {"body.a.b == 1 || body.c == 2", "get(body, \"a\", \"b\") == 1 or body.c == 2"},
      {"not (body.s contains 'x')", "not contains(text(body.s), \"x\")"},
      {"!body.flag", "not bool(body.flag)"},
      {"body.x == nil", "get(body, \"x\") == nil"},
      {"body.items[0].id == 1", "get(body, \"items\", 0, \"id\") == 1"},
      {"body.items[-1] == 'x'", "get(body, \"items\", -1) == \"x\""},
      {"body.a?.b != 1", "try(get(body, \"a\"), \"b\") ~= 1"},
      {"(body?.n ?? 0) > 5", "either(try(body, \"n\"), 0) > 5"},
      {"body.a == body.b", "same(get(body, \"a\"), get(body, \"b\"))"},
      {"body.a + 1 > 5", "num(body.a) + 1 > 5"},
      {"body.a + body.b > 5", "add(body.a, body.b) > 5"},
      {"body.a + 'x' == 'yx'", "text(body.a) .. \"x\" == \"yx\""},
      {"int(body.s) % 2 == 0", "math.fmod(to_int(body.s), 2) == 0"},
      {"len(body.tags) > 1", "size(body.tags) > 1"},
      {"all(body.tags, # != 'x')", "all(list(body.tags), function(it) return it ~= \"x\" end)"},
      {"none(body.tags, {# == 'x'})",
       "not any(list(body.tags), function(it) return it == \"x\" end)"},
      {"'x' in body.tags", "within(\"x\", get(body, \"tags\"))"},
      {"lower(body.s) == 'x'", "lower(text(body.s)) == \"x\""},
      {"body.ok ? body.a == 1 : body.b == 1",
       "(function() if bool(body.ok) then return body.a == 1 end return body.b == 1 end)()"}};
  for (const Pair& pair : pairs) EXPECT_EQ(Expression(pair.expr), pair.lua) << pair.expr;
}

TEST(Expr, WithoutJsonBodyItIsText) {
  EXPECT_EQ(Expression("body == 'aGVsbG8='", {}), "encoded == \"aGVsbG8=\"");
  EXPECT_THAT(Translated("body == 'aGVsbG8='", {}),
              HasSubstr("local encoded = payload ~= \"\" and base64_encode(payload) or nil\n"));
  EXPECT_EQ(Expression("fromBase64(body) startsWith 'ok'", {}),
            "starts_with(base64_decode(text(encoded)), \"ok\")");
  EXPECT_THAT(Translated("body.id == 1", {}), HasSubstr("text in base64, which has no fields"));
}

TEST(Expr, OfHelpersOnlyThoseThatAreNeeded) {
  EXPECT_THAT(Translated("!body.flag"), HasSubstr("local function bool(v)"));
  EXPECT_THAT(Translated("!body.flag"), Not(HasSubstr("local function get(")));
  EXPECT_THAT(Translated("body.id == 4"), Not(HasSubstr("function")));
}

TEST(Expr, WhatIsNotTranslatedSaysWhereAndWhy) {
  const std::vector<Pair> pairs = {
      {"", "0: it ends too early"},
      {"body.id ==", "10: it ends too early"},
      {"body.id == 4)", "12: \")\" is not expected there"},
      {"body.id = 4", "8: \"=\" is not expected there"},
      {"body.s == 'x", "10: a string without an end"},
      {"body.s == \"\\d\"", "11: an unknown escape sequence"},
      {"body.id @ 4", "8: the character \"@\" has no meaning there"},
      {"body.id == 4 /*", "13: a comment without an end"},
      {"id == 4", "0: Argo knows no \"id\" there, only body and metadata, and takes it for nil"},
      {"let x = 1; x == 1", "0: let has no equivalent"},
      {"body.id % 2 == 0", "8: % fails in Argo for every number of a JSON document"},
      {"body.id == 'x' + 1", "17: Argo itself refuses it: a number is no string"},
      {"1 == 'x'", "2: Argo itself refuses it: it compares a string and a number"},
      {"!5", "1: Argo itself refuses it: a number where it wants true or false"},
      {"5", "0: Argo itself refuses it: a number where it wants true or false"},
      {"sprig.now() == 1", "6: the function \"sprig.now\" has no equivalent"},
      {"now() == 1", "0: the function \"now\" has no equivalent"},
      {"foo(1)", "0: the function \"foo\" has no equivalent"},
      {"jsonpath(body, '$.a') == 1", "0: the function \"jsonpath\" has no equivalent"},
      {"body.f() == 1", "5: calling a field has no equivalent"},
      {"body.s[1:2] == 'x'", "6: a slice [from:to] has no equivalent"},
      {"body.x in {a: 1}", "10: a map has no equivalent"},
      {"body.a ?? body.b == 1", "17: ?? and another operator need parentheses"},
      {"lower(body.a) == body.b", "14: lower and upper"},
      {"lower(body.a) == 'Ä'", "14: lower and upper"},
      {"body.s matches '('", "0: in Lua it is no filter: "},
      {"#", "0: \"#\" stands outside of a predicate"},
      {"any(body.a, #index == 1)", "12: #index has no equivalent"}};
  for (const Pair& pair : pairs)
    EXPECT_THAT(Translated(pair.expr), HasSubstr(pair.lua)) << pair.expr;
  EXPECT_THAT(Translated("metadata.a == 'b'", {true, false}), HasSubstr("has no metadata"));
}

TEST(Expr, IsBounded) {
  EXPECT_THAT(Translated(std::string(70'000, ' ') + "true"), HasSubstr("longer than 64KiB"));
  EXPECT_THAT(Translated(std::string(1000, '(') + "true" + std::string(1000, ')')),
              HasSubstr("nested too deeply"));
  std::string sum = "body.a";
  for (int i = 0; i < 3000; ++i) sum += " + 1";
  EXPECT_THAT(Translated(sum + " > 1"), HasSubstr("too many operators"));
}

}  // namespace
}  // namespace penstock::import_argo
