// The table of outcomes at JetStream.
#include "fakes/outcomes.h"

#include <array>
#include <atomic>

#include "fixture.h"

namespace penstock::fakes {
namespace {

class JetStreamDriver {
 public:
  static constexpr std::array<NotApplicable, 0> kNotApplicable{};

  JetStreamDriver() {
    bus_.AddStream("S", "t.>", [](jsStreamConfig* config) { config->Discard = js_DiscardNew; });
    // Takes messages and never answers.
    natsConnection_Subscribe(
        &silent_, bus_.nc(), "silent",
        [](natsConnection*, natsSubscription*, natsMsg* msg, void* closure) {
          natsMsg_Destroy(msg);
          ++*static_cast<std::atomic<int>*>(closure);
        },
        &heard_);
    natsConnection_Flush(bus_.nc());
  }
  ~JetStreamDriver() {
    Return();
    natsSubscription_Unsubscribe(silent_);
    natsConnection_Flush(bus_.nc());
    natsSubscription_Destroy(silent_);
  }

  const penstock_plugin& plugin() { return Plugin(); }
  Values Config() { return With(server_, {{"max_in_flight.bytes", 64 << 20}}); }
  Values StrictConfig() { return Config(); }

  FakeMessage Event(int i) {
    return Message("t.a", "event " + std::to_string(i), "id-" + std::to_string(i));
  }
  FakeMessage TooLarge() { return Message("t.a", std::string(2 << 20, 'x'), "large"); }
  std::string limit() { return "max_payload of 1048576"; }
  FakeMessage ToNowhere() { return Message("other.a", "lost", "lost"); }
  std::string nowhere() { return "no stream takes subject other.a"; }
  std::vector<std::string> OnBus() { return bus_.Payloads("S"); }

  void Leave() { server_.Kill(); }
  void Return() {
    server_.Thaw();
    server_.Start();
  }
  Tokens InFlight(FakeSink& sink, int n) {
    std::vector<FakeMessage> batch;
    for (int i = 0; i < n; ++i) batch.push_back(Message("silent", "x", std::to_string(i)));
    Tokens tokens = sink.Submit(std::move(batch));
    while (heard_ < n) std::this_thread::yield();
    return tokens;
  }
  // More than all buffers on the way hold, and these behind it.
  Tokens Unsent(FakeSink& sink, int n) {
    server_.Freeze();
    std::vector<FakeMessage> batch;
    for (int i = 0; i < 40; ++i)
      batch.push_back(Message("t.b", std::string(1000000, 'x'), "b-" + std::to_string(i)));
    for (int i = 0; i < n; ++i) batch.push_back(Event(i));
    Tokens tokens = sink.Submit(std::move(batch));
    tokens.erase(tokens.begin(), tokens.begin() + 40);
    return tokens;
  }
  Tokens Lost(FakeSink& sink, int n) {
    Tokens tokens = InFlight(sink, n);
    server_.Kill();
    server_.Start();
    return tokens;
  }
  void Silence() { server_.Freeze(); }
  void EndSilence() { server_.Thaw(); }
  void RefuseThird() { SetMost(static_cast<int64_t>(bus_.Count("S")) + 2); }
  void RefuseNone() { SetMost(-1); }

 private:
  void SetMost(int64_t messages) {
    bus_.UpdateStream("S", [&](jsStreamConfig* config) { config->MaxMsgs = messages; });
  }

  NatsServer server_;
  Bus bus_{server_.url()};
  natsSubscription* silent_ = nullptr;
  std::atomic<int> heard_{0};
};

}  // namespace

INSTANTIATE_TYPED_TEST_SUITE_P(JetStream, Outcomes, JetStreamDriver);

}  // namespace penstock::fakes
