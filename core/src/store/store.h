// What the gateway keeps on disk: one LMDB environment for all queues, cursors, dead letters and
// ledgers, and the one thread that commits to it. A commit takes what everybody has to write by
// then, so that the number of syncs does not grow with the number of queues.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "platform/clock.h"
#include "platform/heartbeat.h"
#include "platform/log.h"
#include "platform/result.h"
#include "platform/signal.h"
#include "store/format.h"
#include "store/lmdb.h"
#include "store/seal.h"

namespace penstock::store {

// The right to open a store's directory: held by one process at a time, and gone with it.
class Lock {
 public:
  // Makes the directory if it is not there. kRetry: a process holds it, which the error names.
  static Result<Lock> Take(const std::string& directory);
  // The process that holds it, in words; nullopt: nobody does.
  static std::optional<std::string> Holder(const std::string& directory);
  Lock(Lock&& other) noexcept;
  Lock& operator=(Lock&&) = delete;
  ~Lock();

  const std::string& directory() const { return directory_; }

 private:
  Lock(std::string directory, int fd) : directory_(std::move(directory)), fd_(fd) {}
  std::string directory_;
  int fd_;
};

// When a commit goes: as soon as so much waits for it, or the first of it has waited so long.
struct CommitLimits {
  uint64_t events = 8192;
  uint64_t bytes = 1 << 20;
  Nanoseconds interval{std::chrono::milliseconds(2)};
};

// Dead letters, by queue.
struct LetterSum {
  uint64_t events = 0, bytes = 0;
};
using LetterSums = std::map<uint32_t, LetterSum>;

// Somebody who has things to write. The store's thread calls it.
class Member {
 public:
  Member() = default;
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;
  virtual ~Member() = default;

  // Puts what is to be committed into the transaction. The same may be asked for again. room: bytes
  // that events and dead letters may take, the oldest first, less what is taken here; the rest
  // waits for another commit. What frees room or takes next to none is written in any case.
  virtual Result<void> Write(Transaction& transaction, uint64_t* room) = 0;
  // What the last Write put is on the disk.
  virtual void Committed() = 0;
  // For who watches letters, on any thread: these were dropped by hand. They are gone from the
  // disk, and nothing was written since. Calls nothing of the store.
  virtual void Dropped(const LetterSums& /*letters*/) {}
};

// How the store is. Once it has failed it stays so.
struct StoreState {
  enum class Kind { kGood, kNoRoom, kFailed } kind = Kind::kGood;
  std::string reason;
};

struct StoreStats {
  uint64_t commits = 0;
  uint64_t used_bytes = 0;  // of the file: pages in use or free again
  uint64_t map_bytes = 0;
  Nanoseconds last_commit{0};  // how long it took
};

class Store {
 public:
  struct Options {
    uint64_t map_bytes =
        64 << 20;            // the most that the file may ever hold; at least twice the bounds
    unsigned readers = 126;  // that may read at the same moment
    CommitLimits commit;
    bool thread = true;  // false: commits happen only in CommitNow, on the caller's thread
    Heartbeats* heartbeats = nullptr;  // who watches the thread; outlives the store
  };

  // Opens the store, or makes a new one. The clock outlives it.
  static Result<std::unique_ptr<Store>> Open(Lock lock, const Options& options, const Clock* clock);
  // Commits what there is. All members must be gone.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // ---- reading: any thread
  // Calls f with a transaction that sees the last commit. f copies what it wants to keep, and is
  // quick: as long as it runs no page of the file is used again.
  Result<void> Read(const std::function<Result<void>(const Transaction&)>& f) const;
  Result<std::vector<QueueRecord>> Queues() const;
  Result<std::vector<CursorRecord>> Cursors(uint32_t queue) const;
  // The queue of that name, made now if there is none. At set-up, one thread.
  Result<QueueRecord> FindOrMakeQueue(const std::string& name);

  // ---- writing
  // When this returns the member is not being called and will not be.
  void Remove(Member* member);
  // Calls f, which may read, while nothing is written; the member is told of all letters that are
  // dropped by hand afterwards.
  Result<void> WatchLetters(Member* member, const std::function<Result<void>()>& f);

