// Strings in TOML. Private to this folder.
#pragma once

#include <string>
#include <string_view>

namespace penstock::import_argo {

// The string, which is UTF-8, as a value: literal where that reads better and gives the same bytes,
// of several lines where it has several, else basic with escapes.
std::string TomlString(std::string_view text);

// The same as a key: bare where that is possible.
std::string TomlKey(std::string_view text);

// The text as comment lines, each with "# " in front; a control character, which may not stand
// there, as "?".
std::string TomlComment(std::string_view text);

}  // namespace penstock::import_argo
