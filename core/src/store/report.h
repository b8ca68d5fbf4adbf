// What checking or repairing a store found, in words and in numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/result.h"

namespace penstock::store {

// The offsets [first, end) of a queue.
struct LostRange {
  uint32_t number = 0;  // of the queue
  std::string queue;    // its name, or "#3" where that is lost too
  uint64_t first = 0;
  uint64_t end = 0;
  bool operator==(const LostRange&) const = default;
};

struct Finding {
  enum class Severity {
    kNote,    // the store can be opened and is whole; nothing is lost
    kDamage,  // it must not be opened as it is
  };
  Severity severity = Severity::kDamage;
  std::string text;              // what is wrong, and what is lost by it
  std::optional<uint64_t> page;  // of data.mdb
  std::vector<LostRange> lost;   // events
};

struct CursorSummary {
  std::string sink;
  uint64_t committed = 0;
};

struct QueueSummary {
  uint32_t number = 0;
  std::string name;
  uint64_t begin = 0;   // the oldest offset that a sink still needs
  uint64_t end = 0;     // the next offset
  uint64_t chunks = 0;  // holes are among them
  uint64_t events = 0;  // that are there
  uint64_t letters = 0;
  std::vector<CursorSummary> cursors;
  std::vector<LostRange> holes;  // where an earlier repair closed a gap
};

// What a repair wrote into the new store.
struct Repaired {
  uint64_t from_tree = 0;   // values that the old file's tree still reached
  uint64_t from_pages = 0;  // values found beside it
  uint64_t letters_returned =
      0;                 // dead letters found beside it: some may have been dealt with before
  uint64_t ignored = 0;  // values found beside it that no queue or cursor needs
  // Where the old tree was damaged, in words: what was there and was not found by its pages is
  // lost.
  std::vector<std::string> beyond_tree;
  std::vector<std::string> changes;  // cursors and queues that could not be kept as they were
  std::vector<LostRange> holes;      // each is closed by a hole in the new store (format.h)
};

inline constexpr size_t kMaxFindings = 200;

struct Report {
  bool fresh = false;   // there is no store yet, or one that was never finished: nothing was stored
  uint64_t commit = 0;  // the last one
  uint64_t file_bytes = 0;
  uint64_t pages = 0;         // up to the last one in use
  uint64_t free_pages = 0;    // of those
  uint64_t leaked_pages = 0;  // of those, neither in use nor free
  uint64_t values = 0;
  std::vector<Finding> findings;  // at most kMaxFindings
  uint64_t more_findings = 0;     // that found no place there
  uint64_t more_damage = 0;       // of those
  std::vector<QueueSummary> queues;
  std::optional<Repaired> repaired;

  // No damage: it may be opened.
  bool sound() const;
  std::vector<LostRange> lost() const;  // of all findings
  void Add(Finding finding);
  void Note(std::string text);
  void Damage(std::string text, std::optional<uint64_t> page = {});
};

// One line of JSON, and back. The error: that is no report.
std::string ToJson(const Report& report);
Result<Report> ReportFromJson(std::string_view json);

}  // namespace penstock::store
