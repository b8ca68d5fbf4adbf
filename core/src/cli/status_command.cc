#include "cli/status_command.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "admin/client.h"
#include "cli/text.h"
#include "cli/watch.h"
#include "config/config.h"
#include "gateway/gateway.h"
#include "plugin/elf.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;
using plugin::Printable;

constexpr auto kForRates = std::chrono::seconds(1);

// ---- asking

Result<std::string> Ask(const std::string& socket) {
  Result<admin::Reply> reply = admin::Client(socket).Call("GET", "/status");
  if (!reply) return tl::unexpected(reply.error());
  if (reply->status == 200) return std::move(reply->body);
  return Fail(Code::kReject, "the gateway on " + socket + " answered " +
                                 std::to_string(reply->status) + ": " + Printable(reply->body));
}

int Failed(const Error& error, std::ostream& err) {
  err << "penstock: " << error.message << "\n";
  return gateway::kExitFailure;
}

// ---- for people

std::string Number(const Json& value) { return std::to_string(value.get<uint64_t>()); }

std::string Seconds(const Json& value) {
  return value.is_null() ? "-" : RoundedDuration(value.get<double>());
}

std::string RateText(const Json& value) {
  if (value.is_null()) return "-";
  const double rate = value.get<double>();
  char text[32];
  std::snprintf(text, sizeof text, rate > 0 && rate < 10 ? "%.1f/s" : "%.0f/s", rate);
  return text;
}

std::string Filled(const Json& used, const Json& limit) {
  return RoundedSize(used.get<uint64_t>()) + " of " + FormatSize(limit.get<int64_t>());
}

uint64_t Total(const Json& counters) {
  uint64_t sum = 0;
  for (const auto& [name, n] : counters.items()) sum += n.get<uint64_t>();
  return sum;
}

// Nothing where no queue is on disk.
std::string StoreText(const Json& status) {
  const auto store = status.find("store");
  if (store == status.end() || store->is_null()) return "";
  const std::string reason = store->at("reason").get<std::string>();
  return "store: " + store->at("state").get<std::string>() + ", " +
         Printable(store->at("directory").get<std::string>()) +
         (reason.empty() ? "" : ": " + Printable(reason)) + "\n";
}

std::string HeadText(const Json& status) {
  const Json& gateway = status.at("gateway");
  return "gateway " + Printable(gateway.at("name").get<std::string>()) + ": " +
         gateway.at("state").get<std::string>() + " for " + Seconds(gateway.at("uptime_seconds")) +
         ", penstock " + Printable(gateway.at("version").get<std::string>()) + ", pid " +
         std::to_string(gateway.at("pid").get<int64_t>()) +
         "\nmemory: " + Filled(status.at("memory").at("used"), status.at("memory").at("limit")) +
         "\n" + StoreText(status);
}

std::vector<std::string> InstanceCells(const Json& instance) {
  return {Printable(instance.at("name").get<std::string>()),
          Printable(instance.at("plugin").get<std::string>()),
          Printable(instance.at("state").get<std::string>()),
          Seconds(instance.at("seconds_in_state"))};
}

// The dead letters that are kept; empty: there are none, and never were.
std::string LettersNote(const Json& source) {
  const Json& letters = source.at("dead_letters");
  if (letters.is_null()) return "";
  const uint64_t dropped = letters.at("dropped").get<uint64_t>();
  const uint64_t events = letters.at("events").get<uint64_t>();
  if (events + dropped == 0) return "";
  return "dead letters: " + std::to_string(events) + " of " + Number(letters.at("max_events")) +
         ", " + Filled(letters.at("bytes"), letters.at("max_bytes")) + "; when full " +
         Printable(letters.at("when_full").get<std::string>()) + "; dropped " +
         std::to_string(dropped);
}

std::string SourcesText(const Json& sources) {
  std::vector<Row> rows = {{{"SOURCE", "PLUGIN", "STATE", "FOR", "RATE", "QUEUE", "EVENTS", "SIZE",
                             "WHEN FULL", "DROPPED"},
                            ""}};
  for (const Json& source : sources) {
    const Json& queue = source.at("queue");
    Row row{InstanceCells(source), Printable(source.at("reason").get<std::string>())};
    if (const std::string note = LettersNote(source); !note.empty())
      row.note += (row.note.empty() ? "" : "; ") + note;
    for (std::string cell :
         {RateText(source.at("received_per_second")), queue.at("storage").get<std::string>(),
          Number(queue.at("events")) + " of " + Number(queue.at("max_events")),
          Filled(queue.at("bytes"), queue.at("max_bytes")),
          queue.at("when_full").get<std::string>(), Number(queue.at("dropped_newest"))})
      row.cells.push_back(std::move(cell));
    rows.push_back(std::move(row));
  }
  return Table(rows);
}

std::string SinksText(const Json& sinks) {
  std::vector<Row> rows = {{{"SINK", "PLUGIN", "STATE", "FOR"}, ""}};
  for (const Json& sink : sinks)
    rows.push_back({InstanceCells(sink), Printable(sink.at("reason").get<std::string>())});
  return Table(rows);
}

