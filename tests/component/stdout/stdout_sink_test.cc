#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "fakes/plugin_host.h"
#include "lines/json_line.h"

namespace penstock::fakes {
namespace {

std::string Line(const FakeMessage& m, bool json) {
  penstock_message message{};
  message.payload = Str(m.payload);
  message.id = Str(m.id);
  message.content_type = Str(m.content_type);
  std::vector<penstock_kv> attributes, headers;
  for (const auto& [key, value] : m.attributes) attributes.push_back({Str(key), Str(value)});
  for (const auto& [key, value] : m.headers) headers.push_back({Str(key), Str(value)});
  message.attributes = attributes.data();
  message.n_attributes = static_cast<uint32_t>(attributes.size());
  message.headers = headers.data();
  message.n_headers = static_cast<uint32_t>(headers.size());
  std::string out;
  lines::AppendLine(message, json, &out);
  return out;
}

TEST(JsonLine, PassesJsonThroughAndKeepsItOnOneLine) {
  EXPECT_EQ(Line({.payload = R"({"a":1})"}, true), "{\"a\":1}\n");
  EXPECT_EQ(Line({.payload = "{\n  \"a\":\r\n1}"}, true), "{   \"a\":  1}\n");
}

TEST(JsonLine, WrapsOtherBytesWithWhatBelongsToThem) {
  EXPECT_EQ(Line({.payload = "a\nb", .id = "7"}, false),
            "{\"id\":\"7\",\"payload_base64\":\"YQpi\"}\n");
  EXPECT_EQ(Line({.payload = std::string("\0\xff", 2),
                  .id = "7",
                  .content_type = "text/plain",
                  .attributes = {{"type", "t"}, {"source", "s"}},
                  .headers = {{"h", "a\"b\\c\n"}}},
                 false),
            "{\"id\":\"7\",\"content_type\":\"text/plain\","
            "\"attributes\":{\"type\":\"t\",\"source\":\"s\"},"
            "\"headers\":{\"h\":\"a\\\"b\\\\c\\u000a\"},\"payload_base64\":\"AP8=\"}\n");
}

TEST(JsonLine, EncodesBase64OfEveryLength) {
  const std::pair<const char*, const char*> kCases[] = {{"", ""},
                                                        {"f", "Zg=="},
                                                        {"fo", "Zm8="},
                                                        {"foo", "Zm9v"},
                                                        {"foob", "Zm9vYg=="},
                                                        {"fooba", "Zm9vYmE="},
                                                        {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : kCases) {
    std::string out;
    lines::AppendBase64(plain, &out);
    EXPECT_EQ(out, coded);
  }
}

// Standard output of this process, replaced by a pipe or a file for the length of a test.
class Redirected {
 public:
  explicit Redirected(int fd) : saved_(::dup(STDOUT_FILENO)) {
    std::fflush(stdout);
    ::dup2(fd, STDOUT_FILENO);
  }
  ~Redirected() {
    std::fflush(stdout);
    ::dup2(saved_, STDOUT_FILENO);
    ::close(saved_);
  }

 private:
  int saved_;
};

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(fd, O_CLOEXEC), 0); }
  ~Pipe() {
    CloseReader();
    ::close(fd[1]);
  }
  void CloseReader() {
    if (fd[0] >= 0) ::close(fd[0]);
    fd[0] = -1;
  }
  // Reads exactly n bytes.
  std::string Read(size_t n) {
    std::string out;
    char buffer[4096];
    while (out.size() < n) {
      const ssize_t got = ::read(fd[0], buffer, std::min(sizeof buffer, n - out.size()));
      if (got <= 0) break;
      out.append(buffer, static_cast<size_t>(got));
    }
    return out;
  }
  int fd[2];
};

class StdoutSink : public testing::Test {
 protected:
  const penstock_plugin& plugin_ = LoadPlugin(PENSTOCK_SINK_FILE);
  const Values json_{{"format", "cloudevents"}};
};

TEST_F(StdoutSink, PrintsLinesInOrder) {
  Pipe pipe;
  Redirected redirected(pipe.fd[1]);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, json_);
  sink.Start();
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  std::string expected;
  std::vector<FakeMessage> messages;
  for (int i = 0; i < 500; ++i) {
    messages.push_back({.payload = "{\"n\":" + std::to_string(i) + "}"});
    expected += messages.back().payload + "\n";
  }
  sink.Submit(messages);
  EXPECT_EQ(pipe.Read(expected.size()), expected);
  ASSERT_TRUE(host.WaitReceipts(500));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 500u);
  EXPECT_LT(host.complete_calls(), 500u);
}

