#include "store/catalog.h"

#include <algorithm>
#include <cstring>

namespace penstock::store {
namespace {

uint64_t BigEndian(std::string_view bytes) {
  uint64_t out = 0;
  for (const char c : bytes) out = out << 8 | static_cast<uint8_t>(c);
  return out;
}

// A name from a file that may be damaged, as text.
std::string Printable(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 64)) out.push_back(c >= ' ' && c <= '~' ? c : '?');
  return out;
}

std::string Interval(uint64_t first, uint64_t end) {
  return '[' + std::to_string(first) + ", " + std::to_string(end) + ')';
}

template <typename Record>
Result<Value> Finish(Value value, Result<Record> record, std::string (*key)(const Record&)) {
  if (!record) return tl::unexpected(record.error());
  value.key = key(*record);
  value.record = std::move(*record);
  return value;
}

Result<ChunkHead> DecodeHead(std::string_view body) {
  auto head = DecodeChunkHead(body);
  if (head &&
      (head->count > head->bytes / kRecordHeadBytes || head->first > ~uint64_t{0} - head->count))
    return Fail(Code::kFatal, "malformed chunk");
  return head;
}

}  // namespace

// ---- holes

std::string HoleKey(uint32_t queue, uint64_t first) {
  std::string key = ChunkKey(queue, first);
  key[0] = static_cast<char>(Kind::kHole);
  return key;
}

