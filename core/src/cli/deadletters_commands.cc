#include "cli/deadletters_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "cli/text.h"
#include "gateway/gateway.h"
#include "plugin/elf.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;
using plugin::Printable;

constexpr char kListFooter[] =
    "Events that a sink will never take: rejected by the bus, impossible to encode, over the "
    "retry\n"
    "limit, or such as a filter fails on. A running gateway is asked at its admin socket; the "
    "store\n"
    "of a stopped one is checked and opened. REPLAY: marked to be sent again. --json gives a line\n"
    "for each.\n"
    "\nExit codes: 0; 1 no answer; 2 wrong usage; 78 the store cannot be used.\n"
    "\nExample: penstock deadletters list --sink lake --since 2h\n";
constexpr char kShowFooter[] =
    "All that is known of it, and the event. The payload is text where it is UTF-8, else base64;\n"
    "--raw writes its bytes and nothing else. One event may lie there for several sinks.\n"
    "\nExit codes: 0; 1 there is none, or no answer; 2 wrong usage; 78 the store cannot be used.\n"
    "\nExample: penstock deadletters show ID --sink lake --raw > payload\n";
constexpr char kReplayFooter[] =
    "Marks them; the gateway sends them again under the same ids, now or at its next start. Those\n"
    "that are delivered are dead letters no more, those that are rejected again stay.\n"
    "\nExit codes: 0; 1 none matched, or no answer; 2 wrong usage; 78 the store cannot be used.\n"
    "\nExample: penstock deadletters replay --sink lake --reason 'too large'\n";
constexpr char kDropFooter[] =
    "Removes them for good; they stay counted. A route that waits for room goes on.\n"
    "\nExit codes: 0; 1 none matched, or no answer; 2 wrong usage; 78 the store cannot be used.\n"
    "\nExample: penstock deadletters drop --source orders --until 2026-11-01T00:00:00Z\n";

// ---- times

bool Digits(std::string_view text, size_t at, size_t n, int* out) {
  if (text.size() < at + n) return false;
  const auto [end, error] = std::from_chars(text.data() + at, text.data() + at + n, *out);
  return error == std::errc() && end == text.data() + at + n && text[at] != '-';
}

// Of what follows the seconds: a fraction, then Z or an offset.
std::optional<int64_t> FractionAndZone(std::string_view text) {
  int64_t ns = 0;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    int64_t unit = 100'000'000;
    size_t n = 0;
    for (; n < text.size() && text[n] >= '0' && text[n] <= '9'; ++n, unit /= 10)
      ns += (text[n] - '0') * unit;
    if (n == 0) return {};
    text.remove_prefix(n);
  }
  if (text == "Z" || text == "z") return ns;
  int hours = 0, minutes = 0;
  const bool offset = text.size() == 6 && (text[0] == '+' || text[0] == '-') && text[3] == ':' &&
                      Digits(text, 1, 2, &hours) && Digits(text, 4, 2, &minutes) && hours < 24 &&
                      minutes < 60;
  if (!offset) return {};
  const int64_t east = (hours * 60 + minutes) * 60'000'000'000ll;
  return text[0] == '+' ? ns - east : ns + east;
}

std::optional<int64_t> ParseRfc3339(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  const bool shape = text.size() >= 20 && text[4] == '-' && text[7] == '-' &&
                     (text[10] == 'T' || text[10] == 't' || text[10] == ' ') && text[13] == ':' &&
                     text[16] == ':' && Digits(text, 0, 4, &year) && Digits(text, 5, 2, &month) &&
                     Digits(text, 8, 2, &day) && Digits(text, 11, 2, &hour) &&
                     Digits(text, 14, 2, &minute) && Digits(text, 17, 2, &second);
  if (!shape || hour > 23 || minute > 59 || second > 60 || year < 1970 || year > 2200) return {};
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  const auto rest = FractionAndZone(text.substr(19));
  if (!date.ok() || !rest) return {};
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1'000'000'000 + *rest;
}

// ---- the list

// A table whose rows come one by one: widths grow, and what is printed stays.
class LongTable {
 public:
  LongTable(std::vector<std::string> head, std::ostream& out) : out_(out), widths_(head.size(), 0) {
    rows_.push_back(std::move(head));
  }
  void Add(std::vector<std::string> row) {
    rows_.push_back(std::move(row));
    if (rows_.size() >= kPiece) Flush();
  }
  void Flush() {
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], row[i].size());
    }
    for (const auto& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        line += row[i];
        if (i + 1 < row.size()) line.append(widths_[i] - row[i].size() + 2, ' ');
      }
      out_ << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
    }
    rows_.clear();
  }

 private:
  static constexpr size_t kPiece = 1000;
  std::ostream& out_;
  std::vector<size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

