// A bound for TLS handshakes. nats.c before 3.11 makes them on a blocking socket, past its own
// timeout and before anybody can get at the socket, and waits for ever for a peer that is gone.
// OpenSSL says what is made in this thread and for which descriptor, and a socket with a timeout
// ends the wait.
#pragma once

namespace penstock::nats_jetstream {

// While it lives, a handshake in this thread ends when nothing comes from its peer for so long.
class HandshakeLimit {
 public:
  explicit HandshakeLimit(int seconds);
  ~HandshakeLimit();
  HandshakeLimit(const HandshakeLimit&) = delete;
  HandshakeLimit& operator=(const HandshakeLimit&) = delete;

  // Whether the latest handshake ended so.
  bool Passed() const;
};

}  // namespace penstock::nats_jetstream
