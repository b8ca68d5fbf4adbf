#include "config/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <numeric>

#include "platform/utf8.h"

namespace penstock::config {
namespace {

constexpr size_t kQuotedMost = 80;
constexpr size_t kWordMost = 64;
constexpr size_t kListedMost = 12;

// Case and dashes are the commonest slips, so they cost nothing.
std::string Fold(std::string_view word) {
  std::string out;
  out.reserve(word.size());
  for (const char c : word) {
    out += c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

// Optimal string alignment: insert, delete, replace, swap of neighbours cost 1 each.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::string_view SeverityName(Severity severity) {
  switch (severity) {
    case Severity::kNotice:
      return "notice";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "error";
}

}  // namespace

std::string Finding::ToString() const {
  std::string out;
  if (!where.file.empty()) {
    out = where.file;
    if (where.line != 0) {
      out += ":" + std::to_string(where.line) + ":" + std::to_string(where.column);
    }
    out += ": ";
  }
  const std::string origin = where.preset.empty() ? "" : Cat("preset ", where.preset, ": ");
  return Cat(out, SeverityName(severity), ": ", origin, text);
}

bool Loaded::ok() const {
  return std::none_of(findings.begin(), findings.end(),
                      [](const Finding& f) { return f.severity == Severity::kError; });
}

void Sort(const std::vector<std::string>& files, std::vector<Finding>* findings) {
  const auto rank = [&](const Finding& f) {
    return std::find(files.begin(), files.end(), f.where.file) - files.begin();
  };
  std::stable_sort(findings->begin(), findings->end(), [&](const Finding& a, const Finding& b) {
    const auto rank_a = rank(a), rank_b = rank(b);
    if (rank_a != rank_b) return rank_a < rank_b;
    if (a.where.file != b.where.file) return a.where.file < b.where.file;
    if (a.where.line != b.where.line) return a.where.line < b.where.line;
    return a.where.column < b.where.column;
  });
}

std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates) {
  if (word.empty() || word.size() > kWordMost) return {};
  const std::string folded = Fold(word);
  const size_t most = word.size() <= 3 ? 1 : std::max<size_t>(2, word.size() / 3);
  size_t best = most + 1;
  std::string_view nearest;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > word.size() + most || candidate.size() + most < word.size()) continue;
    const size_t distance = Distance(folded, Fold(candidate));
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string Quote(std::string_view text) {
  const bool cut = text.size() > kQuotedMost;
  if (cut) text = text.substr(0, Utf8CutAt(text, kQuotedMost));
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      constexpr std::string_view kHex = "0123456789abcdef";
      out += "\\x";
      out += kHex[byte >> 4u];
      out += kHex[byte & 15u];
    } else {
      out += c;
    }
  }
  return out + (cut ? "...\"" : "\"");
}

std::string DidYouMean(std::string_view word, std::span<const std::string_view> candidates) {
  const std::string_view nearest = Nearest(word, candidates);
  return nearest.empty() ? std::string() : Cat("; did you mean ", Quote(nearest), "?");
}

std::string Suggest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string near = DidYouMean(word, candidates);
  if (!near.empty() || candidates.empty() || candidates.size() > kListedMost) return near;
  return Cat(candidates.size() == 1 ? "; the only one known is " : "; known are ",
             Join(candidates, "and"));
}

std::string Join(std::span<const std::string_view> words, std::string_view last_glue) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? Cat(" ", last_glue, " ") : ", ";
    out += words[i];
  }
  return out;
}

std::string FormatDuration(int64_t nanoseconds) {
  struct Unit {
    std::string_view name;
    uint64_t size;
  };
  constexpr std::array<Unit, 7> kUnits{{{"d", 86'400'000'000'000},
                                        {"h", 3'600'000'000'000},
                                        {"m", 60'000'000'000},
                                        {"s", 1'000'000'000},
                                        {"ms", 1'000'000},
                                        {"us", 1'000},
                                        {"ns", 1}}};
  if (nanoseconds == 0) return "0s";
  std::string out = nanoseconds < 0 ? "-" : "";
  uint64_t left = static_cast<uint64_t>(nanoseconds);
  if (nanoseconds < 0) left = 0 - left;
  for (const Unit& unit : kUnits) {
    if (left < unit.size) continue;
    out += std::to_string(left / unit.size);
    out += unit.name;
    left %= unit.size;
  }
  return out;
}

std::string FormatSize(uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return Cat(std::to_string(bytes), kUnits[unit]);
}

bool HasControlCharacter(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

std::vector<std::string_view> Views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

void Findings::Error(Position where, std::string text) {
  Add({Severity::kError, std::move(where), std::move(text)});
}

void Findings::Warning(Position where, std::string text) {
  Add({Severity::kWarning, std::move(where), std::move(text)});
}

void Findings::Notice(Position where, std::string text) {
  Add({Severity::kNotice, std::move(where), std::move(text)});
}

void Findings::Add(Finding finding) {
  if (!full()) {
    findings_.push_back(std::move(finding));
    return;
  }
  ++left_out_;
  // What is left out must not turn a bad configuration into a good one.
  if (finding.severity == Severity::kError) findings_.back().severity = Severity::kError;
}

std::vector<Finding> Findings::Take(const std::vector<std::string>& files) {
  Sort(files, &findings_);
  if (left_out_ > 0) {
    findings_.push_back(
        {Severity::kNotice, {}, Cat("and ", std::to_string(left_out_), " more, not shown")});
  }
  return std::move(findings_);
}

}  // namespace penstock::config
