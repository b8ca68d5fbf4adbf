#include "store/repair.h"

#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "store/catalog.h"
#include "store/check.h"
#include "store/lmdb.h"
#include "store/seal.h"

namespace penstock::store {
namespace {

constexpr uint64_t kBatchBytes = 8 << 20;
constexpr size_t kBatchValues = 1024;
constexpr uint64_t kReadAhead = 1 << 20;
// A value whose page does not confirm its size is believed up to this.
constexpr uint64_t kMaxUnconfirmed = 64 << 20;

// Writes to the new store, in transactions of bounded size.
class Writer {
 public:
  Result<void> Open(const std::string& directory, uint64_t map_bytes) {
    return environment_.Open(directory, map_bytes, 4);
  }
  Result<void> Put(std::string_view key, std::string_view value) {
    if (auto begun = Begin(); !begun) return begun;
    if (auto put = transaction_->Put(key, value); !put) return put;
    return Count(value.size());
  }
  Result<void> Delete(std::string_view key) {
    if (auto begun = Begin(); !begun) return begun;
    if (auto deleted = transaction_->Delete(key); !deleted) return tl::unexpected(deleted.error());
    return Count(0);
  }
  // Good until the next change.
  Result<std::optional<std::string_view>> Get(std::string_view key) {
    if (auto begun = Begin(); !begun) return tl::unexpected(begun.error());
    return transaction_->Get(key);
  }
  Result<void> Commit() {
    if (!transaction_) return {};
    auto done = transaction_->Commit();
    transaction_.reset();
    bytes_ = values_ = 0;
    return done;
  }
  // The pairs from `from` on, until their values are a batch.
  Result<std::vector<std::pair<std::string, std::string>>> ReadBatch(std::string_view from) {
    if (auto done = Commit(); !done) return tl::unexpected(done.error());
    std::vector<std::pair<std::string, std::string>> out;
    Transaction transaction;
    if (auto begun = transaction.Begin(environment_, Transaction::Mode::kRead); !begun)
      return tl::unexpected(begun.error());
    uint64_t bytes = 0;
    std::string next = from.empty() ? std::string(1, '\0') : std::string(from);
    while (out.size() < kBatchValues && bytes < kBatchBytes) {
      const auto pair = transaction.Seek(next);
      if (!pair) return tl::unexpected(pair.error());
      if (!*pair) break;
      out.emplace_back((**pair).key, (**pair).value);
      bytes += out.back().second.size();
      next = out.back().first + '\0';
    }
    return out;
  }
  Result<uint64_t> NextCommit() {
    if (auto begun = Begin(); !begun) return tl::unexpected(begun.error());
    return transaction_->number();
  }
  uint64_t last_commit() const { return environment_.last_commit(); }
  void Close() {
    transaction_.reset();
    environment_.Close();
  }

 private:
  Result<void> Begin() {
    if (transaction_) return {};
    transaction_.emplace();
    auto begun = transaction_->Begin(environment_, Transaction::Mode::kWrite);
    if (!begun) transaction_.reset();
    return begun;
  }
  Result<void> Count(uint64_t bytes) {
    bytes_ += bytes;
    if (++values_ < kBatchValues && bytes_ < kBatchBytes) return {};
    return Commit();
  }

  Environment environment_;
  std::optional<Transaction> transaction_;
  uint64_t bytes_ = 0;
  size_t values_ = 0;
};

// Keys of which the tree cannot tell.
class BlindSpots {
 public:
  void Add(KeyRange keys) { ranges_.push_back(std::move(keys)); }
  void AddAll() { ranges_.push_back({}); }
  void AddOnly(std::string_view key) {
    ranges_.push_back({std::string(key), std::string(key) + '\0'});
  }
  // After the last Add: in order, and each range joined with what it touches.
  void Join() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const KeyRange& a, const KeyRange& b) { return a.from < b.from; });
    std::vector<KeyRange> joined;
    for (KeyRange& range : ranges_) {
      if (joined.empty() || (joined.back().to && *joined.back().to < range.from))
        joined.push_back(std::move(range));
      else if (joined.back().to && (!range.to || *range.to > *joined.back().to))
        joined.back().to = std::move(range.to);
    }
    ranges_ = std::move(joined);
  }
  const std::vector<KeyRange>& ranges() const { return ranges_; }
  bool Has(std::string_view key) const { return Touches(key, std::string(key) + '\0'); }
  // Any of the keys from `from` up to and without `to`.
  bool Touches(std::string_view from, std::string_view to) const {
    auto at = std::partition_point(ranges_.begin(), ranges_.end(),
                                   [&](const KeyRange& r) { return r.to && *r.to <= from; });
    return at != ranges_.end() && at->from < to;
  }

 private:
  std::vector<KeyRange> ranges_;
};