// What is out of the ordinary on a route.
std::string RouteNote(const Json& route) {
  std::vector<std::string> notes;
  const Json& backoff = route.at("backoff");
  if (!backoff.is_null()) {
    const double wait = backoff.at("seconds_to_next_try").get<double>();
    notes.push_back((wait > 0 ? "next try in " + RoundedDuration(wait) : "trying again") + ", " +
                    Number(backoff.at("failures")) +
                    " failed in a row: " + Printable(backoff.at("reason").get<std::string>()));
  }
  const Json& held = route.at("held");
  if (!held.is_null()) {
    notes.push_back("stopped: " + Number(held.at("events")) +
                    (held.at("events") == 1 ? " event waits, " : " events wait, ") +
                    Printable(held.at("reason").get<std::string>()) +
                    " (the first: " + Printable(held.at("first").get<std::string>()) + ")");
  }
  const Json& ledger = route.at("ledger");
  for (const auto& [reason, n] : ledger.at("dropped").items()) {
    if (n.get<uint64_t>() > 0) notes.push_back("dropped as " + Printable(reason) + " " + Number(n));
  }
  const std::pair<const char*, const char*> counters[] = {
      {"retries", "retries"},
      {"unknown", "answers unknown"},
      {"duplicates", "duplicates suppressed by the bus"},
      {"duplicates_at_once", "duplicates at the first attempt"},
      {"reordered", "reordered"},
      {"filter_errors", "filter errors"}};
  for (const auto& [key, words] : counters) {
    if (ledger.at(key).get<uint64_t>() > 0) notes.push_back(Number(ledger.at(key)) + " " + words);
  }
  std::string out;
  for (const std::string& note : notes) out += (out.empty() ? "" : "; ") + note;
  return out;
}

std::string RoutesText(const Json& routes) {
  std::vector<Row> rows = {
      {{"ROUTE", "RATE", "RECEIVED", "DELIVERED", "DEAD LETTERS", "DROPPED", "PENDING", "OLDEST"},
       ""}};
  for (const Json& route : routes) {
    const Json& ledger = route.at("ledger");
    rows.push_back({{Printable(route.at("source").get<std::string>()) + " -> " +
                         Printable(route.at("sink").get<std::string>()),
                     RateText(route.at("delivered_per_second")), Number(ledger.at("received")),
                     Number(ledger.at("delivered")), Number(ledger.at("dead_lettered")),
                     std::to_string(Total(ledger.at("dropped"))), Number(ledger.at("pending")),
                     Seconds(route.at("oldest_pending_seconds"))},
                    RouteNote(route)});
  }
  return Table(rows);
}

Error NotUnderstood(const std::string& socket, const Json::exception& e) {
  return {Code::kReject, "the answer of the gateway on " + socket + " is not understood (" +
                             Printable(e.what()) +
                             "); does it run another version than " PENSTOCK_VERSION "?"};
}

int ShowText(const std::string& socket, const std::string& answer, std::ostream& out,
             std::ostream& err) {
  try {
    Json status = Json::parse(answer);
    if (status.at("gateway").at("rates_over_seconds").is_null()) {
      std::this_thread::sleep_for(kForRates);
      const Result<std::string> again = Ask(socket);
      if (!again) return Failed(again.error(), err);
      status = Json::parse(*again);
    }
    out << StatusText(status);
    return gateway::kExitOk;
  } catch (const Json::exception& e) {
    return Failed(NotUnderstood(socket, e), err);
  }
}

// ---- again and again

std::string LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  char text[32] = {};
  if (::localtime_r(&now, &local) != nullptr)
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return text;
}

class Watch {
 public:
  Watch(const StatusOptions& options, std::string socket, std::ostream& out, std::ostream& err)
      : options_(options), socket_(std::move(socket)), err_(err), screen_(out, !options.json) {}

  int Run() {
    for (;;) {
      const Result<std::string> answer = Ask(socket_);
      const Result<bool> shown = answer ? Show(*answer) : WaitFor(answer.error());
      if (!shown) return End(shown.error());
      if (!*shown) return gateway::kExitFailure;  // standard output takes nothing more
      screen_.Wait(options_.interval);
    }
  }

 private:
  std::string Title() const {
    return LocalTime() +
           (screen_.terminal()
                ? ", every " + FormatDuration(options_.interval.count()) + "; Ctrl-C ends it\n\n"
                : "\n");
  }

  Result<bool> Show(const std::string& answer) {
    try {
      const Json status = Json::parse(answer);
      std::string text = options_.json ? status.dump(-1, ' ', false, Json::error_handler_t::replace)
                                       : Title() + StatusText(status);
      if (!away_since_.empty() && !screen_.terminal()) err_ << "penstock: it answers again\n";
      answered_ = true;
      away_since_.clear();
      return screen_.Show(text + "\n");
    } catch (const Json::exception& e) {
      return tl::unexpected(NotUnderstood(socket_, e));
    }
  }

  // A gateway that was there may come back.
  Result<bool> WaitFor(const Error& error) {
    if (!answered_ || error.code != Code::kRetry) return tl::unexpected(error);
    const bool first = away_since_.empty();
    if (first) away_since_ = LocalTime();
    const std::string text = error.message + "\nwaiting for it since " + away_since_ + "\n";
    if (screen_.terminal()) return screen_.Show(Title() + text);
    if (first) err_ << "penstock: " << text << std::flush;
    return true;
  }

  int End(const Error& error) {
    screen_.Leave();
    return Failed(error, err_);
  }

  const StatusOptions options_;
  const std::string socket_;
  std::ostream& err_;
  Screen screen_;
  bool answered_ = false;
  std::string away_since_;
};

}  // namespace

std::string StatusText(const Json& status) {
  return HeadText(status) + "\n" + SourcesText(status.at("sources")) + "\n" +
         SinksText(status.at("sinks")) + "\n" + RoutesText(status.at("routes"));
}

int ShowStatus(const StatusOptions& options, std::ostream& out, std::ostream& err) {
  std::string socket;
  if (const auto code = FindSocket(options.gateway, &socket, err)) return *code;
  if (options.watch) return Watch(options, socket, out, err).Run();
  const Result<std::string> answer = Ask(socket);
  if (!answer) return Failed(answer.error(), err);
  if (!options.json) return ShowText(socket, *answer, out, err);
  out << *answer;
  return gateway::kExitOk;
}

}  // namespace penstock::cli
