// A TCP socket that listens. Private to this folder.
#pragma once

#include <cstdint>
#include <string>

#include "admin/fd.h"
#include "platform/result.h"

namespace penstock::admin {

struct TcpListener {
  Fd fd;
  std::string address;  // that it is bound to: "127.0.0.1:9464", "[::1]:9464"
};

// See Server::ListenTcp.
Result<TcpListener> ListenOnTcp(const std::string& host, uint16_t port, int backlog);

}  // namespace penstock::admin
