#include "gateway/exposition.h"

#include <gmock/gmock.h>
#include <penstock/plugin.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

namespace penstock::gateway {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kAbi =
    std::to_string(PENSTOCK_ABI_MAJOR) + "." + std::to_string(PENSTOCK_ABI_MINOR);

SourceStatus MakeSource(const std::string& name) {
  SourceStatus source;
  source.name = name;
  source.plugin = "generic";
  source.state = "connecting";
  source.since_ns = 1'500'000'000;
  source.queue.storage = "disk";
  source.queue.when_full = "drop_newest";
  source.queue.events = 4;
  source.queue.max_events = 1'000'000'000;
  source.queue.bytes = 512;
  source.queue.max_bytes = uint64_t{1} << 40;
  source.queue.dropped_newest = 30;
  source.dropped_before = 10;
  source.queue.unstored = 1;
  source.received = 130;
  source.received_before = 100;
  source.letters = LettersStatus{"hold", 2, 100, 64, 4096, 5, 6};
  return source;
}

RouteStatus MakeRoute(const std::string& source, const std::string& sink) {
  RouteStatus route;
  route.ledger.source = route.at_start.source = source;
  route.ledger.sink = route.at_start.sink = sink;
  route.at_start.received = 100;
  route.at_start.delivered = 60;
  route.at_start.dead_lettered = 5;
  route.at_start.dropped = {10, 0, 0, 0, 0, 0, 15};
  route.at_start.pending = 10;
  route.ledger.received = 139;
  route.ledger.delivered = 70;
  route.ledger.dead_lettered = 6;
  route.ledger.dropped = {30, 1, 2, 0, 0, 0, 15, 4, 5};
  route.ledger.pending = 6;
  route.ledger.retries = 11;
  route.ledger.unknown = 3;
  route.ledger.duplicates = 2;
  route.ledger.duplicates_at_once = 1;
  route.ledger.reordered = 7;
  route.ledger.filter_errors = 8;
  route.oldest_pending = TimePoint(std::chrono::milliseconds(7500));
  route.failures = 2;
  route.held = 1;
  return route;
}

GatewayStatus Example() {
  GatewayStatus status;
  status.name = "edge \"1\"";
  status.version = "1.2.3";
  status.state = "running";
  status.started_ns = 1'700'000'000'250'000'000;
  status.now = TimePoint(std::chrono::seconds(10));
  status.memory_used = 1000;
  status.memory_limit = 268435456;
  status.store = StoreStatus{"/s", "full", "no space"};
  status.sources = {MakeSource("orders")};
  status.sinks.resize(1);
  status.sinks[0].name = "bus";
  status.sinks[0].plugin = "nats-jetstream";
  status.sinks[0].state = "ready";
  status.sinks[0].since_ns = 2'000'000'000;
  status.routes = {MakeRoute("orders", "bus")};
  return status;
}

std::vector<MetricTable::Reading> PluginMetrics() {
  return {{"source orders", "generic", "received_total", "Events\nreceived \\", 1, 12},
          {"sink bus", "nats-jetstream", "connects", "Connections", 1, 3},
          {"sink bus", "nats-jetstream", "waiting", "Waiting", 2, 4},
          {"sink bus", "kafka", "gone_total", "of the plugin before a reload", 1, 5},
          {"sink lake", "kafka", "gone_total", "of a sink that there was", 1, 6}};
}

std::string Text(GatewayStatus status) {
  ProcessCounters().Apply(&status);
  return Exposition(status, PluginMetrics(), {1 << 20, 1 << 30, 1.5, 20, 1024});
}

// Without the lines of comment.
std::vector<std::string> Samples(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('#')) out.push_back(line);
  }
  return out;
}

