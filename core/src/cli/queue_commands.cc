#include "cli/queue_commands.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/new_file.h"
#include "cli/text.h"
#include "gateway/gateway.h"
#include "gateway/store_check.h"
#include "plugin/elf.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;
using plugin::Printable;

constexpr char kListFooter[] =
    "Of each source that has a queue on disk, or dead letters: what the queue holds, and for each\n"
    "sink how far it has got. A running gateway is asked at its admin socket; the store of a\n"
    "stopped one is checked and opened. Queues in memory are in penstock status.\n"
    "\nExit codes: 0; 1 no answer; 2 wrong usage; 78 the store cannot be used.\n";
constexpr char kCatFooter[] =
    "One line of JSON for each event: offset, id, time, subject, type, content_type, attributes,\n"
    "and payload, or data_base64 where it is not UTF-8. {\"offset\": 3, \"lost\": 2} stands for\n"
    "events that a repair could not save. Events that every sink has settled are not shown. A\n"
    "queue in memory cannot be read.\n"
    "\nExit codes: 0; 1 no such queue, or no answer; 2 wrong usage; 78 the store cannot be used.\n"
    "\nExample: penstock queue cat orders --count 10 | jq .payload\n";
constexpr char kExportFooter[] =
    "The same lines as those of cat, into a file that must not exist yet. When the command ends\n"
    "with 0 the file is on the disk.\n";
constexpr char kVerifyFooter[] =
    "The gateway must be stopped. Reads every page and every value, in a child process, so that a\n"
    "crash is a finding too, and says what is lost, by offsets. Changes nothing.\n"
    "\nExit codes: 0 sound; 1 damaged; 2 wrong usage; 78 it could not be checked.\n";
constexpr char kRepairFooter[] =
    "The gateway must be stopped. Makes a new store of all that can still be read and puts it in\n"
    "place; the damaged one is kept beside it as store.damaged-TIME. Nothing is ever deleted, and\n"
    "a sound store stays as it is. Says what could not be saved, by offsets; the gateway counts\n"
    "those events as dropped (corrupted) when it comes to them.\n"
    "\nExit codes: 0 the store is sound and lacks nothing; 1 it is sound again, and something was\n"
    "lost; 2 wrong usage; 78 it could not be repaired, and all is as before.\n";
constexpr char kForgetFooter[] =
    "For a source that is no longer in the configuration, or with --sink for a sink that no "
    "longer\n"
    "reads it: gives up the events that are still on disk for it. Dead letters stay; penstock\n"
    "deadletters drop removes them. Asks first; --yes: it does not.\n"
    "\nExit codes: 0; 1 refused, or no such queue; 2 wrong usage; 78 the store cannot be used.\n";

template <typename Do>
int WithJson(std::ostream& err, Do f) {
  try {
    return f();
  } catch (const Json::exception& e) {
    err << "penstock: the answer of the gateway is not understood (" << Printable(e.what())
        << "); does it run another version than this command?\n";
    return gateway::kExitFailure;
  }
}

std::string Number(const Json& value) {
  return value.is_null() ? "-" : std::to_string(value.get<uint64_t>());
}

std::string Size(const Json& value) {
  return value.is_null() ? "-" : RoundedSize(value.get<uint64_t>());
}

std::string WithBound(const std::string& value, const std::string& bound) {
  return bound == "-" ? value : value + " of " + bound;
}

// A bound that a user never set is as good as none.
std::string EventBound(const Json& bound) {
  constexpr uint64_t kMost = uint64_t{1} << 53;
  return bound.is_null() || bound.get<uint64_t>() >= kMost ? "-" : Number(bound);
}

std::string Name(const Json& json, const char* key) {
  return Printable(json.at(key).get<std::string>());
}

uint64_t LettersKept(const Json& queue) {
  uint64_t n = 0;
  for (const Json& letters : queue.at("dead_letters")) n += letters.at("kept").get<uint64_t>();
  return n;
}

std::vector<std::string> QueueCells(const Json& queue) {
  return {Name(queue, "name"),
          Name(queue, "storage"),
          WithBound(Number(queue.at("events")), EventBound(queue.at("max_events"))),
          WithBound(Size(queue.at("bytes")), Size(queue.at("max_bytes"))),
          Number(queue.at("begin")) + ".." + Number(queue.at("end")),
          std::to_string(LettersKept(queue))};
}

