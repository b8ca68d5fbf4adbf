// What a delivery report means to the host.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::kafka {

// PENSTOCK_DELIVERED, RETRY, UNKNOWN or REJECTED for one message's error and status. Two errors
// fail a whole batch for the sake of one record, and are told apart by the caller:
// MSG_SIZE_TOO_LARGE and INVALID_RECORD are RETRY here.
int32_t OutcomeOf(rd_kafka_resp_err_t error, rd_kafka_msg_status_t status);

// Whether the message failed only because something before it did, or because the producer is
// going.
bool IsConsequence(rd_kafka_resp_err_t error);

// Whether a look at the topic's metadata may mend it.
bool TopicIsInDoubt(rd_kafka_resp_err_t error);

// "topic NAME: Broker: Not enough in-sync replicas (NOT_ENOUGH_REPLICAS)", and what to do where
// something can be done.
std::string Explain(std::string_view topic, rd_kafka_resp_err_t error);

}  // namespace penstock::kafka
