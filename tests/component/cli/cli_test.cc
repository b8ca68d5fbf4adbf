// The built binary, as a user meets it.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "config/common_keys.h"
#include "unit/plugin/tree.h"

namespace penstock::cli {
namespace {

using plugin::Bytes;
using plugin::Toy;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::string kAbi =
    std::to_string(PENSTOCK_ABI_MAJOR) + "." + std::to_string(PENSTOCK_ABI_MINOR);

struct Outcome {
  int code = -1;
  std::string out, err;
};

class CliTest : public ::testing::Test {
 protected:
  // arguments as a shell reads them; environment goes in front.
  Outcome Run(const std::string& arguments, const std::string& environment = "") {
    const std::string err_file = tree_.path() + "/stderr";
    const std::string command = "env -u PENSTOCK_PLUGIN_DIR " + environment +
                                " " PENSTOCK_BINARY " " + arguments + " </dev/null 2>" + err_file;
    FILE* pipe = popen(command.c_str(), "r");
    EXPECT_NE(pipe, nullptr);
    Outcome outcome;
    std::array<char, 4096> chunk{};
    for (size_t n; (n = fread(chunk.data(), 1, chunk.size(), pipe)) > 0;)
      outcome.out.append(chunk.data(), n);
    const int status = pclose(pipe);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    const Bytes err = plugin::ReadBytes(err_file);
    outcome.err.assign(err.begin(), err.end());
    return outcome;
  }
  // On a directory with three toys: good, refused, and another kind. No configuration.
  Outcome RunOnToys(const std::string& arguments) {
    tree_.Dir("plugins");
    tree_.Put("plugins/sink-toy.so", Toy("good"));
    tree_.Put("plugins/source-once.so", Toy("source", "source-once.so"));
    tree_.Put("plugins/sink-text.so", {'h', 'i'});
    return Run(arguments + " --config /nonexistent --plugin-dir " + tree_.path() + "/plugins");
  }

  plugin::Tree tree_;
};

TEST_F(CliTest, HelpSaysWhatItIsAndGivesExamplesFilesAndExitCodes) {
  for (const char* way : {"--help", "-h"}) {
    const Outcome help = Run(way);
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.err, IsEmpty());
    EXPECT_THAT(help.out, AllOf(HasSubstr("moves events from event servers to event buses"),
                                HasSubstr("Examples:\n"), HasSubstr("/etc/penstock/penstock.toml"),
                                HasSubstr("Exit codes:\n"), HasSubstr("78")));
    for (const char* command :
         {"run", "check", "status", "deadletters", "queue", "plugins", "version"})
      EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + " "));
  }
}

TEST_F(CliTest, EveryCommandHasHelp) {
  for (const char* command : {"run",
                              "check",
                              "status",
                              "deadletters",
                              "deadletters list",
                              "deadletters show",
                              "deadletters replay",
                              "deadletters drop",
                              "queue",
                              "queue list",
                              "queue info",
                              "queue cat",
                              "queue export",
                              "queue verify",
                              "queue repair",
                              "queue forget",
                              "plugins",
                              "plugins list",
                              "plugins info",
                              "plugins verify",
                              "version"}) {
    const Outcome help = Run(std::string(command) + " --help");
    EXPECT_EQ(help.code, 0) << command;
    EXPECT_THAT(help.out, HasSubstr(std::string("Usage: penstock ") + command)) << command;
    EXPECT_THAT(help.err, IsEmpty()) << command;
  }
}

TEST_F(CliTest, HelpLinesFitATerminal) {
  for (const char* command :
       {"", "run", "check", "status", "plugins list", "plugins info", "plugins verify"}) {
    std::istringstream lines(Run(std::string(command) + " --help").out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), 100u) << line;
    }
  }
}

TEST_F(CliTest, Version) {
  for (const char* way : {"version", "--version"}) {
    const Outcome version = Run(way);
    EXPECT_EQ(version.code, 0);
    EXPECT_THAT(version.out,
                AllOf(StartsWith("penstock " PENSTOCK_VERSION), HasSubstr("plugin ABI")));
  }
}

