// A server that says that it wants TLS and then never comes to an end with the handshake, nor ever
// hangs up.
#pragma once

#include <arpa/inet.h>
#include <nats/nats.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "fakes/threads.h"

namespace penstock::fakes {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Before any attempt; nats.c's own threads, which stay, are among them.
inline size_t ThreadsOfNats() {
  if (nats_Open(-1) != NATS_OK) throw std::runtime_error("no nats.c");
  return Threads();
}

class SilentServer {
 public:
  // kSlowly: one byte of its handshake each second.
  enum Answers { kNever, kSlowly };

  explicit SilentServer(Answers answers = kNever) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 16) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no listener");
    }
    port_ = ntohs(address.sin_port);
    if (answers == kSlowly)
      drip_ = std::jthread([this](const std::stop_token& stop) { Drip(stop); });
  }
  ~SilentServer() {
    drip_ = {};
    for (const Connection& connection : connections_) close(connection.fd);
    close(listener_);
  }
  std::string url() const { return "tls://127.0.0.1:" + std::to_string(port_); }
  // False when nobody comes in time.
  bool Accept(milliseconds time) {
    pollfd one{listener_, POLLIN, 0};
    if (poll(&one, 1, static_cast<int>(time.count())) != 1) return false;
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const std::string info =
        "INFO {\"server_id\":\"x\",\"max_payload\":1000,\"tls_required\":true}\r\n";
    const bool said = write(fd, info.data(), info.size()) == static_cast<ssize_t>(info.size());
    std::lock_guard lock(mutex_);
    connections_.push_back({fd, 0});
    return said;
  }
  // Whether the one that came last has begun its handshake in time.
  bool Hears(milliseconds time) {
    pollfd one{connections_.back().fd, POLLIN, 0};
    char first = 0;
    return poll(&one, 1, static_cast<int>(time.count())) == 1 && read(one.fd, &first, 1) == 1;
  }

 private:
  struct Connection {
    int fd;
    size_t sent;
  };

  void Drip(const std::stop_token& stop) {
    constexpr char kRecord[] = {0x16, 3, 3, 0x40, 0};  // of 16 KiB: hours
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      wake_.wait_for(lock, stop, seconds(1), [] { return false; });
      for (Connection& connection : connections_) {
        const char next = connection.sent < sizeof kRecord ? kRecord[connection.sent] : '\0';
        if (send(connection.fd, &next, 1, MSG_NOSIGNAL) == 1) ++connection.sent;
      }
    }
  }

  const int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<Connection> connections_;
  std::jthread drip_;
};

}  // namespace penstock::fakes
