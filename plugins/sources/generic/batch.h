// Messages as they come from gRPC, gathered and turned into events of one block.
#ifndef PENSTOCK_SOURCES_GENERIC_BATCH_H
#define PENSTOCK_SOURCES_GENERIC_BATCH_H

#include <grpc/grpc.h>

#include <cstddef>
#include <penstock/plugin.hpp>
#include <string_view>
#include <vector>

namespace penstock_generic {

// Gathers up to a bound, then copies all payloads into one block that lives until the host has
// released the last event of it, on whatever thread. Used again for the next batch. Not
// thread-safe.
class Batch {
 public:
  static constexpr size_t kMaxEvents = 256;

  // Full at max_bytes or kMaxEvents, whichever comes first. content_type must outlive the host's
  // use of the events.
  Batch(size_t max_bytes, std::string_view content_type);
  ~Batch();
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // Takes over the buffer.
  void Add(grpc_byte_buffer* message);
  bool Empty() const { return messages_.empty(); }
  bool Full() const { return messages_.size() >= kMaxEvents || bytes_ >= max_bytes_; }

  struct Built {
    const penstock_event* events;  // valid until the next Build
    size_t count;
    bool damaged;  // a message was not an Event; it and all after it are left out
  };
  // Makes the events and forgets the messages. The caller gives the events to the host, and gives
  // back with Release those that the host did not take.
  Built Build();
  static void Release(const penstock_event* events, size_t count);

 private:
  void Clear();

  const size_t max_bytes_;
  const std::string_view content_type_;
  size_t bytes_ = 0;
  std::vector<grpc_byte_buffer*> messages_;
  std::vector<penstock_event> events_;
};

}  // namespace penstock_generic

#endif  // PENSTOCK_SOURCES_GENERIC_BATCH_H
