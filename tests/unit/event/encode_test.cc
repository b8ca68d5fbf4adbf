#include "event/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "unit/event/go_vectors.h"

namespace penstock::event {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

constexpr uint64_t kQueueId = 0x0123456789abcdef;
constexpr uint64_t kOffset = 0x2a;
constexpr char kHostId[] = "0123456789abcdef000000000000002a";
constexpr char kTime[] = "2023-11-14T22:13:20.12Z";

std::string_view View(const penstock_str& s) { return {s.ptr, s.len}; }
penstock_kv Kv(std::string_view key, std::string_view value) {
  return {{key.data(), key.size()}, {value.data(), value.size()}};
}

class EncodeTest : public ::testing::Test {
 protected:
  EncodeTest() {
    source_.name = "table";
    source_.event_source = "es";
    source_.event_name = "ev";
    source_.event_type = "generic";
    event_.time_ns = 1'700'000'000'120'000'000;
  }

  Result<void> TryEncode() {
    message_ = {};
    EncoderSpec spec;
    spec.format = format_;
    spec.sink_name = "bus";
    for (const char* text : templates_) spec.templates.push_back(Template::Parse(text).value());
    for (const auto& [name, text] : headers_) {
      spec.headers.emplace_back(name, Template::Parse(text).value());
    }
    encoder_ = std::make_unique<Encoder>(&source_, std::move(spec));
    return encoder_->Encode(event_, kQueueId, kOffset, arena_, &message_);
  }
  std::string Encode() {
    const Result<void> result = TryEncode();
    if (!result) {
      EXPECT_EQ(result.error().code, Code::kReject);
      return "rejected: " + result.error().message;
    }
    return std::string(View(message_.payload));
  }
  std::string EncodePayload(std::string_view payload, std::string_view content_type) {
    event_.payload = payload;
    event_.content_type = content_type;
    return Encode();
  }
  std::vector<std::pair<std::string, std::string>> Attributes() const {
    std::vector<std::pair<std::string, std::string>> out;
    for (uint32_t i = 0; i < message_.n_attributes; ++i) {
      out.emplace_back(View(message_.attributes[i].key), View(message_.attributes[i].value));
    }
    return out;
  }
  std::vector<std::string> Templates() const {
    std::vector<std::string> out;
    for (size_t i = 0; i < templates_.size(); ++i) out.emplace_back(View(message_.templates[i]));
    return out;
  }

  Format format_ = Format::kCloudEvents;
  SourceInfo source_;
  Event event_;
  std::vector<const char*> templates_;
  std::vector<std::pair<std::string, const char*>> headers_;
  Arena arena_;
  std::unique_ptr<Encoder> encoder_;
  penstock_message message_ = {};
};

TEST(FormatTest, GoesByName) {
  for (const char* name : {"cloudevents", "cloudevents-binary", "argo", "raw"}) {
    EXPECT_EQ(FormatName(ParseFormat(name).value()), name);
  }
  const Result<Format> unknown = ParseFormat("Argo");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::kConfig);
  EXPECT_EQ(unknown.error().message,
            "unknown format \"Argo\"; the formats are cloudevents, cloudevents-binary, argo, raw");
}

TEST(HostIdTest, IsTheQueueThenTheOffset) {
  char id[33] = "################################";
  WriteHostId(0xfedcba9876543210, 0x00000000000000ff, id);
  EXPECT_STREQ(id, "fedcba987654321000000000000000ff");
}

TEST(ExtensionNameTest, FollowsCloudEvents) {
  for (std::string_view name : {"a", "traceparent", "dataschema", "0", "a1"}) {
    EXPECT_TRUE(IsExtensionName(name)) << name;
  }
  for (std::string_view name : {"", "A", "a_b", "a-b", "ä", "id", "time", "data", "specversion",
                                "source", "type", "subject", "datacontenttype", "data_base64"}) {
    EXPECT_FALSE(IsExtensionName(name)) << name;
  }
}

// ---- argo

class ArgoTest : public EncodeTest {
 protected:
  ArgoTest() { format_ = Format::kArgo; }
  std::string Body(std::string_view payload, bool json) {
    const std::string envelope = EncodePayload(payload, json ? "application/json" : "");
    const std::string start = "\"data_base64\":\"";
    const size_t at = envelope.find(start);
    if (at == std::string::npos) return envelope;
    const size_t from = at + start.size();
    return DecodeBase64(envelope.substr(from, envelope.find('"', from) - from));
  }
};

