// Regular expressions that were compiled already. Private to this folder.
#pragma once

#include <re2/re2.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace penstock::filter {

class Patterns {
 public:
  // nullptr: error() says why. Good until the next call. *made: it was compiled now.
  const RE2* Find(std::string_view pattern, bool* made);
  const std::string& error() const { return error_; }

 private:
  // In an expression stand a few; those that are made of an event's own fields push out the oldest.
  static constexpr size_t kMost = 16;
  // What RE2 takes to find out that a pattern is too large for kMaxBytes grows with its length, and
  // is bounded by nothing else: up to 10 KiB of memory and 30 µs a byte.
  static constexpr size_t kLongest = 4096;
  static constexpr int64_t kMaxBytes = 2 << 20;  // of each, with what it remembers

  std::map<std::string, std::unique_ptr<RE2>, std::less<>> compiled_;
  std::deque<std::string> order_;
  std::string error_;
};

}  // namespace penstock::filter
