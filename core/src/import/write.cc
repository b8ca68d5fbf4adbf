#include "import/write.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "import/expr.h"
#include "import/fields.h"
#include "import/toml_text.h"

namespace penstock::import_argo {
namespace {

using config::Cat;
using config::Findings;
using config::Position;
using config::Quote;

constexpr size_t kLongestName = 64;
constexpr size_t kLongestCredential = 255;  // it is a file's name
constexpr size_t kMostRead = 1 << 20;       // of one file, when penstock reads it
constexpr char kDefaultServer[] = "nats://127.0.0.1:4222";
// Argo's own, when no manifest says where the bus is.
constexpr char kUsualNamespace[] = "argo-events";

std::string OnlyWordCharacters(std::string_view text, std::string_view more) {
  std::string out(text);
  for (char& c : out) {
    const bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!word && more.find(c) == more.npos) c = '-';
  }
  return out;
}

// Names of tables or of credentials, each once.
class Names {
 public:
  Names(std::string_view allowed, size_t longest) : allowed_(allowed), longest_(longest) {}

  std::string Take(std::string_view wanted) {
    const std::string whole = OnlyWordCharacters(wanted, allowed_);
    std::string name = whole.substr(0, longest_);
    for (int n = 2; !taken_.insert(name).second; ++n) {
      const std::string suffix = Cat("-", std::to_string(n));
      name = whole.substr(0, longest_ - suffix.size()) + suffix;
    }
    return name;
  }

 private:
  const std::string_view allowed_;
  const size_t longest_;
  std::set<std::string> taken_;
};

// What a secret's key, or a part of it, is called as a credential: a name of its own, also where
// two namespaces have secrets of one name.
class Credentials {
 public:
  const std::string& NameOf(const SecretKey& secret, const std::string& name_space,
                            std::string_view part = "") {
    const auto [at, made] =
        known_.try_emplace({name_space, secret.name, secret.key, std::string(part)});
    if (made) at->second = names_.Take(Cat(secret.name, "-", secret.key, part));
    return at->second;
  }

