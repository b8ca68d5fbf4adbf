#include "wire.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace penstock_generic {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr uint64_t kPayloadTag = 2 << 3 | kBytes;

void AppendVarint(std::string* out, uint64_t value) {
  for (; value > 0x7f; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void AppendBytes(std::string* out, uint32_t field, std::string_view bytes) {
  if (bytes.empty()) return;
  AppendVarint(out, field << 3 | kBytes);
  AppendVarint(out, bytes.size());
  out->append(bytes);
}

bool SkipField(SliceCursor* cursor, uint64_t tag) {
  uint64_t n = 0;
  switch (tag & 7) {
    case kVarint:
      return cursor->ReadVarint(&n);
    case kFixed64:
      return cursor->Skip(8);
    case kBytes:
      return cursor->ReadVarint(&n) && cursor->Skip(n);
    case kFixed32:
      return cursor->Skip(4);
    default:
      return false;
  }
}

}  // namespace

std::string EncodeEventSource(std::string_view name, std::string_view config) {
  std::string out;
  AppendBytes(&out, 1, name);
  AppendBytes(&out, 2, config);
  return out;
}

SliceCursor::SliceCursor(const grpc_slice* slices, size_t count)
    : slice_(slices), at_(nullptr), end_(nullptr), left_(0) {
  for (size_t i = 0; i < count; ++i) left_ += GRPC_SLICE_LENGTH(slices[i]);
  if (left_ == 0) return;
  at_ = GRPC_SLICE_START_PTR(*slice_);
  end_ = GRPC_SLICE_END_PTR(*slice_);
  Settle();
}

// Moves on to the next slice that has bytes. Only called while bytes are left.
void SliceCursor::Settle() {
  while (at_ == end_) {
    ++slice_;
    at_ = GRPC_SLICE_START_PTR(*slice_);
    end_ = GRPC_SLICE_END_PTR(*slice_);
  }
}

bool SliceCursor::ReadVarint(uint64_t* value) {
  uint64_t result = 0;
  for (unsigned shift = 0; shift < 64 && left_ > 0; shift += 7) {
    const uint8_t byte = *at_++;
    --left_;
    if (at_ == end_ && left_ > 0) Settle();
    result |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = result;
      return true;
    }
  }
  return false;
}

bool SliceCursor::Skip(uint64_t n) {
  if (n > left_) return false;
  left_ -= n;
  for (;;) {
    const auto here = static_cast<uint64_t>(end_ - at_);
    if (n < here || left_ == 0) {
      at_ += std::min(n, here);
      return true;
    }
    n -= here;
    at_ = end_;
    Settle();
  }
}

void SliceCursor::Copy(char* to, size_t n) {
  left_ -= n;
  while (n > 0) {
    if (at_ == end_) Settle();
    const size_t part = std::min(n, static_cast<size_t>(end_ - at_));
    std::memcpy(to, at_, part);
    to += part;
    at_ += part;
    n -= part;
  }
  if (left_ > 0) Settle();
}

std::optional<PayloadPlace> FindPayload(const grpc_slice* slices, size_t count) {
  SliceCursor cursor(slices, count);
  PayloadPlace found{cursor, 0};
  while (!cursor.AtEnd()) {
    uint64_t tag = 0;
    // Like protobuf: of a tag of five bytes only 32 bits count.
    if (!cursor.ReadVarint(&tag) || tag >> 35 != 0) return std::nullopt;
    tag &= std::numeric_limits<uint32_t>::max();
    if (tag >> 3 == 0) return std::nullopt;
    if (tag != kPayloadTag) {
      if (!SkipField(&cursor, tag)) return std::nullopt;
      continue;
    }
    uint64_t size = 0;
    if (!cursor.ReadVarint(&size)) return std::nullopt;
    found = {cursor, size};
    if (!cursor.Skip(size)) return std::nullopt;
  }
  return found;
}

}  // namespace penstock_generic
