#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "fakes/plugin_host.h"

namespace penstock::fakes {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string Slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

class FileSink : public testing::Test {
 protected:
  FileSink() {
    std::string made = (fs::temp_directory_path() / "penstock-file-XXXXXX").string();
    directory_ = ::mkdtemp(made.data());
    path_ = directory_ / "events.jsonl";
  }
  ~FileSink() override { fs::remove_all(directory_); }

  Values With(Values more = {}) const {
    more.emplace("path", path_.string());
    more.emplace("format", "cloudevents");
    return more;
  }
  static std::string Event(int i) { return "{\"n\":" + std::to_string(i) + "}"; }
  static std::vector<FakeMessage> Events(int from, int to) {
    std::vector<FakeMessage> out;
    for (int i = from; i < to; ++i) out.push_back({.payload = Event(i)});
    return out;
  }
  static std::string Text(int from, int to) {
    std::string out;
    for (int i = from; i < to; ++i) out += Event(i) + "\n";
    return out;
  }

  const penstock_plugin& plugin_ = LoadPlugin(PENSTOCK_SINK_FILE);
  fs::path directory_, path_;
};

TEST_F(FileSink, AppendsLinesInOrder) {
  std::ofstream(path_) << "old\n";
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  sink.Submit(Events(0, 1000));
  ASSERT_TRUE(host.WaitReceipts(1000));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 1000u);
  EXPECT_EQ(Slurp(path_), "old\n" + Text(0, 1000));
  EXPECT_LT(host.complete_calls(), 100u);
}

TEST_F(FileSink, CreatesWithTheModeAskedFor) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"mode", "0600"}, {"fsync", "never"}}));
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  struct stat info {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(FileSink, ClosesALineThatACrashCut) {
  std::ofstream(path_) << "{\"n\":";
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  sink.Submit(Events(0, 1));
  ASSERT_TRUE(host.WaitReceipts(1));
  EXPECT_EQ(Slurp(path_), "{\"n\":\n" + Text(0, 1));
  EXPECT_TRUE(host.HasText("unfinished line"));
}

TEST_F(FileSink, WaitsForItsDirectory) {
  path_ = directory_ / "later" / "events.jsonl";
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_CONNECTING));
  EXPECT_TRUE(host.HasText("create its directory"));
  sink.Submit(Events(0, 2));
  fs::create_directory(directory_ / "later");
  ASSERT_TRUE(host.WaitReceipts(2));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 2u);
  EXPECT_EQ(Slurp(path_), Text(0, 2));
  EXPECT_EQ(host.states().back().first, PENSTOCK_STATE_READY);
}

TEST_F(FileSink, FollowsAFileThatWasMovedAway) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  sink.Submit(Events(0, 5));
  ASSERT_TRUE(host.WaitReceipts(5));
  fs::rename(path_, directory_ / "moved");
  int n = 5;
  while (!fs::exists(path_) && n < 1000000) {  // the sink looks once a second
    sink.Submit(Events(n, n + 1));
    ASSERT_TRUE(host.WaitReceipts(static_cast<size_t>(++n)));
  }
  EXPECT_EQ(Slurp(directory_ / "moved") + Slurp(path_), Text(0, n));
}

TEST_F(FileSink, RotatesBySizeAndKeepsWhatWasAskedFor) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"rotate_size", 50}, {"rotate_keep", 2}, {"fsync", "never"}}));
  sink.Start();
  sink.Submit(Events(0, 22));  // lines of 8 bytes, from the tenth on 9
  ASSERT_TRUE(host.WaitReceipts(22));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 22u);
  EXPECT_EQ(Slurp(path_), Text(17, 22));
  EXPECT_EQ(Slurp(path_.string() + ".1"), Text(12, 17));
  EXPECT_EQ(Slurp(path_.string() + ".2"), Text(6, 12));
  EXPECT_FALSE(fs::exists(path_.string() + ".3"));
}

TEST_F(FileSink, ALineBeyondTheSizeGetsAFileOfItsOwn) {
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With({{"rotate_size", 10}}));
  sink.Start();
  const std::string big(100, 'x');
  sink.Submit({.payload = big});
  sink.Submit({.payload = "{}"});
  ASSERT_TRUE(host.WaitReceipts(2));
  EXPECT_EQ(Slurp(path_.string() + ".1"), big + "\n");
  EXPECT_EQ(Slurp(path_), "{}\n");
}

// A limit on the size of files stands in for a full disk: the write stops half-way, then fails.
TEST_F(FileSink, AWriteThatFailsIsTakenBackAndDoneAgain) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 20;
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  sink.Submit(Events(0, 1));
  ASSERT_TRUE(host.WaitReceipts(1));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  sink.Submit(Events(1, 4));
  const bool connecting = host.WaitState(PENSTOCK_STATE_CONNECTING);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_TRUE(connecting);
  EXPECT_TRUE(host.HasText("cannot write to " + path_.string() + " (File too large)"));
  ASSERT_TRUE(host.WaitReceipts(4));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 4u);
  EXPECT_EQ(Slurp(path_), Text(0, 4));
  EXPECT_EQ(host.states().back().first, PENSTOCK_STATE_READY);
}

TEST_F(FileSink, StopGivesBackWhatWaits) {
  path_ = directory_ / "never" / "events.jsonl";
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_CONNECTING));
  sink.Submit(Events(0, 3));
  sink.Destroy();
  EXPECT_EQ(host.count(PENSTOCK_RETRY), 3u);
}

TEST_F(FileSink, RefusesASecondWriter) {
  const int other = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::flock(other, LOCK_EX), 0);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, With());
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_CONNECTING));
  EXPECT_TRUE(host.HasText("written by another sink or process"));
  ::close(other);
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
}

TEST_F(FileSink, ChecksPathAndMode) {
  EXPECT_TRUE(Check(plugin_, With()).empty());
  const auto relative = Check(plugin_, With({{"path", "events.jsonl"}}));
  ASSERT_EQ(relative.size(), 1u);
  EXPECT_EQ(relative[0].option, "path");
  EXPECT_THAT(relative[0].text, HasSubstr("not the full path"));
  const auto mode = Check(plugin_, With({{"mode", "rw-r--r--"}}));
  ASSERT_EQ(mode.size(), 1u);
  EXPECT_EQ(mode[0].option, "mode");
  const auto keep = Check(plugin_, With({{"rotate_keep", 3}}));
  ASSERT_EQ(keep.size(), 1u);
  EXPECT_EQ(keep[0].severity, PENSTOCK_WARNING);
}

}  // namespace
}  // namespace penstock::fakes
