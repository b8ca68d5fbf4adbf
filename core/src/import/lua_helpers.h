// Lua functions that a translated filter brings along where the filter language has none that does
// the same as expr. Private to this folder.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace penstock::import_argo {

// The name of a helper, as it is called in Lua.
using Helpers = std::set<std::string>;

// The expression with the helpers that it uses in front, as one Lua expression again; without any,
// as it is.
std::string WithHelpers(const Helpers& used, const std::string& expression);

}  // namespace penstock::import_argo
