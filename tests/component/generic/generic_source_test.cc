// The generic source against the real C++ test server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "component/generic/certificates.h"
#include "component/generic/silent_server.h"
#include "component/generic/test_server.h"
#include "fakes/plugin_host.h"
#include "fakes/temp_dir.h"

namespace penstock::testing {
namespace {

using fakes::FakeSource;
using fakes::FakeSourceHost;
using fakes::Values;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Clock = std::chrono::steady_clock;

const penstock_plugin& Plugin() { return fakes::LoadPlugin(PENSTOCK_SOURCE_FILE); }

Values Plain(const std::string& url, Values more = {}) {
  more.insert({{"url", url}, {"insecure", true}, {"event_name", "created"}});
  return more;
}

// On a loaded machine too; all that could get in the way (gRPC's pauses, the timeout of a connect)
// takes longer.
constexpr seconds kSoon{3};
const Values kQuick = {{"reconnect.max", milliseconds(100)}};

Values Tls(const std::string& url, Values more = {}) {
  more.insert({{"url", url}, {"event_name", "created"}});
  return more;
}

// The number in a JSON payload of the test servers.
int64_t Number(const std::string& payload) {
  return payload.rfind("{\"seq\":", 0) == 0 ? std::stoll(payload.substr(7)) : -1;
}

// The numbers go up by one, beginning with first.
void ExpectNumbered(const std::vector<fakes::FakeEvent>& events, int64_t first) {
  for (const fakes::FakeEvent& event : events) ASSERT_EQ(Number(event.payload), first++);
}

size_t StateCount(const FakeSourceHost& host, int32_t state) {
  size_t n = 0;
  for (const auto& [reported, text] : host.states()) n += reported == state ? 1 : 0;
  return n;
}

// Connections of the whole machine to this port of 127.0.0.1 that are established.
int Established(int port) {
  std::ifstream table("/proc/net/tcp");
  std::string line;
  int n = 0;
  char wanted[16];
  std::snprintf(wanted, sizeof wanted, "0100007F:%04X", port);
  while (std::getline(table, line)) {
    std::istringstream words(line);
    std::string number, local, remote, state;
    words >> number >> local >> remote >> state;
    if (remote == wanted && state == "01") ++n;
  }
  return n;
}

template <typename Condition>
bool Eventually(Condition condition, milliseconds timeout = seconds(20)) {
  const Clock::time_point end = Clock::now() + timeout;
  while (!condition()) {
    if (Clock::now() > end) return false;
    usleep(1000);
  }
  return true;
}

// Nothing follows it, so that it must not wait for company.
TEST(GenericSource, ALoneEventArrives) {
  TestServer server({"--count", "1", "--size", "100"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(1));
  const fakes::FakeEvent event = host.events()[0];
  EXPECT_EQ(event.payload.size(), 100u);
  EXPECT_EQ(Number(event.payload), 0);
  EXPECT_EQ(event.content_type, "");
  EXPECT_EQ(event.subject, "");
  EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
}

TEST(GenericSource, SendsNameAndConfigToTheLetter) {
  TestServer server({"--count", "1"});
  const std::string config("key1: value1\n\tü \0 \xff\r\n", 23);
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"config", config}}));
  source.Run();
  const std::string line = server.WaitLine("STREAM 1 ");
  EXPECT_EQ(HexField(line, "name"), "created");
  EXPECT_EQ(HexField(line, "config"), config);
  EXPECT_EQ(HexField(line, "authorization"), "");
  EXPECT_THAT(HexField(line, "agent"), StartsWith("penstock/"));
}

