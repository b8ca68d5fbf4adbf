// JSON as text: checked, compacted and escaped without ever being parsed into values, so that every
// digit, key order and repeated key survives. The rules are those of Go's encoding/json, because
// format argo has to agree with it byte for byte.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace penstock::event {

// Nesting deeper than this is refused, as Go does.
inline constexpr size_t kMaxJsonDepth = 10000;

struct JsonScan {
  enum class Fault { kNone, kEnd, kByte, kDepth };
  Fault fault = Fault::kNone;
  // Of the first byte that cannot be; the size of the text when it ends too early.
  size_t fault_offset = 0;
  // What CompactJson() writes.
  size_t compact_size = 0;
  // Whether the text is compact already.
  bool is_compact = true;
  // Whether any strict parser takes the text: it is UTF-8 and has no lone surrogate in its escapes.
  bool is_interoperable = true;
  bool ok() const { return fault == Fault::kNone; }
};

// Whether text is one JSON value. Does not recurse and allocates nothing.
JsonScan ScanJson(std::string_view text);

// "unexpected byte 0x6e at byte offset 3". For a scan that is not ok.
std::string JsonFaultText(const JsonScan& scan, std::string_view text);

// Writes a value that ScanJson() accepts without its white space, and with < > & U+2028 U+2029
// escaped. Returns the end of what it wrote: compact_size bytes.
char* CompactJson(std::string_view valid, char* out);

// How a string's characters are escaped inside JSON. All replace what is not UTF-8 by \ufffd.
enum class JsonEscapes {
  kPlain,      // what JSON demands; \u0008 and \u000c in full
  kPlainHtml,  // < > & U+2028 U+2029 as well
  kHtml,       // the same as Go's encoding/json does it: \b and \f short
};

// The most that WriteJsonString() makes of text, without quotes.
constexpr size_t MaxJsonStringSize(size_t size) { return 6 * size; }

// Writes the inside of a JSON string, without quotes. Returns the end.
char* WriteJsonString(std::string_view text, JsonEscapes escapes, char* out);

// What a JSON string stands for: inside is what is between its quotes, of text that ScanJson()
// accepts. What is not UTF-8, and a lone surrogate, becomes U+FFFD, as Go's encoding/json does it.
// Writes at most MaxDecodedJsonSize() bytes and returns their end.
char* DecodeJsonString(std::string_view inside, char* out);
constexpr size_t MaxDecodedJsonSize(size_t size) { return 3 * size; }

// Appends text as a JSON string, with quotes.
void AppendJsonString(std::string_view text, JsonEscapes escapes, std::string* out);

}  // namespace penstock::event
