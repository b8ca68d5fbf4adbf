#include "config/option_table.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>

#include "config/common_keys.h"
#include "config/text.h"
#include "config/toml_reader.h"
#include "platform/abi.h"

namespace penstock::config {
namespace {

constexpr size_t kOptionsMost = 1024;
constexpr size_t kNameMost = 128;
constexpr size_t kTextMost = 64 * 1024;

// Dotted names of [a-z0-9_] that do not start with a digit.
bool IsOptionName(std::string_view name) {
  bool start = true;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || c == '_';
    const bool digit = c >= '0' && c <= '9';
    if (c == '.' ? start : !(letter || (digit && !start))) return false;
    start = c == '.';
  }
  return !start;
}

std::string_view Bounded(const char* text) { return {text, ::strnlen(text, kTextMost)}; }

Node TextNode(std::string_view text) {
  Node node;
  node.kind = Node::Kind::kString;
  node.text = text;
  return node;
}

// A default stands in the table as in TOML, but without quotes.
std::optional<Node> DefaultNode(int32_t type, std::string_view text) {
  const bool list = type == PENSTOCK_OPT_LIST, map = type == PENSTOCK_OPT_MAP;
  if ((list || map) && text.empty()) {
    Node node;
    node.kind = list ? Node::Kind::kList : Node::Kind::kTable;
    return node;
  }
  const bool written = type == PENSTOCK_OPT_INT || type == PENSTOCK_OPT_FLOAT ||
                       type == PENSTOCK_OPT_BOOL || (list && text.starts_with("[")) || map;
  if (!written) return TextNode(text);
  auto parsed = ParseToml(Cat("v = ", text), nullptr);
  if (!parsed || parsed->members.size() != 1) return std::nullopt;
  return std::move(parsed->members.front().value);
}

std::vector<std::string> Split(std::string_view text) {
  std::vector<std::string> out;
  while (true) {
    const size_t bar = text.find('|');
    out.emplace_back(text.substr(0, bar));
    if (bar == std::string_view::npos) return out;
    text.remove_prefix(bar + 1);
  }
}

class TableBuilder {
 public:
  explicit TableBuilder(const penstock_plugin& plugin) : plugin_(plugin) {}

  OptionTable Build() {
    if (plugin_.n_options == 0) return std::move(out_);
    if (plugin_.options == nullptr || plugin_.n_options > kOptionsMost) {
      out_.faults.push_back(Cat("it says that it has ", std::to_string(plugin_.n_options),
                                " options, but has no such table"));
      return std::move(out_);
    }
    if (plugin_.option_stride < offsetof(penstock_option, default_value) ||
        plugin_.option_stride % alignof(penstock_option) != 0) {
      out_.faults.push_back(
          Cat("its option_stride cannot be ", std::to_string(plugin_.option_stride)));
      return std::move(out_);
    }
    for (size_t i = 0; i < plugin_.n_options; ++i) Add(i);
    CheckGroups();
    return std::move(out_);
  }

 private:
  void Add(size_t index) {
    const penstock_option option = abi::Read(plugin_.options, plugin_.option_stride, index);
    if (option.name == nullptr) {
      out_.faults.push_back(Cat("option number ", std::to_string(index + 1), " has no name"));
      return;
    }
    OptionSpec spec;
    spec.name = Bounded(option.name);
    if (const std::string fault = Fill(option, &spec); !fault.empty()) {
      out_.faults.push_back(Cat("option ", Quote(spec.name), " ", fault));
    } else {
      out_.options.push_back(std::move(spec));
    }
  }

  std::string Fill(const penstock_option& option, OptionSpec* spec) {
    if (spec->name.size() > kNameMost || !IsOptionName(spec->name)) {
      return "has a name that is not lower-case letters, digits, _ and dots";
    }
    const bool source = plugin_.kind == PENSTOCK_SOURCE;
    const std::string_view first = std::string_view(spec->name).substr(0, spec->name.find('.'));
    const std::span<const std::string_view> common =
        source ? std::span<const std::string_view>(kSourceKeys) : kSinkKeys;
    if (std::find(common.begin(), common.end(), first) != common.end()) {
      return "has a name that is the gateway's own";
    }
    if (Find(spec->name)) return "stands in its table twice";
    if (option.type < PENSTOCK_OPT_STRING || option.type > PENSTOCK_OPT_FILE) {
      return Cat("has the unknown type ", std::to_string(option.type));
    }
    if (option.type == PENSTOCK_OPT_TEMPLATE && source) {
      return "is a template, which only sinks may have";
    }
    spec->type = option.type;
    spec->required = (option.flags & PENSTOCK_OPT_REQUIRED) != 0;
    if (option.choices != nullptr) spec->choices = Split(Bounded(option.choices));
    if (option.help != nullptr) spec->help = Bounded(option.help);
    spec->bounded = option.min != 0 || option.max != 0;
    spec->min = option.min;
    // A lower bound alone, since 0 is the field's way of saying nothing.
    const bool no_top = option.max == 0 && option.min > 0;
    spec->max = no_top ? std::numeric_limits<int64_t>::max() : option.max;
    if (spec->min > spec->max) return "has a min above its max";
    if (option.default_value == nullptr) return {};
    spec->default_value = DefaultNode(option.type, Bounded(option.default_value));
    if (!spec->default_value) return "has a default that cannot be read";
    return {};
  }

  bool Find(std::string_view name) const { return out_.Find(name) != nullptr; }

  void CheckGroups() {
    for (const OptionSpec& option : out_.options) {
      for (size_t dot = option.name.find('.'); dot != std::string::npos;
           dot = option.name.find('.', dot + 1)) {
        out_.groups.insert(option.name.substr(0, dot));
      }
    }
    const auto is_group = [&](const OptionSpec& option) {
      if (!out_.groups.contains(option.name)) return false;
      out_.faults.push_back(Cat("option ", Quote(option.name), " is also a table of options"));
      return true;
    };
    out_.options.erase(std::remove_if(out_.options.begin(), out_.options.end(), is_group),
                       out_.options.end());
  }

  const penstock_plugin& plugin_;
  OptionTable out_;
};

}  // namespace

const OptionSpec* OptionTable::Find(std::string_view name) const {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const OptionSpec& option) { return option.name == name; });
  return found == options.end() ? nullptr : &*found;
}

OptionTable ReadOptionTable(const penstock_plugin& plugin) { return TableBuilder(plugin).Build(); }

std::string PluginId(const penstock_plugin& plugin) {
  if (plugin.id == nullptr) return "?";
  return std::string(plugin.id, ::strnlen(plugin.id, PENSTOCK_ID_MAX));
}

}  // namespace penstock::config
