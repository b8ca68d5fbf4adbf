#include "plugin/entry.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <set>
#include <string_view>

#include "platform/abi.h"

namespace penstock::plugin {
namespace {

constexpr size_t kMaxEntrySize = 64 * 1024;
constexpr size_t kMaxOptions = 1024;
constexpr size_t kMaxOptionName = 128;

constexpr std::array<std::string_view, 6> kSourceWords = {
    "plugin", "event_source", "event_name", "event_type", "metadata", "queue"};
constexpr std::array<std::string_view, 9> kSinkWords = {
    "plugin",      "from",       "format",        "headers", "order",
    "when_behind", "max_behind", "max_in_flight", "retry"};

tl::unexpected<Error> Refuse(const std::string& what) {
  return Fail(Code::kConfig, "has a faulty plugin table: " + what + "; its author must mend that");
}

bool IsOptionName(std::string_view name) {
  if (name.empty() || name.size() > kMaxOptionName || name.front() == '.' || name.back() == '.')
    return false;
  if (name.find("..") != name.npos) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

bool IsReserved(std::string_view name, uint32_t kind) {
  const std::string_view table = name.substr(0, name.find('.'));
  if (kind == PENSTOCK_SOURCE) return std::ranges::count(kSourceWords, table) != 0;
  return std::ranges::count(kSinkWords, table) != 0;
}

bool IsChoice(std::string_view value, std::string_view choices) {
  while (true) {
    const size_t bar = std::min(choices.find('|'), choices.size());
    if (choices.substr(0, bar) == value) return true;
    if (bar == choices.size()) return false;
    choices.remove_prefix(bar + 1);
  }
}

Result<void> CheckOption(const penstock_option& option, uint32_t kind) {
  if (option.name == nullptr || !IsOptionName(option.name))
    return Refuse("an option's name is not of a-z, 0-9, '_' and single dots");
  const std::string quoted = "option \"" + std::string(option.name) + "\"";
  if (option.type < PENSTOCK_OPT_STRING || option.type > PENSTOCK_OPT_FILE)
    return Refuse(quoted + " has the unknown type " + std::to_string(option.type));
  if (option.type == PENSTOCK_OPT_TEMPLATE && kind == PENSTOCK_SOURCE)
    return Refuse(quoted + " is a template, which only sinks can have");
  if (IsReserved(option.name, kind)) return Refuse(quoted + " is a word of the host's own");
  if (option.min > option.max) return Refuse(quoted + " has a minimum above its maximum");
  const bool one_of =
      option.type == PENSTOCK_OPT_STRING && option.choices != nullptr && option.choices[0] != '\0';
  if (one_of && option.default_value != nullptr && !IsChoice(option.default_value, option.choices))
    return Refuse(quoted + " has a default that is not among its choices");
  return {};
}

Result<void> CheckOptions(Entry* entry) {
  std::set<std::string, std::less<>> names;
  for (const penstock_option& option : entry->options) {
    if (auto good = CheckOption(option, entry->table.kind); !good) return good;
    if (!names.insert(option.name).second)
      return Refuse("option \"" + std::string(option.name) + "\" stands there twice");
  }
  for (const std::string& name : names) {
    for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
      if (names.count(std::string_view(name).substr(0, dot)) != 0)
        return Refuse("option \"" + name.substr(0, dot) + "\" is also the table of \"" + name +
                      "\"");
    }
  }
  return {};
}

Result<void> TakeOptions(Entry* out) {
  penstock_plugin& table = out->table;
  if (table.n_options == 0) {
    table.options = nullptr;
  } else if (table.options == nullptr || table.n_options > kMaxOptions) {
    return Refuse("it announces " + std::to_string(table.n_options) + " options");
  } else if (!abi::IsStride<penstock_option>(table.option_stride, abi::kOption10)) {
    return Refuse("its option_stride is " + std::to_string(table.option_stride) +
                  " instead of sizeof(penstock_option)");
  }
  for (size_t i = 0; i < table.n_options; ++i) {
    penstock_option option = abi::Read(table.options, table.option_stride, i);
    if (option.help == nullptr) option.help = "";
    out->options.push_back(option);
  }
  table.options = out->options.data();
  table.option_stride = sizeof(penstock_option);
  return {};
}

Result<void> CheckCallbacks(const penstock_plugin& p) {
  const bool source = p.kind == PENSTOCK_SOURCE;
  const std::array<std::pair<const char*, bool>, 6> required = {{
      {"create", p.create != nullptr},
      {"stop", p.stop != nullptr},
      {"destroy", p.destroy != nullptr},
      {"run", !source || p.run != nullptr},
      {"submit", source || p.submit != nullptr},
      {"on_ack (its capabilities promise it)",
       (p.caps & PENSTOCK_CAP_ACK) == 0 || p.on_ack != nullptr},
  }};
  for (const auto& [name, there] : required) {
    if (!there) return Refuse(std::string("it has no ") + name);
  }
  return {};
}

Result<void> TakeTable(const penstock_plugin* raw, size_t symbol_size, penstock_plugin* out) {
  std::memcpy(out, raw, offsetof(penstock_plugin, kind));
  if (out->magic != PENSTOCK_MAGIC) return Refuse("it does not begin with PENSTOCK_MAGIC");
  const size_t size = out->struct_size;
  if (size < abi::kPlugin10 || size > kMaxEntrySize || (symbol_size != 0 && size > symbol_size))
    return Refuse("its struct_size is " + std::to_string(size) +
                  " instead of sizeof(penstock_plugin)");
  std::memcpy(out, raw, std::min(size, sizeof *out));
  out->struct_size = sizeof *out;
  if (!abi::IsStride<penstock_receipt>(out->receipt_stride, abi::kReceipt10))
    return Refuse("its receipt_stride is " + std::to_string(out->receipt_stride) +
                  " instead of sizeof(penstock_receipt)");
  for (const char** text :
       {&out->id, &out->version, &out->summary, &out->vendor, &out->license, &out->doc_url}) {
    if (*text == nullptr) *text = "";
  }
  return {};
}

constexpr char kEntrySymbol[] = "penstock_plugin_entry";

size_t SymbolSize(const void* symbol) {
  Dl_info info{};
  const ElfW(Sym)* entry = nullptr;
  if (dladdr1(symbol, &info, reinterpret_cast<void**>(const_cast<ElfW(Sym)**>(&entry)),
              RTLD_DL_SYMENT) == 0)
    return 0;
  return entry != nullptr ? entry->st_size : 0;
}

}  // namespace

Result<void> CheckEntry(const penstock_plugin* raw, size_t symbol_size, const Note& note,
                        Entry* out) {
  penstock_plugin& table = out->table;
  if (auto good = TakeTable(raw, symbol_size, &table); !good) return good;
  if (table.abi_major != note.abi_major || table.abi_minor != note.abi_minor ||
      table.id != note.id || table.version != note.version ||
      table.kind != static_cast<uint32_t>(note.kind)) {
    return Refuse("kind, id, version or ABI are not those of its note (" +
                  std::string(KindName(note.kind)) + " " + note.id + " " + note.version + ")");
  }
  if (auto good = CheckCallbacks(table); !good) return good;
  if (auto good = TakeOptions(out); !good) return good;
  return CheckOptions(out);
}

Result<void> FindEntry(const boost::dll::shared_library& library, const Note& note, Entry* out) {
  if (!library.has(kEntrySymbol)) {
    return Fail(Code::kConfig,
                "does not export the symbol penstock_plugin_entry; define it, and link with the "
                "SDK's version script");
  }
  const auto* raw = &library.get<const penstock_plugin>(kEntrySymbol);
  return CheckEntry(raw, SymbolSize(raw), note, out);
}

}  // namespace penstock::plugin
