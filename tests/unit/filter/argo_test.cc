// The table in docs/filters.md of Argo's expressions and ours: each of ours is true of one body and
// not of another, as Argo's is.
#include <fstream>
#include <iterator>

#include "support.h"

namespace penstock::filter {
namespace {

struct Pair {
  const char *argo, *here, *yes, *no;
};

constexpr Pair kPairs[] = {
    {R"(body.op == "create" || body.op == "delete")",
     R"(body.op == "create" or body.op == "delete")", R"({"op":"delete"})", R"({"op":"update"})"},
    {R"(body.op in ["create", "delete"])", R"(one_of(body.op, "create", "delete"))",
     R"({"op":"create"})", R"({"op":1})"},
    {"body.a != 5 && !body.test", "body.a ~= 5 and not body.test", R"({"a":4,"test":false})",
     R"({"a":4,"test":true})"},
    {"body.value > 50.0", "body.value > 50.0", R"({"value":51})", R"({"value":50})"},
    {"(body.value ?? 0) > 50", "(body.value or 0) > 50", R"({"value":51})", "{}"},
    {"body?.a?.b == nil", "body.a.b == nil", "{}", R"({"a":{"b":1}})"},
    {R"(body["content-type"] == "x")", R"(body["content-type"] == "x")", R"({"content-type":"x"})",
     "{}"},
    {"body.items[0].price > 5", "body.items[1].price > 5", R"({"items":[{"price":6}]})",
     R"({"items":[{"price":5}]})"},
    {"body.n in 1..10", "body.n >= 1 and body.n <= 10", R"({"n":10})", R"({"n":11})"},
    {"body.vip ? body.n > 5 : body.n > 50", "body.n > (body.vip and 5 or 50)",
     R"({"vip":true,"n":6})", R"({"n":6})"},
    {R"(body.a + "x" == "ax")", R"(body.a .. "x" == "ax")", R"({"a":"a"})", R"({"a":"b"})"},
    {R"(body.name matches "^order-[0-9]+$")", R"(matches(body.name, "^order-[0-9]+$"))",
     R"({"name":"order-17"})", R"({"name":"order-x"})"},
    {R"(body.name contains "der")", R"(contains(body.name, "der"))", R"({"name":"order"})",
     R"({"name":"x"})"},
    {R"(body.name startsWith "or")", R"(starts_with(body.name, "or"))", R"({"name":"order"})",
     R"({"name":"x"})"},
    {R"(body.name endsWith "7")", R"(ends_with(body.name, "7"))", R"({"name":"order-7"})",
     R"({"name":"x"})"},
    {R"("x" in body.tags)", R"(contains(body.tags, "x"))", R"({"tags":["y","x"]})",
     R"({"tags":[]})"},
    {R"("x" in body.labels)", R"(has(body.labels, "x"))", R"({"labels":{"x":""}})",
     R"({"labels":{}})"},
    {"any(body.items, {.price > 5})", "any(body.items, function(i) return i.price > 5 end)",
     R"({"items":[{"price":1},{"price":6}]})", R"({"items":[{"price":1}]})"},
    {"all(body.items, {.price > 5})", "all(body.items, function(i) return i.price > 5 end)",
     R"({"items":[{"price":6}]})", R"({"items":[{"price":6},{"price":1}]})"},
    {"none(body.items, {.price > 5})", "not any(body.items, function(i) return i.price > 5 end)",
     R"({"items":[{"price":1}]})", R"({"items":[{"price":6}]})"},
    {"len(body.items) == 2", "len(body.items) == 2", R"({"items":[1,null]})", R"({"items":[1]})"},
    {"asInt(body.n) == 7", "int(body.n) == 7", R"({"n":"7"})", R"({"n":"8"})"},
    {"asFloat(body.n) > 6.5", "float(body.n) > 6.5", R"({"n":"7"})", R"({"n":"6.5"})"},
    {R"(string(body.n) == "7")", R"(str(body.n) == "7")", R"({"n":7})", R"({"n":8})"},
    {R"(jsonpath(body, "$.a.b") == "c")", R"(body.a.b == "c")", R"({"a":{"b":"c"}})", "{}"},
    {R"(toJson(body) contains "secret")", R"(contains(payload, "secret"))", R"({"secret":1})",
     "{}"},
    {R"(sprig.upper(body.a) == "X")", R"(upper(body.a) == "X")", R"({"a":"x"})", R"({"a":"y"})"},
    {R"(sprig.trim(body.a) == "x")", R"(trim(body.a) == "x")", R"({"a":" x\n"})", R"({"a":"y"})"},
    {R"(sprig.hasPrefix("or", body.name))", R"(starts_with(body.name, "or"))",
     R"({"name":"order"})", R"({"name":"x"})"},
    {R"(sprig.regexMatch("^or", body.name))", R"(matches(body.name, "^or"))", R"({"name":"order"})",
     R"({"name":"x"})"},
    {R"(sprig.default("none", body.a) == "none")", R"((body.a or "none") == "none")", "{}",
     R"({"a":"x"})"},
    {R"(sprig.splitList(",", body.a)[0] == "x")", R"(split(body.a, ",")[1] == "x")",
     R"({"a":"x,y"})", R"({"a":"y,x"})"},
    {R"(sprig.b64dec(body.a) == "hi")", R"(base64_decode(body.a) == "hi")", R"({"a":"aGk="})",
     R"({"a":""})"},
};

// As a table in Markdown has it.
std::string Cell(const char* code) {
  std::string out;
  for (const char* c = code; *c != '\0'; ++c)
    out += *c == '|' ? std::string("\\|") : std::string(1, *c);
  return "`" + out + "`";
}

TEST(Argo, EveryPairOfTheManualIsTrueAndFalseOfTheSame) {
  std::ifstream file(PENSTOCK_FILTERS_MD);
  const std::string manual((std::istreambuf_iterator<char>(file)), {});
  const size_t begin = manual.find("| Argo | here |");
  ASSERT_NE(begin, manual.npos);
  size_t rows = 0;
  for (size_t at = begin; (at = manual.find("\n| `", at)) != manual.npos; ++at) ++rows;
  EXPECT_EQ(rows, std::size(kPairs) + 1);  // the last one is of metadata
  for (const Pair& pair : kPairs) {
    EXPECT_NE(manual.find("\n| " + Cell(pair.argo) + " | " + Cell(pair.here) + " |\n"), manual.npos)
        << pair.argo;
    EXPECT_EQ(Says(pair.here, std::string(pair.yes)), "pass") << pair.here;
    EXPECT_EQ(Says(pair.here, std::string(pair.no)), "drop") << pair.here;
  }
  EXPECT_EQ(Says("metadata.region == \"eu\"", "{}"), "pass");
}

// The expressions in the code blocks of the manual.
TEST(Argo, TheOtherExamples) {
  EXPECT_EQ(Says("\n(body.price or 0) > 50 and          -- none without a price\n"
                 "not starts_with(body.name, \"test-\")",
                 R"({"price":51,"name":"x"})"),
            "pass");
  EXPECT_EQ(Says("(function() local n = 0 for _, i in ipairs(body.items) do n = n + i.price end "
                 "return n > 100 end)()",
                 R"({"items":[{"price":60},{"price":50}]})"),
            "pass");
  EXPECT_EQ(Says("contains(body, \"x\")", TestEvent("\x01x", "")), "pass");
}

}  // namespace
}  // namespace penstock::filter
