#include "cli/command_line.h"

#include <penstock/plugin.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "cli/control_commands.h"
#include "cli/deadletters_commands.h"
#include "cli/import_command.h"
#include "cli/plugin_commands.h"
#include "cli/queue_commands.h"
#include "cli/status_command.h"
#include "cli/verify_command.h"
#include "config/config.h"
#include "gateway/gateway.h"
#include "gateway/store_check.h"

namespace penstock::cli {
namespace {

constexpr char kDefaultConfig[] = "/etc/penstock/penstock.toml";
constexpr std::chrono::milliseconds kIntervalLeast{100};
constexpr std::chrono::hours kIntervalMost{1};
constexpr std::array<std::string_view, 10> kCommands = {
    "run",         "check", "status", "reload",  "drain",
    "deadletters", "queue", "import", "plugins", "version"};
// Commands of commands.
struct Group {
  std::string_view name;
  std::vector<std::string_view> commands;
};
const std::array<Group, 4> kGroups = {
    {{"plugins", {"list", "info", "verify"}},
     {"deadletters", {"list", "show", "replay", "drop"}},
     {"queue", {"list", "info", "cat", "export", "verify", "repair", "forget"}},
     {"import", {"argo"}}}};

constexpr char kAbout[] =
    "Penstock moves events from event servers to event buses: it loads source plugins and\n"
    "sink plugins as a TOML file says, and carries each event through a bounded queue to\n"
    "NATS JetStream, Kafka and others, losing none on the way.\n";

constexpr char kFooter[] =
    "Examples:\n"
    "  penstock check --config ./penstock.toml    what is wrong, and what each route guarantees\n"
    "  penstock run --config ./penstock.toml      run in the foreground; SIGTERM stops it\n"
    "  penstock status                            how the running gateway does\n"
    "  penstock reload                            take the changed configuration\n"
    "  penstock deadletters list                  events that a sink will never take\n"
    "  penstock queue list                        what is on disk, and for which sink\n"
    "  penstock import argo sources.yaml          a configuration from Argo Events' manifests\n"
    "  penstock plugins list                      what is installed, and what was refused and why\n"
    "  penstock plugins info kafka                the options of a plugin\n"
    "  systemctl start penstock                   run as a service, on the default configuration\n"
    "\nFiles:\n"
    "  /etc/penstock/penstock.toml      the configuration; conf.d/*.toml beside it is read too\n"
    "  /run/penstock/admin.sock         where a running gateway is asked; gateway.admin_socket\n"
    "  " PENSTOCK_PLUGIN_DIR
    "\n                                   the packaged plugins; more directories: "
    "gateway.plugin_dirs\n"
    "\nEnvironment:\n"
    "  PENSTOCK_PLUGIN_DIR              directories of plugins, separated by ':', searched after\n"
    "                                   those of --plugin-dir and before all others\n"
    "\nExit codes:\n"
    "  0   success; for run also: stopped by a signal with every event delivered\n"
    "  1   a failure at run time, or events lost at shutdown\n"
    "  2   wrong usage\n"
    "  78  the configuration is wrong, or the store on disk is damaged\n";

constexpr char kRunFooter[] =
    "Runs until SIGTERM or SIGINT; SIGHUP is penstock reload. At the end it stops the sources,\n"
    "delivers what is queued for at most gateway.shutdown_timeout, and logs the closing\n"
    "ledger. The log goes to standard error; under systemd, to the journal.\n"
    "\nExit codes: 0; 1 a failure, or events lost at shutdown; 2 wrong usage; 78 wrong\n"
    "configuration.\n";
constexpr char kCheckFooter[] =
    "Offline: connects to nothing. Reports every error with file, line and column, and then,\n"
    "route by route, what is guaranteed, what could be lost or repeated, and which sink can\n"
    "hold up which source.\n"
    "\nExit codes: 0 the configuration can be run; 2 wrong usage; 78 it cannot.\n"
    "\nExample: penstock check --config ./penstock.toml && systemctl restart penstock\n";
constexpr char kStatusFooter[] =
    "Asks the running gateway at its admin socket, which only root and the user that it runs\n"
    "as may use. Of each source: its state and its queue; of each sink: its state; of each\n"
    "route: what became of the events (received = delivered + dead letters + dropped +\n"
    "pending), how old the oldest pending one is, and why it is not delivered. --json gives\n"
    "all of it, with offsets; rates are null unless the gateway was asked a moment ago.\n"
    "--watch shows it again and again until Ctrl-C: in place on a terminal, else one block or,\n"
    "with --json, one line after another; a gateway that restarts is waited for.\n"
    "\nExit codes: 0; 1 no gateway answers; 2 wrong usage; 78 the configuration, which names\n"
    "the socket, cannot be read.\n"
    "\nExamples:\n"
    "  penstock status --watch --interval 500ms\n"
    "  penstock status --json | jq '.routes[] | select(.backoff)'\n";
constexpr char kReloadFooter[] =
    "Waits until the running gateway has read its files again (those that it was started\n"
    "with) and changed itself: new parts are made first and begin to connect, then old ones\n"
    "are drained for at most gateway.drain_timeout; parts whose tables are the same are not\n"
    "touched. If anything fails all goes on as before, and this says why. A bus that cannot\n"
    "be reached is no such failure: the answer names the new sinks that are not ready within\n"
    "a second. Sources that were drained or have failed are started again. systemctl reload\n"
    "penstock does the same.\n"
    "\nExit codes: 0; 1 it goes on as before, or no gateway answers; 2 wrong usage; 78 the\n"
    "configuration, which names the socket, cannot be read.\n"
    "\nExample: penstock check && penstock reload\n";
constexpr char kDrainFooter[] =
    "Stops the sources of the running gateway and waits until every event that it has\n"
    "received is delivered, a dead letter or dropped by a policy. The gateway goes on to run,\n"
    "without its sources, until penstock reload or a restart.\n"
    "\nExit codes: 0 drained; 1 not within --timeout, or no gateway answers; 2 wrong usage;\n"
    "78 the configuration, which names the socket, cannot be read.\n"
    "\nExample: penstock drain --timeout 5m && systemctl stop penstock\n";
constexpr char kListFooter[] =
    "Reads the files and runs none of their code. STATUS is ok, refused (the reason follows),\n"
    "or shadowed: a file of that name in an earlier directory comes first. Exit code: 0.\n";
constexpr char kInfoFooter[] =
    "Loads the plugin to ask it. Where a source and a sink share the name both are shown;\n"
    "write sink-NAME or source-NAME for one.\n"
    "\nExit codes: 0; 1 there is no such plugin, or it is refused; 2 wrong usage.\n"
    "\nExample: penstock plugins info nats-jetstream\n";

struct Arguments {
  std::string config_file = kDefaultConfig;
  std::vector<std::string> plugin_dirs;
  bool exit_when_done = false;
  bool json = false;
  bool watch = false;
  std::string interval = "2s";
  std::string plugin_name;
  std::string socket;
  std::string drain_timeout;
};

// The parser and the sub-commands in it that can be asked whether they were given.
struct Parser {
  CLI::App app{kAbout, "penstock"};
  CLI::App *run, *check, *status, *reload, *drain, *deadletters, *queue, *import, *plugins, *list,
      *info, *version;
  std::optional<DeadLettersCommands> deadletters_commands;
  std::optional<QueueCommands> queue_commands;
  std::optional<ImportCommand> import_command;
  std::optional<VerifyCommand> verify_command;
  CLI::Option *status_config, *reload_config, *drain_config;
};

CLI::Option* AddConfigOption(CLI::App* command, Arguments* arguments) {
  return command->add_option("-c,--config", arguments->config_file, "The configuration")
      ->type_name("FILE")
      ->default_str(kDefaultConfig);
}

// To find the running gateway; returns the option of the configuration.
CLI::Option* AddGatewayOptions(CLI::App* command, Arguments* arguments) {
  command
      ->add_option("--socket", arguments->socket,
                   "The gateway's admin socket; else the one that the configuration names")
      ->type_name("PATH");
  return AddConfigOption(command, arguments);
}

void AddConfigOptions(CLI::App* command, Arguments* arguments) {
  AddConfigOption(command, arguments);
  command
      ->add_option("--plugin-dir", arguments->plugin_dirs,
                   "Look for plugins here first; may be given several times")
      ->type_name("DIR")
      ->expected(1)
      ->take_all();
}

// Empty for an interval that can be kept.
std::string IntervalError(const std::string& text) {
  const auto interval = config::ParseDuration(text);
  if (!interval) return interval.error().message;
  if (*interval < kIntervalLeast || *interval > kIntervalMost) return "must be from 100ms to 1h";
  return "";
}

std::unique_ptr<Parser> MakeParser(Arguments* arguments) {
  auto parser = std::make_unique<Parser>();
  CLI::App& app = parser->app;
  app.footer(kFooter);
  app.get_formatter()->column_width(28);
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "Show this text, or a command's");

