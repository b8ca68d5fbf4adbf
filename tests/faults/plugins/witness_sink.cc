// Sink "witness": tells a witness outside what it gets, before it gives the receipt; with its
// faults it is any bus that a test needs. Routes to it must have format = "raw".
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <penstock/plugin.hpp>
#include <string>
#include <thread>
#include <vector>

#include "faults/numbered.h"
#include "faults/plugins/witness_pipe.h"

class WitnessSink : public penstock::Sink {
 public:
  static constexpr uint32_t kCaps = PENSTOCK_CAP_PREFIX_SINGLE;
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::String("witness").Required().Help(
          "The FIFO for the lines of witness_pipe.h; somebody must be reading it."),
      penstock::Option::Bool("dead").Default("false").Help("It is never connected."),
      penstock::Option::Int("retry_percent")
          .Default("0")
          .Range(0, 100)
          .Help("Of the first attempts: refused for now."),
      penstock::Option::Int("unknown_percent")
          .Default("0")
          .Range(0, 100)
          .Help("Of the first attempts: taken or not, without an answer."),
      penstock::Option::Int("reject_percent")
          .Default("0")
          .Range(0, 100)
          .Help("Of the events: refused for ever."),
      penstock::Option::Int("seed").Default("1").Range(0, INT64_MAX).Help("Of the faults."),
  };

  static void Check(const penstock::Config& config, const penstock::Report& report) {
    if (config.Str("witness").empty() || config.Str("witness")[0] != '/')
      report.Error("witness", "write the full path of a FIFO");
  }

  WitnessSink(const penstock::Host& host, const penstock::Config& config)
      : Sink(host),
        name_(host.instance_name()),
        witness_(config.Str("witness")),
        dead_(config.Bool("dead")),
        retry_(static_cast<unsigned>(config.Int("retry_percent"))),
        unknown_(static_cast<unsigned>(config.Int("unknown_percent"))),
        reject_(static_cast<unsigned>(config.Int("reject_percent"))),
        seed_(static_cast<uint64_t>(config.Int("seed"))) {}
  ~WitnessSink() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  void Start() override {
    pipe_.emplace(witness_, [this](const std::string& text) { host().Error(text); });
    if (dead_) return host().Connecting("is dead, as its options say");
    thread_ = std::thread([this] { Work(); });
    host().Ready();
  }

  size_t Submit(const penstock_message_batch& batch) override {
    if (dead_) return 0;
    std::lock_guard lock(mutex_);
    if ((batch.flags & PENSTOCK_BATCH_RESUME) != 0) failed_ = false;
    for (size_t i = 0; i < batch.count; ++i) {
      const penstock_message& message = *penstock_message_at(&batch, i);
      const bool strict = (batch.flags & PENSTOCK_BATCH_STRICT) != 0;
      taken_.push_back(
          {message.token, message.attempt, strict, std::string(penstock::View(message.payload))});
    }
    changed_.notify_all();
    return batch.count;
  }

 private:
  struct Taken {
    uint64_t token;
    uint32_t attempt;
    bool strict;
    std::string payload;
  };

  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !taken_.empty(); });
      if (taken_.empty()) return;
      const std::deque<Taken> batch = std::move(taken_);
      taken_.clear();
      std::vector<penstock_receipt> receipts;
      std::string lines;
      for (const Taken& one : batch) receipts.push_back(Decide(one, &lines));
      lock.unlock();
      pipe_->Say(lines);
      pipe_->Flush();
      Complete(receipts.data(), receipts.size());
      lock.lock();
    }
  }

  // With the lock: failed_ belongs to it.
  penstock_receipt Decide(const Taken& one, std::string* lines) {
    penstock_receipt receipt{one.token, PENSTOCK_DELIVERED, 0, 0, 0, {}};
    if (one.strict && failed_) {
      receipt.outcome = PENSTOCK_RETRY;
      receipt.flags = PENSTOCK_RECEIPT_FOLLOWER;
      return receipt;
    }
    const auto event = penstock_faults::ParseNumbered(one.payload);
    if (!event) {
      *lines += "X " + name_ + " " + std::to_string(one.payload.size()) + "\n";
      return receipt;
    }
    penstock_faults::Rng rng(seed_, event->number);
    const bool rejected = rng.Chance(reject_), retry = rng.Chance(retry_),
               unknown = rng.Chance(unknown_), taken = rng.Chance(50);
    if (rejected) {
      receipt.outcome = PENSTOCK_REJECTED;
      receipt.reason = penstock::Str("the witness does not want it");
    } else if (one.attempt == 1 && (retry || unknown)) {
      receipt.outcome = retry ? PENSTOCK_RETRY : PENSTOCK_UNKNOWN;
      failed_ = one.strict;
    }
    const bool says = receipt.outcome == PENSTOCK_DELIVERED || rejected ||
                      (receipt.outcome == PENSTOCK_UNKNOWN && taken);
    if (says)
      *lines += std::string(rejected ? "R " : "D ") + name_ + " " + std::string(event->source) +
                " " + std::to_string(event->number) + "\n";
    return receipt;
  }

  const std::string name_, witness_;
  const bool dead_;
  const unsigned retry_, unknown_, reject_;
  const uint64_t seed_;
  std::optional<penstock_faults::WitnessPipe> pipe_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Taken> taken_;
  bool failed_ = false;  // a message of the strict lane, until the lane is resumed
  bool stopping_ = false;
  std::thread thread_;
};

PENSTOCK_SINK_PLUGIN(WitnessSink, "witness", "1.0.0",
                     "Tells what it gets to a FIFO, and fails as its options say.")
