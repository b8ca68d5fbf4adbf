#include "outcome.h"

#include <penstock/plugin.h>

namespace penstock::kafka {
namespace {

std::string_view Advice(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      return "; create it, or allow the broker to (auto.create.topics.enable)";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return "; this client needs the right to write to it";
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      return "; this client needs the right IdempotentWrite on the cluster";
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
      return "; a compacted topic takes only records with a key: set the option key";
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
      return "; the producer was stopped or replaced before the broker's answer";
    default:
      return "";
  }
}

}  // namespace

int32_t OutcomeOf(rd_kafka_resp_err_t error, rd_kafka_msg_status_t status) {
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return PENSTOCK_DELIVERED;
  if (status != RD_KAFKA_MSG_STATUS_NOT_PERSISTED) return PENSTOCK_UNKNOWN;
  switch (error) {
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
      return PENSTOCK_REJECTED;
    default:
      return PENSTOCK_RETRY;
  }
}

bool IsConsequence(rd_kafka_resp_err_t error) {
  return error == RD_KAFKA_RESP_ERR__PURGE_QUEUE || error == RD_KAFKA_RESP_ERR__FATAL ||
         error == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE;
}

bool TopicIsInDoubt(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
      return true;
    default:
      return false;
  }
}

std::string Explain(std::string_view topic, rd_kafka_resp_err_t error) {
  std::string out = "topic " + std::string(topic) + ": " + rd_kafka_err2str(error) + " (" +
                    rd_kafka_err2name(error) + ")";
  return out.append(Advice(error));
}

}  // namespace penstock::kafka
