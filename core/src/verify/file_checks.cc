#include "verify/file_checks.h"

#include <algorithm>
#include <filesystem>

#include "plugin/file_name.h"
#include "plugin/image.h"
#include "plugin/libraries.h"

namespace penstock::verify {
namespace {

constexpr char kEntrySymbol[] = "penstock_plugin_entry";
constexpr size_t kNamesShown = 5;

struct Finding {
  Verdict verdict = Verdict::kPass;
  std::string text;
};

Finding Wrong(std::string text) {
  return text.empty() ? Finding{} : Finding{Verdict::kFail, std::move(text)};
}

Finding CheckName(const std::string& path, const plugin::Note& note) {
  const std::string file = std::filesystem::path(path).filename();
  if (const auto name = plugin::ParseFileName(file)) return Wrong(NameRefusal(*name, note));
  return Wrong("is named " + plugin::Printable(file) +
               ", which is no name of a plugin, so the host would never look at it; rename it to " +
               plugin::PluginFile(note.kind, note.id));
}

Finding CheckExports(const plugin::ElfFacts& facts) {
  if (!facts.exports) return {Verdict::kSkip, "the file was stripped of its section headers"};
  std::vector<std::string> others = *facts.exports;
  const auto own = std::ranges::find(others, kEntrySymbol);
  if (own == others.end()) {
    return Wrong(
        "does not export penstock_plugin_entry, which the host looks for; register the plugin with "
        "a macro of the SDK and link it with the SDK's version script");
  }
  others.erase(own);
  if (others.empty()) return {};
  std::string list;
  for (size_t i = 0; i < std::min(others.size(), kNamesShown); ++i)
    list += (i == 0 ? "" : ", ") + plugin::Printable(others[i]);
  if (others.size() > kNamesShown)
    list += " and " + std::to_string(others.size() - kNamesShown) + " more";
  return Wrong("exports more than its entry: " + list +
               ". Libraries and other plugins would bind to them; link it with the SDK's version "
               "script (penstock/plugin.map)");
}

Finding CheckRunPath(const plugin::ElfFacts& facts) {
  for (const std::string& directory : facts.run_path) {
    if (directory.starts_with("/")) continue;
    return Wrong("has the relative directory \"" + plugin::Printable(directory) +
                 "\" in its RUNPATH, so whoever starts the host elsewhere gives it other "
                 "libraries; link it without -rpath");
  }
  if (facts.run_path.empty()) return {};
  return {Verdict::kWarning, "looks for libraries in " + plugin::Printable(facts.run_path.front()) +
                                 " (RUNPATH), which must then be there on every machine; leave "
                                 "-rpath out unless that is meant"};
}

Finding CheckProtobuf(const plugin::ElfFacts& facts) {
  for (const std::string& name : facts.needed) {
    if (!name.starts_with("libprotobuf.so")) continue;
    return {Verdict::kWarning,
            "uses the full protobuf runtime (" + plugin::Printable(name) +
                "): two plugins that hold the same .proto, or the same package, abort the process; "
                "put `option optimize_for = LITE_RUNTIME;` into the .proto and link protobuf-lite"};
  }
  return {};
}

}  // namespace

void CheckFile(const std::string& path, Report* report) {
  plugin::ElfFacts facts;
  if (auto copy = plugin::ReadWhole(path)) {
    facts = plugin::ReadElf(copy->bytes);
  } else {
    facts.refusal = copy.error().message;
  }
  report->note = facts.note;
  const bool good = facts.refusal.empty();
  const Finding skip{Verdict::kSkip, "the file is refused as a whole"};
  const auto add = [&](const char* name, const Finding& finding) {
    report->checks.push_back({name, finding.verdict, finding.text});
  };
  add("file", Wrong(facts.refusal));
  add("name", good ? CheckName(path, *facts.note) : skip);
  add("libraries", good ? Wrong(MissingLibraries(facts, plugin::LibraryPaths::OfSystem())) : skip);
  add("exports", good ? CheckExports(facts) : skip);
  add("nodelete",
      !good ? skip
            : Wrong(facts.nodelete ? ""
                                   : "is not marked as never to be unloaded, and code of its "
                                     "libraries may outlive it elsewhere than here; link it with "
                                     "-Wl,-z,nodelete"));
  add("runpath", good ? CheckRunPath(facts) : skip);
  add("protobuf", good ? CheckProtobuf(facts) : skip);
}

}  // namespace penstock::verify
