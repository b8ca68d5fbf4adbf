// Authentication and encryption against a real broker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "broker_fixture.h"

namespace penstock::kafka_tests {
namespace {

using fakes::FakeSink;
using fakes::FakeSinkHost;
using fakes::Map;
using testing::HasSubstr;
using testing::Not;

class Security : public RealKafka {
 protected:
  void ExpectDelivery(const Map& client) {
    FakeSink sink(host_, plugin_, With(topic_, client));
    sink.Start();
    ASSERT_TRUE(host_.WaitState(PENSTOCK_STATE_READY));
    sink.Submit(To("x"));
    ASSERT_TRUE(host_.WaitReceipts(1));
    EXPECT_EQ(host_.count(PENSTOCK_DELIVERED), 1u);
  }
  void ExpectNoWord(const std::string& secret) {
    for (const auto& [level, text] : host_.logs()) EXPECT_THAT(text, Not(HasSubstr(secret)));
    for (const auto& [state, text] : host_.states()) EXPECT_THAT(text, Not(HasSubstr(secret)));
  }
  static std::string Content(const std::string& name) {
    std::ifstream in(broker().file(name));
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
  }
  static Map Tls() {
    return {{"bootstrap.servers", broker().address("SSL")},
            {"security.protocol", "ssl"},
            {"ssl.ca.location", broker().file("ca.pem")}};
  }
  static Map Plain() {
    return {{"bootstrap.servers", broker().address("SASL_PLAINTEXT")},
            {"security.protocol", "sasl_plaintext"},
            {"sasl.mechanism", "PLAIN"},
            {"sasl.username", "env:KAFKA_USER"},
            {"sasl.password", "env:KAFKA_PASSWORD"}};
  }

  FakeSinkHost host_;
};

TEST_F(Security, SaslPlainWithSecretsByReference) {
  host_.SetSecret("env:KAFKA_USER", "alice");
  host_.SetSecret("env:KAFKA_PASSWORD", "alice-secret");
  Map client = Plain();
  client.emplace_back("debug", "all");
  ExpectDelivery(client);
  ExpectNoWord("alice-secret");
}

TEST_F(Security, AWrongPasswordIsSaidAndARotatedOneIsTakenUp) {
  host_.SetSecret("env:KAFKA_USER", "alice");
  host_.SetSecret("env:KAFKA_PASSWORD", "wrong-secret");
  FakeSink sink(host_, plugin_, With(topic_, Plain()));
  sink.Start();
  ASSERT_TRUE(host_.WaitText("Authentication failed"));
  EXPECT_EQ(host_.states().back().first, PENSTOCK_STATE_CONNECTING);
  host_.SetSecret("env:KAFKA_PASSWORD", "alice-secret");
  ASSERT_TRUE(host_.WaitState(PENSTOCK_STATE_READY));
  ExpectNoWord("wrong-secret");
}

TEST_F(Security, Tls) { ExpectDelivery(Tls()); }

TEST_F(Security, TlsWithAClientCertificateWhoseKeyIsEncrypted) {
  host_.SetSecret("env:KEY_PASSWORD", "key-secret");
  Map client = Tls();
  client.emplace_back("ssl.certificate.location", broker().file("client.pem"));
  client.emplace_back("ssl.key.location", broker().file("client-encrypted.key"));
  client.emplace_back("ssl.key.password", "env:KEY_PASSWORD");
  ExpectDelivery(client);
}

TEST_F(Security, TlsWithAKeyThatIsASecret) {
  host_.SetSecret("credential:key", Content("client.key"));
  host_.SetSecret("credential:cert", Content("client.pem"));
  Map client = Tls();
  client.emplace_back("ssl.certificate.pem", "credential:cert");
  client.emplace_back("ssl.key.pem", "credential:key");
  ExpectDelivery(client);
}

TEST_F(Security, ABrokerThatTheCaDoesNotKnowIsRefused) {
  Map client = Tls();
  client.pop_back();  // the system's certificates, then
  FakeSink sink(host_, plugin_, With(topic_, client));
  sink.Start();
  ASSERT_TRUE(host_.WaitText("certificate verify failed"));
  EXPECT_EQ(host_.states().back().first, PENSTOCK_STATE_CONNECTING);
}

TEST_F(Security, SaslOverTls) {
  host_.SetSecret("env:KAFKA_USER", "alice");
  host_.SetSecret("env:KAFKA_PASSWORD", "alice-secret");
  ExpectDelivery({{"bootstrap.servers", broker().address("SASL_SSL")},
                  {"security.protocol", "sasl_ssl"},
                  {"ssl.ca.location", broker().file("ca.pem")},
                  {"sasl.mechanism", "PLAIN"},
                  {"sasl.username", "env:KAFKA_USER"},
                  {"sasl.password", "env:KAFKA_PASSWORD"}});
}

// librdkafka 2.0.2 cannot do SCRAM with Kafka 4; with 3.9 it can.
TEST_F(Security, ScramOnTheOlderBroker) {
  RealBroker older({"--sasl", "--version", "3.9.2"});
  if (older.missing()) GTEST_SKIP() << "no Kafka in the cache; run ./x setup";
  host_.SetSecret("env:PASSWORD", "bob-secret");
  ExpectDelivery({{"bootstrap.servers", older.address("SASL_PLAINTEXT")},
                  {"security.protocol", "sasl_plaintext"},
                  {"sasl.mechanism", "SCRAM-SHA-512"},
                  {"sasl.username", "bob"},
                  {"sasl.password", "env:PASSWORD"}});
}

}  // namespace
}  // namespace penstock::kafka_tests
