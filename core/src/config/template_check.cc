#include "config/template_check.h"

#include <charconv>

#include "event/template.h"

namespace penstock::config {

std::optional<TemplateFault> CheckTemplate(const Node& node, std::string_view text) {
  const auto parsed = event::Template::Parse(text);
  if (parsed) return std::nullopt;
  TemplateFault fault{node.where, parsed.error().message};
  constexpr std::string_view kColumn = "column ";
  if (!node.verbatim || !fault.text.starts_with(kColumn)) return fault;
  uint32_t column = 0;
  const char* const end = fault.text.data() + fault.text.size();
  const char* const number = fault.text.data() + kColumn.size();
  const auto [rest, error] = std::from_chars(number, end, column);
  if (error != std::errc() || !std::string_view(rest, end).starts_with(": ")) return fault;
  fault.where.column += column;  // one more for the opening quote, one less as both count from 1
  fault.text.erase(0, static_cast<size_t>(rest + 2 - fault.text.data()));
  return fault;
}

}  // namespace penstock::config