TEST(GenericSource, EmptyNameAndConfig) {
  TestServer server({"--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), {{"url", server.url()}, {"insecure", true}});
  source.Run();
  ASSERT_TRUE(host.WaitEvents(1));
  const std::string line = server.WaitLine("STREAM 1 ");
  EXPECT_THAT(line, HasSubstr(" name= config= "));
}

TEST(GenericSource, JsonBodyDeclaresTheContentType) {
  TestServer server({"--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"json_body", true}}));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(1));
  EXPECT_EQ(host.events()[0].content_type, "application/json");
}

TEST(GenericSource, ReadyBeforeTheFirstEvent) {
  TestServer server({"--rate", "0.001", "--first", "1", "--count", "1", "--close-after", "9"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"config", "rate=0 count=1 size=0"}}));
  source.Run();
  EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
}

TEST(GenericSource, UnixSocket) {
  const Certificates directory;
  const std::string url = "unix:" + directory.directory() + "/socket";
  TestServer server({"--listen", url, "--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(url));
  source.Run();
  EXPECT_TRUE(host.WaitEvents(1));
}

TEST(GenericSource, ProxyVariablesDoNotTouchLoopback) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  TestServer server({"--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  EXPECT_TRUE(host.WaitEvents(1));
  unsetenv("http_proxy");
}

TEST(GenericSource, ManyEventsInOrderAndInBatches) {
  TestServer server({"--count", "100000", "--size", "64"});
  FakeSourceHost host;
  host.ReleaseElsewhere();
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(100000));
  ExpectNumbered(host.events(), 0);
  EXPECT_LT(host.emit_calls(), 50000u);
  EXPECT_EQ(host.metric("received_total"), 100000u);
}

TEST(GenericSource, PayloadsOfEachSize) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{127}, size_t{128}, size_t{16000},
                            size_t{70000}, size_t{1000000}, size_t{4194000}}) {
    TestServer server({"--count", "3", "--binary", "--size", std::to_string(size), "--id", "x"});
    FakeSourceHost host;
    FakeSource source(host, Plugin(), Plain(server.url()));
    source.Run();
    ASSERT_TRUE(host.WaitEvents(3)) << size;
    const size_t least = size == 0 ? 0 : std::max(size, size_t{12 + 4});
    for (const auto& event : host.events()) {
      ASSERT_EQ(event.payload.size(), least);
      for (size_t i = 16; i < size; ++i) {
        const auto number = static_cast<uint8_t>(event.payload[7]);
        ASSERT_EQ(static_cast<uint8_t>(event.payload[i]), static_cast<uint8_t>(number + i - 16));
      }
    }
  }
}

// The limit counts the whole message: a tag and a length for the name, and for the payload.
TEST(GenericSource, TheLargestEventThatFits) {
  const size_t overhead = 2 + std::string("created").size() + 1 + 3;
  const size_t limit = 100000;
  TestServer server({"--count", "1", "--size", std::to_string(limit - overhead)});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"max_message_size", 100000}}));
  source.Run();
  EXPECT_TRUE(host.WaitEvents(1));
  EXPECT_EQ(host.metric("oversize_total"), 0u);
}

TEST(GenericSource, EventsLargerThanReadAheadArrive) {
  constexpr size_t kSize = 1000000;
  TestServer server({"--count", "20", "--size", std::to_string(kSize)});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"read_ahead", int64_t{8192}}}));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(20));
  ExpectNumbered(host.events(), 0);
  EXPECT_EQ(host.events()[19].payload.size(), kSize);
}

TEST(GenericSource, AnEventOverTheLimitIsNamedCountedAndAlone) {
  TestServer server(
      {"--oversize-at", "5", "--oversize-size", "200000", "--size", "100", "--count", "20"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"max_message_size", 100000}}));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(19));
  EXPECT_TRUE(host.WaitText("larger than max_message_size = 100000 bytes and was left out"));
  EXPECT_EQ(host.metric("oversize_total"), 1u);
  EXPECT_EQ(host.metric("reconnects_total"), 0u);
  EXPECT_EQ(host.event_count(), 19u);
}

TEST(GenericSource, NothingButEventsOverTheLimit) {
  TestServer server({"--size", "200000", "--count", "20"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"max_message_size", 100000}}));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("oversize_total", 20));
  size_t errors = 0;
  for (const auto& [level, text] : host.logs()) errors += level == PENSTOCK_LOG_ERROR ? 1 : 0;
  EXPECT_EQ(errors, 1u);
  EXPECT_EQ(host.event_count(), 0u);
  EXPECT_EQ(host.metric("reconnects_total"), 0u);
}

