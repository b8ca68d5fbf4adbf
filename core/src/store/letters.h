// Dead letters in the store: put, found, removed. Each change also keeps the counts of its route.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/store.h"

namespace penstock::store {

// What a dead letter takes of the bounds: its value in the store.
uint64_t LetterBytes(const LetterRecord& letter);

// In the caller's transaction. Putting one that is there already replaces it and counts nothing.
Result<void> PutLetter(Transaction& transaction, const LetterRecord& letter);
enum class LetterFate { kReplayed, kDropped };
// false: it was not there.
Result<bool> RemoveLetter(Transaction& transaction, const LetterRecord& letter, LetterFate fate);

// Which letters; what is not set matches all.
struct LetterFilter {
  std::optional<uint32_t> queue;
  std::string sink, id;
  std::string reason;                  // a part of it
  int64_t since_ns = 0, until_ns = 0;  // buried at or after, before; 0: any time

  bool Matches(const LetterRecord& letter) const;
};

// Calls f with each letter that matches, by queue and then from the oldest on, until it returns
// false. In pieces, so that the store is not held up: what is buried meanwhile may be missed. A
// value that cannot be read is an error that names its place.
Result<void> ForEachLetter(const Store& store, const LetterFilter& filter,
                           const std::function<bool(const LetterRecord&)>& f);

// The same piece by piece: the next that match, behind *place (empty: the first), which moves on.
// None: that was all.
Result<std::vector<LetterRecord>> NextLetters(const Store& store, const LetterFilter& filter,
                                              std::string* place);

// Both say how many. Any thread; they wait for the disk. Who watches letters is told of those that
// are dropped.
Result<uint64_t> MarkForReplay(Store* store, const LetterFilter& filter);
Result<uint64_t> DropLetters(Store* store, const LetterFilter& filter);

Result<std::vector<LetterCounts>> CountsOfLetters(const Store& store);

}  // namespace penstock::store
