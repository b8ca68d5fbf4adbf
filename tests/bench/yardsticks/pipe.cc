// The limit: a gRPC stream in, JetStream publishes out, by hand, without any library. What a
// gateway could reach if parsing, queueing, retry and order cost nothing. Every publish is
// acknowledged; nothing is retried. Usage: pipe GRPC_PORT NATS_PORT COUNT SIZE IDS(0|1); publishes
// to bench.a. Prints "EVENTS_PER_S x CPU_US y".
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "http2.h"
#include "nats.h"

namespace yardstick {
namespace {

constexpr uint32_t kWindowBytes = 1 << 21;
constexpr long kMaxPending = 4096;

// The publisher's half: writes PUB or HPUB lines and counts the acknowledgements.
class Nats {
 public:
  explicit Nats(int port) : fd_(ConnectLoopback(port)) {
    WriteAll(fd_, kNatsConnect);
    std::thread([this] { ReadAcks(); }).detach();
  }

  void Append(long number, std::string_view payload, bool ids, std::string* out) const {
    char line[256];
    int n = 0;
    if (ids) {
      char header[96];
      const int h =
          std::snprintf(header, sizeof header, "NATS/1.0\r\nNats-Msg-Id: %016lx%016lx\r\n\r\n",
                        static_cast<unsigned long>(run_), static_cast<unsigned long>(number));
      n = std::snprintf(line, sizeof line, "HPUB bench.a _R.%ld %d %zu\r\n%s", number, h,
                        static_cast<size_t>(h) + payload.size(), header);
    } else {
      n = std::snprintf(line, sizeof line, "PUB bench.a _R.%ld %zu\r\n", number, payload.size());
    }
    out->append(line, static_cast<size_t>(n)).append(payload).append("\r\n");
  }

  void Write(const std::string& bytes) {
    std::lock_guard lock(write_mutex_);
    WriteAll(fd_, bytes);
  }

  // Returns when at least n are acknowledged.
  void WaitAcked(long n) {
    std::unique_lock lock(mutex_);
    target_ = n;
    changed_.wait(lock, [&] { return acked_.load() >= n; });
    target_ = 0;
  }
  long acked() const { return acked_; }
  long refused() const { return refused_; }

 private:
  void ReadAcks() {
    std::vector<char> buffer(1 << 20);
    size_t held = 0;
    for (;;) {
      const ssize_t n = read(fd_, buffer.data() + held, buffer.size() - held);
      if (n <= 0) return;
      held += static_cast<size_t>(n);
      const size_t used = Parse(std::string_view(buffer.data(), held));
      std::memmove(buffer.data(), buffer.data() + used, held - used);
      held -= used;
    }
  }

  size_t Parse(std::string_view in) {
    NatsAnswers answers;
    const size_t used = CountAnswers(in, &answers);
    if (answers.ping) Write("PONG\r\n");
    refused_ += answers.refused;
    const long got = answers.acked + answers.refused;
    if (got > 0) {
      std::lock_guard lock(mutex_);
      acked_ += got;
      if (target_ > 0 && acked_ >= target_) changed_.notify_one();
    }
    return used;
  }

  const int fd_;
  const long run_ = static_cast<long>(Seconds() * 1e6);
  std::mutex write_mutex_, mutex_;
  std::condition_variable changed_;
  std::atomic<long> acked_{0}, refused_{0};
  long target_ = 0;
};

class Pipe {
 public:
  Pipe(int grpc_port, Nats* nats, bool ids)
      : fd_(ConnectLoopback(grpc_port)), nats_(nats), ids_(ids) {}