TEST(GenericSource, AMessageThatIsNoEventIsNamedAndNoBusyLoop) {
  TestServer server({"--damaged", "--rate", "100"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitText("not a generic.Event"));
  const Clock::time_point start = Clock::now();
  ASSERT_TRUE(host.WaitMetric("malformed_total", 3));
  EXPECT_GE(Clock::now() - start, milliseconds(900));
  EXPECT_EQ(host.event_count(), 0u);
}

TEST(GenericSource, ServerThatStartsLate) {
  const int port = FreePort();
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain("127.0.0.1:" + std::to_string(port), kQuick));
  source.Run();
  // So many that gRPC's own pause would have become long.
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 20));
  EXPECT_TRUE(host.HasText("Connection refused"));
  EXPECT_LE(StateCount(host, PENSTOCK_STATE_CONNECTING), 2u);
  TestServer server({"--port", std::to_string(port), "--count", "1"});
  const Clock::time_point up = Clock::now();
  ASSERT_TRUE(host.WaitEvents(1));
  EXPECT_LT(Clock::now() - up, kSoon);
  EXPECT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
}

TEST(GenericSource, ServerThatCrashesAndComesBack) {
  const int port = FreePort();
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain("127.0.0.1:" + std::to_string(port), kQuick));
  source.Run();
  for (size_t round = 1; round <= 3; ++round) {
    TestServer server({"--port", std::to_string(port), "--count", "1"});
    const Clock::time_point up = Clock::now();
    ASSERT_TRUE(host.WaitEvents(round));
    EXPECT_LT(Clock::now() - up, kSoon) << "round " << round;
    server.Kill();
    ASSERT_TRUE(host.WaitMetric("reconnects_total", 10 * round));
  }
}

TEST(GenericSource, ServerThatEndsEachStreamWithOk) {
  TestServer server({"--close-after", "1", "--resume", "--early-headers"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"reconnect.initial", milliseconds(10)}}));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(30));
  ExpectNumbered(host.events(), 0);
  EXPECT_LE(host.states().size(), 4u) << "a line for each stream would flood the log";
  EXPECT_TRUE(host.HasText("the server ended the stream"));
}

TEST(GenericSource, ServerThatEndsEachStreamWithAnError) {
  TestServer server(
      {"--close-after", "2", "--status", "RESOURCE_EXHAUSTED", "--resume", "--rate", "1000"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"reconnect.initial", milliseconds(10)}}));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 10));
  EXPECT_TRUE(host.WaitEvents(10));
  EXPECT_TRUE(host.HasText("RESOURCE_EXHAUSTED: as --status says"));
  EXPECT_EQ(host.metric("oversize_total"), 0u);
}

TEST(GenericSource, ServerThatRefusesEachStream) {
  TestServer server({"--close-after", "0", "--status", "UNIMPLEMENTED"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitText("does not serve generic.Eventing/StartEventSource"));
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 4));
  EXPECT_EQ(StateCount(host, PENSTOCK_STATE_READY), 0u);
}

TEST(GenericSource, PausesGrowWhenNothingComes) {
  TestServer server({"--close-after", "0"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(),
                    Plain(server.url(), {{"reconnect.initial", milliseconds(100)},
                                         {"reconnect.max", milliseconds(400)}}));
  source.Run();
  ASSERT_FALSE(server.WaitLine("STREAM 1 ").empty());
  const Clock::time_point start = Clock::now();
  ASSERT_FALSE(server.WaitLine("STREAM 5 ").empty());
  // 100, 200, 400, 400 ms, each less up to a quarter.
  EXPECT_GE(Clock::now() - start, milliseconds(800));
}

TEST(GenericSource, NoConnectionLeaks) {
  TestServer server({"--close-after", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"reconnect.initial", milliseconds(1)}}));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 20));
  EXPECT_LE(Established(server.port()), 1);
  source.Stop();
  ASSERT_TRUE(source.WaitReturned());
  EXPECT_TRUE(Eventually([&] { return Established(server.port()) == 0; }));
}

