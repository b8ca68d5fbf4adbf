#include "platform/journal.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

namespace penstock::log {
namespace {

constexpr size_t kNameMost = 64;          // of a field; the journal drops longer ones
constexpr size_t kValueMost = 32 * 1024;  // so that an entry is one datagram
constexpr size_t kEntryMost = 128 * 1024;

void AppendField(std::string_view name, std::string_view value, std::string* out) {
  value = value.substr(0, kValueMost);
  out->append(name);
  if (value.find('\n') == value.npos) {
    out->append("=").append(value);
  } else {
    out->append("\n");
    const uint64_t size = value.size();
    for (int shift = 0; shift < 64; shift += 8) *out += static_cast<char>(size >> shift);
    out->append(value);
  }
  *out += '\n';
}

// "bytes in flight" as PENSTOCK_BYTES_IN_FLIGHT.
std::string FieldName(std::string_view key) {
  // Who speaks is the host's to say.
  std::string name = key == "component" ? "PENSTOCK_FIELD_" : "PENSTOCK_";
  for (const char c : key.substr(0, kNameMost - name.size())) {
    const bool lower = c >= 'a' && c <= 'z';
    const bool kept = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += lower ? static_cast<char>(c - 'a' + 'A') : kept ? c : '_';
  }
  return name;
}

std::string Entry(int priority, std::string_view component, const std::string& message,
                  const Field* fields, size_t n) {
  std::string entry;
  AppendField("MESSAGE", message, &entry);
  AppendField("PRIORITY", std::to_string(priority), &entry);
  AppendField("SYSLOG_IDENTIFIER", "penstock", &entry);
  AppendField("PENSTOCK_COMPONENT", component, &entry);
  for (size_t i = 0; i < n && entry.size() < kEntryMost - kValueMost; ++i)
    AppendField(FieldName(fields[i].key), fields[i].value, &entry);
  return entry;
}

}  // namespace

Journal::Journal(std::string socket, int spare_fd)
    : socket_(std::move(socket)),
      spare_fd_(spare_fd),
      fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}

Journal::~Journal() {
  if (fd_ >= 0) close(fd_);
}

void Journal::Write(int priority, std::string_view component, const std::string& message,
                    const Field* fields, size_t n) {
  const bool taken = Send(Entry(priority, component, message, fields, n)) ||
                     SendSpare(priority, std::string(message.substr(0, kValueMost)));
  if (!taken) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const uint64_t lost = lost_.exchange(0, std::memory_order_relaxed);
  if (lost == 0) return;
  const std::string note =
      "log: the journal took no lines for a while; " + std::to_string(lost) + " lines are lost";
  if (!Send(Entry(4, "log", note, nullptr, 0)) && !SendSpare(4, note))
    lost_.fetch_add(lost, std::memory_order_relaxed);
}

bool Journal::Send(const std::string& entry) const {
  sockaddr_un address{};
  if (fd_ < 0 || socket_.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  return sendto(fd_, entry.data(), entry.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                reinterpret_cast<const sockaddr*>(&address), sizeof address) >= 0;
}

bool Journal::SendSpare(int priority, const std::string& message) const {
  // The prefix is how a stream of the journal is told the priority.
  const std::string line = "<" + std::to_string(priority) + ">" + message + "\n";
  const ssize_t sent = send(spare_fd_, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0 || errno != ENOTSOCK) return sent >= 0;
  return write(spare_fd_, line.data() + 3, line.size() - 3) >= 0;
}

bool Journal::Flush(Nanoseconds timeout) const {
  const SystemClock clock;
  const TimePoint deadline = clock.Now() + timeout;
  for (;;) {
    int unread = 0;
    if (fd_ < 0 || ioctl(fd_, SIOCOUTQ, &unread) != 0 || unread == 0) return true;
    if (clock.Now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace penstock::log
