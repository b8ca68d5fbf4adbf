// The contract's two messages on the wire (proto/generic.proto), written out by hand: a payload
// goes from the transport's buffers into a batch's block in one copy, with neither a message object
// nor an allocation per event.
#ifndef PENSTOCK_SOURCES_GENERIC_WIRE_H
#define PENSTOCK_SOURCES_GENERIC_WIRE_H

#include <grpc/slice.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock_generic {

// EventSource{name, config} as protobuf writes it.
std::string EncodeEventSource(std::string_view name, std::string_view config);

// A place in bytes that lie in several slices. Borrows the slices.
class SliceCursor {
 public:
  SliceCursor(const grpc_slice* slices, size_t count);

  bool AtEnd() const { return left_ == 0; }
  size_t left() const { return left_; }
  // Each answers false, and leaves the cursor anywhere, when the bytes end too early.
  bool ReadVarint(uint64_t* value);
  bool Skip(uint64_t n);
  // Copies n bytes, which must be there, and moves on.
  void Copy(char* to, size_t n);

 private:
  void Settle();

  const grpc_slice* slice_;
  const uint8_t* at_;
  const uint8_t* end_;
  size_t left_;
};

struct PayloadPlace {
  SliceCursor start;
  size_t size;
};

// Where Event.payload lies in one encoded Event. Reads as protobuf does: the last payload counts, a
// missing one is empty, unknown fields are skipped. Groups, which proto3 does not have, count as
// damage. nullopt: not an Event.
std::optional<PayloadPlace> FindPayload(const grpc_slice* slices, size_t count);

}  // namespace penstock_generic

#endif  // PENSTOCK_SOURCES_GENERIC_WIRE_H
