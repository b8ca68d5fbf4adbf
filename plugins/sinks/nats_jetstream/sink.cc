// The sink nats-jetstream: its option table and what the host calls.
#include <penstock/plugin.hpp>

#include "ack.h"
#include "publisher.h"
#include "settings.h"

namespace penstock::nats_jetstream {

class JetStreamSink : public Sink {
 public:
  static constexpr uint32_t kCaps = PENSTOCK_CAP_PREFIX_SINGLE | PENSTOCK_CAP_DEDUPLICATES;
  static constexpr Option kOptions[] = {
      // The templates come first and in this order: message.h.
      Option::Template("subject")
          .Default("{source}.{subject}")
          .Help("Subject that an event is published to."),
      Option::Template("msg_id").Default("{id}").Help(
          "Nats-Msg-Id, by which JetStream drops repeated events; empty: none is sent."),
      Option::List("servers").Required().Range(1, 64).Help(
          "Addresses of NATS servers, nats://HOST:PORT or tls://HOST:PORT."),
      Option::Duration("ack_timeout")
          .Default("5s")
          .Range(100'000'000, 600'000'000'000)
          .Help("How long to wait for a stream's acknowledgement before an event is sent again."),
      Option::String("stream.name").Help("Stream to look up, or to create, at start."),
      Option::Bool("stream.create")
          .Default("false")
          .Help("Create the stream when there is none; one that exists is never changed."),
      Option::List("stream.subjects").Help("Subjects of a stream that is created."),
      Option::String("stream.storage")
          .Default("file")
          .Choices("file|memory")
          .Help("Where a created stream keeps its messages."),
      Option::Int("stream.replicas").Default("1").Range(1, 5).Help("Replicas of a created stream."),
      Option::Int("stream.max_messages")
          .Default("0")
          .Range(0, 1'000'000'000'000)
          .Help("How many messages a created stream keeps; 0: as many as there are."),
      Option::Size("stream.max_bytes")
          .Default("0")
          .Help("Size limit of a created stream; 0: none."),
      Option::Duration("stream.max_age")
          .Default("0s")
          .Range(0, 315'360'000'000'000'000)
          .Help("How long a created stream keeps a message, read or not; 0s: for ever."),
      Option::String("stream.discard")
          .Default("new")
          .Choices("new|old")
          .Help("What a created stream does when full: refuse new messages, or delete old ones."),
      Option::Duration("stream.duplicates")
          .Default("2m")
          .Range(1'000'000'000, 86'400'000'000'000)
          .Help("For how long a created stream recognises a repeated message id."),
      Option::File("tls.ca_file").Help("Certificates that the server's is verified with."),
      Option::File("tls.cert_file").Help("Certificate that this client shows."),
      Option::File("tls.key_file").Help("Key of tls.cert_file."),
      Option::String("tls.server_name")
          .Help("Name that the server's certificate must have; default: that of its address."),
      Option::Bool("tls.insecure_skip_verify")
          .Default("false")
          .Help("Do not verify the server's certificate."),
      Option::String("user").Help("User to log in as; needs password."),
      Option::Secret("password").Help("Password of user."),
      Option::Secret("token").Help("Token to log in with."),
      Option::File("creds_file").Help("File with a user's JWT and seed."),
      Option::File("nkey_seed_file").Help("File with a user's nkey seed."),
  };

  JetStreamSink(const Host& host, const Config& config)
      : Sink(host), publisher_(host, Named(host, config)) {}

  static void Check(const Config& config, const Report& report) {
    CheckSettings(config, report);
    if (config.Int("max_in_flight.events") > static_cast<int64_t>(kMaxSlots)) {
      report.Error("max_in_flight.events",
                   "at most " + std::to_string(kMaxSlots) + " events can be in flight");
    }
  }

  void Start() override { publisher_.Start(); }
  size_t Submit(const penstock_message_batch& batch) override { return publisher_.Submit(batch); }
  void Cancel(const uint64_t* tokens, size_t n) override { publisher_.Cancel(tokens, n); }
  void Stop() override { publisher_.Stop(); }

 private:
  static Settings Named(const Host& host, const Config& config) {
    Settings settings(config);
    settings.instance_name = host.instance_name();
    return settings;
  }

  Publisher publisher_;
};

}  // namespace penstock::nats_jetstream

using penstock::nats_jetstream::JetStreamSink;
PENSTOCK_SINK_PLUGIN(JetStreamSink, "nats-jetstream", PENSTOCK_VERSION,
                     "Publishes events to NATS JetStream, pipelined, each one acknowledged.")