std::string Name(const Json& json, const char* key) {
  return Printable(json.at(key).get<std::string>());
}

// To the second, for the eye.
std::string ShortTime(const Json& json) {
  std::string text = Name(json, "buried");
  if (text.size() > 20) text.replace(19, std::string::npos, "Z");
  return text;
}

std::vector<std::string> Cells(const Json& letter) {
  return {ShortTime(letter),
          Name(letter, "source") + " -> " + Name(letter, "sink"),
          Name(letter, "id"),
          RoundedSize(letter.at("size").get<uint64_t>()),
          std::to_string(letter.at("attempts").get<uint64_t>()),
          letter.at("replay").get<bool>() ? "replay" : "-",
          Name(letter, "why") + ": " + Name(letter, "reason")};
}

std::string ShowText(const Json& letter) {
  std::vector<Row> rows;
  const auto add = [&rows](const char* what, std::string value) {
    rows.push_back({{what, std::move(value)}, ""});
  };
  const Json& event = letter.at("event");
  add("id", Name(letter, "id"));
  add("route", Name(letter, "source") + " -> " + Name(letter, "sink"));
  add("buried", Name(letter, "buried"));
  const auto code = letter.at("code").get<int64_t>();
  add("reason", Name(letter, "why") + ": " + Name(letter, "reason") +
                    (code == 0 ? "" : " (code " + std::to_string(code) + ")"));
  add("attempts", std::to_string(letter.at("attempts").get<uint64_t>()));
  add("replay", letter.at("replay").get<bool>() ? "marked" : "no");
  add("offset", std::to_string(letter.at("offset").get<uint64_t>()));
  add("time", Name(event, "time"));
  for (const char* key : {"subject", "type", "content_type"})
    if (!event.at(key).get<std::string>().empty()) add(key, Name(event, key));
  std::string out = Table(rows);
  for (const auto& [key, value] : event.at("attributes").items())
    out += "attribute " + Printable(key) + ": " + Printable(value.get<std::string>()) + "\n";
  const bool text = event.contains("payload");
  out += "payload, " + std::to_string(letter.at("size").get<uint64_t>()) + " bytes" +
         (text ? "" : " in base64") + ":\n";
  return out + event.at(text ? "payload" : "data_base64").get<std::string>() + "\n";
}

}  // namespace

Result<int64_t> ParseMoment(std::string_view text, int64_t now_ns) {
  if (const auto moment = ParseRfc3339(text)) return *moment;
  if (const auto ago = config::ParseDuration(text)) return now_ns - ago->count();
  return Fail(Code::kReject, "\"" + Printable(text) +
                                 "\" is neither a duration (\"2h\": so long ago) nor a time such "
                                 "as 2026-11-23T09:00:00Z");
}

DeadLettersCommands::DeadLettersCommands(CLI::App* deadletters) {
  deadletters->require_subcommand(1);
  const auto add = [&](const char* name, const char* about, const char* footer) {
    CLI::App* command = deadletters->add_subcommand(name, about);
    command->footer(footer);
    store_.AddTo(command);
    return command;
  };
  list_ = add("list", "List the dead letters", kListFooter);
  AddFilter(list_);
  list_->add_flag("--json", json_, "For programs");
  show_ = add("show", "Show a dead letter and its event", kShowFooter);
  show_->add_option("ID", id_, "The event's id, as in the list")->required();
  show_->add_option("--source", source_, "Of this source")->type_name("NAME");
  show_->add_option("--sink", sink_, "For this sink")->type_name("NAME");
  CLI::Option* json = show_->add_flag("--json", json_, "For programs");
  show_->add_flag("--raw", raw_, "The bytes of the payload only")->excludes(json);
  replay_ = add("replay", "Have dead letters sent again", kReplayFooter);
  drop_ = add("drop", "Remove dead letters", kDropFooter);
  for (CLI::App* command : {replay_, drop_}) {
    AddFilter(command);
    command->add_flag("--all", all_, "All there are; needed if nothing else is given");
  }
}

