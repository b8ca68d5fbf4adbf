#include "topics.h"

#include <algorithm>
#include <utility>

namespace penstock::kafka {

Topic* Topics::Get(std::string_view name, rd_kafka_t* producer) {
  // Runs of one topic are the rule.
  if (topics_.empty() || topics_.front().name != name) {
    const auto found = by_name_.find(name);
    if (found != by_name_.end()) {
      topics_.splice(topics_.begin(), topics_, found->second);
    } else {
      if (topics_.size() >= kMax && !MakeRoom()) return nullptr;
      topics_.emplace_front();
      topics_.front().name = name;
      by_name_.emplace(topics_.front().name, topics_.begin());
    }
  }
  Topic& topic = topics_.front();
  if (topic.handle == nullptr)
    topic.handle = rd_kafka_topic_new(producer, topic.name.c_str(), nullptr);
  return topic.handle == nullptr ? nullptr : &topic;
}

Topic* Topics::Find(std::string_view name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &*found->second;
}

Topic* Topics::Tightest() {
  Topic* found = nullptr;
  for (Topic& topic : topics_) {
    const bool used = std::exchange(topic.used, topic.in_flight > 0);
    if (used && topic.limit > 0 && (found == nullptr || topic.limit < found->limit)) found = &topic;
  }
  return found;
}

bool Topics::MakeRoom() {
  const auto idle = std::find_if(topics_.rbegin(), topics_.rend(),
                                 [](const Topic& t) { return t.in_flight == 0; });
  if (idle == topics_.rend()) return false;
  if (idle->handle != nullptr) rd_kafka_topic_destroy(idle->handle);
  by_name_.erase(idle->name);
  topics_.erase(std::next(idle).base());
  return true;
}

void Topics::DropHandles() {
  for (Topic& topic : topics_) {
    if (topic.handle != nullptr) rd_kafka_topic_destroy(topic.handle);
    topic.handle = nullptr;
    topic.exists = topic.asked = false;
  }
}

}  // namespace penstock::kafka
