// Reads the host's own keys of one table into fields, and tells what is wrong. Private to this
// folder.
#pragma once

#include <chrono>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/node.h"
#include "config/text.h"
#include "config/values.h"

namespace penstock::config {

class TableReader {
 public:
  // node: nullptr or no table means that nothing is set; no table is a finding. path: for the
  // texts, "" is the top.
  TableReader(const Node* node, std::string path, Findings* findings);

  // The value as it stands; nullptr when it is not set. Every reading of a key also makes it known.
  const Node* Find(std::string_view key);
  TableReader Table(std::string_view key);

  // Each leaves *out alone when the key is not set or wrong. Bounds are inclusive.
  void Name(std::string_view key, std::string* out);  // not empty, bounded, no control characters
  void Integer(std::string_view key, uint64_t least, uint64_t most, uint64_t* out);
  void Duration(std::string_view key, std::chrono::nanoseconds least, std::chrono::nanoseconds most,
                std::chrono::nanoseconds* out);
  void Size(std::string_view key, uint64_t least, uint64_t most, uint64_t* out);
  std::vector<const Node*> Strings(std::string_view key);
  template <typename E, size_t N>
  void Choice(std::string_view key, const std::pair<std::string_view, E> (&choices)[N], E* out) {
    std::vector<std::string_view> names;
    for (const auto& choice : choices) names.push_back(choice.first);
    const size_t chosen = ChooseName(key, names);
    if (chosen < N) *out = choices[chosen].second;
  }

  // The index of the name that is written; names.size() when it is not set or none of them.
  size_t ChooseName(std::string_view key, std::span<const std::string_view> names);

  // Call last: a finding for each key that nobody asked for.
  void RefuseUnknown();

  void Error(const Node& at, std::string_view key, std::string_view text);
  std::string PathOf(std::string_view key) const;  // "": of the table itself
  const Node* node() const { return node_; }

 private:
  const Node* node_;
  std::string path_;
  Findings* findings_;
  std::vector<std::string_view> known_;
};

// The entries of a table of free keys; dotted keys, which TOML takes for nested tables, are joined
// again. Values that are no strings, numbers or booleans are findings.
std::vector<Entry> ReadEntries(const Node& table, const std::string& path, Findings* findings);

// Names of sources and sinks.
bool IsInstanceName(std::string_view name);

}  // namespace penstock::config
