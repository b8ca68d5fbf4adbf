// YAML text to trees of bounded size. Private to this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.h"
#include "platform/result.h"

namespace penstock::import_argo {

struct Place {
  uint32_t line = 0, column = 0;  // from 1
};

// The type that kubectl gives a value: YAML 1.1, where yes and on are true.
enum class Kind { kNull, kBool, kNumber, kString, kList, kMap };
std::string_view KindName(Kind kind);  // "a list"

struct Member;

struct Node {
  Kind kind = Kind::kNull;
  Place place;
  std::string text;  // of a scalar, as written; of a bool "true" or "false"
  std::vector<Node> items;
  std::vector<Member> members;  // in the file's order, no key twice

  const Node* Find(std::string_view key) const;  // nullptr: no such member, or not a map
};

struct Member {
  std::string key;
  Place place;  // the key's
  Node value;
};

// The documents of one file. Aliases are copied and merge keys (<<) merged, within a bound of nodes
// and bytes for the whole file. Any fault, as bad YAML, a key twice in one map, a key that is not a
// scalar, what is not UTF-8, a file beyond the bounds, is the one Finding. Never throws.
tl::expected<std::vector<Node>, config::Finding> ReadYaml(const std::string& file,
                                                          const std::string& text);

}  // namespace penstock::import_argo
