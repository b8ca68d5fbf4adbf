// The keeper's thread: reaches the brokers, looks at topics, replaces the producer, ends it.
#include <pthread.h>

#include <algorithm>

#include "admin.h"
#include "kafka_sink.h"

namespace penstock::kafka {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kProbeEvery{250};
constexpr milliseconds kShortPatience{1000}, kLongPatience{4000};
constexpr milliseconds kTopicPatience{2000}, kLimitPatience{1000};
constexpr int kTopicTries = 20;
constexpr milliseconds kTopicTryEvery{100};
constexpr seconds kSilence{10};  // without a report, although events are on their way
constexpr seconds kSecretsEvery{5};
constexpr milliseconds kReplaceFirst{100}, kReplaceMost{10000};
constexpr milliseconds kLastFlush{300};
constexpr milliseconds kDrainForGrowth{2000};
constexpr milliseconds kPurgeAgain{200};
constexpr int kPurges = 5;

}  // namespace

void KafkaSink::Keep() {
  pthread_setname_np(pthread_self(), "kafka-keeper");
  for (;;) {
    bool flush = false;
    Phase phase;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, NextLook(), [this] { return HasWork(); });
      phase = phase_;
      flush = std::exchange(flush_, false);
      if (slots_.taken() > 0 && Clock::now() - last_report_ > kSilence) doubtful_ = true;
    }
    if (phase == Phase::kStopped) break;
    if (phase == Phase::kBroken) {
      Replace(true);
    } else if (phase == Phase::kDraining && InFlight() == 0) {
      Replace(false);
    } else if (phase == Phase::kDraining && Clock::now() >= drain_until_) {
      LeaveBatches();
    } else if (SecretsAreNew()) {
      Replace(true);
    } else if (!connected_ || TakeDoubt()) {
      Probe();
    } else {
      LookAtTopics();
      GrowBatches();
    }
    // A flush only ends the wait for more records; nobody waits for it.
    if (flush && producer_ != nullptr) rd_kafka_flush(producer_->handle(), 1);
  }
  if (connected_) rd_kafka_flush(producer_->handle(), static_cast<int>(kLastFlush.count()));
  CloseProducer(true);
}

Clock::time_point KafkaSink::NextLook() const {
  return connected_ ? std::min(Clock::now() + kSilence / 2, drain_until_)
                    : std::max(next_probe_, Clock::now());
}

bool KafkaSink::HasWork() const {
  return HasUrgentWork() || flush_ || (connected_ && !wanted_.empty());
}

// What does not wait until all topics have been looked at.
bool KafkaSink::HasUrgentWork() const {
  return phase_ == Phase::kStopped || phase_ == Phase::kBroken ||
         (phase_ == Phase::kDraining && slots_.taken() == 0) || (connected_ && doubtful_);
}

size_t KafkaSink::InFlight() const {
  std::lock_guard lock(mutex_);
  return slots_.taken();
}

bool KafkaSink::TakeDoubt() {
  std::lock_guard lock(mutex_);
  return std::exchange(doubtful_, false);
}

bool KafkaSink::Stopping() const {
  std::lock_guard lock(mutex_);
  return phase_ == Phase::kStopped;
}

bool KafkaSink::WaitFor(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return phase_ == Phase::kStopped; });
}

void KafkaSink::Report(int32_t state, const std::string& text) {
  if (state == reported_ && text == reported_text_) return;
  reported_ = state;
  reported_text_ = text;
  if (state == PENSTOCK_STATE_READY) {
    host().Ready(text);
  } else {
    host().Connecting(text);
  }
}

// While the keeper waits for a broker's answer, stop() does not wait with it.
struct KafkaSink::Asking {
  explicit Asking(KafkaSink* s) : sink(s) { Set(true); }
  ~Asking() { Set(false); }
  void Set(bool asking) {
    std::lock_guard lock(sink->mutex_);
    sink->asking_ = asking;
  }
  KafkaSink* const sink;
};

void KafkaSink::Probe() {
  const BrokersAnswer answer = [this] {
    const Asking asking(this);
    return AskBrokers(producer_->handle(), patience_);
  }();
  if (answer.error == RD_KAFKA_RESP_ERR_NO_ERROR) {
    patience_ = kShortPatience;
    OpenForBusiness(answer.brokers);
    return;
  }
  if (answer.error == RD_KAFKA_RESP_ERR__TIMED_OUT)
    patience_ = std::min(2 * patience_, kLongPatience);
  next_probe_ = Clock::now() + kProbeEvery;
  std::string text = answer.error == RD_KAFKA_RESP_ERR__TRANSPORT
                         ? "no broker of " + *Find(client_, "bootstrap.servers") + " can be reached"
                         : std::string("no answer: ") + rd_kafka_err2str(answer.error);
  {
    std::lock_guard lock(mutex_);
    if (phase_ == Phase::kStopped || phase_ == Phase::kBroken) return;
    connected_ = false;
    if (!trouble_.empty()) text += " (" + trouble_ + ")";
  }
  Report(PENSTOCK_STATE_CONNECTING, text);
}

