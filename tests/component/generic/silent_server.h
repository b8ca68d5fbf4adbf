// A server that says nothing.
#ifndef PENSTOCK_TESTS_COMPONENT_GENERIC_SILENT_SERVER_H
#define PENSTOCK_TESTS_COMPONENT_GENERIC_SILENT_SERVER_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace penstock::testing {

// Listens and never answers: the kernel accepts the connection, and then nothing comes.
class SilentServer {
 public:
  SilentServer() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd_, 16) != 0 ||
        getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("cannot listen");
    }
    port_ = ntohs(address.sin_port);
  }
  ~SilentServer() { close(fd_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;
  std::string url() const { return "127.0.0.1:" + std::to_string(port_); }
  // Waits for a client.
  void Accept() { close(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)); }

 private:
  int fd_;
  int port_ = 0;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_COMPONENT_GENERIC_SILENT_SERVER_H
