#include "delivery/cursor.h"

#include <cassert>

namespace penstock::delivery {
namespace {

constexpr uint64_t kOffsetMask = (uint64_t{1} << 48) - 1;

}  // namespace

Cursor::Cursor(uint32_t lane, std::string sink, CursorSpec spec, DeadLetters* dead_letters,
               const Clock* clock, const std::shared_ptr<Signal>& signal, uint64_t seed)
    : lane_(lane),
      spec_(std::move(spec)),
      route_(spec_.source->name + " -> " + sink),
      encoder_(spec_.source, spec_.encoder),
      dead_letters_(dead_letters),
      clock_(clock),
      reader_(spec_.queue->AddReader(spec_.start, signal)),
      start_(spec_.start),
      window_(spec_.start),
      backoff_(spec_.retry, seed),
      committed_told_(spec_.start),
      committed_(spec_.start) {
  ledger_.source = spec_.source->name;
  ledger_.sink = std::move(sink);
}

void Cursor::SkipIfBehind() {
  if (!spec_.skip_when_behind) return;
  const MaxBehind& bound = spec_.max_behind;
  const uint64_t target =
      spec_.queue->WithinBound(window_.next(), bound.events, bound.bytes, bound.age);
  if (target > window_.next()) window_.AppendDropped(target, DropReason::kBehind);
}

bool Cursor::HasWork(TimePoint now) const {
  if (InBackoff(now)) return false;
  switch (spec_.order) {
    case Order::kRelaxed: break;
    case Order::kStrict:
      if (in_flight_ > 0) return false;
      break;
    case Order::kStrictPipelined:
      if (!resume_sent_ && in_flight_ > 0) return false;
      break;
  }
  return !retries_.empty() || spec_.queue->end() > window_.next();
}

bool Cursor::Encode(const Slot& slot, Batch* batch) {
  penstock_message message{};
  const auto encoded =
      encoder_.Encode(slot.event(), spec_.queue->id(), slot.offset, *batch->arena, &message);
  if (!encoded) {
    batch->unencodable = slot.offset;
    batch->reason = encoded.error().message;
    return false;
  }
  message.token = uint64_t{lane_} << 48 | (slot.offset & kOffsetMask);
  message.attempt = slot.attempt + 1;
  batch->bytes += message.payload.len;
  batch->messages.push_back(message);
  batch->offsets.push_back(slot.offset);
  return true;
}

Batch Cursor::Build(uint64_t max_events, uint64_t max_bytes) {
  Batch batch;
  batch.arena = std::make_shared<event::Arena>();
  if (spec_.order == Order::kStrict) max_events = 1;
  const auto full = [&] {
    return batch.messages.size() >= max_events || batch.bytes >= max_bytes;
  };
  for (auto it = retries_.begin(); it != retries_.end() && !full(); ++it) {
    if (!Encode(*window_.Find(*it), &batch)) return batch;
    ++batch.retried;
  }
  if (full() || (spec_.order != Order::kRelaxed && batch.retried < retries_.size())) return batch;

  auto read = spec_.queue->Read(window_.next(), max_events - batch.messages.size(),
                                max_bytes - batch.bytes);
  if (read.begin > window_.next()) window_.AppendDropped(read.begin, DropReason::kWhenFull);
  for (queue::Run& run : read.runs) {
    for (uint64_t offset = run.begin; offset < run.end; ++offset) {
      ++batch.read;
      if (!Encode(window_.Append(run.block), &batch)) return batch;
    }
  }
  return batch;
}

uint32_t Cursor::BatchFlags() {
  if (spec_.order != Order::kStrictPipelined) return 0;
  return PENSTOCK_BATCH_STRICT | (resume_ ? uint32_t{PENSTOCK_BATCH_RESUME} : 0u);
}

uint64_t Cursor::Submitted(Batch batch, size_t accepted) {
  uint64_t bytes = 0;
  const std::shared_ptr<const event::Arena> arena = std::move(batch.arena);
  for (size_t i = 0; i < accepted; ++i) {
    Slot& slot = *window_.Find(batch.offsets[i]);
    slot.state = SlotState::kInFlight;
    slot.bytes = static_cast<uint32_t>(batch.messages[i].payload.len);
    slot.arena = arena;
    ++slot.attempt;
    bytes += slot.bytes;
    if (i < batch.retried) retries_.erase(batch.offsets[i]);
  }
  if (accepted > 0) {
    resume_ = false;
    resume_sent_ = true;
  }
  if (accepted < batch.messages.size()) {
    // What was read for nothing goes back: it is read again from the queue.
    const size_t taken = accepted > batch.retried ? accepted - batch.retried : 0;
    for (size_t i = taken; i < batch.read; ++i) window_.Unappend();
  } else if (batch.unencodable) {
    retries_.erase(*batch.unencodable);
    Bury(window_.Find(*batch.unencodable), DropReason::kUnencodable, batch.reason);
  }
  in_flight_ += accepted;
  in_flight_bytes_ += bytes;
  return bytes;
}

Cursor::Settled Cursor::Settle(uint64_t offset, int32_t outcome, uint32_t flags,
                               std::string_view reason, int32_t code) {
  Slot* slot = window_.Find(offset);
  if (slot == nullptr || slot->state != SlotState::kInFlight) return {};
  const Settled settled{true, slot->bytes};
  --in_flight_;
  in_flight_bytes_ -= slot->bytes;
  slot->arena.reset();
  switch (outcome) {
    case PENSTOCK_DELIVERED:
      slot->state = SlotState::kDelivered;
      if (slot->attempt > 1) {
        progressed_ = true;
        if (offset < last_delivered_) ++reordered_counted_;
      }
      if ((flags & PENSTOCK_RECEIPT_DUPLICATE) != 0)
        ++(slot->attempt > 1 ? duplicates_counted_ : duplicates_at_once_counted_);
      last_delivered_ = std::max(last_delivered_, offset);
      slot->block.reset();
      break;
    case PENSTOCK_REJECTED:
      Bury(slot, DropReason::kRejected,
           std::string(reason) + (code != 0 ? " (code " + std::to_string(code) + ")" : ""));
      break;
    default:
      slot->state = SlotState::kRetry;
      retries_.insert(offset);
      ++retries_counted_;
      if (outcome == PENSTOCK_UNKNOWN) ++unknown_counted_;
      if (!failed_) failure_ = reason;
      failed_ = true;
      break;
  }
  return settled;
}

void Cursor::Refused(std::string_view reason) {
  failed_ = true;
  failure_ = reason;
}

void Cursor::Bury(Slot* slot, DropReason reason, const std::string& text) {
  const DeadLetter letter{spec_.source->name, ledger_.sink,  slot->offset,
                          IdOf(*slot),        text,          &slot->event()};
  const bool kept = dead_letters_->Put(letter);
  slot->state = kept ? SlotState::kDeadLettered : SlotState::kDropped;
  slot->drop_reason = reason;
  if (dead_log_.Allow(clock_->Now())) {
    log::Write(log::Level::kError, route_,
               (kept ? "dead-lettered event " : "dropped event ") + letter.id + ": " + text,
               {{"more_held_back", std::to_string(dead_log_.TakeHeldBack())}});
  }
  slot->block.reset();
}

void Cursor::Commit(TimePoint now) {
  if (failed_) {
    resume_ = true;
    resume_sent_ = false;
    if (!InBackoff(now)) {
      const Nanoseconds delay = backoff_.Next();
      retry_at_ = now + delay;
      LogFailure(now, delay);
    }
  }
  if (progressed_ || (retries_.empty() && in_flight_ == 0)) backoff_.Reset();
  failed_ = progressed_ = false;

  std::lock_guard lock(ledger_mutex_);
  window_.Commit([this](const Slot& slot) { Count(slot); });
  ledger_.retries += std::exchange(retries_counted_, 0);
  ledger_.unknown += std::exchange(unknown_counted_, 0);
  ledger_.duplicates += std::exchange(duplicates_counted_, 0);
  ledger_.duplicates_at_once += std::exchange(duplicates_at_once_counted_, 0);
  ledger_.reordered += std::exchange(reordered_counted_, 0);
  committed_ = window_.committed();
}

void Cursor::ReleaseQueue() {
  if (window_.next() == hold_told_ && window_.committed() == committed_told_) return;
  hold_told_ = window_.next();
  committed_told_ = window_.committed();
  spec_.queue->Release(reader_, hold_told_, committed_told_);
}

void Cursor::LogFailure(TimePoint now, Nanoseconds delay) {
  if (!failure_log_.Allow(now)) return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(delay).count();
  log::Write(log::Level::kWarn, route_,
             "not delivered yet, trying again: " +
                 (failure_.empty() ? std::string("the sink gave no reason") : failure_),
             {{"next_try_ms", std::to_string(ms)},
              {"waiting", std::to_string(retries_.size())},
              {"more_held_back", std::to_string(failure_log_.TakeHeldBack())}});
}

void Cursor::Count(const Slot& slot) {
  switch (slot.state) {
    case SlotState::kDelivered: ++ledger_.delivered; break;
    case SlotState::kDeadLettered: ++ledger_.dead_lettered; break;
    default: ledger_.dropped[static_cast<size_t>(slot.drop_reason)] += slot.count; break;
  }
}

void Cursor::OnConnected() {
  backoff_.Reset();
  retry_at_ = TimePoint{};
}

TimePoint Cursor::NextDeadline(TimePoint now) const {
  TimePoint next = TimePoint::max();
  if (InBackoff(now)) next = retry_at_;
  if (spec_.skip_when_behind && spec_.max_behind.age > Nanoseconds::zero() &&
      spec_.queue->end() > window_.next())
    next = std::min(next, now + spec_.max_behind.age / 4);
  return next;
}

bool Cursor::Drained() const {
  return window_.empty() && window_.next() == spec_.queue->end();
}

std::string Cursor::IdOf(const Slot& slot) const {
  if (!slot.event().id.empty()) return spec_.source->name + ':' + std::string(slot.event().id);
  std::string id(32, '0');
  event::WriteHostId(spec_.queue->id(), slot.offset, id.data());
  return id;
}

Ledger Cursor::Snapshot() const {
  std::lock_guard lock(ledger_mutex_);
  Ledger out = ledger_;
  const queue::Stats stats = spec_.queue->stats();
  out.dropped[static_cast<size_t>(DropReason::kWhenFull)] += stats.dropped_newest;
  out.received = stats.appended - start_ + stats.dropped_newest;
  out.pending = stats.appended - committed_;
  return out;
}

}  // namespace penstock::delivery
