// Values that a sink's table gets by a name, preset = "argo". Private to this folder.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"

namespace penstock::config {

// A preset is a few fragments of a sink's table, as a user would write them.
struct PresetPart {
  std::string_view preset;
  std::string_view plugin;  // the part is for sinks of this plugin; empty: for all
  std::string_view toml;
};
std::span<const PresetPart> PresetParts();
std::span<const std::string_view> PresetNames();

// Puts into a sink's table what the preset has and the table does not say itself. A table in it
// is filled in likewise, key by key. asked: where the preset is asked for, which becomes the place
// of its values. Returns what was filled in, one line a value: `stream.replicas = 3`.
std::vector<std::string> ApplyPreset(std::string_view preset, std::string_view plugin,
                                     const Place& asked, Node* table);

}  // namespace penstock::config
