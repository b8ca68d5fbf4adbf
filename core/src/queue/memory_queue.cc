#include "queue/memory_queue.h"

#include <algorithm>
#include <cassert>

namespace penstock::queue {
namespace {

// Gives a block's bytes back to the budget when the last reader lets go of it, not when the queue does.
struct ChargedBlock {
  std::shared_ptr<const event::Block> block;
  std::shared_ptr<MemoryBudget::Share> share;
  uint64_t bytes;
  ~ChargedBlock() {
    block.reset();
    share->Return(bytes);
  }
};

}  // namespace

MemoryQueue::MemoryQueue(uint64_t id, Limits limits, MemoryBudget* budget, uint64_t reserve,
                         const Clock* clock, OnSettled on_settled)
    : id_(id),
      limits_(limits),
      clock_(clock),
      on_settled_(std::move(on_settled)),
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
    if (taken == 0) {
      // Ask to be told of freed memory, then look again: what came back in between would be missed.
      share_->WakeWhenFreed();
      taken = TryAppend(batch, *accepted);
    }
    *accepted += taken;
    if (taken > 0) continue;
    if (limits_.when_full != WhenFull::kBlock) {
      DropNewest(batch, *accepted);
      *accepted = batch.count;
      break;
    }
    if (timeout == Nanoseconds::zero()) return PENSTOCK_AGAIN;
    if (deadline == TimePoint{})
      deadline = timeout < Nanoseconds::zero() ? TimePoint::max() : clock_->Now() + timeout;
    if (deadline != TimePoint::max() && clock_->Now() >= deadline) return PENSTOCK_AGAIN;
    room_->WaitPast(ticket, deadline);
  }
  return PENSTOCK_OK;
}

size_t MemoryQueue::TryAppend(const penstock_event_batch& batch, size_t first) {
  Freed freed;
  size_t count = 0;
  uint64_t bytes = 0;
  uint64_t first_offset = 0;
  {
    std::lock_guard lock(mutex_);
    while (first + count < batch.count) {
      const uint64_t more = event::ChargedBytes(event::ReadEvent(batch, first + count));
      const uint64_t held = end_ - begin_ + count;
      const bool empty = held == 0;  // an event larger than the bound passes alone
      const bool fits = empty || (held < limits_.max_events && bytes_ + bytes + more <= limits_.max_bytes);
      if (fits && share_->TryTake(more)) {
        bytes += more;
        ++count;
        continue;
      }
      if (limits_.when_full != WhenFull::kDropOldest || !DropOldest(&freed)) break;
      if (!fits) continue;
      // The memory comes back only when the block goes, so that has to happen before the next try.
      freed.clear();
    }
    // One thread appends at a time, so that these stay as they are until the block is in its place.
    first_offset = end_;
  }
  freed.clear();
  if (count == 0) return 0;

  auto block = event::Block::Take(batch, first, count, first_offset, clock_->WallNs());
  const event::Block* raw = block.get();
  auto charged = std::make_shared<ChargedBlock>(ChargedBlock{std::move(block), share_, bytes});
  const TimePoint now = clock_->Now();
  std::lock_guard lock(mutex_);
  entries_.push_back({std::shared_ptr<const event::Block>(std::move(charged), raw), now});
  end_ += count;
  bytes_ += bytes;
  if (on_settled_) {
    for (uint64_t offset = first_offset; offset < end_; ++offset)
      ack_tokens_.push_back(raw->at(offset).ack_token);
  }
  for (const auto& [id, reader] : readers_) reader.wake->Notify();
  return count;
}

void MemoryQueue::DropNewest(const penstock_event_batch& batch, size_t first) {
  std::vector<uint64_t> acks;
  for (size_t i = first; i < batch.count; ++i) {
    const penstock_event event = event::ReadEvent(batch, i);
    acks.push_back(event.ack_token);
    if (event.owner != nullptr) event.owner->release(event.owner, 1);
  }
  {
    std::lock_guard lock(mutex_);
    dropped_newest_ += batch.count - first;
  }
  if (on_settled_) on_settled_(acks.data(), acks.size());
}

bool MemoryQueue::DropOldest(Freed* freed) {
  if (begin_ == end_) return false;
  MoveBegin(begin_ + 1, freed);
  return true;
}

