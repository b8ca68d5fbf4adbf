// The table of a generic source, read and judged.
#ifndef PENSTOCK_SOURCES_GENERIC_OPTIONS_H
#define PENSTOCK_SOURCES_GENERIC_OPTIONS_H

#include <chrono>
#include <cstddef>
#include <penstock/plugin.hpp>
#include <string>
#include <string_view>

namespace penstock_generic {

constexpr int64_t kSecond = 1'000'000'000;

inline constexpr penstock::Option kOptionTable[] = {
    penstock::Option::String("url").Required().Help(
        "Where the event server listens: host:port, [IPv6]:port or unix:/path."),
    penstock::Option::Bool("insecure")
        .Default("false")
        .Help("Talk in the clear. Without it, TLS, by default with the system's certificates."),
    penstock::Option::String("config").Default("").Help(
        "Free text for the server, sent byte for byte as EventSource.config."),
    penstock::Option::Bool("json_body")
        .Default("false")
        .Help("The payloads are JSON; declares their content type as application/json."),
    penstock::Option::Secret("auth_token_file")
        .Help("A token, sent as \"authorization: Bearer ...\" and read again for each stream."),
    penstock::Option::File("tls.ca_file")
        .Help("Certificates (PEM) that may sign the server's, instead of the system's."),
    penstock::Option::File("tls.cert_file").Help("Our own certificate (PEM), for mutual TLS."),
    penstock::Option::File("tls.key_file").Help("The private key (PEM) of tls.cert_file."),
    penstock::Option::String("tls.server_name")
        .Default("")
        .Help("The name that the server's certificate must carry; default: the host of url."),
    penstock::Option::Size("max_message_size")
        .Default("4MiB")
        .Range(1024, 512 * 1024 * 1024)
        .Help("The largest event, its name included, that is taken."),
    penstock::Option::Size("read_ahead")
        .Default("512KiB")
        .Range(8 * 1024, 2 * 1024 * 1024)
        .Help("How much the server may have sent that the queue has not taken yet, and a kill -9 "
              "loses; events larger than that pass one at a time. Less than 256KiB slows a fast "
              "server."),
    penstock::Option::Bool("adaptive_window")
        .Default("false")
        .Help(
            "For large events (16 KiB and more), or a fast server that is more than a few "
            "milliseconds away: lets gRPC read ahead up to 32 MiB, whatever read_ahead says, which "
            "gateway.memory_limit does not count and a kill -9 loses."),
    penstock::Option::Duration("keepalive_time")
        .Default("5m")
        .Range(5 * kSecond, 86400 * kSecond)
        .Help("Ask a silent server for a sign of life this often; servers commonly cut off clients "
              "that ask more often than every 5 minutes."),
    penstock::Option::Duration("idle_timeout")
        .Default("0s")
        .Range(0, 7 * 86400 * kSecond)
        .Help("Connect anew when no event has come for this long; 0: never."),
    penstock::Option::Duration("reconnect.initial")
        .Default("100ms")
        .Range(kSecond / 1000, 3600 * kSecond)
        .Help("The pause before the first new attempt to connect; doubles up to reconnect.max."),
    penstock::Option::Duration("reconnect.max")
        .Default("1s")
        .Range(kSecond / 1000, 3600 * kSecond)
        .Help("The longest pause between two attempts to connect."),
};

// A url, understood.
struct Target {
  std::string grpc;    // as gRPC wants it
  bool local = false;  // loopback or a unix socket: proxies are left out
  std::string error;   // not empty: what is wrong with the url and what to write
};
Target ParseUrl(std::string_view url);

struct Options {
  explicit Options(const penstock::Config& config);

  std::string url;
  Target target;
  bool insecure;
  std::string event_name;
  std::string config;
  bool json_body;
  std::string auth_token;  // the secret's reference, or empty
  std::string ca_file, cert_file, key_file, server_name;
  size_t max_message_size;
  size_t read_ahead;
  bool adaptive_window;
  std::chrono::nanoseconds keepalive_time, idle_timeout, reconnect_initial, reconnect_max;
};

// How read-ahead is shared between what the server may send unread and what is gathered for one
// emit. allowed: the host's bound.
struct ReadAhead {
  ReadAhead(const Options& options, size_t allowed);

  size_t batch;   // bytes of one emit
  size_t window;  // bytes that the server may send and we have not read
  size_t bytes() const { return batch + window; }
};

// Reports everything that cannot work or may surprise. No I/O.
void CheckOptions(const penstock::Config& config, const penstock::Report& report);

}  // namespace penstock_generic

#endif  // PENSTOCK_SOURCES_GENERIC_OPTIONS_H
