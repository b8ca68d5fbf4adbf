// Where to listen on TCP, as it is written in the configuration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "platform/result.h"

namespace penstock::config {

struct ListenAddress {
  std::string host;   // an IPv4 or IPv6 address without brackets, or a name; empty: nowhere
  uint16_t port = 0;  // 0: one that is free

  // "127.0.0.1:9464", "[::1]:9464"
  std::string ToString() const;
  // Nobody from another host can reach it. Of names that is known of localhost alone, since nothing
  // is looked up.
  bool loopback() const;
};

// "127.0.0.1:9464", "[::1]:9464", "localhost:9464". The error says what is wrong and what to write.
Result<ListenAddress> ParseListenAddress(std::string_view text);

}  // namespace penstock::config