std::vector<std::string> RouteLines() {
  const std::string route = "{source=\"orders\",sink=\"bus\"";
  return {"penstock_route_recovered_events" + route + "} 10",
          "penstock_route_received_events_total" + route + "} 39",
          "penstock_route_delivered_events_total" + route + "} 10",
          "penstock_route_dead_lettered_events_total" + route + "} 1",
          "penstock_route_pending_events" + route + "} 6",
          "penstock_route_retries_total" + route + "} 11",
          "penstock_route_unknown_answers_total" + route + "} 3",
          "penstock_route_reordered_events_total" + route + "} 7",
          "penstock_route_filter_errors_total" + route + "} 8",
          "penstock_route_failures_in_a_row" + route + "} 2",
          "penstock_route_held_events" + route + "} 1",
          "penstock_route_dropped_events_total" + route + ",reason=\"when_full\"} 20",
          "penstock_route_dropped_events_total" + route + ",reason=\"behind\"} 1",
          "penstock_route_dropped_events_total" + route + ",reason=\"rejected\"} 2",
          "penstock_route_dropped_events_total" + route + ",reason=\"unencodable\"} 0",
          "penstock_route_dropped_events_total" + route + ",reason=\"corrupted\"} 0",
          "penstock_route_dropped_events_total" + route + ",reason=\"retry_limit\"} 0",
          "penstock_route_dropped_events_total" + route + ",reason=\"forgotten\"} 0",
          "penstock_route_dropped_events_total" + route + ",reason=\"filtered\"} 4",
          "penstock_route_dropped_events_total" + route + ",reason=\"filter_error\"} 5",
          "penstock_route_duplicate_events_total" + route + ",attempt=\"first\"} 1",
          "penstock_route_duplicate_events_total" + route + ",attempt=\"later\"} 2",
          "penstock_route_oldest_pending_age_seconds" + route + "} 2.5"};
}

TEST(Exposition, HasALineForEachNumber) {
  const std::string source = "{source=\"orders\"";
  std::vector<std::string> expected = {
      "penstock_build_info{version=\"1.2.3\",abi=\"" + kAbi + "\"} 1",
      "penstock_gateway_info{name=\"edge \\\"1\\\"\"} 1",
      "penstock_gateway_state{state=\"starting\"} 0",
      "penstock_gateway_state{state=\"running\"} 1",
      "penstock_gateway_state{state=\"stopping\"} 0",
      "penstock_memory_used_bytes 1000",
      "penstock_memory_limit_bytes 268435456",
      "penstock_store_state{state=\"good\"} 0",
      "penstock_store_state{state=\"full\"} 1",
      "penstock_store_state{state=\"failed\"} 0",
      "penstock_source_info" + source +
          ",plugin=\"generic\",storage=\"disk\",when_full=\"drop_newest\"} 1",
      "penstock_source_state" + source + ",state=\"starting\"} 0",
      "penstock_source_state" + source + ",state=\"connecting\"} 1",
      "penstock_source_state" + source + ",state=\"ready\"} 0",
      "penstock_source_state" + source + ",state=\"running\"} 0",
      "penstock_source_state" + source + ",state=\"failed\"} 0",
      "penstock_source_state" + source + ",state=\"finished\"} 0",
      "penstock_source_state" + source + ",state=\"stopped\"} 0",
      "penstock_source_state_change_timestamp_seconds" + source + "} 1.5",
      "penstock_source_received_events_total" + source + "} 30",
      "penstock_source_dropped_events_total" + source + "} 20",
      "penstock_queue_events" + source + "} 4",
      "penstock_queue_limit_events" + source + "} 1000000000",
      "penstock_queue_bytes" + source + "} 512",
      "penstock_queue_limit_bytes" + source + "} 1099511627776",
      "penstock_queue_unstored_events" + source + "} 1",
      "penstock_dead_letter_events" + source + "} 2",
      "penstock_dead_letter_limit_events" + source + "} 100",
      "penstock_dead_letter_bytes" + source + "} 64",
      "penstock_dead_letter_limit_bytes" + source + "} 4096",
      "penstock_dead_letter_replayed_events_total" + source + "} 5",
      "penstock_dead_letter_dropped_events_total" + source + "} 6",
      "penstock_sink_info{sink=\"bus\",plugin=\"nats-jetstream\"} 1",
      "penstock_sink_state{sink=\"bus\",state=\"starting\"} 0",
      "penstock_sink_state{sink=\"bus\",state=\"connecting\"} 0",
      "penstock_sink_state{sink=\"bus\",state=\"ready\"} 1",
      "penstock_sink_state{sink=\"bus\",state=\"failed\"} 0",
      "penstock_sink_state_change_timestamp_seconds{sink=\"bus\"} 2"};
  for (const std::string& line : RouteLines()) expected.push_back(line);
  const std::vector<std::string> last = {
      "penstock_plugin_generic_received_total{source=\"orders\"} 12",
      "penstock_plugin_nats_jetstream_connects_total{sink=\"bus\"} 3",
      "penstock_plugin_nats_jetstream_waiting{sink=\"bus\"} 4",
      "process_start_time_seconds 1700000000.25",
      "process_cpu_seconds_total 1.5",
      "process_resident_memory_bytes 1048576",
      "process_virtual_memory_bytes 1073741824",
      "process_open_fds 20",
      "process_max_fds 1024"};
  expected.insert(expected.end(), last.begin(), last.end());
  EXPECT_THAT(Samples(Text(Example())), ElementsAreArray(expected));
}

