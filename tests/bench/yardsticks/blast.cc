// An event server that costs next to nothing (about 0.1 us of CPU an event), so that a measurement
// loads what it measures. Usage: blast; prints "PORT n". The client's config is "COUNT SIZE": COUNT
// events of SIZE bytes, each message in a DATA frame of its own, as a gRPC server sends them, up to
// 64 of them a write; then it ends the stream with OK.
#include <poll.h>

#include <algorithm>
#include <thread>

#include "http2.h"

namespace yardstick {
namespace {

constexpr size_t kMaxFrame = 16384;
constexpr int kMessagesPerWrite = 64;

class Stream {
 public:
  explicit Stream(int fd) : fd_(fd) {}
  ~Stream() { close(fd_); }

  void Serve() {
    if (!WriteAll(fd_, Frame(kSettings, 0, 0, ""))) return;
    while (!request_ended_) {
      if (!Read(true)) return;
    }
    unsigned long count = 0, size = 0;
    if (std::sscanf(Config().c_str(), "%lu %lu", &count, &size) != 2) return;
    WriteAll(fd_, Frame(kHeaders, kEndHeaders, stream_,
                        std::string(1, '\x88') + Literal("content-type", "application/grpc")));
    if (!Send(count, Message(size))) return;
    WriteAll(fd_, Frame(kHeaders, kEndHeaders | kEndStream, stream_, Literal("grpc-status", "0")));
    while (Read(true)) {
    }
  }

 private:
  // generic.Event{name, payload} in its gRPC framing.
  static std::string Message(size_t size) {
    std::string event =
        "\x0a\x05"
        "bench"
        "\x12";
    PutVarint(&event, size);
    event.append(size, 'x');
    return GrpcMessage(event);
  }

  // EventSource.config, field 2 of the request.
  std::string Config() const {
    size_t at = 5;
    while (at + 2 <= request_.size()) {
      const char tag = request_[at];
      const auto length = static_cast<uint8_t>(request_[at + 1]);
      if (tag == 0x12) return request_.substr(at + 2, length);
      at += 2 + length;
    }
    return {};
  }

  bool Send(unsigned long count, const std::string& message) {
    std::string framed;
    for (size_t at = 0; at < message.size(); at += kMaxFrame) {
      const size_t length = std::min(kMaxFrame, message.size() - at);
      AppendFrameHeader(&framed, length, kData, 0, stream_);
      framed.append(message, at, length);
    }
    const auto cost = static_cast<long>(message.size());
    std::string out;
    while (count > 0) {
      if (!Read(false)) return false;
      while (std::min(connection_window_, stream_window_) < cost) {
        if (!Read(true)) return false;
      }
      out.clear();
      for (int i = 0; i < kMessagesPerWrite && count > 0; ++i, --count) {
        if (std::min(connection_window_, stream_window_) < cost) break;
        out += framed;
        connection_window_ -= cost;
        stream_window_ -= cost;
      }
      if (!WriteAll(fd_, out)) return false;
    }
    return true;
  }

  // Takes in what has come; waits for something if wait.
  bool Read(bool wait) {
    char buffer[65536];
    const ssize_t n = recv(fd_, buffer, sizeof buffer, wait ? 0 : MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (n > 0) in_.append(buffer, static_cast<size_t>(n));
    size_t at = 0;
    if (!preface_seen_) {
      if (in_.size() < kPreface.size()) return true;
      preface_seen_ = true;
      at = kPreface.size();
    }
    FrameView frame;
    size_t size = 0;
    bool open = true;
    for (; NextFrame(std::string_view(in_).substr(at), &frame, &size); at += size)
      open = Handle(frame) && open;
    in_.erase(0, at);
    return open;
  }

  bool Handle(const FrameView& frame) {
    switch (frame.type) {
      case kSettings:
        if ((frame.flags & kAck) != 0) return true;
        for (size_t i = 0; i + 6 <= frame.payload.size(); i += 6) {
          if (GetInt(frame.payload.data() + i, 2) != 4) continue;  // INITIAL_WINDOW_SIZE
          const long window = GetInt(frame.payload.data() + i + 2, 4);
          stream_window_ += window - initial_window_;
          initial_window_ = window;
        }
        return WriteAll(fd_, Frame(kSettings, kAck, 0, ""));
      case kPing:
        return (frame.flags & kAck) != 0 || WriteAll(fd_, Frame(kPing, kAck, 0, frame.payload));
      case kWindow:
        (frame.stream == 0 ? connection_window_ : stream_window_) +=
            GetInt(frame.payload.data(), 4);
        return true;
      case kHeaders:
        stream_ = frame.stream;
        break;
      case kData:
        request_.append(frame.payload);
        break;
      case kReset:
      case kGoAway:
        return false;
      default:
        return true;
    }
    request_ended_ = request_ended_ || (frame.flags & kEndStream) != 0;
    return true;
  }

  const int fd_;
  std::string in_, request_;
  bool preface_seen_ = false, request_ended_ = false;
  uint32_t stream_ = 0;
  long connection_window_ = 65535, stream_window_ = 65535, initial_window_ = 65535;
};

int Main() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::perror("listen");
    return 1;
  }
  std::printf("PORT %d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) continue;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    std::thread([fd] { Stream(fd).Serve(); }).detach();
  }
}

}  // namespace
}  // namespace yardstick

int main() { return yardstick::Main(); }
