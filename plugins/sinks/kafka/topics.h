// The topics in use: a bounded table of what is known of each, and its handle.
#pragma once

#include <librdkafka/rdkafka.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

namespace penstock::kafka {

using Clock = std::chrono::steady_clock;

struct Topic {
  std::string name;
  rd_kafka_topic_t* handle = nullptr;  // of the present producer
  uint32_t in_flight = 0;
  bool used = false;  // since Tightest()
  size_t limit = 0;   // max.message.bytes; 0: not known
  Clock::time_point limit_read{};
  size_t refused_bytes = 0;  // of the batch that the broker refused last; 0: none since
  bool exists = false;       // the broker has named its partitions
  bool asked = false;        // a look at it is under way
  Clock::time_point asked_at{};
};

// Not thread-safe: the sink's mutex guards it. Pointers stay good while the topic has messages in
// flight.
class Topics {
 public:
  static constexpr size_t kMax = 1024;

  Topics() = default;
  ~Topics() { DropHandles(); }
  Topics(const Topics&) = delete;
  Topics& operator=(const Topics&) = delete;

  // The topic of this name with a handle of producer; the one used longest ago makes room. nullptr
  // when every topic has messages in flight, or librdkafka refuses.
  Topic* Get(std::string_view name, rd_kafka_t* producer);
  // The topic if it is in the table.
  Topic* Find(std::string_view name);
  // Of those in use since the last call, the one with the smallest known limit; nullptr: none.
  Topic* Tightest();
  // Before their producer is destroyed.
  void DropHandles();

 private:
  bool MakeRoom();

  std::list<Topic> topics_;  // the latest used first
  std::unordered_map<std::string_view, std::list<Topic>::iterator> by_name_;
};

}  // namespace penstock::kafka