  parser->run = app.add_subcommand("run", "Run the gateway");
  AddConfigOptions(parser->run, arguments);
  parser->run->add_flag("--exit-when-done", arguments->exit_when_done,
                        "Stop once every source has finished and all its events are settled");
  parser->run->footer(kRunFooter);

  parser->check = app.add_subcommand("check", "Check the configuration and say what it guarantees");
  AddConfigOptions(parser->check, arguments);
  parser->check->footer(kCheckFooter);

  parser->status = app.add_subcommand("status", "Show how the running gateway does");
  parser->status_config = AddGatewayOptions(parser->status, arguments);
  parser->status->add_flag("--json", arguments->json, "For programs");
  CLI::Option* watch =
      parser->status->add_flag("--watch", arguments->watch, "Show it until Ctrl-C");
  parser->status->add_option("--interval", arguments->interval, "Between two looks with --watch")
      ->type_name("TIME")
      ->default_str(arguments->interval)
      ->needs(watch)
      ->check(IntervalError, "");
  parser->status->footer(kStatusFooter);

  parser->reload = app.add_subcommand("reload", "Have the running gateway take its configuration");
  parser->reload_config = AddGatewayOptions(parser->reload, arguments);
  parser->reload->footer(kReloadFooter);
  parser->drain = app.add_subcommand("drain", "Stop the sources and wait for all to be delivered");
  parser->drain_config = AddGatewayOptions(parser->drain, arguments);
  parser->drain->add_option("--timeout", arguments->drain_timeout, "How long to wait, as 30s")
      ->type_name("DURATION");
  parser->drain->footer(kDrainFooter);

