#include "queue/disk_queue.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <optional>

#include "queue/charged_block.h"
#include "store/catalog.h"

namespace penstock::queue {
namespace {

using store::ChunkKey;
using store::Kind;
using store::Transaction;

// Stored events stay in memory for readers that keep up, as long as they take no more than this.
constexpr uint64_t kMaxCached = 16 << 20;
// One transaction deletes so many chunks at most, so that its list of pages stays small.
constexpr size_t kMaxDeleted = 1024;

static_assert(kDropReasons + 2 <= store::kMaxCounters);

// Gateways of version 0.1.0 read the reasons up to here and nothing behind them. So that their
// ledgers balance, the last one, which nothing in a store is dropped for, also counts all that
// follow.
constexpr auto kLastOfOld = static_cast<size_t>(DropReason::kForgotten);

std::array<uint64_t, store::kMaxCounters> ToStore(const Counters& counters) {
  std::array<uint64_t, store::kMaxCounters> out{};
  out[0] = counters.delivered;
  out[1] = counters.dead_lettered;
  std::copy(counters.dropped.begin(), counters.dropped.end(), out.begin() + 2);
  for (size_t i = kLastOfOld + 1; i < kDropReasons; ++i) out[2 + kLastOfOld] += counters.dropped[i];
  return out;
}

Result<store::ChunkHead> HeadOf(const store::KeyValue& pair) {
  // Without the checksum of the whole chunk: whoever reads the events checks that.
  if (pair.value.size() < store::kEnvelopeBytes + store::kChunkHeadBytes)
    return Fail(Code::kFatal, "a chunk in the store is cut short");
  return store::DecodeChunkHead(pair.value.substr(store::kEnvelopeBytes));
}

}  // namespace

Counters CountersOf(const store::CursorRecord& cursor) {
  Counters out;
  out.delivered = cursor.counters[0];
  out.dead_lettered = cursor.counters[1];
  std::copy_n(cursor.counters.begin() + 2, kDropReasons, out.dropped.begin());
  for (size_t i = kLastOfOld + 1; i < kDropReasons; ++i)
    out.dropped[kLastOfOld] -= std::min(out.dropped[kLastOfOld], out.dropped[i]);
  return out;
}

// ---- opening

DiskQueue::DiskQueue(store::Store* store, store::QueueRecord record, const Limits& limits,
                     MemoryBudget* budget, uint64_t reserve, const Clock* clock, OnSafe on_stored,
                     std::shared_ptr<StoredLetters> letters)
    : store_(store),
      record_(std::move(record)),
      limits_(limits),
      budget_(budget),
      clock_(clock),
      on_stored_(std::move(on_stored)),
      letters_(std::move(letters)),
      share_(budget->MakeShare(reserve, room_)) {}

DiskQueue::~DiskQueue() { store_->Remove(this); }

Result<std::shared_ptr<DiskQueue>> DiskQueue::Open(store::Store* store, const std::string& name,
                                                   const Limits& limits, MemoryBudget* budget,
                                                   uint64_t reserve, const Clock* clock,
                                                   OnSafe on_stored,
                                                   std::shared_ptr<StoredLetters> letters) {
  auto record = store->FindOrMakeQueue(name);
  if (!record) return tl::unexpected(std::move(record.error()).Prefixed("queue " + name));
  if (!record->disk) {
    record->disk = true;
    auto noted = store->Apply([&record](Transaction& transaction) {
      return transaction.Put(store::QueueKey(record->queue),
                             store::Encode(*record, transaction.number()));
    });
    if (!noted) return tl::unexpected(std::move(noted.error()).Prefixed("queue " + name));
  }
  std::shared_ptr<DiskQueue> queue(new DiskQueue(store, std::move(*record), limits, budget, reserve,
                                                 clock, std::move(on_stored), std::move(letters)));
  if (auto recovered = queue->Recover(); !recovered)
    return tl::unexpected(std::move(recovered.error()).Prefixed("queue " + name));
  return queue;
}

Result<void> DiskQueue::Recover() {
  begin_ = record_.begin;
  end_ = record_.end;
  bytes_end_ = bytes_floor_ = record_.bytes_before;
  dropped_newest_ = record_.dropped_newest;
  const auto cursors = store_->Cursors(record_.queue);
  if (!cursors) return tl::unexpected(cursors.error());
  for (const store::CursorRecord& cursor : *cursors) {
    Mark& mark = marks_[next_reader_++];
    mark.record = cursor;
    mark.record.settled.clear();
    for (const event::OffsetRange& range : cursor.settled) mark.above.Add(range);
    mark.hold = mark.durable = cursor.committed;
    end_ = std::max(end_, cursor.end());
  }
  auto read = store_->Read([this](const Transaction& transaction) -> Result<void> {
    const std::string prefix = store::KeyPrefix(Kind::kChunk, record_.queue);
    const auto first = transaction.Seek(prefix);
    const auto last = transaction.SeekBefore(ChunkKey(record_.queue, ~uint64_t{0}));
    if (!first) return tl::unexpected(first.error());
    if (!last) return tl::unexpected(last.error());
    if (!*first || !(**first).key.starts_with(prefix)) return {};
    const auto oldest = HeadOf(**first), newest = HeadOf(**last);
    if (!oldest) return tl::unexpected(oldest.error());
    if (!newest) return tl::unexpected(newest.error());
    // begin_ stays: what is missing between it and the oldest chunk is lost.
    end_ = std::max(end_, newest->first + newest->count);
    bytes_floor_ = oldest->bytes_before;
    bytes_end_ = newest->bytes_before + newest->bytes;
    return {};
  });
  stored_ = end_;
  begin_ = std::min(begin_, end_);
  bytes_stored_ = bytes_end_;
  return read;
}

Reader DiskQueue::AddReader(const std::string& name, Start start, std::shared_ptr<Signal> wake) {
  std::unique_lock lock(mutex_);
  auto at = std::find_if(marks_.begin(), marks_.end(),
                         [&](const auto& m) { return m.second.record.sink == name; });
  if (at == marks_.end()) {
    const uint64_t from = start == Start::kNew ? end_ : begin_;
    at = marks_.emplace(next_reader_++, Mark{}).first;
    at->second.record = {record_.queue, name, from, from, dropped_newest_, {}};
    at->second.hold = at->second.durable = from;
    ++at->second.changes;
  }
  Mark& mark = at->second;
  std::erase(gone_, name);
  mark.share = budget_->MakeShare(0, wake, MemoryBudget::First::kAlways);
  mark.wake = std::move(wake);
  const store::CursorRecord record = RecordOf(&mark);
  const Reader reader{
      at->first,          record.start,   record.committed,        record.dropped_newest_before,
      CountersOf(record), record.settled, store::kMaxSettledRanges};
  const bool changed = mark.changed();
  lock.unlock();
  if (changed) store_->Changed(this, store::Store::Urgency::kNow);
  return reader;
}

void DiskQueue::RemoveReader(ReaderId reader) {
  {
    std::lock_guard lock(mutex_);
    const auto mark = marks_.find(reader);
    if (mark == marks_.end()) return;
    gone_.push_back(mark->second.record.sink);
    marks_.erase(mark);
  }
  room_->Notify();
  store_->Changed(this, store::Store::Urgency::kNow);
}

void DiskQueue::SetLimits(const Limits& limits) {
  {
    std::lock_guard lock(mutex_);
    limits_ = limits;
  }
  room_->Notify();
}

void DiskQueue::SetOnSafe(OnSafe on_safe) {
  std::lock_guard ack_lock(ack_mutex_);
  std::lock_guard lock(mutex_);
  on_stored_ = std::move(on_safe);
  told_from_ = end_;
  ack_tokens_.assign(on_stored_ ? end_ - stored_ : 0, 0);
}

// ---- appending

penstock_status DiskQueue::Append(const penstock_event_batch& batch, size_t* accepted,
                                  Nanoseconds timeout) {
  *accepted = 0;
  TimePoint deadline{};
  while (*accepted < batch.count) {
    const Signal::Ticket ticket = room_->Take();
    if (closed_) return PENSTOCK_STOPPED;
    bool full = false;
    size_t taken = TryAppend(batch, *accepted, &full);
    if (taken == 0) {
      // Ask to be told of what is freed, then look again: what came back in between would be
      // missed.
      wants_room_ = true;
      share_->WakeWhenFreed();
      taken = TryAppend(batch, *accepted, &full);
    }
    if (taken == 0 && full && Drops()) {
      DropNewest(event::ReadEvent(batch, *accepted));
      taken = 1;
    }
    *accepted += taken;
    if (taken > 0) continue;
    store_->Changed(this, store::Store::Urgency::kNow);
    const penstock_status waited = Wait(ticket, timeout, &deadline);
    if (waited != PENSTOCK_OK) return waited;
  }
  wants_room_ = false;
  return PENSTOCK_OK;
}

penstock_status DiskQueue::Wait(Signal::Ticket ticket, Nanoseconds timeout, TimePoint* deadline) {
  if (timeout == Nanoseconds::zero()) return PENSTOCK_AGAIN;
  const TimePoint now = clock_->Now();
  if (*deadline == TimePoint{}) {
    const bool for_ever = timeout < Nanoseconds::zero() || timeout >= TimePoint::max() - now;
    *deadline = for_ever ? TimePoint::max() : now + timeout;
  }
  if (now >= *deadline) return PENSTOCK_AGAIN;
  room_->WaitPast(ticket, *deadline);
  return PENSTOCK_OK;
}

size_t DiskQueue::TryAppend(const penstock_event_batch& batch, size_t first, bool* full) {
  const Room room = MakeRoom(batch, first, full);
  if (room.events == 0) return 0;
  uint64_t first_offset = 0;
  {
    std::lock_guard lock(mutex_);
    first_offset = end_;  // one thread appends at a time, so that it stays so
  }
  auto block = event::Block::Take(batch, first, room.events, first_offset, clock_->WallNs());
  Insert(Charged(std::move(block), share_, room.charged), room);
  store_->Changed(this, store::Store::Urgency::kNow, room.events, room.bytes);
  return room.events;
}

bool DiskQueue::FitsBounds(const Room& room, uint64_t more) const {
  const uint64_t held = end_ - begin_ + room.events;
  if (held == 0) return true;  // an event larger than the bound passes alone
  return held < limits_.max_events &&
         bytes_end_ - bytes_floor_ + room.bytes + more <= limits_.max_bytes;
}

DiskQueue::Room DiskQueue::MakeRoom(const penstock_event_batch& batch, size_t first, bool* full) {
  const uint64_t max_pending = 2 * store_->commit_limits().bytes;
  Room room;
  Freed freed;
  std::unique_lock lock(mutex_);
  *full = false;
  while (first + room.events < batch.count) {
    const penstock_event event = event::ReadEvent(batch, first + room.events);
    const uint64_t bytes = store::RecordBytes(event), charged = event::ChargedBytes(event);
    if (!FitsBounds(room, bytes)) {
      if (limits_.when_full == WhenFull::kDropOldest && DropOldestChunk()) continue;
      *full = true;
      break;
    }
    const uint64_t pending = bytes_end_ - bytes_stored_ + room.bytes;
    if (pending > 0 && pending + bytes > max_pending) break;
    if (share_->TryTake(charged)) {
      room.bytes += bytes;
      room.charged += charged;
      ++room.events;
      continue;
    }
    LetGoOfOldest(&freed);
    if (freed.empty()) break;
    lock.unlock();
    freed.clear();
    lock.lock();
  }
  lock.unlock();
  // A disk that takes nothing is a full queue; one that is only slow is waited for.
  if (room.events == 0 && store_->state().kind == store::StoreState::Kind::kNoRoom) *full = true;
  return room;
}

bool DiskQueue::DropOldestChunk() {
  if (begin_ >= stored_) return false;
  const auto chunk = FindChunk(begin_);
  if (!chunk || chunk->end > stored_) return false;
  begin_ = chunk->end;
  bytes_floor_ = chunk->bytes_before + chunk->bytes;
  return true;
}

void DiskQueue::Insert(std::shared_ptr<const event::Block> block, const Room& room) {
  const TimePoint now = clock_->Now();
  const int64_t wall = clock_->WallNs();
  std::lock_guard lock(mutex_);
  assert(block->first_offset() == end_);
  if (on_stored_) {
    for (uint64_t offset = end_; offset < block->end_offset(); ++offset)
      ack_tokens_.push_back(block->at(offset).ack_token);
  }
  end_ = block->end_offset();
  charged_ += block->total_charged_bytes();
  entries_.push_back({std::move(block), now, wall, room.bytes, bytes_end_});
  bytes_end_ += room.bytes;
}

bool DiskQueue::Drops() const {
  std::lock_guard lock(mutex_);
  return limits_.when_full != WhenFull::kBlock;
}

void DiskQueue::DropNewest(const penstock_event& event) {
  {
    std::lock_guard lock(mutex_);
    ++dropped_newest_;
  }
  if (event.owner != nullptr) event.owner->release(event.owner, 1);
  if (on_stored_) on_stored_(&event.ack_token, 1);
  store_->Changed(this, store::Store::Urgency::kSoon);
}

// ---- reading

std::deque<DiskQueue::Entry>::const_iterator DiskQueue::Find(uint64_t offset) const {
  return std::partition_point(entries_.begin(), entries_.end(),
                              [offset](const Entry& e) { return e.block->end_offset() <= offset; });
}

uint64_t DiskQueue::FirstInMemory() const {
  return entries_.empty() ? end_ : entries_.front().block->first_offset();
}

TimePoint DiskQueue::ToTime(int64_t appended_ns) const {
  const int64_t age = std::max<int64_t>(clock_->WallNs() - appended_ns, 0);
  const TimePoint now = clock_->Now();
  return Nanoseconds(age) < now.time_since_epoch() ? now - Nanoseconds(age) : TimePoint{};
}

ReadResult DiskQueue::Read(ReaderId reader, uint64_t offset, uint64_t max_events,
                           uint64_t max_bytes) {
  {
    std::lock_guard lock(mutex_);
    const uint64_t from = std::max(offset, begin_);
    if (from >= stored_ || from >= FirstInMemory()) return ReadMemory(from, max_events, max_bytes);
    offset = from;
  }
  return ReadStore(reader, offset, max_events, max_bytes);
}

namespace {

// Extends the run to at most max_events and about max_bytes; takes both off.
void Extend(Run* run, uint64_t stop, uint64_t* max_events, uint64_t* max_bytes) {
  while (run->end<stop&& * max_events> 0 && *max_bytes > 0) {
    *max_bytes -= std::min<uint64_t>(*max_bytes, run->block->charged_bytes(run->end++));
    --*max_events;
  }
}

}  // namespace

ReadResult DiskQueue::ReadMemory(uint64_t offset, uint64_t max_events, uint64_t max_bytes) const {
  ReadResult result;
  result.begin = result.end = offset;
  for (auto it = Find(offset); it != entries_.end() && result.end < stored_; ++it) {
    if (max_events == 0 || max_bytes == 0) break;
    Run run{it->block, result.end, result.end, it->appended_at};
    Extend(&run, std::min(it->block->end_offset(), stored_), &max_events, &max_bytes);
    result.end = run.end;
    result.runs.push_back(std::move(run));
  }
  return result;
}

Result<std::optional<DiskQueue::ChunkInfo>> DiskQueue::FindChunk(const Transaction& transaction,
                                                                 uint64_t offset) const {
  const std::string prefix = store::KeyPrefix(Kind::kChunk, record_.queue);
  const auto before = transaction.SeekBefore(ChunkKey(record_.queue, offset + 1));
  const auto behind = transaction.Seek(ChunkKey(record_.queue, offset + 1));
  for (const auto& found : {before, behind}) {
    if (!found) return tl::unexpected(found.error());
    if (!*found || !(**found).key.starts_with(prefix)) continue;
    const auto head = HeadOf(**found);
    if (!head) return tl::unexpected(head.error());
    const ChunkInfo info{head->first, head->first + head->count, head->bytes_before, head->bytes,
                         head->appended_ns};
    if (info.end > offset) return std::optional<ChunkInfo>(info);
  }
  return std::optional<ChunkInfo>();
}

std::optional<DiskQueue::ChunkInfo> DiskQueue::FindChunk(uint64_t offset) const {
  std::optional<ChunkInfo> out;
  const auto read = store_->Read([&](const Transaction& transaction) -> Result<void> {
    auto found = FindChunk(transaction, offset);
    if (!found) return tl::unexpected(found.error());
    out = *found;
    return {};
  });
  if (!read) store_->MarkFailed(read.error().message);
  return out;
}

ReadResult DiskQueue::ReadStore(ReaderId reader, uint64_t offset, uint64_t max_events,
                                uint64_t max_bytes) {
  ReadResult result;
  result.begin = result.end = offset;
  std::shared_ptr<MemoryBudget::Share> share;
  Run run;
  {
    std::lock_guard lock(mutex_);
    const Mark& mark = marks_.at(reader);
    share = mark.share;
    run.block = mark.chunk;
    run.appended_at = mark.chunk_appended_at;
  }
  if (!run.block || offset < run.block->first_offset() || offset >= run.block->end_offset()) {
    int64_t appended_ns = 0;
    run.block.reset();
    const auto read = store_->Read([&](const Transaction& transaction) -> Result<void> {
      const auto info = FindChunk(transaction, offset);
      if (!info) return tl::unexpected(info.error());
      if (!*info) return {};
      const auto value = transaction.Get(ChunkKey(record_.queue, (*info)->first));
      if (!value) return tl::unexpected(value.error());
      const auto envelope = store::Open(**value);
      if (!envelope) return tl::unexpected(envelope.error());
      auto block = store::DecodeChunk(envelope->body);
      if (!block) return tl::unexpected(block.error());
      run.block = std::move(*block);
      appended_ns = (*info)->appended_ns;
      return {};
    });
    if (!read) {
      store_->MarkFailed("reading events of queue " + record_.name + " from offset " +
                         std::to_string(offset) + ": " + read.error().message +
                         "; see penstock queue verify and repair");
      return result;
    }
    std::lock_guard lock(mutex_);
    Mark& mark = marks_.at(reader);
    mark.chunk.reset();
    const uint64_t found =
        run.block ? run.block->first_offset() : std::min(FirstInMemory(), stored_);
    if (found > offset) {
      result.begin = result.end = found;
      // Those before it were dropped just now, or else they are lost.
      result.skipped = offset < begin_ ? DropReason::kWhenFull : DropReason::kCorrupted;
    }
    if (!run.block) return result;
    const uint64_t bytes = run.block->total_charged_bytes();
    if (!share->TryTake(bytes)) {
      share->WakeWhenFreed();
      if (!share->TryTake(bytes)) return result;
    }
    run.block = Charged(std::move(run.block), share, bytes);
    run.appended_at = ToTime(appended_ns);
    mark.chunk = run.block;
    mark.chunk_appended_at = run.appended_at;
  }
  run.begin = run.end = result.begin;
  Extend(&run, run.block->end_offset(), &max_events, &max_bytes);
  result.end = run.end;
  result.runs.push_back(std::move(run));
  return result;
}

uint64_t DiskQueue::WithinBound(uint64_t offset, uint64_t max_events, uint64_t max_bytes,
                                Nanoseconds max_age) const {
  std::lock_guard lock(mutex_);
  uint64_t from = std::max(offset, begin_);
  if (max_events > 0 && stored_ > from && stored_ - from > max_events) from = stored_ - max_events;
  const int64_t oldest = max_age > Nanoseconds::zero() ? clock_->WallNs() - max_age.count()
                                                       : std::numeric_limits<int64_t>::min();
  // Whole pieces, as they were appended or stored together.
  while (from < stored_) {
    ChunkInfo piece;
    if (const auto entry = Find(from); from >= FirstInMemory() && entry != entries_.end()) {
      piece = {entry->block->first_offset(), entry->block->end_offset(), entry->bytes_before,
               entry->bytes, entry->appended_ns};
    } else if (const auto chunk = FindChunk(from)) {
      piece = *chunk;
    } else {
      break;
    }
    const bool too_far = max_bytes > 0 && piece.end < stored_ &&
                         bytes_stored_ - (piece.bytes_before + piece.bytes) >= max_bytes;
    if (!too_far && piece.appended_ns >= oldest) break;
    from = std::min(piece.end, stored_);
  }
  return from;
}

uint64_t DiskQueue::begin() const {
  std::lock_guard lock(mutex_);
  return begin_;
}

uint64_t DiskQueue::end() const {
  std::lock_guard lock(mutex_);
  return stored_;
}

Stats DiskQueue::stats() const {
  std::lock_guard lock(mutex_);
  return {stored_, dropped_newest_, end_ - begin_, bytes_end_ - bytes_floor_, end_ - stored_};
}

std::optional<TimePoint> DiskQueue::AppendedAt(uint64_t offset) const {
  {
    std::lock_guard lock(mutex_);
    if (offset < begin_ || offset >= end_) return {};
    const auto entry = Find(offset);
    if (entry != entries_.end() && entry->block->first_offset() <= offset)
      return entry->appended_at;
  }
  // What is wrong with the store is for those to find who need its events.
  std::optional<ChunkInfo> chunk;
  const auto read = store_->Read([&](const Transaction& transaction) -> Result<void> {
    if (auto found = FindChunk(transaction, offset)) chunk = *found;
    return {};
  });
  if (!read || !chunk || chunk->first > offset) return {};
  return ToTime(chunk->appended_ns);
}

void DiskQueue::Close() {
  closed_ = true;
  room_->Notify();
}

// ---- releasing

void DiskQueue::Release(ReaderId reader, Progress progress) {
  Freed freed;
  bool changed = false;
  {
    std::lock_guard lock(mutex_);
    Mark& mark = marks_.at(reader);
    assert(progress.settled <= progress.hold && progress.hold <= stored_);
    mark.hold = std::max(mark.hold, progress.hold);
    changed = progress.settled > mark.record.committed || !progress.above.empty();
    if (changed) {
      mark.record.committed = std::max(mark.record.committed, progress.settled);
      mark.record.counters = ToStore(progress.counters);
      for (const event::OffsetRange& range : progress.above) mark.above.Add(range);
      mark.above.DropBelow(mark.record.committed);
      ++mark.changes;
    }
    if (letters_) {
      for (Letter& letter : progress.letters) mark.letters.push_back(std::move(letter));
    }
    if (mark.chunk && mark.chunk->end_offset() <= mark.hold) freed.push_back(std::move(mark.chunk));
    for (auto& block : LetGoOfMemory()) freed.push_back(std::move(block));
  }
  freed.clear();
  if (changed) {
    using Urgency = store::Store::Urgency;
    store_->Changed(this, wants_room_ ? Urgency::kNow : Urgency::kSoon);
  }
}

DiskQueue::Freed DiskQueue::LetGoOfMemory() {
  Freed freed;
  uint64_t hold = stored_;
  for (const auto& [id, mark] : marks_) {
    if (mark.wake != nullptr) hold = std::min(hold, mark.hold);
  }
  while (!entries_.empty()) {
    const uint64_t end = entries_.front().block->end_offset();
    if (end > stored_ || (end > hold && charged_ <= kMaxCached)) break;
    LetGoOfOldest(&freed);
  }
  return freed;
}

void DiskQueue::LetGoOfOldest(Freed* freed) {
  if (entries_.empty() || entries_.front().block->end_offset() > stored_) return;
  charged_ -= entries_.front().block->total_charged_bytes();
  freed->push_back(std::move(entries_.front().block));
  entries_.pop_front();
}

// ---- committing

store::CursorRecord DiskQueue::RecordOf(Mark* mark) {
  store::CursorRecord record = mark->record;
  for (const event::OffsetRange& range : mark->above.ranges()) {
    if (range.first > record.committed)
      record.settled.push_back(range);
    else
      record.committed = std::max(record.committed, range.end);
  }
  return record;
}

Result<void> DiskQueue::Write(Transaction& transaction, uint64_t* room) {
  std::vector<Entry> entries;
  store::QueueRecord record;
  {
    std::lock_guard lock(mutex_);
    writing_ = Writing{};
    writing_.stored = stored_;
    writing_.bytes_stored = bytes_stored_;
    auto entry = Find(stored_);
    for (; entry != entries_.cend() && entry->bytes <= *room; ++entry) {
      *room -= entry->bytes;
      entries.push_back(*entry);
      writing_.stored = entry->block->end_offset();
      writing_.bytes_stored = entry->bytes_before + entry->bytes;
    }
    if (entry == entries_.cend()) writing_.stored = end_, writing_.bytes_stored = bytes_end_;
    uint64_t settled = stored_;
    writing_.bytes_floor = bytes_floor_;
    writing_.dropped_newest = dropped_newest_;
    for (auto& [id, mark] : marks_) {
      // A cursor goes with its letters or not at all.
      const uint64_t bytes =
          mark.letters.empty() ? 0 : StoredLetters::BytesOf(mark.letters, mark.record.sink);
      const bool take = mark.changed() && bytes <= *room;
      if (take) {
        *room -= bytes;
        writing_.changes[id] = mark.changes;
        settled = std::min(settled,
                           writing_.cursors.emplace(id, RecordOf(&mark)).first->second.committed);
      } else {
        settled = std::min(settled, mark.durable);
      }
      if (take && !mark.letters.empty()) writing_.letters.emplace(id, mark.letters);
    }
    writing_.begin = std::max(begin_, settled);
    writing_.gone = gone_;
    record = record_;
  }
  if (auto written = WriteChunks(transaction, entries); !written) return written;
  for (const auto& [id, cursor] : writing_.cursors) {
    auto put = transaction.Put(store::CursorKey(record.queue, cursor.sink),
                               store::Encode(cursor, transaction.number()));
    if (!put) return put;
  }
  for (const auto& [id, letters] : writing_.letters) {
    auto put =
        letters_->Put(transaction, writing_.cursors.at(id).sink, letters, &writing_.letters_change);
    if (!put) return put;
  }
  for (const std::string& sink : writing_.gone) {
    auto deleted = transaction.Delete(store::CursorKey(record.queue, sink));
    if (!deleted) return tl::unexpected(deleted.error());
  }
  if (auto deleted = DeleteChunks(transaction); !deleted) return deleted;
  if (auto deleted = DeleteHoles(transaction); !deleted) return deleted;
  record.begin = writing_.begin;
  record.end = writing_.stored;
  record.bytes_before = writing_.bytes_stored;
  record.dropped_newest = writing_.dropped_newest;
  return transaction.Put(store::QueueKey(record.queue),
                         store::Encode(record, transaction.number()));
}

Result<void> DiskQueue::WriteChunks(Transaction& transaction,
                                    const std::vector<Entry>& entries) const {
  if (entries.empty()) return {};
  std::vector<const event::Event*> events;
  std::vector<size_t> sizes;
  for (const Entry& entry : entries) {
    for (uint64_t o = entry.block->first_offset(); o < entry.block->end_offset(); ++o) {
      events.push_back(&entry.block->at(o));
      sizes.push_back(store::RecordBytes(*events.back()));
    }
  }
  store::ChunkHead head;
  head.queue = record_.queue;
  head.queue_id = record_.id;
  head.first = entries.front().block->first_offset();
  head.bytes_before = entries.front().bytes_before;
  head.appended_ns = entries.front().appended_ns;
  for (size_t at = 0; at < events.size();) {
    head.count = 0;
    head.bytes = 0;
    const size_t limit = store::kChunkBytes - store::kEnvelopeBytes - store::kChunkHeadBytes;
    for (size_t i = at; i < events.size(); ++i) {
      if (head.count > 0 && head.bytes + sizes[i] > limit) break;
      head.bytes += sizes[i];
      ++head.count;
    }
    const auto room =
        transaction.Reserve(ChunkKey(head.queue, head.first),
                            store::kEnvelopeBytes + store::kChunkHeadBytes + head.bytes);
    if (!room) return tl::unexpected(room.error());
    store::ChunkWriter writer(head, transaction.number(), *room);
    for (const size_t end = at + head.count; at < end; ++at) writer.Add(*events[at]);
    writer.Finish();
    head.first += head.count;
    head.bytes_before += head.bytes;
  }
  return {};
}

Result<void> DiskQueue::DeleteHoles(Transaction& transaction) {
  std::vector<std::string> keys;
  auto read = transaction.ForEach(
      store::KeyPrefix(Kind::kHole, record_.queue), [&](const store::KeyValue& pair) {
        const auto envelope = store::Open(pair.value);
        const auto hole =
            envelope ? store::DecodeHole(envelope->body) : tl::unexpected(envelope.error());
        if (!hole) return true;  // for verify to tell
        if (hole->end <= writing_.begin) keys.emplace_back(pair.key);
        return hole->end <= writing_.begin;
      });
  if (!read) return read;
  for (const std::string& key : keys) {
    if (auto deleted = transaction.Delete(key); !deleted) return tl::unexpected(deleted.error());
  }
  return {};
}

Result<void> DiskQueue::DeleteChunks(Transaction& transaction) {
  const std::string prefix = store::KeyPrefix(Kind::kChunk, record_.queue);
  std::vector<std::string> keys;
  Result<void> bad;
  auto read = transaction.ForEach(prefix, [&](const store::KeyValue& pair) {
    const auto head = HeadOf(pair);
    if (!head) {
      bad = tl::unexpected(head.error());
      return false;
    }
    if (head->first + head->count > writing_.begin) return false;
    if (keys.size() == kMaxDeleted) {
      writing_.more_to_free = true;
      return false;
    }
    keys.emplace_back(pair.key);
    writing_.bytes_floor = head->bytes_before + head->bytes;
    return true;
  });
  if (!read) return read;
  if (!bad) return bad;
  for (const std::string& key : keys) {
    if (auto deleted = transaction.Delete(key); !deleted) return tl::unexpected(deleted.error());
  }
  return {};
}

void DiskQueue::Committed() {
  Freed freed;
  std::vector<uint64_t> tokens;
  std::vector<std::shared_ptr<Signal>> wakes;
  std::lock_guard ack_lock(ack_mutex_);
  {
    std::lock_guard lock(mutex_);
    if (on_stored_) {
      const auto at = [this](uint64_t offset) {
        return ack_tokens_.begin() + static_cast<std::ptrdiff_t>(offset - stored_);
      };
      const uint64_t end = writing_.stored;
      tokens.assign(at(std::clamp(told_from_, stored_, end)), at(end));
      ack_tokens_.erase(ack_tokens_.begin(), at(end));
    }
    if (writing_.stored > stored_) {
      for (const auto& [id, mark] : marks_) {
        if (mark.wake != nullptr) wakes.push_back(mark.wake);
      }
    }
    stored_ = writing_.stored;
    bytes_stored_ = writing_.bytes_stored;
    begin_ = std::max(begin_, writing_.begin);
    bytes_floor_ = std::max(bytes_floor_, writing_.bytes_floor);
    for (const auto& [id, cursor] : writing_.cursors) {
      const auto mark = marks_.find(id);
      if (mark == marks_.end()) continue;  // removed meanwhile
      mark->second.durable = cursor.committed;
      mark->second.recorded = writing_.changes.at(id);
    }
    for (const auto& [id, letters] : writing_.letters) {
      const auto mark = marks_.find(id);
      if (mark == marks_.end()) continue;
      std::vector<Letter>& left = mark->second.letters;
      left.erase(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(letters.size()));
    }
    for (const std::string& sink : writing_.gone) std::erase(gone_, sink);
    freed = LetGoOfMemory();
  }
  freed.clear();
  if (!writing_.letters.empty()) letters_->Done(writing_.letters_change);
  writing_.letters.clear();
  room_->Notify();
  for (const auto& wake : wakes) wake->Notify();
  if (!tokens.empty()) on_stored_(tokens.data(), tokens.size());
  if (writing_.more_to_free) store_->Changed(this, store::Store::Urgency::kNow);
}

}  // namespace penstock::queue
