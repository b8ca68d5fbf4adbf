// How a running gateway does: what `penstock status` shows, and GET /status gives as JSON.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "delivery/dispatcher.h"
#include "platform/clock.h"

namespace penstock::gateway {

class Pipeline;

// Events per second; nothing while there is nothing to compare with.
using Rate = std::optional<double>;

struct InstanceStatus {
  std::string name, plugin;
  std::string state;  // starting, connecting, ready, failed, running, finished or stopped
  std::string reason;
  int64_t since_ns = 0;  // in this state; since the Unix epoch
};

struct QueueStatus {
  std::string storage;    // memory or disk
  std::string when_full;  // block, drop_newest or drop_oldest
  uint64_t events = 0, max_events = 0;
  uint64_t bytes = 0, max_bytes = 0;
  uint64_t begin = 0, end = 0;  // offsets: the oldest held, and the next to be appended
  uint64_t dropped_newest = 0;  // those that never got an offset
  uint64_t unstored = 0;        // of events: not on disk yet, in a queue that is to be
};

// The dead letters of one source that are kept, and their bounds.
struct LettersStatus {
  std::string when_full;  // hold or drop_oldest
  uint64_t events = 0, max_events = 0;
  uint64_t bytes = 0, max_bytes = 0;
  // Of all of them ever: delivered after all, and dropped by hand or to make room.
  uint64_t replayed = 0, dropped = 0;
};

struct StoreStatus {
  std::string directory;
  std::string state;  // good, full (what does not fit waits) or failed
  std::string reason;
};

struct SourceStatus : InstanceStatus {
  QueueStatus queue;
  std::optional<LettersStatus> letters;  // nothing: they are not kept
  uint64_t received = 0;                 // ever: appended, or dropped as the newest
  // Of those and of queue.dropped_newest, the ones from before this process.
  uint64_t received_before = 0, dropped_before = 0;
  Rate rate;  // received
};

struct SinkStatus : InstanceStatus {};

struct RouteStatus : delivery::RouteStatus {
  Rate rate;  // delivered
};

struct GatewayStatus {
  std::string name, version;
  std::string state;  // starting, running, reloading, draining, drained or stopping
  int64_t pid = 0;
  int64_t started_ns = 0;           // since the Unix epoch
  int64_t now_ns = 0;               // likewise: when all this was so
  TimePoint now{};                  // the same moment, on the clock of delivery
  std::optional<double> rate_over;  // seconds that the rates are of
  uint64_t memory_used = 0, memory_limit = 0;
  std::optional<StoreStatus> store;  // nothing: no queue is on disk
  std::vector<SourceStatus> sources;
  std::vector<SinkStatus> sinks;
  std::vector<RouteStatus> routes;
};

nlohmann::ordered_json ToJson(const GatewayStatus& status);

// Reads the status of one gateway. Rates come from earlier readings, so that they cost nothing
// while nobody asks: the first for a while has none. Any thread.
class StatusReader {
 public:
  // All three outlive the reader.
  StatusReader(const Pipeline* pipeline, const config::GatewayConfig* config, const Clock* clock);

  // kDraining shows as drained once that is done.
  enum class Phase { kStarting, kRunning, kReloading, kDraining, kStopping };
  void SetPhase(Phase phase) { phase_ = phase; }
  Phase phase() const { return phase_; }

  GatewayStatus Read();

 private:
  // Counters at a moment.
  struct Sample {
    TimePoint at{};
    std::map<std::string, uint64_t> received;   // by source
    std::map<std::string, uint64_t> delivered;  // by "source -> sink"
  };
  void AddRates(GatewayStatus* status);

  const Pipeline* const pipeline_;
  const config::GatewayConfig* const config_;
  const Clock* const clock_;
  const int64_t started_ns_;
  std::atomic<Phase> phase_{Phase::kStarting};
  std::mutex mutex_;
  std::optional<Sample> older_, newer_;
};

}  // namespace penstock::gateway
