#include "publisher.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "hung.h"
#include "text.h"

namespace penstock::nats_jetstream {
namespace {

constexpr int64_t kMillisecond = 1000000;
constexpr int64_t kSecond = 1000 * kMillisecond;
constexpr int64_t kFirstBackoff = 100 * kMillisecond;
constexpr int64_t kMostBackoff = kSecond;
constexpr int64_t kSlowBackoff = 5 * kSecond;  // a login that is refused
constexpr int64_t kStable = 2 * kSecond;  // a connection that held so long starts the backoff anew
constexpr int64_t kReasonEvery = 10 * kSecond;
constexpr int64_t kSingleFile = 60 * kSecond;
constexpr int64_t kEndWait = 700 * kMillisecond;
constexpr size_t kWriteChunk = 64 * 1024;
constexpr size_t kMostReceipts = 512;
constexpr size_t kMostKnownServers = 16;
constexpr size_t kMostDeniedSubjects = 64;
constexpr size_t kOverhead = 64;  // of a message, beside its payload
constexpr size_t kMuchInFlight = 512;
constexpr std::chrono::nanoseconds kLingerEach{250};
constexpr std::chrono::milliseconds kLongestLinger{1};
constexpr int kMostStrikes = 3;
constexpr uint64_t kStrikeSpan = 1000;

// JetStream's error codes.
constexpr int32_t kWrongStream = 10060;
constexpr int32_t kWrongLastId = 10070;
constexpr int32_t kWrongLastSequence = 10071;
constexpr int32_t kMessageTooLarge = 10054;
constexpr int32_t kHeaderTooLarge = 10097;
constexpr int32_t kSealed = 10109;
constexpr int32_t kRollupFailed = 10111;
constexpr int32_t kWrongLastSequenceToo = 10164;
constexpr int32_t kTtlInvalid = 10165;
constexpr int32_t kTtlDisabled = 10166;
constexpr int32_t kStoreFailed = 10077;
constexpr int32_t kNoResponders = 503;

constexpr std::string_view kEarlierFailed = "an earlier event of the same source failed";
constexpr std::string_view kOtherCancelled =
    "not sent: another event of the same source was cancelled, and the order is strict";
constexpr std::string_view kOtherLast =
    "the stream's last message is not the one that this source sent last, so the events in flight "
    "behind it are sent again";

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool IsFinal(int32_t code) {
  switch (code) {
    case kWrongStream:
    case kWrongLastId:
    case kWrongLastSequence:
    case kWrongLastSequenceToo:
    case kMessageTooLarge:
    case kHeaderTooLarge:
    case kSealed:
    case kRollupFailed:
    case kTtlInvalid:
    case kTtlDisabled:
      return true;
    default:
      return false;
  }
}

std::string DescribeError(const Ack& ack, std::string_view subject) {
  std::string text = "JetStream refuses the message on " + std::string(subject) + ": " + ack.text;
  if (ack.code != 0) text += " (error " + std::to_string(ack.code) + ")";
  if (ack.code == kStoreFailed)
    text += "; a stream that is full and has discard = \"new\" takes more once it has room";
  if (ack.code == kMessageTooLarge) text += "; raise the stream's max_msg_size";
  if (ack.code == kSealed) text += "; a sealed stream never takes anything again";
  return text;
}

// The subject in: Permissions Violation for Publish to "SUBJECT"
std::string_view DeniedSubject(std::string_view text, std::string_view action) {
  const size_t at = text.find(action);
  if (at == std::string_view::npos) return {};
  std::string_view rest = text.substr(at + action.size());
  while (!rest.empty() && (rest[0] == ' ' || rest[0] == '"')) rest.remove_prefix(1);
  return rest.substr(0, rest.find_first_of("\" "));
}

}  // namespace

Publisher::Publisher(const Host& host, Settings settings)
    : host_(host),
      settings_(std::make_shared<const Settings>(std::move(settings))),
      port_(std::make_shared<Port>()),
      reconnects_(host.Counter("connects_total", "Connections made to NATS")),
      late_answers_(host.Counter("late_answers_total",
                                 "Answers that came after their message had been given up")),
      chain_breaks_(host.Counter("chain_breaks_total",
                                 "Times that strict order found another last message in the "
                                 "stream than its own")),
      writer_(settings_->binary),
      random_(std::random_device{}()) {
  incoming_.reserve(settings_->max_events);
}

Publisher::~Publisher() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void Publisher::Start() {
  host_.Connecting("connecting");
  thread_ = std::thread([this] {
    try {
      Run();
    } catch (const std::exception& e) {
      host_.Failed(std::string("sink nats-jetstream stopped working: ") + e.what());
    }
  });
}

void Publisher::Stop() {
  stopping_.store(true);
  std::shared_ptr<Connection> connection;
  {
    std::lock_guard lock(connection_mutex_);
    connection = connection_;
  }
  // Also ends a write that waits for a frozen server.
  if (connection != nullptr) connection->Close();
  port_->Wake();
}

size_t Publisher::Submit(const penstock_message_batch& batch) {
  size_t taken = 0;
  {
    std::lock_guard lock(incoming_mutex_);
    for (; taken < batch.count; ++taken) {
      const penstock_message& message = *penstock_message_at(&batch, taken);
      const bool full = held_events_ >= settings_->max_events ||
                        (settings_->max_bytes > 0 && held_bytes_ >= settings_->max_bytes);
      if (full) break;
      ++held_events_;
      held_bytes_ += message.payload.len;
      if (!cancelled_.empty()) cancelled_.erase(message.token);  // that was an earlier attempt
      incoming_.push_back({message, batch.lane, (batch.flags & PENSTOCK_BATCH_STRICT) != 0,
                           taken == 0 && (batch.flags & PENSTOCK_BATCH_RESUME) != 0});
    }
    ready_wanted_ = ready_wanted_ || taken < batch.count;
  }
  port_->Wake();
  return taken;
}

void Publisher::Cancel(const uint64_t* tokens, size_t n) {
  {
    std::lock_guard lock(incoming_mutex_);
    cancelled_.insert(tokens, tokens + n);
  }
  port_->Wake();
}

// ---- the loop ---------------------------------------------------------------------------------

void Publisher::Run() {
  while (!stopping_.load()) Turn();
  const auto connection = connection_;
  FailEverything("the gateway is shutting down");
  if (connection == nullptr && ending_.empty()) return;
  if (connection != nullptr) {
    connection->Close();
    // The end of the stream frees what waits in nats.c; a thread that stays behind harms nobody.
    const int64_t until = Now() + kEndWait;
    while (connection->polled() != nullptr && Now() < until) ReadIn();
    DropConnection();
  }
  const int64_t until = Now() + kEndWait;
  for (const auto& ending : ending_) ending->WaitEnded(std::max<int64_t>(until - Now(), 0));
}

void Publisher::Turn() {
  int64_t now = Now();
  // With much in flight the server has enough to do: waiting a little makes batches of answers,
  // receipts and writes larger, and costs no throughput, as no server answers that fast.
  if (in_flight_ >= kMuchInFlight)
    std::this_thread::sleep_for(
        std::min<std::chrono::nanoseconds>(in_flight_ * kLingerEach, kLongestLinger));
  port_->AnnounceWait();
  int64_t wait = WaitTime(now);
  if (!NothingWaits()) wait = 0;
  const Port::Ready ready = port_->Wait(connection_ == nullptr ? 0 : connection_->id(), wait);
  port_->CancelWait();
  now = Now();
  if (ready.readable && connection_ != nullptr) connection_->ReadIn();
  if (ready.writable) WriteOut();
  CheckLink(now);
  port_->TakeAnswers(&answers_, &notes_);
  HandleAnswers(now);
  HandleNotes(now);
  TakeIncoming();
  GiveBackCancelled();
  PublishQueued(now);
  WriteOut();
  CheckLink(now);
  Expire(now);
  FlushReceipts();
  if (connection_ == nullptr && now >= next_connect_ns_ && !stopping_.load()) BeginConnect(now);
}

void Publisher::ReadIn() {
  const Port::Ready ready = port_->Wait(connection_->id(), 10 * kMillisecond);
  if (ready.readable) connection_->ReadIn();
}

// What is to be done without anybody posting anything.
int64_t Publisher::WaitTime(int64_t now) const {
  int64_t until = now + 10 * kSecond;
  if (oldest_ != kNone) until = std::min(until, slots_[oldest_].deadline_ns);
  if (connection_ == nullptr) until = std::min(until, next_connect_ns_);
  if (connection_ != nullptr && !up_) until = std::min(until, connect_deadline_ns_);
  return std::max<int64_t>(until - now, 0);
}

bool Publisher::NothingWaits() {
  if (stopping_.load() || port_->HasPosts()) return false;
  if (!queued_.empty() && !write_blocked_) return false;
  if (connection_ != nullptr && connection_->wants_write() && !write_blocked_) return false;
  if (connection_ != nullptr && up_ && connection_->polled() == nullptr) return false;
  std::lock_guard lock(incoming_mutex_);
  return incoming_.empty() && cancelled_.empty();
}

// ---- the connection's life --------------------------------------------------------------------

void Publisher::BeginConnect(int64_t now) {
  // Looked at each second, as they may end.
  if (now < last_hung_ns_ + SecondsAfterHanging(Ending()) * kSecond) {
    next_connect_ns_ = now + kSecond;
    return;
  }
  std::string why;
  auto connection =
      std::make_shared<Connection>(next_connection_++, settings_, port_, known_servers_);
  try {
    Credentials credentials;
    credentials.user = settings_->user;
    if (!settings_->password.empty()) credentials.password = host_.ReadSecret(settings_->password);
    if (!settings_->token.empty()) credentials.token = host_.ReadSecret(settings_->token);
    connection->Start(credentials);
  } catch (const std::exception& e) {
    ReportConnecting(e.what());
    ScheduleConnect(now, true);
    return;
  }
  up_ = write_blocked_ = false;
  const size_t servers = settings_->servers.size() + known_servers_.size() + 1;
  connect_patience_ns_ = static_cast<int64_t>(servers) * kConnectTimeoutS * kSecond + 5 * kSecond;
  connect_deadline_ns_ = now + connect_patience_ns_;
  std::lock_guard lock(connection_mutex_);
  connection_ = std::move(connection);
}

// Those that were dropped and have not ended.
size_t Publisher::Ending() {
  ending_.erase(std::remove_if(ending_.begin(), ending_.end(),
                               [](const auto& ending) { return ending->WaitEnded(0); }),
                ending_.end());
  return ending_.size();
}

void Publisher::HandleNotes(int64_t now) {
  for (const Note& note : notes_) {
    if (connection_ == nullptr || note.connection != connection_->id()) continue;
    switch (note.kind) {
      case Note::kUp:
        HandleUp(note, now);
        break;
      case Note::kNotYet:
        connect_deadline_ns_ = now + connect_patience_ns_;
        ReportConnecting(note.text);
        break;
      case Note::kFailed:
        ReportConnecting(note.text);
        DropConnection();
        ScheduleConnect(now, note.slow);
        break;
      case Note::kDown:
        break;  // CheckLink sees it
      case Note::kNotAllowed:
        HandleNotAllowed(note.text);
        break;
      case Note::kWarning:
        host_.Warn(note.text);
        break;
      case Note::kInfo:
        host_.Info(note.text);
        break;
    }
  }
}

void Publisher::HandleUp(const Note& note, int64_t now) {
  if (connection_->polled() == nullptr) return;  // gone again already; CheckLink
  up_ = true;
  up_since_ns_ = now;
  reply_ = connection_->reply_prefix();
  reply_.resize(reply_.size() + kReplyTokenSize);
  last_reason_.clear();
  reconnects_.Add();
  host_.Ready("connected to " + note.text);
}

void Publisher::HandleNotAllowed(const std::string& text) {
  std::string_view subject = DeniedSubject(text, "Subscription to ");
  if (!subject.empty()) {
    if (connection_ != nullptr && up_ && subject.substr(0, 7) == "_INBOX.") {
      host_.Warn("the server's answers cannot be received: " + text +
                 "; allow this user to subscribe to _INBOX.>");
      connection_->Close();
    }
    return;
  }
  subject = DeniedSubject(text, "Publish to ");
  if (subject.empty()) return;
  const std::string reason =
      "the server does not allow this user to publish to " + std::string(subject) + ": " + text;
  if (denied_subjects_.size() < kMostDeniedSubjects && denied_subjects_.emplace(subject).second)
    host_.Warn(reason);
  for (uint32_t index = oldest_; index != kNone;) {
    const uint32_t next = slots_[index].newer;
    if (View(slots_[index].message.templates[kSubjectTemplate]) == subject)
      Settle(index, PENSTOCK_REJECTED, reason);
    index = next;
  }
}

// Notices that the connection has ended, or does not come about.
void Publisher::CheckLink(int64_t now) {
  if (connection_ == nullptr || stopping_.load()) return;
  if (!up_) {
    if (now < connect_deadline_ns_) return;
    DropConnection();
    last_hung_ns_ = now;
    ReportConnecting("no connection within " + std::to_string(connect_patience_ns_ / kSecond) +
                     "s: the server accepts it and then says nothing" + AboutHung(Ending()));
    ScheduleConnect(now, false);
    return;
  }
  if (connection_->polled() != nullptr) return;
  const std::string why = "the connection was lost: " + connection_->LastError();
  if (now - up_since_ns_ >= kStable) backoff_ns_ = 0;
  ReportConnecting(why);
  port_->TakeAnswers(&answers_, &notes_);  // what came before the end still counts
  HandleAnswers(now);
  HandleNotes(now);
  if (connection_ == nullptr) return;
  FailEverything(why);
  DropConnection();
  ScheduleConnect(now, false);
}

void Publisher::DropConnection() {
  std::shared_ptr<Connection> dropped;
  {
    std::lock_guard lock(connection_mutex_);
    dropped.swap(connection_);
  }
  // It does not name what it was given, nor anything if it never came up.
  known_servers_ = Merge(dropped->DiscoveredServers(), known_servers_);
  if (known_servers_.size() > kMostKnownServers) known_servers_.resize(kMostKnownServers);
  dropped->Close();
  dropped->Release();
  ending_.push_back(std::move(dropped));
  up_ = write_blocked_ = false;
}

void Publisher::ScheduleConnect(int64_t now, bool slow) {
  const int64_t most = slow ? kSlowBackoff : kMostBackoff;
  backoff_ns_ = std::min(std::max(backoff_ns_ * 2, kFirstBackoff), most);
  // Jitter only shortens.
  next_connect_ns_ =
      now + backoff_ns_ - static_cast<int64_t>(random_() % static_cast<uint64_t>(backoff_ns_ / 2));
}

// One line for the loss, then one when the reason changes, at most every ten seconds.
void Publisher::ReportConnecting(const std::string& why) {
  const int64_t now = Now();
  const bool first = last_reason_.empty();
  if (why == last_reason_ || (!first && now - last_reason_ns_ < kReasonEvery &&
                              last_reason_.compare(0, 14, "the connection") != 0)) {
    return;
  }
  last_reason_ = why;
  last_reason_ns_ = now;
  host_.Connecting(why);
}

// ---- messages on their way out ----------------------------------------------------------------

void Publisher::TakeIncoming() {
  taken_.clear();
  {
    std::lock_guard lock(incoming_mutex_);
    taken_.swap(incoming_);
    to_give_back_.swap(cancelled_);
  }
  for (const Incoming& incoming : taken_) {
    const uint32_t index = NewSlot();
    Slot& slot = slots_[index];
    slot.message = incoming.message;
    slot.lane = incoming.lane;
    slot.strict = incoming.strict;
    slot.resume = incoming.resume;
    slot.state = Slot::kQueued;
    slot.chained = false;
    if (incoming.strict) lanes_[incoming.lane].unsettled.push_back({index, slot.use});
    queued_.push_back({index, slot.use});
  }
}

void Publisher::GiveBackCancelled() {
  if (to_give_back_.empty()) return;
  std::set<uint32_t> lanes;
  for (uint32_t index = 0; index < slots_.size(); ++index) {
    const Slot& slot = slots_[index];
    if (slot.state == Slot::kFree || to_give_back_.count(slot.message.token) == 0) continue;
    if (slot.strict) {
      lanes.insert(slot.lane);
    } else {
      GiveBack(index);
    }
  }
  for (const uint32_t lane : lanes) GiveBackOfLane(&lanes_[lane]);
  to_give_back_.clear();
}

// What has not left yet comes back as well, or it would leave a gap. What has left is behind the
// cancelled one at the server too, and refused if that one never came there.
void Publisher::GiveBackOfLane(Lane* lane) {
  lane->held.clear();  // they are among the unsettled
  const std::deque<SlotRef> in_order = lane->unsettled;
  bool behind = false;
  for (const SlotRef& ref : in_order) {
    if (!Valid(ref)) continue;
    const Slot& slot = slots_[ref.slot];
    if (to_give_back_.count(slot.message.token) != 0) {
      GiveBack(ref.slot);
      behind = true;
    } else if (slot.state != Slot::kInFlight) {
      Settle(ref.slot, PENSTOCK_RETRY, kOtherCancelled, 0, behind ? PENSTOCK_RECEIPT_FOLLOWER : 0);
    }
  }
}

void Publisher::GiveBack(uint32_t index) {
  if (slots_[index].state == Slot::kInFlight) {
    Settle(index, PENSTOCK_UNKNOWN, "cancelled: sent, and not acknowledged until then");
  } else {
    Settle(index, PENSTOCK_RETRY, "cancelled before it was sent");
  }
}

void Publisher::PublishQueued(int64_t now) {
  size_t unwritten = 0;
  while (!queued_.empty() && !write_blocked_) {
    const SlotRef next = queued_.front();
    queued_.pop_front();
    if (!Valid(next)) continue;
    const uint32_t index = next.slot;
    unwritten += slots_[index].message.payload.len + kOverhead;
    HandleSlot(index, now);
    if (unwritten < kWriteChunk) continue;
    WriteOut();
    unwritten = 0;
  }
}

void Publisher::HandleSlot(uint32_t index, int64_t now) {
  Slot& slot = slots_[index];
  if (!slot.strict) {
    Publish(index, {}, now);
    return;
  }
  Lane& lane = lanes_[slot.lane];
  if (slot.resume) {
    lane.broken = lane.unblamed = false;
    lane.chain_id = lane.delivered_id;
  }
  if (HoldBack(lane, index, now)) return;
  const bool single = now < lane.single_until_ns;
  const std::string expected = single ? std::string() : lane.chain_id;
  lane.chain_id = MsgId(index);
  Publish(index, expected, now);
}

// A strict message that may not leave now: its lane is broken, or goes in single file.
bool Publisher::HoldBack(Lane& lane, uint32_t index, int64_t now) {
  Slot& slot = slots_[index];
  if (lane.broken) {
    Settle(index, PENSTOCK_RETRY, kEarlierFailed, 0, PENSTOCK_RECEIPT_FOLLOWER);
    return true;
  }
  // Without an id there is no chain, and what went in single file goes on so until nothing is left.
  const bool single = now < lane.single_until_ns || MsgId(index).empty() || !lane.held.empty();
  if (!single || lane.in_flight == 0) return false;
  slot.state = Slot::kHeld;
  lane.held.push_back({index, slot.use});
  return true;
}

void Publisher::Publish(uint32_t index, std::string_view expected_id, int64_t now) {
  natsConnection* nc = up_ ? connection_->polled() : nullptr;
  if (nc == nullptr) {
    Settle(index, PENSTOCK_RETRY, "not connected to NATS");
    return;
  }
  Slot& slot = slots_[index];
  const std::string fault = writer_.Fault(slot.message);
  if (!fault.empty()) {
    Settle(index, PENSTOCK_REJECTED, fault);
    return;
  }
  slot.generation = (slot.generation + 1) & kGenerationMask;
  WriteReplyToken(ReplyKey(index, slot.generation),
                  reply_.data() + reply_.size() - kReplyTokenSize);
  const natsStatus status = writer_.Write(nc, slot.message, expected_id, reply_.c_str(), &trash_);
  if (status != NATS_OK) {
    RefuseUnpublished(index, status);
    return;
  }
  slot.chained = !expected_id.empty();
  slot.state = Slot::kInFlight;
  slot.deadline_ns = now + settings_->ack_timeout.count();
  Link(index);
}

void Publisher::RefuseUnpublished(uint32_t index, natsStatus status) {
  const penstock_message& message = slots_[index].message;
  if (status == NATS_MAX_PAYLOAD) {
    natsConnection* nc = connection_->polled();
    const int64_t limit = nc == nullptr ? 0 : natsConnection_GetMaxPayload(nc);
    Settle(index, PENSTOCK_REJECTED,
           "the message of " + std::to_string(message.payload.len) +
               " bytes and its headers is over the server's max_payload of " +
               std::to_string(limit) + "; raise max_payload in the server's configuration");
    return;
  }
  Settle(index, status == NATS_INVALID_SUBJECT ? PENSTOCK_REJECTED : PENSTOCK_RETRY,
         "nats.c does not take the message: " + LastText(status), static_cast<int32_t>(status));
}

void Publisher::WriteOut() {
  if (connection_ == nullptr || !connection_->wants_write()) return;
  natsConnection* nc = connection_->polled();
  if (nc == nullptr) return;
  natsConnection_ProcessWriteEvent(nc);
  const bool blocked = connection_->polled() != nullptr && connection_->wants_write();
  if (blocked != write_blocked_) connection_->WatchWrites(blocked);
  write_blocked_ = blocked;
}

// ---- answers ----------------------------------------------------------------------------------

void Publisher::HandleAnswers(int64_t now) {
  for (const Answer& answer : answers_) {
    HandleAnswer(answer, now);
    trash_.Add(answer.msg, 0);
    if (receipts_.size() >= kMostReceipts) FlushReceipts();
  }
  answers_.clear();
}

void Publisher::HandleAnswer(const Answer& answer, int64_t now) {
  const auto index = static_cast<uint32_t>(answer.key & (kMaxSlots - 1));
  const auto generation = static_cast<uint32_t>(answer.key >> 20);
  if (index >= slots_.size() || slots_[index].generation != generation ||
      slots_[index].state != Slot::kInFlight) {
    late_answers_.Add();
    return;
  }
  if (answer.plain) {
    Settle(index, PENSTOCK_DELIVERED, {});
    return;
  }
  const std::string_view subject = View(slots_[index].message.templates[kSubjectTemplate]);
  if (natsMsg_IsNoResponders(answer.msg)) {
    Settle(index, PENSTOCK_RETRY,
           "no stream takes subject " + std::string(subject) +
               ", or JetStream is off: create a stream with this subject, or correct the sink's "
               "option subject",
           kNoResponders);
    return;
  }
  const auto size = static_cast<size_t>(natsMsg_GetDataLength(answer.msg));
  const Ack ack = ParseAck(std::string_view(size == 0 ? "" : natsMsg_GetData(answer.msg), size));
  if (ack.ok) {
    Settle(index, PENSTOCK_DELIVERED, {}, 0, ack.duplicate ? PENSTOCK_RECEIPT_DUPLICATE : 0);
    return;
  }
  HandleError(index, ack, now);
}

void Publisher::HandleError(uint32_t index, const Ack& ack, int64_t now) {
  const Slot& slot = slots_[index];
  if (slot.strict && (ack.code == kWrongLastId || ack.code == kWrongLastSequence) &&
      HandleChainError(index, ack, now)) {
    return;
  }
  const std::string_view subject = View(slot.message.templates[kSubjectTemplate]);
  Settle(index, IsFinal(ack.code) ? PENSTOCK_REJECTED : PENSTOCK_RETRY, DescribeError(ack, subject),
         ack.code);
}

// The stream's last message is not the one that this one was to follow.
bool Publisher::HandleChainError(uint32_t index, const Ack& ack, int64_t now) {
  Slot& slot = slots_[index];
  Lane& lane = lanes_[slot.lane];
  if (!slot.chained) return false;  // the user's own header: final
  while (!lane.unsettled.empty() && !Valid(lane.unsettled.front())) lane.unsettled.pop_front();
  const bool first = !lane.unsettled.empty() && lane.unsettled.front().slot == index;
  if (lane.broken || !first) {
    const bool blame = std::exchange(lane.unblamed, false);
    Settle(index, PENSTOCK_RETRY, blame ? kOtherLast : kEarlierFailed, ack.code,
           blame ? 0 : PENSTOCK_RECEIPT_FOLLOWER);
    return true;
  }
  // Everything before it is settled, so it may follow whatever is last now: the stream is new, or
  // its server forgot the last id, or somebody else writes into it. Those behind it are refused by
  // the server, as it was not there yet.
  NoteStrike(lane, now);
  Unlink(index);
  slot.state = Slot::kQueued;
  --lane.in_flight;
  const bool behind = lane.in_flight > 0;
  Publish(index, {}, now);
  lane.unblamed = behind && !lane.broken;
  lane.broken = lane.broken || behind;
  return true;
}

void Publisher::NoteStrike(Lane& lane, int64_t now) {
  chain_breaks_.Add();
  lane.strikes = lane.since_strike < kStrikeSpan ? lane.strikes + 1 : 1;
  lane.since_strike = 0;
  if (lane.strikes < kMostStrikes) {
    host_.Info(
        "strict order: the stream's last message is not the last one sent, as after the stream was "
        "made anew or purged; going on behind it");
    return;
  }
  lane.strikes = 0;
  lane.single_until_ns = now + kSingleFile;
  host_.Warn(
      "strict order: somebody else writes into the same stream, so events go one at a time for the "
      "next minute; give this source a stream of its own to have them pipelined");
}

void Publisher::Expire(int64_t now) {
  while (oldest_ != kNone && slots_[oldest_].deadline_ns <= now) {
    Settle(oldest_, PENSTOCK_UNKNOWN,
           "no acknowledgement within " +
               std::to_string(settings_->ack_timeout.count() / kMillisecond) + "ms");
  }
}

// Nothing can be answered any more: what was published may have arrived, the rest has not.
void Publisher::FailEverything(const std::string& why) {
  while (oldest_ != kNone) Settle(oldest_, PENSTOCK_UNKNOWN, why);
  TakeIncoming();
  to_give_back_.clear();
  for (uint32_t index = 0; index < slots_.size(); ++index)
    if (slots_[index].state != Slot::kFree) Settle(index, PENSTOCK_RETRY, why);
  queued_.clear();
  for (auto& [number, lane] : lanes_) lane.held.clear();
  FlushReceipts();
}

// ---- receipts ---------------------------------------------------------------------------------

void Publisher::Settle(uint32_t index, int32_t outcome, std::string_view reason, int32_t code,
                       uint32_t flags) {
  Slot& slot = slots_[index];
  const bool was_in_flight = slot.state == Slot::kInFlight;
  if (was_in_flight) Unlink(index);
  penstock_receipt receipt{slot.message.token, outcome, flags, code, 0, {nullptr, 0}};
  if (!reason.empty()) receipt.reason = penstock::Str(reasons_.emplace_back(reason));
  receipts_.push_back(receipt);
  settled_bytes_ += slot.message.payload.len;
  slot.state = Slot::kFree;
  slot.generation = (slot.generation + 1) & kGenerationMask;
  ++slot.use;
  free_.push_back(index);
  if (!slot.strict) return;
  if (was_in_flight) --lanes_[slot.lane].in_flight;
  SettleLane(index, outcome);
}

// The message's memory is still there: receipts leave later.
void Publisher::SettleLane(uint32_t index, int32_t outcome) {
  Lane& lane = lanes_[slots_[index].lane];
  if (outcome == PENSTOCK_DELIVERED) {
    lane.delivered_id = MsgId(index);
    ++lane.since_strike;
  } else {
    lane.broken = true;
  }
  while (!lane.unsettled.empty() && !Valid(lane.unsettled.front())) lane.unsettled.pop_front();
  if (!lane.held.empty()) ReleaseHeld(lane, Now());
}

// One settled in single file: the next may leave. At the end of single file all may.
void Publisher::ReleaseHeld(Lane& lane, int64_t now) {
  if (lane.broken) {
    std::deque<SlotRef> held;
    held.swap(lane.held);
    for (const SlotRef& ref : held) {
      Settle(ref.slot, PENSTOCK_RETRY, kEarlierFailed, 0, PENSTOCK_RECEIPT_FOLLOWER);
    }
    return;
  }
  if (lane.in_flight > 0) return;
  const bool single = now < lane.single_until_ns || MsgId(lane.held.front().slot).empty();
  const size_t n = single ? 1 : lane.held.size();
  const auto end = lane.held.begin() + static_cast<std::ptrdiff_t>(n);
  for (auto ref = lane.held.begin(); ref != end; ++ref) slots_[ref->slot].state = Slot::kQueued;
  queued_.insert(queued_.begin(), lane.held.begin(), end);
  lane.held.erase(lane.held.begin(), end);
}

void Publisher::FlushReceipts() {
  if (receipts_.empty()) return;
  bool ready = false;
  {
    // Before the host learns that it may send more.
    std::lock_guard lock(incoming_mutex_);
    held_events_ -= receipts_.size();
    held_bytes_ -= std::exchange(settled_bytes_, 0);
    std::swap(ready, ready_wanted_);
  }
  host_.raw()->complete(host_.raw(), receipts_.data(), receipts_.size());
  receipts_.clear();
  reasons_.clear();
  if (ready) host_.raw()->ready(host_.raw());
}

// ---- slots ------------------------------------------------------------------------------------

uint32_t Publisher::NewSlot() {
  if (free_.empty()) {
    slots_.emplace_back();
    return static_cast<uint32_t>(slots_.size() - 1);
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  return index;
}

// By deadline: all wait equally long, so the newest is last.
void Publisher::Link(uint32_t index) {
  Slot& slot = slots_[index];
  slot.older = newest_;
  slot.newer = kNone;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = index;
  newest_ = index;
  ++in_flight_;
  if (slot.strict) ++lanes_[slot.lane].in_flight;
}

void Publisher::Unlink(uint32_t index) {
  --in_flight_;
  Slot& slot = slots_[index];
  (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
  (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
  slot.older = slot.newer = kNone;
}

bool Publisher::Valid(const SlotRef& ref) const {
  return slots_[ref.slot].state != Slot::kFree && slots_[ref.slot].use == ref.use;
}

std::string_view Publisher::MsgId(uint32_t index) const {
  return View(slots_[index].message.templates[kMsgIdTemplate]);
}

}  // namespace penstock::nats_jetstream
