// A sink that delivers half of what it gets at once and gives the rest back at stop, if it is not
// told to do something wrong.
#include <cstring>
#include <stdexcept>

#include "bad.h"

namespace {

std::string_view PayloadOf(const penstock_message* message) {
  return penstock::View(message->payload);
}

class BadSink : public penstock::Sink {
 public:
  BadSink(const penstock::Host& host, const penstock::Config& config) : Sink(host) {
    const std::string text = config.Str("text");
    if (Bad("create-crash")) Crash();
    if (Bad("create-print")) std::puts("hello");
    if (Bad("create-thread")) thread_ = std::thread([this] { Wait(); });
    if (Bad("create-leak")) (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (Bad("create-memory")) *static_cast<volatile char*>(std::malloc(size_t{8} << 30)) = 1;
    if (Bad("create-refuses")) throw std::runtime_error("nothing is right");
    if (Bad("empty-crash") && text.empty()) Crash();
    if (Bad("empty-silent") && text.empty()) throw std::runtime_error("");
    if (Bad("metric")) host.Counter("Sent", "Messages sent.");
    if (Bad("state")) host.raw()->report_state(host.raw(), 77, penstock::Str("odd"));
  }
  ~BadSink() override {
    if (Bad("destroy-crash") && !started_) Crash();
    Wake();
    if (thread_.joinable()) thread_.join();
    if (Bad("late-receipt") && accepted_ > 0) {
      std::thread([host = host().raw()] {
        usleep(50'000);
        const penstock_receipt receipt{1000, PENSTOCK_DELIVERED, 0, 0, 0, {nullptr, 0}};
        host->complete(host, &receipt, 1);
      }).detach();
    }
  }

  static void Check(const penstock::Config& config, const penstock::Report& report) {
    if (Bad("check-refuses")) report.Error("text", "is never right");
    if (Bad("check-crash")) Crash();
    if (Bad("check-hang")) WaitForEver();
    if (config.Str("text").empty()) report.Error("text", "is empty; write something");
  }

  void Start() override {
    started_ = true;
    if (Bad("early-receipt")) Complete(1, PENSTOCK_DELIVERED);
    if (Bad("start-fails")) throw std::runtime_error("nobody answers");
    if (Bad("start-leak")) std::thread(WaitForEver).detach();
    if (Bad("start-slow")) sleep(6);
  }

  size_t Submit(const penstock_message_batch& batch) override {
    if (Bad("submit-blocks") && accepted_ == 0) sleep(3);
    if (Bad("submit-crash")) Crash();
    // What has its receipt is the host's again.
    if (Bad("reads-later") && old_.data() != nullptr && old_.back() == 'x') std::abort();
    for (size_t i = 0; i < batch.count; ++i) Take(penstock_message_at(&batch, i), i);
    if (Bad("reads-later")) StopNow();
    old_ = PayloadOf(penstock_message_at(&batch, 0));
    accepted_ += batch.count;
    if (Bad("accepts-too-many")) return batch.count + 1;
    return Bad("receipt-unaccepted") ? batch.count / 2 : batch.count;
  }

  void Stop() override {
    if (Bad("stop-hang")) WaitForEver();
    if (Bad("stop-slow")) sleep(3);
    if (Bad("stop-twice") && stopped_) Crash();
    stopped_ = true;
    if (Bad("receipt-lost") && !kept_.empty()) kept_.pop_back();
    StopNow();
  }

 private:
  void Take(const penstock_message* message, size_t i) {
    const bool now = i % 2 == 0;
    if (Bad("receipt-unaccepted") || now) {
      Complete(message->token, Bad("receipt-outcome") ? 17 : PENSTOCK_DELIVERED);
      if (Bad("receipt-twice")) Complete(message->token, PENSTOCK_DELIVERED);
      if (Bad("receipt-foreign")) Complete(message->token + 1'000'000, PENSTOCK_DELIVERED);
    } else {
      kept_.push_back(message->token);
    }
  }
  void StopNow() {
    for (const uint64_t token : kept_) Complete(token, PENSTOCK_RETRY, "stopped");
    kept_.clear();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return ending_; });
  }
  void Wake() {
    std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_all();
  }

  bool started_ = false, stopped_ = false, ending_ = false;
  size_t accepted_ = 0;
  std::string_view old_;
  std::vector<uint64_t> kept_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;
};

using Glue = penstock::internal::Glue<BadSink, penstock::Sink>;

// No compiler takes this for a callback without the cast.
penstock_status ThrowingCreate(const penstock_host*, const penstock_config*, penstock_instance**,
                               penstock_error*) {
  throw std::runtime_error("this goes too far");
}

penstock_status NoNulCreate(const penstock_host* host, const penstock_config* config,
                            penstock_instance** out, penstock_error* error) noexcept {
  if (config->get(config, "text")->str.len > 0) return Glue::Create(host, config, out, error);
  std::memset(error->text, 'x', sizeof error->text);
  return PENSTOCK_E_CONFIG;
}

const penstock::Option kOptions[] = {
    penstock::Option::String("text").Required().Help(Bad("no-help") ? "" : "What it says."),
    penstock::Option::Int(Bad("option-twice") ? "text" : "size")
        .Default(Bad("default-bounds") ? "99"
                 : Bad("default-type") ? "many"
                                       : "5")
        .Range(1, 9)
        .Help("How much."),
    penstock::Option::String(Bad("option-name") ? "Mode!" : "mode")
        .Default(Bad("default-choice") ? "other" : "soft")
        .Choices("soft|hard")
        .Help("How."),
};

penstock_plugin Describe() {
  const char* version = Bad("version") ? "9.9.9" : "1.0.0";
  penstock_plugin p = penstock::internal::DescribeSink<BadSink>(
      "bad", version, Bad("no-summary") ? "" : "Does things wrong.");
  p.options = kOptions;
  p.n_options = std::size(kOptions);
  if (Bad("create-throw")) p.create = reinterpret_cast<decltype(p.create)>(&ThrowingCreate);
  if (Bad("empty-no-nul")) p.create = NoNulCreate;
  return p;
}

}  // namespace

#ifndef BAD_NO_NOTE
PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, "bad", "1.0.0")
#endif
extern "C" const penstock_plugin penstock_plugin_entry = Describe();

// Left out by a version script, and else a symbol too many.
extern "C" PENSTOCK_EXPORT void bad_helper() {}