TEST(GenericSource, FrozenServerIsLeftAfterIdleTimeout) {
  TestServer server({"--rate", "20"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"idle_timeout", milliseconds(500)}}));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(3));
  server.Freeze();
  EXPECT_TRUE(host.WaitMetric("reconnects_total", 1));
  const size_t before = host.event_count();
  server.Thaw();
  EXPECT_TRUE(host.WaitEvents(before + 3));
}

TEST(GenericSource, IdleTimeoutNamesItself) {
  TestServer server({"--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"idle_timeout", milliseconds(100)}}));
  source.Run();
  EXPECT_TRUE(host.WaitText("no event within idle_timeout"));
  EXPECT_TRUE(host.WaitEvents(3));
}

TEST(GenericSource, StopsWhileConnecting) {
  SilentServer server;
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  server.Accept();
  EXPECT_LT(source.StopAndTime(), kSoon);
}

TEST(GenericSource, StopsInThePause) {
  FakeSourceHost host;
  FakeSource source(host, Plugin(),
                    Plain("127.0.0.1:" + std::to_string(FreePort()),
                          {{"reconnect.initial", seconds(60)}, {"reconnect.max", seconds(60)}}));
  source.Run();
  ASSERT_TRUE(host.WaitText("Connection refused"));
  EXPECT_LT(source.StopAndTime(), kSoon);
}

TEST(GenericSource, StopsWhileNothingComes) {
  TestServer server({"--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(1));
  EXPECT_LT(source.StopAndTime(), kSoon);
  EXPECT_FALSE(server.WaitLine("END 1 ").empty());
}

TEST(GenericSource, StopsInTheFlood) {
  TestServer server({});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(10000));
  EXPECT_LT(source.StopAndTime(), kSoon);
  ExpectNumbered(host.events(), 0);
}

TEST(GenericSource, StopBeforeRun) {
  TestServer server({});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Stop();
  source.Run();
  EXPECT_TRUE(source.WaitReturned(kSoon));
}

TEST(GenericSource, StopsWhenTheHostTakesNoMore) {
  TestServer server({});
  FakeSourceHost host;
  host.SetRoom(1000);
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitBlocked());
  source.Stop();
  host.Shutdown();
  EXPECT_TRUE(source.WaitReturned(kSoon));
  EXPECT_EQ(host.event_count(), 1000u);
  ExpectNumbered(host.events(), 0);
}

TEST(GenericSource, WhatWasReceivedIsEmittedAfterStop) {
  TestServer server({});
  FakeSourceHost host;
  host.SetRoom(1000);
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitBlocked());
  source.Stop();
  host.SetRoom(SIZE_MAX);
  ASSERT_TRUE(source.WaitReturned(kSoon));
  EXPECT_GT(host.event_count(), 1000u);
  ExpectNumbered(host.events(), 0);
}

TEST(GenericSource, ReadAheadIsBoundedWhenTheQueueIsFull) {
  constexpr size_t kSize = 1000;
  constexpr size_t kReadAhead = 128 * 1024;
  TestServer server({"--size", std::to_string(kSize), "--progress"});
  FakeSourceHost host("orders", kReadAhead);
  host.SetRoom(20000);
  FakeSource source(host, Plugin(), Plain(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitBlocked());
  source.Stop();  // the server says at the end how much went out
  host.Shutdown();
  const std::string line = server.WaitLine("END 1 ");
  ASSERT_FALSE(line.empty());
  const size_t sent = std::stoull(Field(line, "bytes"));
  // What gRPC holds at the server's side counts as sent there: its write buffer of 64 KiB.
  EXPECT_LT(sent - 20000 * kSize, kReadAhead + 64 * 1024 + 4 * kSize);
}

TEST(GenericSource, TokenIsSentAndReadAgainForEachStream) {
  TestServer server({"--count", "1", "--token", "second"});
  FakeSourceHost host;
  host.SetSecret("file:/token", "first");
  FakeSource source(host, Plugin(), Plain(server.url(), {{"auth_token_file", "file:/token"}}));
  source.Run();
  const std::string line = server.WaitLine("STREAM 1 ");
  EXPECT_EQ(HexField(line, "authorization"), "Bearer first");
  ASSERT_TRUE(host.WaitText("UNAUTHENTICATED: wrong or no bearer token (see auth_token_file"));
  host.SetSecret("file:/token", "second");
  EXPECT_TRUE(host.WaitEvents(1));
  EXPECT_FALSE(host.HasText("first"));
  EXPECT_FALSE(host.HasText("second"));
}

TEST(GenericSource, TokenThatCannotBeReadOrSent) {
  TestServer server({"--count", "1", "--token", "good"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Plain(server.url(), {{"auth_token_file", "file:/token"}}));
  source.Run();
  ASSERT_TRUE(host.WaitText("secret file:/token cannot be read"));
  host.SetSecret("file:/token", "two\nlines");
  ASSERT_TRUE(host.WaitMetric("reconnects_total", host.metric("reconnects_total") + 2));
  EXPECT_EQ(server.CountLines("STREAM"), 0u);
  host.SetSecret("file:/token", "good");
  EXPECT_TRUE(host.WaitEvents(1));
}

class GenericSourceTls : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ours_ = std::make_unique<Certificates>(); }
  static void TearDownTestSuite() { ours_.reset(); }
  static std::vector<std::string> ServerFlags(std::vector<std::string> more = {}) {
    more.insert(more.end(),
                {"--count", "1", "--tls-cert", ours_->server(), "--tls-key", ours_->server_key()});
    return more;
  }
  static std::unique_ptr<Certificates> ours_;
};
std::unique_ptr<Certificates> GenericSourceTls::ours_;

TEST_F(GenericSourceTls, ServerOfOurAuthority) {
  TestServer server(ServerFlags());
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Tls(server.url(), {{"tls.ca_file", ours_->ca()}}));
  source.Run();
  EXPECT_TRUE(host.WaitEvents(1));
}

