// A plugin's option table, copied and judged: it may come from a stranger. Private to this folder.
#pragma once

#include <penstock/plugin.h>

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"

namespace penstock::config {

struct OptionSpec {
  std::string name;
  int32_t type = 0;
  bool required = false;
  std::optional<Node> default_value;
  std::vector<std::string> choices;
  bool bounded = false;
  int64_t min = 0, max = 0;
  std::string help;
};

struct OptionTable {
  std::vector<OptionSpec> options;            // without those at fault, in the plugin's order
  std::set<std::string, std::less<>> groups;  // "tls" for "tls.ca_file"
  std::vector<std::string> faults;            // sentences: `option "x" has ...`

  const OptionSpec* Find(std::string_view name) const;
};

OptionTable ReadOptionTable(const penstock_plugin& plugin);

// The plugin's id for texts, whatever the entry holds.
std::string PluginId(const penstock_plugin& plugin);

}  // namespace penstock::config
