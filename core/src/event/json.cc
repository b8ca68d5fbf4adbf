#include "event/json.h"

#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace penstock::event {
namespace {

enum ByteClass : uint8_t {
  kPlainByte = 1,  // inside a string: nothing to look at
  kSpace = 2,
  kDigit = 4,
  kHexDigit = 8,
  kShortEscape = 16,  // may follow a backslash, but for u
};

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> classes{};
  for (int c = 0x20; c < 0x80; ++c) classes[c] = kPlainByte;
  for (char c : {'"', '\\', '<', '>', '&'}) classes[static_cast<uint8_t>(c)] = 0;
  for (char c : {' ', '\t', '\r', '\n'}) classes[static_cast<uint8_t>(c)] |= kSpace;
  for (int c = '0'; c <= '9'; ++c) classes[c] |= kDigit | kHexDigit;
  for (int c = 'a'; c <= 'f'; ++c) classes[c] |= kHexDigit;
  for (int c = 'A'; c <= 'F'; ++c) classes[c] |= kHexDigit;
  for (char c : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'}) {
    classes[static_cast<uint8_t>(c)] |= kShortEscape;
  }
  return classes;
}
constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

constexpr char kHex[] = "0123456789abcdef";

bool Is(char c, uint8_t byte_class) {
  return (kClasses[static_cast<uint8_t>(c)] & byte_class) != 0;
}

// The first byte that is not kPlainByte.
const char* SkipPlain(const char* p, const char* end) {
#ifdef __SSE2__
  for (; end - p >= 16; p += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    // One bit turns " into & and < into >; the signed comparison finds controls and non-ASCII.
    const __m128i quote_or_amp =
        _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(4)), _mm_set1_epi8('&'));
    const __m128i angle = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(2)), _mm_set1_epi8('>'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i outside = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    const int mask = _mm_movemask_epi8(
        _mm_or_si128(_mm_or_si128(quote_or_amp, angle), _mm_or_si128(backslash, outside)));
    if (mask != 0) return p + __builtin_ctz(static_cast<unsigned>(mask));
  }
#endif
  while (p != end && Is(*p, kPlainByte)) ++p;
  return p;
}

