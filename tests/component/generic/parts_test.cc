// The parts of the generic source, each by itself; the decoder beside protobuf's.
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpc/byte_buffer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "fakes/plugin_host.h"
#include "generic.pb.h"
#include "generic/backoff.h"
#include "generic/batch.h"
#include "generic/options.h"
#include "generic/state.h"
#include "generic/stream.h"
#include "generic/wire.h"

namespace penstock_generic {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Bytes cut into slices of at most so many bytes, with an empty one in front.
class Slices {
 public:
  Slices(const std::string& bytes, size_t piece) {
    all_.push_back(grpc_empty_slice());
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const size_t size = std::min(piece, bytes.size() - at);
      all_.push_back(grpc_slice_from_copied_buffer(bytes.data() + at, size));
    }
  }
  ~Slices() {
    for (const grpc_slice& slice : all_) grpc_slice_unref(slice);
  }
  Slices(const Slices&) = delete;
  Slices& operator=(const Slices&) = delete;
  const grpc_slice* data() const { return all_.data(); }
  size_t size() const { return all_.size(); }

 private:
  std::vector<grpc_slice> all_;
};

std::optional<std::string> Payload(const std::string& bytes, size_t piece) {
  const Slices slices(bytes, piece);
  std::optional<PayloadPlace> place = FindPayload(slices.data(), slices.size());
  if (!place) return std::nullopt;
  std::string out(place->size, '\0');
  place->start.Copy(out.data(), out.size());
  return out;
}

TEST(Wire, EventSourceIsAsProtobufWritesIt) {
  for (const auto& [name, config] : std::vector<std::pair<std::string, std::string>>{
           {"", ""}, {"created", ""}, {"", "x"}, {"ev", std::string(300, 'y')}, {"a", "\0\xff"}}) {
    generic::EventSource message;
    message.set_name(name);
    message.set_config(config);
    EXPECT_EQ(EncodeEventSource(name, config), message.SerializeAsString());
  }
}

TEST(Wire, PayloadOfEachSizeFromSlicesOfEachSize) {
  for (const size_t size : {0, 1, 2, 127, 128, 1000, 16383, 16384, 100000}) {
    generic::Event event;
    event.set_name("created");
    event.set_payload(std::string(size, 'p'));
    for (const size_t piece : {1, 2, 3, 7, 1000, 1000000}) {
      EXPECT_EQ(Payload(event.SerializeAsString(), piece), event.payload());
    }
  }
}

TEST(Wire, LastPayloadCountsAndUnknownFieldsAreSkipped) {
  generic::Event first, second;
  first.set_payload("first");
  second.set_payload("second");
  google::protobuf::UnknownFieldSet* unknown =
      second.GetReflection()->MutableUnknownFields(&second);
  unknown->AddVarint(3, UINT64_MAX);
  unknown->AddFixed32(4, 4);
  unknown->AddFixed64(5, 5);
  unknown->AddLengthDelimited(536870911, "long");
  unknown->AddVarint(2, 7);  // the payload's number with another type
  const std::string bytes = first.SerializeAsString() + second.SerializeAsString();
  for (const size_t piece : {1, 5, 100}) EXPECT_EQ(Payload(bytes, piece), "second");
}

TEST(Wire, NoPayloadIsAnEmptyOne) {
  EXPECT_EQ(Payload("", 1), "");
  EXPECT_EQ(Payload("\x0a\x01n", 1), "");
}