TEST(Exposition, EachFamilyStandsOnceWithHelpAndType) {
  std::istringstream lines(Text(Example()));
  std::set<std::string> seen;
  std::string name, type;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      name = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(seen.insert(name).second) << name << " stands twice";
      EXPECT_GT(line.size(), 7 + name.size() + 1) << name << " has no help";
    } else if (line.starts_with("# TYPE ")) {
      ASSERT_TRUE(line.starts_with("# TYPE " + name + " ")) << line;
      type = line.substr(8 + name.size());
      EXPECT_EQ(type == "counter", name.ends_with("_total")) << line;
      EXPECT_TRUE(type == "counter" || type == "gauge") << line;
    } else {
      EXPECT_TRUE(line.starts_with(name + "{") || line.starts_with(name + " ")) << line;
    }
  }
}

TEST(Exposition, AFamilyWithoutNumbersIsLeftOut) {
  const std::string text = Text(GatewayStatus());
  EXPECT_THAT(text, HasSubstr("penstock_memory_used_bytes 0\n"));
  for (const char* part :
       {"_source_", "_sink_", "_queue_", "_letter_", "_route_", "_plugin_", "_store_"})
    EXPECT_THAT(text, Not(HasSubstr(part)));
}

TEST(Exposition, TheAgeOfTheOldestIs0WithoutOneAndAbsentWhenUnknown) {
  const std::string age = "penstock_route_oldest_pending_age_seconds{";
  GatewayStatus status = Example();
  status.routes[0].ledger.pending = 0;
  status.routes[0].oldest_pending.reset();
  EXPECT_THAT(Text(status), HasSubstr(age + "source=\"orders\",sink=\"bus\"} 0\n"));
  status.routes[0].ledger.pending = 1;
  EXPECT_THAT(Text(status), Not(HasSubstr(age)));
}

TEST(Exposition, AStateThatNobodyKnowsIsShownToo) {
  GatewayStatus status = Example();
  status.sinks[0].state = "unknown";
  EXPECT_THAT(Text(status), HasSubstr("penstock_sink_state{sink=\"bus\",state=\"failed\"} 0\n"
                                      "penstock_sink_state{sink=\"bus\",state=\"unknown\"} 1\n"));
}

TEST(Exposition, WhatAPluginWritesStaysOneLineAndOneType) {
  GatewayStatus status = Example();
  EXPECT_THAT(Text(status),
              HasSubstr("# HELP penstock_plugin_generic_received_total Events?received ?\n"));
  status.sinks.resize(2);
  status.sinks[0].plugin = "a";
  status.sinks[1].name = "other";
  status.sinks[1].plugin = "a-b";
  const std::string text = Exposition(status,
                                      {{"sink bus", "a", "b_c_total", "first", 1, 1},
                                       {"sink bus", "a", "b_c", "its twin", 1, 2},
                                       {"sink other", "a-b", "c_total", "second", 2, 3}},
                                      {});
  EXPECT_THAT(text, HasSubstr("# HELP penstock_plugin_a_b_c_total first\n"
                              "# TYPE penstock_plugin_a_b_c_total untyped\n"
                              "penstock_plugin_a_b_c_total{sink=\"bus\"} 1\n"
                              "penstock_plugin_a_b_c_total{sink=\"other\"} 3\n"));
}

