// How this host reads what plugins of other minors of the ABI fill: plugin.h says the rules.
#pragma once

#include <penstock/plugin.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace penstock::abi {

// What a struct measured in ABI 1.0: no plugin's can be smaller.
inline constexpr size_t kPlugin10 = offsetof(penstock_plugin, extension) + sizeof(void*);
inline constexpr size_t kOption10 = offsetof(penstock_option, help) + sizeof(void*);
inline constexpr size_t kEventBatch10 = offsetof(penstock_event_batch, count) + sizeof(size_t);
inline constexpr size_t kEvent10 = offsetof(penstock_event, owner) + sizeof(void*);
inline constexpr size_t kReceipt10 = offsetof(penstock_receipt, reason) + sizeof(penstock_str);

// No stride is larger: what claims to be is garbage.
inline constexpr size_t kMaxStride = 4096;

// Whether elements of T can lie this far apart, where T measured `least` in 1.0.
template <typename T>
constexpr bool IsStride(size_t stride, size_t least) {
  return stride >= least && stride <= kMaxStride && stride % alignof(T) == 0;
}

// The element at index of an array of the other side's, in this side's form: what the other side
// does not know is zero, what this side does not know is left out.
template <typename T>
T Read(const T* first, size_t stride, size_t index) {
  T out = {};
  std::memcpy(&out, reinterpret_cast<const char*>(first) + index * stride,
              std::min(stride, sizeof out));
  return out;
}

}  // namespace penstock::abi