  parser->deadletters = app.add_subcommand("deadletters", "Look at, replay or drop dead letters");
  parser->deadletters_commands.emplace(parser->deadletters);
  parser->queue = app.add_subcommand("queue", "Look at, check and repair what is on disk");
  parser->queue_commands.emplace(parser->queue);
  parser->import = app.add_subcommand("import", "Make a configuration from another program's");
  parser->import->require_subcommand(1);
  parser->import_command.emplace(parser->import);

  parser->plugins = app.add_subcommand("plugins", "Show the plugins that are installed");
  parser->plugins->require_subcommand(1);
  parser->list = parser->plugins->add_subcommand(
      "list", "List the plugins, and those refused with the reason");
  AddConfigOptions(parser->list, arguments);
  parser->list->add_flag("--json", arguments->json, "For programs");
  parser->list->footer(kListFooter);
  parser->info =
      parser->plugins->add_subcommand("info", "Show a plugin's options and capabilities");
  parser->info->add_option("NAME", arguments->plugin_name, "The plugin, as in plugin = \"NAME\"")
      ->required();
  AddConfigOptions(parser->info, arguments);
  parser->info->add_flag("--json", arguments->json, "For programs");
  parser->info->footer(kInfoFooter);
  parser->verify_command.emplace(parser->plugins);