std::string ListText(const Json& answer) {
  std::vector<Row> rows = {{{"QUEUE", "STORAGE", "EVENTS", "SIZE", "OFFSETS", "DEAD LETTERS",
                             "SINK", "COMMITTED", "PENDING"},
                            ""}};
  for (const Json& queue : answer.at("queues")) {
    Row row{QueueCells(queue), ""};
    const Json& configured = queue.at("configured");
    if (configured.is_boolean() && !configured.get<bool>())
      row.note = "no longer in the configuration; penstock queue forget gives it up";
    const Json& sinks = queue.at("sinks");
    if (sinks.empty()) row.cells.insert(row.cells.end(), {"-", "-", "-"});
    for (size_t i = 0; i < sinks.size(); ++i) {
      Row one = i == 0 ? Row{row.cells, ""} : Row{std::vector<std::string>(row.cells.size()), ""};
      one.cells.insert(one.cells.end(), {Name(sinks[i], "sink"), Number(sinks[i].at("committed")),
                                         Number(sinks[i].at("pending"))});
      if (i + 1 == sinks.size()) one.note = row.note;
      rows.push_back(std::move(one));
    }
    if (sinks.empty()) rows.push_back(std::move(row));
  }
  return Table(rows);
}

std::string InfoText(const Json& store, const Json& queue) {
  std::vector<Row> rows;
  const auto add = [&rows](const std::string& what, const std::string& value) {
    rows.push_back({{what, value}, ""});
  };
  add("queue", Name(queue, "name"));
  add("id", Name(queue, "id"));
  add("storage", Name(queue, "storage"));
  add("events", WithBound(Number(queue.at("events")), EventBound(queue.at("max_events"))));
  add("size", WithBound(Size(queue.at("bytes")), Size(queue.at("max_bytes"))));
  if (!queue.at("when_full").is_null()) add("when full", Name(queue, "when_full"));
  add("offsets", Number(queue.at("begin")) + ".." + Number(queue.at("end")));
  add("oldest event", queue.at("oldest").is_null() ? "-" : Name(queue, "oldest"));
  add("dropped newest", Number(queue.at("dropped_newest")));
  for (const Json& sink : queue.at("sinks")) {
    add("sink " + Name(sink, "sink"), "start " + Number(sink.at("start")) + ", committed " +
                                          Number(sink.at("committed")) + ", pending " +
                                          Number(sink.at("pending")));
  }
  for (const Json& letters : queue.at("dead_letters")) {
    add("dead letters of " + Name(letters, "sink"),
        Number(letters.at("kept")) + " kept, " + Number(letters.at("buried")) + " ever, " +
            Number(letters.at("replayed")) + " delivered after all, " +
            Number(letters.at("dropped")) + " dropped");
  }
  add("store", Name(store, "directory"));
  add("format version", Number(store.at("format_version")));
  add("store id", Name(store, "id"));
  add("created", Name(store, "created"));
  for (const auto& [name, size] : store.at("files").items())
    add(name,
        Size(size) + (name == "data.mdb" ? ", " + Size(store.at("used_bytes")) + " used" : ""));
  return Table(rows);
}

// The exit code.
int ReportDamage(const Json& queue, std::ostream& err) {
  if (queue.at("damage").is_null()) return gateway::kExitOk;
  err << "penstock: source " << Name(queue, "name") << ": " << Name(queue, "damage") << "\n";
  return gateway::kExitFailure;
}

std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// ---- export

// ---- verify and repair

// The lock on a stopped gateway's store, for those that look at its file themselves.
Result<store::Lock> LockStopped(const std::string& state_dir, const char* what) {
  if (!gateway::FindStore(state_dir))
    return Fail(Code::kConfig, "there is no store in " + gateway::StoreIn(state_dir));
  auto lock = store::Lock::Take(gateway::StoreIn(state_dir));
  if (!lock && lock.error().code == Code::kRetry) {
    const auto holder = store::Lock::Holder(gateway::StoreIn(state_dir));
    return Fail(Code::kConfig, "the store in " + gateway::StoreIn(state_dir) +
                                   " is in use by process " + holder.value_or("?") +
                                   ": stop that gateway first, then " + what);
  }
  // Taking it may have made the directory.
  gateway::GiveToOwner(state_dir);
  gateway::GiveToOwner(gateway::StoreIn(state_dir));
  return lock;
}

std::string WhatIsGivenUp(const Json& plan) {
  std::string out;
  for (const Json& route : plan.at("routes"))
    out += Name(plan, "source") + " -> " + Name(route, "sink") + ": " + Number(route.at("events")) +
           " events\n";
  if (plan.at("routes").empty())
    out += Name(plan, "source") + ": " + Number(plan.at("events")) + " events, for no sink\n";
  return out;
}