void KafkaSink::OpenForBusiness(int brokers) {
  if (!connected_ && !constant_topic_.empty()) LookAtTopic(constant_topic_, true);
  bool owed = false;
  {
    std::lock_guard lock(mutex_);
    if (phase_ == Phase::kStopped || phase_ == Phase::kBroken) return;
    connected_ = true;
    trouble_.clear();
    auth_failed_ = false;
    if (phase_ == Phase::kPaused) phase_ = Phase::kOpen;
    if (phase_ == Phase::kOpen && !ProducerFits()) phase_ = Phase::kDraining;
    if (phase_ == Phase::kOpen) owed = std::exchange(refused_, false);
  }
  Report(PENSTOCK_STATE_READY, std::to_string(brokers) + (brokers == 1 ? " broker" : " brokers"));
  if (owed) ReadyForMore();
}

void KafkaSink::LookAtTopics() {
  std::vector<std::string> wanted;
  {
    std::lock_guard lock(mutex_);
    wanted.swap(wanted_);
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    {
      std::lock_guard lock(mutex_);
      if (HasUrgentWork()) {
        wanted_.insert(wanted_.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(i),
                       wanted.end());
        return;
      }
    }
    LookAtTopic(wanted[i], false);
  }
}

KafkaSink::TopicFacts KafkaSink::AskFacts(const std::string& name, bool wait_for_it) {
  const Asking asking(this);
  TopicFacts facts;
  TopicAnswer answer;
  for (int tries = 0; tries < (wait_for_it ? kTopicTries : 1); ++tries) {
    if (tries > 0 && !WaitFor(kTopicTryEvery)) return {};
    answer = AskTopic(producer_->handle(), name, kTopicPatience);
    const bool may_come = answer.error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
                          answer.error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (!may_come) break;
  }
  if (answer.error == RD_KAFKA_RESP_ERR__TRANSPORT ||
      answer.error == RD_KAFKA_RESP_ERR__TIMED_OUT) {
    // Perhaps it is not the topic.
    std::lock_guard lock(mutex_);
    doubtful_ = true;
  }
  facts.partitions = answer.error == RD_KAFKA_RESP_ERR_NO_ERROR ? answer.partitions : 0;
  if (facts.partitions > 0)
    facts.limit =
        AskLimit(producer_->handle(), name, kLimitPatience, [this] { return Stopping(); });
  return facts;
}

void KafkaSink::LookAtTopic(const std::string& name, bool wait_for_it) {
  const TopicFacts facts = AskFacts(name, wait_for_it);
  const bool exists = facts.partitions > 0;
  std::lock_guard lock(mutex_);
  Topic* topic = wait_for_it ? topics_.Get(name, producer_->handle()) : topics_.Find(name);
  if (topic == nullptr) return;
  if (exists && !topic->exists && defaults_.gapless && facts.partitions > 1 && !has_key_)
    host().Warn(
        "topic " + name + " has " + std::to_string(facts.partitions) +
        " partitions and records have no key: Kafka keeps the order only within a partition;"
        " set the option key, as in \"{source}\"");
  topic->asked = false;
  topic->asked_at = Clock::now();
  topic->exists = exists;
  if (exists) {
    topic->limit = facts.limit;
    topic->limit_read = topic->asked_at;
    FitBatches(topic);
  }
}

// A batch must fit into the topic, or the broker refuses all of it.
void KafkaSink::FitBatches(Topic* topic) {
  size_t most = topic->limit > 0 ? topic->limit : defaults_.batch_bytes;
  if (topic->refused_bytes > 0 && most >= topic->refused_bytes)
    most = std::max<size_t>(topic->refused_bytes / 2, 1);
  topic->refused_bytes = 0;
  LowerBatches(*topic, most);
}

void KafkaSink::LowerBatches(const Topic& topic, size_t most) {
  if (!bound_.Lower(most, Clock::now())) return;
  defaults_.batch_bytes = bound_.bytes();
  host().Info("batches get smaller, to fit into topic " + topic.name + ": at most " +
              std::to_string(bound_.bytes()) + " bytes");
  if (phase_ == Phase::kOpen) phase_ = Phase::kDraining;
}

// A topic that nothing comes for any more, or whose limit was raised, holds the others back no
// longer.
void KafkaSink::GrowBatches() {
  std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (phase_ != Phase::kOpen || !bound_.RaiseIsDue(now)) return;
  Topic* tightest = topics_.Tightest();
  if (tightest != nullptr && tightest->limit <= bound_.bytes()) AskAbout(tightest);
  if (!bound_.Raise(tightest == nullptr ? SIZE_MAX : tightest->limit, now)) return;
  defaults_.batch_bytes = bound_.bytes();
  host().Info("batches get larger again: at most " + std::to_string(bound_.bytes()) + " bytes");
  phase_ = Phase::kDraining;
  drain_until_ = now + kDrainForGrowth;
}

