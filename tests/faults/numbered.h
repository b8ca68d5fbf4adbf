// The payloads of the fault suite: each says which event it is, and whether it is intact.
//
//   w1 SOURCE NUMBER LENGTH CRC\n BODY
//
// LENGTH is that of the body in bytes; CRC the CRC-32 (zlib's), 8 hex digits, of "SOURCE NUMBER
// LENGTH " and the body. Size and body follow from seed, source and number alone, so that a
// restarted source makes the same event again. tests/faults/verdict.py reads the same form.
#ifndef PENSTOCK_TESTS_FAULTS_NUMBERED_H
#define PENSTOCK_TESTS_FAULTS_NUMBERED_H

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "faults/images/rng.h"

namespace penstock_faults {

inline uint32_t Crc32(std::string_view bytes, uint32_t before = 0) {
  static const auto table = [] {
    std::array<uint32_t, 256> made{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
      made[i] = value;
    }
    return made;
  }();
  uint32_t crc = ~before;
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

// Makes the events of one source.
class Numbered {
 public:
  // Sizes of payloads lie between smallest and largest, small ones as often as large ones on a
  // logarithmic scale. What the head needs (about 40 bytes and the name) is the least.
  Numbered(std::string source, uint64_t seed, size_t smallest, size_t largest)
      : source_(std::move(source)),
        seed_(seed ^ Crc32(source_)),
        smallest_(smallest),
        largest_(largest < smallest ? smallest : largest) {}

  // The same source with events of one size.
  Numbered OfSize(size_t size) const {
    Numbered out = *this;
    out.smallest_ = out.largest_ = size;
    return out;
  }

  std::string Payload(uint64_t number) const {
    Rng rng(seed_, number);
    size_t size = smallest_;
    size_t span = largest_ - smallest_;
    while (span > 0 && rng.Chance(50)) span /= 2;
    if (span > 0) size += rng.Below(span + 1);
    const std::string front = "w1 " + source_ + " " + std::to_string(number) + " ";
    const size_t fixed = front.size() + 5 + 1 + 8 + 1;
    std::string body(size > fixed ? size - fixed : 0, '\0');
    for (size_t i = 0; i < body.size(); i += 8) {
      const uint64_t word = rng.Next();
      std::memcpy(body.data() + i, &word, body.size() - i < 8 ? body.size() - i : 8);
    }
    const std::string head = front + std::to_string(body.size()) + " ";
    char crc[10];
    std::snprintf(crc, sizeof crc, "%08x\n", Crc32(body, Crc32(head.substr(3))));
    return head + crc + body;
  }

 private:
  std::string source_;
  uint64_t seed_;
  size_t smallest_, largest_;
};

struct Event {
  std::string_view source;
  uint64_t number;
};

// The event of a payload; nothing when it is not intact.
inline std::optional<Event> ParseNumbered(std::string_view payload) {
  const size_t end = payload.find('\n');
  if (end == std::string_view::npos || end > 250) return std::nullopt;
  char source[200], crc[9];
  unsigned long long number = 0, length = 0;
  int source_at = 0, source_end = 0, crc_at = 0;
  const std::string head(payload.substr(0, end));
  if (std::sscanf(head.c_str(), "w1 %n%199s%n %llu %llu %n%8[0-9a-f]", &source_at, source,
                  &source_end, &number, &length, &crc_at, crc) != 4)
    return std::nullopt;
  const std::string_view body = payload.substr(end + 1);
  const auto front = payload.substr(3, static_cast<size_t>(crc_at) - 3);
  char expected[9];
  std::snprintf(expected, sizeof expected, "%08x", Crc32(body, Crc32(front)));
  if (body.size() != length || payload.substr(crc_at, end - crc_at) != expected)
    return std::nullopt;
  return Event{payload.substr(source_at, source_end - source_at), number};
}

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_NUMBERED_H
