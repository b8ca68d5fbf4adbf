// Whatever the bytes and however they are cut into slices, the decoder of the generic source stays
// inside them, and its answer does not depend on the cuts.
#include <grpc/slice.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "wire.h"

namespace {

using penstock_generic::FindPayload;
using penstock_generic::PayloadPlace;

// A slice of more than a few bytes is memory of its own, so that a sanitizer sees a step over its
// end.
std::optional<std::string> Payload(const uint8_t* bytes, size_t size, size_t piece) {
  std::vector<grpc_slice> slices;
  for (size_t at = 0; at < size; at += piece) {
    const char* from = reinterpret_cast<const char*>(bytes) + at;
    slices.push_back(grpc_slice_from_copied_buffer(from, std::min(piece, size - at)));
  }
  std::optional<std::string> out;
  std::optional<PayloadPlace> place = FindPayload(slices.data(), slices.size());
  if (place) {
    if (place->size > size) std::abort();
    out.emplace(place->size, '\0');
    place->start.Copy(out->data(), out->size());
  }
  for (const grpc_slice& slice : slices) grpc_slice_unref(slice);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::optional<std::string> whole = Payload(bytes, size, std::max<size_t>(size, 1));
  for (const size_t piece : {1, 3, 40}) {
    if (Payload(bytes, size, piece) != whole) std::abort();
  }
  return 0;
}
