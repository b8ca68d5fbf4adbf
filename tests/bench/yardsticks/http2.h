// As much HTTP/2 (RFC 9113) as one gRPC stream over loopback needs. For yardsticks only: it trusts
// its peer.
#pragma once

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace yardstick {

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindow = 8
};
inline constexpr uint8_t kEndStream = 1, kAck = 1, kEndHeaders = 4;
inline constexpr size_t kFrameHeader = 9;
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline void PutInt(std::string* out, uint32_t value, int bytes) {
  while (bytes-- > 0) *out += static_cast<char>(value >> (8 * bytes));
}
inline uint32_t GetInt(const char* p, int bytes) {
  uint32_t value = 0;
  while (bytes-- > 0) value = value << 8 | static_cast<uint8_t>(*p++);
  return value;
}
inline void PutVarint(std::string* out, uint64_t value) {
  for (; value > 127; value >>= 7) *out += static_cast<char>(value | 128);
  *out += static_cast<char>(value);
}

inline void AppendFrameHeader(std::string* out, size_t length, uint8_t type, uint8_t flags,
                              uint32_t stream) {
  PutInt(out, static_cast<uint32_t>(length), 3);
  PutInt(out, type, 1);
  PutInt(out, flags, 1);
  PutInt(out, stream, 4);
}
inline std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out;
  AppendFrameHeader(&out, payload.size(), type, flags, stream);
  return out.append(payload);
}
// A header field as a literal without indexing (RFC 7541, 6.2.2); both shorter than 127 bytes.
inline std::string Literal(std::string_view name, std::string_view value) {
  std::string out(1, '\0');
  out += static_cast<char>(name.size());
  out.append(name);
  out += static_cast<char>(value.size());
  return out.append(value);
}
inline std::string WindowUpdate(uint32_t stream, uint32_t bytes) {
  std::string payload;
  PutInt(&payload, bytes, 4);
  return Frame(kWindow, 0, stream, payload);
}

struct FrameView {
  uint8_t type = 0, flags = 0;
  uint32_t stream = 0;
  std::string_view payload;
};
// The first frame of data; false: not whole yet. *size: what it takes.
inline bool NextFrame(std::string_view data, FrameView* frame, size_t* size) {
  if (data.size() < kFrameHeader) return false;
  const size_t length = GetInt(data.data(), 3);
  if (data.size() < kFrameHeader + length) return false;
  frame->type = static_cast<uint8_t>(data[3]);
  frame->flags = static_cast<uint8_t>(data[4]);
  frame->stream = GetInt(data.data() + 5, 4) & 0x7fffffff;
  frame->payload = data.substr(kFrameHeader, length);
  *size = kFrameHeader + length;
  return true;
}

// A gRPC message: one byte of flags, four of length, the bytes.
inline std::string GrpcMessage(std::string_view bytes) {
  std::string out(1, '\0');
  PutInt(&out, static_cast<uint32_t>(bytes.size()), 4);
  return out.append(bytes);
}

inline bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

inline int ConnectLoopback(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    std::perror("connect");
    std::exit(1);
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

inline double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}
inline double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace yardstick