// One of the two states that the meta pages lead to, looked at without its events.
struct State : TreeVisitor {
  const MetaPage* meta = nullptr;
  uint64_t newest = 0;  // commit that its values and its free list know of
  size_t faults = 0;
  bool unreadable = false;
  bool absence_counts =
      false;  // what it does not reach, and does not call unreadable, is not there

  void OnFault(uint64_t, const std::string&) override { ++faults; }
  void OnUnreadable(uint64_t, const KeyRange&) override { unreadable = true; }
  void OnEntry(const Entry& entry) override {
    if (entry.overflow) return;
    const auto envelope = Open(entry.value);
    if (envelope) newest = std::max(newest, envelope->commit);
  }
};

class Repairer : public TreeVisitor {
 public:
  Repairer(const PageFile& file, const std::string& directory, const std::string& out,
           const PageFile::Progress& progress)
      : file_(file), directory_(directory), out_directory_(out), progress_(progress) {}
  Result<Report> Run();

  void OnFault(uint64_t, const std::string&) override {}
  void OnUnreadable(uint64_t, const KeyRange& keys) override { blind_.Add(keys); }
  void OnEntry(const Entry& entry) override;

 private:
  struct Place {  // of a chunk, in the new store
    ChunkHead head;
    uint64_t commit = 0;
    bool recovered = false;
  };
  struct Queue {
    std::optional<QueueRecord> record;
    std::map<std::string, CursorRecord> cursors;
    std::vector<Place> chunks;
    uint64_t newest_id_commit = 0, newest_id = 0;  // of the latest chunk or letter
    std::map<std::string, uint64_t> letters;       // by sink
    std::map<std::string, LetterCounts> letter_counts;
  };

  State LookAt(const MetaPage& meta);
  uint64_t Bound(const MetaPage& meta) const;
  void ChooseState();
  void CopyTree();
  void Keep(Result<void> done) {
    if (!done && result_) result_ = std::move(done);
  }

  void ScanFile();
  uint64_t ScanOverflow(uint64_t at, std::string_view block);
  void ScanLeaf(std::string_view page);
  void Found(const Value& value, std::string_view bytes);

  void Settle();
  void LoadQueues();
  void NameTheNameless();
  void SettleQueue(uint32_t number, Queue* queue);
  void DropChunks(Queue* queue, const std::function<bool(const Place&)>& unwanted);
  void DropOverlaps(Queue* queue);
  void SettleCursors(uint32_t number, Queue* queue);
  void SettleEnd(Queue* queue);
  void SettleLetters(uint32_t number, Queue* queue);
  void SettleFormat();
  void Restamp();
  void SealIt();
  void Change(const std::string& text) { repaired_.changes.push_back(text); }

  const PageFile& file_;
  const std::string directory_, out_directory_;
  const PageFile::Progress progress_;
  Writer writer_;
  Result<void> result_;  // of writing
  Metas metas_;
  std::optional<SealRecord> seal_;
  uint64_t page_bytes_ = 4096;
  const MetaPage* base_ = nullptr;
  uint64_t base_commit_ = 0;            // of the state that the tree shows
  uint64_t top_commit_ = ~uint64_t{0};  // later ones were never finished
  bool absence_counts_ = false;
  BlindSpots blind_;
  std::vector<std::string> damaged_cursors_;  // keys
  std::set<std::string> recovered_;           // keys of what was found beside the tree
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> seen_end_;  // by queue and its id
  std::map<uint32_t, Queue> queues_;
  std::optional<FormatRecord> format_;
  Repaired repaired_;
  std::vector<Finding> lost_;
};

// ---- the state to start from