TEST_F(StdoutSink, ASlowReaderHoldsBackAndLosesNothing) {
  Pipe pipe;
  Redirected redirected(pipe.fd[1]);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, json_);
  sink.Start();
  const std::string line(100000, 'x');  // more than the pipe holds
  sink.Submit({.payload = line});
  sink.Submit({.payload = line});
  EXPECT_EQ(pipe.Read(line.size() + 1), line + "\n");
  ASSERT_EQ(pipe.Read(line.size() + 1), line + "\n");
  ASSERT_TRUE(host.WaitReceipts(2));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 2u);
}

TEST_F(StdoutSink, TwoOfThemDoNotCutEachOthersLines) {
  Pipe pipe;
  Redirected redirected(pipe.fd[1]);
  FakeSinkHost host_a("a"), host_b("b");
  FakeSink a(host_a, plugin_, json_), b(host_b, plugin_, json_);
  a.Start();
  b.Start();
  constexpr size_t kSize = 9999;
  for (int i = 0; i < 20; ++i) {
    a.Submit({.payload = std::string(kSize, 'a')});
    b.Submit({.payload = std::string(kSize, 'b')});
  }
  const std::string out = pipe.Read(40 * (kSize + 1));
  for (size_t i = 0; i < 40; ++i) {
    const std::string line = out.substr(i * (kSize + 1), kSize + 1);
    EXPECT_TRUE(line == std::string(kSize, 'a') + "\n" || line == std::string(kSize, 'b') + "\n");
  }
}

TEST_F(StdoutSink, StopDoesNotWaitForTheReader) {
  Pipe pipe;
  Redirected redirected(pipe.fd[1]);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, json_);
  sink.Start();
  const uint64_t stuck = sink.Submit({.payload = std::string(1000000, 'x')});
  pollfd readable{pipe.fd[0], POLLIN, 0};
  ASSERT_EQ(::poll(&readable, 1, 20000), 1);
  sink.Destroy();
  EXPECT_EQ(host.receipt(stuck).outcome, PENSTOCK_RETRY);
}

TEST_F(StdoutSink, AReaderThatLeftMakesItFail) {
  Pipe pipe;
  Redirected redirected(pipe.fd[1]);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, json_);
  sink.Start();
  pipe.CloseReader();
  const uint64_t token = sink.Submit({.payload = "{}"});
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_FAILED));
  EXPECT_TRUE(host.HasText("standard output is closed (Broken pipe)"));
  ASSERT_TRUE(host.WaitReceipts(1));
  EXPECT_EQ(host.receipt(token).outcome, PENSTOCK_RETRY);
  const uint64_t later = sink.Submit({.payload = "{}"});
  ASSERT_TRUE(host.WaitReceipts(2));
  EXPECT_EQ(host.receipt(later).outcome, PENSTOCK_RETRY);
}

TEST_F(StdoutSink, AFullDeviceIsWaitedFor) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  Pipe pipe;
  Redirected redirected(full);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, json_);
  sink.Start();
  sink.Submit({.payload = "{}"});
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_CONNECTING));
  EXPECT_TRUE(host.HasText("No space left on device"));
  ::dup2(pipe.fd[1], STDOUT_FILENO);  // room again
  EXPECT_EQ(pipe.Read(3), "{}\n");
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
  ASSERT_TRUE(host.WaitReceipts(1));
  EXPECT_EQ(host.count(PENSTOCK_DELIVERED), 1u);
  ::close(full);
}

TEST_F(StdoutSink, RefusesMoreThanItsBoundAndAsksForMoreLater) {
  Pipe pipe;
  Redirected redirected(pipe.fd[1]);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, json_);
  sink.Start();
  std::vector<FakeMessage> messages(10, FakeMessage{.payload = std::string(16 << 20, 'x')});
  std::vector<FakeMessage> rest;
  EXPECT_EQ(sink.TrySubmit(std::move(messages), 0, 0, &rest).size(), 4u);
  EXPECT_EQ(rest.size(), 6u);
  pipe.Read(2 * ((16 << 20) + 1));
  ASSERT_TRUE(host.WaitReady(1));
}

TEST_F(StdoutSink, AnOutputThatCannotBeWrittenMakesItFail) {
  const int read_only = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  Redirected redirected(read_only);
  FakeSinkHost host;
  FakeSink sink(host, plugin_, json_);
  sink.Start();
  const uint64_t token = sink.Submit({.payload = "{}"});
  ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_FAILED));
  ASSERT_TRUE(host.WaitReceipts(1));
  EXPECT_EQ(host.receipt(token).outcome, PENSTOCK_RETRY);
  ::close(read_only);
}

}  // namespace
}  // namespace penstock::fakes
