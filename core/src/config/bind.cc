#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "config/common_keys.h"
#include "config/config.h"
#include "config/files.h"
#include "config/node.h"
#include "config/option_table.h"
#include "config/references.h"
#include "config/table_reader.h"
#include "config/template_check.h"
#include "config/text.h"
#include "config/values.h"

namespace penstock::config {

struct Options::Impl {
  struct Slot {
    std::string name;
    penstock_value value{};
    std::string text;
    std::deque<std::string> strings;  // what items and entries point to
    std::vector<penstock_str> items;
    std::vector<penstock_kv> entries;
  };

  Impl() {
    config.struct_size = sizeof config;
    config.value_size = sizeof(penstock_value);
    config.ctx = this;
    config.get = [](const penstock_config* self,
                    const char* name) noexcept -> const penstock_value* {
      return name == nullptr ? nullptr : static_cast<const Impl*>(self->ctx)->Get(name);
    };
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const penstock_value* Get(std::string_view name) const {
    const auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : &found->second->value;
  }
  Slot* NewSlot(std::string name, int32_t type) {
    Slot& slot = slots.emplace_back();
    slot.name = std::move(name);
    slot.value.type = type;
    by_name.emplace(slot.name, &slot);
    return &slot;
  }

  std::deque<Slot> slots;  // stands still as it grows
  std::map<std::string_view, Slot*, std::less<>> by_name;
  std::map<std::string, Position, std::less<>> places;
  Position own;
  penstock_config config{};
};

Options::Options() : impl_(std::make_unique<Impl>()) {}
Options::Options(Options&&) noexcept = default;
Options& Options::operator=(Options&&) noexcept = default;
Options::~Options() = default;

const penstock_config* Options::abi() const { return impl_ ? &impl_->config : nullptr; }

const penstock_value* Options::Get(std::string_view name) const {
  return impl_ ? impl_->Get(name) : nullptr;
}

Position Options::Where(std::string_view option) const {
  if (!impl_) return {};
  while (!option.empty()) {
    const auto found = impl_->places.find(option);
    if (found != impl_->places.end()) return found->second;
    const size_t cut = option.find_last_of("./");
    option = cut == std::string_view::npos ? std::string_view() : option.substr(0, cut);
  }
  return impl_->own;
}

namespace {

using Slot = Options::Impl::Slot;

penstock_str ToStr(std::string_view text) { return {text.data(), text.size()}; }

void SetText(Slot* slot, std::string text) {
  slot->text = std::move(text);
  slot->value.str = ToStr(slot->text);
}

// Turns a node into the value of an option. Says what is wrong to findings.
class Converter {
 public:
  Converter(const OptionSpec& spec, std::string path, Slot* slot, Findings* findings)
      : spec_(spec), path_(std::move(path)), slot_(slot), findings_(findings) {}

  void Convert(const Node& node) {
    switch (spec_.type) {
      case PENSTOCK_OPT_INT:
        return Number(node, AsInteger(node), &Plain);
      case PENSTOCK_OPT_DURATION:
        return Number(node, AsDuration(node), &FormatDuration);
      case PENSTOCK_OPT_SIZE:
        return Number(node, AsSize(node), &Size);
      case PENSTOCK_OPT_BOOL:
        return Bool(node);
      case PENSTOCK_OPT_FLOAT:
        return Float(node);
      case PENSTOCK_OPT_LIST:
        return List(node);
      case PENSTOCK_OPT_MAP:
        return Map(node);
      default:
        return Text(node);
    }
  }

 private:
  static std::string Plain(int64_t number) { return std::to_string(number); }
  static std::string Size(int64_t bytes) { return FormatSize(static_cast<uint64_t>(bytes)); }

  void Error(const Place& where, std::string_view text) {
    findings_->Error(where.ToPosition(), Cat(path_, ": ", text));
  }

  bool InBounds(const Place& where, int64_t number, std::string (*format)(int64_t),
                std::string_view of) {
    if (!spec_.bounded || (number >= spec_.min && number <= spec_.max)) return true;
    const bool no_top = spec_.max == std::numeric_limits<int64_t>::max();
    Error(where, Cat(of, "must be ", no_top ? "at least " : "from ", format(spec_.min),
                     no_top ? "" : Cat(" to ", format(spec_.max)), ", found ", format(number)));
    return false;
  }

  void Number(const Node& node, const Result<int64_t>& number, std::string (*format)(int64_t)) {
    if (!number) return Error(node.where, number.error().message);
    if (InBounds(node.where, *number, format, "")) slot_->value.i64 = *number;
  }

