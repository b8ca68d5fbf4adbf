#include "admin.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace penstock::kafka {
namespace {

constexpr std::chrono::milliseconds kSlice{100};

template <typename T, void (*kDestroy)(T*)>
struct Destroy {
  void operator()(T* object) const { kDestroy(object); }
};
template <typename T, void (*kDestroy)(T*)>
using Handle = std::unique_ptr<T, Destroy<T, kDestroy>>;
using Event = Handle<rd_kafka_event_t, rd_kafka_event_destroy>;

size_t LimitIn(rd_kafka_event_t* event) {
  const rd_kafka_DescribeConfigs_result_t* result = rd_kafka_event_DescribeConfigs_result(event);
  if (result == nullptr || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
  size_t n = 0;
  rd_kafka_ConfigResource_t const* const* resources =
      rd_kafka_DescribeConfigs_result_resources(result, &n);
  if (n != 1 || rd_kafka_ConfigResource_error(resources[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
  rd_kafka_ConfigEntry_t const* const* entries = rd_kafka_ConfigResource_configs(resources[0], &n);
  for (size_t i = 0; i < n; ++i) {
    const char* value = rd_kafka_ConfigEntry_value(entries[i]);
    if (value != nullptr &&
        std::strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0)
      return std::strtoull(value, nullptr, 10);
  }
  return 0;
}

}  // namespace

BrokersAnswer AskBrokers(rd_kafka_t* producer, std::chrono::milliseconds timeout) {
  const rd_kafka_metadata_t* metadata = nullptr;
  BrokersAnswer answer;
  answer.error =
      rd_kafka_metadata(producer, 0, nullptr, &metadata, static_cast<int>(timeout.count()));
  if (metadata == nullptr) return answer;
  answer.brokers = metadata->broker_cnt;
  rd_kafka_metadata_destroy(metadata);
  return answer;
}

TopicAnswer AskTopic(rd_kafka_t* producer, const std::string& name,
                     std::chrono::milliseconds timeout) {
  const Handle<rd_kafka_topic_t, rd_kafka_topic_destroy> topic(
      rd_kafka_topic_new(producer, name.c_str(), nullptr));
  if (topic == nullptr) return {rd_kafka_last_error(), 0};
  const rd_kafka_metadata_t* metadata = nullptr;
  TopicAnswer answer;
  answer.error =
      rd_kafka_metadata(producer, 0, topic.get(), &metadata, static_cast<int>(timeout.count()));
  if (metadata == nullptr) return answer;
  if (metadata->topic_cnt == 1) {
    answer.error = metadata->topics[0].err;
    answer.partitions = metadata->topics[0].partition_cnt;
  }
  rd_kafka_metadata_destroy(metadata);
  return answer;
}

size_t AskLimit(rd_kafka_t* producer, const std::string& name, std::chrono::milliseconds timeout,
                const std::function<bool()>& stopping) {
  const Handle<rd_kafka_queue_t, rd_kafka_queue_destroy> queue(rd_kafka_queue_new(producer));
  const Handle<rd_kafka_ConfigResource_t, rd_kafka_ConfigResource_destroy> resource(
      rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name.c_str()));
  const Handle<rd_kafka_AdminOptions_t, rd_kafka_AdminOptions_destroy> options(
      rd_kafka_AdminOptions_new(producer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
  std::array<char, 256> text{};
  rd_kafka_AdminOptions_set_request_timeout(options.get(), static_cast<int>(timeout.count()),
                                            text.data(), text.size());
  rd_kafka_ConfigResource_t* resources[] = {resource.get()};
  rd_kafka_DescribeConfigs(producer, resources, 1, options.get(), queue.get());
  for (auto left = timeout + kSlice; left > kSlice * 0 && !stopping(); left -= kSlice) {
    const Event event(rd_kafka_queue_poll(queue.get(), static_cast<int>(kSlice.count())));
    if (event != nullptr) return LimitIn(event.get());
  }
  return 0;
}

}  // namespace penstock::kafka
