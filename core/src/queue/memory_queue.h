// The queue in memory: a deque of blocks.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "queue/budget.h"
#include "queue/dead_letters.h"
#include "queue/queue.h"

namespace penstock::queue {

class MemoryQueue : public Queue, public std::enable_shared_from_this<MemoryQueue> {
 public:
  // reserve: bytes of the budget that are this queue's own. Clock and budget must outlive the queue
  // and all blocks read from it. on_settled is called by the thread that settled the last of the
  // events, and from within Append for those that kDropNewest drops; it may be empty.
  MemoryQueue(uint64_t id, Limits limits, MemoryBudget* budget, uint64_t reserve,
              const Clock* clock, OnSafe on_settled,
              std::shared_ptr<DeadLetters> letters = nullptr);
  ~MemoryQueue() override;

  uint64_t id() const override { return id_; }
  penstock_status Append(const penstock_event_batch& batch, size_t* accepted,
                         Nanoseconds timeout) override;
  Reader AddReader(const std::string& name, Start start, std::shared_ptr<Signal> wake) override;
  void RemoveReader(ReaderId reader) override;
  void SetLimits(const Limits& limits) override;
  void SetOnSafe(OnSafe on_safe) override;
  ReadResult Read(ReaderId reader, uint64_t offset, uint64_t max_events,
                  uint64_t max_bytes) override;
  void Release(ReaderId reader, Progress progress) override;
  uint64_t WithinBound(uint64_t offset, uint64_t max_events, uint64_t max_bytes,
                       Nanoseconds max_age) const override;
  uint64_t begin() const override;
  uint64_t end() const override;
  Stats stats() const override;
  std::optional<TimePoint> AppendedAt(uint64_t offset) const override;
  void Close() override;

 private:
  // How far a reader has got.
  struct Mark {
    std::string name;
    uint64_t start, dropped_newest_before;
    uint64_t hold, settled;
    uint64_t wanted = 0;    // settled, once the letters are stored
    uint64_t unstored = 0;  // letters
    std::shared_ptr<Signal> wake;
  };
  // Blocks to let go of once the mutex is released: that runs the plugin's release().
  using Freed = std::vector<std::shared_ptr<const event::Block>>;
  // What is to be done once the mutex is released.
  struct Settled {
    Freed freed;
    std::vector<uint64_t> ack_tokens;
  };
  struct Entry {
    std::shared_ptr<const event::Block> block;
    TimePoint appended_at;
    uint64_t bytes_before;  // of all events ever appended before this block
  };
  // Events of a batch that have room by all bounds, and are charged to the budget.
  struct Room {
    size_t events = 0;
    uint64_t bytes = 0;
  };

  // Takes as many events of the batch from first on as fit now, by all bounds; 0: none.
  size_t TryAppend(const penstock_event_batch& batch, size_t first);
  Room MakeRoom(const penstock_event_batch& batch, size_t first);
  void Insert(std::shared_ptr<const event::Block> block, uint64_t bytes);
  bool Drops() const;
  void DropNewest(const penstock_event& event);
  // Waits until there may be room; what Append should return if not OK.
  penstock_status Wait(Signal::Ticket ticket, Nanoseconds timeout, TimePoint* deadline);
  void MoveBegin(uint64_t offset, Freed* freed);
  Settled FollowReaders();
  void LettersStored(ReaderId reader, size_t n);
  // Advances what f changes under the lock, and tells everybody. Nothing for a reader that is gone.
  template <typename F>
  void Advance(ReaderId reader, F&& f);
  // What f does to the readers, and what follows from it.
  template <typename F>
  void Follow(F&& f);
  // The first event such that those from it on have at most max_bytes.
  uint64_t WithinBytes(uint64_t max_bytes) const;
  // The blocks lie in offset order; the one that holds offset, or the end.
  std::deque<Entry>::const_iterator Find(uint64_t offset) const;

  const uint64_t id_;
  Limits limits_;
  const Clock* const clock_;
  OnSafe on_settled_;
  std::atomic<bool> tells_;                                          // on_settled_ is there
  const std::shared_ptr<DeadLetters> letters_;                       // null: none are kept
  const std::shared_ptr<Signal> room_ = std::make_shared<Signal>();  // more room, or closed
  const std::shared_ptr<MemoryBudget::Share> share_;                 // wakes room_
  std::atomic<bool> closed_{false};

  std::mutex ack_mutex_;  // before mutex_; keeps acks in order
  mutable std::mutex mutex_;
  std::deque<Entry> entries_;
  uint64_t begin_ = 0, end_ = 0;
  uint64_t bytes_ = 0;           // held now
  uint64_t appended_bytes_ = 0;  // ever
  uint64_t dropped_newest_ = 0;
  std::map<ReaderId, Mark> readers_;
  ReaderId next_reader_ = 0;
  uint64_t settled_ = 0;             // by every reader
  std::deque<uint64_t> ack_tokens_;  // of [settled_, end_), when on_settled_ is there
  uint64_t told_from_ = 0;           // nobody is told of events below
};

}  // namespace penstock::queue