uint64_t Repairer::Bound(const MetaPage& meta) const {
  uint64_t last = meta.last_page;
  for (const MetaPage& other : metas_.page)
    if (other.usable) last = std::max(last, other.last_page);
  const uint64_t in_file = file_.size() / meta.page_bytes;
  return std::max(kMetaPages, last < in_file ? last + 1 : in_file);
}

State Repairer::LookAt(const MetaPage& meta) {
  State out;
  out.meta = &meta;
  PageSet used(Bound(meta));
  FreeList free(Bound(meta));
  ReadFreeList(file_, meta, &used, &free, [&](uint64_t, const std::string&) { ++out.faults; });
  out.newest = free.newest_transaction;
  TreeWalker::Options options;
  options.free = &free.pages;
  options.distrust_free = true;
  TreeWalker walker(file_, meta, options, &used, &out);
  walker.Walk(meta.main);
  const bool all_there = !out.unreadable && walker.seen().entries == meta.main.entries;
  out.absence_counts = all_there || (out.unreadable && walker.seen().depth == meta.main.depth);
  return out;
}

void Repairer::ChooseState() {
  std::optional<State> best;
  for (const MetaPage& meta : metas_.page) {
    if (!meta.usable) continue;
    State state = LookAt(meta);
    if (best && best->newest > state.newest) continue;
    if (best && best->newest == state.newest && best->faults <= state.faults) continue;
    best = std::move(state);
  }
  if (!best) return;
  const bool in_turn = metas_.page[0].usable && metas_.page[1].usable && metas_.faults.empty();
  base_ = best->meta;
  base_commit_ = in_turn ? base_->transaction : best->newest;
  absence_counts_ = best->absence_counts;
  top_commit_ = std::max(base_commit_, seal_ ? seal_->commit : 0);
  if (in_turn) top_commit_ = std::max(top_commit_, metas_.newest().transaction);
}

void Repairer::CopyTree() {
  if (base_ == nullptr || !absence_counts_) blind_.AddAll();
  if (base_ == nullptr) return;
  PageSet used(Bound(*base_));
  FreeList free(Bound(*base_));
  ReadFreeList(file_, *base_, &used, &free, [](uint64_t, const std::string&) {});
  TreeWalker::Options options;
  options.read_overflow = true;
  options.free = &free.pages;
  options.distrust_free = true;
  TreeWalker walker(file_, *base_, options, &used, this);
  walker.Walk(base_->main);
}

void Repairer::OnEntry(const Entry& entry) {
  if (!result_) return;
  const auto value = DecodeValue(entry.value);
  const bool whole = value && value->envelope.commit <= top_commit_;
  if (!whole || (value->key != entry.key && entry.overflow)) blind_.AddOnly(entry.key);
  if (!whole && entry.key[0] == static_cast<char>(Kind::kCursor))
    damaged_cursors_.emplace_back(entry.key);
  if (!whole) return;
  // Under a damaged key stands a value that says its own.
  const auto known = writer_.Get(value->key);
  if (!known) return Keep(tl::unexpected(known.error()));
  if (*known && value->key != entry.key) return;
  ++repaired_.from_tree;
  Keep(writer_.Put(value->key, entry.value.substr(0, value->bytes())));
}

// ---- what lies about

void Repairer::ScanFile() {
  std::vector<char> block(std::max(kReadAhead, page_bytes_));
  for (uint64_t at = 0; at < file_.size() && result_;) {
    const size_t n = std::min<uint64_t>(block.size(), file_.size() - at);
    if (!file_.Read(at, n, block.data())) {  // a bad sector: page by page
      if (block.size() == page_bytes_) at += page_bytes_;
      block.resize(page_bytes_);
      continue;
    }
    uint64_t done = 0;
    while (done < n && result_) {
      const std::string_view rest(block.data() + done, n - done);
      const uint64_t value_pages = ScanOverflow(at + done, rest);
      if (value_pages == 0) ScanLeaf(rest.substr(0, page_bytes_));
      done += std::max<uint64_t>(value_pages, 1) * page_bytes_;
    }
    at += done;
    block.resize(std::max(kReadAhead, page_bytes_));
  }
}

