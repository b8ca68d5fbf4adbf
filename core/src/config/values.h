// One value of the tree as a typed one. The error says what was expected and found, not where.
// Private to this folder.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/node.h"
#include "platform/result.h"

namespace penstock::config {

Result<std::string_view> AsString(const Node& node);
Result<int64_t> AsInteger(const Node& node);
Result<double> AsFloat(const Node& node);  // an integer too
Result<bool> AsBool(const Node& node);
Result<int64_t> AsDuration(const Node& node);
Result<int64_t> AsSize(const Node& node);  // an integer is bytes
// "expected a string, found an integer"
std::string Expected(std::string_view what, const Node& found);

// An entry of a table of free keys.
struct Entry {
  std::string key;
  const Node* node;
  std::string text;  // the value; numbers and booleans as text
};

}  // namespace penstock::config
