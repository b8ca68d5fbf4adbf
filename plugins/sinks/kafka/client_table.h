// The table `client`: librdkafka's own properties, the few that this sink must own, and its
// defaults.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <memory>
#include <penstock/plugin.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::kafka {

using Entries = std::vector<std::pair<std::string, std::string>>;

struct ConfDeleter {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using Conf = std::unique_ptr<rd_kafka_conf_t, ConfDeleter>;

// Reports what cannot work, each fault at its key. No I/O: a secret behind a reference is not read.
void CheckClient(const Entries& client, const Report& report);

constexpr size_t kLibraryBatch = 1000000;  // librdkafka's own batch.size

// The table's batch.size.
size_t BatchBytes(const Entries& client);

// What a producer is made with, beside the user's table.
struct Defaults {
  std::string instance;        // for client.id
  uint64_t window_events = 0;  // the host's max_in_flight
  uint64_t window_bytes = 0;
  size_t batch_bytes = kLibraryBatch;
  bool gapless = false;  // a refused batch stops the producer instead of leaving a gap
};

// The table with its secrets read now. Throws std::runtime_error with the host's text.
Entries ReadSecrets(const Entries& client, const Host& host);

// The configuration of a producer. resolved: what ReadSecrets returned. Throws std::runtime_error
// with librdkafka's text.
Conf MakeConf(const Entries& resolved, const Defaults& defaults);

// The value of a property in the table, under this name or its alias; nullptr: not there.
const std::string* Find(const Entries& entries, std::string_view key);

// The secrets themselves, to be cut out of whatever is logged.
std::vector<std::string> SecretValues(const Entries& client, const Entries& resolved);

}  // namespace penstock::kafka
