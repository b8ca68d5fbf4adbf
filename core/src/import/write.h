// The configuration's text. Private to this folder.
#pragma once

#include <string>
#include <vector>

#include "import/import.h"
#include "import/manifest.h"

namespace penstock::import_argo {

struct Written {
  std::string toml;
  size_t sources = 0;
};

// files: how the manifests' files are called, for the text at the top.
Written Write(const Manifests& manifests, const std::vector<std::string>& files,
              const BusOptions& bus, config::Findings* findings);

}  // namespace penstock::import_argo
