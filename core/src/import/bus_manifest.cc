#include <algorithm>
#include <array>
#include <charconv>

#include "import/fields.h"
#include "import/toml_text.h"

namespace penstock::import_argo {
namespace {

using config::Cat;
using config::Findings;
using config::Quote;

constexpr std::string_view kOfCluster = "it is about the bus in the cluster, which stays as it is";
constexpr Advice kJetStreamAdvice[] = {
    {"version", kOfCluster},           {"replicas", kOfCluster},
    {"containerTemplate", kOfCluster}, {"reloaderContainerTemplate", kOfCluster},
    {"persistence", kOfCluster},       {"metricsContainerTemplate", kOfCluster},
    {"metadata", kOfCluster},          {"nodeSelector", kOfCluster},
    {"tolerations", kOfCluster},       {"securityContext", kOfCluster},
    {"imagePullSecrets", kOfCluster},  {"priorityClassName", kOfCluster},
    {"priority", kOfCluster},          {"affinity", kOfCluster},
    {"settings", kOfCluster},          {"serviceAccountName", kOfCluster},
    {"startArgs", kOfCluster},         {"maxPayload", kOfCluster}};
constexpr Advice kKafkaAdvice[] = {{"version", "librdkafka finds out by itself"},
                                   {"consumerGroup", "it is the Sensors'"}};

// What the stream is to be, in Argo's keys and ours.
struct StreamKey {
  std::string_view argo, ours;
  std::string_view standard;  // Argo's own, which the preset has
};
constexpr std::array<StreamKey, 6> kStreamKeys = {{{"maxmsgs", "max_messages", "50000"},
                                                   {"maxage", "max_age", "168h"},
                                                   {"maxbytes", "max_bytes", "-1"},
                                                   {"replicas", "replicas", "3"},
                                                   {"duplicates", "duplicates", "300s"},
                                                   {"discard", "discard", "0"}}};

std::string Lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

// The value of one of our keys in TOML; empty: it cannot be said there.
std::string StreamValue(const StreamKey& key, const Node& value) {
  if (key.ours == "max_age" || key.ours == "duplicates")
    return config::ParseDuration(value.text) ? TomlString(value.text) : "";
  int64_t number = 0;
  const char* end = value.text.data() + value.text.size();
  const auto parsed = std::from_chars(value.text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end) return "";
  if (key.ours == "discard") {
    if (number != 0 && number != 1) return "";
    return number == 0 ? "\"old\"" : "\"new\"";
  }
  return std::to_string(std::max<int64_t>(number, 0));
}

// The keys of streamConfig, a text of YAML itself; viper, which reads it for Argo, does not look at
// upper and lower case.
void ReadStreamConfig(Fields* fields, EventBus* bus) {
  const Node* node = fields->Find("streamConfig", Kind::kString);
  if (node == nullptr || node->text.empty()) return;
  const auto documents = ReadYaml("", node->text);
  if (!documents || (!documents->empty() && documents->front().kind != Kind::kMap &&
                     documents->front().kind != Kind::kNull)) {
    return fields->Error(node->place, Cat(fields->PathOf("streamConfig"), " is no YAML map",
                                          documents ? "" : Cat(": ", documents.error().text)));
  }
  if (documents->empty()) return;
  for (const Member& member : documents->front().members) {
    const auto key = std::ranges::find(kStreamKeys, Lower(member.key), &StreamKey::argo);
    const std::string path = Cat(fields->PathOf("streamConfig"), ": ", member.key);
    if (key == kStreamKeys.end()) {
      // The limits that a stream has by default.
      if (Lower(member.key) == "retention" && member.value.text == "0") continue;
      fields->Warning(node->place, Cat(path,
                                       " has no equivalent, left out; make the stream "
                                       "yourself if you need it"));
      continue;
    }
    const std::string value = StreamValue(*key, member.value);
    if (value.empty()) {
      fields->Warning(node->place, Cat(path, " is not understood, left out; see stream.", key->ours,
                                       " in penstock plugins info nats-jetstream"));
    } else if (member.value.text != key->standard) {
      bus->stream.emplace_back(key->ours, value);
    }
  }
}

std::optional<TlsSecrets> ReadTls(Fields* outer, const std::string& file, Findings* findings) {
  const Node* node = outer->Find("tls", Kind::kMap);
  if (node == nullptr) return std::nullopt;
  Fields fields(*node, outer->PathOf("tls"), file, findings);
  TlsSecrets out;
  out.ca = fields.Secret("caCertSecret");
  out.certificate = fields.Secret("clientCertSecret");
  out.key = fields.Secret("clientKeySecret");
  out.skip_verify = fields.Bool("insecureSkipVerify");
  fields.Bool("enabled");
  fields.WarnOfRest({});
  if (out.certificate.has_value() != out.key.has_value())
    fields.Error(node->place, Cat(outer->PathOf("tls"),
                                  " has only one of clientCertSecret and clientKeySecret"));
  return out;
}

void ReadJetStream(const Node& node, std::string_view field, const std::string& file, EventBus* bus,
                   Findings* findings) {
  Fields fields(node, Cat("spec.", field), file, findings);
  ReadStreamConfig(&fields, bus);
  if (bus->kind == EventBus::Kind::kNative) return fields.WarnOfRest(kJetStreamAdvice);
  bus->url = fields.String("url");
  bus->access = fields.Secret("accessSecret");
  bus->tls = ReadTls(&fields, file, findings);
  fields.WarnOfRest({});
  if (bus->url.empty()) fields.Error(node.place, Cat("spec.", field, " has no url"));
}

void ReadKafka(const Node& node, const std::string& file, EventBus* bus, Findings* findings) {
  Fields fields(node, "spec.kafka", file, findings);
  bus->url = fields.String("url");
  bus->topic = fields.String("topic");
  bus->tls = ReadTls(&fields, file, findings);
  bus->partitioner = fields.String("partitioner");
  if (const Node* sasl = fields.Find("sasl", Kind::kMap)) {
    Fields inner(*sasl, "spec.kafka.sasl", file, findings);
    bus->sasl.emplace();
    if (const std::string mechanism = inner.String("mechanism"); !mechanism.empty())
      bus->sasl->mechanism = mechanism;
    bus->sasl->user = inner.Secret("userSecret");
    bus->sasl->password = inner.Secret("passwordSecret");
    inner.WarnOfRest({});
    if (bus->sasl->mechanism == "OAUTHBEARER" || bus->sasl->mechanism == "GSSAPI")
      inner.Warning(inner.PlaceOf("mechanism"),
                    Cat("sasl.mechanism ", bus->sasl->mechanism,
                        " is carried over by its name only: complete the client table"));
  }
  fields.WarnOfRest(kKafkaAdvice);
  if (bus->url.empty()) fields.Error(node.place, "spec.kafka has no url");
}

}  // namespace

void ReadEventBus(const Node& document, const std::string& file, Manifests* out,
                  Findings* findings) {
  EventBus bus;
  bus.file = file;
  bus.place = document.place;
  const bool named = ReadMetadata(document, file, &bus.name, &bus.name_space, findings);
  Fields top(document, "", file, findings);
  top.Ignore({"apiVersion", "kind", "metadata", "status"});
  const Node* spec = top.Find("spec", Kind::kMap);
  top.WarnOfRest({});
  if (spec == nullptr) {
    if (top.Find("spec") == nullptr) top.Error(document.place, "the EventBus has no spec");
    return;
  }
  Fields fields(*spec, "spec", file, findings);
  const Node* native = fields.Find("jetstream", Kind::kMap);
  const Node* exotic = fields.Find("jetstreamExotic", Kind::kMap);
  const Node* kafka = fields.Find("kafka", Kind::kMap);
  const Node* stan = fields.Find("nats");
  fields.WarnOfRest({});
  if (stan != nullptr)
    fields.Warning(stan->place,
                   "spec.nats has no equivalent: NATS Streaming is at its end of life; "
                   "move the bus to JetStream or Kafka, or give one with --bus or --kafka");
  if (native != nullptr) {
    ReadJetStream(*native, "jetstream", file, &bus, findings);
  } else if (exotic != nullptr) {
    bus.kind = EventBus::Kind::kExotic;
    ReadJetStream(*exotic, "jetstreamExotic", file, &bus, findings);
  } else if (kafka != nullptr) {
    bus.kind = EventBus::Kind::kKafka;
    ReadKafka(*kafka, file, &bus, findings);
  } else {
    if (stan == nullptr)
      fields.Error(spec->place, "spec has none of jetstream, jetstreamExotic, kafka");
    return;
  }
  if (named) out->buses.push_back(std::move(bus));
}

}  // namespace penstock::import_argo
