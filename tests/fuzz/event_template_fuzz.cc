// Whatever the text, parsing gives a template or an error with a column inside it; what needs
// nothing of an event renders the same for every event.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "event/template.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace event = penstock::event;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const penstock::Result<event::Template> parsed = event::Template::Parse(text);
  if (!parsed) {
    Require(parsed.error().code == penstock::Code::kConfig);
    Require(parsed.error().message.rfind("column ", 0) == 0);
    const size_t column = std::strtoul(parsed.error().message.c_str() + 7, nullptr, 10);
    Require(column >= 1 && column <= size);
    return 0;
  }
  Require(parsed->text() == text);
  static const event::SourceInfo source = {"t", "es", "ev", "generic", {{"a", "1"}, {"b", "2"}}};
  const penstock_kv attribute = {{"a", 1}, {"value", 5}};
  event::Event plain, own;
  own.subject = "subject";
  own.type = "type";
  own.attributes = {&attribute, 1};
  event::Arena arena;
  const std::string_view one = parsed->Render({&source, &plain, "bus", "1"}, arena);
  const std::string_view two = parsed->Render({&source, &own, "bus", "2"}, arena);
  if (parsed->needs() == 0) Require(one == two);
  if (parsed->constant() != nullptr) Require(one == *parsed->constant());
  return 0;
}