TEST_F(ArgoTest, WritesTheGoldenEnvelope) {
  EXPECT_EQ(EncodePayload("hello", ""), std::string(R"({"specversion":"1.0","id":")") + kHostId +
                                            R"(","source":"es","type":"generic","subject":"ev",)"
                                            R"("datacontenttype":"application/json","time":")" +
                                            kTime +
                                            R"(","data_base64":"eyJib2R5IjoiYUdWc2JHOD0ifQ=="})");
  EXPECT_EQ(View(message_.id), kHostId);
  EXPECT_EQ(View(message_.content_type), "");
  EXPECT_EQ(message_.n_attributes, 0u);
}

TEST_F(ArgoTest, WritesTheGoldenBodies) {
  struct {
    std::string payload, bytes_body, json_body;
  } rows[] = {
      {"hello", "aGVsbG8=", ""},
      {std::string("\0\xff\xfe", 3), "AP/+", ""},
      {"{\"x\": 1,  \"h\":\"<b>&\u2028\"}", "eyJ4IjogMSwgICJoIjoiPGI+JuKAqCJ9",
       R"({"x":1,"h":"\u003cb\u003e\u0026\u2028"})"},
      {R"({"b":1,"a":2,"b":3})", "eyJiIjoxLCJhIjoyLCJiIjozfQ==", R"({"b":1,"a":2,"b":3})"},
      {R"({"a":1e400,"b":12345678901234567890,"c":1.0,"d":-0,"e":1E+2})",
       "eyJhIjoxZTQwMCwiYiI6MTIzNDU2Nzg5MDEyMzQ1Njc4OTAsImMiOjEuMCwiZCI6LTAsImUiOjFFKzJ9",
       R"({"a":1e400,"b":12345678901234567890,"c":1.0,"d":-0,"e":1E+2})"},
      {"\"str\"", "InN0ciI=", "\"str\""},
      {"5", "NQ==", "5"},
      {"null", "bnVsbA==", "null"},
      {" [1 ,\n 2]\n", "IFsxICwKIDJdCg==", "[1,2]"},
      {R"({"a":"\ud800"})", "eyJhIjoiXHVkODAwIn0=", R"({"a":"\ud800"})"},
      {"{\"ä\":\"€😀\"}", "eyLDpCI6IuKCrPCfmIAifQ==", "{\"ä\":\"€😀\"}"},
      {"not json", "bm90IGpzb24=", ""},
  };
  const std::string metadata = R"(,"metadata":{"a":"\u003c1\u003e","b":"2"}})";
  for (bool with_metadata : {false, true}) {
    if (with_metadata) source_.metadata = {{"a", "<1>"}, {"b", "2"}};
    const std::string end = with_metadata ? metadata : "}";
    EXPECT_EQ(Body("", false), "{\"body\":null" + end);
    EXPECT_EQ(Body("", true), "{\"body\":null" + end);
    for (const auto& row : rows) {
      EXPECT_EQ(Body(row.payload, false), "{\"body\":\"" + row.bytes_body + "\"" + end);
      if (row.json_body.empty()) {
        EXPECT_THAT(Body(row.payload, true), HasSubstr("rejected: ")) << row.payload;
      } else {
        EXPECT_EQ(Body(row.payload, true), "{\"body\":" + row.json_body + end);
      }
    }
  }
}

TEST_F(ArgoTest, AgreesWithGoOnEveryVector) {
  for (const GoVector& v : ReadGoVectors("+-")) {
    const std::string payload = DecodeBase64(v.input);
    const std::string body = Body(payload, true);
    if (v.kind == '-') {
      EXPECT_THAT(body, HasSubstr("at byte offset " + v.result + ";")) << payload;
    } else {
      const std::string expected = v.result == "=" ? payload : DecodeBase64(v.result);
      EXPECT_EQ(body, "{\"body\":" + expected + "}");
    }
  }
}

TEST_F(ArgoTest, EncodesPayloadsOfEverySize) {
  for (size_t size = 1; size < 300; ++size) {
    const std::string payload(size, 'x');
    const std::string body = Body(payload, false);
    ASSERT_GT(body.size(), 11u);
    EXPECT_EQ(DecodeBase64(body.substr(9, body.size() - 11)), payload);
    EXPECT_EQ(Body("\"" + payload + "\"", true), "{\"body\":\"" + payload + "\"}");
  }
}

