#include "delivery/dispatcher.h"

#include <algorithm>

#include "delivery/cursor.h"

namespace penstock::delivery {
namespace {

// One turn of the round robin, and so what one submit carries.
constexpr uint64_t kTurnEvents = 256;
constexpr uint64_t kTurnBytes = 256 * 1024;
constexpr uint32_t kLaneShift = 48;
constexpr uint64_t kOffsetMask = (uint64_t{1} << kLaneShift) - 1;

}  // namespace

Dispatcher::Dispatcher(std::string sink_name, SinkPort* port, WindowLimits limits,
                       std::shared_ptr<queue::MemoryBudget::Share> share, DeadLetters* dead_letters,
                       const Clock* clock, std::shared_ptr<Signal> signal, uint64_t seed)
    : name_(std::move(sink_name)),
      port_(port),
      limits_(limits),
      share_(std::move(share)),
      dead_letters_(dead_letters),
      clock_(clock),
      signal_(std::move(signal)),
      seed_(seed) {}

Dispatcher::~Dispatcher() = default;

void Dispatcher::AddCursor(CursorSpec spec) {
  const auto lane = static_cast<uint32_t>(cursors_.size());
  cursors_.push_back(std::make_unique<Cursor>(lane, name_, std::move(spec), dead_letters_, clock_, signal_,
                                              seed_ + lane * 0x9e3779b97f4a7c15u));
}

TimePoint Dispatcher::Step() {
  now_ = clock_->Now();
  TakeInbox();
  for (auto& cursor : cursors_) {
    cursor->SkipIfBehind();
    cursor->Commit(now_);
  }
  Fill();
  for (auto& cursor : cursors_) cursor->ReleaseQueue();
  if (draining_ && unflushed_ && !stopped_) {
    unflushed_ = false;
    port_->Flush();
  }
  return NextDeadline();
}

void Dispatcher::TakeInbox() {
  bool state_changed = false;
  int32_t state = 0;
  {
    std::lock_guard lock(mutex_);
    std::swap(working_, inbox_);
    state_changed = std::exchange(working_.state_changed, false);
    state = status_.state;
  }
  for (const Done& done : working_.done) Settle(done, working_.reasons);
  if (std::exchange(working_.ready, false)) paused_ = false;
  working_.done.clear();
  working_.reasons.clear();
  if (!state_changed) return;
  const bool now_connected = state == PENSTOCK_STATE_READY;
  if (now_connected && !connected_) OnConnected();
  connected_ = now_connected;
}

void Dispatcher::OnConnected() {
  paused_ = false;
  for (auto& cursor : cursors_) {
    cursor->Commit(now_);
    cursor->OnConnected();
  }
}

void Dispatcher::Settle(const Done& done, const std::vector<std::string>& reasons) {
  const uint64_t lane = done.token >> kLaneShift;
  const std::string_view reason =
      done.reason < 0 ? std::string_view() : std::string_view(reasons[static_cast<size_t>(done.reason)]);
  Cursor::Settled settled;
  if (lane < cursors_.size()) {
    settled = cursors_[lane]->Settle(done.token & kOffsetMask, done.outcome, done.flags, reason,
                                     done.code);
  }
  if (settled.known) {
    --in_flight_events_;
    in_flight_bytes_ -= settled.bytes;
  } else if (misuse_log_.Allow(now_)) {
    log::LogError("sink " + name_,
                  "the plugin gave a receipt for a message that is not in flight (ignored): token " +
                      std::to_string(done.token));
  }
}

bool Dispatcher::MaySubmit() const {
  return connected_ && !paused_ && !stopped_ && in_flight_events_ < limits_.max_events &&
         in_flight_bytes_ < limits_.max_bytes;
}

void Dispatcher::Fill() {
  if (!MaySubmit()) return;
  std::vector<Cursor*> busy;
  for (size_t i = 0; i < cursors_.size(); ++i) {
    Cursor& cursor = *cursors_[(turn_ + i) % cursors_.size()];
    if (cursor.HasWork(now_)) busy.push_back(&cursor);
  }
  if (!busy.empty()) turn_ = (busy.front()->lane() + 1) % cursors_.size();
  while (!busy.empty() && MaySubmit()) {
    // While several want the window none may fill it alone: a bus that answers for one of them slowly would stop all.
    const auto sharers = static_cast<uint64_t>(busy.size());
    const uint64_t share_events = std::max(limits_.max_events / sharers, uint64_t{1});
    const uint64_t share_bytes = std::max(limits_.max_bytes / sharers, uint64_t{1});
    std::vector<Cursor*> still_busy;
    for (Cursor* cursor : busy) {
      if (!MaySubmit()) return;
      if (cursor->in_flight() >= share_events || cursor->in_flight_bytes() >= share_bytes) continue;
      const uint64_t events = std::min({kTurnEvents, share_events - cursor->in_flight(),
                                        limits_.max_events - in_flight_events_});
      const uint64_t bytes = std::min({kTurnBytes, share_bytes - cursor->in_flight_bytes(),
                                       limits_.max_bytes - in_flight_bytes_});
      if (SubmitSome(*cursor, events, bytes) > 0 && cursor->HasWork(now_))
        still_busy.push_back(cursor);
    }
    busy = std::move(still_busy);
  }
}

size_t Dispatcher::SubmitSome(Cursor& cursor, uint64_t max_events, uint64_t max_bytes) {
  Batch batch = cursor.Build(max_events, max_bytes);
  const bool unencodable = batch.unencodable.has_value();
  bool refused = false;
  size_t accepted = 0;
  if (!batch.messages.empty() && TakeMemory(&batch)) {
    const penstock_message_batch submitted{sizeof(penstock_message_batch),
                                           sizeof(penstock_message),
                                           batch.messages.data(),
                                           batch.messages.size(),
                                           cursor.lane(),
                                           cursor.BatchFlags()};
    const penstock_status status = port_->Submit(submitted, &accepted);
    accepted = std::min(accepted, batch.messages.size());
    if (status < 0) {
      cursor.Refused("the sink's submit failed with status " + std::to_string(status));
      refused = true;
    } else if (accepted < batch.messages.size()) {
      paused_ = true;
    }
    unflushed_ = unflushed_ || accepted > 0;
  }
  in_flight_events_ += accepted;
  in_flight_bytes_ += cursor.Submitted(std::move(batch), accepted);
  if (unencodable || refused) cursor.Commit(now_);
  return accepted + (unencodable ? 1 : 0);
}

bool Dispatcher::TakeMemory(Batch* batch) {
  struct ChargedArena {
    std::shared_ptr<event::Arena> arena;
    std::shared_ptr<queue::MemoryBudget::Share> share;
    uint64_t bytes;
    ~ChargedArena() { share->Return(bytes); }
  };
  const uint64_t bytes = batch->arena->used();
  if (!share_->TryTake(bytes)) {
    // Ask to be told of freed memory, then look again: what came back in between would be missed.
    share_->WakeWhenFreed();
    if (!share_->TryTake(bytes)) return false;
  }
  event::Arena* raw = batch->arena.get();
  auto* charged = new ChargedArena{std::move(batch->arena), share_, bytes};
  batch->arena = std::shared_ptr<event::Arena>(std::shared_ptr<ChargedArena>(charged), raw);
  return true;
}

TimePoint Dispatcher::NextDeadline() const {
  TimePoint next = TimePoint::max();
  for (const auto& cursor : cursors_) next = std::min(next, cursor->NextDeadline(now_));
  return next;
}

bool Dispatcher::Drained() const {
  return std::all_of(cursors_.begin(), cursors_.end(),
                     [](const auto& cursor) { return cursor->Drained(); });
}

void Dispatcher::Complete(const penstock_receipt* receipts, size_t n) {
  {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < n; ++i) {
      const penstock_receipt& r = receipts[i];
      int32_t reason = -1;
      if (r.reason.len > 0) {
        reason = static_cast<int32_t>(inbox_.reasons.size());
        inbox_.reasons.emplace_back(r.reason.ptr, std::min<size_t>(r.reason.len, 1024));
      }
      inbox_.done.push_back({r.token, r.outcome, r.flags, r.code, reason});
    }
  }
  signal_->Notify();
}

void Dispatcher::Ready() {
  {
    std::lock_guard lock(mutex_);
    inbox_.ready = true;
  }
  signal_->Notify();
}

void Dispatcher::SetState(int32_t state, std::string_view text) {
  {
    std::lock_guard lock(mutex_);
    status_.state = state;
    status_.text = text;
    inbox_.state_changed = true;
  }
  signal_->Notify();
}

std::vector<Ledger> Dispatcher::Ledgers() const {
  std::vector<Ledger> out;
  for (const auto& cursor : cursors_) out.push_back(cursor->Snapshot());
  return out;
}

SinkStatus Dispatcher::Status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace penstock::delivery
