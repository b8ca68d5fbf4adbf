// The sink: messages in, delivery reports out, and a keeper that owns the producer's life.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <penstock/plugin.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "batch_bound.h"
#include "client_table.h"
#include "log_filter.h"
#include "producer.h"
#include "record.h"
#include "slots.h"
#include "topics.h"

namespace penstock::kafka {

class KafkaSink final : public Sink {
 public:
  // Within a partition; Kafka knows no order between partitions.
  static constexpr uint32_t kCaps = PENSTOCK_CAP_PREFIX | PENSTOCK_CAP_RETRIES;
  static constexpr Option kOptions[] = {
      Option::Template("topic").Required().Help("The topic, as in \"events\" or \"{source}\"."),
      Option::Template("key").Help(
          "The record's key, as in \"{source}.{subject}\"; without it records have none."),
      Option::Map("client").Required().Help(
          "librdkafka's own properties; \"bootstrap.servers\" is required."),
  };

  static void Check(const Config& config, const Report& report);

  KafkaSink(const Host& host, const Config& config);
  ~KafkaSink() override;

  void Start() override;
  size_t Submit(const penstock_message_batch& batch) override;
  void Cancel(const uint64_t* tokens, size_t n) override;
  void Flush() override;
  void Stop() override;

 private:
  enum class Phase {
    kPaused,  // no producer, or one that has not reached a broker yet
    kOpen,
    kDraining,  // open again with another producer once nothing is in flight
    kBroken,    // the producer has met a fatal error, or was purged: it is to be replaced
    kStopped,
  };
  // Passes events on to the sink. An object of its own, because its virtual functions are still
  // called when the sink's destructor begins.
  class Listener final : public Producer::Events {
   public:
    explicit Listener(KafkaSink* sink) : sink_(sink) {}
    void OnDeliveries(rd_kafka_event_t* event) override { sink_->OnDeliveries(event); }
    void OnRoom() override { sink_->OnRoom(); }
    void OnFatal(rd_kafka_resp_err_t error, std::string_view text) override {
      sink_->OnFatal(error, text);
    }
    void OnError(rd_kafka_resp_err_t error, std::string_view text) override {
      sink_->OnError(error, text);
    }
    void OnLog(int level, std::string_view facility, std::string_view text) override {
      sink_->OnLog(level, facility, text);
    }

   private:
    KafkaSink* const sink_;
  };
  // One submit under way.
  struct Taking;
  // Receipts for one call of complete(), and the texts that they point to.
  struct Receipts {
    std::vector<penstock_receipt> list;
    std::deque<std::string> reasons;
    void Clear() {
      list.clear();
      reasons.clear();
    }
    std::string_view Keep(std::string reason) {
      if (reasons.empty() || reasons.back() != reason) reasons.push_back(std::move(reason));
      return reasons.back();
    }
    void Add(uint64_t token, int32_t outcome, uint32_t flags = 0, int32_t code = 0,
             std::string_view reason = {}) {
      list.push_back({token, outcome, flags, code, 0, penstock::Str(reason)});
    }
  };
  // A batch that the broker refused for the size or the content of some of its records.
  struct Refusal;
  struct Asking;
  struct TopicFacts {
    int partitions = 0;  // 0: no such topic, as far as can be seen
    size_t limit = 0;    // max.message.bytes; 0: not known
  };

  // submit, with mutex_ held (kafka_sink.cc)
  bool MayTake(const penstock_message_batch& batch);
  void Take(Taking* taking);
  bool Prepare(Taking* taking, const penstock_message& message, Slot** slot);
  bool SizeAllowed(Taking* taking, const penstock_message& message, Topic* topic, size_t size);
  bool Produce(Taking* taking, const penstock_message& message, Slot* slot);
  bool SendRun(Taking* taking);
  bool Sent(Taking* taking, Slot* slot, rd_kafka_resp_err_t error);
  void Refuse(Taking* taking, uint64_t token, int32_t outcome, int32_t code, std::string reason);
  bool MarkCancelled(const uint64_t* tokens, size_t n);

