#include "config/values.h"

#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "config/text.h"

namespace penstock::config {
namespace {

constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();

struct Unit {
  std::string_view name;
  uint64_t size;
};

constexpr std::array<Unit, 7> kTimes{{{"ns", 1},
                                      {"us", 1'000},
                                      {"ms", 1'000'000},
                                      {"s", 1'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"h", 3'600'000'000'000},
                                      {"d", 86'400'000'000'000}}};

constexpr std::array<Unit, 10> kSizes{{{"", 1},
                                       {"B", 1},
                                       {"KB", 1'000},
                                       {"kB", 1'000},
                                       {"MB", 1'000'000},
                                       {"GB", 1'000'000'000},
                                       {"KiB", 1ull << 10u},
                                       {"MiB", 1ull << 20u},
                                       {"GiB", 1ull << 30u},
                                       {"TiB", 1ull << 40u}}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Cuts the digits off the front; false when they are too many for 64 bits.
bool TakeDigits(std::string_view* text, uint64_t* out) {
  *out = 0;
  while (!text->empty() && IsDigit(text->front())) {
    const auto digit = static_cast<uint64_t>(text->front() - '0');
    if (__builtin_mul_overflow(*out, uint64_t{10}, out) ||
        __builtin_add_overflow(*out, digit, out)) {
      return false;
    }
    text->remove_prefix(1);
  }
  return true;
}

template <size_t N>
std::optional<uint64_t> SizeOfUnit(const std::array<Unit, N>& units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return unit.size;
  }
  return std::nullopt;
}

tl::unexpected<Error> NoDuration(std::string_view text) {
  return Fail(Code::kConfig, Cat(Quote(text),
                                 " is not a duration: write numbers with a unit (ns, us, ms, s, m, "
                                 "h, d), as in \"10s\", \"250ms\" or \"1h30m\""));
}

tl::unexpected<Error> DurationTooLong(std::string_view text) {
  return Fail(Code::kConfig, Cat(Quote(text), " is too long a duration"));
}

tl::unexpected<Error> NoSize(std::string_view text) {
  return Fail(Code::kConfig, Cat(Quote(text),
                                 " is not a size: write a whole number with a unit (B, KB, MB, GB, "
                                 "KiB, MiB, GiB, TiB), as in \"64KiB\" or \"100MB\""));
}

}  // namespace

Result<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  std::string_view left = text;
  uint64_t total = 0;
  uint64_t last_unit = kMost;
  while (!left.empty()) {
    if (!IsDigit(left.front())) return NoDuration(text);
    uint64_t whole = 0;
    if (!TakeDigits(&left, &whole)) return DurationTooLong(text);
    std::string_view fraction;
    if (left.starts_with(".")) {
      left.remove_prefix(1);
      size_t digits = 0;
      while (digits < left.size() && IsDigit(left[digits])) ++digits;
      if (digits == 0) return NoDuration(text);
      fraction = left.substr(0, digits);
      left.remove_prefix(digits);
    }
    size_t letters = 0;
    while (letters < left.size() && left[letters] >= 'a' && left[letters] <= 'z') ++letters;
    const std::optional<uint64_t> unit = SizeOfUnit(kTimes, left.substr(0, letters));
    // From the largest unit down, so that "1m5h" is seen for the slip that it is.
    if (!unit || *unit >= last_unit) return NoDuration(text);
    left.remove_prefix(letters);
    last_unit = *unit;
    if (__builtin_mul_overflow(whole, *unit, &whole) ||
        __builtin_add_overflow(total, whole, &total)) {
      return DurationTooLong(text);
    }
    uint64_t scale = *unit;
    for (const char digit : fraction) {
      scale /= 10;
      total += scale * static_cast<uint64_t>(digit - '0');
    }
    if (total > kMost) return DurationTooLong(text);
  }
  if (text.empty()) return NoDuration(text);
  return std::chrono::nanoseconds(static_cast<int64_t>(total));
}

Result<uint64_t> ParseSize(std::string_view text) {
  std::string_view left = text;
  if (left.empty() || !IsDigit(left.front())) return NoSize(text);
  uint64_t size = 0;
  const bool fits = TakeDigits(&left, &size);
  const std::optional<uint64_t> unit = SizeOfUnit(kSizes, left);
  if (fits && !unit) return NoSize(text);
  if (!fits || __builtin_mul_overflow(size, *unit, &size) || size > kMost) {
    return Fail(Code::kConfig, Cat(Quote(text), " is too large a size"));
  }
  return size;
}

std::string Expected(std::string_view what, const Node& found) {
  return Cat("expected ", what, ", found ", KindName(found.kind));
}

Result<std::string_view> AsString(const Node& node) {
  if (node.kind != Node::Kind::kString) return Fail(Code::kConfig, Expected("a string", node));
  if (node.text.find('\0') != std::string::npos) {
    return Fail(Code::kConfig, "holds a NUL character, which no option can carry");
  }
  return std::string_view(node.text);
}

Result<int64_t> AsInteger(const Node& node) {
  if (node.kind == Node::Kind::kInteger) return node.integer;
  return Fail(Code::kConfig, Expected("an integer", node));
}

Result<double> AsFloat(const Node& node) {
  if (node.kind == Node::Kind::kInteger) return static_cast<double>(node.integer);
  if (node.kind != Node::Kind::kFloat) return Fail(Code::kConfig, Expected("a number", node));
  if (!std::isfinite(node.number)) return Fail(Code::kConfig, "expected a finite number");
  return node.number;
}

Result<bool> AsBool(const Node& node) {
  if (node.kind == Node::Kind::kBoolean) return node.boolean;
  return Fail(Code::kConfig, Expected("true or false", node));
}

Result<int64_t> AsDuration(const Node& node) {
  if (node.kind == Node::Kind::kInteger || node.kind == Node::Kind::kFloat) {
    return Fail(Code::kConfig,
                Cat("a duration needs a unit: write it as \"10s\" or \"250ms\", in quotes"));
  }
  if (node.kind != Node::Kind::kString) {
    return Fail(Code::kConfig, Expected("a duration such as \"10s\"", node));
  }
  return ParseDuration(node.text).map(
      [](std::chrono::nanoseconds ns) -> int64_t { return ns.count(); });
}

Result<int64_t> AsSize(const Node& node) {
  if (node.kind == Node::Kind::kInteger) {
    if (node.integer < 0) return Fail(Code::kConfig, "a size is not negative");
    return node.integer;
  }
  if (node.kind != Node::Kind::kString) {
    return Fail(Code::kConfig, Expected("a size such as \"64KiB\"", node));
  }
  return ParseSize(node.text).map([](uint64_t size) { return static_cast<int64_t>(size); });
}

}  // namespace penstock::config
