// Source "generator": makes events itself, for trials and benches.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <penstock/plugin.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace penstock_generator {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxBatchEvents = 256;
constexpr size_t kMaxBatchBytes = 256 * 1024;
constexpr int64_t kMaxSize = 64 * 1024 * 1024;

// The payloads of one batch, freed with the last event of it.
struct Block : penstock_owner {
  Block(uint32_t events, size_t size)
      : penstock_owner{&Block::Give}, references(events), bytes(new char[size]) {}
  static void Give(penstock_owner* self, uint32_t n) noexcept {
    auto* block = static_cast<Block*>(self);
    if (block->references.fetch_sub(n, std::memory_order_acq_rel) == n) delete block;
  }
  std::atomic<uint32_t> references;
  std::unique_ptr<char[]> bytes;
};

}  // namespace

class GeneratorSource : public penstock::Source {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::Float("rate").Default("0").Help(
          "Events a second; 0: as many as the queue takes."),
      penstock::Option::Int("count")
          .Default("0")
          .Range(0, INT64_MAX)
          .Help("Finish after so many events; 0: never."),
      penstock::Option::Size("size")
          .Default("256B")
          .Range(0, kMaxSize)
          .Help("Size of a payload; what the number needs at the least."),
      penstock::Option::Bool("json").Default("false").Help(
          "Payloads are JSON objects; else a number and filler."),
  };

  GeneratorSource(const penstock::Host& host, const penstock::Config& config)
      : Source(host),
        rate_(config.Float("rate")),
        count_(static_cast<uint64_t>(config.Int("count"))),
        size_(config.Size("size")),
        json_(config.Bool("json")),
        batch_(
            std::clamp<size_t>(kMaxBatchBytes / std::max<size_t>(size_, 1), 1, kMaxBatchEvents)) {}

  static void Check(const penstock::Config& config, const penstock::Report& report) {
    if (!(config.Float("rate") >= 0))
      report.Error("rate", "rate must be 0 or more events a second");
  }

  void Run() override {
    host().Ready(rate_ > 0 ? "generating at a fixed rate" : "generating as fast as possible");
    const Clock::time_point start = Clock::now();
    while (!Stopping() && (count_ == 0 || next_ < count_)) {
      const size_t due = Due(start);
      if (due == 0) {
        if (!SleepUntil(start + AfterStart(next_ + 1))) return;
      } else if (!EmitNext(due)) {
        return;
      }
    }
  }

 private:
  // When the n-th event is due.
  Clock::duration AfterStart(uint64_t n) const {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(static_cast<double>(n) / rate_));
  }

  // How many events to emit now.
  size_t Due(Clock::time_point start) const {
    uint64_t due = batch_;
    if (rate_ > 0) {
      const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
      const auto total = static_cast<uint64_t>(elapsed * rate_);
      due = total > next_ ? std::min<uint64_t>(due, total - next_) : 0;
    }
    if (count_ > 0) due = std::min(due, count_ - next_);
    return due;
  }

  // The fixed part in front of the filler; it begins with the number, counted from 0.
  std::string Head() const {
    const std::string number = std::to_string(next_);
    return json_ ? "{\"seq\":" + number + ",\"pad\":\"" : number + " ";
  }

  bool EmitNext(size_t n) {
    const std::string_view tail = json_ ? "\"}" : "";
    const size_t room =
        std::max(size_, std::string("{\"seq\":18446744073709551615,\"pad\":\"\"}").size());
    auto* block = new Block(static_cast<uint32_t>(n), n * room);
    std::vector<penstock_event>& events = events_;
    events.clear();
    char* to = block->bytes.get();
    for (size_t i = 0; i < n; ++i, ++next_) {
      const std::string head = Head();
      const size_t fixed = head.size() + tail.size();
      const size_t filler = size_ > fixed ? size_ - fixed : 0;
      std::memcpy(to, head.data(), head.size());
      std::memset(to + head.size(), 'x', filler);
      if (!tail.empty()) std::memcpy(to + head.size() + filler, tail.data(), tail.size());
      penstock_event& event = events.emplace_back();
      event.payload = {to, fixed + filler};
      if (json_) event.content_type = penstock::Str("application/json");
      event.owner = block;
      to += room;
    }
    return Hand(block);
  }

  // Gives the events to the host; those that it does not take are given back.
  bool Hand(Block* block) {
    size_t done = 0;
    while (done < events_.size()) {
      const penstock_event_batch batch{sizeof batch, sizeof(penstock_event), events_.data() + done,
                                       events_.size() - done};
      size_t accepted = 0;
      const penstock_status status = host().raw()->emit(host().raw(), &batch, &accepted, -1);
      done += accepted;
      if (status == PENSTOCK_STOPPED && done < events_.size()) {
        Block::Give(block, static_cast<uint32_t>(events_.size() - done));
        return false;
      }
    }
    return true;
  }

  const double rate_;
  const uint64_t count_;
  const size_t size_;
  const bool json_;
  const size_t batch_;
  uint64_t next_ = 0;
  std::vector<penstock_event> events_;
};

}  // namespace penstock_generator

PENSTOCK_SOURCE_PLUGIN(penstock_generator::GeneratorSource, "generator", PENSTOCK_VERSION,
                       "Makes numbered events at a given rate, for trials and benches.")
