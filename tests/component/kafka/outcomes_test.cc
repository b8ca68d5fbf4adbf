// The table of outcomes at Kafka.
#include "fakes/outcomes.h"

#include <thread>

#include "mock.h"

namespace penstock::kafka_tests {
namespace {

using fakes::FakeMessage;
using fakes::FakeSink;
using fakes::Map;
using fakes::NotApplicable;
using fakes::Tokens;
using fakes::Values;

class KafkaDriver {
 public:
  static constexpr NotApplicable kNotApplicable[] = {
      {"DuplicateOfAnEarlierAttempt",
       "Kafka has no message ids: a second attempt is a second record"},
      {"AckNeverComes",
       "librdkafka asks again until there is an answer; the host's cancel ends that, as in "
       "CancelledInFlight"},
  };

  KafkaDriver() {
    mock_.Reset();
    static int topics = 0;
    topic_ = "outcomes-" + std::to_string(++topics);
    rd_kafka_mock_topic_create(mock_.get(), topic_.c_str(), 1, 1);
    rd_kafka_mock_topic_set_error(mock_.get(), "gone", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  }
  ~KafkaDriver() { mock_.Reset(); }

  const penstock_plugin& plugin() { return fakes::LoadPlugin(PENSTOCK_SINK_FILE); }
  // The topic depends on the event, so that the sink does not ask for its limit before it opens:
  // the mock never answers that.
  Values Config() { return With("{subject}", {{"linger.ms", "100"}}); }
  // Each event is a batch of its own.
  Values StrictConfig() { return With(topic_, {{"batch.num.messages", "1"}}); }

  FakeMessage Event(int i) { return To(topic_, "event " + std::to_string(i)); }
  FakeMessage TooLarge() {
    mock_.Fail(kProduce, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    return To(topic_, "large");
  }
  std::string limit() { return "max.message.bytes"; }
  FakeMessage ToNowhere() { return To("gone", "lost"); }
  std::string nowhere() { return "topic gone: "; }
  std::vector<std::string> OnBus() {
    std::vector<std::string> out;
    for (Record& record : cluster_.ReadAll(topic_)) out.push_back(std::move(record.value));
    return out;
  }

  void Leave() { rd_kafka_mock_broker_set_down(mock_.get(), 1); }
  void Return() { rd_kafka_mock_broker_set_up(mock_.get(), 1); }
  Tokens InFlight(FakeSink& sink, int n) {
    mock_.AnswerLate(n);
    Tokens tokens = sink.Submit(Events(n));
    while (OnBus().size() < static_cast<size_t>(n)) {
    }
    mock_.Reset();  // of the requests to come
    return tokens;
  }
  Tokens Unsent(FakeSink& sink, int n) {
    Leave();
    return sink.Submit(Events(n));
  }
  Tokens Lost(FakeSink& sink, int n) {
    for (int i = 0; i < n; ++i)
      mock_.Fail(kProduce, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    Tokens tokens = sink.Submit(Events(n));
    while (mock_.AnswersLeft() == static_cast<size_t>(n)) std::this_thread::yield();
    mock_.Reset();
    return tokens;
  }
  void Silence() { mock_.AnswerLate(1); }
  void EndSilence() { mock_.Reset(); }
  // The mock knows no sequence numbers, by which a broker refuses what is behind a refused batch.
  void RefuseThird() {
    const auto behind = RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    mock_.Fail(kProduce, RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR_NO_ERROR,
               RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, behind, behind);
  }
  void RefuseNone() { mock_.Reset(); }

 private:
  static FakeMessage To(const std::string& topic, const std::string& payload) {
    return {.payload = payload, .templates = {topic, ""}};
  }
  std::vector<FakeMessage> Events(int n) {
    std::vector<FakeMessage> out;
    for (int i = 0; i < n; ++i) out.push_back(Event(i));
    return out;
  }
  Values With(const std::string& topic, Map client) {
    client.emplace_back("bootstrap.servers", mock_.bootstrap());
    client.emplace_back("topic.metadata.propagation.max.ms", "0");
    return {{"topic", topic}, {"client", client}};
  }

  const Mock& mock_ = Mock::Shared();
  Cluster cluster_{mock_.bootstrap()};
  std::string topic_;
};

}  // namespace
}  // namespace penstock::kafka_tests

namespace penstock::fakes {
INSTANTIATE_TYPED_TEST_SUITE_P(Kafka, Outcomes, kafka_tests::KafkaDriver);
}  // namespace penstock::fakes