// Something on its way does not arrive: larger batches are not worth that all else waits for it.
void KafkaSink::LeaveBatches() {
  bool owed = false;
  {
    std::lock_guard lock(mutex_);
    drain_until_ = Clock::time_point::max();
    bound_.Lower(made_with_.batch_bytes, Clock::now());
    defaults_.batch_bytes = bound_.bytes();
    if (phase_ == Phase::kDraining && ProducerFits()) {
      phase_ = Phase::kOpen;
      owed = std::exchange(refused_, false);
    }
  }
  if (owed) ReadyForMore();
}

bool KafkaSink::ProducerFits() const {
  return made_with_.gapless == defaults_.gapless && made_with_.batch_bytes == defaults_.batch_bytes;
}

bool KafkaSink::SecretsAreNew() {
  {
    std::lock_guard lock(mutex_);
    // The flag stays until a broker lets us in: librdkafka repeats an error only every 30 seconds.
    if (!auth_failed_ || Clock::now() < next_secret_look_) return false;
    next_secret_look_ = Clock::now() + kSecretsEvery;
  }
  try {
    return ReadSecrets(client_, host()) != resolved_;
  } catch (const std::exception& error) {
    host().Warn(std::string("cannot read a secret again: ") + error.what());
    return false;
  }
}

void KafkaSink::Replace(bool fatal) {
  if (fatal) {
    std::string why;
    bool progress = false;
    {
      std::lock_guard lock(mutex_);
      if (phase_ == Phase::kStopped) return;
      phase_ = Phase::kBroken;
      why = replace_why_.empty() ? trouble_ : std::exchange(replace_why_, {});
      progress = delivered_;
    }
    Report(PENSTOCK_STATE_CONNECTING, "making a new producer: " + why);
    replace_delay_ =
        progress ? milliseconds(0) : std::clamp(2 * replace_delay_, kReplaceFirst, kReplaceMost);
  }
  CloseProducer(fatal);
  if (fatal && !WaitFor(replace_delay_)) return;
  for (;;) {
    try {
      resolved_ = ReadSecrets(client_, host());
      MakeProducer();
      return;
    } catch (const std::exception& error) {
      Report(PENSTOCK_STATE_CONNECTING, error.what());
      if (!WaitFor(kSecretsEvery)) return;
    }
  }
}

void KafkaSink::MakeProducer() {
  Defaults defaults;
  {
    std::lock_guard lock(mutex_);
    defaults = defaults_;
  }
  log_filter_.SetSecrets(SecretValues(client_, resolved_));
  auto made = std::make_unique<Producer>(MakeConf(resolved_, defaults), &listener_);
  producers_made_.Add();
  std::lock_guard lock(mutex_);
  producer_ = std::move(made);
  made_with_ = defaults;
  // One batch on its way and one that fills. librdkafka 2.0 polls without a pause for as long as it
  // holds a full batch that it may not send yet.
  slots_.SetMaxBytes(2 * std::max(defaults.batch_bytes, kLibraryBatch));
  connected_ = delivered_ = doubtful_ = false;
  next_probe_ = last_report_ = Clock::now();
  drain_until_ = Clock::time_point::max();
  wanted_.clear();
  if (phase_ != Phase::kStopped && phase_ != Phase::kBroken) phase_ = Phase::kPaused;
}

// Every message gets its receipt, then the producer goes.
void KafkaSink::CloseProducer(bool purge) {
  std::unique_ptr<Producer> old;
  {
    std::unique_lock lock(mutex_);
    if (producer_ == nullptr) return;
    for (int i = 0; purge && i < kPurges && slots_.taken() > 0; ++i) {
      producer_->Purge();
      wake_.wait_for(lock, kPurgeAgain, [this] { return slots_.taken() == 0; });
    }
    old = std::move(producer_);
    topics_.DropHandles();
    connected_ = false;
  }
  old.reset();
  {
    std::lock_guard lock(mutex_);
    if (phase_ == Phase::kBroken) phase_ = Phase::kPaused;
  }
  SettleLeftovers();
}

// What a purge did not report may have been sent, or not; without its producer nobody reads it any
// more.
void KafkaSink::SettleLeftovers() {
  Receipts receipts;
  {
    std::lock_guard lock(mutex_);
    slots_.ForEachTaken([&](Slot* slot) {
      receipts.Add(slot->token, PENSTOCK_UNKNOWN, 0, 0,
                   "the producer ended without a report of this event");
      if (slot->strict) BreakLane(slot->lane);
      --slot->topic->in_flight;
      slots_.Give(slot);
    });
  }
  Complete(receipts.list.data(), receipts.list.size());
}

}  // namespace penstock::kafka
