// A plugin of one file, dropped into a directory, loads and runs.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include "component/sdk/tiny_host.h"
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
  const penstock_plugin& entry = loaded->entry();
  TinyHost host;
  TinyConfig config;
  config.Set("interval", 1);
  config.Set("text", "beat");
  config.Set("count", 3);
  penstock_error error{};
  error.struct_size = sizeof error;
  penstock_instance* instance = nullptr;
  ASSERT_EQ(entry.create(host.abi(), config.abi(), &instance, &error), PENSTOCK_OK) << error.text;
  ASSERT_EQ(entry.start(instance, &error), PENSTOCK_OK) << error.text;
  ASSERT_EQ(entry.run(instance, &error), PENSTOCK_OK) << error.text;
  entry.stop(instance);
  entry.destroy(instance);
  using Event = std::pair<std::string, std::string>;
  EXPECT_THAT(host.events,
              ::testing::ElementsAre(Event("beat 1", "text/plain"), Event("beat 2", "text/plain"),
                                     Event("beat 3", "text/plain")));
}

TEST_F(SdkTest, WhatAConstructorThrowsIsAnErrorWithItsText) {
  const auto loaded = Drop(plugin::Kind::kSource, "heartbeat");
  ASSERT_NE(loaded, nullptr);
  TinyHost host;
  const TinyConfig empty;  // so that the plugin asks for what is not there
  penstock_error error{};
  error.struct_size = sizeof error;
  penstock_instance* instance = nullptr;
  EXPECT_EQ(loaded->entry().create(host.abi(), empty.abi(), &instance, &error), PENSTOCK_E_FAILED);
  EXPECT_THAT(error.text, ::testing::HasSubstr("interval"));
}

TEST_F(SdkTest, APluginsOwnCheckReportsWhatItFinds) {
  const auto loaded = Drop(plugin::Kind::kSource, "heartbeat");
  ASSERT_NE(loaded, nullptr);
  TinyConfig config;
  config.Set("text", "");
  std::vector<std::string> found;
  const penstock_report report{
      sizeof report, 0, &found,
      [](const penstock_report* r, int32_t severity, const char* option, penstock_str) noexcept {
        EXPECT_EQ(severity, PENSTOCK_ERROR);
        static_cast<std::vector<std::string>*>(r->ctx)->push_back(option);
      },
      nullptr};
  loaded->entry().check(config.abi(), &report);
  EXPECT_THAT(found, ::testing::ElementsAre("text"));
}

TEST_F(SdkTest, ACSinkRuns) {
  const auto loaded = Drop(plugin::Kind::kSink, "tally");
  ASSERT_NE(loaded, nullptr);
  const penstock_plugin& entry = loaded->entry();
  TinyHost host;
  const TinyConfig config;
  penstock_error error{};
  error.struct_size = sizeof error;
  penstock_instance* instance = nullptr;
  ASSERT_EQ(entry.create(host.abi(), config.abi(), &instance, &error), PENSTOCK_OK) << error.text;
  penstock_message messages[2]{};
  messages[0].token = 7;
  messages[0].payload = {"abc", 3};
  messages[1].token = 8;
  messages[1].payload = {"defg", 4};
  const penstock_message_batch batch{sizeof batch, sizeof messages[0], messages, 2, 0, 0};
  size_t accepted = 0;
  EXPECT_EQ(entry.submit(instance, &batch, &accepted), PENSTOCK_OK);
  EXPECT_EQ(accepted, 2u);
  entry.stop(instance);
  entry.destroy(instance);
  ASSERT_EQ(host.receipts.size(), 2u);
  EXPECT_EQ(host.receipts[1].token, 8u);
  EXPECT_EQ(host.receipts[1].outcome, PENSTOCK_DELIVERED);
  EXPECT_EQ(host.metrics["tally_bytes_total"], 7u);
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
  EXPECT_THAT(
      read(SDK_DOCUMENTATION),
      ::testing::HasSubstr("```cpp\n" + read(SDK_EXAMPLE_SOURCES "/heartbeat.cc") + "```\n"));
}

TEST_F(SdkTest, TheExamplesStayShort) {
  EXPECT_LT(Lines("heartbeat.cc"), 60u);
  EXPECT_LT(Lines("tally.c"), 60u);
}

}  // namespace
}  // namespace penstock::sdk_test
