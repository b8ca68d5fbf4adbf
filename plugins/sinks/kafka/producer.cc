#include "producer.h"

#include <pthread.h>

#include <array>
#include <stdexcept>

namespace penstock::kafka {
namespace {

constexpr int kPollMs = 1000;

std::string_view Text(const char* text) { return text == nullptr ? "" : text; }

}  // namespace

Producer::Producer(Conf conf, Events* events) : events_(events) {
  rd_kafka_conf_set_events(conf.get(),
                           RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
  std::array<char, 512> text{};
  handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text.data(), text.size());
  if (handle_ == nullptr) throw std::runtime_error(std::string("librdkafka: ") + text.data());
  [[maybe_unused]] rd_kafka_conf_t* const taken_over = conf.release();
  queue_ = rd_kafka_queue_get_main(handle_);
  rd_kafka_set_log_queue(handle_, nullptr);
  thread_ = std::thread([this] { Run(); });
}

Producer::~Producer() {
  stop_ = true;
  rd_kafka_queue_yield(queue_);
  thread_.join();
  rd_kafka_queue_destroy(queue_);
  rd_kafka_destroy(handle_);
}

void Producer::Purge() {
  rd_kafka_purge(
      handle_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

void Producer::Run() {
  pthread_setname_np(pthread_self(), "kafka-events");
  while (!stop_) {
    rd_kafka_event_t* event = rd_kafka_queue_poll(queue_, kPollMs);
    if (event == nullptr) continue;
    Handle(event);
    const bool deliveries = rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR;
    rd_kafka_event_destroy(event);
    if (deliveries) events_->OnRoom();
  }
}

void Producer::Handle(rd_kafka_event_t* event) {
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      events_->OnDeliveries(event);
      break;
    case RD_KAFKA_EVENT_ERROR: {
      // The event names the cause in place of _FATAL: ask the producer itself whether it is broken.
      const rd_kafka_resp_err_t error = rd_kafka_event_error(event);
      if (rd_kafka_fatal_error(handle_, nullptr, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        std::array<char, 512> text{};
        const rd_kafka_resp_err_t cause = rd_kafka_fatal_error(handle_, text.data(), text.size());
        events_->OnFatal(cause, text.data());
      } else {
        events_->OnError(error, Text(rd_kafka_event_error_string(event)));
      }
      break;
    }
    case RD_KAFKA_EVENT_LOG: {
      const char *facility = nullptr, *text = nullptr;
      int level = 0;
      if (rd_kafka_event_log(event, &facility, &text, &level) == 0)
        events_->OnLog(level, Text(facility), Text(text));
      break;
    }
    default:
      break;
  }
}

}  // namespace penstock::kafka
