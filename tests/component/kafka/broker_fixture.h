// Tests against a real broker: one for all suites of the process.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cluster.h"
#include "fakes/plugin_host.h"
#include "kafka/broker.h"

namespace penstock::kafka_tests {

class RealKafka : public testing::Test {
 protected:
  RealKafka() {
    if (!broker().missing())
      topic_ = std::string("t-") + testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  void SetUp() override {
    if (broker().missing()) GTEST_SKIP() << "no Kafka in the cache; run ./x setup";
  }

  static RealBroker& broker() {
    static RealBroker one({"--sasl", "--tls", "--acl"});
    return one;
  }
  static Cluster& cluster() {
    static Cluster one(broker().bootstrap());
    return one;
  }

  static fakes::Values With(const std::string& topic, fakes::Map client = {},
                            fakes::Values more = {}) {
    bool has_servers = false;
    for (const auto& [key, value] : client) has_servers |= key == "bootstrap.servers";
    if (!has_servers) client.emplace_back("bootstrap.servers", broker().bootstrap());
    more.emplace("client", client);
    more.emplace("topic", topic);
    return more;
  }
  fakes::FakeMessage To(const std::string& payload, const std::string& key = "") const {
    return {.payload = payload, .templates = {topic_, key}};
  }
  std::vector<fakes::FakeMessage> Numbered(int from, int to) const {
    std::vector<fakes::FakeMessage> out;
    for (int i = from; i < to; ++i) out.push_back(To(std::to_string(i)));
    return out;
  }
  static std::vector<std::string> Payloads(const std::vector<Record>& records) {
    std::vector<std::string> out;
    for (const Record& record : records) out.push_back(record.value);
    return out;
  }
  static std::vector<std::string> Numbers(int from, int to) {
    std::vector<std::string> out;
    for (int i = from; i < to; ++i) out.push_back(std::to_string(i));
    return out;
  }

  const penstock_plugin& plugin_ = fakes::LoadPlugin(PENSTOCK_SINK_FILE);
  std::string topic_;
};

}  // namespace penstock::kafka_tests
