// Argo Events' manifests as far as Penstock has an equivalent. Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/text.h"
#include "import/yaml_tree.h"

namespace penstock::import_argo {

struct SecretKey {
  std::string name, key;
};

// One entry of spec.generic.
struct GenericEntry {
  Place place;
  std::string event_name;
  std::string url, config;
  Place url_place;
  bool insecure = false, json_body = false;
  Place insecure_place;  // of the entry when insecure is not written
  std::vector<std::pair<std::string, std::string>> metadata;  // in the file's order
  std::optional<SecretKey> auth;
  std::optional<std::string> filter;
  Place filter_place;
};

struct EventSource {
  std::string file;
  Place place;
  std::string name, name_space;  // name_space empty: none is written
  std::string bus = "default";
  std::vector<GenericEntry> entries;
};

struct TlsSecrets {
  std::optional<SecretKey> ca, certificate, key;
  bool skip_verify = false;
};

struct Sasl {
  std::string mechanism = "PLAIN";
  std::optional<SecretKey> user, password;
};

struct EventBus {
  enum class Kind { kNative, kExotic, kKafka };  // the first two are JetStream's
  std::string file;
  Place place;
  std::string name, name_space;
  Kind kind = Kind::kNative;
  std::string url;
  std::string topic;  // empty: not written
  std::optional<SecretKey> access;
  std::vector<std::pair<std::string, std::string>> stream;  // keys of our stream table, TOML values
  std::optional<TlsSecrets> tls;
  std::optional<Sasl> sasl;
  std::string partitioner;
};

struct Manifests {
  std::vector<EventSource> sources;
  std::vector<EventBus> buses;
};

// Reads the documents of one file. What has no equivalent is a warning; what Argo or Kubernetes
// would refuse is an error.
void ReadManifests(const std::string& file, const std::vector<Node>& documents, Manifests* out,
                   config::Findings* findings);

}  // namespace penstock::import_argo
