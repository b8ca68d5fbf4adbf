#include "import/fields.h"

#include <algorithm>

namespace penstock::import_argo {

using config::Cat;
using config::Quote;

config::Position PositionOf(const std::string& file, Place place) {
  return {file, place.line, place.column};
}

bool IsMap(const Node& node, const std::string& path, const std::string& file,
           config::Findings* findings) {
  if (node.kind == Kind::kMap) return true;
  findings->Error(PositionOf(file, node.place),
                  Cat(path, " is ", KindName(node.kind), ", expected a map"));
  return false;
}

std::string Fields::PathOf(std::string_view field) const {
  return path_.empty() ? std::string(field) : Cat(path_, ".", field);
}

void Fields::Error(Place place, std::string text) {
  findings_->Error(PositionOf(file_, place), std::move(text));
}

void Fields::Warning(Place place, std::string text) {
  findings_->Warning(PositionOf(file_, place), std::move(text));
}

const Node* Fields::Find(std::string_view field) {
  known_.emplace(field);
  const Node* node = map_.Find(field);
  return node == nullptr || node->kind == Kind::kNull ? nullptr : node;
}

const Node* Fields::Find(std::string_view field, Kind kind) {
  const Node* node = Find(field);
  if (node == nullptr || node->kind == kind) return node;
  std::string text =
      Cat(PathOf(field), " is ", KindName(node->kind), ", expected ", KindName(kind));
  if (kind == Kind::kString && node->kind != Kind::kList && node->kind != Kind::kMap)
    text += Cat("; as a string it is written with quotes: ", Quote(node->text));
  Error(node->place, std::move(text));
  return nullptr;
}

std::string Fields::String(std::string_view field) {
  const Node* node = Find(field, Kind::kString);
  return node == nullptr ? "" : node->text;
}

bool Fields::Bool(std::string_view field) {
  const Node* node = Find(field, Kind::kBool);
  return node != nullptr && node->text == "true";
}

std::optional<SecretKey> Fields::Secret(std::string_view field) {
  const Node* node = Find(field, Kind::kMap);
  if (node == nullptr) return std::nullopt;
  Fields fields(*node, PathOf(field), file_, findings_);
  SecretKey out{fields.String("name"), fields.String("key")};
  fields.Ignore({"optional"});
  fields.WarnOfRest({});
  if (!out.name.empty() && !out.key.empty()) return out;
  Error(node->place, Cat(PathOf(field), " needs name and key"));
  return std::nullopt;
}

Place Fields::PlaceOf(std::string_view field) const {
  const Node* node = map_.Find(field);
  return node == nullptr ? map_.place : node->place;
}

void Fields::Ignore(std::initializer_list<std::string_view> fields) {
  known_.insert(fields.begin(), fields.end());
}

void Fields::WarnOfRest(std::span<const Advice> advice) {
  for (const Member& member : map_.members) {
    if (known_.contains(member.key) || member.value.kind == Kind::kNull) continue;
    const auto found = std::ranges::find(advice, member.key, &Advice::field);
    if (found != advice.end()) {
      Warning(member.place, Cat(PathOf(member.key), " has no equivalent: ", found->text));
      continue;
    }
    std::vector<std::string_view> fields(known_.begin(), known_.end());
    Warning(member.place, Cat("unknown field ", Quote(PathOf(member.key)), ", left out",
                              config::DidYouMean(member.key, fields)));
  }
}

bool ReadMetadata(const Node& document, const std::string& file, std::string* name,
                  std::string* name_space, config::Findings* findings) {
  Fields top(document, "", file, findings);
  const Node* node = top.Find("metadata", Kind::kMap);
  if (node == nullptr) {
    if (top.Find("metadata") == nullptr)
      top.Error(document.place, "the manifest has no metadata.name");
    return false;
  }
  Fields metadata(*node, "metadata", file, findings);
  const Node* name_node = metadata.Find("name", Kind::kString);
  *name_space = metadata.String("namespace");
  // What a cluster writes there itself.
  metadata.Ignore({"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp",
                   "finalizers", "generateName", "generation", "managedFields", "ownerReferences",
                   "resourceVersion", "selfLink", "uid"});
  if (const Node* annotations = metadata.Find("annotations", Kind::kMap)) {
    const bool own = std::ranges::all_of(annotations->members, [](const Member& m) {
      return m.key == "kubectl.kubernetes.io/last-applied-configuration";
    });
    if (!own)
      metadata.Warning(annotations->place, "metadata.annotations has no equivalent: left out");
  }
  constexpr Advice kAdvice[] = {{"labels", "left out"}};
  metadata.WarnOfRest(kAdvice);
  if (name_node != nullptr && !name_node->text.empty()) {
    *name = name_node->text;
    return true;
  }
  if (metadata.Find("name") == nullptr || name_node != nullptr)
    metadata.Error(node->place, "the manifest has no metadata.name");
  return false;
}

}  // namespace penstock::import_argo
