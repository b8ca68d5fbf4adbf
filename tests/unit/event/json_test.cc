#include "event/json.h"

#include <gtest/gtest.h>

#include <string>

#include "unit/event/go_vectors.h"

namespace penstock::event {
namespace {

std::string Compact(std::string_view valid, const JsonScan& scan) {
  std::string out(scan.compact_size, '#');
  EXPECT_EQ(CompactJson(valid, out.data()), out.data() + out.size());
  return out;
}

bool IsInteroperable(std::string_view text) {
  const JsonScan scan = ScanJson(text);
  EXPECT_TRUE(scan.ok()) << text;
  return scan.is_interoperable;
}

std::string Fault(std::string_view text) { return JsonFaultText(ScanJson(text), text); }

TEST(JsonTest, AcceptsAndCompactsWhatGoAccepts) {
  for (const GoVector& v : ReadGoVectors("+")) {
    const std::string text = DecodeBase64(v.input);
    const JsonScan scan = ScanJson(text);
    ASSERT_TRUE(scan.ok()) << text;
    const std::string expected = v.result == "=" ? text : DecodeBase64(v.result);
    EXPECT_EQ(Compact(text, scan), expected);
    EXPECT_EQ(scan.is_compact, expected == text) << text;
  }
}

TEST(JsonTest, RefusesWhatGoRefusesAtTheSameByte) {
  for (const GoVector& v : ReadGoVectors("-")) {
    const std::string text = DecodeBase64(v.input);
    const JsonScan scan = ScanJson(text);
    EXPECT_FALSE(scan.ok()) << text;
    EXPECT_EQ(std::to_string(scan.fault_offset), v.result) << text;
  }
}

TEST(JsonTest, EscapesStringsAsGoDoes) {
  for (const GoVector& v : ReadGoVectors("s")) {
    std::string out;
    AppendJsonString(DecodeBase64(v.input).substr(1), JsonEscapes::kHtml, &out);
    EXPECT_EQ(out, DecodeBase64(v.result));
  }
}

TEST(JsonTest, EscapesOnlyWhatJsonDemandsInPlainStrings) {
  std::string out;
  AppendJsonString("<>&\"\\\n\r\t\b\f\x1f\x7f/\u2028ä\xff", JsonEscapes::kPlain, &out);
  EXPECT_EQ(out, "\"<>&\\\"\\\\\\n\\r\\t\\u0008\\u000c\\u001f\x7f/\u2028ä\\ufffd\"");
}

TEST(JsonTest, EscapesForHtmlInPlainStrings) {
  std::string out;
  AppendJsonString("<>&\"\\\n\b\f/\u2028\u2029ä\xff", JsonEscapes::kPlainHtml, &out);
  EXPECT_EQ(out, R"("\u003c\u003e\u0026\"\\\n\u0008\u000c/\u2028\u2029)"
                 "ä\\ufffd\"");
}

TEST(JsonTest, SaysWhereAndWhat) {
  EXPECT_EQ(Fault("{\"a\":1"), "unexpected end at byte offset 6");
  EXPECT_EQ(Fault("not json"), "unexpected 'o' at byte offset 1");
  EXPECT_EQ(Fault(std::string("\"a\0b\"", 5)), "unexpected byte 0x00 at byte offset 2");
  EXPECT_EQ(Fault("\xff"), "unexpected byte 0xff at byte offset 0");
}

TEST(JsonTest, BoundsNestingAsGoDoes) {
  for (std::string open : {"[", "{\"a\":"}) {
    const std::string close = open == "[" ? "]" : "}";
    std::string deep = "0";
    for (size_t i = 0; i < kMaxJsonDepth; ++i) deep = open + deep;
    for (size_t i = 0; i < kMaxJsonDepth; ++i) deep += close;
    const JsonScan scan = ScanJson(deep);
    ASSERT_TRUE(scan.ok());
    EXPECT_EQ(Compact(deep, scan), deep);
    const JsonScan deeper = ScanJson("[" + deep + "]");
    EXPECT_EQ(deeper.fault, JsonScan::Fault::kDepth);
    EXPECT_EQ(deeper.fault_offset, 1 + open.size() * (kMaxJsonDepth - 1));
  }
}

TEST(JsonTest, KnowsBracketsOfEveryDepthApart) {
  std::string open, close;
  for (size_t i = 0; i < 1000; ++i) {
    const bool object = i * i % 7 < 3;
    open += object ? "{\"k\":" : "[";
    close.insert(0, object ? "}" : "]");
  }
  EXPECT_TRUE(ScanJson(open + "1" + close).ok());
  for (size_t i = 0; i < close.size(); ++i) {
    std::string wrong = close;
    wrong[i] = wrong[i] == '}' ? ']' : '}';
    EXPECT_EQ(ScanJson(open + "1" + wrong).fault_offset, open.size() + 1 + i);
  }
}

TEST(JsonTest, FindsSpecialBytesAtEveryPlaceOfAString) {
  for (size_t size = 1; size < 70; ++size) {
    for (size_t at = 0; at < size; ++at) {
      std::string text = '"' + std::string(size, 'x') + '"';
      text[1 + at] = '\n';
      EXPECT_EQ(ScanJson(text).fault_offset, 1 + at);
      text[1 + at] = '&';
      EXPECT_EQ(ScanJson(text).compact_size, text.size() + 5);
      text[1 + at] = '\xff';
      EXPECT_FALSE(IsInteroperable(text));
    }
  }
}

TEST(JsonTest, KnowsWhatStrictParsersRefuse) {
  EXPECT_TRUE(IsInteroperable("{\"ä\":\"€😀\\ud83d\\ude00\\u00e4\"}"));
  EXPECT_FALSE(IsInteroperable(R"("\ud800")"));
  EXPECT_FALSE(IsInteroperable(R"("\udc00")"));
  EXPECT_FALSE(IsInteroperable(R"("\ud800\u0041")"));
  EXPECT_FALSE(IsInteroperable(R"("\ud800\n")"));
  EXPECT_FALSE(IsInteroperable("\"\xc3\""));
  EXPECT_FALSE(IsInteroperable("\"\xed\xa0\x80\""));
  EXPECT_FALSE(IsInteroperable("\"\xc0\x80\""));
  EXPECT_FALSE(IsInteroperable("\"\xf4\x90\x80\x80\""));
  EXPECT_FALSE(IsInteroperable("\"\xe0\x80\x80\""));
}

}  // namespace
}  // namespace penstock::event
