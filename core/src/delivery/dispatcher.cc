#include "delivery/dispatcher.h"

#include <algorithm>
#include <cassert>

#include "delivery/cursor.h"

namespace penstock::delivery {
namespace {

// One turn of the round robin, and so what one submit carries.
constexpr uint64_t kTurnEvents = 256;
constexpr uint64_t kTurnBytes = 256 * 1024;
// A cursor's window also holds what settled behind an event that did not: in multiples of what may
// be in flight.
constexpr uint64_t kWindowFactor = 4;
// How long a step submits before it looks again at what has come in.
constexpr Nanoseconds kLongFill = std::chrono::milliseconds(50);

uint64_t Excess(uint64_t n, uint64_t own) { return n > own ? n - own : 0; }

}  // namespace

Dispatcher::Dispatcher(std::string sink_name, SinkPort* port, WindowLimits limits,
                       std::shared_ptr<queue::MemoryBudget::Share> share, const Clock* clock,
                       std::shared_ptr<Signal> signal, uint64_t seed)
    : name_(std::move(sink_name)),
      port_(port),
      limits_(limits),
      share_(std::move(share)),
      clock_(clock),
      signal_(std::move(signal)),
      seed_(seed),
      batch_(std::make_unique<Batch>()) {}

Dispatcher::~Dispatcher() = default;

void Dispatcher::AddCursor(CursorSpec spec) { AddCursor(std::move(spec), nullptr); }

void Dispatcher::AddCursor(CursorSpec spec, std::unique_ptr<Cursor> predecessor) {
  const auto lane = static_cast<uint32_t>(lanes_.size());
  assert(lane < kMaxLanes);
  std::lock_guard lock(cursors_mutex_);
  cursors_.push_back(std::make_unique<Cursor>(
      lane, name_, std::move(spec), clock_, signal_, limits_.max_events * kWindowFactor,
      seed_ + lane * 0x9e3779b97f4a7c15u, std::move(predecessor)));
  lanes_.push_back(cursors_.back().get());
}

void Dispatcher::Post(std::function<void()> f) {
  {
    std::lock_guard lock(mutex_);
    inbox_.posted.push_back(std::move(f));
  }
  signal_->Notify();
}

void Dispatcher::EndRoute(const std::string& source, uint64_t offset) {
  for (auto& cursor : cursors_) {
    if (cursor->source() == source) cursor->EndAt(offset);
  }
}

bool Dispatcher::Ended(const std::string& source) const {
  return std::all_of(cursors_.begin(), cursors_.end(), [&](const auto& cursor) {
    return cursor->source() != source || cursor->Drained();
  });
}

void Dispatcher::RemoveRoute(const std::string& source) {
  std::lock_guard lock(cursors_mutex_);
  std::erase_if(cursors_, [&](const auto& cursor) {
    if (cursor->source() != source) return false;
    assert(cursor->in_flight() == 0);
    cursor->Leave();
    lanes_[cursor->lane()] = nullptr;
    return true;
  });
}

void Dispatcher::SetSource(const event::SourceInfo* source, const FilterStep& filter) {
  for (auto& cursor : cursors_) {
    if (cursor->source() == source->name) cursor->SetSource(source, filter);
  }
}

std::vector<std::unique_ptr<Cursor>> Dispatcher::TakeCursors() {
  std::lock_guard lock(cursors_mutex_);
  lanes_.assign(lanes_.size(), nullptr);
  in_flight_ = 0;
  return std::exchange(cursors_, {});
}

TimePoint Dispatcher::Step() {
  now_ = clock_->Now();
  TakeInbox();
  Expire();
  for (auto& cursor : cursors_) {
    cursor->Skip(now_);
    cursor->BuryHeld(now_);
    cursor->Commit(now_);
  }
  Fill();
  for (auto& cursor : cursors_) cursor->ReleaseQueue();
  FlushIfIdle();
  return NextDeadline();
}

void Dispatcher::Expire() {
  std::vector<uint64_t> tokens;
  for (auto& cursor : cursors_) cursor->Expire(now_, &tokens);
  if (tokens.empty()) return;
  std::lock_guard lock(port_mutex_);
  if (!stopped_) port_->Cancel(tokens);
}

void Dispatcher::FlushIfIdle() {
  if (!draining_ || !unflushed_) return;
  const auto has_work = [this](const auto& cursor) { return cursor->HasWork(now_); };
  if (std::any_of(cursors_.begin(), cursors_.end(), has_work)) return;
  std::lock_guard lock(port_mutex_);
  if (stopped_) return;
  unflushed_ = false;
  port_->Flush();
}

void Dispatcher::StopSubmitting() {
  std::lock_guard lock(port_mutex_);
  stopped_ = true;
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
  if (std::exchange(working_.connected, false)) OnConnected();
  for (const auto& f : working_.posted) f();
  working_.posted.clear();
  if (state_changed) connected_ = state == PENSTOCK_STATE_READY;
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
  const std::string_view reason = done.reason < 0
                                      ? std::string_view()
                                      : std::string_view(reasons[static_cast<size_t>(done.reason)]);
  const bool known =
      lane < lanes_.size() && lanes_[lane] != nullptr &&
      lanes_[lane]->Settle(done.token & kOffsetMask, done.outcome, done.flags, reason, done.code);
  if (known) {
    --in_flight_;
  } else if (misuse_log_.Allow(now_)) {
    log::LogError(
        "sink " + name_,
        "the plugin gave a receipt for a message that is not in flight (ignored): token " +
            std::to_string(done.token));
  }
}

Dispatcher::Room Dispatcher::Own() const {
  const uint64_t n = cursors_.size();
  if (n == 1) return {limits_.max_events, limits_.max_bytes};
  return {limits_.max_events / (2 * n), limits_.max_bytes / (2 * n)};
}

void Dispatcher::CountShared() {
  const Room own = Own();
  shared_ = {0, 0};
  for (const auto& cursor : cursors_) {
    shared_.events += Excess(cursor->in_flight(), own.events);
    shared_.bytes += Excess(cursor->in_flight_bytes(), own.bytes);
  }
}

Dispatcher::Room Dispatcher::RoomFor(const Cursor& cursor, uint64_t sharers) const {
  const Room own = Own();
  const uint64_t n = cursors_.size();
  const auto room = [&](uint64_t max, uint64_t own_part, uint64_t shared, uint64_t in_flight) {
    const uint64_t free = Excess(own_part, in_flight) + Excess(max - n * own_part, shared);
    // While several want the window, none may take more than its even share of all of it; and one
    // whose last attempt failed only tries its own part.
    const uint64_t most = cursor.probing() ? own_part : max / sharers;
    return std::min(free, Excess(std::max<uint64_t>(most, 1), in_flight));
  };
  return {room(limits_.max_events, own.events, shared_.events, cursor.in_flight()),
          room(limits_.max_bytes, own.bytes, shared_.bytes, cursor.in_flight_bytes())};
}

void Dispatcher::Fill() {
  again_ = false;
  if (!MaySubmit()) return;
  std::vector<Cursor*> busy;
  size_t first = 0;
  for (size_t i = 0; i < cursors_.size(); ++i) {
    const size_t at = (turn_ + i) % cursors_.size();
    if (!cursors_[at]->HasWork(now_)) continue;
    if (busy.empty()) first = at;
    busy.push_back(cursors_[at].get());
  }
  if (busy.empty()) return;
  turn_ = first + 1;
  fill_end_ = clock_->Now() + kLongFill;
  CountShared();
  while (!busy.empty()) busy = TakeTurns(busy);
}

std::vector<Cursor*> Dispatcher::TakeTurns(const std::vector<Cursor*>& busy) {
  std::vector<Cursor*> still_busy;
  const Room own = Own();
  for (Cursor* cursor : busy) {
    if (!MaySubmit()) return {};
    if (cursor->WaitsForRoom()) continue;
    const Room room = RoomFor(*cursor, busy.size());
    if (room.events == 0 || room.bytes == 0) {
      cursor->OutOfRoom();
      continue;
    }
    shared_.events -= Excess(cursor->in_flight(), own.events);
    shared_.bytes -= Excess(cursor->in_flight_bytes(), own.bytes);
    const size_t done =
        SubmitSome(*cursor, {std::min(kTurnEvents, room.events), std::min(kTurnBytes, room.bytes)});
    shared_.events += Excess(cursor->in_flight(), own.events);
    shared_.bytes += Excess(cursor->in_flight_bytes(), own.bytes);
    if (done > 0 && cursor->HasWork(now_)) still_busy.push_back(cursor);
    again_ = clock_->Now() >= fill_end_;
    if (again_) return {};
  }
  return still_busy;
}

size_t Dispatcher::SubmitSome(Cursor& cursor, Room room) {
  Batch& batch = *batch_;
  const uint64_t from = cursor.next();
  cursor.Build(room.events, room.bytes, &batch);
  size_t accepted = 0;
  penstock_status status = PENSTOCK_OK;
  const bool submit = !batch.messages.empty() && TakeMemory(&batch);
  if (submit) status = Submit(cursor, batch, &accepted);
  const bool settled = cursor.Submitted(batch, accepted, now_);
  in_flight_ += accepted;
  unflushed_ = unflushed_ || accepted > 0;
  const bool all = accepted == batch.messages.size();
  const bool refused = submit && status != PENSTOCK_AGAIN && !(status == PENSTOCK_OK && all);
  if (status == PENSTOCK_AGAIN) paused_ = true;
  if (refused) {
    cursor.Refused("the sink's submit took " + std::to_string(accepted) + " of " +
                   std::to_string(batch.messages.size()) + " events and answered status " +
                   std::to_string(status));
  }
  const bool buried = all && batch.refused.has_value();
  // Nothing to be sent, but there was something that is not to be sent.
  const bool passed = batch.messages.empty() && cursor.next() > from;
  if (refused || settled || passed) cursor.Commit(now_);
  batch.arena.reset();
  return accepted + (buried || passed ? 1 : 0);
}

penstock_status Dispatcher::Submit(const Cursor& cursor, const Batch& batch, size_t* accepted) {
  const penstock_message_batch submitted{sizeof(penstock_message_batch),
                                         sizeof(penstock_message),
                                         batch.messages.data(),
                                         batch.messages.size(),
                                         cursor.lane(),
                                         cursor.BatchFlags()};
  std::lock_guard lock(port_mutex_);
  if (stopped_) return PENSTOCK_AGAIN;
  const penstock_status status = port_->Submit(submitted, accepted);
  *accepted = std::min(*accepted, batch.messages.size());
  return status;
}

bool Dispatcher::TakeMemory(Batch* batch) {
  struct ChargedArena {
    std::shared_ptr<event::Arena> arena;
    std::shared_ptr<queue::MemoryBudget::Share> share;
    uint64_t bytes;
    ~ChargedArena() {
      arena.reset();
      share->Return(bytes);
    }
  };
  const uint64_t bytes = batch->arena->reserved();
  if (bytes == 0) return true;
  if (!share_->TryTake(bytes)) {
    // Ask to be told of freed memory, then look again: what came back in between would be missed.
    share_->WakeWhenFreed();
    if (!share_->TryTake(bytes)) return false;
  }
  event::Arena* raw = batch->arena.get();
  std::shared_ptr<ChargedArena> charged(new ChargedArena{std::move(batch->arena), share_, bytes});
  batch->arena = std::shared_ptr<event::Arena>(std::move(charged), raw);
  return true;
}

TimePoint Dispatcher::NextDeadline() const {
  TimePoint next = again_ ? now_ : TimePoint::max();
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
    if (state == PENSTOCK_STATE_READY && status_.state != state) inbox_.connected = true;
    status_.state = state;
    status_.text = text;
    inbox_.state_changed = true;
  }
  signal_->Notify();
}

std::vector<Ledger> Dispatcher::Ledgers() const {
  std::vector<Ledger> out;
  std::lock_guard lock(cursors_mutex_);
  for (const auto& cursor : cursors_) {
    if (!cursor->replays()) out.push_back(cursor->Snapshot());
  }
  return out;
}

std::vector<RouteStatus> Dispatcher::Routes() const {
  std::vector<RouteStatus> out;
  std::lock_guard lock(cursors_mutex_);
  for (const auto& cursor : cursors_) {
    if (!cursor->replays()) out.push_back(cursor->Status());
  }
  return out;
}

SinkStatus Dispatcher::Status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

}  // namespace penstock::delivery