void MemoryQueue::MoveBegin(uint64_t offset, Freed* freed) {
  while (begin_ < offset) {
    const event::Block& front = *entries_.front().block;
    const uint64_t stop = std::min(offset, front.end_offset());
    for (; begin_ < stop; ++begin_) bytes_ -= front.charged_bytes(begin_);
    if (begin_ < front.end_offset()) break;
    freed->push_back(std::move(entries_.front().block));
    entries_.pop_front();
  }
}

ReaderId MemoryQueue::AddReader(uint64_t start, std::shared_ptr<Signal> wake) {
  std::lock_guard lock(mutex_);
  const ReaderId id = next_reader_++;
  const uint64_t from = std::clamp(start, begin_, end_);
  readers_[id] = Reader{from, from, std::move(wake)};
  return id;
}

std::deque<MemoryQueue::Entry>::const_iterator MemoryQueue::Find(uint64_t offset) const {
  return std::partition_point(entries_.begin(), entries_.end(), [offset](const Entry& e) {
    return e.block->end_offset() <= offset;
  });
}

ReadResult MemoryQueue::Read(uint64_t offset, uint64_t max_events, uint64_t max_bytes) const {
  ReadResult result;
  std::lock_guard lock(mutex_);
  result.begin = result.end = std::max(offset, begin_);
  uint64_t bytes = 0;
  for (auto it = Find(result.begin); it != entries_.end() && max_events > 0 && bytes < max_bytes; ++it) {
    Run run{it->block, result.end, result.end};
    const uint64_t stop = std::min(it->block->end_offset(), run.begin + max_events);
    while (run.end < stop && bytes < max_bytes) bytes += it->block->charged_bytes(run.end++);
    max_events -= run.end - run.begin;
    result.end = run.end;
    result.runs.push_back(std::move(run));
  }
  return result;
}

void MemoryQueue::Release(ReaderId reader, uint64_t hold, uint64_t settled) {
  Settled done;
  {
    std::lock_guard lock(mutex_);
    Reader& mine = readers_.at(reader);
    assert(settled <= end_ && hold >= settled);
    mine.hold = std::max(mine.hold, hold);
    mine.settled = std::max(mine.settled, settled);
    done = FollowReaders();
  }
  Announce(std::move(done));
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
    const auto end = ack_tokens_.begin() + static_cast<std::ptrdiff_t>(min_settled - settled_);
    done.ack_tokens.assign(ack_tokens_.begin(), end);
    ack_tokens_.erase(ack_tokens_.begin(), end);
  }
  settled_ = min_settled;
  return done;
}

void MemoryQueue::Announce(Settled done) {
  done.freed.clear();
  room_->Notify();
  if (!done.ack_tokens.empty()) on_settled_(done.ack_tokens.data(), done.ack_tokens.size());
}

uint64_t MemoryQueue::WithinBound(uint64_t offset, uint64_t max_events, uint64_t max_bytes,
                                  Nanoseconds max_age) const {
  std::lock_guard lock(mutex_);
  uint64_t from = std::max(offset, begin_);
  if (max_events > 0 && end_ - from > max_events) from = end_ - max_events;
  if (max_bytes > 0 && bytes_ > max_bytes) {
    uint64_t sum = 0;
    for (auto it = entries_.rbegin(); it != entries_.rend() && it->block->end_offset() > from; ++it) {
      uint64_t at = it->block->end_offset();
      while (at > std::max(from, it->block->first_offset()) &&
             sum + it->block->charged_bytes(at - 1) <= max_bytes)
        sum += it->block->charged_bytes(--at);
      if (at > std::max(from, it->block->first_offset())) from = at;
    }
  }
  if (max_age > Nanoseconds::zero()) {
    const TimePoint oldest = clock_->Now() - max_age;
    for (auto it = Find(from); it != entries_.end() && it->appended_at < oldest; ++it)
      from = it->block->end_offset();
  }
  return from;
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
  return {end_, dropped_newest_, end_ - begin_, bytes_};
}

void MemoryQueue::Close() {
  closed_ = true;
  room_->Notify();
}

}  // namespace penstock::queue
