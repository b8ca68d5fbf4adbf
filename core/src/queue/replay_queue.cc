#include "queue/replay_queue.h"

#include <algorithm>
#include <optional>

#include "queue/charged_block.h"

namespace penstock::queue {

using store::LetterRecord;
using store::Transaction;

ReplayQueue::ReplayQueue(store::Store* store, std::shared_ptr<StoredLetters> letters,
                         std::string sink, MemoryBudget* budget, const Clock* clock)
    : store_(store),
      letters_(std::move(letters)),
      sink_(std::move(sink)),
      budget_(budget),
      clock_(clock) {}

ReplayQueue::~ReplayQueue() { store_->Remove(this); }

Result<uint64_t> ReplayQueue::Load() {
  store::LetterFilter filter;
  filter.queue = letters_->queue();
  filter.sink = sink_;
  std::vector<Marked> marked;
  auto read = store::ForEachLetter(*store_, filter, [&marked](const LetterRecord& letter) {
    if (letter.replay != 0) marked.push_back({{letter.queue_id, letter.offset}, letter.replay});
    return true;
  });
  if (!read) return tl::unexpected(read.error());
  std::shared_ptr<Signal> wake;
  uint64_t waiting = 0;
  {
    std::lock_guard lock(mutex_);
    for (const Marked& letter : marked) {
      if (known_.insert(letter.identity).second) row_.push_back(letter);
    }
    waiting = begin_ + row_.size() - settled_;
    wake = wake_;
  }
  if (wake) wake->Notify();
  return waiting;
}

std::pair<uint64_t, uint64_t> ReplayQueue::IdentityOf(uint64_t offset) const {
  std::lock_guard lock(mutex_);
  const Identity& identity = row_.at(offset - begin_).identity;
  return {identity.queue_id, identity.offset};
}

penstock_status ReplayQueue::Append(const penstock_event_batch&, size_t* accepted, Nanoseconds) {
  *accepted = 0;
  return PENSTOCK_STOPPED;
}

Reader ReplayQueue::AddReader(const std::string&, Start, std::shared_ptr<Signal> wake) {
  std::lock_guard lock(mutex_);
  share_ = budget_->MakeShare(0, wake, MemoryBudget::First::kAlways);
  wake_ = std::move(wake);
  return {0, 0, begin_, 0, {}};
}

Result<std::optional<LetterRecord>> ReplayQueue::Find(const Transaction& transaction,
                                                      const Identity& identity) const {
  const auto value = transaction.Get(
      store::LetterKey(letters_->queue(), identity.queue_id, identity.offset, sink_));
  if (!value) return tl::unexpected(value.error());
  if (!*value) return std::optional<LetterRecord>();
  const auto envelope = store::Open(**value);
  if (!envelope) return tl::unexpected(envelope.error());
  auto letter = store::DecodeLetter(envelope->body);
  if (!letter) return tl::unexpected(letter.error());
  return std::optional<LetterRecord>(std::move(*letter));
}

ReadResult ReplayQueue::Read(ReaderId, uint64_t offset, uint64_t max_events, uint64_t max_bytes) {
  ReadResult result;
  result.begin = result.end = offset;
  std::vector<Identity> wanted;
  std::shared_ptr<MemoryBudget::Share> share;
  {
    std::lock_guard lock(mutex_);
    share = share_;
    for (uint64_t at = offset; at < begin_ + row_.size() && wanted.size() < max_events; ++at)
      wanted.push_back(row_[at - begin_].identity);
  }
  const TimePoint now = clock_->Now();
  uint64_t bytes = 0;
  const auto read = store_->Read([&](const Transaction& transaction) -> Result<void> {
    for (const Identity& identity : wanted) {
      if (bytes >= max_bytes) return {};
      auto letter = Find(transaction, identity);
      if (!letter) return tl::unexpected(letter.error());
      if (!*letter) {
        // Dropped by hand before its turn: it is nobody's any more.
        if (!result.runs.empty()) return {};
        result.begin = ++result.end;
        continue;
      }
      auto block = store::DecodeRecord((**letter).event, result.end);
      if (!block) return tl::unexpected(block.error());
      const uint64_t charge = (*block)->total_charged_bytes();
      if (!share->TryTake(charge)) {
        share->WakeWhenFreed();
        if (!share->TryTake(charge)) return {};
      }
      bytes += charge;
      result.runs.push_back(
          {Charged(std::move(*block), share, charge), result.end, result.end + 1, now});
      ++result.end;
    }
    return {};
  });
  if (!read) store_->MarkFailed("reading dead letters: " + read.error().message);
  return result;
}

void ReplayQueue::Release(ReaderId, Progress progress) {
  {
    std::lock_guard lock(mutex_);
    settled_ = std::max(settled_, progress.settled);
    for (Letter& letter : progress.letters) again_[letter.place] = std::move(letter);
  }
  store_->Changed(this, store::Store::Urgency::kSoon);
}

Result<void> ReplayQueue::Write(Transaction& transaction, uint64_t* /*room*/) {
  std::deque<Marked> row;
  std::map<uint64_t, Letter> again;
  uint64_t begin = 0;
  {
    std::lock_guard lock(mutex_);
    writing_ = settled_;
    change_ = {};
    marked_again_.clear();
    begin = begin_;
    row.assign(row_.begin(), row_.begin() + static_cast<std::ptrdiff_t>(settled_ - begin_));
    again = again_;
  }
  for (size_t i = 0; i < row.size(); ++i) {
    auto letter = Find(transaction, row[i].identity);
    if (!letter) return tl::unexpected(letter.error());
    if (!*letter) continue;
    const auto rejected = again.find(begin + i);
    const bool dropped = rejected != again.end() && rejected->second.dropped;
    ++change_.removed_events;
    change_.removed_bytes += store::LetterBytes(**letter);
    if (rejected == again.end() || dropped) {
      auto removed =
          store::RemoveLetter(transaction, **letter,
                              dropped ? store::LetterFate::kDropped : store::LetterFate::kReplayed);
      if (!removed) return tl::unexpected(removed.error());
      continue;
    }
    LetterRecord changed = **letter;
    if (changed.replay == row[i].mark) changed.replay = 0;
    if (changed.replay != 0) marked_again_.push_back({row[i].identity, changed.replay});
    changed.reason = rejected->second.reason;
    changed.why = static_cast<uint8_t>(rejected->second.why);
    changed.code = rejected->second.code;
    changed.attempts += rejected->second.attempts;
    if (auto put = store::PutLetter(transaction, changed); !put) return put;
    ++change_.events;
    change_.bytes += store::LetterBytes(changed);
  }
  return {};
}

void ReplayQueue::Committed() {
  std::shared_ptr<Signal> wake;
  {
    std::lock_guard lock(mutex_);
    for (; begin_ < writing_; ++begin_) {
      known_.erase(row_.front().identity);
      again_.erase(begin_);
      row_.pop_front();
    }
    for (const Marked& letter : marked_again_) {
      if (known_.insert(letter.identity).second) row_.push_back(letter);
    }
    if (!marked_again_.empty()) wake = wake_;
  }
  if (wake) wake->Notify();
  letters_->Changed(change_);
}

uint64_t ReplayQueue::WithinBound(uint64_t offset, uint64_t, uint64_t, Nanoseconds) const {
  return offset;
}

uint64_t ReplayQueue::begin() const {
  std::lock_guard lock(mutex_);
  return begin_;
}

uint64_t ReplayQueue::end() const {
  std::lock_guard lock(mutex_);
  return begin_ + row_.size();
}

Stats ReplayQueue::stats() const {
  std::lock_guard lock(mutex_);
  return {begin_ + row_.size(), 0, row_.size(), 0, 0};
}

}  // namespace penstock::queue
