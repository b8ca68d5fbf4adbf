// As much of NATS's protocol as a publisher to JetStream needs. For yardsticks only: it trusts its
// peer.
#pragma once

#include <cstdlib>
#include <string_view>

namespace yardstick {

inline constexpr std::string_view kNatsConnect =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,"
    "\"lang\":\"raw\",\"version\":\"0\",\"protocol\":1}\r\nPING\r\nSUB _R.* 1\r\n";

struct NatsAnswers {
  long acked = 0, refused = 0;
  bool ping = false;  // the server wants a PONG
};

// Counts what has come whole; returns how many bytes that is.
inline size_t CountAnswers(std::string_view in, NatsAnswers* answers) {
  size_t at = 0;
  for (;;) {
    const size_t line_end = in.find('\n', at);
    if (line_end == in.npos) break;
    const std::string_view line = in.substr(at, line_end + 1 - at);
    size_t size = line.size();
    if (line.substr(0, 4) == "MSG ") {
      const size_t space = line.rfind(' ');
      size += static_cast<size_t>(std::atol(line.data() + space + 1)) + 2;
      if (in.size() - at < size) break;
      ++(in.substr(line_end + 1, 10) == "{\"stream\":" ? answers->acked : answers->refused);
    } else if (line.substr(0, 4) == "PING") {
      answers->ping = true;
    }
    at += size;
  }
  return at;
}

}  // namespace yardstick
