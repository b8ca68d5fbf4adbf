// Text to tree. Private to this folder; toml_reader.cc alone knows the TOML library.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "config/node.h"
#include "platform/result.h"

namespace penstock::config {

struct ParseFault {
  Place where;
  std::string text;
};

// The tree of one file. Stops at the first fault. Never throws, whatever the bytes are.
tl::expected<Node, ParseFault> ParseToml(std::string_view text,
                                         const std::shared_ptr<const std::string>& file);

// What the TOML library must not be given, since it would recurse without bound, or says poorly:
// bytes that are not UTF-8, NUL, deep nesting. prescan.cc.
struct ScanFault {
  uint32_t line = 0, column = 0;
  std::string text;
};
bool Prescan(std::string_view text, ScanFault* fault);

}  // namespace penstock::config
