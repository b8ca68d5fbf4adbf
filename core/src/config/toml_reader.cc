// The one file that includes the TOML library; its compile flags stand in CMakeLists.txt.
#include "config/toml_reader.h"

#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "config/text.h"

namespace penstock::config {
namespace {

using File = std::shared_ptr<const std::string>;

Place PlaceOf(const toml::source_region& region, const File& file) {
  return {file, region.begin.line, region.begin.column};
}

size_t CountCharacters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
  }));
}

Node::Kind KindOf(toml::node_type type) {
  switch (type) {
    case toml::node_type::table:
      return Node::Kind::kTable;
    case toml::node_type::array:
      return Node::Kind::kList;
    case toml::node_type::string:
      return Node::Kind::kString;
    case toml::node_type::integer:
      return Node::Kind::kInteger;
    case toml::node_type::floating_point:
      return Node::Kind::kFloat;
    case toml::node_type::boolean:
      return Node::Kind::kBoolean;
    default:
      return Node::Kind::kDateTime;
  }
}

Node Convert(const toml::node& from, const File& file);

void ConvertTable(const toml::table& from, const File& file, Node* to) {
  for (auto&& [key, value] : from) {
    to->members.push_back(
        {std::string(key.str()), PlaceOf(key.source(), file), Convert(value, file)});
  }
  std::sort(to->members.begin(), to->members.end(), [](const Member& a, const Member& b) {
    return std::pair(a.key_where.line, a.key_where.column) <
           std::pair(b.key_where.line, b.key_where.column);
  });
}

Node Convert(const toml::node& from, const File& file) {
  Node to;
  to.kind = KindOf(from.type());
  to.where = PlaceOf(from.source(), file);
  if (const auto* table = from.as_table()) {
    ConvertTable(*table, file, &to);
  } else if (const auto* array = from.as_array()) {
    for (const toml::node& item : *array) to.items.push_back(Convert(item, file));
  } else if (const auto* text = from.as_string()) {
    const toml::source_region& region = from.source();
    to.text = text->get();
    to.verbatim = region.begin.line == region.end.line &&
                  region.end.column - region.begin.column == CountCharacters(to.text) + 2;
    const auto lines = std::count(to.text.begin(), to.text.end(), '\n');
    if (lines > 0 && region.end.line == region.begin.line + lines + 1)
      to.first_line = region.begin.line + 1;
  } else if (const auto* integer = from.as_integer()) {
    to.integer = integer->get();
  } else if (const auto* number = from.as_floating_point()) {
    to.number = number->get();
  } else if (const auto* boolean = from.as_boolean()) {
    to.boolean = boolean->get();
  }
  return to;
}

// The given line, from 1, without its newline; and what is before it.
struct Line {
  std::string_view before, line;
};
Line LineOf(std::string_view text, uint32_t number) {
  size_t start = 0;
  for (uint32_t i = 1; i < number; ++i) {
    const size_t newline = text.find('\n', start);
    if (newline == std::string_view::npos) break;
    start = newline + 1;
  }
  const size_t end = text.find('\n', start);
  return {text.substr(0, start),
          text.substr(start, end == std::string_view::npos ? end : end - start)};
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

// The key that a table header or a line with a key sets, as a tree of one branch.
toml::table KeyOfLine(std::string_view line) {
  std::string text;
  if (Trim(line).starts_with("[")) {
    text = line;
  } else {
    text = Cat(line.substr(0, line.find('=')), "= 0");
  }
  toml::parse_result result = toml::parse(text);
  return result ? std::move(result).table() : toml::table();
}

constexpr std::string_view kProbe = "penstock probe";

// The table that a line added at the end would land in.
const toml::table* FindProbe(const toml::table& table) {
  if (table.contains(kProbe)) return &table;
  for (auto&& [key, value] : table) {
    const toml::node* inner = &value;
    if (const auto* array = inner->as_array(); array && !array->empty()) inner = &array->back();
    if (const auto* inner_table = inner->as_table()) {
      if (const toml::table* found = FindProbe(*inner_table)) return found;
    }
  }
  return nullptr;
}

// The line sets a key for the second time; the library does not say where the first one is.
std::optional<ParseFault> SetTwice(std::string_view text, uint32_t line_number, const File& file) {
  const Line line = LineOf(text, line_number);
  const toml::parse_result before = toml::parse(Cat(line.before, "\n\"", kProbe, "\" = 0\n"));
  const toml::table key = KeyOfLine(line.line);
  if (!before || key.empty()) return std::nullopt;
  const bool header = Trim(line.line).starts_with("[");
  const toml::table* at = header ? &before.table() : FindProbe(before.table());
  const toml::node* branch = &key;
  Place first, second;
  while (at != nullptr && branch->is_table() && !branch->as_table()->empty()) {
    const auto step = branch->as_table()->begin();
    const auto found = at->find(step->first.str());
    if (found == at->end()) break;
    first = PlaceOf(found->first.source(), file);
    second = PlaceOf(step->first.source(), file);
    branch = &step->second;
    at = found->second.as_table();
  }
  if (first.line == 0) return std::nullopt;
  second.line = line_number;
  return ParseFault{
      second, Cat("set twice in this file, first in line ", std::to_string(first.line), ", column ",
                  std::to_string(first.column), ": remove one of the two")};
}

// The byte at which the character of that column, from 1, starts.
size_t ByteOf(std::string_view line, uint32_t column) {
  size_t at = 0;
  for (uint32_t i = 1; i < column && at < line.size(); ++i) {
    ++at;
    while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xC0u) == 0x80u) ++at;
  }
  return at;
}

