// One map of a manifest, read field by field. Private to this folder.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "import/manifest.h"

namespace penstock::import_argo {

// What is said of a field that has no equivalent.
struct Advice {
  std::string_view field, text;
};

class Fields {
 public:
  // path: how the map is called in sentences, "spec.generic.example".
  Fields(const Node& map, std::string path, const std::string& file, config::Findings* findings)
      : map_(map), path_(std::move(path)), file_(file), findings_(findings) {}

  // nullptr: the field is not there, or null, which is the same to Kubernetes. Marks it as known.
  const Node* Find(std::string_view field);
  // The same; a value of another kind is an error, and as good as not there.
  const Node* Find(std::string_view field, Kind kind);
  std::string String(std::string_view field);  // empty: not there
  bool Bool(std::string_view field);
  std::optional<SecretKey> Secret(std::string_view field);
  // Where the value stands, or the map when it is not there.
  Place PlaceOf(std::string_view field) const;

  void Ignore(std::initializer_list<std::string_view> fields);
  // A warning for each field that was not asked for, with the advice, or as an unknown one.
  void WarnOfRest(std::span<const Advice> advice);

  void Error(Place place, std::string text);
  void Warning(Place place, std::string text);
  std::string PathOf(std::string_view field) const;
  const Node& map() const { return map_; }

 private:
  const Node& map_;
  std::string path_;
  const std::string& file_;
  config::Findings* findings_;
  std::set<std::string, std::less<>> known_;
};

// Of a Kind::kMap node; an error for another one.
bool IsMap(const Node& node, const std::string& path, const std::string& file,
           config::Findings* findings);

config::Position PositionOf(const std::string& file, Place place);

// The bus of a document of kind EventBus, if Penstock can write to it.
void ReadEventBus(const Node& document, const std::string& file, Manifests* out,
                  config::Findings* findings);

// The name and the namespace of a document's metadata; false: an error was found.
bool ReadMetadata(const Node& document, const std::string& file, std::string* name,
                  std::string* name_space, config::Findings* findings);

}  // namespace penstock::import_argo