  parser->version = app.add_subcommand("version", "Show the version");
  return parser;
}

void PrintVersion(std::ostream& out) {
  out << "penstock " PENSTOCK_VERSION " (plugin ABI " << PENSTOCK_ABI_MAJOR << "."
      << PENSTOCK_ABI_MINOR << ")\n";
}

int UsageError(const std::string& what, const std::string& command, std::ostream& err) {
  err << "penstock: " << what << "\nTry: penstock " << (command.empty() ? "" : command + " ")
      << "--help\n";
  return gateway::kExitUsage;
}

std::string UnknownCommand(const std::string& word, std::span<const std::string_view> known) {
  std::string out = "unknown command \"" + word + "\"";
  if (const std::string_view nearest = config::Nearest(word, known); !nearest.empty())
    return out + "; did you mean \"" + std::string(nearest) + "\"?";
  return out;
}

const Group* FindGroup(const std::string& word) {
  const auto found =
      std::ranges::find_if(kGroups, [&](const Group& group) { return group.name == word; });
  return found == kGroups.end() ? nullptr : &*found;
}

// The command as far as it was understood: "plugins info".
std::string CommandOf(const std::vector<std::string>& arguments) {
  if (arguments.empty() || std::ranges::count(kCommands, arguments[0]) == 0) return "";
  const Group* group = FindGroup(arguments[0]);
  const bool nested = group != nullptr && arguments.size() > 1 &&
                      std::ranges::count(group->commands, arguments[1]) != 0;
  return nested ? arguments[0] + " " + arguments[1] : arguments[0];
}

// Empty when the words up to the command are known.
std::string CommandError(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return "no command given";
  if (arguments[0] == "-h" || arguments[0] == "--help") return "";
  if (arguments[0].starts_with("-"))
    return "unknown option " + arguments[0] + "; a command comes first, then its options";
  if (std::ranges::count(kCommands, arguments[0]) == 0)
    return UnknownCommand(arguments[0], kCommands);
  const Group* group = FindGroup(arguments[0]);
  if (group == nullptr) return "";
  if (arguments.size() == 1) {
    std::string out;
    for (const std::string_view command : group->commands)
      out += (out.empty() ? " needs one of: " : ", ") + std::string(command);
    return arguments[0] + out;
  }
  if (arguments[1].starts_with("-") || std::ranges::count(group->commands, arguments[1]) != 0)
    return "";
  return UnknownCommand(arguments[1], group->commands);
}

int Dispatch(Parser& parser, const Arguments& arguments, std::ostream& out, std::ostream& err) {
  if (parser.version->parsed()) {
    PrintVersion(out);
    return gateway::kExitOk;
  }
  if (parser.run->parsed() || parser.check->parsed()) {
    const gateway::CommandOptions options{arguments.config_file, arguments.plugin_dirs,
                                          arguments.exit_when_done};
    return parser.run->parsed() ? gateway::Run(options) : gateway::Check(options, out, err);
  }
  const auto running = [&](const CLI::Option* config) {
    return RunningGateway{arguments.config_file, config->count() > 0, arguments.socket};
  };
  if (parser.status->parsed()) {
    return ShowStatus({running(parser.status_config), arguments.json, arguments.watch,
                       config::ParseDuration(arguments.interval).value()},
                      out, err);
  }
  if (parser.reload->parsed()) return Reload(running(parser.reload_config), out, err);
  if (parser.drain->parsed()) {
    DrainOptions options{running(parser.drain_config), {}};
    if (!arguments.drain_timeout.empty()) {
      const auto timeout = config::ParseDuration(arguments.drain_timeout);
      if (!timeout) return UsageError("--timeout: " + timeout.error().message, "drain", err);
      options.timeout = *timeout;
    }
    return Drain(options, out, err);
  }
  if (parser.deadletters->parsed()) return parser.deadletters_commands->Run(out, err);
  if (parser.queue->parsed()) return parser.queue_commands->Run(out, err);
  if (parser.import->parsed()) return parser.import_command->Run(out, err);
  if (parser.verify_command->parsed()) return parser.verify_command->Run(out, err);
  const auto directories = PluginDirectories(arguments.plugin_dirs, arguments.config_file, err);
  if (parser.list->parsed()) return ListPlugins(directories, arguments.json, out);
  return DescribePlugin(directories, arguments.plugin_name, arguments.json, out, err);
}

void AddVariable(std::string_view list, std::vector<std::string>* directories) {
  while (!list.empty()) {
    const size_t colon = std::min(list.find(':'), list.size());
    if (colon > 0) directories->emplace_back(list.substr(0, colon));
    list.remove_prefix(std::min(colon + 1, list.size()));
  }
}

}  // namespace

int Main(const std::vector<std::string>& words, const std::string& plugin_dir_variable,
         std::ostream& out, std::ostream& err) {
  if (words.size() == 1 && (words[0] == "--version" || words[0] == "-V")) {
    PrintVersion(out);
    return gateway::kExitOk;
  }
  if (!words.empty() && words[0] == gateway::kStoreChild)
    return gateway::StoreChildMain({words.begin() + 1, words.end()});
  if (!words.empty() && words[0] == verify::kChild)
    verify::ChildMain({words.begin() + 1, words.end()});
  if (const std::string wrong = CommandError(words); !wrong.empty())
    return UsageError(wrong, CommandOf(words), err);
  Arguments arguments;
  const auto parser = MakeParser(&arguments);
  try {
    parser->app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::CallForHelp&) {
    out << parser->app.help();
    return gateway::kExitOk;
  } catch (const CLI::ParseError& e) {
    return UsageError(e.what(), CommandOf(words), err);
  }
  AddVariable(plugin_dir_variable, &arguments.plugin_dirs);
  return Dispatch(*parser, arguments, out, err);
}

}  // namespace penstock::cli
