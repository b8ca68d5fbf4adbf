// Sentences for people. For this folder, and for those that speak of the configuration as it does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace penstock::config {

template <typename... Parts>
std::string Cat(const Parts&... parts) {
  std::string out;
  (out.append(std::string_view(parts)), ...);
  return out;
}

// In double quotes, control characters escaped, cut when long.
std::string Quote(std::string_view text);

// `; did you mean "x"?`, or nothing when no candidate is near.
std::string DidYouMean(std::string_view word, std::span<const std::string_view> candidates);

// The same; when none is near but there are few: `; known are a, b and c`.
std::string Suggest(std::string_view word, std::span<const std::string_view> candidates);

// "a, b or c"
std::string Join(std::span<const std::string_view> words, std::string_view last_glue);

std::string FormatDuration(int64_t nanoseconds);  // "1h30m", "250ms"
std::string FormatSize(uint64_t bytes);           // "64MiB"

// Control characters would break logs, headers and protocols further on.
bool HasControlCharacter(std::string_view text);

std::vector<std::string_view> Views(const std::vector<std::string>& texts);

// Collects findings up to a bound, since a file of nonsense has very many.
class Findings {
 public:
  void Error(Position where, std::string text);
  void Warning(Position where, std::string text);
  void Notice(Position where, std::string text);
  void Add(Finding finding);
  // Past the bound: computing more texts is a waste.
  bool full() const { return findings_.size() >= kMost; }
  // Sorted. A last notice counts those left out.
  std::vector<Finding> Take(const std::vector<std::string>& files);

 private:
  static constexpr size_t kMost = 1000;
  std::vector<Finding> findings_;
  size_t left_out_ = 0;
};

}  // namespace penstock::config
