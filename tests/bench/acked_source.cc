// Source "acked": events at a fixed rate, and how long each took until it was acknowledged. With a
// queue on disk that is the time until it was stored.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <penstock/plugin.hpp>
#include <string>
#include <vector>

class AckedSource : public penstock::Source {
 public:
  static constexpr uint32_t kCaps = PENSTOCK_CAP_ACK;
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::Int("rate").Default("1000").Range(1, 1'000'000).Help("Events a second."),
      penstock::Option::Int("count").Default("10000").Range(1, 100'000'000).Help("Events in all."),
      penstock::Option::Size("size").Default("256").Help("Of a payload."),
  };

  AckedSource(const penstock::Host& host, const penstock::Config& config)
      : Source(host),
        pause_(1e9 / static_cast<double>(config.Int("rate"))),
        payload_(config.Size("size"), 'x'),
        emitted_(static_cast<size_t>(config.Int("count"))),
        took_(emitted_.size()) {}

  void Run() override {
    host().Ready("");
    const Clock::time_point start = Clock::now();
    for (size_t i = 0; i < emitted_.size(); ++i) {
      const auto due = std::chrono::nanoseconds(std::llround(static_cast<double>(i) * pause_));
      if (!SleepUntil(start + due)) return;
      penstock_event event{};
      event.payload = penstock::Str(payload_);
      event.ack_token = i;
      emitted_[i] = Clock::now();
      if (!Emit(&event, 1)) return;
    }
    while (!Stopping()) SleepFor(std::chrono::seconds(1));
  }

  // One thread at a time.
  void OnAck(const uint64_t* tokens, size_t n) override {
    const Clock::time_point now = Clock::now();
    for (size_t i = 0; i < n; ++i) took_[tokens[i]] = now - emitted_[tokens[i]];
    acked_ += n;
    if (acked_ == took_.size()) Report();
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Report() {
    std::sort(took_.begin(), took_.end());
    const auto at = [this](double share) {
      const auto last = static_cast<double>(took_.size() - 1);
      const std::chrono::duration<double, std::micro> time =
          took_[static_cast<size_t>(std::llround(last * share))];
      return std::to_string(std::llround(time.count()));
    };
    host().Info("ACKED " + std::to_string(took_.size()) + " p50_us " + at(0.5) + " p99_us " +
                at(0.99) + " max_us " + at(1));
  }

  const double pause_;  // ns
  const std::string payload_;
  std::vector<Clock::time_point> emitted_;
  std::vector<Clock::duration> took_;
  size_t acked_ = 0;
};

PENSTOCK_SOURCE_PLUGIN(AckedSource, "acked", "1.0.0",
                       "Events at a fixed rate, timed until they are acknowledged.")
