#include "config/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

#include "config/text.h"

namespace penstock::config {
namespace {

constexpr size_t kHostMost = 253;
constexpr char kLike[] = "write \"HOST:PORT\", such as \"127.0.0.1:9464\" or \"[::1]:9464\"";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsHostCharacter(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
         c == '_';
}

bool ToIpv4(const std::string& text, in_addr* out) {
  return ::inet_pton(AF_INET, text.c_str(), out) == 1;
}

// A link-local address may have its interface behind it: "fe80::1%eth0".
bool ToIpv6(const std::string& text, in6_addr* out) {
  const size_t zone = text.find('%');
  if (zone != std::string::npos && zone + 1 == text.size()) return false;
  return ::inet_pton(AF_INET6, text.substr(0, zone).c_str(), out) == 1;
}

Result<void> CheckName(const std::string& host) {
  const bool name = host.size() <= kHostMost && host.front() != '-' &&
                    std::all_of(host.begin(), host.end(), IsHostCharacter);
  if (!name) return Fail(Code::kConfig, Cat(Quote(host), " is no host's name or address"));
  // What ends in a number can only have been meant as an address; resolvers complete it oddly.
  const std::string last = host.substr(host.rfind('.') + 1);
  in_addr ignored{};
  if (std::all_of(last.begin(), last.end(), IsDigit) && !ToIpv4(host, &ignored))
    return Fail(Code::kConfig, Cat(Quote(host), " is no IPv4 address"));
  return {};
}

Result<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc() || end != text.data() + text.size())
    return Fail(Code::kConfig,
                Cat("the port must be from 0 to 65535 (0: any that is free), found ", Quote(text)));
  return port;
}

}  // namespace

std::string ListenAddress::ToString() const {
  const bool brackets = host.find(':') != std::string::npos;
  return Cat(brackets ? "[" : "", host, brackets ? "]:" : ":", std::to_string(port));
}

bool ListenAddress::loopback() const {
  in_addr four{};
  if (ToIpv4(host, &four)) return ntohl(four.s_addr) >> 24u == IN_LOOPBACKNET;
  in6_addr six{};
  if (!ToIpv6(host, &six)) return host == "localhost";
  return IN6_IS_ADDR_LOOPBACK(&six) ||
         (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == IN_LOOPBACKNET);
}

Result<ListenAddress> ParseListenAddress(std::string_view text) {
  if (text.find("://") != std::string_view::npos)
    return Fail(Code::kConfig, Cat(Quote(text), " is a URL: ", kLike));
  const size_t colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  if (colon == std::string_view::npos || (bracketed && text.find(']') == std::string_view::npos) ||
      text.ends_with(']'))
    return Fail(Code::kConfig, Cat(Quote(text), " has no port: ", kLike));
  ListenAddress address;
  address.host = text.substr(0, colon);
  if (address.host.empty() || address.host == "*" || address.host == "[]")
    return Fail(Code::kConfig,
                Cat(Quote(text), " names no host: write \"127.0.0.1", text.substr(colon),
                    "\", or for all addresses of this host \"0.0.0.0", text.substr(colon),
                    "\" or \"[::]", text.substr(colon), "\""));
  if (bracketed) {
    const std::string inner = address.host.substr(1, address.host.size() - 2);
    in6_addr ignored{};
    if (!address.host.ends_with(']') || !ToIpv6(inner, &ignored))
      return Fail(Code::kConfig, Cat(Quote(address.host), " is no IPv6 address in brackets"));
    address.host = inner;
  } else if (address.host.find(':') != std::string::npos) {
    return Fail(Code::kConfig, Cat(Quote(text),
                                   ": an IPv6 address is written in brackets, such as "
                                   "\"[::1]:9464\""));
  } else if (auto name = CheckName(address.host); !name) {
    return tl::unexpected(name.error());
  }
  const auto port = ParsePort(text.substr(colon + 1));
  if (!port) return tl::unexpected(port.error());
  address.port = *port;
  return address;
}

}  // namespace penstock::config