// A value on pages of its own: how many. 0: there is none.
uint64_t Repairer::ScanOverflow(uint64_t at, std::string_view block) {
  if (block.size() < kPageHeadBytes + kEnvelopeBytes) return 0;
  std::string_view bytes = block.substr(kPageHeadBytes);
  if (!bytes.starts_with(kMagic)) return 0;
  uint32_t body = 0, run = 0;
  std::memcpy(&body, bytes.data() + 8, sizeof body);
  std::memcpy(&run, block.data() + 12, sizeof run);
  const uint64_t size = kEnvelopeBytes + uint64_t{body};
  const uint64_t pages = (kPageHeadBytes + size + page_bytes_ - 1) / page_bytes_;
  const uint64_t in_file = file_.size() - at - kPageHeadBytes;
  if (size > in_file || (size > kMaxUnconfirmed && run < pages)) return 0;
  std::vector<char> own;
  if (size > bytes.size()) {
    own.resize(size);
    if (!file_.Read(at + kPageHeadBytes, size, own.data())) return 0;
    bytes = {own.data(), own.size()};
  }
  const auto value = DecodeValue(bytes);
  if (!value) return 0;
  Found(*value, bytes.substr(0, value->bytes()));
  return pages;
}

// Values in nodes. Bytes that an event brought can look like a value, so one counts only where its
// key, or at least its node's head, stands before it.
void Repairer::ScanLeaf(std::string_view page) {
  for (size_t at = page.find(kMagic); at != std::string_view::npos;) {
    size_t next = at + kMagic.size();
    const auto value = DecodeValue(page.substr(at));
    if (value && at >= kPageHeadBytes + kNodeHeadBytes + value->key.size()) {
      const size_t key_bytes = value->key.size();
      const char* const head = page.data() + at - key_bytes - kNodeHeadBytes;
      uint32_t value_bytes = 0;
      uint16_t head_key_bytes = 0;
      std::memcpy(&value_bytes, head, sizeof value_bytes);
      std::memcpy(&head_key_bytes, head + 6, sizeof head_key_bytes);
      const bool same_key = page.substr(at - key_bytes, key_bytes) == value->key;
      const bool same_sizes = value_bytes == value->bytes() && head_key_bytes == key_bytes;
      if (same_key || same_sizes) {
        Found(*value, page.substr(at, value->bytes()));
        next = at + value->bytes();
      }
    }
    at = page.find(kMagic, next);
  }
}

void Repairer::Found(const Value& value, std::string_view bytes) {
  const uint64_t commit = value.envelope.commit;
  if (commit == 0 || commit > top_commit_) return;  // never finished
  if (const auto* head = std::get_if<ChunkHead>(&value.record)) {
    uint64_t& end = seen_end_[{head->queue, head->queue_id}];
    end = std::max(end, head->first + head->count);
  }
  const bool later = base_ != nullptr && commit > base_commit_;
  if (!later && !blind_.Has(value.key)) return;  // superseded or deleted
  const auto known = writer_.Get(value.key);
  if (!known) return Keep(tl::unexpected(known.error()));
  if (*known) {
    const auto envelope = Open(**known);
    if (envelope && envelope->commit >= commit) return;
  }
  recovered_.insert(value.key);
  Keep(writer_.Put(value.key, bytes));
}

// ---- making it fit together

void Repairer::LoadQueues() {
  std::string from;
  for (;;) {
    const auto batch = writer_.ReadBatch(from);
    if (!batch) return Keep(tl::unexpected(batch.error()));
    if (batch->empty()) return;
    if (progress_) progress_(0);
    for (const auto& [key, bytes] : *batch) {
      const auto value = DecodeValue(bytes);
      if (!value) continue;
      const uint64_t commit = value->envelope.commit;
      if (const auto* format = std::get_if<FormatRecord>(&value->record)) format_ = *format;
      if (const auto* record = std::get_if<QueueRecord>(&value->record))
        queues_[record->queue].record = *record;
      if (const auto* cursor = std::get_if<CursorRecord>(&value->record))
        queues_[cursor->queue].cursors[cursor->sink] = *cursor;
      if (const auto* head = std::get_if<ChunkHead>(&value->record)) {
        Queue& queue = queues_[head->queue];
        queue.chunks.push_back({*head, commit, recovered_.count(key) > 0});
        if (commit >= queue.newest_id_commit)
          queue.newest_id_commit = commit, queue.newest_id = head->queue_id;
      }
      if (const auto* letter = std::get_if<LetterRecord>(&value->record)) {
        Queue& queue = queues_[letter->queue];
        ++queue.letters[letter->sink];
        if (commit > queue.newest_id_commit)
          queue.newest_id_commit = commit, queue.newest_id = letter->queue_id;
      }
      if (const auto* counts = std::get_if<LetterCounts>(&value->record))
        queues_[counts->queue].letter_counts[counts->sink] = *counts;
    }
    from = batch->back().first + '\0';
  }
}

