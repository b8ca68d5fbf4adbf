// What is UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace penstock {

// The length in bytes of the UTF-8 character at the start of text, which is not empty; 0 when there
// is none: overlong forms, surrogates and what is beyond U+10FFFF are none.
inline size_t Utf8CharacterLength(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  size_t length = 0;
  unsigned low = 0x80, high = 0xBF;  // of the second byte
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  }
  if (length == 0 || text.size() < length || at(1) < low || at(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((at(i) & 0xC0u) != 0x80u) return 0;
  }
  return length;
}

// Where text, which is longer than most, is cut so that no character is: most, or a little before.
inline size_t Utf8CutAt(std::string_view text, size_t most) {
  size_t cut = most;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0u) == 0x80u) --cut;
  return cut;
}

}  // namespace penstock
