#include "support.h"

namespace penstock::filter {
namespace {

struct Case {
  const char *expression, *body, *says;
};

void Check(std::initializer_list<Case> cases) {
  for (const Case& one : cases)
    EXPECT_EQ(Says(one.expression, std::string(one.body)), one.says)
        << one.expression << " of " << one.body;
}

TEST(Language, TrueGoesOnFalseAndNilDoNot) {
  Check({{"true", "", "pass"},
         {"false", "", "drop"},
         {"nil", "", "drop"},
         {"body.ok", R"({"ok":true})", "pass"},
         {"body.ok", R"({"ok":false})", "drop"},
         {"body.ok", "{}", "drop"},
         {"body.ok", R"({"ok":1})", "it gave a number and not true or false"},
         {"body.ok", R"({"ok":"yes"})", "it gave a string and not true or false"},
         {"body", "{}", "it gave a table and not true or false"},
         {"matches", "", "it gave a function and not true or false"}});
}

TEST(Language, TheFieldsOfTheEvent) {
  TestEvent event("bytes", "text/plain");
  const penstock_kv attributes[] = {{{"k", 1}, {"old", 3}}, {{"k", 1}, {"v", 1}}};
  event.event.attributes = attributes;
  EXPECT_EQ(Says("source == 'shop'", event), "pass");
  EXPECT_EQ(Says("subject == 'orders' and type == 'order'", event), "pass");
  EXPECT_EQ(Says("id == '0123456789abcdef000000000000002a'", event), "pass");
  EXPECT_EQ(Says("time == '2023-11-14T22:13:20.123Z'", event), "pass");
  EXPECT_EQ(Says("content_type == 'text/plain'", event), "pass");
  EXPECT_EQ(Says("body == 'bytes' and payload == body", event), "pass");
  EXPECT_EQ(Says("metadata.region == 'eu' and metadata.none == nil", event), "pass");
  EXPECT_EQ(Says("attributes.k == 'v' and attributes['x'] == nil", event), "pass");
  event.event.subject = "own";
  event.event.type = "mine";
  event.event.id = "7";
  EXPECT_EQ(Says("subject == 'own' and type == 'mine' and id == 'table:7'", event), "pass");
  EXPECT_EQ(Says("body == nil and payload == ''", ""), "pass");
  EXPECT_EQ(Says("body == nil and payload == 'null'", "null"), "pass");
  EXPECT_EQ(Says("content_type == '' and body == '{}'", TestEvent("{}", "")), "pass");
}

TEST(Language, OneFilterForManyEvents) {
  const auto filter = Compiled("body.n == 1 and subject == 'orders' and payload ~= ''");
  for (int i = 0; i < 5000; ++i) {
    EXPECT_EQ(Says(filter.get(), TestEvent(R"({"n":1})")), "pass");
    EXPECT_EQ(Says(filter.get(), TestEvent(R"({"n":2})")), "drop");
    EXPECT_EQ(Says(filter.get(), TestEvent("")), "drop");
  }
  EXPECT_LT(filter->memory_used(), 2u << 20);
}

TEST(Language, BytesHaveNoFields) {
  const char* const error =
      "body has no fields, as the payload is not declared as JSON: let the source do so "
      "(json_body = true), or read json(payload)";
  for (const char* const type : {"", "application/octet-stream"}) {
    const TestEvent event(R"({"a":{"b":"x"}})", type);
    EXPECT_EQ(Says("body.a == 1", event), error);
    EXPECT_EQ(Says("body['a'].b == nil", event), error);
    EXPECT_EQ(Says("json(payload).a.b == 'x' and json(payload).a.b.c == nil", event), "pass");
    EXPECT_EQ(Says("contains(body, '\"b\"') and subject.x == nil", event), "pass");
    EXPECT_EQ(Says("body.a == nil", TestEvent("", type)), "pass");
  }
  EXPECT_EQ(Says("body.a == nil", R"("text")"), "pass");
}

TEST(Language, WhatIsMissingIsNil) {
  Check({{"body.a.b.c == nil", "{}", "pass"},
         {"body.a.b.c == nil", R"({"a":5})", "pass"},
         {"body.a.b.c == nil", R"({"a":"text"})", "pass"},
         {"body.a.len == nil", R"({"a":"text"})", "pass"},
         {"body.a.b.c == nil", R"({"a":true})", "pass"},
         {"body.a.b.c == nil", R"({"a":{"b":[1]}})", "pass"},
         {"body[1].x == 5", R"([{"x":5}])", "pass"},
         {"body[2].x == nil", R"([{"x":5}])", "pass"},
         {"body.a == nil", "", "pass"},
         {"(body.x or 0) > 5", "{}", "drop"},
         {"body.x > 5", "{}", "attempt to compare number with nil"},
         {"body.x > 5", R"({"x":"7"})", "attempt to compare number with string"},
         {"body.x .. 'a' == 'b'", "{}", "attempt to concatenate a nil value (field 'x')"},
         {"body.x + 1 == 2", R"({"x":"1"})",
          "attempt to perform arithmetic on a string value (field 'x')"},
         {"body.f() == 1", "{}", "attempt to call a nil value (field 'f')"}});
}

TEST(Language, ErrorsOfManyLinesSayWhich) {
  EXPECT_EQ(Says("true and\n  body.x > 5", "{}"), "line 2: attempt to compare number with nil");
}

TEST(Language, Numbers) {
  Check({{"body == 9223372036854775807", "9223372036854775807", "pass"},
         {"body == math.mininteger", "-9223372036854775808", "pass"},
         {"math.type(body) == 'float' and body == 2^63", "9223372036854775808", "pass"},
         {"body == 9007199254740993 and body ~= 9007199254740992", "9007199254740993", "pass"},
         {"body == math.huge", "1e400", "pass"},
         {"body == -math.huge", "-1e400", "pass"},
         {"body == 0", "1e-400", "pass"},
         {"body == 0 and math.type(body) == 'integer'", "-0", "pass"},
         {"body == 1 and math.type(body) == 'float'", "1.0", "pass"},
         {"body == 100", "1e2", "pass"},
         {"body > 0.1 and body < 0.3", "0.2", "pass"},
         {"body == 0.1", "0.1", "pass"}});
  const std::string zeros(400, '0');
  EXPECT_EQ(Says("body == math.huge", "1" + zeros), "pass");
  EXPECT_EQ(Says("body == 1", "1" + zeros + "e-400"), "pass");
}

TEST(Language, JsonValues) {
  Check(
      {{R"(body.s == 'a"\\/\b\f\n\r\té€😀')", R"({"s":"a\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\ude00"})",
        "pass"},
       {R"(body == 'é€😀')", R"("é€😀")", "pass"},
       {R"(body == '\u{fffd}a')", R"("\ud800a")", "pass"},
       {R"(body == '\u{fffd}\u{fffd}')", R"("\udc00\ud800")", "pass"},
       {R"(body == '\0')", R"("\u0000")", "pass"},
       {"body == '\\u{fffd}x'", "\"\xffx\"", "pass"},
       {"body.a == 2", R"({"a":1,"a":2})", "pass"},
       {"body.a == nil and len(body) == 0", R"({"a":1,"a":null})", "pass"},
       {"body[1] == 1 and body[2] == nil and body[3] == 3 and len(body) == 3 and #body == 3",
        "[1,null,3]", "pass"},
       {"len(body) == 2 and #body == 2", "[null,null]", "pass"},
       {"len(body) == 0", "[]", "pass"},
       {"len(body.a) == 2", R"({"a":{"x":1,"y":[]}})", "pass"},
       {"body.a[2][1].b.c == 'd'", R"( { "a" : [ [ ] , [ { "b" : { "c" : "d" } } ] ] } )", "pass"},
       {"body[''] == 1", R"({"":1})", "pass"},
       {"body == true", "true", "pass"},
       {"body == false", " false ", "pass"},
       {"body == 'x'", "x",
        "the body, which is declared as JSON, is not JSON: unexpected 'x' at byte offset 0"},
       {"body.a == 1", R"({"a":1)",
        "the body, which is declared as JSON, is not JSON: unexpected end at byte offset 6"},
       {"subject == 'orders' or body == 1", "{{{", "pass"}});
}

TEST(Language, TypesThatDeclareJson) {
  EXPECT_EQ(Says("body.a == 1", TestEvent(R"({"a":1})", "application/vnd.x+json; charset=utf-8")),
            "pass");
  EXPECT_EQ(Says("body == '{'", TestEvent("{", "text/json2")), "pass");
  EXPECT_EQ(Says("json(payload).a == 1", TestEvent(R"({"a":1})", "")), "pass");
}

TEST(Language, Text) {
  Check({{"matches(body, '^a.*z$')", R"("abz")", "pass"},
         {"matches(body, 'b')", R"("abz")", "pass"},
         {"matches(body, '^b')", R"("abz")", "drop"},
         {"matches(body, '(?i)ABZ')", R"("abz")", "pass"},
         {"matches(body, '^.$')", R"("é")", "pass"},
         {"matches(body.x, 'b')", "{}", "drop"},
         {"matches(body, 'b')", "5", "bad argument #1 to 'matches' (string expected, got number)"},
         {"matches('x', body)", R"("(")", "matches: missing ): ("},
         {"contains(body, 'b')", R"("abz")", "pass"},
         {"contains(body, '')", R"("")", "pass"},
         {"contains(body, 'c')", R"("abz")", "drop"},
         {"contains(body.x, 'c')", "{}", "drop"},
         {"contains(body, 5)", R"("5")",
          "bad argument #2 to 'contains' (string expected, got number)"},
         {"starts_with(body, 'ab')", R"("abz")", "pass"},
         {"starts_with(body, 'bz')", R"("abz")", "drop"},
         {"starts_with(body.x, '')", "{}", "drop"},
         {"ends_with(body, 'bz')", R"("abz")", "pass"},
         {"ends_with(body, 'abzz')", R"("abz")", "drop"},
         {"ends_with(body.x, '')", "{}", "drop"},
         {"lower(body) == 'abz1é'", R"("AbZ1é")", "pass"},
         {"upper(body) == 'ABZ1'", R"("AbZ1")", "pass"},
         {"lower(body.x) == nil and upper(body.x) == nil and trim(body.x) == nil", "{}", "pass"},
         {"trim(body) == 'a b'", R"("\t a b\n ")", "pass"},
         {"trim(body) == ''", R"("  ")", "pass"},
         {"split(body, ',')[2] == 'b' and len(split(body, ',')) == 3", R"("a,b,")", "pass"},
         {"split(body, ', ')[2] == 'b'", R"("a, b")", "pass"},
         {"split(body.x, ',') == nil", "{}", "pass"},
         {"split(body, '') == nil", R"("a")", "bad argument #2 to 'split' (it is empty)"},
         {"len(body) == 3", R"("abc")", "pass"},
         {"len(body.x) == 0", "{}", "pass"},
         {"len(body) == 3", "5", "bad argument #1 to 'len' (table expected, got number)"}});
}

TEST(Language, ListsAndTables) {
  Check({{"contains(body.tags, 'x')", R"({"tags":["y","x"]})", "pass"},
         {"contains(body.tags, 'z')", R"({"tags":["y","x"]})", "drop"},
         {"contains(body, 3)", "[null,null,3]", "pass"},
         {"contains(body, nil)", "[1,null,3]", "pass"},
         {"contains(body, 1)", "[1.0]", "pass"},
         {"contains(body, 'a')", R"({"a":1})",
          "bad argument #1 to 'contains' (an object is no list)"},
         {"contains(body, 'a')", "[]", "drop"},
         {"one_of(body.op, 'create', 'delete')", R"({"op":"delete"})", "pass"},
         {"one_of(body.op, 'create', 'delete')", R"({"op":"update"})", "drop"},
         {"one_of(body.op, 'create', 'delete')", "{}", "drop"},
         {"has(body, 'a')", R"({"a":false})", "pass"},
         {"has(body, 'b')", R"({"a":false})", "drop"},
         {"has(body.x, 'b')", "{}", "drop"},
         {"has(body, 2)", "[1,2]", "pass"},
         {"any(body.items, function(i) return i.price > 5 end)",
          R"({"items":[{"price":1},{"price":6}]})", "pass"},
         {"any(body.items, function(i) return i.price > 5 end)", R"({"items":[{"price":1}]})",
          "drop"},
         {"any(body.items, function(i) return i.price > 5 end)", "{}", "drop"},
         {"any(body, function(i) return i == nil end)", "[1,null]", "pass"},
         {"all(body, function(i) return i > 0 end)", "[1,2]", "pass"},
         {"all(body, function(i) return i > 0 end)", "[1,-2]", "drop"},
         {"all(body, function(i) return i > 0 end)", "[]", "pass"},
         {"any(body, 5)", "[]", "bad argument #2 to 'any' (function expected, got number)"},
         {"any(body, function(i) return true end)", R"({"a":1})",
          "bad argument #1 to 'any' (an object is no list)"},
         {"any(body, function(i) return i.x > 1 end)", "[1]", "attempt to compare number with nil"},
         {"select('#', 1, 2) == 2 and select(2, 1, 7) == 7", "", "pass"},
         {"(function() local n = 0 for _, v in ipairs(body) do n = n + v end return n == 6 end)()",
          "[1,2,3]", "pass"},
         {"(function() local n = 0 for _, v in pairs(body) do n = n + v end return n == 6 end)()",
          R"({"a":1,"b":2,"c":3})", "pass"}});
}

TEST(Language, ANameThatIsDeclaredElsewhereIsStillTheEvents) {
  Check({{"any(body, function(type) return type == 'a' end) and type ~= 'a'", R"(["a"])", "pass"},
         {"any(body, function(len) return len == 'a' end) and len(body) == 1", R"(["a"])", "pass"},
         {"(function() local id = 1 return id == 1 end)() and id ~= ''", "", "pass"},
         {"(function() local len = len(body) return len == 2 end)() and len(body) == 2", "[1,2]",
          "pass"},
         {"(function() local id id = 1 return id == 1 end)()", "", "pass"}});
}

TEST(Language, Conversions) {
  Check({{"int(body) == 5", R"("5")", "pass"},
         {"int(body) == 5 and math.type(int(body)) == 'integer'", "5.9", "pass"},
         {"int(body) == -5", "-5.9", "pass"},
         {"int(body) == 7", R"("7.5")", "pass"},
         {"int(body) == nil", R"("x")", "pass"},
         {"int(body) == nil", "1e30", "pass"},
         {"int(body) == nil", "null", "pass"},
         {"int(body) == nil", "true", "pass"},
         {"float(body) == 5.5", R"("5.5")", "pass"},
         {"float(body) == 5.0 and math.type(float(body)) == 'float'", "5", "pass"},
         {"float(body) == nil", "{}", "pass"},
         {"str(body) == '5'", "5", "pass"},
         {"str(body) == '5.5'", "5.5", "pass"},
         {"str(body) == 'true'", "true", "pass"},
         {"str(body) == 'x'", R"("x")", "pass"},
         {"str(body) == nil", "null", "pass"},
         {"str(body) == nil", "{}", "bad argument #1 to 'str' (tables and functions have no text)"},
         {"tostring(body) == 'table' and tostring(matches) == 'function'", "{}", "pass"},
         {"tostring(nil) == 'nil' and tostring(1) == '1'", "", "pass"},
         {"tonumber(body) == 10 and tonumber('ff', 16) == 255", R"("10")", "pass"},
         {"type(body) == 'table' and type 'x' == 'string' and type(nil) == 'nil'", "{}", "pass"},
         {"json(body.j).a[1] == 1", R"({"j":"{\"a\":[1]}"})", "pass"},
         {"json(body.x) == nil", "{}", "pass"},
         {"json(body) == nil", R"("{")",
          "json: the text is not JSON: unexpected end at byte offset 1"},
         {"base64_decode(body) == 'hello'", R"("aGVsbG8=")", "pass"},
         {"base64_decode(body) == 'hell'", R"("aGVsbA==")", "pass"},
         {"base64_decode(body) == 'hel'", R"("aGVs")", "pass"},
         {"base64_decode(body) == ''", R"("")", "pass"},
         {"base64_decode(body.x) == nil and base64_encode(body.x) == nil", "{}", "pass"},
         {"base64_decode(body) == ''", R"("aGVs=")", "base64_decode: the text is not Base64"},
         {"base64_decode(body) == ''", R"("a===")", "base64_decode: the text is not Base64"},
         {"base64_encode(body) == 'aGVsbG8='", R"("hello")", "pass"}});
}

TEST(Language, WhatThereIsOfLua) {
  Check({{"string.sub(body, 2, 3) == 'bc'", R"("abcd")", "pass"},
         {"string.byte(body) == 97 and string.char(97, 98) == 'ab'", R"("abcd")", "pass"},
         {"string.format('%s-%d-%.1f', body, 5, 2.5) == 'abcd-5-2.5'", R"("abcd")", "pass"},
         {"string.rep(body, 3) == 'ababab' and string.rep(body, 2, ',') == 'ab,ab'", R"("ab")",
          "pass"},
         {"string.rep(body, 0) == '' and string.rep(body, -1) == ''", R"("ab")", "pass"},
         {"string.reverse(body) == 'ba' and string.len(body) == 2", R"("ab")", "pass"},
         {"string.lower(body) == 'ab' and string.upper(body) == 'AB'", R"("aB")", "pass"},
         {"math.floor(body) == 2 and math.max(1, body) == 2.5 and math.pi > 3", "2.5", "pass"},
         {"body % 2 == 0 and body // 3 == 1 and body & 1 == 0", "4", "pass"},
         {"#body == 2 and body .. 'x' == 'abx' and not (body < 'a')", R"("ab")", "pass"},
         {"string.format('%s', body) == ''", "{}",
          "bad argument #2 to 'format' (tables and functions have no text)"},
         {"string.format('%-5p', body) == ''", R"("x")",
          "bad argument #1 to 'format' (there is no %p here)"}});
}

}  // namespace
}  // namespace penstock::filter
