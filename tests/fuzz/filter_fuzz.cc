// Whatever the expression and whatever the event, compiling gives a filter or a fault with a place
// inside of the expression, and an evaluation ends within its bounds, twice with the same verdict.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "filter/filter.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

// The first line is the event's body, the rest is the expression.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace event = penstock::event;
  namespace filter = penstock::filter;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view body = text.substr(0, text.find('\n'));
  const std::string_view expression = text.substr(std::min(body.size() + 1, size));
  filter::Limits limits;
  limits.steps = 20'000;
  limits.bytes = 4 << 20;
  const auto compiled = filter::Filter::Compile(expression, limits);
  if (!compiled) {
    const filter::Fault& fault = compiled.error();
    Require(!fault.text.empty() && fault.line >= 1 && fault.column >= 1);
    Require(fault.column <= expression.size() + 1);
    return 0;
  }
  static const event::SourceInfo source = {"t", "es", "ev", "generic", {{"a", "1"}, {"b", "2"}}};
  const penstock_kv attribute = {{"a", 1}, {"value", 5}};
  event::Event one;
  one.payload = body;
  one.content_type = "application/json";
  one.attributes = {&attribute, 1};
  one.time_ns = 1'700'000'000'123'456'789;
  const filter::Verdict verdict = (*compiled)->Evaluate({one, source, 1, 2});
  const std::string error = (*compiled)->error();
  Require(error.size() <= 1024 && error.find('\n') == error.npos);
  Require((*compiled)->memory_used() <= limits.bytes);
  Require((*compiled)->Evaluate({one, source, 1, 2}) == verdict);
  return 0;
}