  void Bool(const Node& node) {
    const auto value = AsBool(node);
    if (!value) return Error(node.where, value.error().message);
    slot_->value.i64 = *value ? 1 : 0;
  }

  void Float(const Node& node) {
    const auto value = AsFloat(node);
    if (!value) return Error(node.where, value.error().message);
    slot_->value.f64 = *value;
  }

  bool IsChoice(const Place& where, std::string_view text) {
    if (spec_.choices.empty()) return true;
    const std::vector<std::string_view> choices = Views(spec_.choices);
    if (std::find(choices.begin(), choices.end(), text) != choices.end()) return true;
    Error(where, Cat("expected ", Join(choices, "or"), ", found ", Quote(text),
                     DidYouMean(text, choices)));
    return false;
  }

  void Text(const Node& node) {
    const auto text = AsString(node);
    if (!text) return Error(node.where, text.error().message);
    switch (spec_.type) {
      case PENSTOCK_OPT_SECRET:
        return Secret(node, *text);
      case PENSTOCK_OPT_FILE:
        return File(node, *text);
      case PENSTOCK_OPT_TEMPLATE:
        if (const auto fault = CheckTemplate(node, *text)) return Error(fault->where, fault->text);
        break;
      default:
        if (!IsChoice(node.where, *text)) return;
        break;
    }
    SetText(slot_, std::string(*text));
  }

  // A literal is never repeated: it is what must not be seen.
  void Secret(const Node& node, std::string_view text) {
    if (IsSecretReference(text)) {
      NoteReference(node, text);
      return SetText(slot_, std::string(text));
    }
    if (text.starts_with("file:")) return Error(node.where, "file: needs an absolute path");
    if (text.starts_with("env:")) {
      return Error(node.where, "env: needs the name of an environment variable");
    }
    if (CredentialName(text)) return Error(node.where, "credential: needs a credential's name");
    Error(node.where,
          "a secret must not stand in this file: write env:NAME, file:/path or credential:NAME");
  }

  // What is not there now may be there when the daemon runs, under another user and in its unit.
  void NoteReference(const Node& node, std::string_view reference) {
    const Position where = node.where.ToPosition();
    if (const auto credential = CredentialName(reference)) {
      NoteCredential(where, *credential);
    } else if (reference.starts_with("env:")) {
      const std::string name(reference.substr(4));
      if (std::getenv(name.c_str()) == nullptr) {
        findings_->Notice(where, Cat(path_, ": the environment variable ", name,
                                     " is not set here; the daemon needs it"));
      }
    } else {
      NoteFile(where, std::string(reference.substr(5)));
    }
  }

  void NoteFile(const Position& where, const std::string& path) {
    if (IsAbsent(path)) {
      findings_->Warning(where, Cat(path_, ": there is no file ", path));
    } else if (std::error_code none; std::filesystem::is_directory(path, none)) {
      findings_->Warning(where, Cat(path_, ": ", path, " is a folder, not a file"));
    }
  }

  static bool IsAbsent(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) != 0 && errno == ENOENT;
  }

  void NoteCredential(const Position& where, std::string_view name) {
    if (!InUnit()) {
      findings_->Notice(where, Cat(path_, ": the credential ", name,
                                   " can be seen only in the systemd unit; not checked"));
    } else if (IsAbsent(CredentialPath(name))) {
      findings_->Error(where, Cat(path_, ": there is no credential ", name,
                                  ": add LoadCredential=", name, ":/path to the unit"));
    }
  }

  void File(const Node& node, std::string_view text) {
    if (text.empty()) return Error(node.where, "a path must not be empty");
    if (text.starts_with("file:") || text.starts_with("env:")) {
      return Error(node.where, "expected a path by itself, or credential:NAME");
    }
    const auto credential = CredentialName(text);
    if (!credential) {
      SetText(slot_, ResolvePath(node.where, text));
      return NoteFile(node.where.ToPosition(), slot_->text);
    }
    if (!IsCredentialName(*credential)) {
      return Error(node.where, "credential: needs a credential's name");
    }
    NoteCredential(node.where.ToPosition(), *credential);
    SetText(slot_, CredentialPath(*credential));
  }

  std::string_view Keep(std::string text) { return slot_->strings.emplace_back(std::move(text)); }

