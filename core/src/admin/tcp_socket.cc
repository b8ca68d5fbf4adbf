#include "admin/tcp_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace penstock::admin {
namespace {

// A client that says nothing is kept by the kernel for about so long, and takes none of the few
// connections from those that do.
constexpr int kSilentSeconds = 10;

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

std::string Written(const std::string& host, const std::string& port) {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + port;
}

std::string Written(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  const int flags = NI_NUMERICHOST | NI_NUMERICSERV;
  if (::getnameinfo(address, size, host, sizeof host, port, sizeof port, flags) != 0) return "?";
  return Written(host, port);
}

// What may pass by itself, such as a network that is not up yet, is worth another start.
tl::unexpected<Error> Refuse(const std::string& where, int error) {
  const std::string why = "cannot listen on " + where + ": ";
  switch (error) {
    case EADDRINUSE:
      return Fail(Code::kRetry, why + "another process has that port: stop it, or choose another");
    case EADDRNOTAVAIL:
      return Fail(Code::kRetry,
                  why + "this host has no such address (ip address shows those that it has)");
    case EACCES:
    case EPERM:
      return Fail(Code::kConfig,
                  why + "this user may not use that port: choose one from 1024 to 65535");
    default:
      return Fail(Code::kRetry, why + std::strerror(error));
  }
}

Result<Addresses> Resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error == 0) return Addresses(found);
  return Fail(Code::kRetry, "cannot listen on " + Written(host, port) +
                                ": the host's name is not "
                                "resolved (" +
                                ::gai_strerror(error) + "): write an address");
}

// A bound socket that listens, or errno.
struct Bound {
  Fd fd;
  int error = 0;
};
Bound Bind(const addrinfo& at, int backlog) {
  Fd fd(::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return {Fd(), errno};
  const int on = 1, off = 0;
  // So that a restart need not wait for the connections of the process before.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // "[::]" means all addresses, IPv4 as well, whatever the system's default is.
  if (at.ai_family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &kSilentSeconds, sizeof kSilentSeconds);
  if (::bind(fd.get(), at.ai_addr, at.ai_addrlen) != 0 || ::listen(fd.get(), backlog) != 0)
    return {Fd(), errno};
  return {std::move(fd), 0};
}

}  // namespace

Result<TcpListener> ListenOnTcp(const std::string& host, uint16_t port, int backlog) {
  const auto addresses = Resolve(host, std::to_string(port));
  if (!addresses) return tl::unexpected(addresses.error());
  std::vector<const addrinfo*> order;
  for (const addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next) order.push_back(at);
  std::stable_sort(order.begin(), order.end(), [](const addrinfo* a, const addrinfo* b) {
    return a->ai_family == AF_INET && b->ai_family != AF_INET;
  });
  Result<TcpListener> refused =
      Fail(Code::kRetry, "cannot listen on " + host + ": it has no address");
  for (const addrinfo* at : order) {
    Bound bound = Bind(*at, backlog);
    if (bound.error != 0) {
      if (at == order.front()) refused = Refuse(Written(at->ai_addr, at->ai_addrlen), bound.error);
      continue;
    }
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    ::getsockname(bound.fd.get(), reinterpret_cast<sockaddr*>(&own), &size);
    std::string address = Written(reinterpret_cast<const sockaddr*>(&own), size);
    return TcpListener{std::move(bound.fd), std::move(address)};
  }
  return refused;
}

}  // namespace penstock::admin
