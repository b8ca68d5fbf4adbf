// The dead letters of one route that are to be sent again, as a queue that one sink reads.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "queue/budget.h"
#include "queue/dead_letters.h"
#include "queue/queue.h"
#include "queue/stored_letters.h"
#include "store/letters.h"

namespace penstock::queue {

// Offsets are only places in the row of letters to be sent; ids stay what they were (IdentityOf).
// A letter leaves the store once it is delivered, or dropped by a filter; one that is rejected
// again stays there, with the new reason and without its mark; if it was marked anew on its way, it
// keeps that mark and is sent once more. A crash sends again what was not recorded.
class ReplayQueue final : public Queue, public DeadLetters, private store::Member {
 public:
  // Store, budget and clock outlive the queue and the blocks read from it.
  ReplayQueue(store::Store* store, std::shared_ptr<StoredLetters> letters, std::string sink,
              MemoryBudget* budget, const Clock* clock);
  ~ReplayQueue() override;

  // Takes up what has been marked since; how many there are then to be sent.
  Result<uint64_t> Load();

  uint64_t id() const override { return 0; }
  std::pair<uint64_t, uint64_t> IdentityOf(uint64_t offset) const override;
  // Nothing is appended but by Load.
  penstock_status Append(const penstock_event_batch& batch, size_t* accepted,
                         Nanoseconds timeout) override;
  Reader AddReader(const std::string& name, Start start, std::shared_ptr<Signal> wake) override;
  ReadResult Read(ReaderId reader, uint64_t offset, uint64_t max_events,
                  uint64_t max_bytes) override;
  void Release(ReaderId reader, Progress progress) override;
  uint64_t WithinBound(uint64_t offset, uint64_t max_events, uint64_t max_bytes,
                       Nanoseconds max_age) const override;
  uint64_t begin() const override;
  uint64_t end() const override;
  Stats stats() const override;
  void Close() override {}

  // A letter that is buried again has its place already.
  Room Reserve(const Letter&, const std::string&) override { return Room::kReserved; }
  void Keep(const std::string&, std::vector<Letter>, std::function<void()>) override {}

 private:
  struct Identity {
    uint64_t queue_id, offset;
    auto operator<=>(const Identity&) const = default;
  };
  struct Marked {
    Identity identity;
    uint8_t mark;
  };
  Result<void> Write(store::Transaction& transaction, uint64_t* room) override;
  void Committed() override;
  // The letter as it lies in the store; nullopt: it was dropped meanwhile.
  Result<std::optional<store::LetterRecord>> Find(const store::Transaction& transaction,
                                                  const Identity& identity) const;

  store::Store* const store_;
  const std::shared_ptr<StoredLetters> letters_;
  const std::string sink_;
  MemoryBudget* const budget_;
  const Clock* const clock_;

  mutable std::mutex mutex_;
  std::deque<Marked> row_;    // of [begin_, end)
  std::set<Identity> known_;  // in row_
  uint64_t begin_ = 0;        // what lies before it is settled in the store
  uint64_t settled_ = 0;
  std::map<uint64_t, Letter> again_;  // by place: rejected again
  uint64_t writing_ = 0;              // settled_ of the commit under way
  StoredLetters::Change change_;      // of it
  std::vector<Marked> marked_again_;  // in it: rejected again, and marked anew meanwhile
  std::shared_ptr<Signal> wake_;
  std::shared_ptr<MemoryBudget::Share> share_;
};

}  // namespace penstock::queue