void DeadLettersCommands::AddFilter(CLI::App* command) {
  command->add_option("--source", source_, "Of this source")->type_name("NAME");
  command->add_option("--sink", sink_, "For this sink")->type_name("NAME");
  command->add_option("--id", id_, "Of this event")->type_name("ID");
  command->add_option("--reason", reason_, "With this in its reason")->type_name("TEXT");
  command->add_option("--since", since_, "Buried then or later: \"2h\" (ago), or RFC 3339")
      ->type_name("WHEN");
  command->add_option("--until", until_, "Buried before: the same")->type_name("WHEN");
}

Result<Query> DeadLettersCommands::Filter() const {
  Query query;
  const std::pair<const char*, const std::string*> texts[] = {
      {"source", &source_}, {"sink", &sink_}, {"id", &id_}, {"reason", &reason_}};
  for (const auto& [key, value] : texts)
    if (!value->empty()) query[key] = *value;
  const std::pair<const char*, const std::string*> moments[] = {{"since", &since_},
                                                                {"until", &until_}};
  for (const auto& [key, value] : moments) {
    if (value->empty()) continue;
    const auto moment = ParseMoment(*value, SystemClock().WallNs());
    if (!moment) return tl::unexpected(Error(moment.error()).Prefixed(std::string("--") + key));
    query[std::string(key) + "_ns"] = std::to_string(*moment);
  }
  return query;
}

int DeadLettersCommands::Run(std::ostream& out, std::ostream& err) {
  try {
    if (list_->parsed()) return List(out, err);
    if (show_->parsed()) return Show(out, err);
    return Change(replay_->parsed() ? "replay" : "drop", out, err);
  } catch (const Json::exception& e) {
    err << "penstock: the answer of the gateway is not understood (" << Printable(e.what())
        << "); does it run another version than this command?\n";
    return gateway::kExitFailure;
  }
}

int DeadLettersCommands::List(std::ostream& out, std::ostream& err) {
  const auto filter = Filter();
  if (!filter) {
    Report(filter.error(), err);
    return gateway::kExitUsage;
  }
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  LongTable table({"BURIED", "ROUTE", "ID", "SIZE", "ATTEMPTS", "REPLAY", "REASON"}, out);
  const auto done = (*tools)->GetLines("/deadletters", *filter, [&](std::string_view line) {
    if (json_)
      out << line << '\n';
    else
      table.Add(Cells(Json::parse(line)));
    return out.good();
  });
  if (!done) return Report(done.error(), err);
  if (!json_) table.Flush();
  return out.flush().good() ? gateway::kExitOk : gateway::kExitFailure;
}

int DeadLettersCommands::Show(std::ostream& out, std::ostream& err) {
  auto filter = Filter();
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  if (raw_) {
    const auto payload = (*tools)->Get("/deadletters/payload", *filter);
    if (!payload) return Report(payload.error(), err);
    out << *payload;
    return out.flush().good() ? gateway::kExitOk : gateway::kExitFailure;
  }
  (*filter)["payload"] = "1";
  size_t n = 0;
  const auto done = (*tools)->GetLines("/deadletters", *filter, [&](std::string_view line) {
    if (json_)
      out << line << '\n';
    else
      out << (n > 0 ? "\n" : "") << ShowText(Json::parse(line));
    ++n;
    return out.good();
  });
  if (!done) return Report(done.error(), err);
  if (n == 0) err << "penstock: no dead letter matches\n";
  return n > 0 && out.flush().good() ? gateway::kExitOk : gateway::kExitFailure;
}

int DeadLettersCommands::Change(const char* what, std::ostream& out, std::ostream& err) {
  const auto filter = Filter();
  if (!filter) {
    Report(filter.error(), err);
    return gateway::kExitUsage;
  }
  if (filter->empty() && !all_) {
    err << "penstock: which dead letters? Name some with --source, --sink, --id, --reason, --since "
           "or --until, or all there are with --all\n";
    return gateway::kExitUsage;
  }
  const bool replay = std::string_view(what) == "replay";
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  const auto answer = (*tools)->Post(std::string("/deadletters/") + what, *filter);
  if (!answer) return Report(answer.error(), err);
  const auto n = Json::parse(*answer).at("count").get<uint64_t>();
  if (n == 0) {
    err << "penstock: no dead letter matches\n";
    return gateway::kExitFailure;
  }
  const std::string letters = std::to_string(n) + (n == 1 ? " dead letter" : " dead letters");
  if (!replay) {
    out << letters << " dropped\n";
  } else {
    out << letters << " marked to be sent again"
        << ((*tools)->running() ? "" : ", at the next start of the gateway") << "\n";
  }
  return gateway::kExitOk;
}

}  // namespace penstock::cli
