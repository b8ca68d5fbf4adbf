#include "import/toml_text.h"

#include <algorithm>
#include <cstdio>

namespace penstock::import_argo {
namespace {

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

std::string Basic(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsControl(c)) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", static_cast<unsigned char>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

std::string TomlString(std::string_view text) {
  const bool lines = text.find('\n') != text.npos;
  const bool plain =
      std::ranges::none_of(text, [](char c) { return IsControl(c) && c != '\n' && c != '\t'; });
  // A parser may take up to two quotes before the end for its own.
  const bool quotes = text.find("'''") != text.npos || text.ends_with('\'');
  if (lines && plain && !quotes) return "'''\n" + std::string(text) + "'''";
  const bool escapes = text.find_first_of("\"\\") != text.npos;
  if (!lines && plain && escapes && text.find('\'') == text.npos)
    return "'" + std::string(text) + "'";
  return Basic(text);
}

std::string TomlKey(std::string_view text) {
  const bool bare = !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-';
  });
  return bare ? std::string(text) : Basic(text);
}

std::string TomlComment(std::string_view text) {
  std::string out;
  while (true) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string line(text.substr(0, end));
    std::ranges::replace_if(
        line, [](char c) { return IsControl(c) && c != '\t'; }, '?');
    out += line.empty() ? "#\n" : "# " + line + "\n";
    if (end == text.size()) return out;
    text.remove_prefix(end + 1);
  }
}

}  // namespace penstock::import_argo
