#include "cli/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <span>
#include <utility>

namespace penstock::cli {
namespace {

constexpr size_t kNoteIndent = 4;
constexpr size_t kNoteWidth = 100;

using Unit = std::pair<int64_t, const char*>;

std::string InLargestUnit(int64_t value, std::span<const Unit> units) {
  for (const auto& [size, name] : units) {
    if (value != 0 && value % size == 0) return std::to_string(value / size) + name;
  }
  return std::to_string(value) + units.back().second;
}

}  // namespace

std::string Table(const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.cells.size()));
    for (size_t i = 0; i < row.cells.size(); ++i)
      widths[i] = std::max(widths[i], row.cells[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.cells.size(); ++i) {
      line += row.cells[i];
      if (i + 1 < row.cells.size()) line.append(widths[i] - row.cells[i].size() + 2, ' ');
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    if (!row.note.empty()) out += Wrapped(row.note, kNoteIndent, kNoteWidth);
  }
  return out;
}

std::string Wrapped(std::string_view text, size_t indent, size_t width) {
  std::string out, line;
  const auto flush = [&] {
    if (!line.empty()) out += std::string(indent, ' ') + line + "\n";
    line.clear();
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (word.empty()) continue;
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) flush();
    if (!line.empty()) line += ' ';
    line += word;
  }
  flush();
  return out;
}

std::string FormatDuration(int64_t nanoseconds) {
  constexpr std::array<Unit, 6> kUnits = {{{3'600'000'000'000, "h"},
                                           {60'000'000'000, "m"},
                                           {1'000'000'000, "s"},
                                           {1'000'000, "ms"},
                                           {1'000, "us"},
                                           {1, "ns"}}};
  return InLargestUnit(nanoseconds, kUnits);
}

std::string FormatSize(int64_t bytes) {
  constexpr std::array<Unit, 5> kUnits = {
      {{1ll << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}}};
  return InLargestUnit(bytes, kUnits);
}

std::string RoundedDuration(double seconds) {
  char text[32];
  if (seconds < 0.9995) {
    std::snprintf(text, sizeof text, "%.0fms", std::max(seconds, 0.0) * 1000);
    return text;
  }
  if (seconds < 59.95) {
    std::snprintf(text, sizeof text, "%.1fs", seconds);
    return text;
  }
  const auto whole = static_cast<uint64_t>(std::llround(seconds));
  const uint64_t minutes = whole / 60, hours = minutes / 60, days = hours / 24;
  const auto two = [](uint64_t large, const char* unit, uint64_t small, const char* small_unit) {
    return std::to_string(large) + unit + std::to_string(small) + small_unit;
  };
  if (hours == 0) return two(minutes, "m", whole % 60, "s");
  if (days == 0) return two(hours, "h", minutes % 60, "m");
  return two(days, "d", hours % 24, "h");
}

std::string RoundedSize(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit > 0 && value < 99.95 ? "%.1f%s" : "%.0f%s", value,
                kUnits[unit]);
  return text;
}

}  // namespace penstock::cli