// `level = info`, `timeout = 10s`: text without its quotes, by far the commonest fault, and one for
// which the library's sentence says little. The value itself is not repeated: it may be a password.
std::optional<ParseFault> UnquotedValue(std::string_view text, const toml::source_position& where,
                                        const File& file) {
  constexpr std::string_view kEnds = " \t\r\"'[]{},=#";
  const std::string_view line = LineOf(text, where.line).line;
  size_t at = ByteOf(line, where.column);
  if (at > 0 && (at >= line.size() || kEnds.find(line[at]) != std::string_view::npos)) --at;
  if (at >= line.size() || kEnds.find(line[at]) != std::string_view::npos) return std::nullopt;
  const size_t before = line.find_last_of(kEnds, at);
  const size_t start = before == std::string_view::npos ? 0 : before + 1;
  const std::string_view value = line.substr(start, line.find_first_of(kEnds, at) - start);
  const std::string_view lead = Trim(line.substr(0, start));
  if (lead.empty() || lead.front() == '[' ||
      std::string_view("=[,").find(lead.back()) == std::string_view::npos ||
      toml::parse(Cat("v = ", value))) {
    return std::nullopt;
  }
  const auto column = static_cast<uint32_t>(CountCharacters(line.substr(0, start)) + 1);
  return ParseFault{{file, where.line, column},
                    "text, durations and sizes stand in quotes, as in \"10s\""};
}

bool IsOpenString(const toml::parse_error& error, std::string_view text) {
  const auto where = error.source().begin;
  return error.description().find("unescaped control character") != std::string_view::npos &&
         where.column > CountCharacters(Trim(LineOf(text, where.line).line));
}

// What the library saw may be a piece of a secret; one character is not.
std::string WithoutLongExcerpt(std::string text) {
  constexpr std::string_view kSaw = ", saw '";
  const size_t saw = text.rfind(kSaw);
  if (saw == std::string::npos) return text;
  const std::string_view excerpt = std::string_view(text).substr(saw + kSaw.size());
  if (CountCharacters(excerpt) > 2 && !excerpt.starts_with("\\")) text.resize(saw);
  return text;
}

ParseFault FaultOf(const toml::parse_error& error, std::string_view text, const File& file) {
  const toml::source_position where = error.source().begin;
  std::string description = WithoutLongExcerpt(std::string(error.description()));
  const auto says = [&](std::string_view what) {
    return description.find(what) != std::string::npos;
  };
  if (says("cannot redefine") || says("cannot insert")) {
    if (auto fault = SetTwice(text, where.line, file)) return *std::move(fault);
  } else if (auto fault = UnquotedValue(text, where, file)) {
    return *std::move(fault);
  }
  constexpr std::string_view kPreamble = "Error while parsing ";
  if (IsOpenString(error, text)) {
    description = "this string has no closing quote on its line";
  } else if (description.starts_with(kPreamble)) {
    description = Cat("in this ", std::string_view(description).substr(kPreamble.size()));
  }
  return {PlaceOf(error.source(), file), Cat("not valid TOML: ", description)};
}

}  // namespace

const Member* Node::Find(std::string_view key) const {
  const auto found = std::find_if(members.begin(), members.end(),
                                  [&](const Member& member) { return member.key == key; });
  return found == members.end() ? nullptr : &*found;
}

std::string PlaceText(const Place& place) {
  return Cat(place.file ? *place.file : std::string(), ":", std::to_string(place.line), ":",
             std::to_string(place.column));
}

std::string_view KindName(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::kString:
      return "a string";
    case Node::Kind::kInteger:
      return "an integer";
    case Node::Kind::kFloat:
      return "a float";
    case Node::Kind::kBoolean:
      return "a boolean";
    case Node::Kind::kDateTime:
      return "a date or time";
    case Node::Kind::kList:
      return "a list";
    case Node::Kind::kTable:
      return "a table";
  }
  return "a value";
}

tl::expected<Node, ParseFault> ParseToml(std::string_view text,
                                         const std::shared_ptr<const std::string>& file) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  ScanFault scan;
  if (!Prescan(text, &scan)) {
    return tl::unexpected(ParseFault{{file, scan.line, scan.column}, std::move(scan.text)});
  }
  const toml::parse_result result = toml::parse(text);
  if (!result) return tl::unexpected(FaultOf(result.error(), text, file));
  return Convert(result.table(), file);
}

}  // namespace penstock::config