 private:
  Names names_{"_-.", kLongestCredential};
  std::map<std::tuple<std::string, std::string, std::string, std::string>, std::string> known_;
};

std::string Line(std::string_view key, std::string_view value) {
  return Cat(key, " = ", value, "\n");
}

std::string Reference(std::string_view credential) {
  return TomlString(Cat("credential:", credential));
}

// A word of the shell.
std::string ShellWord(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string KubectlLine(const SecretKey& secret, const std::string& name_space) {
  std::string key;
  for (const char c : secret.key) key += c == '.' ? std::string("\\.") : std::string(1, c);
  return Cat("  kubectl get secret ", ShellWord(secret.name),
             name_space.empty() ? "" : Cat(" -n ", ShellWord(name_space)), " -o ",
             ShellWord(Cat("jsonpath={.data.", key, "}")), " | base64 -d");
}

// How to get a secret out of the cluster and into the unit.
std::string SecretComment(const SecretKey& secret, const std::string& name_space,
                          std::string_view credential) {
  return TomlComment(Cat(
      "The secret, which the unit has to be given (systemctl edit penstock):\n",
      KubectlLine(secret, name_space), " |\n    install -m 600 /dev/stdin /etc/penstock/",
      credential, "\n  [Service]\n  LoadCredential=", credential, ":/etc/penstock/", credential));
}

// gRPC's own forms of a name and a port, less what ours does not take.
std::string Address(std::string_view url) {
  for (const std::string_view scheme : {"dns:///", "passthrough:///"})
    if (url.starts_with(scheme)) url.remove_prefix(scheme.size());
  constexpr std::string_view kPort = ":443";  // which gRPC takes if there is none
  return Cat(url, url.empty() || url.find(':') != url.npos ? "" : kPort);
}

// Whether it is host:port or unix:/path. What is one of these and yet wrong, the check finds.
bool IsAddress(std::string_view address) {
  if (address.starts_with("unix:")) return true;
  if (address.find('/') != address.npos) return false;
  return address.starts_with("[") || std::ranges::count(address, ':') <= 1;
}

// Takes the login out of the server's address; nothing: there is none in it.
std::string TakeLogin(std::string* server) {
  const size_t begin = server->find("://") + 3, at = server->find('@', begin);
  if (at == server->npos) return "";
  std::string login = server->substr(begin, at - begin);
  server->erase(begin, at + 1 - begin);
  return login;
}

// ---- sinks

struct Sink {
  const EventBus* bus = nullptr;  // nullptr: what the options say
  std::string wanted;             // name
  std::string name_space;         // without a manifest; empty: none is known
  std::string name;
  std::vector<std::string> sources;
};

class Writer {
 public:
  Writer(const Manifests& manifests, const BusOptions& bus, Findings* findings)
      : manifests_(manifests), options_(bus), findings_(findings) {}

  Written Run(const std::vector<std::string>& files) {
    std::string sources;
    Written out;
    for (const EventSource& source : manifests_.sources) {
      for (const GenericEntry& entry : source.entries) {
        const std::string name = source_names_.Take(Cat(source.name, "-", entry.event_name));
        sources += "\n" + SourceTable(name, source, entry);
        SinkOf(source)->sources.push_back(name);
        ++out.sources;
      }
    }
    WarnOfUnused();
    out.toml = Head(files) + sources;
    for (Sink& sink : sinks_) {
      sink.name = sink_names_.Take(sink.wanted);
      out.toml += "\n" + SinkTable(sink);
    }
    if (out.toml.size() > kMostRead)
      findings_->Warning({},
                         "the configuration is larger than 1MiB, the most that penstock reads of "
                         "one file: convert the manifests one by one into several, of which each "
                         "brings sinks of its own to be renamed or joined");
    return out;
  }

 private:
  static std::string Head(const std::vector<std::string>& files) {
    std::string list;
    for (const std::string& file : files)
      list += (list.empty() ? "" : ", ") + (file == "-" ? "standard input" : Quote(file));
    return TomlComment(Cat("Made by penstock import argo of ", list, ".\n",
                           "Check it with penstock check; docs/argo.md has what to do next."));
  }

  // ---- sources

  std::string SourceTable(const std::string& name, const EventSource& source,
                          const GenericEntry& entry) {
    std::string out = Cat("[sources.", name, "]\n", Line("plugin", "\"generic\""),
                          Line("event_source", TomlString(source.name)),
                          Line("event_name", TomlString(entry.event_name)), Url(source, entry));
    out += Security(source, entry);
    if (entry.json_body) out += Line("json_body", "true");
    out += Line("config", TomlString(entry.config));
    if (entry.auth) out += SecretLine("auth_token_file", *entry.auth, source.name_space);
    out += Metadata(entry);
    if (entry.filter) out += Filter(source, entry);
    return out;
  }

  std::string Url(const EventSource& source, const GenericEntry& entry) {
    const std::string address = Address(entry.url);
    if (IsAddress(address)) return Line("url", TomlString(address));
    findings_->Warning(PositionOf(source.file, entry.url_place),
                       Cat("the url of ", entry.event_name, ", ", Quote(entry.url),
                           ", has no equivalent: set host:port or unix:/path in its place"));
    return TomlComment(
               Cat("To be set, as host:port or unix:/path; for Argo it is\n  ", entry.url)) +
           Line("url", "\"to-be-set:443\"");
  }

  // An option that is a secret, and how the unit gets it.
  std::string SecretLine(std::string_view key, const SecretKey& secret,
                         const std::string& name_space) {
    const std::string& credential = credentials_.NameOf(secret, name_space);
    return SecretComment(secret, name_space, credential) + Line(key, Reference(credential));
  }

  std::string Security(const EventSource& source, const GenericEntry& entry) {
    if (entry.insecure) return Line("insecure", "true");
    findings_->Notice(PositionOf(source.file, entry.insecure_place),
                      Cat("spec.generic.", entry.event_name,
                          ".insecure is false, with which Argo never connects; here it means TLS, "
                          "with the system's certificates"));
    return TomlComment(
               "Argo never connects without insecure: true; here this is TLS with the "
               "system's certificates.") +
           Line("insecure", "false");
  }

  static std::string Metadata(const GenericEntry& entry) {
    if (entry.metadata.empty()) return "";
    std::string list;
    for (const auto& [key, value] : entry.metadata)
      list += Cat(list.empty() ? " " : ", ", TomlKey(key), " = ", TomlString(value));
    return Line("metadata", Cat("{", list, " }"));
  }

  // A filter that is not translated must neither let events through nor lose them.
  std::string Filter(const EventSource& source, const GenericEntry& entry) {
    const auto lua = TranslateFilter(*entry.filter, {entry.json_body, !entry.metadata.empty()});
    if (lua) return Line("filter", TomlString(*lua));
    const std::string why =
        Cat(lua.error().text, " (at character ", std::to_string(lua.error().at + 1), ")");
    findings_->Warning(
        PositionOf(source.file, entry.filter_place),
        Cat("the filter of ", entry.event_name, " is not translated: ", why,
            "; until you write it in Lua its events go to the dead letters, which hold 100,000 of "
            "them or 64MiB before the source stops; penstock deadletters replay then sends them "
            "through it"));
    return TomlComment(
               Cat("This filter of Argo is not translated: ", why, ".\n  ", *entry.filter,
                   "\nUntil one in Lua stands here its events go to the dead letters, up to "
                   "100,000 or\n64MiB; after that penstock deadletters replay sends them through "
                   "it.")) +
           Line("filter", TomlString("\"to be translated\"")) +
           Line("on_filter_error", "\"dead_letter\"");
  }

  // ---- sinks

  Sink* SinkOf(const EventSource& source) {
    const EventBus* bus = nullptr;
    for (const EventBus& one : manifests_.buses) {
      const bool same_space = one.name_space.empty() || source.name_space.empty() ||
                              one.name_space == source.name_space;
      if (one.name == source.bus && same_space && bus == nullptr) bus = &one;
    }
    // Without their manifests, buses of different names or namespaces are different ones, unless
    // one was given for all of them.
    const bool given = !options_.nats_url.empty() || !options_.kafka_address.empty();
    const std::string space = given ? "" : source.name_space;
    const auto found = std::ranges::find_if(sinks_, [&](const Sink& s) {
      return s.bus == bus &&
             (bus != nullptr || given || (s.wanted == source.bus && s.name_space == space));
    });
    if (found != sinks_.end()) return &*found;
    sinks_.push_back({bus, source.bus, space, "", {}});
    if (bus == nullptr && !given) NoteMissing(source);
    return &sinks_.back();
  }

  void NoteMissing(const EventSource& source) {
    findings_->Warning(
        PositionOf(source.file, source.place),
        Cat("the EventBus ", Quote(source.bus), " of EventSource ", Quote(source.name),
            " is not among the manifests: set the servers of its "
            "sink, which are ",
            kDefaultServer, " now, or give the bus with --bus or --kafka"));
  }

  void WarnOfUnused() {
    const bool given = !options_.nats_url.empty() || !options_.kafka_address.empty();
    const bool taken =
        std::ranges::any_of(sinks_, [](const Sink& sink) { return sink.bus == nullptr; });
    if (given && !taken && !sinks_.empty())
      findings_->Warning(
          {},
          Cat(options_.nats_url.empty() ? "--kafka" : "--bus",
              " is not used, as the EventBus of every source is among the manifests: for another "
              "address write it into the sink, or leave the EventBus out"));
    for (const EventBus& bus : manifests_.buses) {
      const bool used =
          std::ranges::any_of(sinks_, [&](const Sink& sink) { return sink.bus == &bus; });
      if (!used)
        findings_->Warning(
            PositionOf(bus.file, bus.place),
            Cat("no source here writes to the EventBus ", Quote(bus.name), ": left out"));
    }
  }

  static std::string List(const std::vector<std::string>& texts) {
    std::string out;
    for (const std::string& text : texts) out += Cat(out.empty() ? "" : ", ", TomlString(text));
    return Cat("[", out, "]");
  }

  static std::vector<std::string> Parts(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
      const size_t comma = std::min(text.find(','), text.size());
      std::string_view part = text.substr(0, comma);
      while (part.starts_with(' ')) part.remove_prefix(1);
      while (part.ends_with(' ')) part.remove_suffix(1);
      if (!part.empty()) out.emplace_back(part);
      text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return out;
  }

  // NATS takes addresses without a scheme, too.
  static std::vector<std::string> Servers(std::string_view text, std::string_view scheme) {
    std::vector<std::string> out = Parts(text);
    for (std::string& server : out) {
      const size_t end = server.find("://");
      if (end == server.npos) {
        server.insert(0, scheme);
      } else if (scheme != "nats://" && server.starts_with("nats://")) {
        server.replace(0, end + 3, scheme);
      }
    }
    return out;
  }

  std::string SinkTable(const Sink& sink) {
    const std::string& space = sink.bus == nullptr ? sink.name_space : sink.bus->name_space;
    std::string head =
        TomlComment(Cat("The EventBus ", Quote(sink.wanted),
                        space.empty() ? "" : Cat(" of the namespace ", Quote(space)), ".")) +
        Cat("[sinks.", sink.name, "]\n");
    const bool kafka = sink.bus == nullptr ? !options_.kafka_address.empty()
                                           : sink.bus->kind == EventBus::Kind::kKafka;
    head += Line("plugin", kafka ? "\"kafka\"" : "\"nats-jetstream\"") +
            Line("preset", "\"argo\"") + Line("from", List(sink.sources));
    if (sink.bus != nullptr) return head + (kafka ? Kafka(sink) : JetStream(sink));
    if (kafka)
      return head + Line("topic", TomlString(options_.kafka_topic)) + "\n[sinks." + sink.name +
             ".client]\n" + Line("\"bootstrap.servers\"", TomlString(options_.kafka_address));
    if (!options_.nats_url.empty())
      return head + ServersAndLogin(sink, Servers(options_.nats_url, "nats://"), {});
    return head + TomlComment("To be set: no manifest said where the bus is.") +
           Line("servers", List({kDefaultServer}));
  }

  std::string SpaceOf(const EventBus& bus, std::string_view what) {
    if (!bus.name_space.empty()) return bus.name_space;
    findings_->Warning(PositionOf(bus.file, bus.place),
                       Cat("the EventBus ", Quote(bus.name), " names no namespace: ", what,
                           " is written for the namespace ", kUsualNamespace));
    return kUsualNamespace;
  }

  std::string JetStream(const Sink& sink) {
    const EventBus& bus = *sink.bus;
    std::string url = bus.url;
    std::optional<SecretKey> access = bus.access;
    std::string out;
    if (bus.kind == EventBus::Kind::kNative) {
      const std::string host =
          Cat("eventbus-", bus.name, "-js-svc.", SpaceOf(bus, "its address"), ".svc");
      url = Cat("nats://", host, ":4222");
      access = {Cat("eventbus-", bus.name, "-js-client-auth"), "client-auth"};
      findings_->Notice(
          PositionOf(bus.file, bus.place),
          Cat("the EventBus ", Quote(bus.name), " is inside of the cluster, at ", url,
              ": from outside it takes an address of its own, as of a Service of type "
              "LoadBalancer; its user and password are in the secret ",
              access->name));
      out += TomlComment("An address inside of the cluster; from outside it takes another one.");
    }
    // TLS with the system's certificates shows in nothing but the scheme.
    const bool plain_tls =
        bus.tls && !bus.tls->skip_verify && !bus.tls->ca && !bus.tls->certificate;
    out += ServersAndLogin(sink, Servers(url, plain_tls ? "tls://" : "nats://"),
                           PositionOf(bus.file, bus.place));
    if (access) out += Login(bus, *access);
    return out + JetStreamTls(bus) + StreamTable(bus);
  }

  // A password has no place in a configuration, and so none in an address.
  std::string ServersAndLogin(const Sink& sink, std::vector<std::string> servers,
                              const Position& where) {
    std::string login;
    for (std::string& server : servers)
      if (std::string one = TakeLogin(&server); !one.empty()) login = one;
    std::string out = Line("servers", List(servers));
    if (login.empty() || (sink.bus != nullptr && sink.bus->access)) return out;
    const size_t colon = login.find(':');
    const bool token = colon == login.npos;
    const std::string name = credentials_.NameOf({sink.wanted, token ? "token" : "password"}, "");
    findings_->Warning(where, Cat("the address of the bus holds a ", token ? "token" : "password",
                                  ", which is left out: put it into the credential ", name));
    out +=
        TomlComment(Cat("It stood in the address of the bus.\n  [Service]\n  LoadCredential=", name,
                        ":/etc/penstock/", name));
    if (!token) out += Line("user", TomlString(login.substr(0, colon)));
    return out + Line(token ? "token" : "password", Reference(name));
  }

  // The secret is a small document of YAML, so that its parts have to be told apart.
  std::string Login(const EventBus& bus, const SecretKey& access) {
    const std::string& name = credentials_.NameOf(access, bus.name_space, ".password");
    findings_->Warning(PositionOf(bus.file, bus.place),
                       Cat("the user of the EventBus ", Quote(bus.name), " is in its secret ",
                           access.name, ", key ", access.key,
                           ": write it into the sink, and the "
                           "password into the credential ",
                           name));
    return TomlComment(
               Cat("The secret has \"username: U\" and \"password: P\". Write U here, and P "
                   "into /etc/penstock/",
                   name, ":\n", KubectlLine(access, bus.name_space),
                   "\n  [Service]\n  LoadCredential=", name, ":/etc/penstock/", name)) +
           Line("user", "\"to-be-set\"") + Line("password", Reference(name));
  }

  std::string JetStreamTls(const EventBus& bus) {
    if (!bus.tls || bus.tls->skip_verify)
      return TomlComment(
                 "As Argo does it: TLS, and whoever answers is believed. ca_file in its "
                 "place has the server's certificate verified.") +
             Line("tls", "{ insecure_skip_verify = true }");
    std::string comment, list;
    const auto add = [&](std::string_view key, const std::optional<SecretKey>& secret) {
      if (!secret) return;
      const std::string& credential = credentials_.NameOf(*secret, bus.name_space);
      comment += SecretComment(*secret, bus.name_space, credential);
      list += Cat(list.empty() ? "" : ", ", key, " = ", Reference(credential));
    };
    add("ca_file", bus.tls->ca);
    add("cert_file", bus.tls->certificate);
    add("key_file", bus.tls->key);
    return list.empty() ? "" : comment + Line("tls", Cat("{ ", list, " }"));
  }

  static std::string StreamTable(const EventBus& bus) {
    if (bus.stream.empty()) return "";
    std::string list;
    for (const auto& [key, value] : bus.stream)
      list += Cat(list.empty() ? "" : ", ", key, " = ", value);
    return Line("stream", Cat("{ ", list, " }"));
  }

  std::string Kafka(const Sink& sink) {
    const EventBus& bus = *sink.bus;
    const std::string topic =
        bus.topic.empty() ? Cat(SpaceOf(bus, "its topic"), "-", bus.name) : bus.topic;
    std::string servers;
    for (const std::string& server : Parts(bus.url))
      servers += (servers.empty() ? "" : ",") + server;
    // A topic is a template here.
    std::string escaped;
    for (const char c : topic)
      escaped += c == '{' || c == '}' ? std::string(2, c) : std::string(1, c);
    std::string out = Line("topic", TomlString(escaped)) +
                      Cat("\n[sinks.", sink.name, ".client]\n") +
                      Line("\"bootstrap.servers\"", TomlString(servers));
    if (bus.tls || bus.sasl)
      out += Line("\"security.protocol\"",
                  Cat("\"", bus.sasl ? "sasl_" : "", bus.tls ? "ssl" : "plaintext", "\""));
    if (bus.sasl) out += SaslLines(bus);
    if (bus.tls) out += TlsLines(bus);
    return out + Partitioner(bus);
  }

  std::string KafkaSecret(std::string_view key, const std::optional<SecretKey>& secret,
                          const EventBus& bus) {
    return secret ? SecretLine(key, *secret, bus.name_space) : "";
  }

  std::string SaslLines(const EventBus& bus) {
    return Line("\"sasl.mechanisms\"", TomlString(bus.sasl->mechanism)) +
           KafkaSecret("\"sasl.username\"", bus.sasl->user, bus) +
           KafkaSecret("\"sasl.password\"", bus.sasl->password, bus);
  }

  std::string TlsLines(const EventBus& bus) {
    if (bus.tls->skip_verify)
      return TomlComment("As in Argo: whoever answers is believed.") +
             Line("\"enable.ssl.certificate.verification\"", "\"false\"");
    return KafkaSecret("\"ssl.ca.pem\"", bus.tls->ca, bus) +
           KafkaSecret("\"ssl.certificate.pem\"", bus.tls->certificate, bus) +
           KafkaSecret("\"ssl.key.pem\"", bus.tls->key, bus);
  }

  // Argo's default, random, gives up the order of events; Sensors do not depend on any.
  std::string Partitioner(const EventBus& bus) {
    if (bus.partitioner == "hash") return Line("\"partitioner\"", "\"fnv1a\"");
    if (!bus.partitioner.empty())
      findings_->Warning(PositionOf(bus.file, bus.place),
                         Cat("spec.kafka.partitioner ", Quote(bus.partitioner),
                             " is left out: events of one source and name go to one partition, in "
                             "their order"));
    return "";
  }

  const Manifests& manifests_;
  const BusOptions& options_;
  Findings* findings_;
  Names source_names_{"_-", kLongestName}, sink_names_{"_-", kLongestName};
  Credentials credentials_;
  std::vector<Sink> sinks_;
};

}  // namespace

Written Write(const Manifests& manifests, const std::vector<std::string>& files,
              const BusOptions& bus, config::Findings* findings) {
  return Writer(manifests, bus, findings).Run(files);
}

}  // namespace penstock::import_argo