void Repairer::NameTheNameless() {
  std::set<std::string> names;
  for (const auto& [number, queue] : queues_)
    if (queue.record) names.insert(queue.record->name);
  for (auto at = queues_.begin(); at != queues_.end();) {
    auto& [number, queue] = *at;
    if (queue.record) {
      ++at;
      continue;
    }
    if (queue.chunks.empty() && queue.letters.empty()) {
      for (const auto& [sink, cursor] : queue.cursors)
        Keep(writer_.Delete(CursorKey(number, sink)));
      Change("queue #" + std::to_string(number) + ": its record is lost and it has no events");
      at = queues_.erase(at);
      continue;
    }
    QueueRecord record;
    record.queue = number;
    record.id = queue.newest_id;
    record.name = "recovered-" + std::to_string(number);
    while (!names.insert(record.name).second) record.name += '-';
    record.disk = !queue.chunks.empty();
    Change("queue #" + std::to_string(number) +
           ": its record is lost and with it its name; it is " + record.name + " from now on");
    queue.record = record;
    ++at;
  }
}

void Repairer::DropChunks(Queue* queue, const std::function<bool(const Place&)>& unwanted) {
  for (const Place& chunk : queue->chunks) {
    if (!unwanted(chunk)) continue;
    ++repaired_.ignored;
    recovered_.erase(ChunkKey(chunk.head.queue, chunk.head.first));
    Keep(writer_.Delete(ChunkKey(chunk.head.queue, chunk.head.first)));
  }
  std::erase_if(queue->chunks, unwanted);
}

// Of two chunks with the same events the one that the tree reached stays, else the later one.
void Repairer::DropOverlaps(Queue* queue) {
  std::set<uint64_t> worse;  // by first offset
  const Place* last = nullptr;
  for (const Place& chunk : queue->chunks) {
    if (last != nullptr && chunk.head.first < last->head.first + last->head.count) {
      const bool better = last->recovered && (!chunk.recovered || chunk.commit > last->commit);
      worse.insert(better ? last->head.first : chunk.head.first);
      if (!better) continue;
    }
    last = &chunk;
  }
  DropChunks(queue, [&](const Place& chunk) { return worse.count(chunk.head.first) > 0; });
}

// Everything below the offset has settled.
void SetCommitted(CursorRecord* cursor, uint64_t offset) {
  cursor->committed = offset;
  std::erase_if(cursor->settled, [cursor](const event::OffsetRange& range) {
    if (range.first > cursor->committed) return false;
    cursor->committed = std::max(cursor->committed, range.end);
    return true;
  });
}

void Repairer::SettleCursors(uint32_t number, Queue* queue) {
  const std::string& name = queue->record->name;
  const auto end_of = [](const Place& c) { return c.head.first + c.head.count; };
  uint64_t end = queue->record->end;
  if (!queue->chunks.empty()) end = std::max(end, end_of(queue->chunks.back()));
  const uint64_t oldest = queue->chunks.empty() ? end : queue->chunks.front().head.first;
  for (const std::string& key : damaged_cursors_) {
    const std::string prefix = KeyPrefix(Kind::kCursor, number);
    const std::string sink = key.starts_with(prefix) ? key.substr(prefix.size()) : "";
    if (sink.empty() || queue->cursors.count(sink) > 0) continue;
    const uint64_t from = std::max(oldest, queue->record->begin);
    queue->cursors[sink] = {number, sink, from, from, queue->record->dropped_newest, {}};
    Change("queue " + name + ": the cursor and the ledger of sink \"" + sink +
           "\" are lost; it begins again at offset " + std::to_string(from));
  }
  for (auto& [sink, cursor] : queue->cursors) {
    if (recovered_.count(CursorKey(number, sink)) == 0) continue;
    std::string text = "queue " + name + ": the cursor of sink \"" + sink +
                       "\" is an older one, at offset " + std::to_string(cursor.committed);
    // Chunks go when every cursor has passed them; if it is certain that there were none below the
    // oldest, this cursor was there already.
    if (cursor.committed < oldest &&
        !blind_.Touches(ChunkKey(number, 0), ChunkKey(number, oldest))) {
      cursor.start += cursor.Unsettled(cursor.committed, oldest);
      text += "; the events up to " + std::to_string(oldest) +
              " had settled, and are missing in its ledger";
      SetCommitted(&cursor, oldest);
    }
    Change(text);
  }
}

