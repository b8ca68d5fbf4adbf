#include "stream.h"

#include <absl/synchronization/mutex.h>
#include <grpc/support/log.h>
#include <grpc/support/string_util.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "pem.h"
#include "wire.h"

namespace penstock_generic {
namespace {

using std::chrono::milliseconds;

constexpr char kMethod[] = "/generic.Eventing/StartEventSource";
// For each address that the host name stands for: TCP connect, TLS and the server's HTTP/2 settings
// together.
constexpr milliseconds kAddressTimeout{5000};
constexpr milliseconds kKeepaliveTimeout{20000};

constexpr const char* kSystemCertificates[] = {
    "/etc/ssl/certs/ca-certificates.crt",  // Debian and its kin
    "/etc/pki/tls/certs/ca-bundle.crt",    // Fedora and its kin
};

enum Tag : intptr_t { kRequestTag = 1, kHeadersTag, kReadTag, kStatusTag };
void* AsTag(Tag tag) { return reinterpret_cast<void*>(tag); }

std::string ReadFile(const std::string& path, const char* option) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error(std::string("cannot read ") + option + " " + path + ": " +
                             std::strerror(errno));
  }
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The file that gRPC trusts by default, as far as we have a say; nullptr: there is none.
const char* SystemCertificates() {
  const char* given = std::getenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH");
  if (given != nullptr && *given != '\0') return given;
  for (const char* path : kSystemCertificates) {
    if (std::ifstream(path)) return path;
  }
  return nullptr;
}

// What gRPC trusts by default, instead of the list that it brings. Asked for once in a process: to
// parse the list takes 20 ms, too much for each attempt.
grpc_ssl_roots_override_result TrustSystem(char** pem) {
  const char* path = SystemCertificates();
  if (path == nullptr) return GRPC_SSL_ROOTS_OVERRIDE_FAIL;
  try {
    *pem = gpr_strdup(ReadFile(path, "the system's certificates").c_str());
    return GRPC_SSL_ROOTS_OVERRIDE_OK;
  } catch (const std::exception&) {
    return GRPC_SSL_ROOTS_OVERRIDE_FAIL;
  }
}

// Which file it is and what is in it, without reading it.
struct Version {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = -1;  // there is none
  int64_t changed_ns = 0;
  bool operator==(const Version&) const = default;
};

Version VersionOf(const char* path) {
  struct stat info {};
  if (path == nullptr || ::stat(path, &info) != 0) return {};
  return {info.st_dev, info.st_ino, info.st_size,
          info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Version system_at_start;  // set once by InitGrpc, before any stream

// gRPC's channel arguments; the strings must outlive the use.
class ChannelArguments {
 public:
  void Set(const char* key, int value) {
    grpc_arg& arg = args_.emplace_back();
    arg.type = GRPC_ARG_INTEGER;
    arg.key = const_cast<char*>(key);
    arg.value.integer = value;
  }
  void Set(const char* key, milliseconds value) { Set(key, static_cast<int>(value.count())); }
  void Set(const char* key, const char* value) {
    grpc_arg& arg = args_.emplace_back();
    arg.type = GRPC_ARG_STRING;
    arg.key = const_cast<char*>(key);
    arg.value.string = const_cast<char*>(value);
  }
  grpc_channel_args Get() { return {args_.size(), args_.data()}; }

 private:
  std::vector<grpc_arg> args_;
};

ChannelArguments ArgumentsFor(const Options& options, size_t window) {
  ChannelArguments args;
  args.Set(GRPC_ARG_PRIMARY_USER_AGENT_STRING, "penstock/" PENSTOCK_VERSION);
  args.Set(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.Set(GRPC_ARG_ENABLE_RETRIES, 0);
  // Filters that each message would pass for nothing: the call has no deadline, the channel lives
  // as long as the call, and what is sent is one short request.
  args.Set(GRPC_ARG_ENABLE_DEADLINE_CHECKS, 0);
  args.Set(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, std::numeric_limits<int>::max());
  args.Set(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  args.Set(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kAddressTimeout);
  args.Set(GRPC_ARG_DNS_ARES_QUERY_TIMEOUT_MS, kAddressTimeout);
  // The source leaves out what is over max_message_size. gRPC, which puts a message together before
  // it looks at the limit all the same, would end the stream and lose what came behind it.
  args.Set(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, std::numeric_limits<int>::max());
  if (!options.adaptive_window) {
    // gRPC's estimate of what the line can take (BDP) may grow the window to 32 MiB for each
    // source.
    args.Set(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    args.Set(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(window));
  }
  args.Set(GRPC_ARG_KEEPALIVE_TIME_MS,
           std::chrono::duration_cast<milliseconds>(options.keepalive_time));
  args.Set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeout);
  // We send no data, and without data gRPC would by default stop asking after two pings.
  args.Set(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  if (options.target.local) args.Set(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!options.server_name.empty()) {
    args.Set(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, options.server_name.c_str());
  }
  return args;
}

grpc_channel_credentials* MakeChannelCredentials(const Credentials& credentials) {
  if (!credentials.tls) return grpc_insecure_credentials_create();
  grpc_ssl_pem_key_cert_pair pair{credentials.key.c_str(), credentials.cert.c_str()};
  const bool mutual = !credentials.cert.empty();
  const char* ca = credentials.ca.empty() ? nullptr : credentials.ca.c_str();
  return grpc_ssl_credentials_create_ex(ca, mutual ? &pair : nullptr, nullptr, nullptr);
}

gpr_timespec FromNow(std::chrono::nanoseconds time) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(time.count(), GPR_TIMESPAN));
}

}  // namespace

void InitGrpc() {
  // Never shut down: gRPC finishes in the background, and the plugin stays loaded as long as the
  // process lives.
  static std::once_flag once;
  std::call_once(once, [] {
    if (std::getenv("GRPC_VERBOSITY") == nullptr && std::getenv("GRPC_TRACE") == nullptr) {
      gpr_set_log_function([](gpr_log_func_args*) {});
    }
    // Debian builds Abseil with its assertions, and gRPC locks an absl::Mutex a dozen times for
    // each message: looking for lock-order cycles every time, under one lock of the process, takes
    // a tenth of the instructions.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    system_at_start = VersionOf(SystemCertificates());
    grpc_set_ssl_roots_override_callback(&TrustSystem);
    grpc_init();
  });
}

Credentials ReadCertificates(const Options& options) {
  Credentials credentials;
  if (options.insecure) return credentials;
  credentials.tls = true;
  if (!options.ca_file.empty()) {
    credentials.ca = ReadFile(options.ca_file, "tls.ca_file");
    CheckAuthority(credentials.ca, options);
  } else if (SystemCertificates() == nullptr) {
    throw std::runtime_error(
        "this system has no certificates to trust (package ca-certificates); install them, or set "
        "tls.ca_file, or insecure = true");
  } else if (const char* path = SystemCertificates(); VersionOf(path) != system_at_start) {
    // gRPC keeps what it read first, so from now on each attempt pays for the new ones.
    credentials.ca = ReadFile(path, "the system's certificates");
  }
  if (!options.cert_file.empty()) {
    credentials.cert = ReadFile(options.cert_file, "tls.cert_file");
    credentials.key = ReadFile(options.key_file, "tls.key_file");
    CheckPair(credentials.cert, credentials.key, options);
  }
  return credentials;
}

void CheckToken(const std::string& token) {
  if (token.empty()) throw std::runtime_error("auth_token_file holds an empty token");
  const grpc_slice slice = grpc_slice_from_static_buffer(token.data(), token.size());
  if (grpc_header_nonbin_value_is_legal(slice) == 0) {
    throw std::runtime_error(
        "auth_token_file holds a character that cannot stand in a header (a line break?); it must "
        "be one line of printable ASCII");
  }
}

EventStream::EventStream(const Options& options, const Credentials& credentials, size_t window)
    : queue_(grpc_completion_queue_create_for_next(nullptr)), details_(grpc_empty_slice()) {
  grpc_metadata_array_init(&headers_);
  grpc_metadata_array_init(&trailers_);
  ChannelArguments arguments = ArgumentsFor(options, window);
  const grpc_channel_args args = arguments.Get();
  grpc_channel_credentials* channel_credentials = MakeChannelCredentials(credentials);
  channel_ = grpc_channel_create(options.target.grpc.c_str(), channel_credentials, &args);
  grpc_channel_credentials_release(channel_credentials);
  call_ = grpc_channel_create_call(channel_, nullptr, GRPC_PROPAGATE_DEFAULTS, queue_,
                                   grpc_slice_from_static_string(kMethod), nullptr,
                                   gpr_inf_future(GPR_CLOCK_MONOTONIC), nullptr);
  Begin(EncodeEventSource(options.event_name, options.config), credentials.bearer);
}

void EventStream::Begin(const std::string& request, const std::string& bearer) {
  const std::string value = "Bearer " + bearer;
  grpc_metadata authorization{};
  authorization.key = grpc_slice_from_static_string("authorization");
  authorization.value = grpc_slice_from_copied_buffer(value.data(), value.size());
  grpc_slice slice = grpc_slice_from_copied_buffer(request.data(), request.size());
  grpc_byte_buffer* message = grpc_raw_byte_buffer_create(&slice, 1);

  grpc_op ops[5] = {};
  ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
  ops[0].data.send_initial_metadata.count = bearer.empty() ? 0 : 1;
  ops[0].data.send_initial_metadata.metadata = &authorization;
  ops[1].op = GRPC_OP_SEND_MESSAGE;
  ops[1].data.send_message.send_message = message;
  ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
  ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
  ops[3].data.recv_initial_metadata.recv_initial_metadata = &headers_;
  ops[4].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  ops[4].data.recv_status_on_client.trailing_metadata = &trailers_;
  ops[4].data.recv_status_on_client.status = &code_;
  ops[4].data.recv_status_on_client.status_details = &details_;
  const auto start = [this](const grpc_op* op, size_t n, Tag tag) {
    GPR_ASSERT(grpc_call_start_batch(call_, op, n, AsTag(tag), nullptr) == GRPC_CALL_OK);
    ++pending_;
  };
  start(&ops[0], 3, kRequestTag);
  start(&ops[3], 1, kHeadersTag);
  start(&ops[4], 1, kStatusTag);
  Read();
  grpc_byte_buffer_destroy(message);
  grpc_slice_unref(slice);
  grpc_slice_unref(authorization.value);
}

EventStream::~EventStream() {
  Cancel("the source has left the stream");
  while (pending_ > 0) {
    Handle(grpc_completion_queue_next(queue_, gpr_inf_future(GPR_CLOCK_MONOTONIC), nullptr));
    if (next_ != nullptr) grpc_byte_buffer_destroy(std::exchange(next_, nullptr));
  }
  grpc_call_unref(call_);
  grpc_channel_destroy(channel_);
  grpc_completion_queue_shutdown(queue_);
  while (grpc_completion_queue_next(queue_, gpr_inf_future(GPR_CLOCK_MONOTONIC), nullptr).type !=
         GRPC_QUEUE_SHUTDOWN) {
  }
  grpc_completion_queue_destroy(queue_);
  grpc_metadata_array_destroy(&headers_);
  grpc_metadata_array_destroy(&trailers_);
  grpc_slice_unref(details_);
}

void EventStream::Read() {
  grpc_op op{};
  op.op = GRPC_OP_RECV_MESSAGE;
  op.data.recv_message.recv_message = &next_;
  GPR_ASSERT(grpc_call_start_batch(call_, &op, 1, AsTag(kReadTag), nullptr) == GRPC_CALL_OK);
  ++pending_;
}

grpc_byte_buffer* EventStream::TakeMessage() {
  grpc_byte_buffer* message = std::exchange(next_, nullptr);
  Read();
  return message;
}

void EventStream::Cancel(const char* why) {
  grpc_call_cancel_with_status(call_, GRPC_STATUS_CANCELLED, why, nullptr);
}

EventStream::Step EventStream::Next(const Deadline& deadline) {
  if (!deadline) return Next(gpr_inf_future(GPR_CLOCK_MONOTONIC));
  return Next(FromNow(*deadline - std::chrono::steady_clock::now()));
}

EventStream::Step EventStream::Poll() { return Next(gpr_time_0(GPR_CLOCK_MONOTONIC)); }

EventStream::Step EventStream::Next(gpr_timespec deadline) {
  while (pending_ > 0) {
    const grpc_event event = grpc_completion_queue_next(queue_, deadline, nullptr);
    if (event.type != GRPC_OP_COMPLETE) return Step::kTimeout;
    const std::optional<Step> step = Handle(event);
    if (step) return *step;
  }
  return Step::kEnded;
}

std::optional<EventStream::Step> EventStream::Handle(const grpc_event& event) {
  --pending_;
  switch (static_cast<Tag>(reinterpret_cast<intptr_t>(event.tag))) {
    case kRequestTag:
      if (event.success != 0) return Step::kConnected;
      break;
    case kReadTag:
      if (next_ != nullptr) return Step::kMessage;
      break;
    case kStatusTag:
      TakeStatus();
      break;
    case kHeadersTag:
      break;
  }
  return std::nullopt;
}

void EventStream::TakeStatus() {
  message_.assign(reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(details_)),
                  GRPC_SLICE_LENGTH(details_));
}

}  // namespace penstock_generic
