#include "config/listen_address.h"

#include <gtest/gtest.h>

namespace penstock::config {
namespace {

std::string ErrorOf(const std::string& text) {
  const auto address = ParseListenAddress(text);
  EXPECT_FALSE(address) << text << " is " << address->ToString();
  return address ? "" : address.error().message;
}

TEST(ListenAddress, IsHostAndPort) {
  struct {
    std::string text, host;
    uint16_t port;
    bool loopback;
  } const cases[] = {
      {"127.0.0.1:9464", "127.0.0.1", 9464, true},
      {"127.3.2.1:0", "127.3.2.1", 0, true},
      {"0.0.0.0:65535", "0.0.0.0", 65535, false},
      {"10.0.0.1:9464", "10.0.0.1", 9464, false},
      {"[::1]:9464", "::1", 9464, true},
      {"[::]:9464", "::", 9464, false},
      {"[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, true},
      {"[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80, false},
      {"[fe80::1%eth0]:9464", "fe80::1%eth0", 9464, false},
      {"localhost:9464", "localhost", 9464, true},
      {"edge-1.internal:9464", "edge-1.internal", 9464, false},
      {"10.example:1", "10.example", 1, false},
  };
  for (const auto& one : cases) {
    const auto address = ParseListenAddress(one.text);
    ASSERT_TRUE(address) << one.text << ": " << address.error().message;
    EXPECT_EQ(address->host, one.host);
    EXPECT_EQ(address->port, one.port);
    EXPECT_EQ(address->loopback(), one.loopback) << one.text;
    EXPECT_EQ(address->ToString(), one.text);
  }
}

TEST(ListenAddress, SaysWhatIsWrongAndWhatToWrite) {
  const std::string like = "write \"HOST:PORT\", such as \"127.0.0.1:9464\" or \"[::1]:9464\"";
  EXPECT_EQ(ErrorOf("localhost"), "\"localhost\" has no port: " + like);
  EXPECT_EQ(ErrorOf("9464"), "\"9464\" has no port: " + like);
  EXPECT_EQ(ErrorOf("[::1]"), "\"[::1]\" has no port: " + like);
  EXPECT_EQ(ErrorOf("[::1"), "\"[::1\" has no port: " + like);
  EXPECT_EQ(ErrorOf("http://127.0.0.1:9464"), "\"http://127.0.0.1:9464\" is a URL: " + like);
  for (const char* nobody : {"", "*", "[]"}) {
    EXPECT_EQ(ErrorOf(std::string(nobody) + ":9464"),
              std::string("\"") + nobody +
                  ":9464\" names no host: write \"127.0.0.1:9464\", or for all addresses of this "
                  "host \"0.0.0.0:9464\" or \"[::]:9464\"");
  }
  EXPECT_EQ(ErrorOf("::1:9464"),
            "\"::1:9464\": an IPv6 address is written in brackets, such as \"[::1]:9464\"");
  EXPECT_EQ(ErrorOf("[127.0.0.1]:1"), "\"[127.0.0.1]\" is no IPv6 address in brackets");
  EXPECT_EQ(ErrorOf("[::1]x:1"), "\"[::1]x\" is no IPv6 address in brackets");
  EXPECT_EQ(ErrorOf("[fe80::1%]:1"), "\"[fe80::1%]\" is no IPv6 address in brackets");
  EXPECT_EQ(ErrorOf("127.0.0:1"), "\"127.0.0\" is no IPv4 address");
  EXPECT_EQ(ErrorOf("127.0.0.256:1"), "\"127.0.0.256\" is no IPv4 address");
  EXPECT_EQ(ErrorOf("12:1"), "\"12\" is no IPv4 address");
  EXPECT_EQ(ErrorOf("a b:1"), "\"a b\" is no host's name or address");
  EXPECT_EQ(ErrorOf("-a:1"), "\"-a\" is no host's name or address");
  EXPECT_EQ(ErrorOf(std::string(254, 'a') + ":1").find("is no host's name") == std::string::npos,
            false);
  for (const char* port : {"", "65536", "-1", "+1", "0x10", "1 ", "http"}) {
    EXPECT_EQ(ErrorOf(std::string("127.0.0.1:") + port),
              std::string("the port must be from 0 to 65535 (0: any that is free), found \"") +
                  port + "\"");
  }
}

}  // namespace
}  // namespace penstock::config