TEST_F(GenericSourceTls, ServerOfAnotherAuthorityIsRefused) {
  const Certificates others;
  TestServer server(ServerFlags());
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Tls(server.url(), {{"tls.ca_file", others.ca()}}));
  source.Run();
  EXPECT_TRUE(host.WaitText("see tls.ca_file")) << host.states().back().second;
  EXPECT_EQ(server.CountLines("STREAM"), 0u);
}

TEST_F(GenericSourceTls, SystemCertificatesDoNotKnowOurAuthority) {
  TestServer server(ServerFlags());
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Tls(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 2));
  EXPECT_EQ(host.event_count(), 0u);
  EXPECT_TRUE(host.HasText("see tls.ca_file") || host.HasText("certificates to trust"));
}

TEST_F(GenericSourceTls, NameOfTheServerIsChecked) {
  TestServer server(ServerFlags());
  FakeSourceHost host;
  FakeSource source(
      host, Plugin(),
      Tls(server.url(), {{"tls.ca_file", ours_->ca()}, {"tls.server_name", "someone.else"}}));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 2));
  EXPECT_EQ(host.event_count(), 0u);
  EXPECT_TRUE(host.HasText("someone.else")) << host.states().back().second;
}

TEST_F(GenericSourceTls, NameOfTheServerCanBeGiven) {
  TestServer server(ServerFlags());
  FakeSourceHost host;
  FakeSource source(
      host, Plugin(),
      Tls(server.url(), {{"tls.ca_file", ours_->ca()}, {"tls.server_name", "orders.test"}}));
  source.Run();
  EXPECT_TRUE(host.WaitEvents(1));
}

