// A condition on events: one Lua 5.4 expression, compiled once, that says of each event whether it
// goes on. docs/filters.md is its language.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "event/event.h"

namespace penstock::filter {

// What one evaluation may take.
struct Limits {
  uint64_t steps = 1'000'000;    // instructions of Lua; what is done in one of them counts as many
  uint64_t bytes = 64ull << 20;  // of Lua's memory
  int64_t cpu_ns = 1'000'000'000;  // of the thread, for what neither of the others sees
};

inline constexpr size_t kMaxExpression = 64 * 1024;

// Why an expression is none.
struct Fault {
  std::string text;     // "unexpected symbol near '='; to compare, write =="
  uint32_t line = 0;    // of the expression, from 1; 0: none of its places in particular
  uint32_t column = 0;  // in characters, from 1
  std::string unknown;  // the name that there is none of, if that is what is wrong
};

// All names that an expression may use, to find the one that was meant.
std::vector<std::string_view> KnownNames();

enum class Verdict { kPass, kDrop, kError };

// The event, and what an id that it does not bring itself is made of.
struct Input {
  const event::Event& event;
  const event::SourceInfo& source;
  uint64_t queue_id = 0, offset = 0;
};

struct Runtime;

// Used by one thread at a time. The same event always gets the same verdict: nothing is kept from
// one evaluation to the next, and an expression has no clock, no randomness and no way out.
class Filter {
 public:
  static tl::expected<std::unique_ptr<Filter>, Fault> Compile(std::string_view expression,
                                                              const Limits& limits = {});
  ~Filter();
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  Verdict Evaluate(const Input& input);
  // Of the last evaluation, if it was kError: in one line, and bounded.
  const std::string& error() const { return error_; }

  // Of Lua's heap, now.
  uint64_t memory_used() const;

 private:
  Filter();
  std::unique_ptr<Runtime> runtime_;
  std::string error_;
};

}  // namespace penstock::filter