  enum class Urgency {
    kNow,   // a commit within the interval
    kSoon,  // with the next commit, or in a while: what a crash would only make happen again
  };
  // The member has something to write: events and bytes more than it said before. Any thread; may
  // be called with the member's locks held.
  void Changed(Member* member, Urgency urgency, uint64_t events = 0, uint64_t bytes = 0);
  // Waits until all that was announced before is on the disk; without room, for room. false: the
  // deadline came first, or the store has failed.
  bool Flush(TimePoint deadline);
  // Without a thread: one commit of everything announced.
  void CommitNow();
  // A change in one transaction of its own, from any thread; waits for the disk. dropped: letters
  // that f takes out, for who watches them.
  Result<void> Apply(const std::function<Result<void>(Transaction&)>& f,
                     const LetterSums* dropped = nullptr);

  // What was read is not what was written: nothing more is stored from here on.
  void MarkFailed(const std::string& reason) { SetState(StoreState::Kind::kFailed, reason); }
  StoreState state() const;
  StoreStats stats() const;
  // Called once, from the store's thread, when the store has failed. Set before members are added.
  void SetOnFailed(std::function<void()> f) { on_failed_ = std::move(f); }
  const std::string& directory() const { return lock_.directory(); }
  const FormatRecord& format() const { return format_; }
  const CommitLimits& commit_limits() const { return options_.commit; }

 private:
  struct Dirty {
    Member* member;
    uint64_t events, bytes;
  };
  Store(Lock lock, const Options& options, const Clock* clock);
  Result<void> OpenFiles();
  // Makes the database whole in a place of its own, then puts it where it belongs: a power cut in
  // between leaves no store that cannot be opened.
  Result<void> MakeFiles();
  Result<void> ReadFormat();
  void Run();
  // When the next commit is due; max(): there is nothing to write. Under mutex_.
  TimePoint Due() const;
  void CommitDirty();
  Result<void> CommitAll(const std::vector<Dirty>& dirty);
  // What frees room, and so many events as find some; how many bytes of them.
  Result<uint64_t> CommitWhatFits(const std::vector<Dirty>& dirty);
  Result<void> CommitTogether(const std::vector<Dirty>& dirty, uint64_t* room);
  // Runs f in a write transaction, commits it, and notes the commit in the seal.
  Result<void> Transact(const std::function<Result<void>(Transaction&)>& f);
  // Has the disk set aside for so much more, and for the commits that free room later.
  Result<void> Allocate(uint64_t bytes);
  uint64_t FreeBytes() const;  // that are set aside, or in pages that may be used again
  bool DiskIsFull() const;
  Result<void> NoRoom() const;  // the error
  void SetState(StoreState::Kind kind, std::string reason);

  Lock lock_;
  const Options options_;
  const Clock* const clock_;
  Environment environment_;
  SealFile seal_;
  bool seal_good_ = true;  // its last write was
  FormatRecord format_;
  log::Limiter no_room_log_{std::chrono::seconds(10)};
  bool no_room_told_ = false;
  uint64_t allocated_ = 0;  // bytes of the file that the disk has set aside
  std::function<void()> on_failed_;

  std::mutex commit_mutex_;               // before mutex_; held by who commits
  std::vector<Member*> letter_watchers_;  // under commit_mutex_
  mutable std::mutex mutex_;
  std::condition_variable ended_;  // a round of commits
  std::vector<Dirty> dirty_;
  uint64_t waiting_events_ = 0, waiting_bytes_ = 0;
  TimePoint due_ = TimePoint::max();
  TimePoint retry_at_{};  // no commit before, because there was no room
  Nanoseconds retry_delay_{0};
  bool flush_ = false;  // somebody waits for the next commit
  uint64_t rounds_begun_ = 0, rounds_ended_ = 0;
  bool last_round_good_ = true;
  StoreState state_;
  StoreStats stats_;
  bool stopping_ = false;
  Signal signal_;
  std::thread thread_;
};

}  // namespace penstock::store
