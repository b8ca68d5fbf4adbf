#include "queue/memory_queue.h"

#include <algorithm>
#include <cassert>

#include "queue/charged_block.h"

namespace penstock::queue {

MemoryQueue::MemoryQueue(uint64_t id, Limits limits, MemoryBudget* budget, uint64_t reserve,
                         const Clock* clock, OnSafe on_settled,
                         std::shared_ptr<DeadLetters> letters)
    : id_(id),
      limits_(limits),
      clock_(clock),
      on_settled_(std::move(on_settled)),
      tells_(on_settled_ != nullptr),
      letters_(std::move(letters)),
      share_(budget->MakeShare(reserve, room_)) {}

MemoryQueue::~MemoryQueue() = default;

penstock_status MemoryQueue::Append(const penstock_event_batch& batch, size_t* accepted,
                                    Nanoseconds timeout) {
  *accepted = 0;
  TimePoint deadline{};
  while (*accepted < batch.count) {
    const Signal::Ticket ticket = room_->Take();
    if (closed_) return PENSTOCK_STOPPED;
    size_t taken = TryAppend(batch, *accepted);
    if (taken == 0 && Drops()) {
      DropNewest(event::ReadEvent(batch, *accepted));
      taken = 1;
    }
    if (taken == 0) {
      // Ask to be told of freed memory, then look again: what came back in between would be missed.
      share_->WakeWhenFreed();
      taken = TryAppend(batch, *accepted);
    }
    *accepted += taken;
    if (taken > 0) continue;
    const penstock_status waited = Wait(ticket, timeout, &deadline);
    if (waited != PENSTOCK_OK) return waited;
  }
  return PENSTOCK_OK;
}

penstock_status MemoryQueue::Wait(Signal::Ticket ticket, Nanoseconds timeout, TimePoint* deadline) {
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

size_t MemoryQueue::TryAppend(const penstock_event_batch& batch, size_t first) {
  const Room room = MakeRoom(batch, first);
  if (room.events == 0) return 0;
  // One thread appends at a time, so that the room and the next offset are still the same.
  auto block = event::Block::Take(batch, first, room.events, end(), clock_->WallNs());
  Insert(Charged(std::move(block), share_, room.bytes), room.bytes);
  return room.events;
}

MemoryQueue::Room MemoryQueue::MakeRoom(const penstock_event_batch& batch, size_t first) {
  Room room;
  Freed freed;
  std::unique_lock lock(mutex_);
  while (first + room.events < batch.count) {
    const uint64_t more = event::ChargedBytes(event::ReadEvent(batch, first + room.events));
    const uint64_t held = end_ - begin_ + room.events;
    const bool empty = held == 0;  // an event larger than the bound passes alone
    const bool fits =
        empty || (held < limits_.max_events && bytes_ + room.bytes + more <= limits_.max_bytes);
    if (fits && share_->TryTake(more)) {
      room.bytes += more;
      ++room.events;
      continue;
    }
    if (limits_.when_full != WhenFull::kDropOldest || begin_ == end_) break;
    MoveBegin(begin_ + 1, &freed);
    if (freed.empty()) continue;
    // The memory comes back only when the block goes, so that has to happen before the next try.
    lock.unlock();
    freed.clear();
    lock.lock();
  }
  return room;
}

void MemoryQueue::Insert(std::shared_ptr<const event::Block> block, uint64_t bytes) {
  const TimePoint now = clock_->Now();
  std::vector<std::shared_ptr<Signal>> wakes;
  std::unique_lock lock(mutex_);
  assert(block->first_offset() == end_);
  if (on_settled_) {
    for (uint64_t offset = end_; offset < block->end_offset(); ++offset)
      ack_tokens_.push_back(block->at(offset).ack_token);
  }
  end_ = block->end_offset();
  entries_.push_back({std::move(block), now, appended_bytes_});
  bytes_ += bytes;
  appended_bytes_ += bytes;
  for (const auto& [id, reader] : readers_) wakes.push_back(reader.wake);
  // Whoever wakes wants the lock at once.
  lock.unlock();
  for (const auto& wake : wakes) wake->Notify();
}

bool MemoryQueue::Drops() const {
  std::lock_guard lock(mutex_);
  return limits_.when_full != WhenFull::kBlock;
}

void MemoryQueue::DropNewest(const penstock_event& event) {
  {
    std::lock_guard lock(mutex_);
    ++dropped_newest_;
  }
  if (event.owner != nullptr) event.owner->release(event.owner, 1);
  if (on_settled_) on_settled_(&event.ack_token, 1);
}

void MemoryQueue::MoveBegin(uint64_t offset, Freed* freed) {
  while (begin_ < offset) {
    const event::Block& front = *entries_.front().block;
    const uint64_t stop = std::min(offset, front.end_offset());
    for (; begin_ < stop; ++begin_) bytes_ -= front.charged_bytes(begin_);
    if (begin_ < front.end_offset()) return;
    freed->push_back(std::move(entries_.front().block));
    entries_.pop_front();
  }
}

Reader MemoryQueue::AddReader(const std::string& name, Start start, std::shared_ptr<Signal> wake) {
  std::lock_guard lock(mutex_);
  auto at = std::find_if(readers_.begin(), readers_.end(),
                         [&](const auto& r) { return r.second.name == name; });
  if (at == readers_.end()) {
    const uint64_t from = start == Start::kNew ? end_ : begin_;
    const Mark mark{name, from, dropped_newest_, from, from, from, 0, nullptr};
    at = readers_.emplace(next_reader_++, mark).first;
  }
  Mark& mark = at->second;
  mark.wake = std::move(wake);
  return {at->first, mark.start, mark.settled, mark.dropped_newest_before, {}};
}

void MemoryQueue::RemoveReader(ReaderId reader) {
  Follow([&] { readers_.erase(reader); });
}

void MemoryQueue::SetLimits(const Limits& limits) {
  {
    std::lock_guard lock(mutex_);
    limits_ = limits;
  }
  room_->Notify();
}

void MemoryQueue::SetOnSafe(OnSafe on_safe) {
  std::lock_guard ack_lock(ack_mutex_);
  std::lock_guard lock(mutex_);
  on_settled_ = std::move(on_safe);
  tells_ = on_settled_ != nullptr;
  told_from_ = end_;
  ack_tokens_.assign(tells_ ? end_ - settled_ : 0, 0);
}

std::deque<MemoryQueue::Entry>::const_iterator MemoryQueue::Find(uint64_t offset) const {
  return std::partition_point(entries_.begin(), entries_.end(),
                              [offset](const Entry& e) { return e.block->end_offset() <= offset; });
}

ReadResult MemoryQueue::Read(ReaderId, uint64_t offset, uint64_t max_events, uint64_t max_bytes) {
  ReadResult result;
  std::lock_guard lock(mutex_);
  result.begin = result.end = std::max(offset, begin_);
  uint64_t bytes = 0;
  for (auto it = Find(result.begin); it != entries_.end() && max_events > 0 && bytes < max_bytes;
       ++it) {
    Run run{it->block, result.end, result.end, it->appended_at};
    const uint64_t stop = run.begin + std::min(it->block->end_offset() - run.begin, max_events);
    while (run.end < stop && bytes < max_bytes) bytes += it->block->charged_bytes(run.end++);
    max_events -= run.end - run.begin;
    result.end = run.end;
    result.runs.push_back(std::move(run));
  }
  return result;
}

void MemoryQueue::Release(ReaderId reader, Progress progress) {
  const size_t letters = letters_ ? progress.letters.size() : 0;
  std::string name;
  Advance(reader, [&](Mark& mark) {
    assert(progress.settled <= progress.hold && progress.hold <= end_);
    mark.hold = std::max(mark.hold, progress.hold);
    mark.wanted = std::max(mark.wanted, progress.settled);
    mark.unstored += letters;
    name = mark.name;
  });
  if (letters == 0) return;
  letters_->Keep(name, std::move(progress.letters), [weak = weak_from_this(), reader, letters] {
    if (const auto self = weak.lock()) self->LettersStored(reader, letters);
  });
}

void MemoryQueue::LettersStored(ReaderId reader, size_t n) {
  Advance(reader, [n](Mark& mark) { mark.unstored -= n; });
}

template <typename F>
void MemoryQueue::Advance(ReaderId reader, F&& f) {
  Follow([&] {
    const auto mine = readers_.find(reader);
    if (mine == readers_.end()) return;
    f(mine->second);
    // A source is told that its event is safe only once a letter of it is.
    if (mine->second.unstored == 0) mine->second.settled = mine->second.wanted;
  });
}

template <typename F>
void MemoryQueue::Follow(F&& f) {
  std::unique_lock<std::mutex> ack_lock;
  if (tells_) ack_lock = std::unique_lock(ack_mutex_);
  Settled done;
  {
    std::lock_guard lock(mutex_);
    f();
    done = FollowReaders();
  }
  done.freed.clear();
  room_->Notify();
  if (!done.ack_tokens.empty()) on_settled_(done.ack_tokens.data(), done.ack_tokens.size());
}

MemoryQueue::Settled MemoryQueue::FollowReaders() {
  Settled done;
  uint64_t min_hold = end_, min_settled = end_;
  for (const auto& [id, reader] : readers_) {
    min_hold = std::min(min_hold, reader.hold);
    min_settled = std::min(min_settled, reader.settled);
  }
  if (min_hold > begin_) MoveBegin(min_hold, &done.freed);
  if (min_settled <= settled_) return done;
  if (on_settled_) {
    const auto at = [this](uint64_t offset) {
      return ack_tokens_.begin() + static_cast<std::ptrdiff_t>(offset - settled_);
    };
    done.ack_tokens.assign(at(std::clamp(told_from_, settled_, min_settled)), at(min_settled));
    ack_tokens_.erase(ack_tokens_.begin(), at(min_settled));
  }
  settled_ = min_settled;
  return done;
}

uint64_t MemoryQueue::WithinBound(uint64_t offset, uint64_t max_events, uint64_t max_bytes,
                                  Nanoseconds max_age) const {
  std::lock_guard lock(mutex_);
  uint64_t from = std::max(offset, begin_);
  if (max_events > 0 && end_ - from > max_events) from = end_ - max_events;
  if (max_bytes > 0 && appended_bytes_ > max_bytes && from < end_)
    from = std::clamp(WithinBytes(max_bytes), from, end_ - 1);
  if (max_age > Nanoseconds::zero()) {
    const TimePoint oldest = clock_->Now() - max_age;
    for (auto it = Find(from); it != entries_.end() && it->appended_at < oldest; ++it)
      from = it->block->end_offset();
  }
  return from;
}

uint64_t MemoryQueue::WithinBytes(uint64_t max_bytes) const {
  const uint64_t too_far = appended_bytes_ - max_bytes;  // what was appended before this is out
  const auto it = std::partition_point(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return e.bytes_before + e.block->total_charged_bytes() <= too_far;
  });
  if (it == entries_.end()) return end_;
  uint64_t at = it->block->first_offset();
  for (uint64_t before = it->bytes_before; before < too_far; ++at)
    before += it->block->charged_bytes(at);
  return at;
}

uint64_t MemoryQueue::begin() const {
  std::lock_guard lock(mutex_);
  return begin_;
}

uint64_t MemoryQueue::end() const {
  std::lock_guard lock(mutex_);
  return end_;
}

Stats MemoryQueue::stats() const {
  std::lock_guard lock(mutex_);
  return {end_, dropped_newest_, end_ - begin_, bytes_, 0};
}

std::optional<TimePoint> MemoryQueue::AppendedAt(uint64_t offset) const {
  std::lock_guard lock(mutex_);
  const auto entry = Find(offset);
  if (offset < begin_ || entry == entries_.end()) return {};
  return entry->appended_at;
}

void MemoryQueue::Close() {
  closed_ = true;
  room_->Notify();
}

}  // namespace penstock::queue