TEST_F(GenericSourceTls, Mutual) {
  TestServer server(ServerFlags({"--tls-ca", ours_->ca()}));
  FakeSourceHost host;
  FakeSource source(host, Plugin(),
                    Tls(server.url(), {{"tls.ca_file", ours_->ca()},
                                       {"tls.cert_file", ours_->client()},
                                       {"tls.key_file", ours_->client_key()}}));
  source.Run();
  EXPECT_TRUE(host.WaitEvents(1));
}

TEST_F(GenericSourceTls, MutualWithoutOurCertificateIsRefused) {
  TestServer server(ServerFlags({"--tls-ca", ours_->ca()}));
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Tls(server.url(), {{"tls.ca_file", ours_->ca()}}));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 2));
  EXPECT_EQ(host.event_count(), 0u);
}

TEST_F(GenericSourceTls, FilesAreReadAgain) {
  const Certificates others;
  const std::string ca = others.directory() + "/current.pem";
  FakeSourceHost host;
  TestServer server(ServerFlags());
  FakeSource source(host, Plugin(), Tls(server.url(), {{"tls.ca_file", ca}}));
  source.Run();
  ASSERT_TRUE(host.WaitText("cannot read tls.ca_file " + ca + ": No such file"));
  std::filesystem::copy_file(others.ca(), ca);
  ASSERT_TRUE(host.WaitMetric("reconnects_total", host.metric("reconnects_total") + 2));
  EXPECT_EQ(host.event_count(), 0u);
  std::filesystem::copy_file(ours_->ca(), ca, std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(host.WaitEvents(1));
}

// The files that a source is configured with, in a folder where they can be replaced.
class UsedFiles {
 public:
  explicit UsedFiles(const Certificates& from) {
    for (const char* name : {"ca.pem", "client.pem", "client.key"}) Take(from, name);
  }
  std::string File(const std::string& name) const { return directory_.path() + "/" + name; }
  // By another file of that name, as tools do.
  void Take(const Certificates& from, const std::string& name) {
    std::filesystem::copy_file(from.directory() + "/" + name, File("new"),
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::rename(File("new"), File(name));
  }
  // As a copy looks that has come half-way.
  void Cut(const std::string& name) {
    std::filesystem::resize_file(File(name), std::filesystem::file_size(File(name)) / 2);
  }
  Values Options(const std::string& url) const {
    return Tls(url, {{"tls.ca_file", File("ca.pem")},
                     {"tls.cert_file", File("client.pem")},
                     {"tls.key_file", File("client.key")},
                     {"reconnect.max", milliseconds(100)}});
  }

 private:
  fakes::TempDir directory_;
};

TEST_F(GenericSourceTls, EverythingIsReplacedUnderARunningSource) {
  const Certificates next;
  const std::string port = std::to_string(FreePort());
  const auto flags = [&](const Certificates& of) {
    return std::vector<std::string>{"--port",     port,       "--count",   "1",
                                    "--tls-ca",   of.ca(),    "--tls-key", of.server_key(),
                                    "--tls-cert", of.server()};
  };
  UsedFiles used(*ours_);
  FakeSourceHost host;
  FakeSource source(host, Plugin(), used.Options("127.0.0.1:" + port));
  auto server = std::make_unique<TestServer>(flags(*ours_));
  source.Run();
  ASSERT_TRUE(host.WaitEvents(1));
  // A stream that is open does not care.
  used.Cut("ca.pem");
  used.Cut("client.pem");
  used.Cut("client.key");
  EXPECT_EQ(server->CountLines("END"), 0u);

  const auto refused = [&] {
    return host.WaitMetric("reconnects_total", host.metric("reconnects_total") + 3) &&
           host.event_count() == 1;
  };
  server->Kill();
  EXPECT_TRUE(refused());
  used.Take(next, "client.pem");
  used.Take(next, "client.key");
  // The pair is the new one, the server is not yet.
  server = std::make_unique<TestServer>(flags(*ours_));
  used.Take(*ours_, "ca.pem");
  EXPECT_TRUE(refused());
  // The server is the new one, what we trust is not yet.
  server->Kill();
  server = std::make_unique<TestServer>(flags(next));
  EXPECT_TRUE(refused());
  used.Take(next, "ca.pem");
  EXPECT_TRUE(host.WaitEvents(2));
}

TEST_F(GenericSourceTls, FilesThatAreBeingReplacedAreNamedAndReadAgain) {
  const Certificates next;
  TestServer server(ServerFlags({"--tls-ca", ours_->ca()}));
  const auto finds = [&](const char* file, bool cut, const std::string& words) {
    UsedFiles used(*ours_);
    cut ? used.Cut(file) : used.Take(next, file);
    FakeSourceHost host;
    FakeSource source(host, Plugin(), used.Options(server.url()));
    source.Run();
    EXPECT_TRUE(host.WaitText(words)) << words << "\n" << host.states().back().second;
    used.Take(*ours_, file);
    EXPECT_TRUE(host.WaitEvents(1)) << words;
  };
  finds("ca.pem", true, "/ca.pem holds no whole certificate (is it being replaced?)");
  finds("client.pem", true, "/client.pem holds no whole certificate");
  finds("client.key", true, "/client.key holds no whole private key");
  finds("client.key", false, "/client.key is not the key of tls.cert_file /");
  finds("client.pem", false, "/client.key is not the key of tls.cert_file /");
  finds("ca.pem", false, "see tls.ca_file");
}

TEST_F(GenericSourceTls, ACertificateThatTheServerDoesNotTrust) {
  const Certificates next;
  UsedFiles used(*ours_);
  TestServer server(ServerFlags({"--tls-ca", next.ca()}));
  FakeSourceHost host;
  FakeSource source(host, Plugin(), used.Options(server.url()));
  source.Run();
  EXPECT_TRUE(host.WaitText("it may not trust the certificate in tls.cert_file"));
}

TEST_F(GenericSourceTls, AChainIsWholeOrRefused) {
  UsedFiles used(*ours_);
  std::ofstream(used.File("client.pem"), std::ios::app)
      << std::ifstream(used.File("ca.pem")).rdbuf() << "-----BEGIN CERTIFICATE-----\nMIIB";
  TestServer server(ServerFlags({"--tls-ca", ours_->ca()}));
  FakeSourceHost host;
  FakeSource source(host, Plugin(), used.Options(server.url()));
  source.Run();
  ASSERT_TRUE(host.WaitText("client.pem ends in half a certificate"));
  used.Take(*ours_, "client.pem");
  std::ofstream(used.File("client.pem"), std::ios::app)
      << std::ifstream(used.File("ca.pem")).rdbuf() << "text behind it\n";
  EXPECT_TRUE(host.WaitEvents(1));
}

TEST_F(GenericSourceTls, FilesWithoutCertificatesDoNoHarm) {
  const Certificates scratch;
  const std::string junk = scratch.directory() + "/junk.pem";
  std::ofstream(junk) << "no certificate\n";
  TestServer server(ServerFlags());
  FakeSourceHost host;
  FakeSource source(
      host, Plugin(),
      Tls(server.url(), {{"tls.ca_file", junk}, {"tls.cert_file", junk}, {"tls.key_file", junk}}));
  source.Run();
  EXPECT_TRUE(host.WaitMetric("reconnects_total", 2));
  EXPECT_EQ(host.event_count(), 0u);
  EXPECT_TRUE(host.HasText("junk.pem holds no whole certificate"));
}

TEST_F(GenericSourceTls, ServerWithoutTls) {
  TestServer server({"--count", "1"});
  FakeSourceHost host;
  FakeSource source(host, Plugin(), Tls(server.url(), {{"tls.ca_file", ours_->ca()}}));
  source.Run();
  ASSERT_TRUE(host.WaitMetric("reconnects_total", 2));
  EXPECT_EQ(host.event_count(), 0u);
  EXPECT_TRUE(host.HasText("does not speak TLS")) << host.states().back().second;
}

}  // namespace
}  // namespace penstock::testing
