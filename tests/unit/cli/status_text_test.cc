#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/status_command.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;

Json Example() {
  return Json::parse(R"({
    "gateway": {"name": "edge-1", "version": "0.1.0", "state": "running", "pid": 42,
                "started": "2026-01-02T03:04:05Z", "uptime_seconds": 11525.0,
                "rates_over_seconds": 1.0},
    "memory": {"used": 1258291, "limit": 268435456},
    "sources": [
      {"name": "orders", "plugin": "generic", "state": "ready", "reason": "",
       "since": "2026-01-02T03:04:05Z", "seconds_in_state": 61.0, "received_per_second": 1234.5,
       "queue": {"storage": "memory", "when_full": "block", "events": 3, "max_events": 16384,
                 "bytes": 2048, "max_bytes": 33554432, "begin": 7, "end": 10,
                 "dropped_newest": 0},
       "dead_letters": null}],
    "sinks": [
      {"name": "bus", "plugin": "kafka", "state": "connecting", "reason": "no\nbroker",
       "since": "2026-01-02T03:04:05Z", "seconds_in_state": 0.25}],
    "routes": [
      {"source": "orders", "sink": "bus",
       "ledger": {"received": 10, "delivered": 5, "dead_lettered": 1,
                  "dropped": {"when_full": 0, "behind": 1}, "pending": 3, "retries": 2,
                  "unknown": 0, "duplicates": 0, "duplicates_at_once": 0, "reordered": 0,
                  "filter_errors": 0},
       "cursor": {"committed": 7, "next": 9}, "oldest_pending_seconds": 1.5,
       "delivered_per_second": 2.5,
       "backoff": {"failures": 2, "reason": "no stream", "seconds_to_next_try": 0.3},
       "held": null}]})");
}

TEST(StatusText, IsTablesWithTheReasonsBelow) {
  EXPECT_EQ(StatusText(Example()),
            R"(gateway edge-1: running for 3h12m, penstock 0.1.0, pid 42
memory: 1.2MiB of 256MiB

SOURCE  PLUGIN   STATE  FOR   RATE    QUEUE   EVENTS      SIZE             WHEN FULL  DROPPED
orders  generic  ready  1m1s  1234/s  memory  3 of 16384  2.0KiB of 32MiB  block      0

SINK  PLUGIN  STATE       FOR
bus   kafka   connecting  250ms
    no?broker

ROUTE          RATE   RECEIVED  DELIVERED  DEAD LETTERS  DROPPED  PENDING  OLDEST
orders -> bus  2.5/s  10        5          1             1        3        1.5s
    next try in 300ms, 2 failed in a row: no stream; dropped as behind 1; 2 retries
)");
}

TEST(StatusText, TheStoreIsNamedWhereThereIsOne) {
  Json status = Example();
  status["store"] = nullptr;
  EXPECT_EQ(StatusText(status).find("store"), std::string::npos);
  status["store"] = {{"directory", "/s"}, {"state", "good"}, {"reason", ""}};
  EXPECT_NE(StatusText(status).find("of 256MiB\nstore: good, /s\n\nSOURCE"), std::string::npos);
  status["store"] = {{"directory", "/s"}, {"state", "full"}, {"reason", "no space left"}};
  EXPECT_NE(StatusText(status).find("store: full, /s: no space left\n\n"), std::string::npos);
}

TEST(StatusText, ShowsDeadLettersAndTheRouteThatWaitsForRoomAmongThem) {
  Json status = Example();
  Json& letters = status["sources"][0]["dead_letters"];
  letters = {{"when_full", "hold"}, {"events", 0},   {"max_events", 3}, {"bytes", 0},
             {"max_bytes", 4096},   {"replayed", 9}, {"dropped", 0}};
  EXPECT_EQ(StatusText(status).find("dead letters:"), std::string::npos);
  letters["events"] = 3;
  letters["bytes"] = 2048;
  letters["dropped"] = 5;
  EXPECT_NE(StatusText(status).find(
                "\n    dead letters: 3 of 3, 2.0KiB of 4KiB; when full hold; dropped 5\n"),
            std::string::npos)
      << StatusText(status);
  status["routes"][0]["held"] = {
      {"events", 1}, {"reason", "no room; make some"}, {"first", "too large"}};
  EXPECT_NE(
      StatusText(status).find(
          "stopped: 1 event waits, no room; make some (the\n    first: too large); dropped as"),
      std::string::npos)
      << StatusText(status);
}

TEST(StatusText, WhatIsNotKnownIsADash) {
  Json status = Example();
  status["sources"][0]["received_per_second"] = nullptr;
  status["routes"][0]["oldest_pending_seconds"] = nullptr;
  status["routes"][0]["backoff"] = nullptr;
  const std::string text = StatusText(status);
  EXPECT_NE(text.find("ready  1m1s  -     memory"), std::string::npos) << text;
  EXPECT_NE(text.find("3        -\n    dropped as behind 1; 2 retries\n"), std::string::npos)
      << text;
}

TEST(StatusText, AnotherGatewaysAnswerIsAnException) {
  EXPECT_THROW(StatusText(Json::object()), Json::exception);
  Json status = Example();
  status["routes"][0]["ledger"].erase("retries");
  EXPECT_THROW(StatusText(status), Json::exception);
  status = Example();
  status["sinks"] = 5;
  EXPECT_THROW(StatusText(status), Json::exception);
}

}  // namespace
}  // namespace penstock::cli