TEST_F(CliTest, WrongUsageIsExitCode2WithAHint) {
  const struct {
    const char *arguments, *what, *hint;
  } cases[] = {
      {"", "no command given", "Try: penstock --help"},
      {"chekc", "unknown command \"chekc\"; did you mean \"check\"?", "Try: penstock --help"},
      {"frobnicate", "unknown command \"frobnicate\"\n", "Try: penstock --help"},
      {"plugins", "plugins needs one of: list, info, verify", "Try: penstock plugins --help"},
      {"plugins lits", "did you mean \"list\"?", "Try: penstock plugins --help"},
      {"plugins info", "NAME", "Try: penstock plugins info --help"},
      {"run --frob", "--frob", "Try: penstock run --help"},
      {"run extra", "extra", "Try: penstock run --help"},
      {"check --config", "--config", "Try: penstock check --help"},
      {"status --socket", "--socket", "Try: penstock status --help"},
      {"--frob", "--frob", "Try: penstock --help"},
      {"queue cat a --count x", "--count: \"x\" is not a whole number\n",
       "Try: penstock queue cat --help"},
      {"queue cat a --count 1.5", "--count: \"1.5\" is not a whole number\n", "queue cat --help"},
      {"queue cat a --count=-1", "--count: \"-1\" is not a whole number\n", "queue cat --help"},
      {"queue export a b --from 99999999999999999999",
       "--from: \"99999999999999999999\" is too large\n", "Try: penstock queue export --help"},
  };
  for (const auto& c : cases) {
    const Outcome outcome = Run(c.arguments);
    EXPECT_EQ(outcome.code, 2) << c.arguments;
    EXPECT_THAT(outcome.out, IsEmpty()) << c.arguments;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("penstock: "), HasSubstr(c.what), HasSubstr(c.hint)))
        << c.arguments;
  }
}

TEST_F(CliTest, AConfigurationThatCannotBeReadIsExitCode78) {
  for (const char* command : {"run", "check", "status"}) {
    const Outcome outcome = Run(std::string(command) + " --config /nonexistent/penstock.toml");
    EXPECT_EQ(outcome.code, 78) << command;
    EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/penstock.toml")) << command;
  }
}

TEST_F(CliTest, ListShowsEachPluginAndWhyOneIsRefused) {
  const Outcome list = RunOnToys("plugins list");
  EXPECT_EQ(list.code, 0);
  EXPECT_THAT(list.err, IsEmpty());
  const std::string dir = tree_.path() + "/plugins/";
  EXPECT_EQ(
      list.out,
      "KIND    ID    VERSION  ABI  STATUS   PATH\n"
      "sink    text  -        -    refused  " +
          dir +
          "sink-text.so\n"
          "    is a text file, not a shared object; put a built plugin in its place or remove it\n"
          "sink    toy   1.0.0    " +
          kAbi + "  ok       " + dir +
          "sink-toy.so\n"
          "source  once  0.3.0    " +
          kAbi + "  ok       " + dir + "source-once.so\n");
}

TEST_F(CliTest, ListShowsWhatIsShadowed) {
  const std::string early = tree_.Dir("early"), late = tree_.Dir("late");
  tree_.Put("early/sink-toy.so", Toy("second"));
  tree_.Put("late/sink-toy.so", Toy("good"));
  const Outcome list = Run("plugins list --config /nonexistent --plugin-dir " + early,
                           "PENSTOCK_PLUGIN_DIR=" + late);
  EXPECT_EQ(list.code, 0);
  EXPECT_THAT(
      list.out,
      AllOf(HasSubstr("2.0.0    " + kAbi + "  ok        " + early + "/sink-toy.so\n"),
            HasSubstr("1.0.0    " + kAbi + "  shadowed  " + late +
                      "/sink-toy.so\n    not used: " + early + "/sink-toy.so comes first\n")));
}

TEST_F(CliTest, ListReadsPluginDirsOfTheConfiguration) {
  const std::string dir = tree_.Dir("configured");
  tree_.Put("configured/sink-toy.so", Toy("good"));
  const std::string config = "[gateway]\nplugin_dirs = [\"" + dir + "\"]\n";
  const std::string file = tree_.Put("penstock.toml", Bytes(config.begin(), config.end()));
  EXPECT_THAT(Run("plugins list --config " + file).out, HasSubstr(dir + "/sink-toy.so"));
  tree_.Put("penstock.toml", {'[', '['});
  const Outcome broken = Run("plugins list --config " + file);
  EXPECT_EQ(broken.code, 0);
  EXPECT_THAT(broken.err, HasSubstr(file + " has errors, so its plugin_dirs are not searched"));
}