  void List(const Node& node) {
    std::span<const Node> items = node.items;
    if (node.kind == Node::Kind::kString) {
      items = std::span(&node, 1);
    } else if (node.kind != Node::Kind::kList) {
      return Error(node.where, Expected("a list of strings", node));
    }
    for (const Node& item : items) {
      const auto text = AsString(item);
      if (!text) {
        Error(item.where, text.error().message);
      } else if (IsChoice(item.where, *text)) {
        slot_->items.push_back(ToStr(Keep(std::string(*text))));
      }
    }
    InBounds(node.where, static_cast<int64_t>(items.size()), &Plain, "its length ");
    slot_->value.items = slot_->items.data();
    slot_->value.n = slot_->items.size();
  }

  void Map(const Node& node) {
    if (!node.IsTable()) return Error(node.where, Expected("a table", node));
    for (Entry& entry : ReadEntries(node, path_, findings_)) {
      if (IsSecretReference(entry.text)) NoteReference(*entry.node, entry.text);
      const std::string_view key = Keep(std::move(entry.key));
      const std::string_view text = Keep(std::move(entry.text));
      slot_->entries.push_back({ToStr(key), ToStr(text)});
    }
    slot_->value.entries = slot_->entries.data();
    slot_->value.n = slot_->entries.size();
  }

  const OptionSpec& spec_;
  std::string path_;
  Slot* slot_;
  Findings* findings_;
};

}  // namespace

struct Binder {
  Binder(const RawOptions* raw, const Position& where, const penstock_plugin& plugin_entry,
         std::span<const std::string_view> common_keys)
      : table(raw == nullptr ? empty : raw->table),
        path(raw == nullptr ? std::string() : raw->path),
        plugin_id(PluginId(plugin_entry)),
        common(common_keys),
        impl(*bound.options.impl_),
        spec(ReadOptionTable(plugin_entry)) {
    impl.own = where;
    plugin_place = where;
    if (const Member* plugin = table.Find("plugin")) {
      plugin_place = plugin->value.where.ToPosition();
    }
  }

  void Bind() {
    for (const std::string& fault : spec.faults) Blame(fault);
    RecordPlaces(table, "");
    Walk(table, "");
    for (const OptionSpec& option : spec.options) Fill(option);
  }

  // The host's own options, for plugins that need to know them.
  void AddText(std::string name, std::string text) {
    Slot* slot = Common(std::move(name), PENSTOCK_OPT_STRING);
    SetText(slot, std::move(text));
  }
  void AddNumber(std::string name, int32_t type, uint64_t number) {
    Common(std::move(name), type)->value.i64 = static_cast<int64_t>(number);
  }

  Bound Take() {
    const std::vector<std::string> files{impl.own.file};
    bound.findings = findings.Take(files);
    return std::move(bound);
  }

  Slot* Common(std::string name, int32_t type) {
    const bool set = impl.places.contains(name);
    Slot* slot = impl.NewSlot(std::move(name), type);
    slot->value.is_set = set ? 1 : 0;
    return slot;
  }

  void Blame(std::string_view fault) {
    findings.Error(plugin_place, Cat("plugin ", Quote(plugin_id),
                                     " is at fault, not this file: ", fault, "; tell its author"));
  }

  void RecordPlaces(const Node& node, const std::string& prefix) {
    for (const Member& member : node.members) {
      const std::string full = prefix + member.key;
      impl.places.emplace(full, member.value.where.ToPosition());
      if (member.value.IsTable()) RecordPlaces(member.value, full + ".");
    }
  }

  // Finds the user's value of each option, and what is no option.
  void Walk(const Node& node, const std::string& prefix) {
    for (const Member& member : node.members) {
      const std::string full = prefix + member.key;
      if (prefix.empty() && std::find(common.begin(), common.end(), member.key) != common.end()) {
        continue;
      }
      const bool dotted = member.key.find('.') != std::string::npos;
      if (!dotted && spec.Find(full) != nullptr) {
        given.emplace(full, &member.value);
      } else if (dotted || !spec.groups.contains(full)) {
        Unknown(member, prefix, full);
      } else if (member.value.IsTable()) {
        Walk(member.value, full + ".");
      } else {
        findings.Error(member.value.where.ToPosition(),
                       Cat(path, ".", full, ": ", Expected("a table", member.value)));
      }
    }
  }

  // The names that could stand in the table that prefix leads to.
  std::vector<std::string> NamesUnder(const std::string& prefix) const {
    std::vector<std::string> names;
    if (prefix.empty()) names.assign(common.begin(), common.end());
    for (const OptionSpec& option : spec.options) {
      if (!option.name.starts_with(prefix)) continue;
      const std::string rest = option.name.substr(prefix.size());
      std::string name = rest.substr(0, rest.find('.'));
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        names.push_back(std::move(name));
      }
    }
    return names;
  }

