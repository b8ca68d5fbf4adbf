// How far one sink has got in one queue, and what of it is under way. Used by the sink's delivery
// thread; only Snapshot and Status are for others.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "delivery/dispatcher.h"
#include "delivery/window.h"

namespace penstock::delivery {

// A message's token: the lane above, the event's offset below.
inline constexpr uint32_t kLaneShift = 48;
inline constexpr uint64_t kOffsetMask = (uint64_t{1} << kLaneShift) - 1;
inline constexpr uint32_t kMaxLanes = 1u << (64 - kLaneShift);

// What is submitted at once: encoded messages of neighbouring events, but for those that a filter
// dropped.
struct Batch {
  // What a filter said of an event that it does not let pass, or that it failed on.
  struct Filtered {
    uint64_t offset;
    bool passes;        // it goes on all the same
    DropReason reason;  // kFiltered or kFilterError
    std::string error;
  };
  // An event that is to go to the dead letters: no filter or encoder can do anything with it.
  struct Refused {
    uint64_t offset;
    DropReason reason;
    std::string text;
  };
  std::vector<penstock_message> messages;
  size_t retried = 0;          // the first so many messages were submitted before
  uint64_t read_from = 0;      // events from here on were read from the queue for it
  uint64_t bytes = 0;          // of the messages' payloads
  uint64_t highest_taken = 0;  // the highest offset of the lane that the sink had taken before
  std::shared_ptr<event::Arena> arena;
  std::vector<Filtered> filtered;  // by offset; those may stand behind messages that are not taken
  std::optional<Refused> refused;  // behind all messages
};

class Cursor {
 public:
  Cursor(uint32_t lane, std::string sink, CursorSpec spec, const Clock* clock,
         const std::shared_ptr<Signal>& signal, uint64_t max_window, uint64_t seed,
         std::unique_ptr<Cursor> predecessor = nullptr);
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  uint32_t lane() const { return lane_; }
  bool replays() const { return spec_.replays; }
  uint64_t next() const { return window_.next(); }
  const std::string& source() const { return spec_.source->name; }

  // See the dispatcher's functions for a route.
  void EndAt(uint64_t offset);
  void Leave() { spec_.queue->RemoveReader(reader_.id); }
  void SetSource(const event::SourceInfo* source, const FilterStep& filter);

  // ---- what may be submitted
  // Jumps past what the queue has dropped, and past what is too far behind, if the user wants that.
  void Skip(TimePoint now);
  // Whether there is an event that may go now.
  bool HasWork(TimePoint now) const;
  // Its last attempt failed, and nothing has shown yet that the next one will not.
  bool probing() const { return backoff_.failures() > 0; }
  // Its part of the sink's window is used up. It goes on when half of what is in flight then has
  // settled: what follows goes in large batches, and not one by one as the receipts come in.
  void OutOfRoom() { resume_at_ = in_flight_ / 2; }
  bool WaitsForRoom() {
    if (in_flight_ > resume_at_) return true;
    resume_at_ = kNoWait;
    return false;
  }
  // The next events, encoded: at most max_events and about max_bytes of payload. At least one event
  // is taken out of the queue, if there is one, but filters may drop it; what is not built now is
  // by the next call.
  void Build(uint64_t max_events, uint64_t max_bytes, Batch* batch);
  uint32_t BatchFlags() const;
  // The sink took the first accepted messages of the batch; the rest was never submitted. Whether
  // events have settled by that: those that filters dropped, and one that was refused.
  bool Submitted(const Batch& batch, size_t accepted, TimePoint now);

  // ---- what came back
  // The message's receipt; false: no such message is in flight.
  bool Settle(uint64_t offset, int32_t outcome, uint32_t flags, std::string_view reason,
              int32_t code);
  // Gives up what is over the limit of age; tokens gets those that the sink has to give back first.
  void Expire(TimePoint now, std::vector<uint64_t>* tokens);
  // Looks whether the dead letters have room for what waits for it.
  void BuryHeld(TimePoint now);
  // The sink could not take a batch at all.
  void Refused(std::string_view reason);
  // After a number of receipts: begins the backoff if some failed, and moves the cursor.
  void Commit(TimePoint now);
  // Tells the queue how far the cursor has got.
  void ReleaseQueue();
  // The sink is connected again: what waits may go at once.
  void OnConnected();

  // When HasWork may become true by itself; max(): never.
  TimePoint NextDeadline(TimePoint now) const;
  bool Drained() const;
  uint64_t in_flight() const { return in_flight_; }
  uint64_t in_flight_bytes() const { return in_flight_bytes_; }

  Ledger Snapshot() const;
  RouteStatus Status() const;

