// fakes.hpp finds what a plugin does against plugin.h.
#include <gmock/gmock.h>

#include <penstock/fakes.hpp>
#include <penstock/plugin.hpp>

namespace penstock::sdk_test {
namespace {

using namespace fakes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FakesTest : public ::testing::Test {
 protected:
  FakesTest() : before_(OnFault()) {
    OnFault() = [](const std::string&) {};
  }
  ~FakesTest() override { OnFault() = before_; }

 private:
  const std::function<void(const std::string&)> before_;
};

// Does with each message what its payload says.
class Obedient : public Sink {
 public:
  Obedient(const Host& h, const Config&) : Sink(h) {}
  size_t Submit(const penstock_message_batch& batch) override {
    for (size_t i = 0; i < batch.count; ++i) {
      const penstock_message& message = *penstock_message_at(&batch, i);
      const std::string order(View(message.payload));  // a receipt may free the message
      if (order == "refuse") return i;
      if (order == "deliver" || order == "twice") Complete(message.token, PENSTOCK_DELIVERED);
      if (order == "twice") Complete(message.token, PENSTOCK_DELIVERED);
      if (order == "unreasoned") Complete(message.token, PENSTOCK_RETRY);
      if (order == "unheard-of") Complete(message.token, 77, "why");
      if (order == "emit") {
        size_t accepted = 0;
        host().raw()->emit(host().raw(), nullptr, &accepted, 0);
        Complete(message.token, PENSTOCK_DELIVERED);
      }
    }
    return batch.count;
  }
};
constexpr penstock_plugin kSink =
    internal::DescribeSink<Obedient>("obedient", "1.0.0", "Does what the payload says.");

TEST_F(FakesTest, AGoodSinkHasNoFaults) {
  FakeSinkHost host;
  {
    FakeSink sink(host, kSink, {});
    sink.Submit({"deliver"});
  }
  EXPECT_THAT(host.faults(), IsEmpty());
}

TEST_F(FakesTest, FindsWhatIsWrongWithReceipts) {
  const std::pair<const char*, const char*> orders[] = {
      {"twice", "which is not in flight"},
      {"unreasoned", "and no reason"},
      {"unheard-of", "outcome 77, which is none"},
      {"emit", "a sink calls emit"},
      {"nothing", "1 messages have no receipt after stop"},
  };
  for (const auto& [order, fault] : orders) {
    FakeSinkHost host;
    host.patience = std::chrono::milliseconds(10);
    {
      FakeSink sink(host, kSink, {});
      sink.Submit({order});
    }
    EXPECT_THAT(host.faults(), ElementsAre(HasSubstr(fault))) << order;
  }
}

TEST_F(FakesTest, FindsASinkThatIsNeverReadyAgain) {
  FakeSinkHost host;
  host.patience = std::chrono::milliseconds(10);
  FakeSink sink(host, kSink, {});
  sink.Submit({"refuse"});
  EXPECT_THAT(host.faults(), ElementsAre(HasSubstr("ready() never comes")));
}

class Deaf : public Source {
 public:
  Deaf(const Host& h, const Config&) : Source(h) {}
  void Run() override {
    penstock_event event{};
    size_t accepted = 0;
    const penstock_event_batch batch{sizeof batch, 8, &event, 1};
    host().raw()->emit(host().raw(), &batch, &accepted, 0);
    throw std::runtime_error("I give up");
  }
};
constexpr penstock_plugin kSource =
    internal::DescribeSource<Deaf>("deaf", "1.0.0", "Breaks the contract.");

TEST_F(FakesTest, FindsWhatIsWrongWithASource) {
  FakeSourceHost host;
  {
    FakeSource source(host, kSource, {});
    source.Run();
    ASSERT_TRUE(source.WaitReturned());
    host.abi()->ready(host.abi());
  }
  host.abi()->log(host.abi(), PENSTOCK_LOG_INFO, Str("late"), nullptr, 0);
  EXPECT_THAT(host.faults(),
              ElementsAre(HasSubstr("struct_size or stride cannot be"), HasSubstr("I give up"),
                          HasSubstr("a source calls ready"), HasSubstr("logs after destroy")));
}

}  // namespace
}  // namespace penstock::sdk_test
