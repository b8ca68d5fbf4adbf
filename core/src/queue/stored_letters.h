// One source's dead letters in the store, within their bounds.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "queue/dead_letters.h"
#include "store/letters.h"
#include "store/store.h"

namespace penstock::queue {

class StoredLetters final : public DeadLetters, private store::Member {
 public:
  struct Limits {
    uint64_t max_events = 100'000;
    uint64_t max_bytes = 64ull << 20;
    bool drop_oldest = false;  // when full; else kFull until somebody replays or drops some
  };
  // Of the source of that name. Store and clock outlive it.
  static Result<std::unique_ptr<StoredLetters>> Open(store::Store* store, const std::string& name,
                                                     const Limits& limits, const Clock* clock);
  ~StoredLetters() override;

  uint32_t queue() const { return queue_; }
  Room Reserve(const Letter& letter, const std::string& sink) override;
  void Keep(const std::string& sink, std::vector<Letter> letters,
            std::function<void()> stored) override;

  // ---- for a queue that writes its letters in its own transaction
  // What they take in the store.
  static uint64_t BytesOf(const std::vector<Letter>& letters, const std::string& sink);
  struct Change {
    uint64_t events = 0, bytes = 0;                  // written
    uint64_t removed_events = 0, removed_bytes = 0;  // taken out
  };
  Result<void> Put(store::Transaction& transaction, const std::string& sink,
                   const std::vector<Letter>& letters, Change* change) const;
  // That transaction is on the disk.
  void Done(const Change& change);

  // A transaction of others, for which no room was reserved, is on the disk.
  void Changed(const Change& change);
  struct Usage {
    uint64_t events = 0, bytes = 0;
  };
  Usage usage() const;
  Limits limits() const;
  // Letters beyond new limits stay.
  void SetLimits(const Limits& limits);

 private:
  struct Waiting {
    std::string sink;
    std::vector<Letter> letters;
    std::function<void()> stored;
  };
  StoredLetters(store::Store* store, uint32_t queue, const Limits& limits, const Clock* clock);
  Result<void> Write(store::Transaction& transaction, uint64_t* room) override;
  void Committed() override;
  void Dropped(const store::LetterSums& letters) override;
  Result<void> Count();  // what is there
  store::LetterRecord ToRecord(const Letter& letter, const std::string& sink) const;
  void Add(const Change& change);  // under mutex_
  Result<void> MakeRoom(store::Transaction& transaction, Change* change) const;

  store::Store* const store_;
  const uint32_t queue_;
  const Clock* const clock_;

  mutable std::mutex mutex_;
  Limits limits_;
  Usage kept_;      // in the store
  Usage reserved_;  // on their way there
  std::vector<Waiting> waiting_;
  size_t writing_ = 0;  // of waiting_, in the commit under way
  Change change_;       // of it
};

}  // namespace penstock::queue
