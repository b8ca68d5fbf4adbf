#include "config/presets.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "config/text.h"
#include "config/toml_reader.h"

namespace penstock::config {
namespace {

// argo: what Argo Events 1.9 writes, and the stream that its controller has it make.
constexpr PresetPart kParts[] = {
    {"argo", "", R"(format = "argo"
)"},
    {"argo", "nats-jetstream", R"(subject = "default.{source}.{subject}"
msg_id = "{id}"

[stream]
name = "default"
create = true
subjects = ["default.*.*"]
storage = "file"
replicas = 3
max_messages = 50000
max_age = "168h"
max_bytes = 0
discard = "old"
duplicates = "5m"
)"},
    {"argo", "kafka", R"(key = "{source}.{subject}"
)"},
};
constexpr std::string_view kNames[] = {"argo"};

std::string ValueText(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kString:
      return Quote(node.text);
    case Node::Kind::kInteger:
      return std::to_string(node.integer);
    case Node::Kind::kBoolean:
      return node.boolean ? "true" : "false";
    case Node::Kind::kList: {
      std::string out;
      for (const Node& item : node.items) out += Cat(out.empty() ? "" : ", ", ValueText(item));
      return Cat("[", out, "]");
    }
    default:
      return {};
  }
}

class Filler {
 public:
  Filler(std::string_view preset, const Place& asked) : asked_(asked) { asked_.preset = preset; }

  void Fill(Node from, const std::string& path, Node* into) {
    for (Member& member : from.members) {
      const std::string full = path + member.key;
      const auto written = std::find_if(into->members.begin(), into->members.end(),
                                        [&](const Member& m) { return m.key == member.key; });
      if (written == into->members.end()) {
        Place(&member.value, full);
        into->members.push_back({std::move(member.key), asked_, std::move(member.value)});
      } else if (written->value.IsTable() && member.value.IsTable()) {
        Fill(std::move(member.value), full + ".", &written->value);
      }
    }
  }
  std::vector<std::string> Take() { return std::move(lines_); }

 private:
  // Gives the value, and what is in it, its place, and notes it.
  void Place(Node* node, const std::string& path) {
    node->where = asked_;
    node->verbatim = false;
    for (Node& item : node->items) item.where = asked_;
    for (Member& member : node->members) {
      member.key_where = asked_;
      Place(&member.value, Cat(path, ".", member.key));
    }
    if (!node->IsTable()) lines_.push_back(Cat(path, " = ", ValueText(*node)));
  }

  config::Place asked_;
  std::vector<std::string> lines_;
};

}  // namespace

std::span<const PresetPart> PresetParts() { return kParts; }

std::span<const std::string_view> PresetNames() { return kNames; }

std::vector<std::string> ApplyPreset(std::string_view preset, std::string_view plugin,
                                     const Place& asked, Node* table) {
  Filler filler(preset, asked);
  for (const PresetPart& part : kParts) {
    if (part.preset != preset || (!part.plugin.empty() && part.plugin != plugin)) continue;
    auto parsed = ParseToml(part.toml, asked.file);
    assert(parsed);  // presets_test.cc
    if (parsed) filler.Fill(std::move(*parsed), "", table);
  }
  return filler.Take();
}

}  // namespace penstock::config
