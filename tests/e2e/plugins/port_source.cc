// A source that has something only one can have, a port, from Start on; emits a number at a time.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <penstock/plugin.hpp>
#include <stdexcept>
#include <string>
#include <thread>

class Port : public penstock::Source {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::Int("port").Required().Range(1, 65535).Help("The port to listen at."),
      penstock::Option::Int("wait_ms").Default("0").Range(0, 10'000).Help("Before it listens."),
      penstock::Option::String("word").Default("").Help("What each payload begins with."),
  };

  Port(const penstock::Host& h, const penstock::Config& config)
      : Source(h),
        port_(config.Int("port")),
        wait_(config.Int("wait_ms")),
        word_(config.Str("word")) {}
  ~Port() override {
    if (fd_ >= 0) close(fd_);
  }

  void Start() override {
    std::this_thread::sleep_for(std::chrono::milliseconds(wait_));
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<uint16_t>(port_));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || listen(fd_, 1) != 0)
      throw std::runtime_error("port " + std::to_string(port_) + ": " + std::strerror(errno));
  }

  void Run() override {
    for (uint64_t n = 0; SleepFor(std::chrono::milliseconds(2)); ++n) {
      const std::string payload = word_ + ' ' + std::to_string(n);
      penstock::Event event;
      event.SetPayload(payload);
      if (!Emit(event)) return;
    }
  }

 private:
  const int64_t port_, wait_;
  const std::string word_;
  int fd_ = -1;
};

PENSTOCK_SOURCE_PLUGIN(Port, "port", "1.0.0", "Listens at a port and emits numbers.")
