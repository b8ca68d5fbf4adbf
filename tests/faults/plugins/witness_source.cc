// Source "witness": numbered events, and each acknowledgement told to a witness outside.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <penstock/plugin.hpp>
#include <string>
#include <vector>

#include "faults/numbered.h"
#include "faults/plugins/witness_pipe.h"

class WitnessSource : public penstock::Source {
 public:
  static constexpr uint32_t kCaps = PENSTOCK_CAP_ACK;
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::String("witness").Required().Help(
          "The FIFO for the lines of witness_pipe.h; somebody must be reading it."),
      penstock::Option::Int("first")
          .Default("1")
          .Range(1, INT64_MAX)
          .Help("Number of the first event."),
      penstock::Option::String("next").Default("\"\"").Help(
          "A file that holds the number of the first event; wins over `first` once it exists."),
      penstock::Option::Int("count")
          .Default("0")
          .Range(0, INT64_MAX)
          .Help("Events of this run; 0: no end."),
      penstock::Option::Float("rate").Default("0").Help(
          "Events a second; 0: as many as the queue takes."),
      penstock::Option::Size("min_size").Default("64B").Help("Of a payload, at the least."),
      penstock::Option::Size("max_size").Default("4KiB").Help("Of a payload, at the most."),
      penstock::Option::Int("seed").Default("1").Range(0, INT64_MAX).Help("Of sizes and bodies."),
      penstock::Option::Int("batch").Default("32").Range(1, 1000).Help("Events of one emit."),
      penstock::Option::Int("poison_every")
          .Default("0")
          .Range(0, INT64_MAX)
          .Help("Each event whose number is a multiple of it is one that cannot be delivered; 0: "
                "none."),
      penstock::Option::List("poison")
          .Default("[\"subject\", \"id\"]")
          .Help("Why it cannot, in turn: subject (one that no bus takes), id (longer than "
                "allowed), json "
                "(declared as JSON, which it is not)."),
  };

  static void Check(const penstock::Config& config, const penstock::Report& report) {
    if (config.Str("witness").empty() || config.Str("witness")[0] != '/')
      report.Error("witness", "write the full path of a FIFO");
    if (!(config.Float("rate") >= 0)) report.Error("rate", "must be 0 or more");
    if (config.Size("max_size") < config.Size("min_size"))
      report.Error("max_size", "is less than min_size");
    if (config.List("poison").empty()) report.Error("poison", "names at least one kind");
    for (const std::string& kind : config.List("poison"))
      if (kind != "subject" && kind != "id" && kind != "json")
        report.Error("poison", "knows subject, id and json");
  }

  WitnessSource(const penstock::Host& host, const penstock::Config& config)
      : Source(host),
        name_(host.instance_name()),
        witness_(config.Str("witness")),
        next_file_(config.Str("next")),
        rate_(config.Float("rate")),
        count_(static_cast<uint64_t>(config.Int("count"))),
        batch_(static_cast<uint64_t>(config.Int("batch"))),
        poison_every_(static_cast<uint64_t>(config.Int("poison_every"))),
        poison_(config.List("poison")),
        first_(static_cast<uint64_t>(config.Int("first"))),
        numbers_(name_, static_cast<uint64_t>(config.Int("seed")), config.Size("min_size"),
                 config.Size("max_size")) {}

  void Start() override {
    if (!next_file_.empty()) ReadNext();
    pipe_.emplace(witness_, [this](const std::string& text) { host().Error(text); });
  }

  void Run() override {
    host().Ready("from number " + std::to_string(first_));
    const auto start = std::chrono::steady_clock::now();
    while (!Stopping() && (count_ == 0 || done_ < count_)) {
      const uint64_t due = Due(start);
      if (due > 0) {
        if (!EmitNext(due)) return;
        continue;
      }
      const std::chrono::duration<double> at(static_cast<double>(done_ + 1) / rate_);
      if (!SleepUntil(start + std::chrono::duration_cast<std::chrono::nanoseconds>(at))) return;
    }
  }

  void OnAck(const uint64_t* tokens, size_t n) override {
    std::string lines;
    for (size_t i = 0; i < n; ++i) lines += "A " + name_ + " " + std::to_string(tokens[i]) + "\n";
    pipe_->Say(lines);
  }

 private:
  void ReadNext() {
    std::ifstream in(next_file_);
    if (!in) return;
    uint64_t next = 0;
    if (!(in >> next) || next == 0)
      throw std::runtime_error(next_file_ + " holds no number; write the next one or remove it");
    first_ = next;
  }

  uint64_t Due(std::chrono::steady_clock::time_point start) const {
    uint64_t due = batch_;
    if (rate_ > 0) {
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      const auto total = static_cast<uint64_t>(elapsed.count() * rate_);
      due = total > done_ ? std::min(due, total - done_) : 0;
    }
    return count_ > 0 ? std::min(due, count_ - done_) : due;
  }

  // The witness knows the numbers before anybody can have the events.
  bool EmitNext(uint64_t n) {
    const uint64_t first = first_ + done_;
    pipe_->Say("E " + name_ + " " + std::to_string(first) + " " + std::to_string(first + n - 1) +
               "\n");
    pipe_->Flush();
    std::vector<std::string> payloads(n), ids(n);
    std::vector<penstock_event> events(n);
    for (uint64_t i = 0; i < n; ++i) {
      payloads[i] = numbers_.Payload(first + i);
      events[i].payload = penstock::Str(payloads[i]);
      events[i].ack_token = first + i;
      if (poison_every_ > 0 && (first + i) % poison_every_ == 0)
        Poison(first + i, &events[i], &ids[i]);
    }
    done_ += n;
    return Emit(events.data(), events.size());
  }

  void Poison(uint64_t number, penstock_event* event, std::string* id) const {
    const std::string& kind = poison_[number / poison_every_ % poison_.size()];
    if (kind == "subject") event->subject = penstock::Str(">.no subject");
    if (kind == "json") event->content_type = penstock::Str("application/json");
    if (kind != "id") return;
    *id = std::to_string(number) + std::string(PENSTOCK_EVENT_ID_MAX, '-');
    event->id = penstock::Str(*id);
  }

  const std::string name_, witness_, next_file_;
  const double rate_;
  const uint64_t count_, batch_, poison_every_;
  const std::vector<std::string> poison_;
  uint64_t first_;
  uint64_t done_ = 0;  // events of this run
  const penstock_faults::Numbered numbers_;
  std::optional<penstock_faults::WitnessPipe> pipe_;
};

PENSTOCK_SOURCE_PLUGIN(WitnessSource, "witness", "1.0.0",
                       "Numbered events, whose acknowledgements it tells to a FIFO.")
