// Base64 of RFC 4648 with the standard alphabet and padding.
#pragma once

#include <cstddef>
#include <string_view>

namespace penstock::event {

constexpr size_t Base64Size(size_t size) { return (size + 2) / 3 * 4; }

// Writes Base64Size(bytes.size()) bytes and returns their end. out may overlap bytes as long as
// bytes ends where the output ends or later: nothing is overwritten before it has been read.
char* EncodeBase64(std::string_view bytes, char* out);

// Writes what text stands for, at most 3 bytes for 4 of it, and returns the end of it; nullptr when
// text is no Base64 of that kind.
char* DecodeBase64(std::string_view text, char* out);

}  // namespace penstock::event
