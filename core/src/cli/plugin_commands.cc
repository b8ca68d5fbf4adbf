#include "cli/plugin_commands.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "cli/text.h"
#include "config/common_keys.h"
#include "config/config.h"
#include "plugin/elf.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;
using plugin::Candidate;
using plugin::Directory;
using plugin::Kind;
using plugin::KindName;
using plugin::Plugin;

constexpr size_t kWidth = 100;

// Those beside `plugin`, which leads here.
std::span<const config::CommonKey> CommonOptions(uint32_t kind) {
  const bool source = kind == PENSTOCK_SOURCE;
  return (source ? std::span<const config::CommonKey>(config::kSourceCommon) : config::kSinkCommon)
      .subspan(1);
}

std::string AbiText(uint32_t major, uint32_t minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

const char* StatusOf(const Candidate& candidate) {
  if (!candidate.refusal.empty()) return "refused";
  return candidate.shadowed_by.empty() ? "ok" : "shadowed";
}

std::string NoteOf(const Candidate& candidate) {
  if (!candidate.refusal.empty()) return candidate.refusal;
  if (candidate.shadowed_by.empty()) return "";
  return "not used: " + candidate.shadowed_by + " comes first";
}

Json ListJson(const std::vector<Directory>& directories, const std::vector<Candidate>& candidates) {
  Json out;
  out["directories"] = Json::array();
  for (const Directory& directory : directories) out["directories"].push_back(directory.path);
  out["plugins"] = Json::array();
  for (const Candidate& candidate : candidates) {
    Json one;
    one["kind"] = KindName(candidate.kind);
    one["id"] = candidate.id;
    one["version"] = candidate.version;
    one["abi"] = candidate.version.empty() ? "" : AbiText(candidate.abi_major, candidate.abi_minor);
    one["status"] = StatusOf(candidate);
    one["path"] = candidate.path;
    if (!candidate.refusal.empty()) one["reason"] = candidate.refusal;
    if (!candidate.shadowed_by.empty()) one["shadowed_by"] = candidate.shadowed_by;
    out["plugins"].push_back(std::move(one));
  }
  return out;
}

const char* TypeName(int32_t type) {
  switch (type) {
    case PENSTOCK_OPT_STRING:
      return "string";
    case PENSTOCK_OPT_INT:
      return "integer";
    case PENSTOCK_OPT_FLOAT:
      return "number";
    case PENSTOCK_OPT_BOOL:
      return "true|false";
    case PENSTOCK_OPT_DURATION:
      return "duration";
    case PENSTOCK_OPT_SIZE:
      return "size";
    case PENSTOCK_OPT_LIST:
      return "list";
    case PENSTOCK_OPT_MAP:
      return "table";
    case PENSTOCK_OPT_TEMPLATE:
      return "template";
    case PENSTOCK_OPT_SECRET:
      return "secret";
    case PENSTOCK_OPT_FILE:
      return "file";
    default:
      return "?";
  }
}

std::string BoundText(const penstock_option& option, int64_t bound) {
  if (option.type == PENSTOCK_OPT_DURATION) return FormatDuration(bound);
  if (option.type == PENSTOCK_OPT_SIZE) return FormatSize(bound);
  return std::to_string(bound);
}

std::string HelpText(const penstock_option& option) {
  std::string out = option.help;
  if (option.choices != nullptr && option.choices[0] != '\0') {
    std::string choices = option.choices;
    for (size_t at = 0; (at = choices.find('|', at)) != choices.npos; at += 2)
      choices.replace(at, 1, ", ");
    out += " One of: " + choices + ".";
  }
  if (option.min != 0 || option.max != 0) {
    out += option.type == PENSTOCK_OPT_LIST ? " Entries: " : " From ";
    out += BoundText(option, option.min) + " to " + BoundText(option, option.max) + ".";
  }
  if (option.type == PENSTOCK_OPT_SECRET)
    out += " As \"env:NAME\", \"file:/path\" or \"credential:NAME\".";
  return out;
}

std::vector<std::pair<std::string, std::string>> Capabilities(const penstock_plugin& p) {
  std::vector<std::pair<std::string, std::string>> out;
  if (p.kind == PENSTOCK_SOURCE) {
    if ((p.caps & PENSTOCK_CAP_ACK) != 0)
      out.emplace_back("ack", "tells its peer once an event is safe");
    return out;
  }
  if ((p.caps & PENSTOCK_CAP_PREFIX) != 0)
    out.emplace_back("prefix", "order = \"strict\" at full speed");
  else if ((p.caps & PENSTOCK_CAP_PREFIX_SINGLE) != 0)
    out.emplace_back("prefix-single",
                     "order = \"strict\" at full speed where it reads one source only");
  if ((p.caps & PENSTOCK_CAP_DEDUPLICATES) != 0)
    out.emplace_back("deduplicates", "the bus drops a repeated id for a while");
  if ((p.caps & PENSTOCK_CAP_RETRIES) != 0)
    out.emplace_back("retries", "tries again by itself; retry.limit can only be an age");
  return out;
}

std::span<const penstock_option> OptionsOf(const penstock_plugin& p) {
  return {p.options, p.n_options};
}

Json InfoJson(const Plugin& plugin) {
  const penstock_plugin& p = plugin.entry();
  Json out;
  out["kind"] = KindName(static_cast<Kind>(p.kind));
  out["id"] = p.id;
  out["version"] = p.version;
  out["abi"] = AbiText(p.abi_major, p.abi_minor);
  out["summary"] = p.summary;
  out["vendor"] = p.vendor;
  out["license"] = p.license;
  out["doc_url"] = p.doc_url;
  out["path"] = plugin.path();
  out["capabilities"] = Json::array();
  for (const auto& [name, text] : Capabilities(p)) out["capabilities"].push_back(name);
  out["options"] = Json::array();
  for (const penstock_option& option : OptionsOf(p)) {
    Json one;
    one["name"] = option.name;
    one["type"] = TypeName(option.type);
    one["required"] = (option.flags & PENSTOCK_OPT_REQUIRED) != 0;
    if (option.default_value != nullptr) one["default"] = option.default_value;
    if (option.choices != nullptr) one["choices"] = option.choices;
    if (option.min != 0 || option.max != 0) {
      one["min"] = option.min;
      one["max"] = option.max;
    }
    one["help"] = option.help;
    out["options"].push_back(std::move(one));
  }
  out["common_options"] = Json::array();
  for (const config::CommonKey& key : CommonOptions(p.kind))
    out["common_options"].push_back(key.name);
  return out;
}

std::string OptionTable(const penstock_plugin& p) {
  if (p.n_options == 0) return "  none\n";
  std::vector<Row> rows = {{{"  OPTION", "TYPE", "DEFAULT"}, ""}};
  for (const penstock_option& option : OptionsOf(p)) {
    std::string value = (option.flags & PENSTOCK_OPT_REQUIRED) != 0 ? "required" : "-";
    if (option.default_value != nullptr)
      value = option.default_value[0] == '\0' ? "\"\"" : option.default_value;
    rows.push_back(
        {{std::string("  ") + option.name, TypeName(option.type), value}, HelpText(option)});
  }
  return Table(rows);
}

std::string InfoText(const Plugin& plugin) {
  const penstock_plugin& p = plugin.entry();
  const std::string kind(KindName(static_cast<Kind>(p.kind)));
  std::string out = std::string(p.id) + " " + p.version + ", a " + kind + "\n";
  out += Wrapped(p.summary, 2, kWidth) + "\n";
  std::vector<Row> facts = {{{"Path:", plugin.path()}, ""},
                            {{"Plugin ABI:", AbiText(p.abi_major, p.abi_minor)}, ""}};
  for (const auto& [title, text] :
       {std::pair{"Vendor:", p.vendor}, {"License:", p.license}, {"See:", p.doc_url}}) {
    if (text[0] != '\0') facts.push_back({{title, text}, ""});
  }
  for (const auto& [name, text] : Capabilities(p)) facts.push_back({{"Can do:", text}, ""});
  out += Table(facts);
  out +=
      "\nOptions, in [" + kind + "s.NAME] beside plugin = \"" + p.id + "\":\n\n" + OptionTable(p);
  out += "\nCommon to every " + kind + ":\n\n";
  std::vector<Row> common;
  for (const config::CommonKey& key : CommonOptions(p.kind))
    common.push_back({{"  " + std::string(key.name), std::string(key.help)}, ""});
  return out + Table(common);
}

// The kinds that NAME may mean, and the id in it.
std::pair<std::vector<Kind>, std::string> ParseName(const std::string& name) {
  for (const Kind kind : {Kind::kSource, Kind::kSink}) {
    const std::string prefix = std::string(KindName(kind)) + "-";
    if (name.starts_with(prefix)) return {{kind}, name.substr(prefix.size())};
  }
  return {{Kind::kSource, Kind::kSink}, name};
}

bool HasFile(const std::vector<Directory>& directories, Kind kind, const std::string& id) {
  const std::string file = std::string(KindName(kind)) + "-" + id + ".so";
  return std::ranges::any_of(directories, [&](const Directory& directory) {
    std::error_code ignored;
    return std::filesystem::is_symlink(directory.path + "/" + file, ignored) ||
           std::filesystem::exists(directory.path + "/" + file, ignored);
  });
}

std::string UnknownName(const plugin::Registry& registry, const std::vector<Directory>& directories,
                        const std::string& name) {
  std::string out = "no plugin \"" + plugin::Printable(name) + "\" in ";
  for (const Directory& directory : directories)
    out += (&directory == &directories[0] ? "" : ", ") + directory.path;
  const std::vector<Candidate> candidates = registry.List();
  std::vector<std::string_view> ids;
  for (const Candidate& candidate : candidates) ids.push_back(candidate.id);
  const std::string_view nearest = config::Nearest(name, ids);
  if (!nearest.empty()) return out + "; did you mean \"" + plugin::Printable(nearest) + "\"?";
  return out + "; `penstock plugins list` shows what is there";
}

std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::vector<Directory> PluginDirectories(const std::vector<std::string>& given,
                                         const std::string& config_file, std::ostream& err) {
  std::vector<Directory> out;
  for (const std::string& path : given) out.push_back({path, false});
  std::error_code ignored;
  if (std::filesystem::exists(config_file, ignored)) {
    const config::Loaded loaded = config::Load(config_file);
    if (!loaded.ok()) {
      err << "penstock: " << config_file
          << " has errors, so its plugin_dirs are not searched; see penstock check\n";
    } else {
      for (const std::string& path : loaded.config.gateway.plugin_dirs)
        out.push_back({path, false});
    }
  }
  out.push_back({PENSTOCK_PLUGIN_DIR, true});
  return out;
}

int ListPlugins(const std::vector<Directory>& directories, bool json, std::ostream& out) {
  const std::vector<Candidate> candidates = plugin::Registry(directories).List();
  if (json) {
    out << Dump(ListJson(directories, candidates));
    return 0;
  }
  if (candidates.empty()) {
    out << "No plugins (files named source-*.so or sink-*.so) in:\n";
    for (const Directory& directory : directories) out << "  " << directory.path << "\n";
    return 0;
  }
  std::vector<Row> rows = {{{"KIND", "ID", "VERSION", "ABI", "STATUS", "PATH"}, ""}};
  for (const Candidate& candidate : candidates) {
    const bool noted = !candidate.version.empty();
    rows.push_back({{std::string(KindName(candidate.kind)), plugin::Printable(candidate.id),
                     noted ? candidate.version : "-",
                     noted ? AbiText(candidate.abi_major, candidate.abi_minor) : "-",
                     StatusOf(candidate), plugin::Printable(candidate.path)},
                    NoteOf(candidate)});
  }
  out << Table(rows);
  return 0;
}

int DescribePlugin(const std::vector<Directory>& directories, const std::string& name, bool json,
                   std::ostream& out, std::ostream& err) {
  plugin::Registry registry(directories);
  auto [kinds, id] = ParseName(name);
  std::vector<Kind> present;
  for (const Kind kind : kinds) {
    if (HasFile(directories, kind, id)) present.push_back(kind);
  }
  if (present.empty()) {
    err << "penstock: " << UnknownName(registry, directories, name) << "\n";
    return 1;
  }
  int status = 0;
  Json all = Json::array();
  for (const Kind kind : present) {
    const auto loaded = registry.Load(kind, id);
    if (!loaded) {
      err << "penstock: " << loaded.error().message << "\n";
      status = 1;
    } else if (json) {
      all.push_back(InfoJson(**loaded));
    } else {
      out << (kind == present.front() ? "" : "\n") << InfoText(**loaded);
    }
  }
  if (json) out << Dump({{"plugins", std::move(all)}});
  return status;
}

}  // namespace penstock::cli
