// What a test gives a plugin: the plugin itself, option values, and what its check() says of them.
#pragma once

#include <dlfcn.h>
#include <penstock/plugin.h>

#include <cctype>
#include <chrono>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace penstock::fakes {

using List = std::vector<std::string>;
using Map = std::vector<std::pair<std::string, std::string>>;

inline std::string_view View(penstock_str s) { return {s.len == 0 ? "" : s.ptr, s.len}; }
inline penstock_str Str(std::string_view s) { return {s.data(), s.size()}; }

// Opens a plugin for the life of the process; throws with dlerror's text.
inline const penstock_plugin& LoadPlugin(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const void* entry = dlsym(library, "penstock_plugin_entry");
  if (entry == nullptr) throw std::runtime_error(std::string(path) + " has no entry");
  return *static_cast<const penstock_plugin*>(entry);
}

// One option's value. Durations are nanoseconds or std::chrono, sizes bytes.
struct Value {
  std::variant<int64_t, double, std::string, List, Map> data;

  template <typename T>
  Value(T v) {  // NOLINT: meant to be implicit
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      data = static_cast<int64_t>(v);
    } else if constexpr (std::is_floating_point_v<T>) {
      data = static_cast<double>(v);
    } else if constexpr (std::is_convertible_v<T, std::chrono::nanoseconds>) {
      data = static_cast<int64_t>(std::chrono::nanoseconds(v).count());
    } else if constexpr (std::is_convertible_v<T, std::string>) {
      data = std::string(v);
    } else {
      data = std::move(v);
    }
  }
};
using Values = std::map<std::string, Value>;

// A penstock_config: the plugin's options with their defaults, over them the test's values, and the
// host's own names.
class FakeConfig {
 public:
  // Throws for a name that the plugin does not declare and for a value of another type than the
  // declared one.
  FakeConfig(const penstock_plugin& plugin, const Values& values) {
    abi_ = {sizeof abi_, sizeof(penstock_value), this, &FakeConfig::Get};
    Put("format", PENSTOCK_OPT_STRING, Value("raw"), false);
    Put("max_in_flight.events", PENSTOCK_OPT_INT, Value(8192), false);
    Put("max_in_flight.bytes", PENSTOCK_OPT_SIZE, Value(16 << 20), false);
    for (size_t i = 0; i < plugin.n_options; ++i) {
      const auto* option = reinterpret_cast<const penstock_option*>(
          reinterpret_cast<const char*>(plugin.options) + i * plugin.option_stride);
      if (option->default_value != nullptr) {
        Put(option->name, option->type, Parse(option->type, option->default_value), false);
      } else {
        Put(option->name, option->type, Empty(option->type), false);
      }
    }
    for (const auto& [name, value] : values) {
      const auto found = entries_.find(name);
      if (found == entries_.end()) throw std::logic_error("the plugin has no option " + name);
      Put(name, found->second.value.type, value, true);
    }
  }
  FakeConfig(const FakeConfig&) = delete;
  FakeConfig& operator=(const FakeConfig&) = delete;

  const penstock_config* abi() const { return &abi_; }

 private:
  struct Entry {
    penstock_value value{};
    std::string text;
    std::vector<std::string> storage;
    std::vector<penstock_str> items;
    std::vector<penstock_kv> pairs;
  };

  static const penstock_value* Get(const penstock_config* c, const char* name) noexcept {
    const auto& entries = static_cast<const FakeConfig*>(c->ctx)->entries_;
    const auto found = entries.find(name);
    return found == entries.end() ? nullptr : &found->second.value;
  }

  static Value Empty(int32_t type) {
    switch (type) {
      case PENSTOCK_OPT_LIST:
        return List{};
      case PENSTOCK_OPT_MAP:
        return Map{};
      case PENSTOCK_OPT_FLOAT:
        return 0.0;
      case PENSTOCK_OPT_INT:
      case PENSTOCK_OPT_BOOL:
      case PENSTOCK_OPT_DURATION:
      case PENSTOCK_OPT_SIZE:
        return 0;
      default:
        return "";
    }
  }

