// The sink's options, as the rest of the plugin reads them.
#pragma once

#include <chrono>
#include <cstdint>
#include <penstock/plugin.hpp>
#include <string>
#include <vector>

namespace penstock::nats_jetstream {

struct StreamSettings {
  std::string name;
  bool create = false;
  std::vector<std::string> subjects;
  bool memory = false;
  int64_t replicas = 1;
  int64_t max_messages = 0;  // 0: no bound, likewise the next two
  int64_t max_bytes = 0;
  std::chrono::nanoseconds max_age{0};
  bool discard_old = false;
  std::chrono::nanoseconds duplicates{0};
};

struct Settings {
  explicit Settings(const Config& config);

  std::string instance_name;
  std::vector<std::string> servers;
  StreamSettings stream;
  std::chrono::nanoseconds ack_timeout{0};
  size_t max_events = 0;
  size_t max_bytes = 0;
  bool binary = false;  // format cloudevents-binary

  bool tls = false;  // any tls option, or a server tls://
  std::string ca_file, cert_file, key_file, server_name;
  bool insecure_skip_verify = false;

  // Secrets are references; they are read at each connect.
  std::string user, password, token, creds_file, nkey_seed_file;
};

// What is wrong with a configuration, without I/O.
void CheckSettings(const Config& config, const Report& report);

}  // namespace penstock::nats_jetstream
