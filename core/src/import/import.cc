#include "import/import.h"

#include "import/manifest.h"
#include "import/write.h"
#include "import/yaml_tree.h"

namespace penstock::import_argo {

Outcome Convert(const std::vector<config::FileText>& files, const BusOptions& bus) {
  config::Findings findings;
  Manifests manifests;
  std::vector<std::string> names;
  for (const config::FileText& file : files) {
    names.push_back(file.path);
    auto documents = ReadYaml(file.path, file.text);
    if (documents) {
      ReadManifests(file.path, *documents, &manifests, &findings);
    } else {
      findings.Add(std::move(documents.error()));
    }
  }
  Written written = Write(manifests, names, bus, &findings);
  Outcome out;
  out.findings = findings.Take(names);
  for (const config::Finding& finding : out.findings)
    if (finding.severity == config::Severity::kError) return out;
  out.toml = std::move(written.toml);
  out.sources = written.sources;
  return out;
}

}  // namespace penstock::import_argo
