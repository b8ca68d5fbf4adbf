// What the tests of the sink nats-jetstream share.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bus.h"
#include "fakes/nats_server.h"
#include "fakes/plugin_host.h"

namespace penstock::fakes {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline const penstock_plugin& Plugin() {
  static const penstock_plugin& plugin = LoadPlugin(PENSTOCK_SINK_NATS_JETSTREAM);
  return plugin;
}

inline FakeMessage Message(const std::string& subject, const std::string& payload,
                           const std::string& id = "") {
  return {.payload = payload, .templates = {subject, id}, .id = id};
}

inline Values With(const NatsServer& server, Values more = {}) {
  more.insert({"servers", List{server.url()}});
  return more;
}

// A sink that is started, and connected unless it cannot be.
struct Running {
  explicit Running(const Values& values, bool connected = true) : sink(host, Plugin(), values) {
    sink.Start();
    if (connected) {
      EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
    }
  }
  // Submits one message and waits for its receipt.
  FakeReceipt Send(const FakeMessage& message, uint32_t lane = 0, uint32_t flags = 0) {
    const uint64_t token = sink.Submit(message, lane, flags);
    EXPECT_TRUE(host.WaitSettled());
    return host.receipt(token);
  }
  FakeSinkHost host{"bus"};
  FakeSink sink;
};

// Does what the host does with a source's events: keeps a window in flight, and sends again what is
// to be sent again.
class Driver {
 public:
  Driver(Running& running, std::string subject, size_t events, bool strict)
      : running_(running), subject_(std::move(subject)), events_(events), strict_(strict) {}

  static std::string Payload(size_t i) { return "event " + std::to_string(i); }
  static std::string Id(size_t i) { return "id-" + std::to_string(i); }

  size_t delivered() const { return delivered_.size(); }
  size_t duplicates() const { return duplicates_; }

  // Goes on until so many are delivered; false when that takes too long.
  bool RunUntil(size_t delivered, size_t window = 200, seconds limit = seconds(60)) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (delivered_.size() < delivered) {
      if (std::chrono::steady_clock::now() > until) return false;
      Fill(window);
      if (in_flight_.empty()) continue;
      running_.host.WaitReceipts(1, milliseconds(200));
      for (const FakeReceipt& receipt : running_.host.TakeReceipts()) Take(receipt);
    }
    return true;
  }
  bool Finish() { return RunUntil(events_); }

 private:
  void Fill(size_t window) {
    if (running_.host.states().back().first != PENSTOCK_STATE_READY) {
      running_.host.WaitState(PENSTOCK_STATE_READY, milliseconds(200));
      return;
    }
    // A strict lane goes on only when each earlier message has its receipt.
    if (strict_ && failed_ && !in_flight_.empty()) return;
    uint32_t flags = strict_ ? PENSTOCK_BATCH_STRICT : 0;
    if (strict_ && failed_) {
      flags |= PENSTOCK_BATCH_RESUME;
      next_ = 0;
      while (next_ < events_ && delivered_.count(next_) != 0) ++next_;
      failed_ = false;
    }
    std::vector<FakeMessage> batch;
    std::vector<size_t> numbers;
    while (in_flight_.size() + batch.size() < window) {
      size_t number = 0;
      if (!again_.empty()) {
        number = again_.front();
        again_.pop_front();
      } else {
        while (next_ < events_ && delivered_.count(next_) != 0) ++next_;
        if (next_ == events_) break;
        number = next_++;
      }
      numbers.push_back(number);
      batch.push_back(Message(subject_, Payload(number), Id(number)));
    }
    if (batch.empty()) return;
    const std::vector<uint64_t> tokens = running_.sink.Submit(std::move(batch), 0, flags);
    ASSERT_EQ(tokens.size(), numbers.size());
    for (size_t i = 0; i < tokens.size(); ++i) in_flight_[tokens[i]] = numbers[i];
  }

  void Take(const FakeReceipt& receipt) {
    const auto found = in_flight_.find(receipt.token);
    ASSERT_NE(found, in_flight_.end());
    const size_t number = found->second;
    in_flight_.erase(found);
    if (receipt.outcome == PENSTOCK_DELIVERED) {
      delivered_.insert(number);
      duplicates_ += (receipt.flags & PENSTOCK_RECEIPT_DUPLICATE) != 0 ? 1 : 0;
      return;
    }
    ASSERT_NE(receipt.outcome, PENSTOCK_REJECTED) << receipt.reason;
    failed_ = true;
    if (!strict_) again_.push_back(number);
  }

  Running& running_;
  const std::string subject_;
  const size_t events_;
  const bool strict_;
  size_t next_ = 0;
  bool failed_ = false;
  std::deque<size_t> again_;
  std::map<uint64_t, size_t> in_flight_;
  std::set<size_t> delivered_;
  size_t duplicates_ = 0;
};

}  // namespace penstock::fakes