void Repairer::SettleEnd(Queue* queue) {
  QueueRecord& record = *queue->record;
  for (const Place& chunk : queue->chunks) {
    record.end = std::max(record.end, chunk.head.first + chunk.head.count);
    record.bytes_before = std::max(record.bytes_before, chunk.head.bytes_before + chunk.head.bytes);
  }
  for (const auto& [sink, cursor] : queue->cursors) record.end = std::max(record.end, cursor.end());
  const auto seen = seen_end_.find({record.queue, record.id});
  if (seen != seen_end_.end()) record.end = std::max(record.end, seen->second);
}

// The letters that are there are right; their counts follow.
void Repairer::SettleLetters(uint32_t number, Queue* queue) {
  for (const auto& [sink, n] : queue->letters)
    queue->letter_counts.emplace(sink, LetterCounts{number, sink, 0, 0, 0});
  for (auto& [sink, counts] : queue->letter_counts) {
    const auto there = queue->letters.find(sink);
    const uint64_t found = there == queue->letters.end() ? 0 : there->second;
    if (counts.kept() == found) continue;
    Change("queue " + queue->record->name + ": of sink \"" + sink + "\" " +
           std::to_string(counts.kept()) + " dead letters were kept, and " + std::to_string(found) +
           " are there");
    counts.buried = counts.replayed + counts.dropped + found;
    Keep(writer_.Put(LetterCountsKey(number, sink), Encode(counts, 1)));
  }
}

void Repairer::SettleQueue(uint32_t number, Queue* queue) {
  const uint64_t id = queue->record->id;
  DropChunks(queue, [id](const Place& chunk) { return chunk.head.queue_id != id; });
  DropOverlaps(queue);
  // Then nothing tells for certain where the queue ended.
  if (recovered_.count(QueueKey(number)) > 0) {
    Change("queue " + queue->record->name + ": its record is an older one; offsets from " +
           std::to_string(queue->record->end) + " on may have been given to events before");
  }
  SettleCursors(number, queue);
  SettleEnd(queue);
  SettleLetters(number, queue);
  uint64_t needed = queue->cursors.empty() ? queue->record->begin : queue->record->end;
  for (const auto& [sink, cursor] : queue->cursors) needed = std::min(needed, cursor.committed);
  needed = std::max(needed, queue->record->begin);
  DropChunks(queue, [needed](const Place& chunk) {
    return chunk.recovered && chunk.head.first + chunk.head.count <= needed;
  });
  Keep(writer_.Put(QueueKey(number), Encode(*queue->record, 1)));
  for (const auto& [sink, cursor] : queue->cursors)
    Keep(writer_.Put(CursorKey(number, sink), Encode(cursor, 1)));
}

void Repairer::Settle() {
  LoadQueues();
  NameTheNameless();
  for (auto& [number, queue] : queues_) SettleQueue(number, &queue);
  SettleFormat();
  queues_.clear();
}

void Repairer::SettleFormat() {
  if (format_) return;
  format_.emplace();
  if (seal_) {
    format_->store_id = seal_->store_id;
  } else if (getrandom(format_->store_id.data(), sizeof format_->store_id, 0) !=
             sizeof format_->store_id) {
    std::abort();
  }
  Change("the store's format record was lost and is made anew");
  Keep(writer_.Put(FormatKey(), Encode(*format_, 1)));
}