TEST(Wire, DamageIsFound) {
  const std::vector<std::string> damaged = {
      std::string("\x12", 1),          // a tag and no length
      std::string("\x12\x05xy", 4),    // shorter than it says
      std::string("\x0a\x05xy", 4),    // likewise the name
      std::string("\x12\x80", 2),      // a length that goes on
      std::string("\x00\x01", 2),      // field number 0
      std::string("\x1b\x1c", 2),      // a group
      std::string("\x0f", 1),          // a wire type that there is not
      std::string("\x1d\x01\x02", 3),  // half a fixed32
      std::string(11, '\xff'),         // a tag without end
      std::string("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),  // 2^64 - 1 bytes
  };
  for (const std::string& bytes : damaged) {
    for (const size_t piece : {1, 100}) EXPECT_EQ(Payload(bytes, piece), std::nullopt);
  }
}

// Found by the test below, with seed 1544950795: a tag beyond 32 bits of an unknown field.
TEST(Wire, TagOfFiveBytesIsCutTo32Bits) {
  const std::string bytes("\x12\x01p\xd1\xc0\x9e\xf5pabcdefgh", 16);
  generic::Event parsed;
  ASSERT_TRUE(parsed.ParseFromString(bytes));
  EXPECT_EQ(Payload(bytes, 3), "p");
}

// Any bytes: what protobuf takes we take with the same payload. (What it refuses for the name's
// sake, as invalid UTF-8, and groups, are the two differences.)
TEST(Wire, AgreesWithProtobufOnMutatedEvents) {
  const google::protobuf::LogSilencer quiet;
  const unsigned seed = std::random_device{}();
  RecordProperty("seed", static_cast<int>(seed));
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  int taken = 0;
  for (int round = 0; round < 20000; ++round) {
    generic::Event event;
    event.set_name(std::string(random() % 5, 'n'));
    event.set_payload(std::string(random() % 200, 'p'));
    std::string bytes = event.SerializeAsString();
    for (unsigned i = random() % 4; i > 0 && !bytes.empty(); --i) {
      bytes[random() % std::min<size_t>(bytes.size(), 12)] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    generic::Event parsed;
    const bool protobuf_takes = parsed.ParseFromString(bytes);
    const std::optional<std::string> payload = Payload(bytes, 1 + random() % 50);
    if (protobuf_takes && payload) {
      ++taken;
      ASSERT_EQ(*payload, parsed.payload());
    } else if (protobuf_takes) {
      const auto& unknown = parsed.GetReflection()->GetUnknownFields(parsed);
      bool group = false;
      for (int i = 0; i < unknown.field_count(); ++i) {
        group = group || unknown.field(i).type() == google::protobuf::UnknownField::TYPE_GROUP;
      }
      ASSERT_TRUE(group) << "we refuse what protobuf takes";
    }
  }
  EXPECT_GT(taken, 1000);
}

grpc_byte_buffer* Message(const std::string& bytes) {
  grpc_slice slice = grpc_slice_from_copied_buffer(bytes.data(), bytes.size());
  grpc_byte_buffer* buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return buffer;
}

std::string Encoded(const std::string& payload) {
  generic::Event event;
  event.set_payload(payload);
  return event.SerializeAsString();
}

TEST(Batch, BuildsEventsOfOneBlock) {
  Batch batch(1000, "application/json");
  batch.Add(Message(Encoded("one")));
  batch.Add(Message(Encoded("")));
  batch.Add(Message(Encoded("three")));
  const Batch::Built built = batch.Build();
  ASSERT_EQ(built.count, 3u);
  EXPECT_FALSE(built.damaged);
  EXPECT_EQ(penstock::View(built.events[0].payload), "one");
  EXPECT_EQ(penstock::View(built.events[1].payload), "");
  EXPECT_EQ(penstock::View(built.events[2].payload), "three");
  EXPECT_EQ(penstock::View(built.events[2].content_type), "application/json");
  EXPECT_EQ(built.events[0].owner, built.events[2].owner);
  EXPECT_TRUE(batch.Empty());
  Batch::Release(built.events, 1);
  EXPECT_EQ(penstock::View(built.events[2].payload), "three");
  Batch::Release(built.events + 1, 2);
}

TEST(Batch, DamageEndsItAndKeepsWhatCameBefore) {
  Batch batch(1000, "");
  batch.Add(Message(Encoded("one")));
  batch.Add(Message("\x12"));
  batch.Add(Message(Encoded("three")));
  const Batch::Built built = batch.Build();
  EXPECT_TRUE(built.damaged);
  ASSERT_EQ(built.count, 1u);
  Batch::Release(built.events, built.count);
}

TEST(Batch, OnlyDamage) {
  Batch batch(1000, "");
  batch.Add(Message("\x12"));
  const Batch::Built built = batch.Build();
  EXPECT_TRUE(built.damaged);
  EXPECT_EQ(built.count, 0u);
}

TEST(Batch, IsFullByBytesAndByCount) {
  Batch by_bytes(100, "");
  EXPECT_FALSE(by_bytes.Full());
  by_bytes.Add(Message(Encoded(std::string(200, 'x'))));
  EXPECT_TRUE(by_bytes.Full());
  Batch by_count(1 << 20, "");
  for (size_t i = 0; i < Batch::kMaxEvents; ++i) {
    EXPECT_FALSE(by_count.Full());
    by_count.Add(Message(""));
  }
  EXPECT_TRUE(by_count.Full());
}

TEST(Backoff, DoublesToMaxAndJitterOnlyShortens) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    Backoff backoff(milliseconds(100), milliseconds(1000), seed);
    for (const int full : {100, 200, 400, 800, 1000, 1000, 1000}) {
      const auto pause = backoff.Next();
      EXPECT_LE(pause, milliseconds(full));
      EXPECT_GE(pause, milliseconds(full * 3 / 4));
    }
    backoff.Reset();
    EXPECT_LE(backoff.Next(), milliseconds(100));
  }
}

