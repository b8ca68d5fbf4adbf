#include "admin/server.h"

#include <microhttpd.h>

#include <algorithm>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <utility>

#include "admin/tcp_socket.h"
#include "admin/unix_socket.h"
#include "platform/log.h"

namespace penstock::admin {
namespace {

constexpr char kMe[] = "admin";
constexpr int kBacklog = 64;
constexpr size_t kConnectionMemory = 32 << 10;  // headers and what is being read or written
constexpr size_t kStack = 512 << 10;
constexpr size_t kPieceSize = 32 << 10;
// Of a body that is too large: read and thrown away, so that the client gets its answer. Beyond it
// the connection is cut off.
constexpr size_t kDiscardMost = 16 << 20;

Response Plain(int status, std::string text) {
  Response response;
  response.status = status;
  response.body = std::move(text) + "\n";
  return response;
}

// One request, from its first line to the end of its answer.
struct Exchange {
  Request request;
  const Handler* handler = nullptr;
  size_t received = 0;
};

// A body while the library asks for it.
struct Streamed {
  Pull pull;
  std::string path;
  std::string piece;
  size_t used = 0;
};

ssize_t ReadStreamed(void* cls, uint64_t, char* out, size_t room) {
  auto* body = static_cast<Streamed*>(cls);
  if (body->used == body->piece.size()) {
    Result<std::string> next = body->pull();
    if (!next) {
      log::LogError(kMe, body->path + " was cut off: " + next.error().message);
      return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (next->empty()) return MHD_CONTENT_READER_END_OF_STREAM;
    body->piece = std::move(*next);
    body->used = 0;
  }
  const size_t n = std::min(room, body->piece.size() - body->used);
  body->piece.copy(out, n, body->used);
  body->used += n;
  return static_cast<ssize_t>(n);
}

ssize_t ReadStreamedSafely(void* cls, uint64_t at, char* out, size_t room) {
  try {
    return ReadStreamed(cls, at, out, room);
  } catch (const std::exception& e) {
    log::LogError(kMe, std::string("an answer was cut off: ") + e.what());
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
}

// What goes into an answer's head, beside its own.
struct Head {
  bool close = false;           // this is the connection's last answer
  const char* allow = nullptr;  // the methods that there are
};

MHD_Result Send(MHD_Connection* connection, Response&& response, const std::string& path,
                Head head) {
  MHD_Response* raw = nullptr;
  if (response.pull) {
    auto* body = new Streamed{std::move(response.pull), path, {}, 0};
    raw = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, kPieceSize, ReadStreamedSafely, body,
                                            [](void* cls) { delete static_cast<Streamed*>(cls); });
    if (raw == nullptr) delete body;
  } else {
    raw = MHD_create_response_from_buffer(response.body.size(), response.body.data(),
                                          MHD_RESPMEM_MUST_COPY);
  }
  if (raw == nullptr) return MHD_NO;
  MHD_add_response_header(raw, MHD_HTTP_HEADER_CONTENT_TYPE, response.content_type.c_str());
  if (head.allow != nullptr) MHD_add_response_header(raw, MHD_HTTP_HEADER_ALLOW, head.allow);
  if (head.close) MHD_add_response_header(raw, MHD_HTTP_HEADER_CONNECTION, "close");
  const MHD_Result queued =
      MHD_queue_response(connection, static_cast<unsigned>(response.status), raw);
  MHD_destroy_response(raw);
  return queued;
}

MHD_Result AddParameter(void* cls, MHD_ValueKind, const char* key, const char* value) {
  auto* query = static_cast<std::map<std::string, std::string>*>(cls);
  (*query)[key] = value == nullptr ? "" : value;
  return MHD_YES;
}

// What the client says of the size of its body; 0 if it does not.
uint64_t AnnouncedBody(MHD_Connection* connection) {
  const char* text =
      MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
  uint64_t size = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), size);
  return size;
}

void LogLibrary(void*, const char* format, va_list arguments) {
  if (!log::Enabled(log::Level::kDebug)) return;
  char line[512];
  std::vsnprintf(line, sizeof line, format, arguments);
  std::string_view text(line);
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  log::Write(log::Level::kDebug, kMe, text);
}

}  // namespace

struct Server::Impl {
  using Methods = std::map<std::string, Handler>;

  static MHD_Result OnRequest(void* cls, MHD_Connection* connection, const char* url,
                              const char* method, const char*, const char* upload,
                              size_t* upload_size, void** state) {
    auto* self = static_cast<Impl*>(cls);
    try {
      return self->Step(connection, url, method, upload, upload_size, state);
    } catch (const std::exception& e) {
      log::LogError(kMe, std::string(method) + " " + url + " failed: " + e.what());
      return self->Answer(connection, Plain(500, std::string("failed: ") + e.what()), url);
    }
  }

  static void OnCompleted(void*, MHD_Connection*, void** state, MHD_RequestTerminationCode) {
    delete static_cast<Exchange*>(std::exchange(*state, nullptr));
  }

  MHD_Result Answer(MHD_Connection* connection, Response&& response, const std::string& path,
                    const char* allow = nullptr) const {
    return Send(connection, std::move(response), path, {tcp, allow});
  }

