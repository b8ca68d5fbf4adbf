// HTTP for the administrator: a table of handlers behind a unix socket that only its owner and root
// may use, or behind a TCP socket that anybody may use who reaches it.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "platform/result.h"

namespace penstock::admin {

struct Request {
  std::string path;                          // decoded, without the query
  std::map<std::string, std::string> query;  // decoded; of a name given twice the last
  std::string body;                          // at most Limits::max_body
};

// Gives the next piece of a body, of any size; an empty one is the end. An error cuts the answer
// off, so that the client sees that it is not whole, and is logged. Called by one thread at a time,
// and not any more once the client has gone.
using Pull = std::function<Result<std::string>()>;

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  Pull pull;  // if there is one, it makes the body, for what is too long to be held in memory
};

// Called from the server's threads, several at once. What it does must be bounded in time, and must
// not call into a plugin: Server::Stop waits for it. An exception becomes status 500.
using Handler = std::function<Response(const Request&)>;

struct Limits {
  unsigned connections = 8;          // a thread for each; more clients wait for one to end
  std::chrono::seconds timeout{10};  // a connection on which nothing moves for so long is closed
  size_t max_body = 1 << 20;         // bytes; more is answered with 413
};

class Server {
 public:
  // owner: the user who may connect to a unix socket, beside root.
  explicit Server(Limits limits = {}, uid_t owner = geteuid());
  ~Server();  // stops
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // method: "GET" (which answers HEAD too), "POST", ... path: the whole of it. Before Listen.
  void Handle(const std::string& method, const std::string& path, Handler handler);

  // Makes the socket with mode 0600 and serves it. The file of a process that has died is replaced;
  // one that is listened to, or is no socket, is an error. Each error has code kConfig, names the
  // file and says what to do.
  Result<void> Listen(const std::string& socket_path);

  // Serves host (an address, or a name: the first of its addresses that can be used, IPv4 before
  // IPv6) and port (0: any that is free) instead; whoever connects may use all of the table, so
  // that it is to hold nothing that changes anything. Each answer ends its connection, so that few
  // connections are enough for many clients. Returns where it listens, as "127.0.0.1:9464". May
  // wait for a name server. An error has code kConfig, or kRetry when the reason may pass by
  // itself.
  Result<std::string> ListenTcp(const std::string& host, uint16_t port);

  // Removes the socket, cuts every connection off and waits for the handlers that run. May be
  // called at any time, and again.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::admin