TEST(Exposition, TheDocumentationHasAllFamiliesAndNoOther) {
  std::ifstream file(PENSTOCK_DOCS_DIR "/monitoring.md");
  std::stringstream read;
  read << file.rdbuf();
  const std::string docs = read.str();
  std::set<std::string> names;
  std::istringstream lines(Text(Example()));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# TYPE ") || line.starts_with("# TYPE penstock_plugin_")) continue;
    const std::string& name = *names.insert(line.substr(7, line.find(' ', 7) - 7)).first;
    EXPECT_THAT(docs, HasSubstr("`" + name + "`"));
  }
  const std::string letters = "abcdefghijklmnopqrstuvwxyz_";
  for (size_t at = docs.find("penstock_"); at != std::string::npos;) {
    const size_t end = std::min(docs.find_first_not_of(letters, at), docs.size());
    const std::string name = docs.substr(at, end - at);
    if (!name.starts_with("penstock_plugin_") && name != "penstock_") {
      EXPECT_TRUE(names.contains(name)) << name << " is no metric";
    }
    at = docs.find("penstock_", end);
  }
}

// ---- the counters of a process

uint64_t Delivered(ProcessCounters* counters, GatewayStatus status) {
  counters->Apply(&status);
  return status.routes.at(0).ledger.delivered;
}

TEST(ProcessCounters, BalanceWithWhatWasFoundAtTheStart) {
  GatewayStatus status = Example();
  ASSERT_TRUE(status.routes[0].ledger.Balances() && status.routes[0].at_start.Balances());
  ProcessCounters().Apply(&status);
  const delivery::Ledger& ledger = status.routes[0].ledger;
  EXPECT_EQ(ledger.received + status.routes[0].at_start.pending,
            ledger.delivered + ledger.dead_lettered + ledger.dropped_total() + ledger.pending);
}

TEST(ProcessCounters, DoNotGoBackWhereAPartCountsAnew) {
  ProcessCounters counters;
  GatewayStatus status = Example();
  EXPECT_EQ(Delivered(&counters, status), 10u);
  status.routes[0].ledger.delivered = 75;
  EXPECT_EQ(Delivered(&counters, status), 15u);
  EXPECT_EQ(Delivered(&counters, status), 15u);
  // The sink is made anew: its ledger goes on where it was, or begins again.
  status.routes[0].at_start.delivered = status.routes[0].ledger.delivered = 75;
  EXPECT_EQ(Delivered(&counters, status), 15u);
  status.routes[0].ledger.delivered = 77;
  EXPECT_EQ(Delivered(&counters, status), 17u);
  status.routes[0].at_start = status.routes[0].ledger = delivery::Ledger();
  status.routes[0].ledger.source = "orders";
  status.routes[0].ledger.sink = "bus";
  EXPECT_EQ(Delivered(&counters, status), 17u);
  status.routes[0].ledger.delivered = 3;
  EXPECT_EQ(Delivered(&counters, status), 20u);
  // Gone, and there again.
  GatewayStatus without = Example();
  without.routes.clear();
  counters.Apply(&without);
  status.routes[0].ledger.delivered = 1;
  EXPECT_EQ(Delivered(&counters, status), 21u);
}

TEST(ProcessCounters, OfDeadLettersStandStillWhileTheStoreCannotBeRead) {
  ProcessCounters counters;
  GatewayStatus status = Example();
  counters.Apply(&status);
  EXPECT_EQ(status.sources[0].letters->replayed, 5u);
  GatewayStatus unread = Example();
  unread.sources[0].letters->replayed = 0;
  counters.Apply(&unread);
  EXPECT_EQ(unread.sources[0].letters->replayed, 5u);
  GatewayStatus later = Example();
  later.sources[0].letters->replayed = 6;
  counters.Apply(&later);
  EXPECT_EQ(later.sources[0].letters->replayed, 6u);
}

TEST(ProcessCounters, OfTwoPartsWithOneNameTheLaterStays) {
  GatewayStatus status = Example();
  status.routes.push_back(MakeRoute("orders", "lake"));
  status.routes.push_back(MakeRoute("orders", "bus"));
  status.routes[2].ledger.delivered = 61;
  status.sinks.push_back(status.sinks[0]);
  status.sinks[1].state = "connecting";
  ProcessCounters().Apply(&status);
  ASSERT_EQ(status.sinks.size(), 1u);
  EXPECT_EQ(status.sinks[0].state, "connecting");
  ASSERT_EQ(status.routes.size(), 2u);
  EXPECT_EQ(status.routes[0].ledger.sink, "lake");
  EXPECT_EQ(status.routes[1].ledger.delivered, 1u);
}

}  // namespace
}  // namespace penstock::gateway
