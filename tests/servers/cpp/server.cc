// An event server of the generic contract, for tests and the demo. It says on stdout, one line
// each, where it listens, what streams it gets and how they end; tests/servers/README.md describes
// flags, lines and payloads.
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/prctl.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "faults/numbered.h"
#include "faults/plugins/witness_pipe.h"
#include "flags.h"
#include "generic.grpc.pb.h"
#include "payload.h"

namespace test_server {
namespace {

using Clock = std::chrono::steady_clock;

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    out.push_back(kDigits[c & 15]);
  }
  return out;
}

void Say(const std::string& line) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  std::fwrite((line + "\n").data(), 1, line.size() + 1, stdout);
  std::fflush(stdout);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string MetadataValue(const grpc::ServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  return found == context.client_metadata().end()
             ? ""
             : std::string(found->second.data(), found->second.size());
}

// Tells the witness of the fault suite which numbers a stream uses, before anybody can have them.
class Announcer {
 public:
  Announcer(penstock_faults::WitnessPipe* pipe, std::string source, uint64_t at_once)
      : pipe_(pipe), source_(std::move(source)), at_once_(at_once) {}

  void Use(uint64_t number) {
    if (pipe_ == nullptr || number < next_) return;
    next_ = number + at_once_;
    pipe_->Say("E " + source_ + " " + std::to_string(number) + " " + std::to_string(next_ - 1) +
               "\n");
    pipe_->Flush();
  }

 private:
  penstock_faults::WitnessPipe* const pipe_;
  const std::string source_;
  const uint64_t at_once_;
  uint64_t next_ = 0;
};

// What all streams of the process have done together.
struct Together {
  std::atomic<uint64_t> begun{0};  // events
  std::atomic<bool> oversize{false};
};

// One stream: what it is to send, and what went out. source: that of numbered payloads.
class Stream {
 public:
  Stream(const Flags& server, StreamFlags flags, const std::string& source,
         penstock_faults::WitnessPipe* witness, Together* together, uint64_t id, uint64_t number)
      : server_(server),
        together_(together),
        flags_(std::move(flags)),
        id_(id),
        number_(number),
        numbered_(source, server.seed, kSmallest, flags_.size),
        announcer_(witness, source, flags_.rate > 0 || flags_.count > 0 ? 1 : kAtOnce) {}

  // Sends until the stream is to end or the client has gone.
  grpc::Status Run(grpc::ServerContext* context, const std::string& name,
                   grpc::ServerWriter<generic::Event>* writer) {
    if (flags_.early_headers) writer->SendInitialMetadata();
    generic::Event event;
    event.set_name(name);
    const Clock::time_point start = Clock::now();
    while (!context->IsCancelled() && !Ends()) {
      if ((flags_.count > 0 && sent_ == flags_.count) || !TakeOfTotal()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        continue;
      }
      if (flags_.rate > 0) SleepUntilDue(start);
      event.set_payload(Payload());
      if (flags_.format == "numbered") announcer_.Use(number_);
      if (flags_.damaged) {
        // A group: old wire format that no message of proto3 has.
        event.GetReflection()->MutableUnknownFields(&event)->AddGroup(15);
      }
      grpc::WriteOptions options;
      // Not the first: what carries the headers would wait for a write that nobody starts.
      const bool more_follow = flags_.rate == 0 && !flags_.unbuffered && !LastForNow();
      if (more_follow && sent_ > 0) options.set_buffer_hint();
      if (!writer->Write(event, options)) break;
      bytes_ += event.payload().size();
      ++sent_;
      ++number_;
      if (server_.progress) Progress();
    }
    return Ends() ? grpc::Status(static_cast<grpc::StatusCode>(flags_.status),
                                 flags_.status == 0 ? "" : "as --status says")
                  : grpc::Status::OK;
  }

  uint64_t number() const { return number_; }
  std::string Summary() const {
    return std::to_string(id_) + " sent=" + std::to_string(sent_) +
           " bytes=" + std::to_string(bytes_);
  }

 private:
  static constexpr size_t kSmallest = 64;  // bytes of a numbered payload
  static constexpr uint64_t kAtOnce = 32;  // numbers that are announced together at full speed

