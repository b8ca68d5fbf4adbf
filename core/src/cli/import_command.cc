#include "cli/import_command.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cli/new_file.h"
#include "gateway/gateway.h"
#include "plugin/elf.h"

namespace penstock::cli {
namespace {

constexpr size_t kMostBytes = 1 << 20;
constexpr size_t kLongestFinding = 1024;

constexpr char kFooter[] =
    "Reads manifests of Argo Events (kind EventSource, spec.generic; kind EventBus; several\n"
    "documents, also in a List, as kubectl get -o yaml prints them) and writes a configuration\n"
    "for the same event servers and the same bus, on which every event is as Argo's. Filters are\n"
    "translated into Lua; one that cannot be, exactly, sends its events to the dead letters until\n"
    "you have written it. Whatever has no equivalent is a warning with file, line and column.\n"
    "FILE may be - for standard input. The bus of sources whose EventBus is not among the\n"
    "manifests is given with --bus or --kafka.\n"
    "\nExit codes: 0 made, with warnings or without; 1 there was no generic source in it, or it\n"
    "could not be written; 2 wrong usage; 78 a file cannot be read or is at fault.\n"
    "\nExamples:\n"
    "  kubectl get eventsource,eventbus -o yaml | penstock import argo - > penstock.toml\n"
    "  penstock import argo sources.yaml --kafka kafka:9092 --topic argo-events-default \\\n"
    "      --output penstock.toml && penstock check --config penstock.toml\n";

// All of a file, or of standard input; nothing: the reason is in *error.
bool ReadAll(const std::string& path, std::string* text, std::string* error) {
  const int fd = path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : 1;
  while (n > 0 && text->size() <= kMostBytes) {
    char buffer[64 * 1024];
    n = read(fd, buffer, sizeof buffer);
    if (n > 0) text->append(buffer, static_cast<size_t>(n));
    if (n < 0 && errno == EINTR) n = 1;
  }
  if (n < 0) *error = std::string("cannot be read: ") + std::strerror(errno);
  if (fd >= 0) close(fd);
  if (text->size() > kMostBytes) *error = "is larger than 1MiB, the most that is read";
  return error->empty();
}

int WrongUsage(const std::string& what, std::ostream& err) {
  err << "penstock: " << what << "\nTry: penstock import argo --help\n";
  return gateway::kExitUsage;
}

// The texts of the findings quote what is strange in a manifest; a path may be strange itself.
void Print(const std::vector<config::Finding>& findings, std::ostream& err) {
  for (const config::Finding& finding : findings)
    err << plugin::Printable(finding.ToString(), kLongestFinding) << "\n";
}

}  // namespace

ImportCommand::ImportCommand(CLI::App* import)
    : argo_(import->add_subcommand("argo", "Make a configuration from Argo Events' manifests")) {
  argo_->add_option("FILE", files_, "Manifests; - for standard input")->required();
  argo_->add_option("--output", output_, "Write into this new file, not to standard output")
      ->type_name("PATH");
  CLI::Option* bus =
      argo_->add_option("--bus", bus_.nats_url, "JetStream's address, as nats://HOST:4222")
          ->type_name("URL");
  CLI::Option* kafka =
      argo_->add_option("--kafka", bus_.kafka_address, "Kafka's address, as HOST:9092")
          ->type_name("ADDRESS")
          ->excludes(bus);
  CLI::Option* topic = argo_->add_option("--topic", bus_.kafka_topic, "The bus's topic")
                           ->type_name("TOPIC")
                           ->needs(kafka);
  kafka->needs(topic);
  argo_->footer(kFooter);
}

int ImportCommand::Run(std::ostream& out, std::ostream& err) const {
  if (std::ranges::count(files_, "-") > 1) return WrongUsage("- stands twice", err);
  std::vector<config::FileText> files;
  std::vector<config::Finding> unread;
  for (const std::string& path : files_) {
    config::FileText file{path, ""};
    std::string error;
    if (ReadAll(path, &file.text, &error)) {
      files.push_back(std::move(file));
    } else {
      unread.push_back({config::Severity::kError, {path, 0, 0}, error});
    }
  }
  const import_argo::Outcome made = import_argo::Convert(files, bus_);
  Print(unread, err);
  Print(made.findings, err);
  const bool wrong = std::ranges::any_of(made.findings, [](const config::Finding& finding) {
    return finding.severity == config::Severity::kError;
  });
  if (wrong || !unread.empty()) return gateway::kExitConfig;
  if (made.sources == 0) {
    err << "penstock: there is no generic source in it, so nothing was made\n";
    return gateway::kExitFailure;
  }
  if (output_.empty()) {
    out << made.toml;
    return gateway::kExitOk;
  }
  NewFile file(output_);
  if (file.error().empty() &&
      file.Write(std::string_view(made.toml).substr(0, made.toml.size() - 1)))
    file.Finish();
  if (file.error().empty()) return gateway::kExitOk;
  err << "penstock: " << plugin::Printable(file.error()) << "\n";
  return gateway::kExitFailure;
}

}  // namespace penstock::cli
