#include "client_table.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <stdexcept>

namespace penstock::kafka {
namespace {

constexpr std::string_view kAliases[][2] = {
    {"metadata.broker.list", "bootstrap.servers"},
    {"request.required.acks", "acks"},
    {"delivery.timeout.ms", "message.timeout.ms"},
    {"max.in.flight", "max.in.flight.requests.per.connection"},
    {"message.send.max.retries", "retries"},
    {"queue.buffering.max.ms", "linger.ms"},
};

std::string_view Canonical(std::string_view key) {
  for (const auto& [alias, name] : kAliases)
    if (key == alias) return name;
  return key;
}

// Properties that would break a promise, with the values that do not.
struct Rule {
  std::string_view key;
  std::string_view allowed;  // "a|b"; empty: none
  std::string_view reason;
};
constexpr Rule kRules[] = {
    {"acks", "all|-1",
     "an event counts as delivered only when all in-sync replicas have it; leave it out, or write "
     "\"all\""},
    {"enable.idempotence", "true",
     "without it a resend can repeat and reorder records; leave it out, or write \"true\""},
    {"message.timeout.ms", "0",
     "librdkafka would give events up; how long to try is for the gateway to say: leave it out"},
    {"delivery.report.only.error", "false",
     "the gateway needs the report of each event that was delivered; leave it out"},
    {"queuing.strategy", "fifo", "any other strategy loses the order; leave it out"},
    {"max.in.flight.requests.per.connection", "1|2|3|4|5",
     "the idempotent producer keeps the order with at most 5; write a number from 1 to 5"},
    {"transactional.id", "", "this sink does not write in transactions; leave it out"},
    {"plugin.library.paths", "", "no code is loaded into the gateway this way; leave it out"},
    {"enable.gapless.guarantee", "",
     "the sink's option order decides this: order = \"strict\" sets it; leave it out"},
    {"log.queue", "", "the gateway takes librdkafka's log lines itself; leave it out"},
};

constexpr std::string_view kSecrets[] = {"sasl.password", "ssl.key.password",
                                         "ssl.keystore.password", "ssl.key.pem",
                                         "sasl.oauthbearer.client.secret"};

// Properties that take a path, with the one that takes the content instead.
constexpr std::string_view kPaths[][2] = {
    {"ssl.ca.location", "ssl.ca.pem"},
    {"ssl.certificate.location", "ssl.certificate.pem"},
    {"ssl.key.location", "ssl.key.pem"},
    {"ssl.keystore.location", "ssl.certificate.pem and ssl.key.pem"},
};

bool IsReference(std::string_view value) {
  return value.rfind("env:", 0) == 0 || value.rfind("file:", 0) == 0 ||
         value.rfind("credential:", 0) == 0;
}

bool IsSecret(std::string_view key) {
  return std::find(std::begin(kSecrets), std::end(kSecrets), key) != std::end(kSecrets);
}

bool IsOneOf(std::string_view value, std::string_view list) {
  while (!list.empty()) {
    const size_t bar = std::min(list.find('|'), list.size());
    if (value == list.substr(0, bar)) return true;
    list.remove_prefix(std::min(bar + 1, list.size()));
  }
  return false;
}

std::string ContentProperty(std::string_view key) {
  for (const auto& [path, content] : kPaths)
    if (key == path) return std::string(content);
  return {};
}

// What is wrong with one entry; empty: nothing.
std::string Fault(const std::string& key, const std::string& value, rd_kafka_conf_t* scratch) {
  for (const Rule& rule : kRules)
    if (Canonical(key) == rule.key && !IsOneOf(value, rule.allowed))
      return "cannot be \"" + value + "\": " + std::string(rule.reason);
  std::array<char, 512> text{};
  if (IsReference(value)) {
    const std::string content = ContentProperty(key);
    if (!content.empty())
      return "takes the path of a file; for a secret's content use " + content + " instead";
    // Getting a property that is not set, as all secrets are, also answers that it is unknown.
    if (rd_kafka_conf_set(scratch, key.c_str(), "x", nullptr, 0) == RD_KAFKA_CONF_UNKNOWN)
      return "No such configuration property: \"" + key + "\"";
    return {};
  }
  if (IsSecret(key))
    return "is a secret and never stands in the file; write where it is: \"env:NAME\", "
           "\"file:/path\" or \"credential:NAME\"";
  if (rd_kafka_conf_set(scratch, key.c_str(), value.c_str(), text.data(), text.size()) !=
      RD_KAFKA_CONF_OK)
    return text.data();
  return {};
}

// What makes TLS worth little stays possible, and is said at each start.
void WarnUnverified(const rd_kafka_conf_t* conf, const Report& report) {
  const auto is = [conf](const char* key, std::string_view value) {
    std::array<char, 16> text{};
    size_t size = text.size();
    return rd_kafka_conf_get(conf, key, text.data(), &size) == RD_KAFKA_CONF_OK &&
           value == text.data();
  };
  if (is("enable.ssl.certificate.verification", "false")) {
    report.Warning("client/enable.ssl.certificate.verification",
                   "the brokers' certificates are not verified: anybody on the way can read and "
                   "change events; give ssl.ca.location instead");
  } else if (is("ssl.endpoint.identification.algorithm", "none")) {
    report.Warning("client/ssl.endpoint.identification.algorithm",
                   "the names in the brokers' certificates are not looked at: whoever has any "
                   "certificate of a trusted authority can read and change events; leave it out");
  }
}

void Set(rd_kafka_conf_t* conf, const std::string& key, const std::string& value) {
  std::array<char, 512> text{};
  if (rd_kafka_conf_set(conf, key.c_str(), value.c_str(), text.data(), text.size()) !=
      RD_KAFKA_CONF_OK)
    throw std::runtime_error("client/" + key + ": " +
                             (IsSecret(key) ? "librdkafka refuses the secret" : text.data()));
}

}  // namespace

void CheckClient(const Entries& client, const Report& report) {
  const Conf scratch(rd_kafka_conf_new());
  for (const auto& [key, value] : client) {
    const std::string fault = Fault(key, value, scratch.get());
    if (!fault.empty()) report.Error(("client/" + key).c_str(), fault);
  }
  WarnUnverified(scratch.get(), report);
  const std::string* servers = Find(client, "bootstrap.servers");
  if (servers == nullptr || servers->empty())
    report.Error("client",
                 "needs \"bootstrap.servers\", as in { \"bootstrap.servers\" = \"host:9092\" }");
}

const std::string* Find(const Entries& entries, std::string_view key) {
  for (const auto& [name, value] : entries)
    if (Canonical(name) == key) return &value;
  return nullptr;
}

Entries ReadSecrets(const Entries& client, const Host& host) {
  Entries out = client;
  for (auto& [key, value] : out)
    if (IsReference(value)) value = host.ReadSecret(value);
  return out;
}

std::vector<std::string> SecretValues(const Entries& client, const Entries& resolved) {
  // What is shorter would cut holes into every line.
  constexpr size_t kShortest = 4;
  std::vector<std::string> out;
  for (size_t i = 0; i < client.size() && i < resolved.size(); ++i)
    if (client[i].second != resolved[i].second && resolved[i].second.size() >= kShortest)
      out.push_back(resolved[i].second);
  return out;
}

size_t BatchBytes(const Entries& client) {
  const std::string* asked = Find(client, "batch.size");
  const size_t bytes = asked == nullptr ? 0 : std::strtoull(asked->c_str(), nullptr, 10);
  return bytes > 0 ? bytes : kLibraryBatch;
}

Conf MakeConf(const Entries& resolved, const Defaults& defaults) {
  Conf conf(rd_kafka_conf_new());
  // librdkafka counts what was delivered until its report is taken: hence twice the window. Bytes
  // are bounded by the host, and a message may be larger than its whole window.
  const uint64_t events = std::clamp<uint64_t>(2 * defaults.window_events, 1024, 10000000);
  const uint64_t kbytes = std::min<uint64_t>(2 * defaults.window_bytes / 1024 + (1 << 20), 2097151);
  const Entries ours = {
      {"client.id", "penstock-" + defaults.instance},
      // Batches fill to their size under load, which halves the CPU of librdkafka's thread.
      {"linger.ms", "20"},
      {"socket.nagle.disable", "true"},
      {"socket.keepalive.enable", "true"},
      {"reconnect.backoff.ms", "100"},
      {"reconnect.backoff.max.ms", "1000"},
      {"partitioner", "murmur2_random"},  // a key's partition is the one that Java's client takes
      {"topic.metadata.propagation.max.ms", "5000"},
      // Half of the window, so that one half fills while the other is on its way.
      {"batch.num.messages",
       std::to_string(std::clamp<uint64_t>(defaults.window_events / 2, 1, 10000))},
      // Above this a second copy costs more than an entry in a list.
      {"message.copy.max.bytes", "256"},
      {"queue.buffering.max.messages", std::to_string(events)},
      {"queue.buffering.max.kbytes", std::to_string(kbytes)},
      // The topics' own limits count, not the client's.
      {"message.max.bytes", "1000000000"},
  };
  for (const auto& [key, value] : ours) Set(conf.get(), key, value);
  for (const auto& [key, value] : resolved) Set(conf.get(), key, value);
  Set(conf.get(), "batch.size", std::to_string(defaults.batch_bytes));
  Set(conf.get(), "enable.idempotence", "true");
  Set(conf.get(), "acks", "all");
  Set(conf.get(), "message.timeout.ms", "0");
  Set(conf.get(), "log.queue", "true");
  if (defaults.gapless) Set(conf.get(), "enable.gapless.guarantee", "true");
  return conf;
}

}  // namespace penstock::kafka