  long Run(const std::string& config) {
    Request(config);
    std::vector<char> buffer(1 << 20);
    size_t held = 0;
    while (!ended_) {
      const ssize_t n = read(fd_, buffer.data() + held, buffer.size() - held);
      if (n <= 0) break;
      held += static_cast<size_t>(n);
      const std::string_view in(buffer.data(), held);
      size_t at = 0, size = 0;
      FrameView frame;
      out_.clear();
      for (; NextFrame(in.substr(at), &frame, &size); at += size) Handle(frame);
      std::memmove(buffer.data(), buffer.data() + at, held - at);
      held -= at;
      if (!out_.empty()) nats_->Write(out_);
      if (count_ - nats_->acked() >= kMaxPending) nats_->WaitAcked(count_ - kMaxPending * 3 / 4);
      if (unacknowledged_ > kWindowBytes / 4) {
        WriteAll(fd_, WindowUpdate(0, unacknowledged_) + WindowUpdate(1, unacknowledged_));
        unacknowledged_ = 0;
      }
    }
    nats_->WaitAcked(count_);
    return count_;
  }

 private:
  void Request(const std::string& config) {
    std::string settings;
    PutInt(&settings, 4, 2);
    PutInt(&settings, kWindowBytes, 4);
    std::string headers = "\x83\x86";
    headers += Literal(":path", "/generic.Eventing/StartEventSource") +
               Literal(":authority", "127.0.0.1") + Literal("content-type", "application/grpc") +
               Literal("te", "trailers");
    std::string request =
        "\x0a\x01"
        "b"
        "\x12";
    PutVarint(&request, config.size());
    request += config;
    WriteAll(fd_, std::string(kPreface) + Frame(kSettings, 0, 0, settings) +
                      WindowUpdate(0, kWindowBytes - 65535) +
                      Frame(kHeaders, kEndHeaders, 1, headers) +
                      Frame(kData, kEndStream, 1, GrpcMessage(request)));
  }

  void Handle(const FrameView& frame) {
    if (frame.type == kData) {
      unacknowledged_ += static_cast<uint32_t>(frame.payload.size());
      messages_.append(frame.payload);
      size_t at = 0;
      while (messages_.size() - at >= 5) {
        const size_t length = GetInt(messages_.data() + at + 1, 4);
        if (messages_.size() - at < 5 + length) break;
        Publish(std::string_view(messages_).substr(at + 5, length));
        at += 5 + length;
      }
      messages_.erase(0, at);
    } else if (frame.type == kSettings && (frame.flags & kAck) == 0) {
      WriteAll(fd_, Frame(kSettings, kAck, 0, ""));
    } else if (frame.type == kHeaders && (frame.flags & kEndStream) != 0) {
      ended_ = true;
    }
  }

  // event: generic.Event; field 2 is the payload.
  void Publish(std::string_view event) {
    size_t at = 0;
    while (at < event.size()) {
      const char tag = event[at++];
      size_t length = 0;
      int shift = 0;
      do length |= static_cast<size_t>(event[at] & 127) << shift, shift += 7;
      while ((event[at++] & 128) != 0);
      if (tag == 0x12) nats_->Append(count_++, event.substr(at, length), ids_, &out_);
      at += length;
    }
  }

  const int fd_;
  Nats* const nats_;
  const bool ids_;
  bool ended_ = false;
  long count_ = 0;
  uint32_t unacknowledged_ = 0;
  std::string messages_, out_;
};

int Main(char** argv) {
  Nats nats(std::atoi(argv[2]));
  Pipe pipe(std::atoi(argv[1]), &nats, argv[5][0] == '1');
  const double start = Seconds(), cpu = CpuSeconds();
  const long n = pipe.Run(std::string(argv[3]) + ' ' + argv[4]);
  const double time = Seconds() - start;
  std::printf("EVENTS_PER_S %.0f CPU_US %.3f COUNT %ld REFUSED %ld\n",
              static_cast<double>(n) / time, (CpuSeconds() - cpu) * 1e6 / static_cast<double>(n), n,
              nats.refused());
  std::fflush(stdout);
  _exit(nats.refused() == 0 ? 0 : 1);
}

}  // namespace
}  // namespace yardstick

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  return yardstick::Main(argv);
}
