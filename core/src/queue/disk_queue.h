// The queue on disk: chunks of events in the gateway's store, the newest also in memory.
//
// Readers see an event once it is stored, so that nothing reaches a bus under an offset, and so an
// id, that a crash could give to another event. An event leaves the store in the commit that
// records that every reader has settled it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "queue/budget.h"
#include "queue/queue.h"
#include "queue/stored_letters.h"
#include "store/store.h"

namespace penstock::queue {

// What a cursor in the store says of its events.
Counters CountersOf(const store::CursorRecord& cursor);

class DiskQueue final : public Queue, private store::Member {
 public:
  // Opens the queue of that name, or makes it. limits count bytes as they lie in the store.
  // reserve: bytes of the budget that are this queue's own. Store, budget and clock outlive the
  // queue and all blocks read from it. on_stored is called by the store's thread, and from within
  // Append for those that kDropNewest drops; it may be empty.
  static Result<std::shared_ptr<DiskQueue>> Open(store::Store* store, const std::string& name,
                                                 const Limits& limits, MemoryBudget* budget,
                                                 uint64_t reserve, const Clock* clock,
                                                 OnSafe on_stored,
                                                 std::shared_ptr<StoredLetters> letters = nullptr);
  ~DiskQueue() override;

  uint64_t id() const override { return record_.id; }
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
  // Events in memory; stored or not yet.
  struct Entry {
    std::shared_ptr<const event::Block> block;
    TimePoint appended_at;
    int64_t appended_ns;
    uint64_t bytes;         // in the store
    uint64_t bytes_before;  // of all events ever appended before this block
  };
  // A reader: as it is, and what of it is in the store.
  struct Mark {
    store::CursorRecord record;  // as it is to be; record.settled is made for each commit
    event::OffsetSet above;      // what has settled above record.committed
    uint64_t hold = 0;
    uint64_t durable = 0;   // record.committed in the store
    uint64_t changes = 0;   // counts those of the record
    uint64_t recorded = 0;  // changes that are in the store
    bool changed() const { return changes != recorded; }
    std::vector<Letter> letters;                 // not in the store yet; they go with the cursor
    std::shared_ptr<Signal> wake;                // null: not added
    std::shared_ptr<MemoryBudget::Share> share;  // for what is read back
    std::shared_ptr<const event::Block> chunk;   // the last that was read back
    TimePoint chunk_appended_at{};
  };
  // Events of a batch that have room.
  struct Room {
    size_t events = 0;
    uint64_t bytes = 0;    // in the store
    uint64_t charged = 0;  // to the budget
  };
  // A chunk's place and size.
  struct ChunkInfo {
    uint64_t first = 0, end = 0, bytes_before = 0, bytes = 0;
    int64_t appended_ns = 0;
  };
  // What the commit that is under way writes.
  struct Writing {
    uint64_t stored = 0;  // the store's end afterwards
    uint64_t bytes_stored = 0;
    uint64_t begin = 0;
    uint64_t bytes_floor = 0;
    bool more_to_free = false;
    std::map<ReaderId, store::CursorRecord> cursors;
    std::map<ReaderId, uint64_t> changes;  // Mark::changes of cursors
    std::map<ReaderId, std::vector<Letter>> letters;
    std::vector<std::string> gone;
    StoredLetters::Change letters_change;
    uint64_t dropped_newest = 0;
  };

  DiskQueue(store::Store* store, store::QueueRecord record, const Limits& limits,
            MemoryBudget* budget, uint64_t reserve, const Clock* clock, OnSafe on_stored,
            std::shared_ptr<StoredLetters> letters);
  Result<void> Recover();

  // ---- appending
  size_t TryAppend(const penstock_event_batch& batch, size_t first, bool* full);
  Room MakeRoom(const penstock_event_batch& batch, size_t first, bool* full);
  bool FitsBounds(const Room& room, uint64_t more) const;
  bool DropOldestChunk();
  void Insert(std::shared_ptr<const event::Block> block, const Room& room);
  bool Drops() const;
  void DropNewest(const penstock_event& event);
  penstock_status Wait(Signal::Ticket ticket, Nanoseconds timeout, TimePoint* deadline);

  // ---- reading
  ReadResult ReadMemory(uint64_t offset, uint64_t max_events, uint64_t max_bytes) const;
  ReadResult ReadStore(ReaderId reader, uint64_t offset, uint64_t max_events, uint64_t max_bytes);
  // The chunk that holds offset, or the first one behind it. nullopt: there is none.
  Result<std::optional<ChunkInfo>> FindChunk(const store::Transaction& transaction,
                                             uint64_t offset) const;
  std::optional<ChunkInfo> FindChunk(uint64_t offset) const;
  uint64_t FirstInMemory() const;
  std::deque<Entry>::const_iterator Find(uint64_t offset) const;
  TimePoint ToTime(int64_t appended_ns) const;

  // ---- committing: the store's thread
  Result<void> Write(store::Transaction& transaction, uint64_t* room) override;
  void Committed() override;
  Result<void> WriteChunks(store::Transaction& transaction,
                           const std::vector<Entry>& entries) const;
  Result<void> DeleteChunks(store::Transaction& transaction);
  // What a repair said is lost, once nobody would come there any more.
  Result<void> DeleteHoles(store::Transaction& transaction);
  // The mark's record as it is to be written.
  static store::CursorRecord RecordOf(Mark* mark);

  // Under mutex_.
  // What need not stay in memory; to be freed without the lock, because that runs the plugin's
  // release().
  using Freed = std::vector<std::shared_ptr<const event::Block>>;
  Freed LetGoOfMemory();
  void LetGoOfOldest(Freed* freed);

  store::Store* const store_;
  store::QueueRecord record_;  // only number, id and name, once it is open
  Limits limits_;
  MemoryBudget* const budget_;
  const Clock* const clock_;
  OnSafe on_stored_;
  const std::shared_ptr<StoredLetters> letters_;  // null: none are kept
  const std::shared_ptr<Signal> room_ = std::make_shared<Signal>();
  const std::shared_ptr<MemoryBudget::Share> share_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> wants_room_{false};  // Append waits for it

  std::mutex ack_mutex_;  // before mutex_; held while on_stored_ is called for what is stored
  mutable std::mutex mutex_;
  std::deque<Entry> entries_;  // neighbours; the last one ends at end_
  uint64_t charged_ = 0;       // of entries_
  uint64_t begin_ = 0;         // the oldest offset held
  uint64_t stored_ = 0;        // behind the last event that is stored
  uint64_t end_ = 0;           // the next offset to be appended
  // Bytes in the store, counted from the first event ever appended: to the oldest chunk held, to
  // the last event stored, to the last one appended.
  uint64_t bytes_floor_ = 0, bytes_stored_ = 0, bytes_end_ = 0;
  uint64_t dropped_newest_ = 0;
  std::map<ReaderId, Mark> marks_;
  std::vector<std::string> gone_;  // names of readers whose cursors are still in the store
  ReaderId next_reader_ = 0;
  std::deque<uint64_t> ack_tokens_;  // of [stored_, end_), when on_stored_ is there
  uint64_t told_from_ = 0;           // nobody is told of events below
  Writing writing_;                  // the store's thread's, from Write to Committed
};

}  // namespace penstock::queue
