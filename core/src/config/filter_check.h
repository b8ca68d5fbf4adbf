// Private to this folder.
#pragma once

#include <optional>
#include <string>

#include "config/node.h"

namespace penstock::config {

struct FilterFault {
  Place where;  // of the faulty part where the file shows it, else of the value
  std::string text;
};

// Whether the text that the node holds is an expression that filters.
std::optional<FilterFault> CheckFilter(const Node& node);

}  // namespace penstock::config