// The length of the UTF-8 sequence of a character at p outside ASCII, 0 if it is none.
size_t Utf8Length(const char* p, const char* end) {
  const auto byte = [p](size_t i) { return static_cast<uint8_t>(p[i]); };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const size_t left = static_cast<size_t>(end - p);
  const uint8_t lead = byte(0);
  if (lead < 0xc2 || lead > 0xf4) return 0;
  if (lead < 0xe0) return left >= 2 && continues(1) ? 2 : 0;
  if (lead < 0xf0) {
    if (left < 3 || !continues(1) || !continues(2)) return 0;
    const bool overlong = lead == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = lead == 0xed && byte(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (left < 4 || !continues(1) || !continues(2) || !continues(3)) return 0;
  const bool overlong = lead == 0xf0 && byte(1) < 0x90;
  const bool too_large = lead == 0xf4 && byte(1) >= 0x90;
  return overlong || too_large ? 0 : 4;
}

// U+2028 and U+2029, which JavaScript once took for ends of lines.
bool IsLineSeparator(const char* p, const char* end) {
  return end - p >= 3 && p[0] == '\xe2' && p[1] == '\x80' && (p[2] & ~1) == '\xa8';
}

bool IsHtml(char c) { return c == '<' || c == '>' || c == '&'; }

char* WriteHtmlEscape(char c, char* out) {
  std::memcpy(out, "\\u00", 4);
  out[4] = kHex[static_cast<uint8_t>(c) >> 4];
  out[5] = kHex[c & 0xf];
  return out + 6;
}

char* WriteLineSeparatorEscape(char last, char* out) {
  std::memcpy(out, "\\u202", 5);
  out[5] = kHex[last & 0xf];
  return out + 6;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text)
      : begin_(text.data()), p_(text.data()), end_(text.data() + text.size()) {}

  JsonScan Run() {
    if (!Document()) {
      scan_.fault_offset = static_cast<size_t>(p_ - begin_);
      if (scan_.fault == JsonScan::Fault::kNone) {
        scan_.fault = p_ == end_ ? JsonScan::Fault::kEnd : JsonScan::Fault::kByte;
      }
    }
    scan_.is_compact = removed_ == 0 && added_ == 0;
    scan_.compact_size = static_cast<size_t>(end_ - begin_) - removed_ + added_;
    return scan_;
  }

 private:
  enum class Next { kValue, kKey, kEndOfValue };

  // Each of these moves p_ over what it is called for, or leaves it at the fault and returns false.
  bool Document() {
    Next next = Next::kValue;
    for (;;) {
      SkipSpace();
      if (next == Next::kEndOfValue && depth_ == 0) return p_ == end_;
      if (p_ == end_) return false;
      switch (next) {
        case Next::kValue:
          if (!Value(&next)) return false;
          break;
        case Next::kKey:
          if (*p_ != '"' || !String()) return false;
          SkipSpace();
          if (p_ == end_ || *p_ != ':') return false;
          ++p_;
          next = Next::kValue;
          break;
        case Next::kEndOfValue:
          if (*p_ == ',') {
            next = InObject() ? Next::kKey : Next::kValue;
          } else if (*p_ == (InObject() ? '}' : ']')) {
            --depth_;
          } else {
            return false;
          }
          ++p_;
          break;
      }
    }
  }

  bool Value(Next* next) {
    *next = Next::kEndOfValue;
    switch (*p_) {
      case '"':
        return String();
      case '{':
        return Open(true, next);
      case '[':
        return Open(false, next);
      case 't':
        return Literal("true");
      case 'f':
        return Literal("false");
      case 'n':
        return Literal("null");
      default:
        return Number();
    }
  }

  bool Open(bool object, Next* next) {
    if (depth_ == kMaxJsonDepth) {
      scan_.fault = JsonScan::Fault::kDepth;
      return false;
    }
    uint64_t& word = is_object_[depth_ / 64];
    if (depth_ % 64 == 0) word = 0;
    const uint64_t bit = uint64_t{1} << depth_ % 64;
    word = object ? word | bit : word & ~bit;
    ++p_;
    SkipSpace();
    if (p_ != end_ && *p_ == (object ? '}' : ']')) {
      ++p_;
      return true;
    }
    ++depth_;
    *next = object ? Next::kKey : Next::kValue;
    return true;
  }

  bool InObject() const {
    const size_t level = depth_ - 1;
    return (is_object_[level / 64] >> level % 64 & 1) != 0;
  }

  bool Literal(std::string_view word) {
    for (char c : word) {
      if (p_ == end_ || *p_ != c) return false;
      ++p_;
    }
    return true;
  }

  bool Digits() {
    if (p_ == end_ || !Is(*p_, kDigit)) return false;
    while (p_ != end_ && Is(*p_, kDigit)) ++p_;
    return true;
  }

  bool Number() {
    if (*p_ == '-') ++p_;
    if (p_ != end_ && *p_ == '0') {
      ++p_;
    } else if (!Digits()) {
      return false;
    }
    if (p_ != end_ && *p_ == '.') {
      ++p_;
      if (!Digits()) return false;
    }
    if (p_ != end_ && (*p_ | 0x20) == 'e') {
      ++p_;
      if (p_ != end_ && (*p_ == '+' || *p_ == '-')) ++p_;
      if (!Digits()) return false;
    }
    return true;
  }

  bool String() {
    ++p_;
    for (;;) {
      p_ = SkipPlain(p_, end_);
      if (p_ == end_) return false;
      const char c = *p_;
      if (c == '"') {
        ++p_;
        return true;
      }
      if (c == '\\') {
        if (!Escape()) return false;
      } else if (IsHtml(c)) {
        added_ += 5;
        ++p_;
      } else if (static_cast<uint8_t>(c) >= 0x80) {
        NonAscii();
      } else {
        return false;
      }
    }
  }

  void NonAscii() {
    while (p_ != end_ && static_cast<uint8_t>(*p_) >= 0x80) {
      const size_t length = Utf8Length(p_, end_);
      if (length == 0) {
        scan_.is_interoperable = false;
        ++p_;
        continue;
      }
      if (IsLineSeparator(p_, end_)) added_ += 3;
      p_ += length;
    }
  }

  bool Escape() {
    ++p_;
    if (p_ == end_) return false;
    if (*p_ != 'u') return Is(*p_, kShortEscape) && (++p_, true);
    ++p_;
    uint32_t unit = 0;
    if (!HexUnit(&unit)) return false;
    if ((unit & 0xf800) != 0xd800) return true;
    // A surrogate: fine only as the high half before the low half.
    if (unit < 0xdc00 && end_ - p_ >= 6 && p_[0] == '\\' && p_[1] == 'u') {
      p_ += 2;
      if (!HexUnit(&unit)) return false;
      if ((unit & 0xfc00) == 0xdc00) return true;
    }
    scan_.is_interoperable = false;
    return true;
  }

  bool HexUnit(uint32_t* unit) {
    *unit = 0;
    for (int i = 0; i < 4; ++i, ++p_) {
      if (p_ == end_ || !Is(*p_, kHexDigit)) return false;
      const uint32_t c = static_cast<uint8_t>(*p_);
      *unit = *unit << 4 | ((c & 0xf) + (c > '9' ? 9 : 0));
    }
    return true;
  }

  void SkipSpace() {
    const char* from = p_;
    while (p_ != end_ && Is(*p_, kSpace)) ++p_;
    removed_ += static_cast<size_t>(p_ - from);
  }

  const char* const begin_;
  const char* p_;
  const char* const end_;
  size_t removed_ = 0;
  size_t added_ = 0;
  size_t depth_ = 0;
  JsonScan scan_;
  uint64_t is_object_[kMaxJsonDepth / 64 + 1];  // a bit for each open bracket
};

char* Append(const char* from, const char* to, char* out) {
  const size_t n = static_cast<size_t>(to - from);
  if (n != 0) std::memcpy(out, from, n);
  return out + n;
}

// Copies the string that starts at *p with its quotes and moves *p behind it.
char* CompactString(const char** p, const char* end, char* out) {
  const char* start = *p;
  const char* at = start + 1;
  for (;;) {
    at = SkipPlain(at, end);
    assert(at != end);
    if (*at == '"') break;
    if (IsHtml(*at)) {
      out = WriteHtmlEscape(*at, Append(start, at, out));
      start = ++at;
    } else if (IsLineSeparator(at, end)) {
      out = WriteLineSeparatorEscape(at[2], Append(start, at, out));
      start = at += 3;
    } else {
      at += *at == '\\' ? 2 : 1;
    }
  }
  *p = at + 1;
  return Append(start, at + 1, out);
}

char* WriteControl(char c, JsonEscapes escapes, char* out) {
  *out++ = '\\';
  switch (c) {
    case '"':
    case '\\':
      *out++ = c;
      return out;
    case '\n':
      *out++ = 'n';
      return out;
    case '\r':
      *out++ = 'r';
      return out;
    case '\t':
      *out++ = 't';
      return out;
    case '\b':
    case '\f':
      if (escapes != JsonEscapes::kHtml) break;
      *out++ = c == '\b' ? 'b' : 'f';
      return out;
    default:
      break;
  }
  return WriteHtmlEscape(c, out - 1);
}

}  // namespace

