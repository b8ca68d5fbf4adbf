// Private to this folder.
#pragma once

#include <optional>
#include <string_view>

#include "config/node.h"

namespace penstock::config {

struct TemplateFault {
  Place where;  // of the faulty character where the file shows it, else of the value
  std::string text;
};

// Whether text, which the node holds, is a template that can be rendered.
std::optional<TemplateFault> CheckTemplate(const Node& node, std::string_view text);

}  // namespace penstock::config
