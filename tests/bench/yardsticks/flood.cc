// The bus's own limit: HPUBs to JetStream over TLS from a sender that makes nothing and costs next
// to nothing, each with an id, each acknowledged, until it is ended.
// Usage: flood NATS_PORT SIZE; publishes to default.orders.created. Prints "FLOODING".
#include <fcntl.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "http2.h"
#include "nats.h"

namespace yardstick {
namespace {

// As many as keep nats-server busy; with more it does less.
constexpr long kMostPending = 2000;
constexpr size_t kBlock = 100;  // messages that are written at once
constexpr size_t kDigits = 16;

// A block of messages whose ids and reply subjects are counted up in place.
class Block {
 public:
  explicit Block(size_t size) {
    const std::string header = "NATS/1.0\r\nNats-Msg-Id: " + Number(run_) + Number(0) + "\r\n\r\n";
    const std::string payload(size, 'x');
    for (size_t i = 0; i < kBlock; ++i) {
      bytes_ += "HPUB default.orders.created _R." + Number(0);
      places_.push_back(bytes_.size() - kDigits);
      bytes_ += " " + std::to_string(header.size()) + " " +
                std::to_string(header.size() + payload.size()) + "\r\n" + header;
      places_.push_back(bytes_.size() - kDigits - 4);
      bytes_ += payload + "\r\n";
    }
  }

  // Numbers them anew.
  const std::string& Next() {
    for (size_t i = 0; i < places_.size(); i += 2, ++number_) {
      const std::string digits = Number(number_);
      bytes_.replace(places_[i], kDigits, digits);
      bytes_.replace(places_[i + 1], kDigits, digits);
    }
    return bytes_;
  }

 private:
  static std::string Number(uint64_t value) {
    std::string out(kDigits, '0');
    for (size_t i = kDigits; i-- > 0; value >>= 4) out[i] = "0123456789abcdef"[value & 15];
    return out;
  }

  const uint64_t run_ = static_cast<uint64_t>(Seconds() * 1e6);
  uint64_t number_ = 0;
  std::string bytes_;
  std::vector<size_t> places_;
};

SSL* StartTls(int fd) {
  for (char c = 0; c != '\n';)
    if (read(fd, &c, 1) != 1) return nullptr;  // the line INFO, in the clear
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL* tls = SSL_new(context);
  SSL_set_fd(tls, fd);
  const bool ready = SSL_connect(tls) == 1 &&
                     SSL_write(tls, kNatsConnect.data(), static_cast<int>(kNatsConnect.size())) > 0;
  return ready ? tls : nullptr;
}

// False: the connection has ended, or the bus refused a message.
bool Read(SSL* tls, std::vector<char>* buffer, size_t* held, NatsAnswers* answers) {
  for (;;) {
    const int n = SSL_read(tls, buffer->data() + *held, static_cast<int>(buffer->size() - *held));
    if (n <= 0) return SSL_get_error(tls, n) == SSL_ERROR_WANT_READ;
    *held += static_cast<size_t>(n);
    const size_t used = CountAnswers({buffer->data(), *held}, answers);
    std::memmove(buffer->data(), buffer->data() + used, *held - used);
    *held -= used;
    if (answers->refused > 0) return false;
  }
}

int Run(int port, size_t size) {
  const int fd = ConnectLoopback(port);
  SSL* tls = StartTls(fd);
  if (tls == nullptr) return 1;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  std::puts("FLOODING");
  std::fflush(stdout);
  Block block(size);
  std::string out;  // not written yet
  std::vector<char> buffer(1 << 20);
  size_t held = 0;
  NatsAnswers answers;
  for (long sent = 0;;) {
    if (!Read(tls, &buffer, &held, &answers)) return 1;
    if (answers.ping) out += "PONG\r\n";
    answers.ping = false;
    while (out.size() < 1 << 16 && sent - answers.acked < kMostPending) {
      out += block.Next();
      sent += kBlock;
    }
    const int n = out.empty() ? 0 : SSL_write(tls, out.data(), static_cast<int>(out.size()));
    if (n < 0 && SSL_get_error(tls, n) != SSL_ERROR_WANT_WRITE) return 1;
    out.erase(0, static_cast<size_t>(std::max(n, 0)));
    if (n <= 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace
}  // namespace yardstick

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return yardstick::Run(std::atoi(argv[1]), static_cast<size_t>(std::atol(argv[2])));
}
