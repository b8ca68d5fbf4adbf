#include "store/letters.h"

#include <algorithm>

namespace penstock::store {
namespace {

// A piece of work under one transaction.
constexpr size_t kPiece = 256;
constexpr size_t kPieceBytes = 4 << 20;

std::string KeyOf(const LetterRecord& letter) {
  return LetterKey(letter.queue, letter.queue_id, letter.offset, letter.sink);
}

Result<LetterCounts> GetCounts(const Transaction& transaction, uint32_t queue,
                               const std::string& sink) {
  LetterCounts counts;
  counts.queue = queue;
  counts.sink = sink;
  const auto value = transaction.Get(LetterCountsKey(queue, sink));
  if (!value) return tl::unexpected(value.error());
  if (!*value) return counts;
  const auto envelope = Open(**value);
  if (!envelope) return tl::unexpected(envelope.error());
  return DecodeLetterCounts(envelope->body);
}

Result<void> PutCounts(Transaction& transaction, const LetterCounts& counts) {
  return transaction.Put(LetterCountsKey(counts.queue, counts.sink),
                         Encode(counts, transaction.number()));
}

Result<LetterRecord> Decode(const KeyValue& pair) {
  const auto envelope = Open(pair.value);
  if (!envelope) return tl::unexpected(Error(envelope.error()).Prefixed("a dead letter"));
  return DecodeLetter(envelope->body);
}

std::string PrefixOf(const LetterFilter& filter) {
  return filter.queue ? KeyPrefix(Kind::kLetter, *filter.queue)
                      : std::string(1, static_cast<char>(Kind::kLetter));
}

// The next letters behind the key `after` that match; *after becomes the last one looked at.
Result<std::vector<LetterRecord>> NextPiece(const Transaction& transaction,
                                            const LetterFilter& filter, std::string* after,
                                            bool* more) {
  std::vector<LetterRecord> piece;
  const std::string prefix = PrefixOf(filter);
  size_t seen = 0, bytes = 0;
  *more = false;
  std::string at = after->empty() ? prefix : *after + '\0';
  for (;;) {
    const auto found = transaction.Seek(at);
    if (!found) return tl::unexpected(found.error());
    if (!*found || !(**found).key.starts_with(prefix)) return piece;
    *after = (**found).key;
    auto letter = Decode(**found);
    if (!letter) return tl::unexpected(letter.error());
    bytes += (**found).value.size();
    if (filter.Matches(*letter)) piece.push_back(std::move(*letter));
    if (++seen == kPiece || bytes >= kPieceBytes) {
      *more = true;
      return piece;
    }
    at = *after + '\0';
  }
}

// Applies f to all that match, each piece in a transaction of its own; those that f drops it adds
// to dropped.
Result<uint64_t> Change(
    Store* store, const LetterFilter& filter,
    const std::function<Result<bool>(Transaction&, LetterRecord&, LetterSums* dropped)>& f) {
  uint64_t changed = 0;
  std::string after;
  for (bool more = true; more;) {
    uint64_t now = 0;
    LetterSums dropped;
    std::string last = after;
    const auto change = [&](Transaction& transaction) -> Result<void> {
      auto piece = NextPiece(transaction, filter, &last, &more);
      if (!piece) return tl::unexpected(piece.error());
      for (LetterRecord& letter : *piece) {
        const auto one = f(transaction, letter, &dropped);
        if (!one) return tl::unexpected(one.error());
        now += *one ? 1 : 0;
      }
      return {};
    };
    if (auto done = store->Apply(change, &dropped); !done) return tl::unexpected(done.error());
    changed += now;
    after = last;
  }
  return changed;
}

}  // namespace

uint64_t LetterBytes(const LetterRecord& letter) {
  constexpr uint64_t kNumbers = 64;
  return kEnvelopeBytes + kNumbers + letter.sink.size() + letter.id.size() + letter.reason.size() +
         letter.event.size();
}

Result<void> PutLetter(Transaction& transaction, const LetterRecord& letter) {
  const std::string key = KeyOf(letter);
  const auto there = transaction.Get(key);
  if (!there) return tl::unexpected(there.error());
  if (!*there) {
    auto counts = GetCounts(transaction, letter.queue, letter.sink);
    if (!counts) return tl::unexpected(counts.error());
    ++counts->buried;
    if (auto put = PutCounts(transaction, *counts); !put) return put;
  }
  return transaction.Put(key, Encode(letter, transaction.number()));
}

Result<bool> RemoveLetter(Transaction& transaction, const LetterRecord& letter, LetterFate fate) {
  const auto deleted = transaction.Delete(KeyOf(letter));
  if (!deleted || !*deleted) return deleted;
  auto counts = GetCounts(transaction, letter.queue, letter.sink);
  if (!counts) return tl::unexpected(counts.error());
  ++(fate == LetterFate::kReplayed ? counts->replayed : counts->dropped);
  if (auto put = PutCounts(transaction, *counts); !put) return tl::unexpected(put.error());
  return true;
}

bool LetterFilter::Matches(const LetterRecord& letter) const {
  if (!sink.empty() && letter.sink != sink) return false;
  if (!id.empty() && letter.id != id) return false;
  if (!reason.empty() && letter.reason.find(reason) == std::string::npos) return false;
  if (since_ns != 0 && letter.buried_ns < since_ns) return false;
  return until_ns == 0 || letter.buried_ns < until_ns;
}

Result<std::vector<LetterRecord>> NextLetters(const Store& store, const LetterFilter& filter,
                                              std::string* place) {
  std::vector<LetterRecord> piece;
  for (bool more = true; more && piece.empty();) {
    auto read = store.Read([&](const Transaction& transaction) -> Result<void> {
      auto next = NextPiece(transaction, filter, place, &more);
      if (!next) return tl::unexpected(next.error());
      piece = std::move(*next);
      return {};
    });
    if (!read) return tl::unexpected(read.error());
  }
  return piece;
}

Result<void> ForEachLetter(const Store& store, const LetterFilter& filter,
                           const std::function<bool(const LetterRecord&)>& f) {
  std::string place;
  for (;;) {
    const auto piece = NextLetters(store, filter, &place);
    if (!piece) return tl::unexpected(piece.error());
    if (piece->empty()) return {};
    for (const LetterRecord& letter : *piece) {
      if (!f(letter)) return {};
    }
  }
}

Result<uint64_t> MarkForReplay(Store* store, const LetterFilter& filter) {
  const auto mark = [](Transaction& transaction, LetterRecord& letter,
                       LetterSums*) -> Result<bool> {
    letter.replay = static_cast<uint8_t>(letter.replay % UINT8_MAX + 1);
    if (auto put = PutLetter(transaction, letter); !put) return tl::unexpected(put.error());
    return true;
  };
  return Change(store, filter, mark);
}

Result<uint64_t> DropLetters(Store* store, const LetterFilter& filter) {
  const auto drop = [](Transaction& transaction, const LetterRecord& letter,
                       LetterSums* dropped) -> Result<bool> {
    auto removed = RemoveLetter(transaction, letter, LetterFate::kDropped);
    if (!removed || !*removed) return removed;
    LetterSum& sum = (*dropped)[letter.queue];
    ++sum.events;
    sum.bytes += LetterBytes(letter);
    return true;
  };
  return Change(store, filter, drop);
}

Result<std::vector<LetterCounts>> CountsOfLetters(const Store& store) {
  std::vector<LetterCounts> out;
  Result<void> bad;
  auto read = store.Read([&](const Transaction& transaction) {
    const std::string prefix(1, static_cast<char>(Kind::kLetterCounts));
    return transaction.ForEach(prefix, [&](const KeyValue& pair) {
      const auto envelope = Open(pair.value);
      auto counts =
          envelope ? DecodeLetterCounts(envelope->body) : tl::unexpected(envelope.error());
      if (!counts) bad = tl::unexpected(counts.error());
      if (counts) out.push_back(std::move(*counts));
      return bad.has_value();
    });
  });
  if (!read) return tl::unexpected(read.error());
  if (!bad) return tl::unexpected(bad.error());
  return out;
}

}  // namespace penstock::store