TEST_F(ArgoTest, PutsAttributesBehindTheData) {
  const std::vector<penstock_kv> attributes = {Kv("traceparent", "00-<1>")};
  event_.attributes = attributes;
  source_.metadata = {{"Not an extension", "x"}};
  EXPECT_THAT(EncodePayload("", ""), HasSubstr(R"(","traceparent":"00-\u003c1\u003e"})"));
}

TEST_F(ArgoTest, KeepsTheEventsOwnNames) {
  event_.subject = "own \"<\n";
  event_.type = "mine";
  event_.id = "7";
  EXPECT_THAT(
      EncodePayload("", ""),
      HasSubstr(R"("id":"table:7","source":"es","type":"mine","subject":"own \"\u003c\n",)"));
  EXPECT_EQ(View(message_.id), "table:7");
}

// As Argo itself did with such an event name.
TEST_F(ArgoTest, EscapesTheEnvelopeForHtml) {
  source_.event_name = "<b>&\"ä€/\b\u2028x";
  EXPECT_THAT(EncodePayload("", ""),
              HasSubstr(R"(,"subject":"\u003cb\u003e\u0026\"ä€/\u0008\u2028x",)"));
  source_.event_source = "a&b";
  EXPECT_THAT(EncodePayload("", ""), HasSubstr(R"(,"source":"a\u0026b",)"));
}

TEST_F(ArgoTest, SaysWhyItRejects) {
  EXPECT_EQ(EncodePayload("{\"a\":x}", "application/json"),
            "rejected: the payload is declared application/json but is not JSON: unexpected 'x' at "
            "byte offset 5; declare its true content type, or use a format that keeps payloads as "
            "they are (raw, cloudevents-binary)");
}

// ---- cloudevents

using CloudEventsTest = EncodeTest;

std::string Envelope(const std::string& rest) {
  return std::string(R"({"specversion":"1.0","id":")") + kHostId +
         R"(","source":"es","type":"generic","subject":"ev","time":")" + kTime + "\"," + rest;
}

TEST_F(CloudEventsTest, PutsJsonInAsItIs) {
  EXPECT_EQ(EncodePayload(" {\"a\": 1.0, \"h\":\"<\"} ", "application/json"),
            Envelope(R"("datacontenttype":"application/json","data": {"a": 1.0, "h":"<"} })"));
  EXPECT_EQ(View(message_.content_type), "application/cloudevents+json");
  EXPECT_EQ(View(message_.id), kHostId);
}

TEST_F(CloudEventsTest, PutsOtherBytesInAsBase64) {
  EXPECT_EQ(EncodePayload("{}", ""),
            Envelope(R"("datacontenttype":"application/octet-stream","data_base64":"e30="})"));
  EXPECT_EQ(EncodePayload("a,b", "text/csv; header=\"no\""),
            Envelope(R"("datacontenttype":"text/csv; header=\"no\"","data_base64":"YSxi"})"));
}

TEST_F(CloudEventsTest, LeavesOutEmptyData) {
  EXPECT_EQ(EncodePayload("", ""), Envelope(R"("datacontenttype":"application/octet-stream"})"));
  EXPECT_EQ(EncodePayload("", "application/json"),
            Envelope(R"("datacontenttype":"application/json"})"));
}

TEST_F(CloudEventsTest, KnowsJsonByItsTypeAlone) {
  for (const char* type : {"application/json", "Application/JSON ; charset=utf-8", "text/json",
                           "application/vnd.x+json", "application/x+JSON;v=1"}) {
    EXPECT_THAT(EncodePayload("1", type), HasSubstr("\"data\":1}")) << type;
  }
  for (const char* type : {"json", "application/jsonl", "application/json-seq", "text/plain",
                           "application/xjson", "a/b;t=application/json", "+json"}) {
    EXPECT_THAT(EncodePayload("1", type), HasSubstr("\"data_base64\":\"MQ==\"}")) << type;
  }
}

TEST_F(CloudEventsTest, NeverLetsAPayloadBreakTheEnvelope) {
  EXPECT_THAT(EncodePayload("1,\"id\":\"forged\"", "application/json"), HasSubstr("rejected: "));
  EXPECT_THAT(EncodePayload("1}", "application/json"), HasSubstr("rejected: "));
  EXPECT_THAT(EncodePayload("not json", "application/json"),
              HasSubstr("unexpected 'o' at byte offset 1"));
  EXPECT_EQ(EncodePayload("\"\xff\"", "application/json"),
            Envelope(R"("datacontenttype":"application/json","data_base64":"Iv8i"})"));
  EXPECT_THAT(EncodePayload(R"("\ud800")", "application/json"), HasSubstr("\"data_base64\":"));
}

TEST_F(CloudEventsTest, MakesExtensionsOfMetadataAndAttributes) {
  source_.metadata = {{"id", "taken"}, {"region", "eu\"1"}, {"zone", "b"}};
  EXPECT_THAT(EncodePayload("", ""), HasSubstr(R"(-stream","region":"eu\"1","zone":"b"})"));
  const std::vector<penstock_kv> attributes = {Kv("trace", "old"), Kv("region", "own"),
                                               Kv("trace", "new")};
  event_.attributes = attributes;
  EXPECT_THAT(EncodePayload("", ""),
              HasSubstr(R"(-stream","zone":"b","region":"own","trace":"new"})"));
}

TEST_F(CloudEventsTest, RejectsAttributesThatCloudEventsForbids) {
  for (const char* name : {"id", "a_b", "Trace", ""}) {
    const std::vector<penstock_kv> attributes = {Kv("fine", "x"), Kv(name, "x")};
    event_.attributes = attributes;
    for (Format format : {Format::kCloudEvents, Format::kCloudEventsBinary, Format::kArgo}) {
      format_ = format;
      EXPECT_THAT(Encode(), HasSubstr("rejected: the event's attribute \"" + std::string(name) +
                                      "\" cannot be a CloudEvents extension"));
    }
    format_ = Format::kRaw;
    EXPECT_EQ(Encode(), "");
  }
  const std::vector<penstock_kv> many(kMaxAttributes + 1, Kv("a", "x"));
  event_.attributes = many;
  format_ = Format::kCloudEvents;
  EXPECT_THAT(Encode(), HasSubstr("65 attributes, more than 64"));
}

TEST_F(CloudEventsTest, RejectsAnIdThatIsTooLong) {
  const std::string longest(PENSTOCK_EVENT_ID_MAX, 'i');
  event_.id = longest;
  for (Format format :
       {Format::kCloudEvents, Format::kCloudEventsBinary, Format::kArgo, Format::kRaw}) {
    format_ = format;
    event_.id = longest;
    EXPECT_THAT(Encode(), Not(HasSubstr("rejected")));
    const std::string longer = longest + "i";
    event_.id = longer;
    EXPECT_THAT(Encode(), HasSubstr("rejected: the source gave the event an id of 129 bytes"));
  }
}

TEST_F(CloudEventsTest, EscapesWhatTheEventBrings) {
  const std::string all = "\"\\\x01\xff<ä";
  const std::string escaped = R"(\"\\\u0001\ufffd<ä)";
  event_.subject = event_.type = event_.id = all;
  const std::vector<penstock_kv> attributes = {Kv("x", all)};
  event_.attributes = attributes;
  EXPECT_EQ(EncodePayload("", all),
            R"({"specversion":"1.0","id":"table:)" + escaped + R"(","source":"es","type":")" +
                escaped + R"(","subject":")" + escaped + R"(","time":")" + kTime +
                R"(","datacontenttype":")" + escaped + R"(","x":")" + escaped + "\"}");
}

TEST_F(CloudEventsTest, HasRoomForWhatEscapesMost) {
  const std::string worst(5000, '\x01');
  source_.event_source = source_.metadata.emplace_back("m", worst).second;
  event_.subject = event_.type = worst;
  event_.id = std::string_view(worst).substr(0, PENSTOCK_EVENT_ID_MAX);
  const std::vector<penstock_kv> attributes = {Kv("x", worst), Kv("y", worst)};
  for (bool plain : {false, true}) {
    event_.attributes = plain ? std::span<const penstock_kv>() : attributes;
    for (Format format : {Format::kCloudEvents, Format::kArgo}) {
      format_ = format;
      const std::string out = EncodePayload(worst, worst);
      EXPECT_GT(out.size(), 6 * worst.size() * 4);
      EXPECT_EQ(out.back(), '}');
    }
  }
}

// ---- cloudevents-binary and raw

TEST_F(EncodeTest, BinaryCloudEventsLeaveThePayloadWhereItIs) {
  format_ = Format::kCloudEventsBinary;
  const std::string payload = "not json";
  EncodePayload(payload, "application/json");
  EXPECT_EQ(message_.payload.ptr, payload.data());
  EXPECT_EQ(message_.payload.len, payload.size());
  EXPECT_EQ(View(message_.content_type), "application/json");
  EXPECT_THAT(Attributes(),
              ElementsAre(Pair("specversion", "1.0"), Pair("id", kHostId), Pair("source", "es"),
                          Pair("type", "generic"), Pair("subject", "ev"), Pair("time", kTime)));
}

TEST_F(EncodeTest, BinaryCloudEventsCarryExtensions) {
  format_ = Format::kCloudEventsBinary;
  source_.metadata = {{"Bad", "x"}, {"region", "eu"}, {"zone", "b"}};
  const std::vector<penstock_kv> attributes = {Kv("zone", "own"), Kv("trace", "t")};
  event_.attributes = attributes;
  event_.subject = "own";
  event_.type = "mine";
  event_.id = "7";
  EncodePayload("", "");
  EXPECT_EQ(View(message_.content_type), "application/octet-stream");
  EXPECT_THAT(Attributes(),
              ElementsAre(Pair("specversion", "1.0"), Pair("id", "table:7"), Pair("source", "es"),
                          Pair("type", "mine"), Pair("subject", "own"), Pair("time", kTime),
                          Pair("region", "eu"), Pair("zone", "own"), Pair("trace", "t")));
}

TEST_F(EncodeTest, RawLeavesThePayloadWhereItIsAndDeclaresNothing) {
  format_ = Format::kRaw;
  const std::string payload = "\xff";
  EncodePayload(payload, "");
  EXPECT_EQ(message_.payload.ptr, payload.data());
  EXPECT_EQ(View(message_.content_type), "");
  EXPECT_EQ(View(message_.id), kHostId);
  EXPECT_EQ(message_.n_attributes, 0u);
  EncodePayload(payload, "text/plain");
  EXPECT_EQ(View(message_.content_type), "text/plain");
}

// ---- templates and headers

TEST_F(EncodeTest, RendersTemplatesInTheirOrder) {
  format_ = Format::kRaw;
  templates_ = {"default.{source}.{subject}", "constant", "{id}-{sink}"};
  Encode();
  EXPECT_THAT(Templates(), ElementsAre("default.es.ev", "constant", std::string(kHostId) + "-bus"));
  event_.subject = "own";
  event_.id = "7";
  Encode();
  EXPECT_THAT(Templates(), ElementsAre("default.es.own", "constant", "table:7-bus"));
}

TEST_F(EncodeTest, RendersTheRoutesHeaders) {
  format_ = Format::kRaw;
  headers_ = {{"x-fixed", "{source}/{table}"}, {"x-subject", "{subject}"}};
  Encode();
  ASSERT_EQ(message_.n_headers, 2u);
  EXPECT_EQ(View(message_.headers[0].key), "x-fixed");
  EXPECT_EQ(View(message_.headers[0].value), "es/table");
  EXPECT_EQ(View(message_.headers[1].value), "ev");
  event_.subject = "own";
  Encode();
  EXPECT_EQ(View(message_.headers[0].value), "es/table");
  EXPECT_EQ(View(message_.headers[1].key), "x-subject");
  EXPECT_EQ(View(message_.headers[1].value), "own");
}

TEST_F(EncodeTest, MakesNothingButTheIdWhereAllElseIsTheSame) {
  format_ = Format::kRaw;
  templates_ = {"default.{source}.{subject}", "{metadata.region}"};
  headers_ = {{"x", "{type}"}};
  EncodePayload("payload", "application/json");
  EXPECT_EQ(arena_.used(), 32u);
}

TEST_F(EncodeTest, KeepsWhatMessagesPointToWhenItMoves) {
  format_ = Format::kRaw;
  templates_ = {"t"};
  headers_ = {{"h", "v"}};
  Encode();
  Encoder moved = std::move(*encoder_);
  encoder_.reset();
  EXPECT_EQ(View(message_.templates[0]), "t");
  EXPECT_EQ(View(message_.headers[0].key), "h");
  EXPECT_EQ(View(message_.headers[0].value), "v");
}

}  // namespace
}  // namespace penstock::event