// Gives every value the number of a commit of the new store, and closes the gaps that remain.
void Repairer::Restamp() {
  Catalog catalog;
  std::string from;
  while (result_) {
    auto batch = writer_.ReadBatch(from);
    if (!batch) return Keep(tl::unexpected(batch.error()));
    if (batch->empty()) break;
    if (progress_) progress_(0);
    from = batch->back().first + '\0';
    for (auto& [key, bytes] : *batch) {
      const auto value = DecodeValue(bytes);
      const auto commit = writer_.NextCommit();
      if (!commit) return Keep(tl::unexpected(commit.error()));
      if (!value) continue;
      catalog.Add(*value);
      if (recovered_.count(key) > 0) {
        ++repaired_.from_pages;
        if (value->envelope.kind == Kind::kLetter) ++repaired_.letters_returned;
      }
      Seal(bytes.data(), value->envelope.kind, *commit, value->envelope.body.size());
      Keep(writer_.Put(key, bytes));
    }
  }
  for (const auto& [number, queue] : catalog.queues()) {
    if (!queue.record) continue;
    Finding finding{Finding::Severity::kNote, {}, {}, {}};
    for (const auto& [first, end] : queue.Missing(true)) {
      const auto commit = writer_.NextCommit();
      if (!commit) return Keep(tl::unexpected(commit.error()));
      Keep(writer_.Put(HoleKey(number, first),
                       Encode(HoleRecord{number, queue.record->id, first, end}, *commit)));
      finding.lost.push_back({number, queue.record->name, first, end});
      finding.text += " [" + std::to_string(first) + ", " + std::to_string(end) + ')';
    }
    if (finding.lost.empty()) continue;
    finding.text = "queue " + queue.record->name + ": lost, by offsets:" + finding.text;
    repaired_.holes.insert(repaired_.holes.end(), finding.lost.begin(), finding.lost.end());
    lost_.push_back(std::move(finding));
  }
}

void Repairer::SealIt() {
  Keep(writer_.Commit());
  if (!result_) return;
  SealFile seal;
  Keep(seal.Open(out_directory_));
  if (result_) Keep(seal.Write({format_->store_id, writer_.last_commit(), true}, true));
}

Result<Report> Repairer::Run() {
  if (auto seal = ReadSeal(directory_)) seal_ = *seal;
  metas_ = ReadMetas(file_);
  ChooseState();
  if (base_ != nullptr) page_bytes_ = base_->page_bytes;
  if (auto opened = writer_.Open(out_directory_, 3 * file_.size() + (256 << 20)); !opened)
    return tl::unexpected(opened.error());
  CopyTree();
  blind_.Join();
  for (const KeyRange& keys : blind_.ranges())
    if (repaired_.beyond_tree.size() < kMaxFindings)
      repaired_.beyond_tree.push_back(Describe(keys));
  if (result_) ScanFile();
  if (result_) Settle();
  if (result_) Restamp();
  if (result_) SealIt();
  writer_.Close();
  if (!result_)
    return tl::unexpected(std::move(result_.error()).Prefixed("making the repaired store"));
  auto report = Verify(out_directory_, Depth::kFull, progress_);
  if (!report) return report;
  if (repaired_.from_tree + repaired_.from_pages == 0)
    report->Note("no value of a store was found in " + directory_);
  for (Finding& finding : lost_) report->findings.push_back(std::move(finding));
  report->repaired = std::move(repaired_);
  return report;
}

}  // namespace

Result<Report> Repair(const std::string& directory, const std::string& out_directory,
                      const PageFile::Progress& progress) {
  auto file = PageFile::Open(directory + "/data.mdb", progress);
  if (!file) return tl::unexpected(std::move(file.error()).Prefixed("there is nothing to repair"));
  if (file->size() == 0) return Fail(Code::kFatal, "there is nothing to repair: data.mdb is empty");
  if (mkdir(out_directory.c_str(), 0750) != 0 && errno != EEXIST)
    return Fail(Code::kFatal, "cannot make " + out_directory + ": " + std::strerror(errno));
  if (access((out_directory + "/data.mdb").c_str(), F_OK) == 0)
    return Fail(Code::kFatal, out_directory + " holds a store already; name another directory");
  return Repairer(*file, directory, out_directory, progress).Run();
}

}  // namespace penstock::store