 private:
  bool InBackoff(TimePoint now) const { return now < retry_at_; }
  // Behind the last event that is to be read now.
  uint64_t End() const { return std::min(end_, spec_.queue->end()); }
  void TakeOver(Cursor* predecessor);
  void SkipIfBehind(TimePoint now);
  // Everything in [next, end) was dropped, but for what settled before, and what the route is not
  // to see.
  void AppendDropped(uint64_t end, DropReason reason);
  // What settled before the last restart and comes next goes into the window.
  void PassBefore();
  // The event at offset has settled.
  void HasSettled(uint64_t offset);
  // Has what settled above the cursor recorded, as far as there is room for it.
  void RecordAbove();
  void Record(Slot* slot);
  // Moves the cursor; under ledger_mutex_.
  void PopSettled();
  // There is room in the window for more events of the queue.
  uint64_t WindowRoom() const;
  bool Encode(const Slot& slot, Batch* batch);
  bool has_filters() const { return spec_.source_filter.filter || spec_.sink_filter.filter; }
  // Whether the filters let the event of the slot go on. What else they say is noted in the batch.
  bool PassesFilters(const Slot& slot, Batch* batch);
  bool Passes(const FilterStep& step, const char* whose, const Slot& slot, Batch* batch);
  // What was read and must be read again: from the first message on that the sink did not take.
  uint64_t TakenBackFrom(const Batch& batch, size_t accepted) const;
  // Those that the batch's filters dropped before end; whether there were any.
  bool SettleFiltered(const Batch& batch, uint64_t end);
  void LogFilterError(const Slot& slot, const Batch::Filtered& filtered);
  // Drops the events that wait to be tried again and stand before end, or were appended before
  // oldest.
  void DropRetries(uint64_t end, TimePoint oldest);
  void MarkFailed(std::string_view reason);
  void SettleDelivered(Slot* slot, uint32_t flags);
  bool OverLimit(const Slot& slot, TimePoint now) const;
  void GiveUp(Slot* slot, std::string_view reason, int32_t code);
  void Bury(Slot* slot, DropReason reason, const std::string& text, int32_t code);
  // False: there is no room.
  bool TryBury(Slot* slot, queue::Letter* letter);
  void LogFailure(TimePoint now, Nanoseconds delay);
  void Count(const Slot& slot);
  // Brings shown_ up to date; under ledger_mutex_.
  void Show();
  // Queue's id and offset that the event's id is made of.
  std::pair<uint64_t, uint64_t> IdentityOf(const Slot& slot) const;
  std::string IdOf(const Slot& slot) const;
  TimePoint NextExpiry() const;

  const uint32_t lane_;
  CursorSpec spec_;
  const std::string route_;  // "orders -> bus"
  event::Encoder encoder_;
  std::vector<event::Encoder> old_encoders_;  // messages in flight point into them
  const Clock* const clock_;
  const queue::Reader reader_;
  const uint64_t max_window_;  // slots

  Window window_;
  // Nothing is read from here on; changes under ledger_mutex_.
  uint64_t end_ = std::numeric_limits<uint64_t>::max();
  const bool records_;  // what settles above the cursor; else that waits until the cursor is there
  std::deque<event::OffsetRange> before_;      // settled before the last restart; from next() on
  std::vector<event::OffsetRange> settled_;    // since the last Commit
  std::set<uint64_t> unrecorded_;              // settled, and there was no room
  size_t ranges_ = 0;                          // that are recorded above the cursor
  std::vector<event::OffsetRange> above_new_;  // not told to the queue yet
  std::set<uint64_t> retries_;                 // offsets of slots in state kRetry
  uint64_t in_flight_ = 0, in_flight_bytes_ = 0;
  uint64_t retried_in_flight_ = 0;  // of in_flight_, not for the first time
  static constexpr uint64_t kNoWait = std::numeric_limits<uint64_t>::max();
  uint64_t resume_at_ = kNoWait;               // in flight; see OutOfRoom
  std::map<uint64_t, queue::Letter> held_;     // of slots in state kHeld
  std::map<uint64_t, queue::Letter> letters_;  // of slots in state kDeadLettered
  std::vector<queue::Letter> released_;        // counted, not told to the queue yet
  TimePoint held_due_{};                       // when to ask for room again
  Backoff backoff_;
  TimePoint retry_at_{};
  // The strict lane is broken: the next batch waits until every earlier message has its receipt,
  // and says RESUME.
  bool broken_ = false;
  bool followed_ = false;  // since the last RESUME: a message failed only because of an earlier one
  bool blamed_ = false;    // since the last RESUME: a message failed or was rejected by itself
  // Since the last Commit.
  bool changed_ = false;
  bool failed_ = false;
  bool progressed_ = false;                      // a retried event was delivered
  std::string failure_;                          // the first reason
  uint64_t hold_told_ = 0, committed_told_ = 0;  // what the queue knows
  log::Limiter failure_log_{std::chrono::seconds(10)};
  log::Limiter dead_log_{std::chrono::seconds(1)};
  log::Limiter filter_log_{std::chrono::seconds(1)};
  log::Limiter duplicate_log_{std::chrono::seconds(10)};

  mutable std::mutex ledger_mutex_;
  Ledger ledger_;           // received and pending are made by Snapshot
  uint64_t committed_ = 0;  // window_.committed(), for Snapshot
  uint64_t above_ = 0;      // events above it that are counted
  // Dropped unread above it, and shown as such; counted when the cursor gets there, like all that
  // has no place in what a queue on disk keeps of what settled above.
  std::array<uint64_t, queue::kDropReasons> passed_{};
  RouteStatus shown_;  // but for its ledger
  // Receipts' side counts since the last Commit.
  uint64_t retries_counted_ = 0, unknown_counted_ = 0, duplicates_counted_ = 0,
           duplicates_at_once_counted_ = 0, reordered_counted_ = 0, filter_errors_counted_ = 0;
};

}  // namespace penstock::delivery
