// What the Kafka tests ask of a cluster beside the sink: topics, their settings, and what they
// hold.
#pragma once

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::kafka_tests {

struct Record {
  int32_t partition = 0;
  int64_t offset = 0;
  std::string key, value;
  bool has_key = false, has_value = false;
  std::map<std::string, std::string> headers;
};

using Settings = std::map<std::string, std::string>;

inline rd_kafka_t* NewClient(rd_kafka_type_t type, const Settings& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char text[512];
  for (const auto& [key, value] : settings)
    if (rd_kafka_conf_set(conf, key.c_str(), value.c_str(), text, sizeof text) != RD_KAFKA_CONF_OK)
      throw std::runtime_error(text);
  if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
  rd_kafka_t* client = rd_kafka_new(type, conf, text, sizeof text);
  if (client == nullptr) throw std::runtime_error(text);
  return client;
}

class Cluster {
 public:
  explicit Cluster(const std::string& bootstrap)
      : bootstrap_(bootstrap),
        admin_(NewClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", bootstrap}}), rd_kafka_destroy),
        queue_(rd_kafka_queue_new(admin_.get()), rd_kafka_queue_destroy) {}

  // Waits for a broker that the topic can live on: the controller takes one that was frozen for
  // dead until it is heard of again.
  void CreateTopic(const std::string& name, int partitions, const Settings& settings = {}) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      const rd_kafka_resp_err_t error = TryCreateTopic(name, partitions, settings);
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return;
      if (error != RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR ||
          std::chrono::steady_clock::now() > deadline)
        throw std::runtime_error("making topic " + name + ": " + rd_kafka_err2str(error));
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  void Alter(const std::string& topic, const Settings& settings) {
    rd_kafka_ConfigResource_t* resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
    for (const auto& [key, value] : settings)
      rd_kafka_ConfigResource_set_config(resource, key.c_str(), value.c_str());
    rd_kafka_AlterConfigs(admin_.get(), &resource, 1, nullptr, queue_.get());
    rd_kafka_ConfigResource_destroy(resource);
    Await([](rd_kafka_event_t* event) {
      size_t n = 0;
      const auto* resources =
          rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &n);
      return n == 1 ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR__FAIL;
    });
  }

  // Lowers the topic's max.message.bytes and waits until the broker keeps to it, which is a while
  // after it said so. What that produces is left out by ReadAll.
  void LowerLimit(const std::string& topic, size_t bytes) {
    Alter(topic, {{"max.message.bytes", std::to_string(bytes)}});
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (Produce(topic, kProbe + std::string(bytes, '.')) !=
           RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
      if (std::chrono::steady_clock::now() > end)
        throw std::runtime_error(topic + " still takes " + std::to_string(bytes) + " bytes");
    }
  }

  // An access rule on a topic for one user.
  void Forbid(const std::string& user, const std::string& topic) {
    char text[512];
    rd_kafka_AclBinding_t* acl = rd_kafka_AclBinding_new(
        RD_KAFKA_RESOURCE_TOPIC, topic.c_str(), RD_KAFKA_RESOURCE_PATTERN_LITERAL,
        ("User:" + user).c_str(), "*", RD_KAFKA_ACL_OPERATION_WRITE,
        RD_KAFKA_ACL_PERMISSION_TYPE_DENY, text, sizeof text);
    rd_kafka_CreateAcls(admin_.get(), &acl, 1, nullptr, queue_.get());
    rd_kafka_AclBinding_destroy(acl);
    Await([](rd_kafka_event_t* event) {
      size_t n = 0;
      const auto* acls =
          rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &n);
      const rd_kafka_error_t* error = n == 1 ? rd_kafka_acl_result_error(acls[0]) : nullptr;
      return error == nullptr ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
    });
  }

  // All that the topic's partitions hold now, by partition and offset.
  std::vector<Record> ReadAll(const std::string& topic, int partitions = 1) {
    const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> reader(
        NewClient(RD_KAFKA_CONSUMER, {{"bootstrap.servers", bootstrap_},
                                      {"group.id", "reader"},
                                      {"check.crcs", "true"},
                                      {"enable.partition.eof", "true"},
                                      {"enable.auto.commit", "false"}}),
        rd_kafka_destroy);
    rd_kafka_poll_set_consumer(reader.get());
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; ++i)
      rd_kafka_topic_partition_list_add(list, topic.c_str(), i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reader.get(), list);
    rd_kafka_topic_partition_list_destroy(list);
    std::map<std::pair<int32_t, int64_t>, Record> sorted;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (int at_end = 0; at_end < partitions;) {
      if (std::chrono::steady_clock::now() > end) throw std::runtime_error("cannot read " + topic);
      rd_kafka_message_t* message = rd_kafka_consumer_poll(reader.get(), 1000);
      if (message == nullptr) continue;
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) ++at_end;
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && !IsProbe(*message))
        sorted[{message->partition, message->offset}] = ToRecord(*message);
      rd_kafka_message_destroy(message);
    }
    rd_kafka_consumer_close(reader.get());
    std::vector<Record> out;
    for (auto& [place, record] : sorted) out.push_back(std::move(record));
    return out;
  }

 private:
  static constexpr char kProbe[] = "probe";
  static bool IsProbe(const rd_kafka_message_t& message) {
    return message.len >= sizeof kProbe &&
           std::memcmp(message.payload, kProbe, sizeof kProbe - 1) == 0;
  }

  // One record, and what became of it.
  rd_kafka_resp_err_t Produce(const std::string& topic, const std::string& value) {
    const std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> producer(
        NewClient(RD_KAFKA_PRODUCER, {{"bootstrap.servers", bootstrap_}}), rd_kafka_destroy);
    rd_kafka_queue_t* reports = rd_kafka_queue_get_main(producer.get());
    rd_kafka_topic_t* handle = rd_kafka_topic_new(producer.get(), topic.c_str(), nullptr);
    rd_kafka_produce(handle, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
                     const_cast<char*>(value.data()), value.size(), nullptr, 0, nullptr);
    rd_kafka_topic_destroy(handle);
    rd_kafka_resp_err_t result = RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_event_t* event = rd_kafka_queue_poll(reports, 10000);
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
      result = rd_kafka_event_message_next(event)->err;
    if (event != nullptr) rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(reports);
    return result;
  }

  static Record ToRecord(const rd_kafka_message_t& message) {
    Record out;
    out.partition = message.partition;
    out.offset = message.offset;
    out.has_key = message.key != nullptr;
    out.has_value = message.payload != nullptr;
    if (out.has_key) out.key.assign(static_cast<const char*>(message.key), message.key_len);
    if (out.has_value) out.value.assign(static_cast<const char*>(message.payload), message.len);
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
      const char* name = nullptr;
      const void* value = nullptr;
      size_t size = 0;
      for (size_t i = 0;
           rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
           ++i)
        out.headers[name].assign(static_cast<const char*>(value), size);
    }
    return out;
  }

  rd_kafka_resp_err_t TryCreateTopic(const std::string& name, int partitions,
                                     const Settings& settings) {
    char text[512];
    rd_kafka_NewTopic_t* topic =
        rd_kafka_NewTopic_new(name.c_str(), partitions, 1, text, sizeof text);
    for (const auto& [key, value] : settings)
      rd_kafka_NewTopic_set_config(topic, key.c_str(), value.c_str());
    rd_kafka_CreateTopics(admin_.get(), &topic, 1, nullptr, queue_.get());
    rd_kafka_NewTopic_destroy(topic);
    return Outcome([](rd_kafka_event_t* event) {
      size_t n = 0;
      const auto* topics =
          rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
      return n == 1 ? rd_kafka_topic_result_error(topics[0]) : RD_KAFKA_RESP_ERR__FAIL;
    });
  }

  rd_kafka_resp_err_t Outcome(const std::function<rd_kafka_resp_err_t(rd_kafka_event_t*)>& result) {
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue_.get(), 30000);
    if (event == nullptr) return RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_resp_err_t error = rd_kafka_event_error(event);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = result(event);
    rd_kafka_event_destroy(event);
    return error;
  }

  void Await(const std::function<rd_kafka_resp_err_t(rd_kafka_event_t*)>& result) {
    const rd_kafka_resp_err_t error = Outcome(result);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
      throw std::runtime_error(std::string("admin: ") + rd_kafka_err2str(error));
  }

  const std::string bootstrap_;
  std::unique_ptr<rd_kafka_t, void (*)(rd_kafka_t*)> admin_;
  std::unique_ptr<rd_kafka_queue_t, void (*)(rd_kafka_queue_t*)> queue_;
};

}  // namespace penstock::kafka_tests
