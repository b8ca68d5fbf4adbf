// A sink as delivery sees it: the test says what it takes and what it answers.
#pragma once

#include <gtest/gtest.h>
#include <penstock/plugin.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "delivery/dispatcher.h"

namespace penstock::fakes {

// A message as it was submitted.
struct Sent {
  uint64_t token = 0;
  uint32_t lane = 0;
  uint32_t flags = 0;  // of its batch
  size_t batch = 0;    // the how manieth submit, from 1
  uint32_t attempt = 0;
  std::string payload, id;
};

// Used by one thread. Fails the test if a token is submitted while it is in flight, and if the
// memory of a message has changed by the time of its receipt.
class FakeSinkPort : public delivery::SinkPort {
 public:
  static constexpr size_t kUnlimited = ~size_t{0};

  // What Submit may still take before it answers AGAIN.
  size_t capacity = kUnlimited;
  // Answered by Submit in place of OK or AGAIN, and nothing is taken, while it is not OK.
  penstock_status error = PENSTOCK_OK;
  // Called for each message taken, within Submit.
  std::function<void(const Sent&)> on_sent;

  // What Cancel was called for, in all.
  std::vector<uint64_t> cancelled;

  // What the receipts go to.
  delivery::Dispatcher* dispatcher = nullptr;

  penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) override {
    ++batches;
    EXPECT_GT(batch.count, 0u);
    EXPECT_FALSE(stopped) << "submit after stop";
    if (error != PENSTOCK_OK) return error;
    const size_t n = std::min(batch.count, capacity);
    for (size_t i = 0; i < n; ++i) Take(batch, *penstock_message_at(&batch, i));
    if (capacity != kUnlimited) capacity -= n;
    *accepted = n;
    return n == batch.count ? PENSTOCK_OK : PENSTOCK_AGAIN;
  }
  void Flush() override { ++flushes; }
  void Cancel(const std::vector<uint64_t>& tokens) override {
    cancelled.insert(cancelled.end(), tokens.begin(), tokens.end());
  }

  void Deliver(uint64_t token, uint32_t flags = 0) {
    Complete(token, PENSTOCK_DELIVERED, flags, "");
  }
  void Retry(uint64_t token, uint32_t flags = 0) {
    Complete(token, PENSTOCK_RETRY, flags, "no stream");
  }
  void Unknown(uint64_t token) { Complete(token, PENSTOCK_UNKNOWN, 0, "no answer in time"); }
  void Reject(uint64_t token) { Complete(token, PENSTOCK_REJECTED, 0, "too large", 10054); }
  void Complete(uint64_t token, int32_t outcome, uint32_t flags, const std::string& reason,
                int32_t code = 0) {
    const auto found = in_flight_.find(token);
    if (found == in_flight_.end()) {
      ADD_FAILURE() << "the test completes token " << token << ", which is not in flight";
      return;
    }
    CheckMemory(found->second);
    in_flight_.erase(found);
    order_.erase(std::find(order_.begin(), order_.end(), token));
    const penstock_receipt receipt{token, outcome, flags, code, 0, {reason.data(), reason.size()}};
    dispatcher->Complete(&receipt, 1);
  }
  void DeliverAll() {
    for (const uint64_t token : std::vector<uint64_t>(order_)) Deliver(token);
  }
  void RetryAll() {
    for (const uint64_t token : std::vector<uint64_t>(order_)) Retry(token);
  }

  // In the order of submission.
  const std::vector<uint64_t>& in_flight() const { return order_; }
  const Sent& sent(uint64_t token) const { return in_flight_.at(token).sent; }
  std::vector<std::string> in_flight_payloads() const {
    std::vector<std::string> out;
    for (const uint64_t token : order_) out.push_back(sent(token).payload);
    return out;
  }

  // Since the beginning.
  std::vector<Sent> log;
  size_t batches = 0, flushes = 0;
  bool stopped = false;  // set by the test: Submit must not be called any more

 private:
  struct InFlight {
    Sent sent;
    penstock_message message;
  };

  void Take(const penstock_message_batch& batch, const penstock_message& m) {
    Sent sent{m.token,
              batch.lane,
              batch.flags,
              batches,
              m.attempt,
              {m.payload.ptr, m.payload.len},
              {m.id.ptr, m.id.len}};
    log.push_back(sent);
    order_.push_back(m.token);
    if (!in_flight_.emplace(m.token, InFlight{sent, m}).second)
      ADD_FAILURE() << "token " << m.token << " is in flight already";
    if (on_sent) on_sent(sent);
  }
  static void CheckMemory(const InFlight& flight) {
    const penstock_message& m = flight.message;
    EXPECT_EQ(flight.sent.payload, std::string(m.payload.ptr, m.payload.len));
    EXPECT_EQ(flight.sent.id, std::string(m.id.ptr, m.id.len));
  }

  std::map<uint64_t, InFlight> in_flight_;
  std::vector<uint64_t> order_;
};

}  // namespace penstock::fakes
