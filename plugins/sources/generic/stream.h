// One connection with one call of StartEventSource on it, on gRPC's C core.
#ifndef PENSTOCK_SOURCES_GENERIC_STREAM_H
#define PENSTOCK_SOURCES_GENERIC_STREAM_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <chrono>
#include <optional>
#include <string>

#include "options.h"

namespace penstock_generic {

// Makes gRPC usable in this process, and keeps its own lines off stderr unless GRPC_VERBOSITY or
// GRPC_TRACE asks for them: what it has to say arrives in the status of a stream. Any thread, any
// number of times.
void InitGrpc();

// What it takes to open a stream now: files and secrets as they are at this moment.
struct Credentials {
  bool tls = false;
  std::string ca, cert, key;  // PEM; an empty ca: the system's
  std::string bearer;         // empty: none
};
// Reads the certificate files. Throws std::runtime_error that says what to mend.
Credentials ReadCertificates(const Options& options);
// Throws std::runtime_error when the token cannot stand in a header.
void CheckToken(const std::string& token);

// Connects as soon as it is made. One thread calls Next and TakeMessage; Cancel may be called by
// any. The destructor cancels what is left and closes the connection.
class EventStream {
 public:
  using Deadline = std::optional<std::chrono::steady_clock::time_point>;

  // window: how many bytes gRPC may hold that were not read yet.
  EventStream(const Options& options, const Credentials& credentials, size_t window);
  ~EventStream();
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  enum class Step {
    kConnected,  // the request has gone out on an established connection
    kMessage,    // TakeMessage() has one
    kEnded,      // code() and message() say why; nothing will follow
    kTimeout
  };
  // What happens next, waiting until the deadline; nullopt: for ever.
  Step Next(const Deadline& deadline);
  // What has happened already.
  Step Poll();

  // The message of the last kMessage, which the caller now owns. Lets gRPC read the next one.
  grpc_byte_buffer* TakeMessage();

  // The stream ends soon, with CANCELLED and this text unless it has ended already.
  void Cancel(const char* why);

  grpc_status_code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  void Begin(const std::string& request, const std::string& bearer);
  void Read();
  Step Next(gpr_timespec deadline);
  std::optional<Step> Handle(const grpc_event& event);
  void TakeStatus();

  grpc_completion_queue* queue_;
  grpc_channel* channel_ = nullptr;
  grpc_call* call_ = nullptr;
  int pending_ = 0;  // batches whose tag has not come back

  grpc_metadata_array headers_, trailers_;
  grpc_byte_buffer* next_ = nullptr;
  grpc_slice details_;
  grpc_status_code code_ = GRPC_STATUS_UNKNOWN;
  std::string message_;
};

}  // namespace penstock_generic

#endif  // PENSTOCK_SOURCES_GENERIC_STREAM_H
