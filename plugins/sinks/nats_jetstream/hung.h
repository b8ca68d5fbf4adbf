// Attempts to connect that nats.c cannot break off, in a TLS handshake that the peer left: each
// keeps a thread and a descriptor until the peer ends it, which may be never. So they get rarer the
// more there are, and never stop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace penstock::nats_jetstream {

constexpr size_t kFewHung = 4, kManyHung = 64;

// How long nothing is tried after one that hangs, with so many in all.
constexpr int64_t SecondsAfterHanging(size_t hung) {
  if (hung < kFewHung) return 0;
  return hung < kManyHung ? 60 : 3600;
}

// What is to be said of them, behind the reason; nothing while they are few.
inline std::string AboutHung(size_t hung) {
  const int64_t wait = SecondsAfterHanging(hung);
  if (wait == 0) return {};
  return "; " + std::to_string(hung) +
         " attempts hang in their TLS handshake or login, and cannot be broken off, so the next "
         "one is made after " +
         std::to_string(wait) +
         "s: look at what is between this gateway and the server (a firewall, NAT, a proxy that "
         "takes connections for a server that is away); the hanging ones end when their "
         "connections are ended there, or with a restart of the gateway";
}

}  // namespace penstock::nats_jetstream