  bool Ends() const { return flags_.close_after && sent_ >= *flags_.close_after; }
  bool LastForNow() const {
    return sent_ + 1 == flags_.count || (flags_.total > 0 && together_->begun == flags_.total) ||
           (flags_.close_after && sent_ + 1 == *flags_.close_after);
  }
  bool TakeOfTotal() {
    if (flags_.total == 0) return true;
    if (together_->begun.fetch_add(1) < flags_.total) return true;
    --together_->begun;
    return false;
  }
  // Whole bursts are due together.
  void SleepUntilDue(Clock::time_point start) const {
    std::this_thread::sleep_until(
        start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                    static_cast<double>(sent_ / flags_.burst * flags_.burst) / flags_.rate)));
  }
  std::string Payload() {
    const bool oversize = flags_.oversize_at == number_ &&
                          !(flags_.oversize_once && together_->oversize.exchange(true));
    const size_t size = oversize ? flags_.oversize_size : flags_.size;
    const std::string id = server_.id + "-" + std::to_string(id_);
    if (flags_.format == "demo") return DemoPayload(number_);
    if (flags_.format == "numbered") {
      return (oversize ? numbered_.OfSize(size) : numbered_).Payload(number_);
    }
    if (flags_.format == "timed") return TimedPayload(number_, size);
    return flags_.format == "binary" ? BinaryPayload(number_, id, size)
                                     : JsonPayload(number_, id, size);
  }
  void Progress() {
    const Clock::time_point now = Clock::now();
    if (now - said_at_ < std::chrono::milliseconds(50)) return;
    said_at_ = now;
    Say("SENT " + Summary());
  }

  const Flags& server_;
  Together* const together_;
  const StreamFlags flags_;
  const uint64_t id_;
  uint64_t number_;
  uint64_t sent_ = 0;
  uint64_t bytes_ = 0;
  const penstock_faults::Numbered numbered_;
  Announcer announcer_;
  Clock::time_point said_at_{};
};

class Service : public generic::Eventing::Service {
 public:
  explicit Service(const Flags& flags) : flags_(flags), number_(flags.stream.first) {
    if (flags.witness.empty()) return;
    witness_.emplace(flags.witness, [](const std::string& text) { Say("WITNESS " + text); });
  }

  grpc::Status StartEventSource(grpc::ServerContext* context, const generic::EventSource* request,
                                grpc::ServerWriter<generic::Event>* writer) override {
    const uint64_t id = ++streams_;
    const std::string authorization = MetadataValue(*context, "authorization");
    Say("STREAM " + std::to_string(id) + " name=" + Hex(request->name()) +
        " config=" + Hex(request->config()) + " authorization=" + Hex(authorization) +
        " agent=" + Hex(MetadataValue(*context, "user-agent")) + " peer=" + context->peer());
    if (!flags_.token.empty() && authorization != "Bearer " + flags_.token) {
      Say("END " + std::to_string(id) + " sent=0 bytes=0");
      return {grpc::StatusCode::UNAUTHENTICATED, "wrong or no bearer token"};
    }
    StreamFlags flags;
    try {
      flags = ApplyConfig(flags_.stream, request->config());
    } catch (const std::exception& e) {
      return {grpc::StatusCode::INVALID_ARGUMENT, std::string("config: ") + e.what()};
    }
    const std::string source = request->name() + "/" + flags_.id + "-" + std::to_string(id);
    Stream stream(flags_, flags, source, witness_ ? &*witness_ : nullptr, &together_, id,
                  First(flags));
    const grpc::Status status = stream.Run(context, request->name(), writer);
    number_ = stream.number();
    Say("END " + stream.Summary());
    return status;
  }

 private:
  // Those of the fault suite begin at 1 on every connection.
  uint64_t First(const StreamFlags& flags) const {
    if (flags.format == "numbered") return 1;
    return flags.resume ? number_.load() : flags.first;
  }

  const Flags& flags_;
  std::atomic<uint64_t> streams_{0};
  std::atomic<uint64_t> number_;
  Together together_;
  std::optional<penstock_faults::WitnessPipe> witness_;
};

std::shared_ptr<grpc::ServerCredentials> CredentialsFor(const Flags& flags) {
  if (flags.tls_cert.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options;
  if (!flags.tls_ca.empty()) {
    options.pem_root_certs = ReadFile(flags.tls_ca);
    options.client_certificate_request = GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  options.pem_key_cert_pairs.push_back({ReadFile(flags.tls_key), ReadFile(flags.tls_cert)});
  return grpc::SslServerCredentials(options);
}

int Serve(Flags flags) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (flags.id.empty()) {
    char id[9];
    std::snprintf(id, sizeof id, "%08x", std::random_device{}());
    flags.id = id;
  }
  Service service(flags);
  grpc::ServerBuilder builder;
  int port = 0;
  const bool tcp = flags.listen.empty();
  builder.AddListeningPort(tcp ? "127.0.0.1:" + std::to_string(flags.port) : flags.listen,
                           CredentialsFor(flags), tcp ? &port : nullptr);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxSendMessageSize(-1);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || (tcp && port == 0)) {
    throw std::runtime_error("cannot listen: is the port taken?");
  }
  Say("PORT " + std::to_string(port));
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

}  // namespace
}  // namespace test_server

int main(int argc, char** argv) {
  setenv("GRPC_VERBOSITY", "NONE", 0);  // refused handshakes are part of many tests
  try {
    return test_server::Serve(test_server::ParseFlags(argc, argv));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "test_server_cpp: %s\n%s", e.what(), test_server::kUsage);
    return 2;
  }
}
