// Delivery reports, errors and log lines: what the producer's thread brings.
#include <array>

#include "kafka_sink.h"
#include "outcome.h"

namespace penstock::kafka {

// The reports of one event are those of one batch.
struct KafkaSink::Refusal {
  size_t count = 0;  // reports of the event
  size_t bytes = 0;  // of the records that failed
  Topic* topic = nullptr;
  bool any_without_key = false;
  bool blamed = false;  // a record was found that the broker does not take
};

namespace {

bool FailsForOneRecord(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || error == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

int32_t LevelOf(int syslog_level, std::string_view facility, std::string_view text) {
  constexpr int kNotice = 5, kDebug = 7;
  // Lost connections and waiting for a producer id are in the sink's state; here they are detail.
  const bool detail = facility == "FAIL" || facility == "ERROR" || facility == "GETPID" ||
                      text.find("enable.gapless.guarantee is experimental") != text.npos;
  if (syslog_level >= kDebug || detail) return PENSTOCK_LOG_DEBUG;
  return syslog_level >= kNotice ? PENSTOCK_LOG_INFO : PENSTOCK_LOG_WARN;
}

template <typename F>
void ForEachMessage(rd_kafka_event_t* event, F&& f) {
  std::array<const rd_kafka_message_t*, 256> messages;
  for (size_t n = rd_kafka_event_message_array(event, messages.data(), messages.size()); n > 0;
       n = rd_kafka_event_message_array(event, messages.data(), messages.size()))
    for (size_t i = 0; i < n; ++i) f(*messages[i]);
}

}  // namespace

void KafkaSink::OnDeliveries(rd_kafka_event_t* event) {
  event_receipts_.Clear();
  Refusal refusal;
  refusal.count = rd_kafka_event_message_count(event);
  std::vector<const rd_kafka_message_t*> refused;
  {
    std::lock_guard lock(mutex_);
    ForEachMessage(event, [&](const rd_kafka_message_t& message) {
      if (FailsForOneRecord(message.err)) {
        const Slot& slot = *static_cast<const Slot*>(message._private);
        refusal.bytes += slot.size;
        refusal.topic = slot.topic;
        refusal.any_without_key = refusal.any_without_key || !slot.has_key;
        refused.push_back(&message);
      } else {
        Settle(message, nullptr);
      }
    });
    for (const rd_kafka_message_t* message : refused) Settle(*message, &refusal);
    if (!refused.empty()) AfterRefusal(refusal, refused.front()->err);
    last_report_ = Clock::now();
    if (slots_.taken() == 0 && phase_ != Phase::kOpen) wake_.notify_all();
  }
  Complete(event_receipts_.list.data(), event_receipts_.list.size());
}

void KafkaSink::OnRoom() {
  {
    std::lock_guard lock(mutex_);
    if (!refused_ || phase_ != Phase::kOpen) return;
    refused_ = false;
  }
  ReadyForMore();
}

void KafkaSink::Settle(const rd_kafka_message_t& message, Refusal* refusal) {
  Slot* slot = static_cast<Slot*>(message._private);
  if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    event_receipts_.Add(slot->token, PENSTOCK_DELIVERED);
    delivered_ = true;
  } else {
    Failed(message, *slot, refusal);
  }
  --slot->topic->in_flight;
  slots_.Give(slot);
}

void KafkaSink::Failed(const rd_kafka_message_t& message, const Slot& slot, Refusal* refusal) {
  std::string reason = Explain(slot.topic->name, message.err);
  int32_t outcome = OutcomeOf(message.err, rd_kafka_message_status(&message));
  if (refusal != nullptr && outcome == PENSTOCK_RETRY) {
    outcome = Blame(message, slot, *refusal, &reason);
    refusal->blamed = refusal->blamed || outcome == PENSTOCK_REJECTED;
  }
  if (TopicIsInDoubt(message.err)) AskAbout(slot.topic);
  if (slot.cancelled) reason.append("; cancelled by the gateway");
  if (slot.cancelled && !trouble_.empty()) reason.append(", last error: ").append(trouble_);
  uint32_t flags = 0;
  if (slot.strict && outcome != PENSTOCK_REJECTED) {
    // The first of its lane says why, and so does one that was cancelled itself.
    const bool behind = LaneIsBroken(slot.lane) && !slot.cancelled;
    if (behind && outcome == PENSTOCK_RETRY && IsConsequence(message.err))
      flags = PENSTOCK_RECEIPT_FOLLOWER;
    BreakLane(slot.lane);
  }
  event_receipts_.Add(slot.token, outcome, flags, message.err,
                      event_receipts_.Keep(std::move(reason)));
}

// The broker refuses a whole batch for one bad record. Which one it was is certain where it was
// alone, and where it alone breaks the rule; all others are sent again, in smaller batches.
int32_t KafkaSink::Blame(const rd_kafka_message_t& message, const Slot& slot,
                         const Refusal& refusal, std::string* reason) const {
  if (message.err == RD_KAFKA_RESP_ERR_INVALID_RECORD) {
    const bool guilty = refusal.count == 1 || (refusal.any_without_key && !slot.has_key);
    return guilty ? PENSTOCK_REJECTED : PENSTOCK_RETRY;
  }
  const Topic& topic = *slot.topic;
  if (refusal.count == 1 || (topic.limit > 0 && slot.size > topic.limit)) {
    reason->append("; the record has ").append(std::to_string(slot.size)).append(" bytes");
    if (topic.limit > 0) reason->append(", the topic takes ").append(std::to_string(topic.limit));
    reason->append(" (max.message.bytes): raise it there, or send less");
    return PENSTOCK_REJECTED;
  }
  reason->append("; refused together with ")
      .append(std::to_string(refusal.count - 1))
      .append(" others, to be sent again in smaller batches");
  return PENSTOCK_RETRY;
}

void KafkaSink::AfterRefusal(const Refusal& refusal, rd_kafka_resp_err_t error) {
  batches_refused_.Add();
  if (refusal.count == 1) return;
  // The rest of such a batch is taken whatever its size.
  if (error == RD_KAFKA_RESP_ERR_INVALID_RECORD && refusal.blamed) return;
  Topic& topic = *refusal.topic;
  topic.refused_bytes = refusal.bytes;
  topic.asked_at = {};  // now, not in a second
  AskAbout(&topic);
}

void KafkaSink::OnFatal(rd_kafka_resp_err_t error, std::string_view text) {
  std::lock_guard lock(mutex_);
  if (phase_ == Phase::kStopped) return;
  phase_ = Phase::kBroken;
  trouble_ = std::string(rd_kafka_err2name(error)) + ": " + log_filter_.Clean(text);
  wake_.notify_all();
}

void KafkaSink::OnError(rd_kafka_resp_err_t error, std::string_view text) {
  const std::string clean = log_filter_.Clean(text);
  std::lock_guard lock(mutex_);
  switch (error) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:  // says how many, not why
      doubtful_ = true;
      break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR__SSL:
      auth_failed_ = doubtful_ = true;
      trouble_ = clean;
      break;
    default:
      trouble_ = clean;
      break;
  }
  wake_.notify_all();
}

void KafkaSink::OnLog(int level, std::string_view facility, std::string_view text) {
  const int32_t kept = LevelOf(level, facility, text);
  if (!host().Logs(kept)) return;
  uint64_t held_back = 0;
  if (!log_filter_.Allow(Clock::now(), &held_back)) return;
  const std::string clean = log_filter_.Clean(text);
  if (held_back > 0) {
    host().Log(kept, clean,
               {{"librdkafka", facility}, {"more_held_back", std::to_string(held_back)}});
  } else {
    host().Log(kept, clean, {{"librdkafka", facility}});
  }
}

}  // namespace penstock::kafka
