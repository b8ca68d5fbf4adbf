#include "queue/stored_letters.h"

#include <algorithm>

namespace penstock::queue {

using store::LetterRecord;
using store::Transaction;

StoredLetters::StoredLetters(store::Store* store, uint32_t queue, const Limits& limits,
                             const Clock* clock)
    : store_(store), queue_(queue), clock_(clock), limits_(limits) {}

StoredLetters::~StoredLetters() { store_->Remove(this); }

Result<std::unique_ptr<StoredLetters>> StoredLetters::Open(store::Store* store,
                                                           const std::string& name,
                                                           const Limits& limits,
                                                           const Clock* clock) {
  const auto record = store->FindOrMakeQueue(name);
  if (!record) return tl::unexpected(record.error());
  std::unique_ptr<StoredLetters> letters(new StoredLetters(store, record->queue, limits, clock));
  auto counted = store->WatchLetters(letters.get(), [&letters] { return letters->Count(); });
  if (!counted) return tl::unexpected(counted.error());
  return letters;
}

Result<void> StoredLetters::Count() {
  Usage usage;
  store::LetterFilter filter;
  filter.queue = queue_;
  auto read = store::ForEachLetter(*store_, filter, [&usage](const LetterRecord& letter) {
    ++usage.events;
    usage.bytes += store::LetterBytes(letter);
    return true;
  });
  if (!read) return read;
  std::lock_guard lock(mutex_);
  kept_ = usage;
  return {};
}

LetterRecord StoredLetters::ToRecord(const Letter& letter, const std::string& sink) const {
  LetterRecord record;
  record.queue = queue_;
  record.queue_id = letter.queue_id;
  record.offset = letter.offset;
  record.sink = sink;
  record.id = letter.id;
  record.reason = letter.reason;
  record.why = static_cast<uint8_t>(letter.why);
  record.code = letter.code;
  record.attempts = letter.attempts;
  record.buried_ns = clock_->WallNs();
  record.event.resize(store::RecordBytes(letter.event()));
  store::WriteRecord(letter.event(), record.event.data());
  return record;
}

namespace {

uint64_t BytesOfOne(const Letter& letter, const std::string& sink) {
  LetterRecord record;
  record.sink = sink;
  record.id = letter.id;
  record.reason = letter.reason;
  return store::LetterBytes(record) + store::RecordBytes(letter.event());
}

}  // namespace

uint64_t StoredLetters::BytesOf(const std::vector<Letter>& letters, const std::string& sink) {
  uint64_t bytes = 0;
  for (const Letter& letter : letters) bytes += BytesOfOne(letter, sink);
  return bytes;
}

StoredLetters::Limits StoredLetters::limits() const {
  std::lock_guard lock(mutex_);
  return limits_;
}

void StoredLetters::SetLimits(const Limits& limits) {
  std::lock_guard lock(mutex_);
  limits_ = limits;
}

DeadLetters::Room StoredLetters::Reserve(const Letter& letter, const std::string& sink) {
  const uint64_t bytes = BytesOfOne(letter, sink);
  std::lock_guard lock(mutex_);
  const uint64_t events = kept_.events + reserved_.events;
  const bool fits = events == 0 || (events < limits_.max_events &&
                                    kept_.bytes + reserved_.bytes + bytes <= limits_.max_bytes);
  if (!fits && !limits_.drop_oldest) return Room::kFull;
  ++reserved_.events;
  reserved_.bytes += bytes;
  return Room::kReserved;
}

void StoredLetters::Keep(const std::string& sink, std::vector<Letter> letters,
                         std::function<void()> stored) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back({sink, std::move(letters), std::move(stored)});
  }
  store_->Changed(this, store::Store::Urgency::kNow);
}

Result<void> StoredLetters::Put(Transaction& transaction, const std::string& sink,
                                const std::vector<Letter>& letters, Change* change) const {
  for (const Letter& letter : letters) {
    if (auto put = store::PutLetter(transaction, ToRecord(letter, sink)); !put) return put;
    ++change->events;
    change->bytes += BytesOfOne(letter, sink);
  }
  return limits().drop_oldest ? MakeRoom(transaction, change) : Result<void>();
}

Result<void> StoredLetters::MakeRoom(Transaction& transaction, Change* change) const {
  Usage usage;
  Limits limits;
  {
    std::lock_guard lock(mutex_);
    usage = kept_;
    limits = limits_;
  }
  usage.events += change->events - change->removed_events;
  usage.bytes += change->bytes - change->removed_bytes;
  while (usage.events > 1 && (usage.events > limits.max_events || usage.bytes > limits.max_bytes)) {
    const auto oldest = transaction.Seek(store::KeyPrefix(store::Kind::kLetter, queue_));
    if (!oldest) return tl::unexpected(oldest.error());
    if (!*oldest) return {};
    const auto envelope = store::Open((**oldest).value);
    if (!envelope) return tl::unexpected(envelope.error());
    const auto letter = store::DecodeLetter(envelope->body);
    if (!letter) return tl::unexpected(letter.error());
    const uint64_t bytes = store::LetterBytes(*letter);
    auto removed = store::RemoveLetter(transaction, *letter, store::LetterFate::kDropped);
    if (!removed) return tl::unexpected(removed.error());
    --usage.events;
    usage.bytes -= std::min(usage.bytes, bytes);
    ++change->removed_events;
    change->removed_bytes += bytes;
  }
  return {};
}

void StoredLetters::Done(const Change& change) {
  std::lock_guard lock(mutex_);
  reserved_.events -= change.events;
  reserved_.bytes -= change.bytes;
  Add(change);
}

void StoredLetters::Changed(const Change& change) {
  std::lock_guard lock(mutex_);
  Add(change);
}

void StoredLetters::Add(const Change& change) {
  kept_.events += change.events - std::min(change.removed_events, kept_.events + change.events);
  kept_.bytes += change.bytes - std::min(change.removed_bytes, kept_.bytes + change.bytes);
}

void StoredLetters::Dropped(const store::LetterSums& letters) {
  const auto mine = letters.find(queue_);
  if (mine != letters.end()) Changed({0, 0, mine->second.events, mine->second.bytes});
}

Result<void> StoredLetters::Write(Transaction& transaction, uint64_t* room) {
  std::vector<Waiting> waiting;
  {
    std::lock_guard lock(mutex_);
    writing_ = 0;
    change_ = {};
    for (const Waiting& w : waiting_) {
      const uint64_t bytes = BytesOf(w.letters, w.sink);
      if (bytes > *room) break;
      *room -= bytes;
      waiting.push_back(w);
    }
  }
  Change change;
  for (const Waiting& w : waiting) {
    if (auto put = Put(transaction, w.sink, w.letters, &change); !put) return put;
  }
  std::lock_guard lock(mutex_);
  writing_ = waiting.size();
  change_ = change;
  return {};
}

void StoredLetters::Committed() {
  std::vector<Waiting> stored;
  Change change;
  {
    std::lock_guard lock(mutex_);
    const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(writing_);
    stored.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
    change = change_;
    writing_ = 0;
  }
  Done(change);
  for (const Waiting& w : stored) w.stored();
}

StoredLetters::Usage StoredLetters::usage() const {
  std::lock_guard lock(mutex_);
  return {kept_.events + reserved_.events, kept_.bytes + reserved_.bytes};
}

}  // namespace penstock::queue