TEST(Backoff, LongestIsNotShortenedAndStays) {
  Backoff backoff(milliseconds(1), milliseconds(10), 1);
  EXPECT_EQ(backoff.Longest(seconds(1)), seconds(1));
  EXPECT_GE(backoff.Next(), milliseconds(7));
  Backoff slow(milliseconds(1), seconds(10), 1);
  EXPECT_EQ(slow.Longest(seconds(1)), seconds(10));
}

TEST(Url, WhatIsTaken) {
  const auto grpc = [](const char* url) { return ParseUrl(url).grpc; };
  EXPECT_EQ(grpc("orders.internal:8080"), "dns:///orders.internal:8080");
  EXPECT_EQ(grpc("127.0.0.1:1"), "dns:///127.0.0.1:1");
  EXPECT_EQ(grpc("[::1]:65535"), "dns:///[::1]:65535");
  EXPECT_EQ(grpc("dns:///orders:80"), "dns:///orders:80");
  EXPECT_EQ(grpc("unix:/run/a.sock"), "unix:/run/a.sock");
  EXPECT_EQ(grpc("unix:///run/a.sock"), "unix:/run/a.sock");
}

TEST(Url, Local) {
  for (const char* url : {"localhost:80", "127.1.2.3:80", "[::1]:80", "unix:/a"}) {
    EXPECT_TRUE(ParseUrl(url).local) << url;
  }
  EXPECT_FALSE(ParseUrl("orders:80").local);
}

TEST(Url, WhatIsRefusedSaysWhatToWrite) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "write host:port"},
      {"orders", "has no port: write \"orders:8080\""},
      {"http://orders:8080/", "write \"orders:8080\", with insecure = true"},
      {"https://orders",
       "write \"orders\" and its port, as in \"orders:8080\"; TLS is the default"},
      {"grpc://orders:80", "cannot begin with \"grpc://\""},
      {"orders:0", "a port from 1 to 65535"},
      {"orders:65536", "a port from 1 to 65535"},
      {"orders:http", "a port from 1 to 65535"},
      {"orders:", "a port from 1 to 65535"},
      {"orders:80/path", "a port from 1 to 65535"},
      {"::1:80", "in brackets"},
      {"[::1]", "has no port"},
      {":80", "has no host"},
      {"a b:80", "a space"},
      {"unix:run/a.sock", "an absolute path"},
      {"unix:", "an absolute path"},
  };
  for (const auto& [url, words] : wrong) {
    EXPECT_NE(ParseUrl(url).error.find(words), std::string::npos)
        << "\"" << url << "\": " << ParseUrl(url).error;
  }
}

// The option table and its check as the host sees them.
const penstock_plugin& Plugin() { return penstock::fakes::LoadPlugin(PENSTOCK_SOURCE_FILE); }

std::vector<std::pair<int32_t, std::string>> Findings(penstock::fakes::Values values) {
  std::vector<std::pair<int32_t, std::string>> out;
  for (const auto& finding : penstock::fakes::Check(Plugin(), values)) {
    out.emplace_back(finding.severity, finding.option);
  }
  return out;
}

