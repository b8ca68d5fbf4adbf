#include "options.h"

#include <algorithm>
#include <cstdint>

namespace penstock_generic {
namespace {

// More gains nothing: the sink's batches are smaller.
constexpr size_t kMaxBatchBytes = 256 * 1024;
// How far gRPC's own estimate has been seen to go.
constexpr size_t kAdaptiveWindow = 32 * 1024 * 1024;

bool StartsWith(std::string_view text, std::string_view start) {
  return text.substr(0, start.size()) == start;
}

bool HasSpaceOrControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == '\x7f'; });
}

Target Wrong(std::string error) {
  Target target;
  target.error = std::move(error);
  return target;
}

Target WrongScheme(std::string_view url, size_t colon) {
  const std::string_view scheme = url.substr(0, colon);
  std::string_view rest = url.substr(colon + 3);
  const std::string host(rest.substr(0, rest.find_first_of("/?#")));
  if (scheme == "http" || scheme == "https") {
    std::string advice = "url takes no scheme: write \"" + host + "\"";
    if (host.find(':') == std::string::npos) advice += " and its port, as in \"" + host + ":8080\"";
    return Wrong(advice + (scheme == "http" ? ", with insecure = true" : "; TLS is the default"));
  }
  return Wrong("url cannot begin with \"" + std::string(scheme) +
               "://\": write host:port or unix:/path");
}

bool IsLoopback(std::string_view host) {
  return host == "localhost" || host == "[::1]" || StartsWith(host, "127.");
}

bool IsPort(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  unsigned port = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    port = port * 10 + static_cast<unsigned>(c - '0');
  }
  return port >= 1 && port <= 65535;
}

Target HostAndPort(std::string_view url) {
  const std::string text(url);
  const size_t colon = url.rfind(':');
  const bool bracketed = StartsWith(url, "[");
  if (bracketed ? url.find("]:") == url.npos : colon == url.npos) {
    return Wrong("url \"" + text + "\" has no port: write \"" + text + ":8080\", say");
  }
  const std::string_view host = url.substr(0, colon);
  if (!bracketed && host.find(':') != host.npos) {
    return Wrong("url \"" + text + "\" has more than one colon: write host:port, and an IPv6 " +
                 "address in brackets, as in \"[::1]:8080\"");
  }
  if (host.empty() || host == "[]") {
    return Wrong("url \"" + text + "\" has no host: write host:port, as in \"127.0.0.1:8080\"");
  }
  if (host.find('/') != host.npos || !IsPort(url.substr(colon + 1))) {
    return Wrong("url \"" + text + "\" does not end in a port from 1 to 65535: write host:port");
  }
  return {"dns:///" + text, IsLoopback(host), ""};
}

}  // namespace

Target ParseUrl(std::string_view url) {
  if (url.empty()) return Wrong("url is empty: write host:port, as in \"orders.internal:8080\"");
  if (HasSpaceOrControl(url)) return Wrong("url holds a space or a control character");
  if (StartsWith(url, "dns:///")) url.remove_prefix(7);
  if (StartsWith(url, "unix:")) {
    std::string_view path = url.substr(5);
    while (StartsWith(path, "//")) path.remove_prefix(1);
    if (path.size() < 2 || path[0] != '/') {
      return Wrong("a unix socket's url has an absolute path: write unix:/run/orders.sock, say");
    }
    return {"unix:" + std::string(path), true, ""};
  }
  const size_t colon = url.find("://");
  if (colon != url.npos) return WrongScheme(url, colon);
  return HostAndPort(url);
}

Options::Options(const penstock::Config& c)
    : url(c.Str("url")),
      target(ParseUrl(url)),
      insecure(c.Bool("insecure")),
      event_name(c.Str("event_name")),
      config(c.Str("config")),
      json_body(c.Bool("json_body")),
      auth_token(c.Str("auth_token_file")),
      ca_file(c.Str("tls.ca_file")),
      cert_file(c.Str("tls.cert_file")),
      key_file(c.Str("tls.key_file")),
      server_name(c.Str("tls.server_name")),
      max_message_size(c.Size("max_message_size")),
      read_ahead(static_cast<size_t>(c.Size("read_ahead"))),
      adaptive_window(c.Bool("adaptive_window")),
      keepalive_time(c.Duration("keepalive_time")),
      idle_timeout(c.Duration("idle_timeout")),
      reconnect_initial(c.Duration("reconnect.initial")),
      reconnect_max(c.Duration("reconnect.max")) {}

ReadAhead::ReadAhead(const Options& options, size_t allowed) {
  const size_t all = std::min(options.read_ahead, allowed);
  batch = std::min(kMaxBatchBytes, all / 2);
  window = options.adaptive_window ? kAdaptiveWindow : all - batch;
}

void CheckOptions(const penstock::Config& config, const penstock::Report& report) {
  const Options options(config);
  if (!options.target.error.empty()) report.Error("url", options.target.error);
  if (options.insecure) {
    for (const char* name : {"tls.ca_file", "tls.cert_file", "tls.key_file", "tls.server_name"}) {
      if (config.IsSet(name)) {
        report.Error(name, std::string(name) + " contradicts insecure = true: drop one of the two");
      }
    }
    if (!options.auth_token.empty() && !options.target.local) {
      report.Warning("auth_token_file", "with insecure = true the token travels in the clear");
    }
  } else if (options.cert_file.empty() != options.key_file.empty()) {
    const bool no_key = options.key_file.empty();
    report.Error(no_key ? "tls.cert_file" : "tls.key_file",
                 no_key ? "tls.cert_file needs tls.key_file beside it"
                        : "tls.key_file needs tls.cert_file beside it");
  }
  if (options.adaptive_window && config.IsSet("read_ahead")) {
    report.Error("read_ahead",
                 "read_ahead does not hold with adaptive_window = true, where gRPC alone decides: "
                 "drop one of the two");
  }
  report.Holds(ReadAhead(options, config.Size("read_ahead_bytes")).bytes());
  if (options.reconnect_initial > options.reconnect_max) {
    report.Error("reconnect.initial", "reconnect.initial is longer than reconnect.max");
  }
  if (options.keepalive_time < std::chrono::minutes(5)) {
    report.Notice("keepalive_time",
                  "the server must allow pings this often: gRPC servers by default end a quiet "
                  "stream (too_many_pings) when they come more often than every 5 minutes");
  }
}

}  // namespace penstock_generic
