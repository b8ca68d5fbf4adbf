#include "admin/client.h"

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "admin/unix_socket.h"

namespace penstock::admin {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;

constexpr size_t kPiece = 64 << 10;

tl::unexpected<Error> ConnectError(const std::string& path, int error,
                                   std::chrono::milliseconds timeout) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Fail(Code::kRetry, "no gateway runs with this configuration (no " + path +
                                    "): start it, or name its socket with --socket");
    case ECONNREFUSED:
      return Fail(Code::kRetry, "no gateway runs with this configuration (" + path +
                                    " is left over from one that died): start it, or name its "
                                    "socket with --socket");
    case EACCES:
    case EPERM:
      return Fail(Code::kReject, path +
                                     ": permission denied: run this as the user that the gateway "
                                     "runs as, or as root");
    case EAGAIN:
      return Fail(Code::kRetry, "the gateway takes no connection on " + path + " within " +
                                    std::to_string(timeout.count()) +
                                    " ms: too many others are connected, or it hangs");
    default:
      return Fail(Code::kReject, path + ": " + std::strerror(error));
  }
}

// One request and its answer. Asynchronous inside, because only so are there timeouts.
class Exchange {
 public:
  Exchange(std::string path, std::chrono::milliseconds timeout)
      : path_(std::move(path)), timeout_(timeout), stream_(io_) {}

  Result<Reply> Run(const std::string& method, const std::string& target, const std::string& body,
                    const Client::OnData& on_data) {
    Connected connected = ConnectTo(path_, static_cast<int>(timeout_.count()));
    if (connected.error != 0) return ConnectError(path_, connected.error, timeout_);
    stream_.socket().assign(net::local::stream_protocol(), connected.fd.Release());
    const beast::error_code written = Send(method, target, body);
    if (written == beast::error::timeout) return Failed(written);
    // A server that refuses a request may answer before it has read all of it.
    const beast::error_code read = ReadHeader();
    if (read) return Failed(written ? written : read);
    return ReadBody(on_data);
  }

 private:
  // Starts an operation and runs it to its end.
  template <typename Start>
  beast::error_code Do(Start start) {
    beast::error_code result;
    stream_.expires_after(timeout_);
    start([&result](beast::error_code error, size_t) { result = error; });
    io_.restart();
    io_.run();
    return result;
  }

  beast::error_code Send(const std::string& method, const std::string& target,
                         const std::string& body) {
    http::request<http::string_body> request;
    request.version(11);
    request.method_string(method);
    request.target(target);
    request.set(http::field::host, "penstock");
    request.set(http::field::connection, "close");
    request.body() = body;
    request.prepare_payload();
    return Do([&](auto done) { http::async_write(stream_, request, std::move(done)); });
  }

  beast::error_code ReadHeader() {
    parser_.body_limit(std::numeric_limits<uint64_t>::max());
    return Do(
        [&](auto done) { http::async_read_header(stream_, buffer_, parser_, std::move(done)); });
  }

  Result<Reply> ReadBody(const Client::OnData& on_data) {
    Reply reply;
    reply.status = static_cast<int>(parser_.get().result_int());
    reply.content_type = std::string(parser_.get()[http::field::content_type]);
    const bool streamed = on_data != nullptr && reply.status == 200;
    while (!parser_.is_done()) {
      auto& piece = parser_.get().body();
      piece.data = data_.data();
      piece.size = data_.size();
      beast::error_code error =
          Do([&](auto done) { http::async_read_some(stream_, buffer_, parser_, std::move(done)); });
      if (error == http::error::need_buffer) error = {};
      if (error) return Failed(error);
      const std::string_view got(data_.data(), data_.size() - piece.size);
      if (streamed) {
        if (!got.empty()) on_data(got);
      } else if (reply.body.append(got).size() > Client::kMaxReply) {
        return Fail(Code::kReject, "the answer of the gateway on " + path_ + " is too long");
      }
    }
    return reply;
  }

  tl::unexpected<Error> Failed(beast::error_code error) const {
    if (error == beast::error::timeout)
      return Fail(Code::kRetry, "no answer from the gateway on " + path_ + " within " +
                                    std::to_string(timeout_.count()) + " ms");
    if (error == http::error::end_of_stream || error == http::error::partial_message)
      return Fail(Code::kRetry, "the gateway on " + path_ +
                                    " ended the connection before the end of its answer; its log "
                                    "may say why");
    return Fail(Code::kRetry, "talking to the gateway on " + path_ + ": " + error.message());
  }

  const std::string path_;
  const std::chrono::milliseconds timeout_;
  net::io_context io_;
  beast::basic_stream<net::local::stream_protocol> stream_;
  beast::flat_buffer buffer_;
  http::response_parser<http::buffer_body> parser_;
  std::array<char, kPiece> data_{};
};

}  // namespace

Client::Client(std::string socket_path, std::chrono::milliseconds timeout)
    : socket_path_(std::move(socket_path)), timeout_(timeout) {}

Result<Reply> Client::Call(const std::string& method, const std::string& target,
                           const std::string& body) const {
  return Stream(method, target, body, nullptr);
}

Result<Reply> Client::Stream(const std::string& method, const std::string& target,
                             const std::string& body, const OnData& on_data) const {
  try {
    return std::make_unique<Exchange>(socket_path_, timeout_)->Run(method, target, body, on_data);
  } catch (const boost::system::system_error& e) {
    return Fail(Code::kRetry, "talking to the gateway on " + socket_path_ + ": " + e.what());
  }
}

}  // namespace penstock::admin
