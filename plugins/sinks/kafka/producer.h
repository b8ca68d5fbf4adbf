// One rd_kafka_t and the thread that takes its events. Made, used, and thrown away as a whole:
// after a fatal error there is no other cure.
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <string_view>
#include <thread>

#include "client_table.h"

namespace penstock::kafka {

class Producer {
 public:
  // Called on the producer's thread, one call at a time, from the constructor on.
  class Events {
   public:
    Events() = default;
    Events(const Events&) = delete;
    Events& operator=(const Events&) = delete;
    // The reports of one batch; the event is destroyed afterwards, which frees its room in the
    // queue.
    virtual void OnDeliveries(rd_kafka_event_t* event) = 0;
    virtual void OnRoom() = 0;
    virtual void OnFatal(rd_kafka_resp_err_t error, std::string_view text) = 0;
    virtual void OnError(rd_kafka_resp_err_t error, std::string_view text) = 0;
    // level: as in syslog.
    virtual void OnLog(int level, std::string_view facility, std::string_view text) = 0;

   protected:
    ~Events() = default;
  };

  // Throws std::runtime_error with librdkafka's text.
  Producer(Conf conf, Events* events);
  // Messages without a report are forgotten; every topic handle must be gone. Up to a second.
  ~Producer();
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  rd_kafka_t* handle() const { return handle_; }
  // Makes every message fail soon. Does not wait.
  void Purge();

 private:
  void Run();
  void Handle(rd_kafka_event_t* event);

  Events* const events_;
  rd_kafka_t* handle_ = nullptr;
  rd_kafka_queue_t* queue_ = nullptr;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace penstock::kafka