TEST(Check, FindsWhatContradicts) {
  using Found = std::vector<std::pair<int32_t, std::string>>;
  const std::string url = "orders:8080";
  EXPECT_EQ(Findings({{"url", url}}), Found{});
  EXPECT_EQ(Findings({{"url", url}, {"insecure", true}}), Found{});
  EXPECT_EQ(Findings({{"url", "http://orders:8080"}}), (Found{{PENSTOCK_ERROR, "url"}}));
  EXPECT_EQ(Findings({{"url", url}, {"insecure", true}, {"tls.ca_file", "/ca.pem"}}),
            (Found{{PENSTOCK_ERROR, "tls.ca_file"}}));
  EXPECT_EQ(Findings({{"url", url}, {"tls.cert_file", "/c.pem"}}),
            (Found{{PENSTOCK_ERROR, "tls.cert_file"}}));
  EXPECT_EQ(Findings({{"url", url}, {"tls.key_file", "/c.key"}}),
            (Found{{PENSTOCK_ERROR, "tls.key_file"}}));
  EXPECT_EQ(Findings({{"url", url}, {"reconnect.initial", seconds(2)}}),
            (Found{{PENSTOCK_ERROR, "reconnect.initial"}}));
  EXPECT_EQ(Findings({{"url", url}, {"keepalive_time", seconds(30)}}),
            (Found{{PENSTOCK_NOTICE, "keepalive_time"}}));
  EXPECT_EQ(Findings({{"url", url}, {"insecure", true}, {"auth_token_file", "env:T"}}),
            (Found{{PENSTOCK_WARNING, "auth_token_file"}}));
  EXPECT_EQ(Findings({{"url", url}, {"adaptive_window", true}, {"read_ahead", int64_t{65536}}}),
            (Found{{PENSTOCK_ERROR, "read_ahead"}}));
}

// What the check says that such a source may hold before the queue.
uint64_t Holds(penstock::fakes::Values values) {
  values.insert({"url", "orders:8080"});
  uint64_t bytes = 0;
  EXPECT_TRUE(penstock::fakes::Check(Plugin(), values, &bytes).empty());
  return bytes;
}

TEST(Check, SaysWhatASourceMayHold) {
  EXPECT_EQ(Holds({}), 512u * 1024);
  EXPECT_EQ(Holds({{"read_ahead", int64_t{64 * 1024}}}), 64u * 1024);
  EXPECT_EQ(Holds({{"read_ahead", int64_t{2 * 1024 * 1024}}}), 2u * 1024 * 1024);
  EXPECT_EQ(Holds({{"adaptive_window", true}}), (32u * 1024 + 256) * 1024);
}

TEST(State, OneReportForAChangeAndNoneForShortStreams) {
  penstock::fakes::FakeSourceHost host;
  StateReporter state(penstock::Host(host.abi()), "orders:80");
  const auto states = [&] {
    std::string out;
    for (const auto& [reported, text] : host.states()) out += std::to_string(reported);
    return out;
  };
  auto now = StateReporter::Clock::time_point(seconds(1));
  state.Start();
  state.Down("refused", "soon", now);
  EXPECT_EQ(states(), "11") << "the first reason is told";
  state.Down("refused", "soon", now += seconds(60));
  EXPECT_EQ(states(), "11") << "the same reason is not told again";
  state.Down("no route", "soon", now += seconds(1));
  EXPECT_EQ(states(), "111");
  state.Up(now += seconds(1));
  EXPECT_EQ(states(), "1112");
  state.Down("ended", "soon", now += seconds(1));
  state.Up(now += seconds(1));
  EXPECT_EQ(states(), "1112") << "a short stream changes nothing";
  state.Down("ended", "soon", now += seconds(1));
  state.Down("refused", "soon", now += seconds(1));
  EXPECT_EQ(states(), "11121") << "unless the next attempt fails";
  state.Up(now += seconds(1));
  state.Down("ended", "soon", now += seconds(60));
  EXPECT_EQ(states(), "1112121") << "the end of a long one is told at once";
}

}  // namespace
}  // namespace penstock_generic
