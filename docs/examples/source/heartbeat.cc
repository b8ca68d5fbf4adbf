// A whole source plugin: emits a text at a fixed interval, numbered.
#include <penstock/plugin.hpp>

class Heartbeat : public penstock::Source {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::Duration("interval")
          .Default("1s")
          .Range(1'000'000, 3'600'000'000'000)
          .Help("Time from one event to the next."),
      penstock::Option::String("text").Required().Help("What each event says."),
      penstock::Option::Int("count")
          .Default("0")
          .Range(0, 1'000'000'000)
          .Help("Events after which the source is finished; 0: never."),
  };

  // Optional: what the option table cannot say. The host adds file, line and column.
  static void Check(const penstock::Config& config, const penstock::Report& report) {
    if (config.Str("text").empty()) report.Error("text", "is empty; give it something to say");
  }

  Heartbeat(const penstock::Host& h, const penstock::Config& config)
      : Source(h),
        interval_(config.Duration("interval")),
        text_(config.Str("text")),
        count_(config.Int("count")) {}

  void Run() override {
    for (int64_t n = 1; count_ == 0 || n <= count_; ++n) {
      const std::string payload = text_ + " " + std::to_string(n);
      penstock::Event event;
      event.SetPayload(payload);
      event.SetContentType("text/plain");
      if (!Emit(event) || !SleepFor(interval_)) return;
    }
  }

 private:
  std::chrono::nanoseconds interval_;
  std::string text_;
  int64_t count_;
};

PENSTOCK_SOURCE_PLUGIN(Heartbeat, "heartbeat", "1.0.0", "Emits a text at a fixed interval.")
