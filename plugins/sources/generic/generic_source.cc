// Source "generic": the client of Argo Events' generic EventSource contract.
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>

#include "backoff.h"
#include "batch.h"
#include "options.h"
#include "state.h"
#include "stream.h"

namespace penstock_generic {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A stream counts as established when it has not been refused for so long after the request went
// out; a server may send its headers only with the first event.
constexpr milliseconds kSettleTime{250};
// All addresses of the host together.
constexpr seconds kConnectTimeout{15};
// An event that cannot be taken meets us again on each new stream.
constexpr seconds kPoisonPause{1};
constexpr seconds kPoisonLogPause{60};

std::string Seconds(std::chrono::nanoseconds time) {
  const auto ms = std::chrono::duration_cast<milliseconds>(time).count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + "s" : std::to_string(ms) + "ms";
}

std::string CodeName(grpc_status_code code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "status " + std::to_string(index);
}

bool Has(const std::string& text, const char* words) { return text.find(words) != text.npos; }

// What the user can do about it, where that is known. hung_up: the same for a server that hangs up.
const char* Advice(grpc_status_code code, const std::string& message, const char* hung_up) {
  switch (code) {
    case GRPC_STATUS_UNAUTHENTICATED:
    case GRPC_STATUS_PERMISSION_DENIED:
      return " (see auth_token_file and tls.cert_file)";
    case GRPC_STATUS_UNIMPLEMENTED:
      return " (the server does not serve generic.Eventing/StartEventSource)";
    case GRPC_STATUS_UNAVAILABLE:
      break;
    default:
      return "";
  }
  if (Has(message, "certificate verify failed")) {
    return " (its certificate is signed by none that we trust: see tls.ca_file)";
  }
  if (Has(message, "wrong version number")) {
    return " (the server does not speak TLS there: another port, or insecure = true)";
  }
  if (Has(message, "not match") || Has(message, "not in peer certificate")) {
    return " (see tls.server_name)";
  }
  return Has(message, "Socket closed") ? hung_up : "";
}

// With TLS 1.3 a server judges the client's certificate after the handshake, and hangs up before
// anything else.
const char* HungUp(const Options& options, bool connected) {
  if (options.insecure || connected) return "";
  return options.cert_file.empty()
             ? " (the server hangs up: it may want a certificate, see tls.cert_file)"
             : " (the server hangs up: it may not trust the certificate in tls.cert_file)";
}

std::string ReasonOf(grpc_status_code code, const std::string& message, const char* hung_up) {
  if (code == GRPC_STATUS_OK) return "the server ended the stream";
  // "failed to connect to all addresses; last error: UNKNOWN: ..." says no more than its end.
  constexpr std::string_view kFiller = "last error: UNKNOWN: ";
  const size_t filler = message.find(kFiller);
  const std::string text =
      filler == message.npos ? message : message.substr(filler + kFiller.size());
  return CodeName(code) + (text.empty() ? "" : ": " + text) + Advice(code, message, hung_up);
}

// How a stream went.
struct Outcome {
  std::string reason;
  bool useful = false;  // it delivered, or lived long enough
  bool poison = false;  // the next one will end the same way
};

}  // namespace

class GenericSource : public penstock::Source {
 public:
  static constexpr auto& kOptions = kOptionTable;

  GenericSource(const penstock::Host& host, const penstock::Config& config)
      : Source(host),
        options_(config),
        read_ahead_(options_, host.read_ahead_bytes()),
        batch_(read_ahead_.batch, options_.json_body ? "application/json" : ""),
        backoff_(options_.reconnect_initial, options_.reconnect_max, std::random_device{}()),
        state_(host, options_.url),
        received_(host.Counter("received_total", "Events received from the server")),
        reconnects_(host.Counter("reconnects_total", "Attempts to connect after the first")),
        oversize_(
            host.Counter("oversize_total", "Events left out as larger than max_message_size")),
        malformed_(host.Counter("malformed_total", "Streams ended by a message that is no Event")) {
    if (!options_.target.error.empty()) throw std::runtime_error(options_.target.error);
  }

  static void Check(const penstock::Config& config, const penstock::Report& report) {
    CheckOptions(config, report);
  }

  void Run() override;
  void Stop() override;