  // Called with the head of a request, then with each piece of its body, then at its end.
  MHD_Result Step(MHD_Connection* connection, const char* url, const char* method,
                  const char* upload, size_t* upload_size, void** state) {
    if (*state == nullptr) return Begin(connection, url, method, state);
    auto* exchange = static_cast<Exchange*>(*state);
    if (*upload_size > 0) {
      exchange->received += *upload_size;
      if (exchange->received > limits.max_body + kDiscardMost) return MHD_NO;
      if (exchange->received <= limits.max_body)
        exchange->request.body.append(upload, *upload_size);
      *upload_size = 0;
      return MHD_YES;
    }
    if (exchange->received > limits.max_body) return Answer(connection, TooLarge(), url);
    return Answer(connection, (*exchange->handler)(exchange->request), url);
  }

  MHD_Result Begin(MHD_Connection* connection, const char* url, const char* method, void** state) {
    if (!MayUse(connection)) {
      return Answer(connection,
                    Plain(403, "only root and the user that the gateway runs as (uid " +
                                   std::to_string(owner) + ") may use this socket"),
                    url);
    }
    const auto found = routes.find(url);
    if (found == routes.end()) return Answer(connection, UnknownPath(url), url);
    const std::string wanted = std::strcmp(method, "HEAD") == 0 ? "GET" : method;
    const auto handler = found->second.find(wanted);
    if (handler == found->second.end()) {
      const std::string allow = MethodsOf(found->second);
      return Answer(connection,
                    Plain(405, std::string(url) + " does not know " + method + ", only " + allow),
                    url, allow.c_str());
    }
    if (AnnouncedBody(connection) > limits.max_body) return Answer(connection, TooLarge(), url);
    auto exchange = std::make_unique<Exchange>();
    exchange->handler = &handler->second;
    exchange->request.path = url;
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, AddParameter,
                              &exchange->request.query);
    *state = exchange.release();
    return MHD_YES;
  }

  bool MayUse(MHD_Connection* connection) const {
    if (tcp) return true;
    const MHD_ConnectionInfo* info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == nullptr) return false;
    const std::optional<Peer> peer = PeerOf(info->connect_fd);
    return peer && (peer->uid == owner || peer->uid == 0);
  }

  static std::string MethodsOf(const Methods& methods) {
    std::string out;
    for (const auto& [method, handler] : methods) out += (out.empty() ? "" : ", ") + method;
    return out;
  }

  Response UnknownPath(const std::string& wanted) const {
    std::string text = "there is no " + wanted + "; there are";
    for (const auto& [known, methods] : routes) text += "\n  " + MethodsOf(methods) + " " + known;
    return Plain(404, std::move(text));
  }

  Response TooLarge() const {
    return Plain(413, "the body has more than " + std::to_string(limits.max_body) + " bytes");
  }

  MHD_Daemon* Start(int fd) {
    return MHD_start_daemon(
        // A pool with as many threads as connections, and not MHD_USE_THREAD_PER_CONNECTION, which
        // refuses those above the limit instead of letting them wait.
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0, nullptr, nullptr,
        OnRequest, this, MHD_OPTION_EXTERNAL_LOGGER, LogLibrary, nullptr, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_THREAD_POOL_SIZE, limits.connections, MHD_OPTION_CONNECTION_LIMIT,
        limits.connections, MHD_OPTION_CONNECTION_TIMEOUT,
        static_cast<unsigned>(limits.timeout.count()), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        kConnectionMemory, MHD_OPTION_THREAD_STACK_SIZE, kStack, MHD_OPTION_NOTIFY_COMPLETED,
        OnCompleted, nullptr, MHD_OPTION_END);
  }

  Limits limits;
  uid_t owner = 0;
  bool tcp = false;                       // else a unix socket
  std::map<std::string, Methods> routes;  // by path; not changed once there is a daemon
  MHD_Daemon* daemon = nullptr;
  SocketFile file;
};

Server::Server(Limits limits, uid_t owner) : impl_(std::make_unique<Impl>()) {
  impl_->limits = limits;
  impl_->owner = owner;
}

Server::~Server() { Stop(); }

void Server::Handle(const std::string& method, const std::string& path, Handler handler) {
  impl_->routes[path][method] = std::move(handler);
}

Result<void> Server::Listen(const std::string& socket_path) {
  Result<Listener> listener = ListenOn(socket_path, kBacklog);
  if (!listener) return tl::unexpected(listener.error());
  impl_->daemon = impl_->Start(listener->fd.Release());  // closes it when it ends
  if (impl_->daemon == nullptr) {
    Remove(listener->file);
    return Fail(Code::kConfig, "admin socket " + socket_path +
                                   ": cannot be served; log.level = \"debug\" shows why");
  }
  impl_->file = std::move(listener->file);
  return {};
}

Result<std::string> Server::ListenTcp(const std::string& host, uint16_t port) {
  Result<TcpListener> listener = ListenOnTcp(host, port, kBacklog);
  if (!listener) return tl::unexpected(listener.error());
  impl_->tcp = true;
  impl_->daemon = impl_->Start(listener->fd.Release());  // closes it when it ends
  if (impl_->daemon == nullptr)
    return Fail(Code::kConfig,
                listener->address + " cannot be served; log.level = \"debug\" shows why");
  return std::move(listener->address);
}

void Server::Stop() {
  if (impl_->daemon == nullptr) return;
  // First the file: whoever finds it finds somebody who answers.
  if (!impl_->tcp) Remove(impl_->file);
  MHD_stop_daemon(std::exchange(impl_->daemon, nullptr));
}

}  // namespace penstock::admin
