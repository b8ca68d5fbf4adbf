#include "event/base64.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace penstock::event {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct Pair {
  char chars[2];
};

// Two digits at a time: what 12 bits become.
constexpr std::array<Pair, 4096> MakePairs() {
  std::array<Pair, 4096> pairs{};
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = {{kAlphabet[i >> 6], kAlphabet[i & 63]}};
  return pairs;
}
constexpr std::array<Pair, 4096> kPairs = MakePairs();

constexpr std::array<int8_t, 256> MakeDigits() {
  std::array<int8_t, 256> digits{};
  for (int8_t& digit : digits) digit = -1;
  for (int8_t i = 0; i < 64; ++i) digits[static_cast<uint8_t>(kAlphabet[i])] = i;
  return digits;
}
constexpr std::array<int8_t, 256> kDigits = MakeDigits();

void WritePair(uint64_t bits, char* out) { std::memcpy(out, kPairs[bits & 4095].chars, 2); }

}  // namespace

char* EncodeBase64(std::string_view bytes, char* out) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  for (; left >= 6; left -= 6, p += 6, out += 8) {
    const uint64_t bits = uint64_t{p[0]} << 40 | uint64_t{p[1]} << 32 | uint64_t{p[2]} << 24 |
                          uint64_t{p[3]} << 16 | uint64_t{p[4]} << 8 | p[5];
    WritePair(bits >> 36, out);
    WritePair(bits >> 24, out + 2);
    WritePair(bits >> 12, out + 4);
    WritePair(bits, out + 6);
  }
  for (; left >= 3; left -= 3, p += 3, out += 4) {
    const uint32_t bits = uint32_t{p[0]} << 16 | uint32_t{p[1]} << 8 | p[2];
    WritePair(bits >> 12, out);
    WritePair(bits, out + 2);
  }
  if (left == 0) return out;
  const uint32_t bits = uint32_t{p[0]} << 16 | (left == 2 ? uint32_t{p[1]} << 8 : 0u);
  WritePair(bits >> 12, out);
  out[2] = left == 2 ? kAlphabet[bits >> 6 & 63] : '=';
  out[3] = '=';
  return out + 4;
}

char* DecodeBase64(std::string_view text, char* out) {
  if (text.size() % 4 != 0) return nullptr;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  uint32_t bits = 0;
  size_t n = 0;
  for (const char c : text) {
    const int digit = kDigits[static_cast<uint8_t>(c)];
    if (digit < 0) return nullptr;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (++n % 4 != 0) continue;
    for (int shift = 16; shift >= 0; shift -= 8) *out++ = static_cast<char>(bits >> shift & 0xff);
    bits = 0;
  }
  if (padding == 1) {
    *out++ = static_cast<char>(bits >> 10 & 0xff);
    *out++ = static_cast<char>(bits >> 2 & 0xff);
  } else if (padding == 2) {
    *out++ = static_cast<char>(bits >> 4 & 0xff);
  }
  return out;
}

}  // namespace penstock::event
