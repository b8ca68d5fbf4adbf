// Whatever the manifests hold, converting them ends, with findings that have a place in the file,
// and what is made of good ones is a configuration that is read without an error.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

#include "config/config.h"
#include "import/import.h"

namespace {

using penstock::config::Finding;
using penstock::config::Severity;

void Require(bool condition) {
  if (!condition) std::abort();
}

bool HasError(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings)
    if (finding.severity == Severity::kError) return true;
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto made = penstock::import_argo::Convert({{"a.yaml", text}}, {});
  uint64_t lines = 1;
  for (const char c : text) lines += c == '\n' || c == '\r' ? 1 : 0;
  for (const Finding& finding : made.findings) {
    Require(!finding.ToString().empty());
    if (finding.where.line == 0) continue;
    Require(finding.where.column > 0 && finding.where.line <= lines + 1);
  }
  Require(made.toml.empty() == HasError(made.findings));
  if (made.sources == 0 || made.sources > 4000 || made.toml.size() > (1 << 20)) return 0;
  const auto loaded = penstock::config::LoadText({{"a.toml", made.toml}});
  if (HasError(loaded.findings)) {
    std::cerr << made.toml;
    for (const Finding& finding : loaded.findings) std::cerr << finding.ToString() << "\n";
    std::abort();
  }
  Require(loaded.config.sources.size() == made.sources);
  return 0;
}
