// A plugin of one file, dropped into a directory, loads and runs.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "fakes/plugin_host.h"
#include "plugin/plugin.h"

namespace penstock::sdk_test {
namespace {

namespace fs = std::filesystem;

class SdkTest : public ::testing::Test {
 protected:
  SdkTest() {
    char name[] = "/tmp/penstock-test-XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~SdkTest() override { fs::remove_all(dir_); }

  std::shared_ptr<plugin::Plugin> Drop(plugin::Kind kind, const std::string& id) {
    const std::string file = std::string(plugin::KindName(kind)) + "-" + id + ".so";
    fs::copy_file(fs::path(SDK_EXAMPLES) / file, dir_ + "/" + file);
    chmod((dir_ + "/" + file).c_str(), 0644);
    auto loaded = plugin::Registry({{dir_, false}}).Load(kind, id);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? *loaded : nullptr;
  }

  std::string dir_;
};

std::vector<std::string> ExportedSymbols(const std::string& file) {
  const std::string command = "nm -D --defined-only " SDK_EXAMPLES "/" + file;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::vector<std::string> out;
  std::array<char, 512> line{};
  while (pipe && fgets(line.data(), line.size(), pipe.get()) != nullptr) {
    std::string text(line.data());
    text.erase(text.find_last_not_of('\n') + 1);
    out.push_back(text.substr(text.rfind(' ') + 1));
  }
  return out;
}

size_t Lines(const std::string& file) {
  std::ifstream in(std::string(SDK_EXAMPLE_SOURCES) + "/" + file);
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(in), {}, '\n'));
}

TEST_F(SdkTest, ACxxSourceRuns) {
  const auto loaded = Drop(plugin::Kind::kSource, "heartbeat");
  ASSERT_NE(loaded, nullptr);
  fakes::FakeSourceHost host;
  fakes::FakeSource source(
      host, loaded->entry(),
      {{"interval", std::chrono::nanoseconds(1)}, {"text", "beat"}, {"count", 3}});
  source.Run();
  ASSERT_TRUE(source.WaitReturned());
  const auto events = host.events();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[2].payload, "beat 3");
  EXPECT_EQ(events[2].content_type, "text/plain");
}

TEST_F(SdkTest, WhatAConstructorThrowsIsAnErrorWithItsText) {
  const auto loaded = Drop(plugin::Kind::kSource, "heartbeat");
  ASSERT_NE(loaded, nullptr);
  fakes::FakeSourceHost host;
  penstock_config empty{sizeof empty, sizeof(penstock_value), nullptr,
                        [](const penstock_config*, const char*) noexcept -> const penstock_value* {
                          return nullptr;
                        }};
  penstock_error error{};
  error.struct_size = sizeof error;
  penstock_instance* instance = nullptr;
  EXPECT_EQ(loaded->entry().create(host.abi(), &empty, &instance, &error), PENSTOCK_E_FAILED);
  EXPECT_THAT(error.text, ::testing::HasSubstr("interval"));
}

TEST_F(SdkTest, APluginsOwnCheckReportsWhatItFinds) {
  const auto loaded = Drop(plugin::Kind::kSource, "heartbeat");
  ASSERT_NE(loaded, nullptr);
  EXPECT_TRUE(fakes::Check(loaded->entry(), {{"text", "beat"}}).empty());
  const auto found = fakes::Check(loaded->entry(), {{"text", ""}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, PENSTOCK_ERROR);
  EXPECT_EQ(found[0].option, "text");
}

TEST_F(SdkTest, ACSinkRuns) {
  const auto loaded = Drop(plugin::Kind::kSink, "tally");
  ASSERT_NE(loaded, nullptr);
  fakes::FakeSinkHost host;
  fakes::FakeSink sink(host, loaded->entry(), {});
  sink.Start();
  sink.Submit({"abc"});
  const uint64_t token = sink.Submit({"defg"});
  sink.Destroy();
  EXPECT_EQ(host.receipt(token).outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(host.metric("bytes_total"), 7u);
}

TEST_F(SdkTest, ThePluginsExportExactlyTheEntry) {
  EXPECT_THAT(ExportedSymbols("source-heartbeat.so"),
              ::testing::ElementsAre("penstock_plugin_entry"));
  EXPECT_THAT(ExportedSymbols("sink-tally.so"), ::testing::ElementsAre("penstock_plugin_entry"));
}

TEST_F(SdkTest, TheDocumentationShowsTheSourceThatIsTestedHere) {
  const auto read = [](const std::string& path) {
    std::ifstream in(path);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  EXPECT_THAT(read(SDK_DOCUMENTATION),
              ::testing::HasSubstr("```cpp\n" + read(SDK_EXAMPLE_SOURCES "/source/heartbeat.cc") +
                                   "```\n"));
}

TEST_F(SdkTest, TheExamplesStayShort) {
  EXPECT_LT(Lines("source/heartbeat.cc"), 60u);
  EXPECT_LT(Lines("c/tally.c"), 60u);
}

}  // namespace
}  // namespace penstock::sdk_test