 private:
  // While it lives, Stop() cancels the stream.
  class StopHandle {
   public:
    StopHandle(GenericSource* source, EventStream* stream) : source_(source) { Set(stream); }
    ~StopHandle() { Set(nullptr); }
    StopHandle(const StopHandle&) = delete;
    StopHandle& operator=(const StopHandle&) = delete;

   private:
    void Set(EventStream* stream) {
      std::lock_guard lock(source_->stream_mutex_);
      source_->stream_ = stream;
    }
    GenericSource* const source_;
  };

  Outcome RunStream();
  Outcome ReadFrom(EventStream* stream);
  EventStream::Deadline DueAt() const;
  const char* Overdue(Clock::time_point now);
  EventStream::Step Gather(EventStream* stream);
  bool EmitBatch();
  Outcome EndOf(const EventStream& stream, const char* why_cancelled);
  void LogPoison(const std::string& text);
  void LeaveOut(grpc_byte_buffer* message);
  std::chrono::nanoseconds PauseAfter(const Outcome& outcome);
  EventStream::Step OnMessage(EventStream* stream);

  const Options options_;
  const ReadAhead read_ahead_;
  Batch batch_;
  Backoff backoff_;
  StateReporter state_;
  const penstock::Metric received_, reconnects_, oversize_, malformed_;
  std::optional<Clock::time_point> poison_logged_at_;

  // Of the current stream.
  Clock::time_point began_at_, connected_at_, last_event_at_;
  bool connected_ = false;
  bool delivered_ = false;
  bool damaged_ = false;

  std::mutex stream_mutex_;
  EventStream* stream_ = nullptr;  // what Stop() cancels
};

void GenericSource::Run() {
  InitGrpc();
  state_.Start();
  while (!Stopping()) {
    const Outcome outcome = RunStream();
    if (Stopping()) return;
    const std::chrono::nanoseconds pause = PauseAfter(outcome);
    state_.Down(outcome.reason,
                "next attempt in " + Seconds(pause) + ", then every " +
                    Seconds(options_.reconnect_max) + " at the latest",
                Clock::now());
    if (!SleepFor(pause)) return;
    reconnects_.Add();
  }
}

void GenericSource::Stop() {
  Source::Stop();
  std::lock_guard lock(stream_mutex_);
  if (stream_ != nullptr) stream_->Cancel("the source is stopping");
}

std::chrono::nanoseconds GenericSource::PauseAfter(const Outcome& outcome) {
  if (outcome.poison) return backoff_.Longest(kPoisonPause);
  if (outcome.useful) backoff_.Reset();
  return backoff_.Next();
}

// Opens a stream and stays with it to its end.
Outcome GenericSource::RunStream() {
  Credentials credentials;
  try {
    credentials = ReadCertificates(options_);
    if (!options_.auth_token.empty()) {
      credentials.bearer = host().ReadSecret(options_.auth_token);
      CheckToken(credentials.bearer);
    }
  } catch (const std::runtime_error& e) {
    return {e.what()};
  }
  EventStream stream(options_, credentials, read_ahead_.window);
  const StopHandle handle(this, &stream);
  if (Stopping()) stream.Cancel("the source is stopping");
  return ReadFrom(&stream);
}

Outcome GenericSource::ReadFrom(EventStream* stream) {
  using Step = EventStream::Step;
  began_at_ = Clock::now();
  connected_ = delivered_ = damaged_ = false;
  const char* why_cancelled = nullptr;
  for (Step step = stream->Next(DueAt()); step != Step::kEnded;) {
    if (step == Step::kMessage) {
      step = OnMessage(stream);
      continue;
    }
    const Clock::time_point now = Clock::now();
    if (step == Step::kConnected) {
      connected_ = true;
      connected_at_ = last_event_at_ = now;
    } else if (why_cancelled == nullptr) {
      why_cancelled = Overdue(now);
      if (why_cancelled != nullptr) stream->Cancel(why_cancelled);
    }
    step = stream->Next(why_cancelled == nullptr ? DueAt() : std::nullopt);
  }
  return EndOf(*stream, why_cancelled);
}

// When to look at the clock if nothing happens until then.
EventStream::Deadline GenericSource::DueAt() const {
  if (!connected_) return began_at_ + kConnectTimeout;
  if (!state_.up()) return connected_at_ + kSettleTime;
  if (options_.idle_timeout.count() > 0) return last_event_at_ + options_.idle_timeout;
  return std::nullopt;
}

