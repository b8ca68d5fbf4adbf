// Argo Events' EventSource manifests to a configuration of Penstock.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace penstock::import_argo {

// The bus of the sources whose EventBus is not among the manifests. At most one of both; neither:
// JetStream on this host, and a warning.
struct BusOptions {
  std::string nats_url;
  std::string kafka_address, kafka_topic;
};

struct Outcome {
  std::string toml;                       // empty when a finding is an error
  size_t sources = 0;                     // that stand in it
  std::vector<config::Finding> findings;  // in the order of the files and their lines; bounded
};

// Makes one configuration of all files, whose path only says how they are called. What the event
// servers see and what comes onto the bus is as it is with Argo; what cannot be the same, or has no
// equivalent, is a warning. Never throws.
Outcome Convert(const std::vector<config::FileText>& files, const BusOptions& bus);

}  // namespace penstock::import_argo
