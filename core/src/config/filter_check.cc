#include "config/filter_check.h"

#include "config/text.h"
#include "filter/filter.h"

namespace penstock::config {

std::optional<FilterFault> CheckFilter(const Node& node) {
  const auto compiled = filter::Filter::Compile(node.text);
  if (compiled) return std::nullopt;
  const filter::Fault& fault = compiled.error();
  FilterFault out{node.where, fault.text};
  if (!fault.unknown.empty()) out.text += DidYouMean(fault.unknown, filter::KnownNames());
  if (node.verbatim) {
    out.where.column +=
        fault.column;  // one more for the opening quote, one less as both count from 1
  } else if (node.first_line > 0) {
    out.where.line = node.first_line + fault.line - 1;
    out.where.column = fault.column;
  } else {
    out.text = Cat("line ", std::to_string(fault.line), ", column ", std::to_string(fault.column),
                   " of the expression: ", out.text);
  }
  return out;
}

}  // namespace penstock::config
