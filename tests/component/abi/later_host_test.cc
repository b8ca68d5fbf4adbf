// A host of a later minor, and the plugins that were built for ABI 1.0.
#include <gmock/gmock.h>

#include <fstream>

#include "fakes/plugin_host.h"
#include "plugin/entry.h"

static_assert(PENSTOCK_ABI_MINOR == 7, "compiled with the header of today");

namespace penstock::plugin {

std::string_view KindName(Kind kind) { return kind == Kind::kSource ? "source" : "sink"; }

namespace {

using namespace fakes;

#ifdef __x86_64__
constexpr bool kFixturesRun = true;
#else
constexpr bool kFixturesRun = false;
#endif

class LaterHostTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kFixturesRun) GTEST_SKIP() << "the plugins of tests/fixtures/abi-1.0 are for x86-64";
  }
  // The table in the host's own form.
  const penstock_plugin& Load(Kind kind) {
    const std::string file = std::string(KindName(kind)) + "-specimen.so";
    const penstock_plugin& raw = LoadPlugin(ABI_FIXTURE "/" + file);
    EXPECT_LT(raw.struct_size, sizeof raw);
    const auto good =
        CheckEntry(&raw, raw.struct_size, Note{1, 0, kind, "specimen", "1.0.0"}, &entry_);
    EXPECT_TRUE(good) << good.error().message;
    return entry_.table;
  }
  Entry entry_;
};

TEST_F(LaterHostTest, TakesWhatATableOf10LacksAsAbsent) {
  const penstock_plugin& table = Load(Kind::kSink);
  EXPECT_EQ(table.struct_size, sizeof(penstock_plugin));
  EXPECT_EQ(table.later[0], 0u);
  EXPECT_EQ(table.later[1], 0u);
  EXPECT_LT(table.receipt_stride, sizeof(penstock_receipt));
  ASSERT_EQ(table.n_options, 13u);
  EXPECT_STREQ(table.options[12].name, "mode");
  EXPECT_EQ(table.options[12].later[0], 0u);
}

TEST_F(LaterHostTest, RunsASinkOf10) {
  char path[] = "/tmp/penstock-test-XXXXXX";
  ASSERT_GE(mkstemp(path), 0);
  FakeSinkHost host;
  host.SetSecret("env:SPECIMEN_TOKEN", "s3cret");
  {
    FakeSink sink(host, Load(Kind::kSink),
                  {{"path", path},
                   {"number", 42},
                   {"ratio", 2.5},
                   {"flag", true},
                   {"wait", std::chrono::seconds(3)},
                   {"room", 65536},
                   {"names", List{"a", "bc"}},
                   {"client", Map{{"x.y", "z"}}},
                   {"tls.token", "env:SPECIMEN_TOKEN"},
                   {"file", "/some/file"}});
    sink.Start();
    std::vector<FakeMessage> messages;
    for (int i = 0; i < 100; ++i) messages.push_back({"event " + std::to_string(i), {"t"}});
    sink.Submit(std::move(messages));
    ASSERT_TRUE(host.WaitReceipts(100));
  }
  EXPECT_EQ(host.count(PENSTOCK_RETRY), 10u);
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 90u);
  std::ifstream file(path);
  EXPECT_EQ(std::count(std::istreambuf_iterator<char>(file), {}, '\n'), 90);
  unlink(path);
}

TEST_F(LaterHostTest, RunsASourceOf10) {
  FakeSourceHost host;
  host.SetSecret("env:T", "s3cret");
  FakeSource source(host, Load(Kind::kSource), {{"count", 50}, {"token", "env:T"}});
  source.Run();
  ASSERT_TRUE(host.WaitEvents(50));
  std::vector<uint64_t> tokens;
  for (const FakeEvent& event : host.events()) tokens.push_back(event.ack_token);
  source.Ack(tokens);
  ASSERT_TRUE(source.WaitReturned());
  EXPECT_EQ(host.events()[49].payload, "event 49");
  EXPECT_EQ(host.events()[49].attributes, (Map{{"parity", "odd"}}));
  EXPECT_EQ(host.metric("specimen_acked_total"), 50u);
  EXPECT_FALSE(host.HasText("not those emitted"));
}

TEST_F(LaterHostTest, IsToldWhatASourceOf10Holds) {
  uint64_t holds = 0;
  const auto found = Check(Load(Kind::kSource), {{"count", 50}, {"token", "env:T"}}, &holds);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].text, "emits 50 events");
  EXPECT_EQ(holds, 2u << 20);
}

}  // namespace
}  // namespace penstock::plugin