  // The option of another table whose last part is this key.
  const OptionSpec* Elsewhere(const std::string& key) const {
    for (const OptionSpec& option : spec.options) {
      const size_t dot = option.name.rfind('.');
      if (option.name.substr(dot == std::string::npos ? 0 : dot + 1) == key) return &option;
    }
    return nullptr;
  }

  void Unknown(const Member& member, const std::string& prefix, const std::string& full) {
    if (findings.full()) return findings.Error(member.key_where.ToPosition(), "");
    const std::vector<std::string> names = NamesUnder(prefix);
    const std::vector<std::string_view> views = Views(names);
    std::string hint;
    if (spec.Find(full) != nullptr) {
      hint = "; write it without quotes, so that the dot makes a table";
    } else if (const std::string_view near = Nearest(member.key, views); !near.empty()) {
      hint = Cat("; did you mean ", Quote(near), "?");
      mistaken.insert(prefix + std::string(near));
    } else if (const OptionSpec* elsewhere = Elsewhere(member.key)) {
      hint = Cat("; did you mean ", Quote(elsewhere->name), "?");
      mistaken.insert(elsewhere->name);
    } else {
      const std::string_view kind = path.starts_with("sources.") ? "source" : "sink";
      hint = Cat("; ", kind, " plugin ", Quote(plugin_id),
                 " has no such option: see penstock plugins info ", plugin_id);
    }
    const std::string_view thing = member.value.IsTable() ? "unknown table " : "unknown key ";
    std::string where = prefix.empty() ? path : Cat(path, ".", prefix.substr(0, prefix.size() - 1));
    findings.Error(member.key_where.ToPosition(),
                   Cat(thing, Quote(member.key), " in [", where, "]", hint));
  }

  void Fill(const OptionSpec& option) {
    Slot* slot = impl.NewSlot(option.name, option.type);
    const std::string full = Cat(path, ".", option.name);
    const auto found = given.find(option.name);
    if (found != given.end()) {
      slot->value.is_set = 1;
      Converter(option, full, slot, &findings).Convert(*found->second);
      if (option.type == PENSTOCK_OPT_MAP && found->second->IsTable()) {
        RecordEntries(option.name, *found->second);
      }
      return;
    }
    if (option.default_value) {
      Findings faults;
      Converter(option, full, slot, &faults).Convert(*option.default_value);
      for (const Finding& fault : faults.Take({})) {
        if (fault.severity == Severity::kError) {
          Blame(Cat("the default of option ", Quote(option.name), " is bad: ", fault.text));
        }
      }
    } else if (option.required && !mistaken.contains(option.name)) {
      Position where = bound.options.Where(option.name);
      findings.Error(std::move(where),
                     Cat("[", path, "] has no ", Quote(option.name), ", which plugin ",
                         Quote(plugin_id), " needs", option.help.empty() ? "" : ": ", option.help));
    }
  }

  void RecordEntries(const std::string& option, const Node& map) {
    Findings known_already;
    for (const Entry& entry : ReadEntries(map, "", &known_already)) {
      impl.places.emplace(Cat(option, "/", entry.key), entry.node->where.ToPosition());
    }
  }

  static const Node empty;

  const Node& table;
  std::string path;
  std::string plugin_id;
  std::span<const std::string_view> common;
  Bound bound;
  Options::Impl& impl;
  OptionTable spec;
  Position plugin_place;
  Findings findings;
  std::map<std::string, const Node*> given;
  std::set<std::string> mistaken;  // options that an unknown key was probably meant to be
};

const Node Binder::empty;

Bound BindOptions(const SourceConfig& source, const penstock_plugin& plugin) {
  Binder binder(source.raw.get(), source.where, plugin, kSourceKeys);
  binder.Bind();
  binder.AddText("event_source", source.event_source);
  binder.AddText("event_name", source.event_name);
  binder.AddText("event_type", source.event_type);
  binder.AddNumber("read_ahead_bytes", PENSTOCK_OPT_SIZE, source.read_ahead_bytes);
  return binder.Take();
}

Bound BindOptions(const SinkConfig& sink, const penstock_plugin& plugin) {
  Binder binder(sink.raw.get(), sink.where, plugin, kSinkKeys);
  binder.Bind();
  binder.AddText("format", std::string(FormatName(sink.format)));
  binder.AddNumber("max_in_flight.events", PENSTOCK_OPT_INT, sink.max_in_flight_events);
  binder.AddNumber("max_in_flight.bytes", PENSTOCK_OPT_SIZE, sink.max_in_flight_bytes);
  return binder.Take();
}

}  // namespace penstock::config
