// What a store's values say together: which events each queue has, and which of them are missing.
// Checking and repairing share it. Used by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "store/format.h"
#include "store/pages.h"
#include "store/report.h"

namespace penstock::store {

// The offsets [first, end) of the queue of that id are known to be lost: a repair could not save
// them. A reader finds no chunk for them and counts them as dropped.
struct HoleRecord {
  uint32_t queue = 0;
  uint64_t queue_id = 0;
  uint64_t first = 0;
  uint64_t end = 0;
};
std::string HoleKey(uint32_t queue, uint64_t first);
std::string Encode(const HoleRecord& hole, uint64_t commit);
Result<HoleRecord> DecodeHole(std::string_view body);

// A value that is whole, and the key that its body says it has.
struct Value {
  Envelope envelope;
  std::string key;
  std::variant<FormatRecord, QueueRecord, CursorRecord, ChunkHead, LetterRecord, LetterCounts,
               HoleRecord>
      record;
  size_t bytes() const { return kEnvelopeBytes + envelope.body.size(); }
};
// Of the value at the front of bytes, which may be longer.
Result<Value> DecodeValue(std::string_view bytes);

// "the cursor of sink bus in queue #3": what a key stands for.
std::string Describe(std::string_view key);
// The same of a stretch of keys.
std::string Describe(const KeyRange& keys);

class Catalog {
 public:
  // Neighbouring events in neighbouring chunks.
  struct Run {
    uint64_t first = 0, end = 0, queue_id = 0;
  };
  struct Queue {
    std::optional<QueueRecord> record;
    std::vector<CursorRecord> cursors;
    std::vector<Run> runs;
    std::vector<HoleRecord> holes;
    uint64_t chunks = 0;
    uint64_t events = 0;
    // By sink: how many dead letters there are, and what is said of them.
    std::map<std::string, uint64_t> letters;
    std::map<std::string, LetterCounts> letter_counts;

    uint64_t all_letters() const;

    uint64_t end() const;     // the next offset
    uint64_t needed() const;  // the oldest offset that a sink still needs
    // What every sink has settled above its cursor, in order.
    std::vector<event::OffsetRange> settled() const;
    // The events from needed() to end() that a sink still needs and no chunk of the queue has.
    // Holes count as there, if asked for.
    std::vector<std::pair<uint64_t, uint64_t>> Missing(bool with_holes) const;
  };

  void Add(const Value& value);
  std::string NameOf(uint32_t queue) const;  // or "#3"
  const std::optional<FormatRecord>& format() const { return format_; }
  const std::map<uint32_t, Queue>& queues() const { return queues_; }

  // Adds what is wrong with the values taken together, and a summary of each queue.
  void Judge(Report* report) const;

 private:
  void AddChunk(const ChunkHead& head);
  void JudgeQueue(uint32_t number, const Queue& queue, Report* report) const;
  static void JudgeLetters(const std::string& in, const Queue& queue, Report* report);

  std::optional<FormatRecord> format_;
  std::map<uint32_t, Queue> queues_;
};

}  // namespace penstock::store