  // the producer's thread (deliveries.cc)
  void OnDeliveries(rd_kafka_event_t* event);
  void OnRoom();
  void Settle(const rd_kafka_message_t& message, Refusal* refusal);
  void Failed(const rd_kafka_message_t& message, const Slot& slot, Refusal* refusal);
  int32_t Blame(const rd_kafka_message_t& message, const Slot& slot, const Refusal& refusal,
                std::string* reason) const;
  void AfterRefusal(const Refusal& refusal, rd_kafka_resp_err_t error);
  void OnFatal(rd_kafka_resp_err_t error, std::string_view text);
  void OnError(rd_kafka_resp_err_t error, std::string_view text);
  void OnLog(int level, std::string_view facility, std::string_view text);

  // the keeper's thread (keeper.cc)
  void Keep();
  Clock::time_point NextLook() const;
  bool HasWork() const;
  bool HasUrgentWork() const;
  void Probe();
  void OpenForBusiness(int brokers);
  void LookAtTopics();
  TopicFacts AskFacts(const std::string& name, bool wait_for_it);
  void LookAtTopic(const std::string& name, bool wait_for_it);
  void GrowBatches();
  void LeaveBatches();
  void Replace(bool fatal);
  void MakeProducer();
  void CloseProducer(bool purge);
  void SettleLeftovers();
  bool SecretsAreNew();
  bool TakeDoubt();
  bool Stopping() const;
  size_t InFlight() const;
  // False as soon as the sink is to stop.
  bool WaitFor(std::chrono::milliseconds time);
  void Report(int32_t state, const std::string& text);

  // with mutex_ held
  void AskAbout(Topic* topic);
  void BreakLane(uint32_t lane);
  bool LaneIsBroken(uint32_t lane) const;
  void FitBatches(Topic* topic);
  void LowerBatches(const Topic& topic, size_t most);
  bool ProducerFits() const;

  const Entries client_;
  const Binding binding_;
  const std::string constant_topic_;  // empty: it depends on the event
  const bool has_key_;
  LogFilter log_filter_;
  Listener listener_{this};
  std::thread keeper_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;  // the keeper's
  // These two are changed by the keeper only, with mutex_ held.
  std::unique_ptr<Producer> producer_;
  bool connected_ = false;
  Phase phase_ = Phase::kPaused;
  bool refused_ = false;  // submit answered AGAIN, and ready() is owed
  bool flush_ = false;
  bool asking_ = false;       // the keeper waits for a broker
  bool doubtful_ = false;     // perhaps no broker can be reached
  bool auth_failed_ = false;  // perhaps a secret was rotated
  bool delivered_ = false;    // since the producer was made
  Clock::time_point last_report_{};
  std::string trouble_;      // the last error, for the state's text
  std::string replace_why_;  // where it is not the last error
  BatchBound bound_{kLibraryBatch};
  Clock::time_point drain_until_ = Clock::time_point::max();
  Defaults defaults_;                // for the next producer
  Defaults made_with_;               // the present one's
  std::vector<std::string> wanted_;  // topics to look at
  Topics topics_;
  Slots slots_;
  std::vector<bool> broken_lanes_;

  // Of the data thread.
  Receipts submit_receipts_;
  Headers headers_;
  std::vector<rd_kafka_message_t> run_;

  // Of the producer's thread.
  Receipts event_receipts_;

  // Of the keeper's thread, and of Start() before it.
  Entries resolved_;
  int32_t reported_ = 0;
  std::string reported_text_;
  std::chrono::milliseconds patience_{1000};
  std::chrono::milliseconds replace_delay_{0};
  Clock::time_point next_probe_{};
  Clock::time_point next_secret_look_{};

  Metric producers_made_, batches_refused_;
};

}  // namespace penstock::kafka