TEST_F(CliTest, AnEmptyListNamesTheDirectories) {
  const std::string dir = tree_.Dir("empty");
  const Outcome list = Run("plugins list --config /nonexistent --plugin-dir " + dir);
  EXPECT_EQ(list.code, 0);
  EXPECT_THAT(list.out, HasSubstr(dir));
}

TEST_F(CliTest, ListAsJson) {
  const Outcome list = RunOnToys("plugins list --json");
  EXPECT_EQ(list.code, 0);
  const auto json = nlohmann::json::parse(list.out);
  EXPECT_EQ(json["directories"][0], tree_.path() + "/plugins");
  ASSERT_EQ(json["plugins"].size(), 3u);
  EXPECT_EQ(json["plugins"][0]["status"], "refused");
  EXPECT_THAT(json["plugins"][0]["reason"].get<std::string>(), StartsWith("is a text file"));
  EXPECT_EQ(json["plugins"][1]["id"], "toy");
  EXPECT_EQ(json["plugins"][1]["kind"], "sink");
  EXPECT_EQ(json["plugins"][1]["version"], "1.0.0");
  EXPECT_EQ(json["plugins"][1]["status"], "ok");
}

TEST_F(CliTest, InfoShowsOptionsCapabilitiesAndCommonOptions) {
  const Outcome info = RunOnToys("plugins info toy");
  EXPECT_EQ(info.code, 0) << info.err;
  EXPECT_THAT(
      info.out,
      AllOf(StartsWith("toy 1.0.0, a sink\n  Delivers all that it gets to nobody.\n"),
            HasSubstr(tree_.path() + "/plugins/sink-toy.so"), HasSubstr("The tests"),
            HasSubstr("order = \"strict\" at full speed"),
            HasSubstr("  path     string    required\n    Where it goes.\n"),
            HasSubstr("  pace     duration  250ms\n    How long it rests. From 1ms to 1m.\n"),
            HasSubstr(
                "  mode     string    soft\n    How it treats what it gets. One of: soft, hard.\n"),
            HasSubstr("credential:NAME"), HasSubstr("\n  max_in_flight "), HasSubstr("\n  from ")));
}

TEST_F(CliTest, InfoOfASourceOnTheSdk) {
  const Outcome info = RunOnToys("plugins info source-once");
  EXPECT_EQ(info.code, 0) << info.err;
  EXPECT_THAT(info.out,
              AllOf(StartsWith("once 0.3.0, a source\n"), HasSubstr("  text    string  hello\n"),
                    HasSubstr("\n  event_source ")));
}

TEST_F(CliTest, InfoAsJson) {
  const Outcome info = RunOnToys("plugins info sink-toy --json");
  EXPECT_EQ(info.code, 0) << info.err;
  const auto json = nlohmann::json::parse(info.out)["plugins"][0];
  EXPECT_EQ(json["id"], "toy");
  EXPECT_EQ(json["capabilities"], nlohmann::json({"prefix", "deduplicates"}));
  ASSERT_EQ(json["options"].size(), 4u);
  EXPECT_EQ(json["options"][0]["required"], true);
  EXPECT_EQ(json["options"][1]["default"], "250ms");
  EXPECT_EQ(json["options"][1]["min"], 1000000);
}

TEST_F(CliTest, InfoNamesEveryKeyOfTheHost) {
  const auto expect_all = [&](const std::string& plugin, const auto& keys) {
    nlohmann::json names = nlohmann::json::array();
    const std::string text = RunOnToys("plugins info " + plugin).out;
    for (const std::string_view key : keys) {
      if (key == "plugin") continue;
      names.push_back(std::string(key));
      EXPECT_THAT(text, HasSubstr("\n  " + std::string(key) + " "));
    }
    const Outcome info = RunOnToys("plugins info " + plugin + " --json");
    EXPECT_EQ(nlohmann::json::parse(info.out)["plugins"][0]["common_options"], names);
  };
  expect_all("source-once", config::kSourceKeys);
  expect_all("sink-toy", config::kSinkKeys);
}

TEST_F(CliTest, InfoOfWhatIsNotThereOrRefusedIsExitCode1) {
  const Outcome unknown = RunOnToys("plugins info tyo");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err,
              AllOf(StartsWith("penstock: no plugin \"tyo\""), HasSubstr("did you mean \"toy\"?")));
  EXPECT_THAT(unknown.out, IsEmpty());
  const Outcome refused = RunOnToys("plugins info text");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("sink-text.so is a text file"));
}

}  // namespace
}  // namespace penstock::cli
