// librdkafka's mock cluster: one broker for all cases of a process, because to end one takes a
// second.
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <cstdint>
#include <memory>
#include <string>

#include "cluster.h"
#include "fakes/plugin_host.h"

namespace penstock::kafka_tests {

constexpr int16_t kProduce = 0;
constexpr int16_t kInitProducerId = 22;

class Mock {
 public:
  static const Mock& Shared() {
    static const Mock mock;
    return mock;
  }
  Mock(const Mock&) = delete;
  Mock& operator=(const Mock&) = delete;

  rd_kafka_mock_cluster_t* get() const { return cluster_.get(); }
  std::string bootstrap() const { return rd_kafka_mock_cluster_bootstraps(get()); }

  // As if nothing had happened yet, but for the records.
  void Reset() const {
    rd_kafka_mock_clear_request_errors(get(), kInitProducerId);
    rd_kafka_mock_broker_set_rtt(get(), 1, 0);
    rd_kafka_mock_broker_set_up(get(), 1);
    UseUpAnswers();
  }
  // The next requests get these answers.
  template <typename... Errors>
  void Fail(int16_t api, Errors... errors) const {
    if (api == kProduce) {
      for (const rd_kafka_resp_err_t error : {errors...}) Answer(error, 0);
    } else {
      rd_kafka_mock_push_request_errors(get(), api, sizeof...(errors), errors...);
    }
  }
  // Takes what the next requests bring, and answers long after.
  void AnswerLate(int requests) const {
    constexpr int kRttMs = 60000;
    for (int i = 0; i < requests; ++i) Answer(RD_KAFKA_RESP_ERR_NO_ERROR, kRttMs);
  }

  // Of those that Fail and AnswerLate have announced for produce requests.
  size_t AnswersLeft() const {
    size_t left = 0;
    rd_kafka_mock_broker_error_stack_cnt(get(), 1, kProduce, &left);
    return left;
  }

 private:
  Mock()
      : owner_(NewClient(RD_KAFKA_PRODUCER, {}), rd_kafka_destroy),
        cluster_(rd_kafka_mock_cluster_new(owner_.get(), 1), rd_kafka_mock_cluster_destroy) {
    rd_kafka_mock_topic_create(cluster_.get(), "t", 1, 1);
  }

  // The broker's own answers: where it has had any, it does not look at the cluster's.
  void Answer(rd_kafka_resp_err_t error, int rtt_ms) const {
    rd_kafka_mock_broker_push_request_error_rtts(get(), 1, kProduce, 1, error, rtt_ms);
  }
  // They cannot be taken back: somebody has to ask for them.
  void UseUpAnswers() const {
    const size_t left = AnswersLeft();
    if (left == 0) return;
    const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> client(
        NewClient(RD_KAFKA_PRODUCER,
                  {{"bootstrap.servers", bootstrap()}, {"batch.num.messages", "1"}}),
        rd_kafka_destroy);
    rd_kafka_topic_t* topic = rd_kafka_topic_new(client.get(), "t", nullptr);
    for (size_t i = 0; i < left; ++i)
      rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, nullptr, 0, nullptr, 0,
                       nullptr);
    while (AnswersLeft() > 0) rd_kafka_poll(client.get(), 10);
    rd_kafka_topic_destroy(topic);
  }

  const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> owner_;
  const std::unique_ptr<rd_kafka_mock_cluster_t, void (*)(rd_kafka_mock_cluster_t*)> cluster_;
};

}  // namespace penstock::kafka_tests
