// What the name of a plugin's file says: "sink-null.so" is the sink null.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "plugin/elf.h"

namespace penstock::plugin {

// The id may be none that a note can have.
struct FileName {
  Kind kind;
  std::string id;
};

// Nothing: it is not the name of a plugin.
std::optional<FileName> ParseFileName(std::string_view name);
std::string PluginFile(Kind kind, std::string_view id);

// Empty when the note is of the plugin that the name says; else the sentence that names both.
std::string NameRefusal(const FileName& name, const Note& note);

}  // namespace penstock::plugin