JsonScan ScanJson(std::string_view text) { return Scanner(text).Run(); }

std::string JsonFaultText(const JsonScan& scan, std::string_view text) {
  const std::string where = " at byte offset " + std::to_string(scan.fault_offset);
  switch (scan.fault) {
    case JsonScan::Fault::kNone:
      break;
    case JsonScan::Fault::kEnd:
      return "unexpected end" + where;
    case JsonScan::Fault::kDepth:
      return "nested deeper than " + std::to_string(kMaxJsonDepth) + " levels" + where;
    case JsonScan::Fault::kByte: {
      const char c = text[scan.fault_offset];
      if (c > 0x20 && c < 0x7f) return std::string("unexpected '") + c + "'" + where;
      const char hex[] = {'0', 'x', kHex[static_cast<uint8_t>(c) >> 4], kHex[c & 0xf], 0};
      return std::string("unexpected byte ") + hex + where;
    }
  }
  return {};
}

char* CompactJson(std::string_view valid, char* out) {
  const char* p = valid.data();
  const char* const end = p + valid.size();
  while (p != end) {
    if (*p == '"') {
      out = CompactString(&p, end, out);
    } else if (Is(*p, kSpace)) {
      ++p;
    } else {
      *out++ = *p++;
    }
  }
  return out;
}

