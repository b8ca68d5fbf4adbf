// The merged tree to the typed model. Private to this folder.
#pragma once

#include "config/config.h"
#include "config/node.h"
#include "config/text.h"

namespace penstock::config {

// main_file: what is said of the configuration as a whole is said there. incomplete: a file could
// not be read or parsed, so that what is missing may well stand there and is no finding.
Config BuildModel(const Node& root, const std::string& main_file, bool incomplete,
                  Findings* findings);

}  // namespace penstock::config