  // Default texts as option tables hold them: TOML without quotes.
  static Value Parse(int32_t type, const std::string& text) {
    switch (type) {
      case PENSTOCK_OPT_BOOL:
        return text == "true";
      case PENSTOCK_OPT_FLOAT:
        return std::stod(text);
      case PENSTOCK_OPT_INT:
        return int64_t{std::stoll(text)};
      case PENSTOCK_OPT_DURATION:
      case PENSTOCK_OPT_SIZE:
        return ParseUnits(text);
      case PENSTOCK_OPT_LIST: {
        List out;
        for (size_t at = text.find('"'); at != std::string::npos; at = text.find('"', at + 1)) {
          const size_t end = text.find('"', at + 1);
          out.push_back(text.substr(at + 1, end - at - 1));
          at = end;
        }
        return out;
      }
      case PENSTOCK_OPT_MAP:
        return Map{};
      default:
        return text;
    }
  }
  static int64_t ParseUnits(const std::string& text) {
    static const std::map<std::string, int64_t> kUnits = {
        {"", 1},           {"ns", 1},          {"us", 1000},         {"ms", 1000000},
        {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}, {"B", 1},
        {"KB", 1000},      {"MB", 1000000},    {"GB", 1000000000},   {"KiB", 1 << 10},
        {"MiB", 1 << 20},  {"GiB", 1 << 30}};
    int64_t total = 0;
    size_t at = 0;
    while (at < text.size()) {
      size_t used = 0;
      const int64_t number = std::stoll(text.substr(at), &used);
      at += used;
      size_t end = at;
      while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
      total += number * kUnits.at(text.substr(at, end - at));
      at = end;
    }
    return total;
  }

  void Put(const std::string& name, int32_t type, const Value& v, bool set) {
    Entry& e = entries_[name];
    e = Entry{};
    e.value.type = type;
    e.value.is_set = set ? 1 : 0;
    const bool number = type == PENSTOCK_OPT_INT || type == PENSTOCK_OPT_BOOL ||
                        type == PENSTOCK_OPT_DURATION || type == PENSTOCK_OPT_SIZE;
    if (number && std::holds_alternative<int64_t>(v.data)) {
      e.value.i64 = std::get<int64_t>(v.data);
    } else if (type == PENSTOCK_OPT_FLOAT && std::holds_alternative<double>(v.data)) {
      e.value.f64 = std::get<double>(v.data);
    } else if (type == PENSTOCK_OPT_LIST && std::holds_alternative<List>(v.data)) {
      e.storage = std::get<List>(v.data);
      for (const std::string& item : e.storage) e.items.push_back(Str(item));
      e.value.items = e.items.data();
      e.value.n = e.items.size();
    } else if (type == PENSTOCK_OPT_MAP && std::holds_alternative<Map>(v.data)) {
      const Map& map = std::get<Map>(v.data);
      e.storage.reserve(2 * map.size());
      for (const auto& [key, value] : map) {
        e.storage.push_back(key);
        e.storage.push_back(value);
        e.pairs.push_back({Str(e.storage[e.storage.size() - 2]), Str(e.storage.back())});
      }
      e.value.entries = e.pairs.data();
      e.value.n = e.pairs.size();
    } else if (!number && type != PENSTOCK_OPT_FLOAT && type != PENSTOCK_OPT_LIST &&
               type != PENSTOCK_OPT_MAP && std::holds_alternative<std::string>(v.data)) {
      e.text = std::get<std::string>(v.data);
      e.value.str = Str(e.text);
    } else {
      throw std::logic_error("the value given for option " + name + " is of another type");
    }
  }

  penstock_config abi_{};
  std::map<std::string, Entry> entries_;
};

// What a plugin's check() reported.
struct FakeFinding {
  int32_t severity;
  std::string option, text;
};

// What the plugin's check() says of a configuration, FakeConfig's or FakeSourceConfig's.
template <typename Config = FakeConfig>
std::vector<FakeFinding> Check(const penstock_plugin& plugin, const Values& values) {
  const Config config(plugin, values);
  std::vector<FakeFinding> found;
  penstock_report report{};
  report.struct_size = sizeof report;
  report.ctx = &found;
  report.add = [](const penstock_report* r, int32_t severity, const char* option,
                  penstock_str text) noexcept {
    auto* findings = static_cast<std::vector<FakeFinding>*>(r->ctx);
    findings->push_back({severity, option, std::string(View(text))});
  };
  if (plugin.check != nullptr) plugin.check(config.abi(), &report);
  return found;
}

}  // namespace penstock::fakes
