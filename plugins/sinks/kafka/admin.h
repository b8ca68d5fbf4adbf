// Questions to the brokers. They block: for the keeper's thread only.
#pragma once

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

namespace penstock::kafka {

struct BrokersAnswer {
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  int brokers = 0;
};
// Whether the cluster answers. __TRANSPORT: no broker is connected; __TIMED_OUT: one is, and is
// slow.
BrokersAnswer AskBrokers(rd_kafka_t* producer, std::chrono::milliseconds timeout);

struct TopicAnswer {
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  int partitions = 0;
};
// The topic's partitions. Asking makes the broker create it where it may.
TopicAnswer AskTopic(rd_kafka_t* producer, const std::string& name,
                     std::chrono::milliseconds timeout);

// The topic's max.message.bytes; 0 when the broker does not say (no such topic, no right to ask, no
// answer in time, stopping). Looks at stopping every 100 ms.
size_t AskLimit(rd_kafka_t* producer, const std::string& name, std::chrono::milliseconds timeout,
                const std::function<bool()>& stopping);

}  // namespace penstock::kafka
