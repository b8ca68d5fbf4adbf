// Text for people: tables, wrapped sentences, times and sizes with units.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::cli {

// Columns aligned to the left, two spaces apart, nothing after the last. Each row has as many cells
// as the first. A line of notes follows its row, indented; empty: none.
struct Row {
  std::vector<std::string> cells;
  std::string note;
};
std::string Table(const std::vector<Row>& rows);

// Breaks text at spaces into lines of at most width columns, each with the indent in front and a
// newline at its end.
std::string Wrapped(std::string_view text, size_t indent, size_t width);

// "250ms", "1h", "64KiB", in the largest unit that gives a whole number.
std::string FormatDuration(int64_t nanoseconds);
std::string FormatSize(int64_t bytes);

// The same to about three digits, for what is measured: "340ms", "12.3s", "3m12s", "2d3h";
// "1.2MiB".
std::string RoundedDuration(double seconds);
std::string RoundedSize(uint64_t bytes);

}  // namespace penstock::cli