// What the clock says: nothing, or why the stream is to be given up.
const char* GenericSource::Overdue(Clock::time_point now) {
  if (!connected_) return now - began_at_ >= kConnectTimeout ? "no connection within 15s" : nullptr;
  if (!state_.up() && now - connected_at_ >= kSettleTime) state_.Up(now);
  const bool watched = options_.idle_timeout.count() > 0;
  if (watched && now - last_event_at_ >= options_.idle_timeout) {
    return "no event within idle_timeout";
  }
  return nullptr;
}

// A message is there: takes it and all that are there already, emits them, and says what comes
// next.
EventStream::Step GenericSource::OnMessage(EventStream* stream) {
  if (!state_.up()) state_.Up(Clock::now());
  delivered_ = true;
  const EventStream::Step next = Gather(stream);
  if (!EmitBatch())
    stream->Cancel(damaged_ ? "a message is not an Event" : "the source is stopping");
  if (options_.idle_timeout.count() > 0) last_event_at_ = Clock::now();
  return next == EventStream::Step::kTimeout ? stream->Next(DueAt()) : next;
}

// Fills the batch from what is there. kMessage: more is there, and the batch is full, or ends
// before an event that is left out, of which any number may follow.
EventStream::Step GenericSource::Gather(EventStream* stream) {
  EventStream::Step step = EventStream::Step::kMessage;
  while (step == EventStream::Step::kMessage && !batch_.Full()) {
    grpc_byte_buffer* const message = stream->TakeMessage();
    if (grpc_byte_buffer_length(message) > options_.max_message_size) {
      LeaveOut(message);
      return stream->Poll();
    }
    batch_.Add(message);
    step = stream->Poll();
  }
  return step;
}

void GenericSource::LeaveOut(grpc_byte_buffer* message) {
  oversize_.Add();
  LogPoison(
      "an event of " + std::to_string(grpc_byte_buffer_length(message)) +
      " bytes is larger than max_message_size = " + std::to_string(options_.max_message_size) +
      " bytes and was left out; raise max_message_size to take such events");
  grpc_byte_buffer_destroy(message);
}

// Hands the batch to the host, waiting for room. False: give up the stream.
bool GenericSource::EmitBatch() {
  const Batch::Built built = batch_.Build();
  if (damaged_) {
    Batch::Release(built.events, built.count);
    return false;
  }
  damaged_ = built.damaged;
  size_t done = 0;
  while (done < built.count) {
    const penstock_event_batch batch{sizeof batch, sizeof(penstock_event), built.events + done,
                                     built.count - done};
    size_t accepted = 0;
    const penstock_status status = host().raw()->emit(host().raw(), &batch, &accepted, -1);
    done += accepted;
    if (status == PENSTOCK_STOPPED && done < built.count) {
      Batch::Release(built.events + done, built.count - done);
      received_.Add(done);
      return false;
    }
  }
  received_.Add(done);
  return !damaged_;
}

Outcome GenericSource::EndOf(const EventStream& stream, const char* why_cancelled) {
  Outcome outcome;
  outcome.useful =
      delivered_ || (connected_ && Clock::now() - connected_at_ >= options_.reconnect_max);
  if (damaged_) {
    malformed_.Add();
    outcome.poison = true;
    outcome.reason = "the server sent a message that is not a generic.Event";
    LogPoison(outcome.reason +
              "; what the server sends there must be mended, until then its events stay there");
  } else if (why_cancelled != nullptr) {
    outcome.reason = why_cancelled;
  } else {
    outcome.reason = ReasonOf(stream.code(), stream.message(), HungUp(options_, connected_));
  }
  return outcome;
}

void GenericSource::LogPoison(const std::string& text) {
  const Clock::time_point now = Clock::now();
  if (poison_logged_at_ && now - *poison_logged_at_ < kPoisonLogPause) return;
  poison_logged_at_ = now;
  host().Error(text);
}

}  // namespace penstock_generic

PENSTOCK_SOURCE_PLUGIN(penstock_generic::GenericSource, "generic", PENSTOCK_VERSION,
                       "Receives events from a gRPC server of the generic EventSource contract.")