std::string Encode(const HoleRecord& hole, uint64_t commit) {
  std::string body;
  const auto put = [&body](const auto& number) {
    body.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  put(hole.queue);
  put(hole.queue_id);
  put(hole.first);
  put(hole.end);
  return Sealed(Kind::kHole, commit, body);
}

Result<HoleRecord> DecodeHole(std::string_view body) {
  HoleRecord out;
  const auto take = [&body](auto* number) {
    std::memcpy(number, body.data(), sizeof *number);
    body.remove_prefix(sizeof *number);
  };
  if (body.size() == 28) {
    take(&out.queue);
    take(&out.queue_id);
    take(&out.first);
    take(&out.end);
  }
  if (out.first >= out.end) return Fail(Code::kFatal, "malformed hole");
  return out;
}

// ---- values

Result<Value> DecodeValue(std::string_view bytes) {
  auto envelope = Open(bytes);
  if (!envelope) return tl::unexpected(envelope.error());
  const std::string_view body = envelope->body;
  Value out{*envelope, {}, {}};
  switch (envelope->kind) {
    case Kind::kFormat:
      return Finish<FormatRecord>(std::move(out), DecodeFormat(body),
                                  [](const FormatRecord&) { return FormatKey(); });
    case Kind::kQueue:
      return Finish<QueueRecord>(std::move(out), DecodeQueue(body),
                                 [](const QueueRecord& r) { return QueueKey(r.queue); });
    case Kind::kCursor:
      return Finish<CursorRecord>(std::move(out), DecodeCursor(body),
                                  [](const CursorRecord& r) { return CursorKey(r.queue, r.sink); });
    case Kind::kChunk:
      return Finish<ChunkHead>(std::move(out), DecodeHead(body),
                               [](const ChunkHead& h) { return ChunkKey(h.queue, h.first); });
    case Kind::kLetter:
      return Finish<LetterRecord>(std::move(out), DecodeLetter(body), [](const LetterRecord& r) {
        return LetterKey(r.queue, r.queue_id, r.offset, r.sink);
      });
    case Kind::kLetterCounts:
      return Finish<LetterCounts>(
          std::move(out), DecodeLetterCounts(body),
          [](const LetterCounts& r) { return LetterCountsKey(r.queue, r.sink); });
    case Kind::kHole:
      return Finish<HoleRecord>(std::move(out), DecodeHole(body),
                                [](const HoleRecord& r) { return HoleKey(r.queue, r.first); });
  }
  return Fail(Code::kFatal, "a value of an unknown kind");
}

std::string Describe(std::string_view key) {
  const char kind = key.empty() ? '\0' : key[0];
  if (kind == static_cast<char>(Kind::kFormat)) return "the store's format record";
  if (key.size() < 5) return "key \"" + Printable(key) + '"';
  const std::string queue = "queue #" + std::to_string(BigEndian(key.substr(1, 4)));
  const std::string_view rest = key.substr(5);
  switch (static_cast<Kind>(kind)) {
    case Kind::kQueue:
      return "the record of " + queue;
    case Kind::kCursor:
      return "the cursor of sink \"" + Printable(rest) + "\" in " + queue;
    case Kind::kChunk:
    case Kind::kHole:
      if (rest.size() < 8) break;
      return "the events of " + queue + " from offset " +
             std::to_string(BigEndian(rest.substr(0, 8)));
    case Kind::kLetter:
      if (rest.size() < 16) break;
      return "the dead letter of sink \"" + Printable(rest.substr(16)) + "\" in " + queue +
             ", offset " + std::to_string(BigEndian(rest.substr(8, 8)));
    case Kind::kLetterCounts:
      return "the counts of dead letters of sink \"" + Printable(rest) + "\" in " + queue;
    case Kind::kFormat:
      break;
  }
  return "a damaged key";
}

std::string Describe(const KeyRange& keys) {
  if (keys.from.empty() && !keys.to) return "everything";
  if (keys.to && keys.to->size() == keys.from.size() + 1 && keys.to->starts_with(keys.from))
    return Describe(keys.from);
  return "what lies between " + (keys.from.empty() ? "the beginning" : Describe(keys.from)) +
         " and " + (keys.to ? Describe(*keys.to) : "the end");
}

// ---- queues

uint64_t Catalog::Queue::all_letters() const {
  uint64_t out = 0;
  for (const auto& [sink, n] : letters) out += n;
  return out;
}

uint64_t Catalog::Queue::end() const {
  uint64_t out = record ? record->end : 0;
  for (const Run& run : runs) out = std::max(out, run.end);
  return out;
}

uint64_t Catalog::Queue::needed() const {
  uint64_t from = end();
  if (cursors.empty() && !runs.empty()) from = runs.front().first;
  for (const CursorRecord& cursor : cursors) from = std::min(from, cursor.committed);
  return std::max(from, record ? record->begin : 0);
}

std::vector<event::OffsetRange> Catalog::Queue::settled() const {
  std::vector<event::OffsetRange> out;
  for (size_t i = 0; i < cursors.size(); ++i) {
    std::vector<event::OffsetRange> both, own = cursors[i].settled;
    own.insert(own.begin(), {0, cursors[i].committed});
    if (i == 0) both = own;
    for (size_t a = 0, b = 0; i > 0 && a < out.size() && b < own.size();) {
      const event::OffsetRange common{std::max(out[a].first, own[b].first),
                                      std::min(out[a].end, own[b].end)};
      if (common.first < common.end) both.push_back(common);
      ++(out[a].end < own[b].end ? a : b);
    }
    out = std::move(both);
  }
  return out;
}

std::vector<std::pair<uint64_t, uint64_t>> Catalog::Queue::Missing(bool with_holes) const {
  std::vector<std::pair<uint64_t, uint64_t>> there;
  for (const Run& run : runs)
    if (!record || run.queue_id == record->id) there.emplace_back(run.first, run.end);
  for (const HoleRecord& hole : holes)
    if (with_holes && record && hole.queue_id == record->id)
      there.emplace_back(hole.first, hole.end);
  for (const event::OffsetRange& range : settled()) there.emplace_back(range.first, range.end);
  std::sort(there.begin(), there.end());
  std::vector<std::pair<uint64_t, uint64_t>> out;
  if (runs.empty() && record && !record->disk) return out;
  uint64_t next = needed();
  for (const auto& [first, end] : there) {
    if (first > next) out.emplace_back(next, first);
    next = std::max(next, end);
  }
  if (next < end()) out.emplace_back(next, end());
  return out;
}

void Catalog::Add(const Value& value) {
  if (const auto* format = std::get_if<FormatRecord>(&value.record)) format_ = *format;
  if (const auto* record = std::get_if<QueueRecord>(&value.record))
    queues_[record->queue].record = *record;
  if (const auto* cursor = std::get_if<CursorRecord>(&value.record))
    queues_[cursor->queue].cursors.push_back(*cursor);
  if (const auto* head = std::get_if<ChunkHead>(&value.record)) AddChunk(*head);
  if (const auto* letter = std::get_if<LetterRecord>(&value.record))
    ++queues_[letter->queue].letters[letter->sink];
  if (const auto* counts = std::get_if<LetterCounts>(&value.record))
    queues_[counts->queue].letter_counts[counts->sink] = *counts;
  if (const auto* hole = std::get_if<HoleRecord>(&value.record))
    queues_[hole->queue].holes.push_back(*hole);
}

void Catalog::AddChunk(const ChunkHead& head) {
  Queue& queue = queues_[head.queue];
  const uint64_t end = head.first + head.count;
  ++queue.chunks;
  queue.events += head.count;
  std::vector<Run>& runs = queue.runs;
  const bool next =
      !runs.empty() && runs.back().end == head.first && runs.back().queue_id == head.queue_id;
  if (next)
    runs.back().end = end;
  else
    runs.push_back({head.first, end, head.queue_id});
}

std::string Catalog::NameOf(uint32_t queue) const {
  const auto at = queues_.find(queue);
  if (at == queues_.end() || !at->second.record) return '#' + std::to_string(queue);
  return at->second.record->name;
}

// ---- the judgement

void Catalog::Judge(Report* report) const {
  if (!format_ && report->commit > 0)
    report->Damage("the store's format record is missing: it is not known what store this is");
  for (const auto& [number, queue] : queues_) {
    // A hole may outlive the queue that it was in.
    if (queue.record || queue.chunks + queue.all_letters() > 0 || !queue.cursors.empty())
      JudgeQueue(number, queue, report);
  }
}

void Catalog::JudgeLetters(const std::string& in, const Queue& queue, Report* report) {
  std::map<std::string, uint64_t> kept;
  for (const auto& [sink, counts] : queue.letter_counts) kept[sink] = counts.kept();
  for (const auto& [sink, n] : queue.letters) kept.emplace(sink, 0);
  for (const auto& [sink, n] : kept) {
    const auto there = queue.letters.find(sink);
    const uint64_t found = there == queue.letters.end() ? 0 : there->second;
    if (found == n) continue;
    report->Damage(in + "of sink \"" + Printable(sink) + "\" " + std::to_string(n) +
                   " dead letters were kept, and " + std::to_string(found) + " are there");
  }
}

void Catalog::JudgeQueue(uint32_t number, const Queue& queue, Report* report) const {
  const std::string name = NameOf(number);
  const std::string in = "queue " + name + ": ";
  QueueSummary summary{
      number, name, queue.needed(), queue.end(), queue.chunks, queue.events, queue.all_letters(),
      {},     {}};
  if (!queue.record) {
    report->Damage(in + "its record is lost, and with it its name; it has " +
                   std::to_string(queue.events) + " events up to offset " +
                   std::to_string(queue.end()));
  }
  for (const CursorRecord& cursor : queue.cursors) {
    summary.cursors.push_back({cursor.sink, cursor.committed});
    if (cursor.committed > queue.end() && queue.record) {
      report->Damage(in + "the cursor of sink \"" + Printable(cursor.sink) + "\" is at offset " +
                     std::to_string(cursor.committed) + ", behind the queue's end at " +
                     std::to_string(queue.end()));
    } else if (cursor.end() > queue.end() && queue.record) {
      const event::OffsetRange& last = cursor.settled.back();
      report->Damage(in + "the cursor of sink \"" + Printable(cursor.sink) +
                     "\" says that the events " + Interval(last.first, last.end) +
                     " have settled, behind the queue's end at " + std::to_string(queue.end()));
    }
  }
  uint64_t before = 0;
  for (const Run& run : queue.runs) {
    if (run.first < before)
      report->Damage(in + "chunks overlap at offset " + std::to_string(run.first));
    before = std::max(before, run.end);
    if (queue.record && run.queue_id != queue.record->id)
      report->Damage(in + "the events " + Interval(run.first, run.end) +
                     " belong to another queue");
  }
  for (const HoleRecord& hole : queue.holes) {
    const uint64_t first = std::max(hole.first, queue.needed());
    if (queue.record && hole.queue_id == queue.record->id && first < hole.end)
      summary.holes.push_back({number, name, first, hole.end});
  }
  JudgeLetters(in, queue, report);
  const auto missing = queue.Missing(true);
  if (!missing.empty()) {
    Finding finding;
    uint64_t events = 0;
    for (const auto& [first, end] : missing) {
      finding.text += (events > 0 ? ", " : "") + Interval(first, end);
      finding.lost.push_back({number, name, first, end});
      events += end - first;
      if (finding.lost.size() == kMaxFindings) {
        finding.text += ", ...";
        break;
      }
    }
    finding.text = in + std::to_string(events) + " events are lost, offsets " + finding.text;
    report->Add(std::move(finding));
  }
  report->queues.push_back(std::move(summary));
}

}  // namespace penstock::store
