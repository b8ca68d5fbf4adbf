// Whatever the files hold, loading them and binding their tables ends, with findings that have a
// place in one of the files, and with the same findings the second time.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace {

using penstock::config::Bound;
using penstock::config::FileText;
using penstock::config::Finding;
using penstock::config::Loaded;
using penstock::config::Severity;

void Require(bool condition) {
  if (!condition) std::abort();
}

const penstock_option kOptions[] = {
    {"a", PENSTOCK_OPT_STRING, PENSTOCK_OPT_REQUIRED, nullptr, "x|y", 0, 0, "A."},
    {"b", PENSTOCK_OPT_INT, 0, "7", nullptr, 1, 100, "B."},
    {"c", PENSTOCK_OPT_FLOAT, 0, "0.5", nullptr, 0, 0, "C."},
    {"d", PENSTOCK_OPT_BOOL, 0, "true", nullptr, 0, 0, "D."},
    {"e", PENSTOCK_OPT_DURATION, 0, "1s", nullptr, 1, 1'000'000'000, "E."},
    {"f", PENSTOCK_OPT_SIZE, 0, "1KiB", nullptr, 0, 1 << 20, "F."},
    {"g", PENSTOCK_OPT_LIST, 0, "[\"x\"]", nullptr, 0, 3, "G."},
    {"h", PENSTOCK_OPT_MAP, 0, nullptr, nullptr, 0, 0, "H."},
    {"i", PENSTOCK_OPT_SECRET, 0, nullptr, nullptr, 0, 0, "I."},
    {"j.k", PENSTOCK_OPT_FILE, 0, nullptr, nullptr, 0, 0, "K."},
    {"j.l.m", PENSTOCK_OPT_INT, 0, nullptr, nullptr, 0, 0, "M."},
    {"n", PENSTOCK_OPT_TEMPLATE, 0, "{id}", nullptr, 0, 0, "N."},
};

penstock_plugin Plugin(uint32_t kind, size_t n_options) {
  penstock_plugin plugin{};
  plugin.kind = kind;
  plugin.id = "toy";
  plugin.options = kOptions;
  plugin.n_options = n_options;
  plugin.option_stride = sizeof(penstock_option);
  return plugin;
}

uint64_t LinesOf(const std::string& text) {
  uint64_t lines = 1;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  return lines;
}

void CheckFindings(const std::vector<Finding>& findings, const std::vector<FileText>& files) {
  for (const Finding& finding : findings) {
    Require(!finding.ToString().empty());
    if (finding.where.line == 0) continue;
    Require(finding.where.column > 0);
    bool known = false;
    for (const FileText& file : files) {
      known = known ||
              (file.path == finding.where.file && finding.where.line <= LinesOf(file.text) + 1);
    }
    Require(known);
  }
}

template <typename Instance>
void Bind(const Instance& instance, const penstock_plugin& plugin,
          const std::vector<FileText>& files) {
  const Bound bound = penstock::config::BindOptions(instance, plugin);
  CheckFindings(bound.findings, files);
  for (size_t i = 0; i < plugin.n_options; ++i) {
    const penstock_config* config = bound.options.abi();
    const penstock_value* value = config->get(config, kOptions[i].name);
    Require(value != nullptr && value->type == kOptions[i].type);
    for (size_t entry = 0; entry < value->n; ++entry) {
      Require(value->items != nullptr || value->entries != nullptr);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  // The first byte 0xFF, which no text has, parts two files.
  const size_t cut = text.find('\xff');
  std::vector<FileText> files{{"a.toml", text.substr(0, cut)}};
  if (cut != std::string::npos) files.push_back({"b.toml", text.substr(cut + 1)});
  const Loaded loaded = penstock::config::LoadText(files);
  CheckFindings(loaded.findings, files);
  Require(loaded.findings.size() == penstock::config::LoadText(files).findings.size());
  const penstock_plugin source = Plugin(PENSTOCK_SOURCE, std::size(kOptions) - 1);
  const penstock_plugin sink = Plugin(PENSTOCK_SINK, std::size(kOptions));
  for (const auto& instance : loaded.config.sources) Bind(instance, source, files);
  for (const auto& instance : loaded.config.sinks) Bind(instance, sink, files);
  return 0;
}
