#include "settings.h"

#include <string_view>

namespace penstock::nats_jetstream {
namespace {

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

void CheckServers(const std::vector<std::string>& servers, const Report& report) {
  for (const std::string& server : servers) {
    const size_t scheme_end = server.find("://");
    if (scheme_end != std::string::npos && !StartsWith(server, "nats://") &&
        !StartsWith(server, "tls://")) {
      report.Error("servers", "\"" + server +
                                  "\" has an unknown scheme: expected nats://HOST:PORT or "
                                  "tls://HOST:PORT");
    }
    if (server.find('@') != std::string::npos) {
      report.Error("servers",
                   "a server's address must not hold credentials: use user and password, or "
                   "token, which are read from a secret");
    }
    if (server.empty() || server.find_first_of(" \t\r\n,") != std::string::npos) {
      report.Error("servers", "\"" + server + "\" is no address: expected nats://HOST:PORT");
    }
  }
}

void CheckAuth(const Config& config, const Report& report) {
  const bool user = config.IsSet("user"), password = config.IsSet("password");
  const int ways = (user || password ? 1 : 0) + (config.IsSet("token") ? 1 : 0) +
                   (config.IsSet("creds_file") ? 1 : 0) + (config.IsSet("nkey_seed_file") ? 1 : 0);
  if (ways > 1) {
    report.Error("",
                 "more than one way to authenticate: choose one of user and password, token, "
                 "creds_file, nkey_seed_file");
  }
  if (user != password) {
    report.Error(user ? "user" : "password",
                 user ? "user needs a password, as in password = \"env:NATS_PASSWORD\""
                      : "password needs a user");
  }
}

void CheckTls(const Config& config, const Report& report) {
  if (config.IsSet("tls.cert_file") != config.IsSet("tls.key_file")) {
    report.Error(config.IsSet("tls.cert_file") ? "tls.cert_file" : "tls.key_file",
                 "tls.cert_file and tls.key_file belong together: give both or none");
  }
  if (config.Bool("tls.insecure_skip_verify")) {
    report.Warning("tls.insecure_skip_verify",
                   "the server's certificate is not verified: anybody on the way can read and "
                   "change events; give tls.ca_file instead");
  }
}

// What the server deletes by itself is lost to whoever has not read it, and nobody is told.
void CheckDiscard(const Config& config, const Report& report) {
  const int64_t messages = config.Int("stream.max_messages"),
                bytes = config.Int("stream.max_bytes");
  if (config.Str("stream.discard") == "old" && (messages > 0 || bytes > 0)) {
    std::string bound;
    if (messages > 0) bound = std::to_string(messages) + " messages";
    if (bytes > 0) bound += (bound.empty() ? "" : " or ") + std::to_string(bytes) + " bytes";
    report.Warning("stream.discard",
                   "EVENTS CAN BE LOST: when the stream has " + bound +
                       ", the server deletes the oldest for each new one, also those that nobody "
                       "has read yet, and nobody is told; write stream = { discard = \"new\" }, "
                       "and events wait in the queue here until the stream has room");
  }
  if (config.Duration("stream.max_age").count() > 0) {
    report.Notice("stream.max_age",
                  "the stream deletes messages of that age, also those that nobody has read; "
                  "stream = { max_age = \"0s\" } keeps them");
  }
}

void CheckStream(const Config& config, const Report& report) {
  const std::string name = config.Str("stream.name");
  if (name.find_first_of(" .*>\t\r\n/\\") != std::string::npos) {
    report.Error("stream.name",
                 "\"" + name + "\" is no stream name: it must not hold spaces . * > / \\");
  }
  if (!config.Bool("stream.create")) return;
  if (name.empty()) report.Error("stream.create", "stream.create needs stream.name");
  if (config.List("stream.subjects").empty()) {
    report.Error("stream.create",
                 "stream.create needs stream.subjects, the subjects that the stream takes, as in "
                 "subjects = [\"orders.>\"]");
  }
  const auto age = config.Duration("stream.max_age");
  if (age.count() > 0 && age < std::chrono::milliseconds(100))
    report.Error("stream.max_age", "a stream keeps a message for 100ms at least; 0s: for ever");
  if (age.count() > 0 && config.Duration("stream.duplicates") > age) {
    report.Error("stream.duplicates",
                 "stream.duplicates cannot be longer than stream.max_age: a server makes no such "
                 "stream");
  }
  CheckDiscard(config, report);
}

}  // namespace

Settings::Settings(const Config& config)
    : servers(config.List("servers")),
      ack_timeout(config.Duration("ack_timeout")),
      max_events(config.Size("max_in_flight.events")),
      max_bytes(config.Size("max_in_flight.bytes")),
      binary(config.Str("format") == "cloudevents-binary"),
      ca_file(config.Str("tls.ca_file")),
      cert_file(config.Str("tls.cert_file")),
      key_file(config.Str("tls.key_file")),
      server_name(config.Str("tls.server_name")),
      insecure_skip_verify(config.Bool("tls.insecure_skip_verify")),
      user(config.Str("user")),
      password(config.Str("password")),
      token(config.Str("token")),
      creds_file(config.Str("creds_file")),
      nkey_seed_file(config.Str("nkey_seed_file")) {
  stream.name = config.Str("stream.name");
  stream.create = config.Bool("stream.create");
  stream.subjects = config.List("stream.subjects");
  stream.memory = config.Str("stream.storage") == "memory";
  stream.replicas = config.Int("stream.replicas");
  stream.max_messages = config.Int("stream.max_messages");
  stream.max_age = config.Duration("stream.max_age");
  stream.max_bytes = config.Int("stream.max_bytes");
  stream.discard_old = config.Str("stream.discard") == "old";
  stream.duplicates = config.Duration("stream.duplicates");
  tls = !ca_file.empty() || !cert_file.empty() || !server_name.empty() || insecure_skip_verify;
  for (const std::string& server : servers) tls = tls || StartsWith(server, "tls://");
  if (max_events == 0) max_events = 1;
}

void CheckSettings(const Config& config, const Report& report) {
  CheckServers(config.List("servers"), report);
  CheckAuth(config, report);
  CheckTls(config, report);
  CheckStream(config, report);
  if (config.Str("msg_id").empty()) {
    report.Notice("msg_id",
                  "without msg_id JetStream cannot tell a repeated event from a new one: an event "
                  "whose answer is lost may be stored twice");
  }
}

}  // namespace penstock::nats_jetstream
