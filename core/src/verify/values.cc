#include "verify/values.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <span>

namespace penstock::verify {
namespace {

constexpr Callee kCheck{"check()", kSoon, "it does no I/O"};
constexpr size_t kWays = 3;           // to make up a text
constexpr size_t kMostAttempts = 81;  // four texts in all ways

std::span<const penstock_option> OptionsOf(const penstock_plugin& plugin) {
  return {plugin.options, plugin.n_options};
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string FirstError(const std::vector<config::Finding>& findings) {
  const auto error =
      std::ranges::find(findings, config::Severity::kError, &config::Finding::severity);
  return error == findings.end() ? "" : error->text;
}

// The tables that a configuration needs around the plugin's own keys.
config::Loaded LoadKeys(const penstock_plugin& plugin, const std::string& keys) {
  const std::string id = Quoted(plugin.id);
  const bool source = plugin.kind == PENSTOCK_SOURCE;
  return config::LoadText(
      {{"--option", "[sources.verify]\nplugin = " + (source ? id : "\"x\"") + "\n" +
                        (source ? keys : "") + "[sinks.verify]\nfrom = [\"verify\"]\nplugin = " +
                        (source ? "\"x\"" : id) + "\n" + (source ? "" : keys)}});
}

config::Bound Bind(const config::Config& config, const penstock_plugin& plugin) {
  if (plugin.kind == PENSTOCK_SINK) {
    const auto sink = std::ranges::find(config.sinks, plugin.id, &config::SinkConfig::plugin);
    if (sink != config.sinks.end()) return BindOptions(*sink, plugin);
  } else {
    const auto found = std::ranges::find(config.sources, plugin.id, &config::SourceConfig::plugin);
    if (found != config.sources.end()) {
      config::SourceConfig source = *found;
      source.read_ahead_bytes = 1 << 20;
      return BindOptions(source, plugin);
    }
  }
  return {{}, {{config::Severity::kError, {}, "no table has plugin = " + Quoted(plugin.id)}}};
}

config::Bound BindKeys(const penstock_plugin& plugin, const std::string& keys) {
  const config::Loaded loaded = LoadKeys(plugin, keys);
  config::Bound bound = Bind(loaded.config, plugin);
  // What does not parse, or is the host's own and wrong, comes first.
  if (const std::string error = FirstError(loaded.findings); !error.empty())
    bound.findings.insert(bound.findings.begin(), {config::Severity::kError, {}, error});
  return bound;
}

const penstock_option* Find(const penstock_plugin& plugin, std::string_view name) {
  for (const penstock_option& option : OptionsOf(plugin))
    if (option.name == name) return &option;
  return nullptr;
}

// A value as a user writes it at the shell, in TOML: texts need no quotes there.
std::string InToml(int32_t type, const std::string& value) {
  switch (type) {
    case PENSTOCK_OPT_INT:
    case PENSTOCK_OPT_FLOAT:
    case PENSTOCK_OPT_BOOL:
    case PENSTOCK_OPT_MAP:
      return value;
    case PENSTOCK_OPT_LIST:
      return value.starts_with("[") ? value : "[" + Quoted(value) + "]";
    default:
      return Quoted(value);
  }
}

// "KEY=VALUE" as a line of TOML; KEY may also be an entry of a map: "client.bootstrap.servers".
std::string GivenLine(const penstock_plugin& plugin, const std::string& given) {
  const size_t equals = given.find('=');
  const std::string key = given.substr(0, equals);
  const std::string value = equals == given.npos ? "" : given.substr(equals + 1);
  if (const penstock_option* option = Find(plugin, key))
    return key + " = " + InToml(option->type, value) + "\n";
  for (const penstock_option& option : OptionsOf(plugin)) {
    const std::string prefix = std::string(option.name) + ".";
    if (option.type == PENSTOCK_OPT_MAP && key.starts_with(prefix))
      return prefix + Quoted(key.substr(prefix.size())) + " = " + Quoted(value) + "\n";
  }
  return key + " = " + Quoted(value) + "\n";  // the binder says that there is no such option
}

bool IsGiven(const Subject& subject, std::string_view name) {
  return std::ranges::any_of(subject.given.options, [&](const std::string& given) {
    return given.starts_with(std::string(name) + "=") || given.starts_with(std::string(name) + ".");
  });
}

// Required, without a default, and not given.
std::vector<const penstock_option*> Missing(const Subject& subject) {
  std::vector<const penstock_option*> out;
  for (const penstock_option& option : OptionsOf(subject.plugin)) {
    if ((option.flags & PENSTOCK_OPT_REQUIRED) != 0 && option.default_value == nullptr &&
        !IsGiven(subject, option.name))
      out.push_back(&option);
  }
  return out;
}

// The ways in which a text is made up: an address where nobody answers, a path, a word.
std::string SomeText(const Subject& subject, size_t way) {
  const std::array<std::string, kWays> texts = {"127.0.0.1:" + std::to_string(subject.closed_port),
                                                subject.scratch + "/file", "verify"};
  return texts[way];
}

std::string MadeUp(const Subject& subject, const penstock_option& option, size_t way) {
  const std::string number = std::to_string(std::max<int64_t>(option.min, 1));
  switch (option.type) {
    case PENSTOCK_OPT_STRING:
      if (option.choices != nullptr && option.choices[0] != '\0') {
        const std::string choices = option.choices;
        return Quoted(choices.substr(0, choices.find('|')));
      }
      return Quoted(SomeText(subject, way));
    case PENSTOCK_OPT_INT:
      return number;
    case PENSTOCK_OPT_FLOAT:
      return "1.0";
    case PENSTOCK_OPT_BOOL:
      return "false";
    case PENSTOCK_OPT_DURATION:
      return Quoted(number + "ns");
    case PENSTOCK_OPT_SIZE:
      return Quoted(number + "B");
    case PENSTOCK_OPT_LIST: {
      std::string list;
      for (int64_t i = 0; i < std::max<int64_t>(option.min, 1); ++i)
        list += (i == 0 ? "" : ", ") + Quoted(SomeText(subject, way));
      return "[" + list + "]";
    }
    case PENSTOCK_OPT_MAP:
      return "{}";
    case PENSTOCK_OPT_TEMPLATE:
      return Quoted("verify");
    default: {  // SECRET, FILE
      const std::string path = subject.scratch + "/secret";
      std::ofstream(path) << "secret\n";
      return Quoted((option.type == PENSTOCK_OPT_SECRET ? "file:" : "") + path);
    }
  }
}

// One attempt after the other goes through all ways of all texts.
std::string Keys(const Subject& subject, size_t attempt) {
  std::string keys;
  for (const std::string& given : subject.given.options) keys += GivenLine(subject.plugin, given);
  for (const penstock_option* option : Missing(subject)) {
    keys += std::string(option->name) + " = " + MadeUp(subject, *option, attempt % kWays) + "\n";
    attempt /= kWays;
  }
  return keys;
}

// "path and url"
std::string Names(const std::vector<const penstock_option*>& options) {
  std::string out;
  for (const penstock_option* option : options)
    out += (out.empty() ? "" : " and ") + std::string(option->name);
  return out;
}

struct Reports {
  const Subject* subject;
  std::string error;
};

void AddReport(const penstock_report* report, int32_t severity, const char* option,
               penstock_str text) noexcept {
  auto* self = static_cast<Reports*>(report->ctx);
  const std::string name = option == nullptr ? "" : option;
  if (text.ptr == nullptr || text.len == 0) {
    self->subject->trial.Fault("reports a finding on \"" + name +
                               "\" without a text; say what is wrong and what to do");
    return;
  }
  if (severity >= PENSTOCK_ERROR && self->error.empty())
    self->error = (name.empty() ? "" : name + ": ") + std::string(text.ptr, text.len);
}

}  // namespace

std::string DefaultsFault(const penstock_plugin& plugin) {
  std::vector<penstock_option> options(plugin.options, plugin.options + plugin.n_options);
  for (penstock_option& option : options) option.flags &= ~uint32_t{PENSTOCK_OPT_REQUIRED};
  penstock_plugin copy = plugin;
  copy.options = options.data();
  copy.option_stride = sizeof(penstock_option);
  return FirstError(BindKeys(copy, "").findings);
}

std::string RunCheck(const Subject& subject, const config::Options& options) {
  if (subject.plugin.check == nullptr) return "";
  Reports reports{&subject, ""};
  penstock_report report{};
  report.struct_size = sizeof report;
  report.ctx = &reports;
  report.add = AddReport;
  report.holds = [](const penstock_report*, uint64_t) noexcept {};
  const penstock_report* abi = &report;
  subject.trial.Call(kCheck, subject.plugin.check, options.abi(), abi);
  return reports.error;
}

config::Options GoodOptions(const Subject& subject) {
  if (!subject.given.config_file.empty()) {
    const config::Loaded loaded = config::Load(subject.given.config_file);
    config::Bound bound = Bind(loaded.config, subject.plugin);
    std::string error = loaded.complete ? FirstError(bound.findings) : FirstError(loaded.findings);
    if (error.empty()) error = RunCheck(subject, bound.options);
    if (error.empty()) return std::move(bound.options);
    subject.trial.Break(subject.given.config_file + " cannot be used: " + error);
  }
  std::string first;
  for (size_t attempt = 0; attempt < kMostAttempts; ++attempt) {
    config::Bound bound = BindKeys(subject.plugin, Keys(subject, attempt));
    std::string error = FirstError(bound.findings);
    if (error.empty()) error = RunCheck(subject, bound.options);
    if (error.empty()) return std::move(bound.options);
    if (first.empty()) first = error;
    size_t others = attempt + 1;
    for (size_t i = 0; i < Missing(subject).size(); ++i) others /= kWays;
    if (others > 0) break;  // every way of every text was tried
  }
  const auto missing = Missing(subject);
  if (missing.empty()) subject.trial.Break("the options are refused: " + first);
  subject.trial.Break("the values made up for the required " + Names(missing) +
                      " are refused: " + first + "; give real ones, --option " +
                      missing.front()->name + "=VALUE or --config FILE");
}

std::vector<config::Options> BadOptions(const Subject& subject) {
  const std::string odd = "%s{}[]:/\\ \u00e4\u4e16 " + std::string(4000, 'x');
  std::string odd_keys, extreme;
  for (const penstock_option& option : OptionsOf(subject.plugin)) {
    const std::string name = std::string(option.name) + " = ";
    switch (option.type) {
      case PENSTOCK_OPT_STRING:
      case PENSTOCK_OPT_FILE:
      case PENSTOCK_OPT_SECRET:
        odd_keys += name + Quoted(odd) + "\n";
        break;
      case PENSTOCK_OPT_LIST:
        odd_keys += name + "[" + Quoted(odd) + ", \"\"]\n";
        break;
      case PENSTOCK_OPT_MAP:
        odd_keys += name + "{ " + Quoted(odd) + " = " + Quoted(odd) + " }\n";
        break;
      case PENSTOCK_OPT_INT:
        extreme += name + std::to_string(option.max != 0 ? option.max : INT64_MAX) + "\n";
        break;
      default:
        break;
    }
  }
  std::vector<config::Options> out;
  for (const std::string& keys : {std::string(), odd_keys, odd_keys + extreme})
    out.push_back(BindKeys(subject.plugin, keys).options);
  return out;
}

}  // namespace penstock::verify