// Empty for a number that the gateway takes.
std::string NumberError(const std::string& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) return "\"" + Printable(text) + "\" is too large";
  if (error == std::errc() && end == text.data() + text.size()) return "";
  return "\"" + Printable(text) + "\" is not a whole number";
}

std::optional<bool> AskOnTerminal(const std::string& question, std::ostream& err) {
  if (isatty(STDIN_FILENO) == 0) return {};
  err << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

QueueCommands::QueueCommands(CLI::App* queue) {
  queue->require_subcommand(1);
  const auto add = [&](const char* name, const char* about, const char* footer) {
    CLI::App* command = queue->add_subcommand(name, about);
    command->footer(footer);
    store_.AddTo(command);
    return command;
  };
  const auto add_name = [this](CLI::App* command, const char* about) {
    command->add_option("NAME", name_, about)->required();
  };
  const auto add_range = [this](CLI::App* command) {
    command->add_option("--from", from_, "Begin at this offset")
        ->type_name("OFFSET")
        ->check(NumberError, "");
    command->add_option("--count", count_, "At most so many events")
        ->type_name("N")
        ->check(NumberError, "");
  };
  list_ = add("list", "List the queues in the store", kListFooter);
  list_->add_flag("--json", json_, "For programs");
  info_ = add("info", "Show all about one queue", kListFooter);
  add_name(info_, "The source");
  info_->add_flag("--json", json_, "For programs");
  cat_ = add("cat", "Print the events of a queue", kCatFooter);
  add_name(cat_, "The source");
  add_range(cat_);
  export_ = add("export", "Write the events of a queue into a file", kExportFooter);
  add_name(export_, "The source");
  export_->add_option("FILE", file_, "The new file")->required();
  add_range(export_);
  verify_ = add("verify", "Check the store of a stopped gateway", kVerifyFooter);
  verify_->add_flag("--json", json_, "For programs");
  repair_ = add("repair", "Make a sound store of a damaged one", kRepairFooter);
  repair_->add_flag("--json", json_, "For programs");
  forget_ =
      add("forget", "Give up what is on disk for a source or sink that is gone", kForgetFooter);
  add_name(forget_, "The source");
  forget_->add_option("--sink", sink_, "Only what is on disk for this sink")->type_name("SINK");
  forget_->add_flag("--yes", yes_, "Do not ask");
}

int QueueCommands::Run(std::ostream& out, std::ostream& err) {
  return WithJson(err, [&] {
    if (list_->parsed()) return List(out, err);
    if (info_->parsed()) return Info(out, err);
    if (cat_->parsed()) return Cat(out, err);
    if (export_->parsed()) return Export(out, err);
    if (verify_->parsed()) return Verify(out, err);
    if (repair_->parsed()) return Repair(out, err);
    return Forget(out, err);
  });
}

int QueueCommands::List(std::ostream& out, std::ostream& err) {
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  const auto answer = (*tools)->Get("/queues", {});
  if (!answer) return Report(answer.error(), err);
  const Json json = Json::parse(*answer);
  out << (json_ ? Dump(json) : ListText(json)) << std::flush;
  int code = gateway::kExitOk;
  for (const Json& queue : json.at("queues")) code = std::max(code, ReportDamage(queue, err));
  return code;
}

int QueueCommands::Info(std::ostream& out, std::ostream& err) {
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  const auto answer = (*tools)->Get("/queues", {});
  if (!answer) return Report(answer.error(), err);
  const Json json = Json::parse(*answer);
  std::string known;
  for (const Json& queue : json.at("queues")) {
    if (queue.at("name") == name_) {
      out << (json_ ? Dump({{"store", json.at("store")}, {"queue", queue}})
                    : InfoText(json.at("store"), queue))
          << std::flush;
      return ReportDamage(queue, err);
    }
    known += (known.empty() ? "" : ", ") + Name(queue, "name");
  }
  err << "penstock: the store knows no source \"" << Printable(name_) << "\""
      << (known.empty() ? ", nor any other" : "; it knows " + known) << "\n";
  return gateway::kExitFailure;
}

Query QueueCommands::EventsQuery() const {
  Query query = {{"queue", name_}};
  if (!from_.empty()) query["from"] = from_;
  if (!count_.empty()) query["count"] = count_;
  return query;
}

int QueueCommands::Cat(std::ostream& out, std::ostream& err) {
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  const auto done = (*tools)->GetLines("/queues/events", EventsQuery(), [&](std::string_view line) {
    out << line << '\n';
    return out.good();
  });
  if (!done) return Report(done.error(), err);
  return out.flush().good() ? gateway::kExitOk : gateway::kExitFailure;
}

int QueueCommands::Export(std::ostream& out, std::ostream& err) {
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  NewFile file(file_);
  uint64_t lines = 0;
  if (file.error().empty()) {
    const auto done =
        (*tools)->GetLines("/queues/events", EventsQuery(), [&](std::string_view line) {
          ++lines;
          return file.Write(line);
        });
    if (!done) return Report(done.error(), err);
    if (file.error().empty()) file.Finish();
  }
  if (!file.error().empty()) {
    err << "penstock: " << file.error() << "\n";
    return gateway::kExitFailure;
  }
  out << "wrote " << lines << " lines to " << file_ << "\n";
  return gateway::kExitOk;
}

int QueueCommands::Verify(std::ostream& out, std::ostream& err) {
  const auto place = FindPlace(store_);
  if (!place) return cli::Report(place.error(), err);
  const auto lock = LockStopped(place->state_dir, "verify");
  if (!lock) return cli::Report(lock.error(), err);
  const auto found = gateway::FindStore(place->state_dir);
  const auto report = gateway::CheckStore(found->directory, store::Depth::kFull);
  if (!report) {
    cli::Report(report.error(), err);
    return gateway::kExitConfig;
  }
  out << (json_ ? store::ToJson(*report) + "\n" : gateway::ReportText(*report, found->directory));
  if (found->set_aside)
    err << "penstock: this store was set aside, and none is in its place; run penstock queue "
           "repair\n";
  return report->sound() ? gateway::kExitOk : gateway::kExitFailure;
}

int QueueCommands::Repair(std::ostream& out, std::ostream& err) {
  const auto place = FindPlace(store_);
  if (!place) return cli::Report(place.error(), err);
  const std::string directory = gateway::StoreIn(place->state_dir);
  const auto lock = LockStopped(place->state_dir, "repair");
  if (!lock) return cli::Report(lock.error(), err);
  const auto outcome = gateway::RepairStore(*lock);
  if (!outcome) {
    cli::Report(outcome.error(), err);
    return gateway::kExitConfig;
  }
  out << (json_ ? store::ToJson(outcome->report) + "\n"
                : gateway::ReportText(outcome->report, directory));
  if (outcome->damaged.empty()) {
    err << "penstock: the store is sound: "
        << (outcome->put_back ? "the one that was set aside is in its place again\n"
                              : "nothing was done\n");
    return gateway::kExitOk;
  }
  err << "penstock: the store in " << directory << " is sound again; the damaged one is kept as "
      << outcome->damaged << "\n";
  return gateway::LacksNothing(outcome->report) ? gateway::kExitOk : gateway::kExitFailure;
}

int QueueCommands::Forget(std::ostream& out, std::ostream& err) {
  auto tools = StoreTools::Open(store_);
  if (!tools) return Report(tools.error(), err);
  Query query = {{"queue", name_}};
  if (!sink_.empty()) query["sink"] = sink_;
  if (!yes_) {
    Query dry = query;
    dry["dry_run"] = "1";
    const auto plan = (*tools)->Post("/queues/forget", dry);
    if (!plan) return Report(plan.error(), err);
    err << WhatIsGivenUp(Json::parse(*plan));
    const auto answer = AskOnTerminal("Give them up?", err);
    if (!answer) {
      err << "penstock: nothing was done; --yes gives them up without asking\n";
      return gateway::kExitUsage;
    }
    if (!*answer) {
      err << "penstock: nothing was done\n";
      return gateway::kExitFailure;
    }
  }
  const auto answer = (*tools)->Post("/queues/forget", query);
  if (!answer) return Report(answer.error(), err);
  const Json done = Json::parse(*answer);
  for (const Json& route : done.at("routes")) out << Name(route, "ledger") << "\n";
  out << "gave up " << Number(done.at("events")) << " events of source " << Name(done, "source")
      << (sink_.empty() ? "" : " for sink " + Printable(sink_)) << "\n";
  if (const auto kept = done.at("dead_letters_kept").get<uint64_t>(); kept > 0)
    out << kept << " dead letters are kept; penstock deadletters drop --source "
        << Name(done, "source") << " --all removes them\n";
  return gateway::kExitOk;
}

}  // namespace penstock::cli
