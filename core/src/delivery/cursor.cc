#include "delivery/cursor.h"

#include <cassert>

namespace penstock::delivery {
namespace {

// How often a cursor that waits for room in the dead letters asks for it.
constexpr Nanoseconds kHeldInterval = std::chrono::seconds(1);
// So many events are read at once for filters, and so long they take before what was found goes.
constexpr uint64_t kFilterRun = 256;
constexpr Nanoseconds kLongFilters = std::chrono::milliseconds(10);

}  // namespace

Cursor::Cursor(uint32_t lane, std::string sink, CursorSpec spec, const Clock* clock,
               const std::shared_ptr<Signal>& signal, uint64_t max_window, uint64_t seed,
               std::unique_ptr<Cursor> predecessor)
    : lane_(lane),
      spec_(std::move(spec)),
      route_(spec_.source->name + " -> " + sink + (spec_.replays ? " (replay)" : "")),
      encoder_(spec_.source, spec_.encoder),
      clock_(clock),
      reader_(spec_.queue->AddReader(sink, spec_.start, signal)),
      max_window_(max_window),
      window_(reader_.settled),
      records_(reader_.max_above > 0 && spec_.order == Order::kRelaxed),
      before_(reader_.above.begin(), reader_.above.end()),
      ranges_(before_.size()),
      backoff_(spec_.retry, seed),
      hold_told_(reader_.settled),
      committed_told_(reader_.settled),
      committed_(reader_.settled) {
  static_cast<queue::Counters&>(ledger_) = reader_.counters;
  ledger_.source = spec_.source->name;
  ledger_.sink = std::move(sink);
  for (const event::OffsetRange& range : before_) above_ += range.end - range.first;
  if (predecessor) TakeOver(predecessor.get());
  Show();
  shown_.at_start = predecessor ? predecessor->shown_.at_start : Snapshot();
}

void Cursor::TakeOver(Cursor* predecessor) {
  Cursor& old = *predecessor;
  window_ = std::move(old.window_);
  before_ = std::move(old.before_);
  ranges_ = old.ranges_;
  above_new_ = std::move(old.above_new_);
  retries_ = std::move(old.retries_);
  held_ = std::move(old.held_);
  held_due_ = old.held_due_;
  letters_ = std::move(old.letters_);
  released_ = std::move(old.released_);
  hold_told_ = old.hold_told_;
  committed_told_ = old.committed_told_;
  ledger_ = old.ledger_;
  committed_ = old.committed_;
  above_ = old.above_;
  passed_ = old.passed_;
  retries_counted_ = old.retries_counted_;
  unknown_counted_ = old.unknown_counted_;
  filter_errors_counted_ = old.filter_errors_counted_;
  window_.ForEach([this](Slot& slot) {
    // What settled and could not be recorded stays so until the cursor gets there.
    if (slot.state != SlotState::kInFlight) return true;
    slot.state = SlotState::kRetry;
    slot.arena.reset();
    retries_.insert(slot.offset);
    ++retries_counted_;
    ++unknown_counted_;
    return true;
  });
  changed_ = true;
}

void Cursor::EndAt(uint64_t offset) {
  std::lock_guard lock(ledger_mutex_);
  const bool lifted = offset == std::numeric_limits<uint64_t>::max();
  end_ = spec_.replays && !lifted ? std::min(offset, next()) : offset;
}

void Cursor::SetSource(const event::SourceInfo* source, const FilterStep& filter) {
  event::Encoder encoder(source, spec_.encoder);
  if (in_flight_ == 0) old_encoders_.clear();
  old_encoders_.push_back(std::exchange(encoder_, std::move(encoder)));
  spec_.source = source;
  spec_.source_filter = filter;
}

void Cursor::Skip(TimePoint now) {
  // Also while nothing can be read: what is gone is not pending, and its loss must show.
  if (const uint64_t begin = spec_.queue->begin(); begin > window_.next() && !spec_.replays)
    AppendDropped(begin, DropReason::kWhenFull);
  if (spec_.skip_when_behind) SkipIfBehind(now);
}

void Cursor::SkipIfBehind(TimePoint now) {
  const MaxBehind& bound = spec_.max_behind;
  const uint64_t target =
      spec_.queue->WithinBound(window_.next(), bound.events, bound.bytes, bound.age);
  if (!retries_.empty()) {
    // What waits to be tried again stands before all that is still in the queue.
    uint64_t end = target > window_.next() ? target : 0;
    const uint64_t appended = spec_.queue->end();
    if (bound.events > 0 && appended > bound.events) end = std::max(end, appended - bound.events);
    DropRetries(end, bound.age > Nanoseconds::zero() ? now - bound.age : TimePoint::min());
  }
  if (target <= window_.next()) return;
  AppendDropped(target, DropReason::kBehind);
}

void Cursor::AppendDropped(uint64_t end, DropReason reason) {
  end = std::min(end, end_);
  std::lock_guard lock(ledger_mutex_);
  while (window_.next() < end) {
    const uint64_t stop = before_.empty() ? end : std::min(end, before_.front().first);
    if (stop > window_.next()) {
      passed_[static_cast<size_t>(reason)] += stop - window_.next();
      window_.AppendDropped(stop, reason);
    }
    PassBefore();
  }
  changed_ = true;
}

void Cursor::PassBefore() {
  if (before_.empty() || before_.front().first != window_.next()) return;
  window_.AppendBefore(before_.front().end);
  before_.pop_front();
  changed_ = true;
}

void Cursor::DropRetries(uint64_t end, TimePoint oldest) {
  while (!retries_.empty()) {
    Slot* slot = window_.Find(*retries_.begin());
    if (slot->offset >= end && slot->appended_at >= oldest) return;
    retries_.erase(retries_.begin());
    slot->state = SlotState::kDropped;
    slot->drop_reason = DropReason::kBehind;
    slot->block.reset();
    HasSettled(slot->offset);
  }
}

uint64_t Cursor::WindowRoom() const {
  return max_window_ > window_.size() ? max_window_ - window_.size() : 0;
}

bool Cursor::HasWork(TimePoint now) const {
  if (InBackoff(now) || !held_.empty()) return false;
  if (spec_.order == Order::kStrict && in_flight_ > 0) return false;
  if (spec_.order == Order::kStrictPipelined && broken_ && in_flight_ > 0) return false;
  if (!retries_.empty()) return true;
  return WindowRoom() > 0 && End() > window_.next();
}

bool Cursor::Encode(const Slot& slot, Batch* batch) {
  penstock_message message{};
  const auto [queue_id, number] = IdentityOf(slot);
  const auto encoded = encoder_.Encode(slot.event(), queue_id, number, *batch->arena, &message);
  if (!encoded) {
    batch->refused = {slot.offset, DropReason::kUnencodable, encoded.error().message};
    return false;
  }
  message.token = uint64_t{lane_} << kLaneShift | (slot.offset & kOffsetMask);
  message.attempt = slot.attempt + 1;
  batch->bytes += message.payload.len;
  batch->messages.push_back(message);
  return true;
}

bool Cursor::PassesFilters(const Slot& slot, Batch* batch) {
  return Passes(spec_.source_filter, "the source's filter: ", slot, batch) &&
         Passes(spec_.sink_filter, "the sink's filter: ", slot, batch);
}

bool Cursor::Passes(const FilterStep& step, const char* whose, const Slot& slot, Batch* batch) {
  if (!step.filter) return true;
  const auto [queue_id, number] = IdentityOf(slot);
  const filter::Verdict verdict =
      step.filter->Evaluate({slot.event(), *spec_.source, queue_id, number});
  if (verdict == filter::Verdict::kPass) return true;
  if (verdict == filter::Verdict::kDrop) {
    batch->filtered.push_back({slot.offset, false, DropReason::kFiltered, {}});
    return false;
  }
  const std::string text = whose + step.filter->error();
  if (step.on_error == OnFilterError::kDeadLetter) {
    batch->refused = {slot.offset, DropReason::kFilterError, text};
    return false;
  }
  const bool passes = step.on_error == OnFilterError::kPass;
  batch->filtered.push_back({slot.offset, passes, DropReason::kFilterError, text});
  return passes;
}

void Cursor::Build(uint64_t max_events, uint64_t max_bytes, Batch* batch) {
  batch->messages.clear();
  batch->retried = 0;
  batch->read_from = window_.next();
  batch->bytes = batch->highest_taken = 0;
  batch->arena = std::make_shared<event::Arena>();
  batch->filtered.clear();
  batch->refused.reset();
  if (spec_.order == Order::kStrict) max_events = 1;
  const auto full = [&] {
    return batch->messages.size() >= max_events || batch->bytes >= max_bytes;
  };
  // Under strict order the bus has taken what stands before: a reload has lost its receipt.
  if (!retries_.empty() && spec_.order == Order::kRelaxed)
    batch->highest_taken = window_.HighestTaken();
  for (auto it = retries_.begin(); it != retries_.end() && !full(); ++it) {
    if (!Encode(*window_.Find(*it), batch)) return;
    ++batch->retried;
  }
  if (full() || (spec_.order != Order::kRelaxed && batch->retried < retries_.size())) return;

  PassBefore();
  // Where filters drop events, more have to be read than are to be sent.
  const uint64_t most = has_filters() ? std::max(max_events, kFilterRun) : max_events;
  uint64_t room = std::min(most - batch->messages.size(), WindowRoom());
  if (end_ <= window_.next()) return;
  room = std::min(room, end_ - window_.next());
  if (!before_.empty()) room = std::min(room, before_.front().first - window_.next());
  auto read = spec_.queue->Read(reader_.id, window_.next(), room, max_bytes - batch->bytes);
  if (read.begin > window_.next()) AppendDropped(read.begin, read.skipped);
  const uint64_t stop = std::min(before_.empty() ? read.end : before_.front().first, end_);
  const TimePoint late = has_filters() ? clock_->Now() + kLongFilters : TimePoint::max();
  for (queue::Run& run : read.runs) {
    for (uint64_t offset = std::max(run.begin, window_.next()); offset < std::min(run.end, stop);
         ++offset) {
      Slot& slot = window_.Append(run.block, run.appended_at);
      slot.late = !before_.empty();
      const bool goes_on = PassesFilters(slot, batch);
      if (batch->refused || (goes_on && !Encode(slot, batch))) return;
      if (has_filters() && (full() || clock_->Now() >= late)) return;
    }
  }
}

uint32_t Cursor::BatchFlags() const {
  if (spec_.order != Order::kStrictPipelined) return 0;
  return PENSTOCK_BATCH_STRICT | (broken_ ? uint32_t{PENSTOCK_BATCH_RESUME} : 0u);
}

bool Cursor::Submitted(const Batch& batch, size_t accepted, TimePoint now) {
  for (size_t i = 0; i < accepted; ++i) {
    const penstock_message& message = batch.messages[i];
    Slot& slot = *window_.Find(message.token & kOffsetMask);
    slot.state = SlotState::kInFlight;
    slot.bytes = message.payload.len;
    slot.arena = batch.arena;
    slot.cancelled = false;
    if (++slot.attempt == 1) slot.first_sent = now;
    in_flight_bytes_ += slot.bytes;
    if (i >= batch.retried) continue;
    slot.late = slot.offset < batch.highest_taken;
    retries_.erase(slot.offset);
    ++retried_in_flight_;
  }
  in_flight_ += accepted;
  if (accepted > 0) {
    // What follows a rejected event may still come back while more is sent.
    if (broken_) blamed_ = false;
    broken_ = followed_ = false;
  }
  // What was read for nothing goes back: it is read again from the queue, and filtered again.
  const uint64_t end = TakenBackFrom(batch, accepted);
  while (window_.next() > end) window_.Unappend();
  bool settled = SettleFiltered(batch, end);
  if (accepted == batch.messages.size() && batch.refused) {
    const auto& [offset, reason, text] = *batch.refused;
    if (reason == DropReason::kFilterError) ++filter_errors_counted_;
    retries_.erase(offset);
    Bury(window_.Find(offset), reason, text, 0);
    settled = true;
  }
  return settled;
}

uint64_t Cursor::TakenBackFrom(const Batch& batch, size_t accepted) const {
  if (accepted == batch.messages.size()) return window_.next();
  const size_t first = std::max(accepted, batch.retried);  // of those that were read
  if (first < batch.messages.size()) return batch.messages[first].token & kOffsetMask;
  // It is refused when what stands before it has been taken.
  if (batch.refused && batch.refused->offset >= batch.read_from) return batch.refused->offset;
  return window_.next();
}

bool Cursor::SettleFiltered(const Batch& batch, uint64_t end) {
  bool settled = false;
  for (const Batch::Filtered& filtered : batch.filtered) {
    if (filtered.offset >= end) break;
    Slot& slot = *window_.Find(filtered.offset);
    if (filtered.reason == DropReason::kFilterError) {
      ++filter_errors_counted_;
      changed_ = true;
      LogFilterError(slot, filtered);
    }
    if (filtered.passes) continue;
    settled = true;
    slot.state = SlotState::kDropped;
    slot.drop_reason = filtered.reason;
    if (spec_.replays) {
      // It was a dead letter, and is one no longer.
      const auto [queue_id, number] = IdentityOf(slot);
      letters_.emplace(slot.offset,
                       queue::Letter{queue_id, number, slot.block, slot.offset, IdOf(slot),
                                     filtered.reason, filtered.error, 0, 0, true});
    }
    slot.block.reset();
    HasSettled(slot.offset);
  }
  return settled;
}

void Cursor::LogFilterError(const Slot& slot, const Batch::Filtered& filtered) {
  if (!filter_log_.Allow(clock_->Now())) return;
  log::Write(log::Level::kWarn, route_,
             "event " + IdOf(slot) + (filtered.passes ? " passes" : " is dropped") +
                 ", because a filter failed on it: " + filtered.error + filter_log_.HeldBackNote());
}

bool Cursor::Settle(uint64_t offset, int32_t outcome, uint32_t flags, std::string_view reason,
                    int32_t code) {
  Slot* slot = window_.Find(offset);
  if (slot == nullptr || slot->state != SlotState::kInFlight) return false;
  changed_ = true;
  --in_flight_;
  in_flight_bytes_ -= slot->bytes;
  if (slot->attempt > 1) --retried_in_flight_;
  slot->arena.reset();
  if (outcome == PENSTOCK_DELIVERED) {
    SettleDelivered(slot, flags);
    return true;
  }
  if (outcome == PENSTOCK_REJECTED) {
    blamed_ = true;
    Bury(slot, DropReason::kRejected, std::string(reason), code);
    return true;
  }
  ++retries_counted_;
  if (outcome != PENSTOCK_RETRY) ++unknown_counted_;
  const bool follower = spec_.order == Order::kStrictPipelined && outcome == PENSTOCK_RETRY &&
                        (flags & PENSTOCK_RECEIPT_FOLLOWER) != 0;
  if (!follower) ++slot->failures;
  if (follower) {
    followed_ = broken_ = true;
  } else {
    // A cancelled attempt says nothing of why those before it failed.
    const std::string before = slot->cancelled && slot->failures > 1 ? failure_ : std::string();
    MarkFailed(before.empty() ? reason : std::string_view(before));
    if (OverLimit(*slot, clock_->Now())) {
      GiveUp(slot, reason, code);
      return true;
    }
  }
  slot->state = SlotState::kRetry;
  retries_.insert(offset);
  return true;
}

// ---- giving up

bool Cursor::OverLimit(const Slot& slot, TimePoint now) const {
  const RetryPolicy& limit = spec_.retry;
  if (limit.max_attempts > 0 && slot.failures >= limit.max_attempts) return true;
  return limit.max_age > Nanoseconds::zero() && slot.attempt > 0 &&
         now - slot.first_sent >= limit.max_age;
}

void Cursor::GiveUp(Slot* slot, std::string_view reason, int32_t code) {
  std::string text = "given up after " + std::to_string(slot->attempt) + " attempts";
  if (!reason.empty()) text.append("; the last: ").append(reason);
  if (slot->cancelled && slot->failures > 1) text.append("; before: ").append(failure_);
  Bury(slot, DropReason::kRetryLimit, text, code);
}

void Cursor::Expire(TimePoint now, std::vector<uint64_t>* tokens) {
  if (spec_.retry.max_age <= Nanoseconds::zero()) return;
  window_.ForEach([&](Slot& slot) {
    if (slot.settled() || slot.state == SlotState::kHeld) return true;
    if (slot.attempt == 0 || now - slot.first_sent < spec_.retry.max_age) return false;
    if (slot.state == SlotState::kRetry) {
      retries_.erase(slot.offset);
      GiveUp(&slot, failure_, 0);
    } else if (!slot.cancelled) {
      slot.cancelled = true;
      tokens->push_back(uint64_t{lane_} << kLaneShift | (slot.offset & kOffsetMask));
    }
    return true;
  });
}

void Cursor::BuryHeld(TimePoint now) {
  if (held_.empty() || now < held_due_) return;
  while (!held_.empty()) {
    const auto first = held_.begin();
    if (!TryBury(window_.Find(first->first), &first->second)) {
      held_due_ = now + kHeldInterval;
      return;
    }
    held_.erase(first);
  }
  log::Info(route_, "the dead letters have room again");
}

void Cursor::SettleDelivered(Slot* slot, uint32_t flags) {
  slot->state = SlotState::kDelivered;
  HasSettled(slot->offset);
  const bool again = slot->attempt > 1;
  progressed_ = progressed_ || again;
  if (slot->late) ++reordered_counted_;
  if ((flags & PENSTOCK_RECEIPT_DUPLICATE) != 0) {
    ++(again ? duplicates_counted_ : duplicates_at_once_counted_);
    if (!again && duplicate_log_.Allow(clock_->Now())) {
      log::Write(log::Level::kWarn, route_,
                 "the bus had event " + IdOf(*slot) +
                     " before it was sent the first time, and kept only that one: another route or "
                     "gateway writes the same ids there, or the source repeats them" +
                     duplicate_log_.HeldBackNote());
    }
  }
  slot->block.reset();
}

void Cursor::MarkFailed(std::string_view reason) {
  if (!failed_) failure_ = reason;
  failed_ = blamed_ = broken_ = changed_ = true;
}

void Cursor::Refused(std::string_view reason) { MarkFailed(reason); }

void Cursor::Bury(Slot* slot, DropReason reason, const std::string& text, int32_t code) {
  const auto [queue_id, number] = IdentityOf(*slot);
  queue::Letter letter{queue_id, number, slot->block, slot->offset, IdOf(*slot),
                       reason,   text,   code,        slot->attempt};
  changed_ = true;
  if (TryBury(slot, &letter)) return;
  slot->state = SlotState::kHeld;
  if (held_.empty()) {
    held_due_ = clock_->Now() + kHeldInterval;
    log::LogError(route_, "stopped: no room for more dead letters of source " + spec_.source->name +
                              "; event " + letter.id + " waits for it: " + text +
                              "; make room with penstock deadletters replay or drop");
  }
  held_.emplace(slot->offset, std::move(letter));
}

bool Cursor::TryBury(Slot* slot, queue::Letter* letter) {
  using Room = queue::DeadLetters::Room;
  const Room room = spec_.dead_letters == nullptr
                        ? Room::kNowhere
                        : spec_.dead_letters->Reserve(*letter, ledger_.sink);
  if (room == Room::kFull) return false;
  const bool kept = room == Room::kReserved;
  if (dead_log_.Allow(clock_->Now())) {
    log::Write(log::Level::kError, route_,
               (kept ? "dead-lettered event " : "dropped event ") + letter->id + ": " +
                   letter->reason +
                   (letter->code != 0 ? " (code " + std::to_string(letter->code) + ")" : "") +
                   dead_log_.HeldBackNote());
  }
  slot->state = kept ? SlotState::kDeadLettered : SlotState::kDropped;
  slot->drop_reason = letter->why;
  slot->block.reset();
  if (kept) letters_.emplace(slot->offset, std::move(*letter));
  HasSettled(slot->offset);
  return true;
}

// ---- what has settled

void Cursor::HasSettled(uint64_t offset) {
  changed_ = true;
  if (!records_) return;
  if (!settled_.empty() && settled_.back().end == offset)
    ++settled_.back().end;
  else
    settled_.push_back({offset, offset + 1});
}

void Cursor::PopSettled() {
  bool recorded = false;  // of the last slot
  window_.Commit([&](const Slot& slot) {
    if (recorded && !slot.recorded) --ranges_;
    recorded = slot.recorded;
    if (slot.recorded)
      above_ -= slot.count;
    else
      Count(slot);
  });
  if (recorded) --ranges_;
}

void Cursor::RecordAbove() {
  for (const event::OffsetRange& range : settled_) {
    for (uint64_t o = std::max(range.first, window_.committed()); o < range.end; ++o)
      Record(window_.Find(o));
  }
  settled_.clear();
  while (!unrecorded_.empty() && *unrecorded_.begin() < window_.committed())
    unrecorded_.erase(unrecorded_.begin());
  while (!unrecorded_.empty() && ranges_ < reader_.max_above)
    Record(window_.Find(*unrecorded_.begin()));
}

void Cursor::Record(Slot* slot) {
  const uint64_t offset = slot->offset;
  const int neighbours = window_.Recorded(offset + 1) +
                         (offset > window_.committed() && window_.Recorded(offset - 1) ? 1 : 0);
  if (neighbours == 0 && ranges_ >= reader_.max_above) {
    unrecorded_.insert(offset);
    return;
  }
  unrecorded_.erase(offset);
  ranges_ += 1;
  ranges_ -= static_cast<size_t>(neighbours);
  slot->recorded = true;
  ++above_;
  Count(*slot);
  if (!above_new_.empty() && above_new_.back().end == offset)
    ++above_new_.back().end;
  else
    above_new_.push_back({offset, offset + 1});
}

void Cursor::Commit(TimePoint now) {
  // A lane that only ever has followers would be resumed without a pause, for ever.
  if (followed_ && !blamed_ && in_flight_ == 0)
    MarkFailed("the sink failed the whole lane and named no event as the reason");
  PassBefore();
  if (!changed_) return;
  changed_ = false;
  if (failed_ && !InBackoff(now)) {
    const Nanoseconds delay = backoff_.Next();
    retry_at_ = now + delay;
    LogFailure(now, delay);
  }
  const bool recovered = !failed_ && retries_.empty() && retried_in_flight_ == 0;
  if (progressed_ || recovered) {
    if (probing()) resume_at_ = kNoWait;  // the whole of its part is open again
    backoff_.Reset();
  }
  failed_ = progressed_ = false;

  std::lock_guard lock(ledger_mutex_);
  PopSettled();
  if (records_) RecordAbove();
  ledger_.retries += std::exchange(retries_counted_, 0);
  ledger_.unknown += std::exchange(unknown_counted_, 0);
  ledger_.duplicates += std::exchange(duplicates_counted_, 0);
  ledger_.duplicates_at_once += std::exchange(duplicates_at_once_counted_, 0);
  ledger_.reordered += std::exchange(reordered_counted_, 0);
  ledger_.filter_errors += std::exchange(filter_errors_counted_, 0);
  committed_ = window_.committed();
  Show();
}

void Cursor::Show() {
  shown_.committed = window_.committed();
  shown_.next = window_.next();
  shown_.oldest_pending.reset();
  if (!window_.empty() && window_.front().appended_at != TimePoint{})
    shown_.oldest_pending = window_.front().appended_at;
  shown_.failures = backoff_.failures();
  shown_.next_try = retry_at_;
  if (shown_.failures == 0) {
    shown_.reason.clear();
  } else if (shown_.reason != failure_) {
    shown_.reason = failure_;
  }
  shown_.held = held_.size();
  shown_.held_reason = held_.empty() ? std::string() : held_.begin()->second.reason;
}

void Cursor::ReleaseQueue() {
  if (window_.next() == hold_told_ && window_.committed() == committed_told_ && above_new_.empty())
    return;
  {
    std::lock_guard lock(ledger_mutex_);
    Show();
  }
  hold_told_ = window_.next();
  committed_told_ = window_.committed();
  spec_.queue->Release(reader_.id, {hold_told_, committed_told_, ledger_,
                                    std::exchange(released_, {}), std::exchange(above_new_, {})});
}

void Cursor::LogFailure(TimePoint now, Nanoseconds delay) {
  if (!failure_log_.Allow(now)) return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(delay).count();
  log::Write(log::Level::kWarn, route_,
             "not delivered yet, trying again: " +
                 (failure_.empty() ? std::string("the sink gave no reason") : failure_) +
                 failure_log_.HeldBackNote(),
             {{"next_try_ms", std::to_string(ms)}, {"waiting", std::to_string(retries_.size())}});
}

void Cursor::Count(const Slot& slot) {
  switch (slot.state) {
    case SlotState::kDelivered:
      ++ledger_.delivered;
      break;
    case SlotState::kDeadLettered:
      ++ledger_.dead_lettered;
      released_.push_back(std::move(letters_.extract(slot.offset).mapped()));
      break;
    default:
      ledger_.dropped[static_cast<size_t>(slot.drop_reason)] += slot.count;
      if (slot.unread) passed_[static_cast<size_t>(slot.drop_reason)] -= slot.count;
      if (const auto replayed = letters_.find(slot.offset); replayed != letters_.end())
        released_.push_back(std::move(letters_.extract(replayed).mapped()));
      break;
  }
}

void Cursor::OnConnected() {
  backoff_.Reset();
  retry_at_ = TimePoint{};
  std::lock_guard lock(ledger_mutex_);
  Show();
}

TimePoint Cursor::NextDeadline(TimePoint now) const {
  TimePoint next = TimePoint::max();
  if (InBackoff(now)) next = retry_at_;
  if (!held_.empty()) next = std::min(next, held_due_);
  if (spec_.retry.max_age > Nanoseconds::zero()) next = std::min(next, NextExpiry());
  if (spec_.skip_when_behind && spec_.max_behind.age > Nanoseconds::zero() &&
      (!retries_.empty() || spec_.queue->end() > window_.next()))
    next = std::min(next, now + spec_.max_behind.age / 4);
  return next;
}

TimePoint Cursor::NextExpiry() const {
  TimePoint next = TimePoint::max();
  window_.ForEach([&](const Slot& slot) {
    if (slot.settled() || slot.state == SlotState::kHeld || slot.cancelled) return true;
    if (slot.attempt > 0) next = slot.first_sent + spec_.retry.max_age;
    return false;
  });
  return next;
}

bool Cursor::Drained() const { return window_.empty() && window_.next() >= End(); }

std::pair<uint64_t, uint64_t> Cursor::IdentityOf(const Slot& slot) const {
  if (spec_.replays) return spec_.queue->IdentityOf(slot.offset);
  return {spec_.queue->id(), slot.offset};
}

std::string Cursor::IdOf(const Slot& slot) const {
  if (!slot.event().id.empty()) return spec_.source->name + ':' + std::string(slot.event().id);
  std::string id(32, '0');
  const auto [queue_id, number] = IdentityOf(slot);
  event::WriteHostId(queue_id, number, id.data());
  return id;
}

RouteStatus Cursor::Status() const {
  RouteStatus out;
  {
    std::lock_guard lock(ledger_mutex_);
    out = shown_;
  }
  out.ledger = Snapshot();
  if (out.ledger.pending == 0) {
    out.oldest_pending.reset();
  } else if (!out.oldest_pending) {
    out.oldest_pending = spec_.queue->AppendedAt(out.committed);  // not read yet
  }
  return out;
}

Ledger Cursor::Snapshot() const {
  std::lock_guard lock(ledger_mutex_);
  Ledger out = ledger_;
  const queue::Stats stats = spec_.queue->stats();
  const uint64_t dropped_newest = stats.dropped_newest - reader_.dropped_newest_before;
  out.dropped[static_cast<size_t>(DropReason::kWhenFull)] += dropped_newest;
  const uint64_t appended = std::min(stats.appended, end_);  // that the route is to see
  out.received = appended - reader_.start + dropped_newest;
  out.pending = appended - committed_ - above_;
  for (size_t reason = 0; reason < passed_.size(); ++reason) {
    out.dropped[reason] += passed_[reason];
    out.pending -= passed_[reason];
  }
  return out;
}

}  // namespace penstock::delivery
