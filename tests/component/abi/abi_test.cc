// The built gateway runs plugins of ABI 1.0, as they were built then, and of a minor to come.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

#include "unit/plugin/tree.h"

namespace penstock::plugin {
namespace {

using ::testing::HasSubstr;

constexpr int kEvents = 200;

std::string Slurp(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A directory with plugins and a configuration, and the gateway on it.
class Site {
 public:
  Site() { tree_.Dir("plugins"); }
  void Put(const std::string& folder, const std::string& file) {
    tree_.Put("plugins/" + file, ReadBytes(folder + "/" + file));
  }
  void Configure(const std::string& text) {
    std::ofstream(tree_.path() + "/penstock.toml") << "[gateway]\nadmin_socket = \"none\"\n"
                                                   << text;
  }
  int Penstock(const std::string& command) {
    const char* other = std::getenv("PENSTOCK_ABI_BINARY");  // see later_gateway.sh
    const std::string binary = other != nullptr ? other : PENSTOCK_BINARY;
    const std::string line = "env -u PENSTOCK_PLUGIN_DIR SPECIMEN_TOKEN=s3cret " + binary + " " +
                             command + " --config " + tree_.path() +
                             "/penstock.toml --plugin-dir " + tree_.path() + "/plugins >" +
                             tree_.path() + "/log 2>&1 </dev/null";
    const int status = std::system(line.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string Log() const { return Slurp(tree_.path() + "/log"); }
  const std::string& path() const { return tree_.path(); }

 private:
  Tree tree_;
};

// Where the source and the sink come from.
class AbiTest : public ::testing::TestWithParam<std::pair<const char*, const char*>>,
                protected Site {
 protected:
  void SetUp() override {
    const auto [source, sink] = GetParam();
#ifndef __x86_64__
    if (std::string(source) == ABI_FIXTURE || std::string(sink) == ABI_FIXTURE)
      GTEST_SKIP() << "the plugins of tests/fixtures/abi-1.0 are for x86-64";
#endif
    Put(source, "source-specimen.so");
    Put(sink, "sink-specimen.so");
    std::ostringstream out;
    out << "[sources.in]\nplugin = \"specimen\"\ncount = " << kEvents
        << "\ntoken = \"env:SPECIMEN_TOKEN\"\n\n[sinks.out]\nplugin = \"specimen\"\nfrom = "
           "[\"in\"]\nformat = \"raw\"\nnumber = 42\nratio = 2.5\nflag = true\nwait = \"3s\"\n"
           "room = \"64KiB\"\nnames = [\"a\", \"bc\"]\nclient = { \"x.y\" = \"z\" }\n"
           "tls.token = \"env:SPECIMEN_TOKEN\"\nretry.initial = \"10ms\"\n"
        << "path = \"" << Lines() << "\"\nfile = \"" << path() << "/penstock.toml\"\n";
    Configure(out.str());
  }
  std::string Lines() const { return path() + "/lines"; }
};

TEST_P(AbiTest, RunsFromTheFirstEventToTheLastAcknowledgement) {
  ASSERT_EQ(Penstock("run --exit-when-done"), 0) << Log();
  const std::string all = std::to_string(kEvents);
  EXPECT_THAT(Log(), HasSubstr("received " + all + " = delivered " + all)) << Log();
  std::multiset<std::string> expected, found;
  for (int n = 0; n < kEvents; ++n) {
    const std::string text = "event " + std::to_string(n);
    const char* attempt = text.back() == '0' ? "2" : "1";
    expected.insert(text + "|in/in/specimen|text/plain|32|" + attempt);
  }
  std::ifstream lines(Lines());
  for (std::string line; std::getline(lines, line);) found.insert(line);
  EXPECT_EQ(found, expected);
}

TEST_P(AbiTest, ItsCheckIsAsked) {
  ASSERT_EQ(Penstock("check"), 0) << Log();
  EXPECT_THAT(Log(), HasSubstr("emits " + std::to_string(kEvents) + " events"));
}

TEST_P(AbiTest, ItsTableIsShown) {
  ASSERT_EQ(Penstock("plugins info specimen"), 0) << Log();
  EXPECT_THAT(Log(), ::testing::AllOf(HasSubstr("tls.token"), HasSubstr("once an event is safe")));
}

INSTANTIATE_TEST_SUITE_P(
    Minors, AbiTest,
    ::testing::Values(std::pair(ABI_FIXTURE, ABI_FIXTURE), std::pair(ABI_LATER, ABI_LATER),
                      std::pair(ABI_FIXTURE, ABI_LATER), std::pair(ABI_LATER, ABI_FIXTURE)),
    [](const auto& test) {
      const auto name = [](const std::string& folder) {
        return folder == ABI_FIXTURE ? "Source10" : "Source17";
      };
      return std::string(name(test.param.first)) +
             (std::string(test.param.second) == ABI_FIXTURE ? "Sink10" : "Sink17");
    });

// What plugin.h does not allow is answered as it says, logged, and ends nothing.
TEST(Misuse, IsLoggedAndAnswered) {
  Site site;
  site.Put(ABI_LATER, "source-misuse.so");
  site.Put(ABI_LATER, "sink-misuse.so");
  site.Configure(
      "[sources.in]\nplugin = \"misuse\"\n\n[sinks.out]\nplugin = \"misuse\"\nfrom = "
      "[\"in\"]\nretry.initial = \"10ms\"\n");
  ASSERT_EQ(site.Penstock("run --exit-when-done"), 0) << site.Log();
  for (const char* line :
       {"source in: the plugin emits a batch whose struct_size or stride cannot be",
        "sink out: the plugin calls emit, which is for sources",
        "error source in: of a later minor", "source in: connecting: of a later minor",
        "gave a receipt for a message that is not in flight", "not delivered yet, trying again",
        "received 1 = delivered 1 + dead-lettered 0"})
    EXPECT_THAT(site.Log(), HasSubstr(line));
}

TEST(Misuse, ACreateThatMakesNothingIsAnError) {
  Site site;
  site.Put(ABI_LATER, "source-misuse.so");
  site.Put(ABI_LATER, "sink-misuse.so");
  site.Configure(
      "[sources.in]\nplugin = \"misuse\"\n\n[sinks.out]\nplugin = \"misuse\"\nfrom = "
      "[\"in\"]\nempty = true\n");
  EXPECT_EQ(site.Penstock("run --exit-when-done"), 1) << site.Log();
  EXPECT_THAT(site.Log(), HasSubstr("sink out: the plugin's create made no instance"));
}

}  // namespace
}  // namespace penstock::plugin
