#include "plugin/file_name.h"

namespace penstock::plugin {

std::string_view KindName(Kind kind) { return kind == Kind::kSource ? "source" : "sink"; }

std::optional<FileName> ParseFileName(std::string_view name) {
  constexpr std::string_view kSuffix = ".so";
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  for (const Kind kind : {Kind::kSource, Kind::kSink}) {
    const std::string prefix = std::string(KindName(kind)) + "-";
    if (name.starts_with(prefix) && name.size() > prefix.size())
      return FileName{kind, std::string(name.substr(prefix.size()))};
  }
  return std::nullopt;
}

std::string PluginFile(Kind kind, std::string_view id) {
  return std::string(KindName(kind)) + "-" + std::string(id) + ".so";
}

std::string NameRefusal(const FileName& name, const Note& note) {
  if (note.kind == name.kind && note.id == name.id) return "";
  return "says in its note that it is the " + std::string(KindName(note.kind)) + " " + note.id +
         ", but its file name says " + std::string(KindName(name.kind)) + " " + Printable(name.id) +
         "; rename it to " + PluginFile(note.kind, note.id);
}

}  // namespace penstock::plugin
