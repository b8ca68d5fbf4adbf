#include "import/manifest.h"

#include <algorithm>
#include <array>

#include "import/fields.h"

namespace penstock::import_argo {
namespace {

using config::Cat;
using config::Findings;
using config::Quote;

constexpr std::string_view kApiVersion = "argoproj.io/v1alpha1";
constexpr size_t kMostListed = 5;

constexpr std::array<std::string_view, 31> kOtherTypes = {"amqp",
                                                          "azureEventsHub",
                                                          "azureQueueStorage",
                                                          "azureServiceBus",
                                                          "bitbucket",
                                                          "bitbucketserver",
                                                          "calendar",
                                                          "emitter",
                                                          "file",
                                                          "gerrit",
                                                          "github",
                                                          "gitlab",
                                                          "hdfs",
                                                          "kafka",
                                                          "minio",
                                                          "mns",
                                                          "mqtt",
                                                          "nats",
                                                          "nsq",
                                                          "pubSub",
                                                          "pulsar",
                                                          "redis",
                                                          "redisStream",
                                                          "resource",
                                                          "sftp",
                                                          "slack",
                                                          "sns",
                                                          "sqs",
                                                          "storageGrid",
                                                          "stripe",
                                                          "webhook"};

constexpr Advice kSpecAdvice[] = {
    {"template",
     "it describes a pod; limits and users of the service are in its unit, "
     "systemctl edit penstock"},
    {"replicas",
     "one gateway runs for all sources; a second one on the same sources would bring "
     "every event twice"},
    {"service", "a generic source listens on nothing"}};

void ReadStringMap(Fields* fields, std::string_view field,
                   std::vector<std::pair<std::string, std::string>>* out) {
  const Node* node = fields->Find(field, Kind::kMap);
  if (node == nullptr) return;
  for (const Member& member : node->members) {
    if (member.key.empty() || config::HasControlCharacter(member.key))
      fields->Error(member.place, Cat("the key ", Quote(member.key), " of ", fields->PathOf(field),
                                      " is empty or has control characters, which has no "
                                      "equivalent"));
    if (member.value.kind == Kind::kString) {
      out->emplace_back(member.key, member.value.text);
    } else if (member.value.kind == Kind::kNull) {
      out->emplace_back(member.key, "");
    } else {
      const bool scalar = !member.value.text.empty();
      fields->Error(
          member.value.place,
          Cat(fields->PathOf(field), ".", member.key, " is ", KindName(member.value.kind),
              ", expected a string",
              scalar ? Cat("; as a string it is written with quotes: ", Quote(member.value.text))
                     : ""));
    }
  }
}

// An event's source and name go into subjects, keys and logs.
void CheckName(const std::string& name, std::string_view what, config::Position where,
               Findings* findings) {
  if (name.empty() || config::HasControlCharacter(name))
    findings->Error(std::move(where),
                    Cat(what, " ", Quote(name), " cannot be the name of an event ",
                        "source or event: it is empty or has control characters"));
}

void ReadEntry(const Member& member, const std::string& file, EventSource* source,
               Findings* findings) {
  const std::string path = Cat("spec.generic.", member.key);
  if (!IsMap(member.value, path, file, findings)) return;
  CheckName(member.key, "the key", PositionOf(file, member.place), findings);
  Fields fields(member.value, path, file, findings);
  GenericEntry entry;
  entry.place = member.place;
  entry.event_name = member.key;
  const Node* url = fields.Find("url", Kind::kString);
  const Node* config = fields.Find("config", Kind::kString);
  entry.insecure = fields.Bool("insecure");
  const bool has_insecure = member.value.Find("insecure") != nullptr;
  entry.insecure_place = has_insecure ? fields.PlaceOf("insecure") : member.place;
  entry.json_body = fields.Bool("jsonBody");
  ReadStringMap(&fields, "metadata", &entry.metadata);
  entry.auth = fields.Secret("authSecret");
  if (const Node* filter = fields.Find("filter", Kind::kMap)) {
    Fields inner(*filter, Cat(path, ".filter"), file, findings);
    if (const Node* expression = inner.Find("expression", Kind::kString)) {
      entry.filter = expression->text;
      entry.filter_place = expression->place;
    }
    inner.WarnOfRest({});
  }
  fields.WarnOfRest({});
  for (const auto& [name, node] : {std::pair{"url", url}, {"config", config}}) {
    const Node* raw = member.value.Find(name);
    const bool empty =
        raw == nullptr || raw->kind == Kind::kNull || (node != nullptr && node->text.empty());
    if (empty) fields.Error(member.place, Cat(path, " has no ", name, ", which Argo requires"));
  }
  if (url != nullptr) {
    entry.url = url->text;
    entry.url_place = url->place;
  }
  if (config != nullptr) entry.config = config->text;
  source->entries.push_back(std::move(entry));
}

std::string ListOf(const Node& entries) {
  std::string out;
  for (size_t i = 0; i < entries.members.size() && i < kMostListed; ++i)
    out += (i == 0 ? "" : ", ") + entries.members[i].key;
  return entries.members.size() > kMostListed ? out + ", ..." : out;
}

void WarnOfOtherTypes(Fields* spec) {
  for (const Member& member : spec->map().members) {
    if (std::ranges::count(kOtherTypes, member.key) == 0) continue;
    spec->Ignore({member.key});
    const std::string names = ListOf(member.value);
    spec->Warning(
        member.place,
        Cat("source type ", member.key, " is skipped", names.empty() ? "" : Cat(" (", names, ")"),
            ": only generic is converted; leave the others in an EventSource of their "
            "own with Argo"));
  }
}

void ReadEventSource(const Node& document, const std::string& file, Manifests* out,
                     Findings* findings) {
  EventSource source;
  source.file = file;
  source.place = document.place;
  const bool named = ReadMetadata(document, file, &source.name, &source.name_space, findings);
  if (named) CheckName(source.name, "metadata.name", PositionOf(file, document.place), findings);
  Fields top(document, "", file, findings);
  top.Ignore({"apiVersion", "kind", "metadata", "status"});
  const Node* spec = top.Find("spec", Kind::kMap);
  top.WarnOfRest({});
  if (spec == nullptr) {
    if (top.Find("spec") == nullptr) top.Error(document.place, "the EventSource has no spec");
    return;
  }
  Fields fields(*spec, "spec", file, findings);
  if (const std::string bus = fields.String("eventBusName"); !bus.empty()) source.bus = bus;
  const Node* generic = fields.Find("generic", Kind::kMap);
  WarnOfOtherTypes(&fields);
  fields.WarnOfRest(kSpecAdvice);
  if (generic != nullptr) {
    for (const Member& member : generic->members) ReadEntry(member, file, &source, findings);
  }
  if (!named) return;
  const bool twice = std::ranges::any_of(out->sources, [&](const EventSource& one) {
    return one.name == source.name && one.name_space == source.name_space;
  });
  if (twice)
    findings->Warning(PositionOf(file, source.place),
                      Cat("the EventSource ", Quote(source.name),
                          " stands among the manifests more than once, in the same namespace: a "
                          "cluster keeps one of them, here each makes its sources"));
  out->sources.push_back(std::move(source));
}

void ReadDocument(const Node& document, const std::string& file, int depth, Manifests* out,
                  Findings* findings);

void ReadList(const Node& document, const std::string& file, int depth, Manifests* out,
              Findings* findings) {
  Fields fields(document, "", file, findings);
  fields.Ignore({"apiVersion", "kind", "metadata"});
  const Node* items = fields.Find("items", Kind::kList);
  fields.WarnOfRest({});
  if (items == nullptr) return;
  if (depth > 0) return fields.Error(document.place, "a List in a List");
  for (const Node& item : items->items) ReadDocument(item, file, depth + 1, out, findings);
}

void ReadDocument(const Node& document, const std::string& file, int depth, Manifests* out,
                  Findings* findings) {
  if (document.kind == Kind::kNull) return;
  if (!IsMap(document, "the document", file, findings)) return;
  Fields fields(document, "", file, findings);
  const Node* kind = fields.Find("kind", Kind::kString);
  if (kind == nullptr) {
    if (fields.Find("kind") == nullptr)
      fields.Error(document.place, "the document has no kind: it is no manifest of Kubernetes");
    return;
  }
  const std::string& name = kind->text;
  if (name == "List" || name == "EventSourceList" || name == "EventBusList")
    return ReadList(document, file, depth, out, findings);
  if (name != "EventSource" && name != "EventBus") {
    return fields.Warning(kind->place,
                          Cat("kind ", Quote(name), " is skipped",
                              name == "Sensor" ? ": it stays with Argo and reads the same bus"
                                               : ": only EventSource and EventBus are converted"));
  }
  const std::string version = fields.String("apiVersion");
  if (version != kApiVersion && !version.empty())
    fields.Warning(fields.PlaceOf("apiVersion"),
                   Cat("apiVersion is ", Quote(version), "; read as ", kApiVersion));
  if (name == "EventBus") return ReadEventBus(document, file, out, findings);
  ReadEventSource(document, file, out, findings);
}

}  // namespace

void ReadManifests(const std::string& file, const std::vector<Node>& documents, Manifests* out,
                   Findings* findings) {
  for (const Node& document : documents) ReadDocument(document, file, 0, out, findings);
}

}  // namespace penstock::import_argo
