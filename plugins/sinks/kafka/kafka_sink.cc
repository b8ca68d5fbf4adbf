#include "kafka_sink.h"

#include <algorithm>

#include "outcome.h"

namespace penstock::kafka {
namespace {

// Indices of kOptions' templates in message.templates.
constexpr size_t kTopicTemplate = 0, kKeyTemplate = 1;
constexpr size_t kMaxRun = 256;
// A limit that was read longer ago is read again before a record is rejected for it.
constexpr std::chrono::seconds kLimitHolds{10};

constexpr std::string_view kFollower =
    "not sent: an earlier event of the same source failed, and the order is strict";

std::string ConstantPart(const std::string& text) {
  return text.find_first_of("{}") == std::string::npos ? text : std::string();
}

}  // namespace

struct KafkaSink::Taking {
  const penstock_message_batch& batch;
  bool strict;
  size_t taken = 0;        // accepted, from the front
  Topic* topic = nullptr;  // of run_
};

void KafkaSink::Check(const Config& config, const penstock::Report& report) {
  CheckClient(config.Map("client"), report);
  const std::string topic = ConstantPart(config.Str("topic"));
  const std::string fault = topic.empty() ? "" : TopicNameFault(topic);
  if (!fault.empty()) report.Error("topic", fault);
}

KafkaSink::KafkaSink(const Host& host, const Config& config)
    : Sink(host),
      client_(config.Map("client")),
      binding_(BindingOf(config.Str("format"))),
      constant_topic_(ConstantPart(config.Str("topic"))),
      has_key_(!config.Str("key").empty()),
      slots_(static_cast<size_t>(std::max<int64_t>(config.Int("max_in_flight.events"), 1))),
      producers_made_(
          host.Counter("producers_made_total",
                       "Kafka producers made: one at start, one after each fatal error, and one "
                       "after each cancellation.")),
      batches_refused_(
          host.Counter("batches_refused_total", "Batches that a broker refused as too large.")) {
  defaults_.instance = host.instance_name();
  defaults_.window_events = static_cast<uint64_t>(config.Int("max_in_flight.events"));
  defaults_.window_bytes = static_cast<uint64_t>(config.Int("max_in_flight.bytes"));
}

KafkaSink::~KafkaSink() {
  KafkaSink::Stop();
  if (keeper_.joinable()) keeper_.join();
}

void KafkaSink::Start() {
  Report(PENSTOCK_STATE_CONNECTING, "connecting to " + *Find(client_, "bootstrap.servers"));
  resolved_ = ReadSecrets(client_, host());
  defaults_.batch_bytes = BatchBytes(resolved_);
  bound_ = BatchBound(defaults_.batch_bytes);
  MakeProducer();
  keeper_ = std::thread([this] { Keep(); });
}

void KafkaSink::Stop() {
  {
    std::lock_guard lock(mutex_);
    phase_ = Phase::kStopped;
    // The keeper may be waiting for a dead broker; events need not wait with it.
    if ((!connected_ || asking_) && producer_ != nullptr) producer_->Purge();
  }
  wake_.notify_all();
}

void KafkaSink::Flush() {
  {
    std::lock_guard lock(mutex_);
    flush_ = true;
  }
  wake_.notify_all();
}

// librdkafka tries again for ever, and gives no single message back: all that it holds comes back
// and a new producer is made, as after a fatal error. Further calls meanwhile change nothing.
void KafkaSink::Cancel(const uint64_t* tokens, size_t n) {
  {
    std::lock_guard lock(mutex_);
    const bool holds = phase_ == Phase::kOpen || phase_ == Phase::kDraining;
    if (!holds || !MarkCancelled(tokens, n)) return;
    phase_ = Phase::kBroken;
    replace_why_ = "events were cancelled before a broker confirmed them";
    // At once, as the keeper may be waiting for a dead broker.
    producer_->Purge();
  }
  wake_.notify_all();
}

// Whether any of them is held.
bool KafkaSink::MarkCancelled(const uint64_t* tokens, size_t n) {
  std::vector<uint64_t> sorted(tokens, tokens + n);
  std::sort(sorted.begin(), sorted.end());
  bool any = false;
  slots_.ForEachTaken([&](Slot* slot) {
    if (!std::binary_search(sorted.begin(), sorted.end(), slot->token)) return;
    slot->cancelled = any = true;
  });
  return any;
}

size_t KafkaSink::Submit(const penstock_message_batch& batch) {
  submit_receipts_.Clear();
  Taking taking{batch, (batch.flags & PENSTOCK_BATCH_STRICT) != 0};
  {
    std::lock_guard lock(mutex_);
    if (MayTake(batch)) Take(&taking);
    if (taking.taken < batch.count) refused_ = true;
  }
  Complete(submit_receipts_.list.data(), submit_receipts_.list.size());
  return taking.taken;
}

bool KafkaSink::MayTake(const penstock_message_batch& batch) {
  const bool strict = (batch.flags & PENSTOCK_BATCH_STRICT) != 0;
  if (strict && !defaults_.gapless) {
    // Only a producer that stops at a gap can keep strict order.
    defaults_.gapless = true;
    if (phase_ == Phase::kOpen) phase_ = Phase::kDraining;
    wake_.notify_all();
    return false;
  }
  if (phase_ != Phase::kOpen) return false;
  if ((batch.flags & PENSTOCK_BATCH_RESUME) != 0 && LaneIsBroken(batch.lane))
    broken_lanes_[batch.lane] = false;
  return true;
}

void KafkaSink::Take(Taking* taking) {
  const penstock_message_batch& batch = taking->batch;
  for (size_t i = 0; i < batch.count; ++i) {
    const penstock_message& message = *penstock_message_at(&batch, i);
    if (taking->strict && LaneIsBroken(batch.lane)) {
      if (!SendRun(taking)) return;
      submit_receipts_.Add(message.token, PENSTOCK_RETRY, PENSTOCK_RECEIPT_FOLLOWER, 0, kFollower);
      ++taking->taken;
      continue;
    }
    Slot* slot = nullptr;
    if (!Prepare(taking, message, &slot)) break;
    if (slot != nullptr && !Produce(taking, message, slot)) return;
  }
  SendRun(taking);
}

// False: nothing more can be taken now. With *slot still empty the message has its receipt already.
bool KafkaSink::Prepare(Taking* taking, const penstock_message& message, Slot** slot) {
  const std::string_view name = View(message.templates[kTopicTemplate]);
  const std::string_view key = View(message.templates[kKeyTemplate]);
  if (taking->topic == nullptr || taking->topic->name != name) {
    if (!SendRun(taking)) return false;
    const std::string fault = TopicNameFault(name);
    if (!fault.empty()) {
      Refuse(taking, message.token, PENSTOCK_REJECTED, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, fault);
      return true;
    }
    taking->topic = topics_.Get(name, producer_->handle());
    if (taking->topic == nullptr) return false;
    taking->topic->used = true;
    if (taking->topic->limit > 0 && taking->topic->limit < defaults_.batch_bytes) {
      // Batches got larger while nothing came for it.
      LowerBatches(*taking->topic, taking->topic->limit);
      wake_.notify_all();
      return false;
    }
  }
  Topic* topic = taking->topic;
  if (topic->limit_read == Clock::time_point{}) AskAbout(topic);
  if (taking->strict && !topic->exists) {
    // What waits for an unknown topic could be overtaken when the topic appears.
    if (!SendRun(taking)) return false;
    AskAbout(topic);
    Refuse(taking, message.token, PENSTOCK_RETRY, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
           Explain(name, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC));
    return true;
  }
  headers_.Collect(message, binding_);
  const size_t size = LoneBatchSize(key.size(), message.payload.len, headers_);
  if (topic->limit > 0 && size > topic->limit) {
    if (!SendRun(taking)) return false;
    if (!SizeAllowed(taking, message, topic, size)) return true;
  }
  *slot = slots_.Take({message.token, topic, taking->batch.lane, static_cast<uint32_t>(size),
                       taking->strict, !key.empty()});
  return *slot != nullptr;
}

bool KafkaSink::SizeAllowed(Taking* taking, const penstock_message& message, Topic* topic,
                            size_t size) {
  // A compressed record may fit: whoever raises the client's own limit lets the broker decide.
  if (Find(client_, "message.max.bytes") != nullptr) return true;
  const std::string record = "a record of " + std::to_string(size) + " bytes; topic " +
                             topic->name + " takes " + std::to_string(topic->limit) +
                             " (max.message.bytes)";
  if (Clock::now() - topic->limit_read < kLimitHolds) {
    Refuse(taking, message.token, PENSTOCK_REJECTED, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
           record + ": raise it there, or send less");
  } else {
    AskAbout(topic);
    Refuse(taking, message.token, PENSTOCK_RETRY, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
           record + " when last asked; asking again");
  }
  return false;
}

void KafkaSink::Refuse(Taking* taking, uint64_t token, int32_t outcome, int32_t code,
                       std::string reason) {
  submit_receipts_.Add(token, outcome, 0, code, submit_receipts_.Keep(std::move(reason)));
  ++taking->taken;
  if (taking->strict && outcome == PENSTOCK_RETRY) BreakLane(taking->batch.lane);
}

// False: nothing more can be taken now.
bool KafkaSink::Produce(Taking* taking, const penstock_message& message, Slot* slot) {
  // A payload without bytes is an empty value; only a null pointer would make a tombstone.
  void* payload =
      message.payload.len == 0 ? const_cast<char*>("") : const_cast<char*>(message.payload.ptr);
  const penstock_str& key = message.templates[kKeyTemplate];
  if (headers_.empty()) {
    rd_kafka_message_t record{};
    record.payload = payload;
    record.len = message.payload.len;
    record.key = key.len == 0 ? nullptr : const_cast<char*>(key.ptr);
    record.key_len = key.len;
    record._private = slot;
    run_.push_back(record);
    return run_.size() < kMaxRun || SendRun(taking);
  }
  if (!SendRun(taking)) {
    slots_.Give(slot);
    return false;
  }
  taking->topic = slot->topic;
  rd_kafka_headers_t* headers = headers_.Make();
  // The tags are written out: the macros for them are no standard C++.
  const rd_kafka_resp_err_t error =
      rd_kafka_producev(producer_->handle(), RD_KAFKA_VTYPE_RKT, slot->topic->handle,
                        RD_KAFKA_VTYPE_VALUE, payload, message.payload.len, RD_KAFKA_VTYPE_KEY,
                        key.len == 0 ? nullptr : key.ptr, key.len, RD_KAFKA_VTYPE_HEADERS, headers,
                        RD_KAFKA_VTYPE_OPAQUE, static_cast<void*>(slot), RD_KAFKA_VTYPE_END);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_headers_destroy(headers);
  return Sent(taking, slot, error);
}

// Hands the gathered run over. All of it sees one state of the topic, so that the messages that
// fail are its tail, or all.
bool KafkaSink::SendRun(Taking* taking) {
  if (run_.empty()) return true;
  rd_kafka_produce_batch(taking->topic->handle, RD_KAFKA_PARTITION_UA, 0, run_.data(),
                         static_cast<int>(run_.size()));
  bool open = true;
  for (const rd_kafka_message_t& record : run_) {
    Slot* slot = static_cast<Slot*>(record._private);
    if (open) {
      open = Sent(taking, slot, record.err);
    } else {
      slots_.Give(slot);
    }
  }
  run_.clear();
  return open;
}

// False: the message was not taken, and no other can be.
bool KafkaSink::Sent(Taking* taking, Slot* slot, rd_kafka_resp_err_t error) {
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++slot->topic->in_flight;
    ++taking->taken;
    return true;
  }
  const uint64_t token = slot->token;
  Topic* topic = slot->topic;
  slots_.Give(slot);
  switch (error) {
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__FATAL:
      return false;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      Refuse(taking, token, PENSTOCK_REJECTED, error,
             Explain(topic->name, error) + "; client/message.max.bytes is smaller than the record");
      return true;
    default:
      if (TopicIsInDoubt(error)) AskAbout(topic);
      Refuse(taking, token, OutcomeOf(error, RD_KAFKA_MSG_STATUS_NOT_PERSISTED), error,
             Explain(topic->name, error));
      return true;
  }
}

void KafkaSink::AskAbout(Topic* topic) {
  constexpr std::chrono::seconds kNotOftener{1};
  if (topic->asked || Clock::now() - topic->asked_at < kNotOftener) return;
  topic->asked = true;
  wanted_.push_back(topic->name);
  wake_.notify_all();
}

void KafkaSink::BreakLane(uint32_t lane) {
  if (lane >= broken_lanes_.size()) broken_lanes_.resize(lane + 1);
  broken_lanes_[lane] = true;
}

bool KafkaSink::LaneIsBroken(uint32_t lane) const {
  return lane < broken_lanes_.size() && broken_lanes_[lane];
}

}  // namespace penstock::kafka

PENSTOCK_SINK_PLUGIN(penstock::kafka::KafkaSink, "kafka", PENSTOCK_VERSION,
                     "Writes events to topics of Apache Kafka.")
