// Times as CloudEvents writes them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock::event {

inline constexpr size_t kMaxTimeSize = 30;

// RFC 3339 in UTC with nanoseconds, of which trailing zeros are cut: "2026-11-23T09:19:39.67Z".
// Writes at most kMaxTimeSize bytes and returns their end.
char* WriteTime(int64_t unix_ns, char* out);

}  // namespace penstock::event
