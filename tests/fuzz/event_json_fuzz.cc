// Whatever the bytes, the scanner ends inside them; what it accepts compacts to something that it
// accepts again and that is compact; what strict parsers take stays so.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "event/base64.h"
#include "event/json.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

std::string Compact(std::string_view text, const penstock::event::JsonScan& scan) {
  std::string out(scan.compact_size, '\0');
  Require(penstock::event::CompactJson(text, out.data()) == out.data() + out.size());
  return out;
}

void CheckString(std::string_view text, penstock::event::JsonEscapes escapes) {
  std::string out;
  penstock::event::AppendJsonString(text, escapes, &out);
  const penstock::event::JsonScan scan = penstock::event::ScanJson(out);
  Require(scan.ok() && scan.is_interoperable);
  Require(escapes == penstock::event::JsonEscapes::kPlain || scan.is_compact);
}

void CheckBase64InPlace(std::string_view bytes) {
  const size_t size = penstock::event::Base64Size(bytes.size());
  std::string apart(size, '\0'), in_place(size, '\0');
  penstock::event::EncodeBase64(bytes, apart.data());
  char* tail = in_place.data() + size - bytes.size();
  bytes.copy(tail, bytes.size());
  penstock::event::EncodeBase64({tail, bytes.size()}, in_place.data());
  Require(apart == in_place);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of exact size lets AddressSanitizer see every step beyond the end.
  const std::string text(reinterpret_cast<const char*>(data), size);
  const penstock::event::JsonScan scan = penstock::event::ScanJson(text);
  Require(scan.fault_offset <= size);
  if (scan.ok()) {
    const std::string compact = Compact(text, scan);
    Require(scan.is_compact == (compact == text));
    const penstock::event::JsonScan again = penstock::event::ScanJson(compact);
    Require(again.ok() && again.is_compact);
    Require(again.is_interoperable == scan.is_interoperable);
    Require(Compact(compact, again) == compact);
  } else {
    Require(!penstock::event::JsonFaultText(scan, text).empty());
  }
  CheckString(text, penstock::event::JsonEscapes::kPlain);
  CheckString(text, penstock::event::JsonEscapes::kPlainHtml);
  CheckString(text, penstock::event::JsonEscapes::kHtml);
  CheckBase64InPlace(text);
  return 0;
}