char* WriteJsonString(std::string_view text, JsonEscapes escapes, char* out) {
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p != end) {
    const char* run = SkipPlain(p, end);
    out = Append(p, run, out);
    p = run;
    if (p == end) break;
    const bool html = escapes != JsonEscapes::kPlain;
    if (static_cast<uint8_t>(*p) < 0x80) {
      const bool keep = IsHtml(*p) && !html;
      out = keep ? Append(p, p + 1, out) : WriteControl(*p, escapes, out);
      ++p;
      continue;
    }
    const size_t length = Utf8Length(p, end);
    if (length == 0) {
      std::memcpy(out, "\\ufffd", 6);
      out += 6;
    } else if (html && IsLineSeparator(p, end)) {
      out = WriteLineSeparatorEscape(p[2], out);
    } else {
      out = Append(p, p + length, out);
    }
    p += length == 0 ? 1 : length;
  }
  return out;
}

namespace {

// The four hexadecimal digits at p.
uint32_t ReadHexUnit(const char* p) {
  uint32_t unit = 0;
  for (int i = 0; i < 4; ++i) {
    const auto c = static_cast<uint32_t>(static_cast<uint8_t>(p[i]));
    unit = unit << 4 | (c <= '9' ? c - '0' : (c | 0x20u) - 'a' + 10);
  }
  return unit;
}

bool IsSurrogate(uint32_t unit) { return unit >= 0xd800 && unit < 0xe000; }

char* WriteUtf8(uint32_t c, char* out) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    *out++ = static_cast<char>(c);
  } else if (c < 0x800) {
    *out++ = static_cast<char>(0xc0 | c >> 6);
    *out++ = tail(0);
  } else if (c < 0x10000) {
    *out++ = static_cast<char>(0xe0 | c >> 12);
    *out++ = tail(6);
    *out++ = tail(0);
  } else {
    *out++ = static_cast<char>(0xf0 | c >> 18);
    *out++ = tail(12);
    *out++ = tail(6);
    *out++ = tail(0);
  }
  return out;
}

// The escape behind a backslash at *p, which is moved past it.
uint32_t ReadEscape(const char** p, const char* end) {
  const char c = *(*p)++;
  constexpr std::string_view kShort = "bfnrt", kMeant = "\b\f\n\r\t";
  const size_t known = kShort.find(c);
  if (known != kShort.npos) return static_cast<uint32_t>(kMeant[known]);
  if (c != 'u') return static_cast<uint32_t>(c);
  const uint32_t unit = ReadHexUnit(*p);
  *p += 4;
  if (!IsSurrogate(unit)) return unit;
  if (unit < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
    const uint32_t low = ReadHexUnit(*p + 2);
    if (low >= 0xdc00 && low < 0xe000) {
      *p += 6;
      return 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
    }
  }
  return 0xfffd;
}

}  // namespace

char* DecodeJsonString(std::string_view inside, char* out) {
  const char* p = inside.data();
  const char* const end = p + inside.size();
  while (p != end) {
    const char* const run = p;
    while (p != end && *p != '\\' && static_cast<uint8_t>(*p) < 0x80) ++p;
    out = Append(run, p, out);
    if (p == end) break;
    if (*p == '\\') {
      ++p;
      out = WriteUtf8(ReadEscape(&p, end), out);
      continue;
    }
    const size_t length = Utf8Length(p, end);
    out = length == 0 ? WriteUtf8(0xfffd, out) : Append(p, p + length, out);
    p += length == 0 ? 1 : length;
  }
  return out;
}

void AppendJsonString(std::string_view text, JsonEscapes escapes, std::string* out) {
  const size_t before = out->size();
  out->resize(before + MaxJsonStringSize(text.size()) + 2);
  char* end = out->data() + before;
  *end++ = '"';
  end = WriteJsonString(text, escapes, end);
  *end++ = '"';
  out->resize(static_cast<size_t>(end - out->data()));
}

}  // namespace penstock::event
