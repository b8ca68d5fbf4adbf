#include "cli/verify_command.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/text.h"

namespace penstock::cli {
namespace {

using Json = nlohmann::ordered_json;
using verify::Check;
using verify::Verdict;

constexpr size_t kIndent = 4;
constexpr size_t kWidth = 100;

constexpr char kFooter[] =
    "For a plugin's author, and for whoever is to trust it: judges the file, loads it and makes\n"
    "it work against a host that is none, in processes of their own with limits; a crash or a\n"
    "hang is a verdict. A required option without a default gets a made up value; an address is\n"
    "one where nobody answers. Give real values with --option, or --config, to see the plugin\n"
    "work with a peer: what it could not be tried on without one is skipped. It may write to\n"
    "what the options name.\n"
    "\nExit codes: 0 no check failed; 1 one did; 2 wrong usage.\n"
    "\nExamples:\n"
    "  penstock plugins verify ./source-heartbeat.so --option text=hello\n"
    "  penstock plugins verify ./sink-kafka.so --option topic=t \\\n"
    "      --option client.bootstrap.servers=127.0.0.1:9092\n";

std::string Identity(const verify::Report& report) {
  if (!report.note || report.note->id.empty()) return "no plugin of this ABI";
  return std::string(plugin::KindName(report.note->kind)) + " " + report.note->id + " " +
         report.note->version + ", plugin ABI " + std::to_string(report.note->abi_major) + "." +
         std::to_string(report.note->abi_minor);
}

std::string InText(const std::string& file, const verify::Report& report) {
  std::string out = plugin::Printable(file) + ": " + Identity(report) + "\n";
  std::vector<Row> rows;
  for (const Check& check : report.checks) {
    // What passes needs no more than its line.
    const bool passed = check.verdict == Verdict::kPass;
    const std::string verdict =
        check.verdict == Verdict::kFail ? "FAIL" : std::string(VerdictName(check.verdict));
    rows.push_back(
        {{"  " + verdict, check.name, passed ? check.text : ""}, passed ? "" : check.text});
  }
  out += Table(rows);
  for (const auto& [verdict, what] : {std::pair{Verdict::kPass, " passed"},
                                      {Verdict::kWarning, " warnings"},
                                      {Verdict::kSkip, " skipped"},
                                      {Verdict::kFail, " failed"}})
    out += (verdict == Verdict::kPass ? "" : ", ") + std::to_string(report.Count(verdict)) + what;
  return out + "\n";
}

Json InJson(const std::string& file, const verify::Report& report) {
  Json out;
  out["file"] = file;
  if (report.note) {
    out["kind"] = plugin::KindName(report.note->kind);
    out["id"] = report.note->id;
    out["version"] = report.note->version;
  }
  out["verdict"] = VerdictName(report.Count(Verdict::kFail) == 0 ? Verdict::kPass : Verdict::kFail);
  out["checks"] = Json::array();
  for (const Check& check : report.checks)
    out["checks"].push_back(
        {{"name", check.name}, {"verdict", VerdictName(check.verdict)}, {"text", check.text}});
  return out;
}

}  // namespace

VerifyCommand::VerifyCommand(CLI::App* plugins)
    : command_(plugins->add_subcommand("verify", "Check that a plugin keeps its promises")) {
  command_->add_option("FILE", request_.file, "The plugin's file")->required();
  CLI::Option* config =
      command_
          ->add_option("-c,--config", request_.config_file,
                       "Use the options of the first table here that has this plugin")
          ->type_name("FILE");
  command_
      ->add_option("--option", request_.options,
                   "The value of an option; may be given several times")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all()
      ->excludes(config);
  command_->add_flag("--json", json_, "For programs");
  command_->footer(kFooter);
}

int VerifyCommand::Run(std::ostream& out, std::ostream& err) const {
  for (const std::string& option : request_.options) {
    if (option.find('=') != option.npos && option[0] != '=') continue;
    err << "penstock: --option " << option << " is not KEY=VALUE\n"
        << "Try: penstock plugins verify --help\n";
    return 2;
  }
  verify::Request request = request_;
  // Relative to here, wherever the plugin goes.
  for (std::string* path : {&request.file, &request.config_file})
    if (!path->empty()) *path = std::filesystem::absolute(*path);
  const verify::Report report = verify::Verify(request);
  if (json_) {
    out << InJson(request_.file, report).dump(2, ' ', false, Json::error_handler_t::replace)
        << "\n";
  } else {
    out << InText(request_.file, report);
  }
  return report.Count(Verdict::kFail) == 0 ? 0 : 1;
}

}  // namespace penstock::cli
