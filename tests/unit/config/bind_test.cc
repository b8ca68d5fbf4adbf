#include <gmock/gmock.h>

#include <cstring>

#include "unit/config/support.h"

namespace penstock::config {
namespace {

std::string_view View(const penstock_str& s) { return {s.ptr, s.len}; }

constexpr int64_t kSecond = 1'000'000'000;

const penstock_option kOptions[] = {
    {"url", PENSTOCK_OPT_STRING, PENSTOCK_OPT_REQUIRED, nullptr, nullptr, 0, 0, "Where to."},
    {"mode", PENSTOCK_OPT_STRING, 0, "fast", "fast|slow|off", 0, 0, "How."},
    {"count", PENSTOCK_OPT_INT, 0, "7", nullptr, 1, 100, "How many."},
    {"least", PENSTOCK_OPT_INT, 0, nullptr, nullptr, 5, 0, "At least five."},
    {"ratio", PENSTOCK_OPT_FLOAT, 0, "0.5", nullptr, 0, 0, "How much."},
    {"on", PENSTOCK_OPT_BOOL, 0, "true", nullptr, 0, 0, "Whether."},
    {"wait", PENSTOCK_OPT_DURATION, 0, "100ms", nullptr, kSecond / 1000, 10 * kSecond, "How long."},
    {"room", PENSTOCK_OPT_SIZE, 0, "64KiB", nullptr, 1024, 1 << 20, "How large."},
    {"servers", PENSTOCK_OPT_LIST, 0, "nats://a", nullptr, 1, 2, "Whom."},
    {"tags", PENSTOCK_OPT_LIST, 0, "[\"x\", \"y\"]", "x|y|z", 0, 0, "Which."},
    {"client", PENSTOCK_OPT_MAP, 0, nullptr, nullptr, 0, 0, "The library's own."},
    {"subject", PENSTOCK_OPT_TEMPLATE, 0, "{source}.{subject}", nullptr, 0, 0, "Where."},
    {"token", PENSTOCK_OPT_SECRET, 0, nullptr, nullptr, 0, 0, "The token."},
    {"tls.ca_file", PENSTOCK_OPT_FILE, 0, nullptr, nullptr, 0, 0, "The CA."},
    {"tls.key_file", PENSTOCK_OPT_FILE, 0, nullptr, nullptr, 0, 0, "The key."},
    {"a.b.c", PENSTOCK_OPT_INT, 0, nullptr, nullptr, 0, 0, "Deep."},
};

penstock_plugin PluginOf(const penstock_option* options, size_t n, uint32_t kind = PENSTOCK_SINK) {
  penstock_plugin plugin{};
  plugin.kind = kind;
  plugin.id = "toy";
  plugin.options = options;
  plugin.n_options = n;
  plugin.option_stride = sizeof(penstock_option);
  return plugin;
}

const penstock_plugin kPlugin = PluginOf(kOptions, std::size(kOptions));

const std::string kHead =
    "[sources.a]\nplugin = \"generic\"\n[sinks.b]\nplugin = \"toy\"\nfrom = [\"a\"]\n";

Bound Bind(const std::string& text, const penstock_plugin& plugin = kPlugin,
           const std::string& file = "p.toml") {
  const Loaded loaded = LoadText({{file, kHead + text}});
  EXPECT_EQ(Text(loaded.findings), "");
  return BindOptions(loaded.config.sinks.at(0), plugin);
}

std::string FindingsOfBind(const std::string& text, const penstock_plugin& plugin = kPlugin) {
  return Text(Bind(text, plugin).findings);
}

TEST(Bind, ReadsValues) {
  const TempFolder folder;
  const std::string ca = folder.Write("ca.pem", "c"), key = folder.Write("key.pem", "k");
  const Bound bound = Bind(
      "url = \"x\"\nmode = \"slow\"\ncount = 5\nleast = 6\nratio = 2\non = false\n"
      "wait = \"1.5s\"\nroom = 2048\nservers = [\"nats://a\", \"nats://b\"]\ntags = \"z\"\n"
      "subject = \"s.{id}\"\ntls.ca_file = \"" +
          ca +
          "\"\ntls.key_file = \"key.pem\"\na.b.c = 3\n"
          "[sinks.b.client]\n\"z.y\" = \"text\"\nb = 5\na.c = true\nf = 0.25\n",
      kPlugin, folder.path() + "/p.toml");
  EXPECT_EQ(Text(bound.findings), "");
  const penstock_config* config = bound.options.abi();
  const auto get = [&](const char* name) -> const penstock_value& {
    const penstock_value* value = config->get(config, name);
    if (value == nullptr) throw std::runtime_error(name);
    EXPECT_EQ(value->is_set, 1) << name;
    return *value;
  };
  EXPECT_EQ(View(get("url").str), "x");
  EXPECT_EQ(get("url").type, PENSTOCK_OPT_STRING);
  EXPECT_EQ(View(get("mode").str), "slow");
  EXPECT_EQ(get("count").i64, 5);
  EXPECT_EQ(get("least").i64, 6);
  EXPECT_EQ(get("ratio").f64, 2.0);
  EXPECT_EQ(get("on").i64, 0);
  EXPECT_EQ(get("wait").i64, 3 * kSecond / 2);
  EXPECT_EQ(get("room").i64, 2048);
  ASSERT_EQ(get("servers").n, 2u);
  EXPECT_EQ(View(get("servers").items[0]), "nats://a");
  EXPECT_EQ(View(get("servers").items[1]), "nats://b");
  ASSERT_EQ(get("tags").n, 1u);
  EXPECT_EQ(View(get("tags").items[0]), "z");
  EXPECT_EQ(View(get("subject").str), "s.{id}");
  EXPECT_EQ(View(get("tls.ca_file").str), ca);
  EXPECT_EQ(View(get("tls.key_file").str), key);
  EXPECT_EQ(get("a.b.c").i64, 3);
  const penstock_value& client = get("client");
  std::string entries;
  for (size_t i = 0; i < client.n; ++i) {
    entries += std::string(View(client.entries[i].key)) + "=" +
               std::string(View(client.entries[i].value)) + ";";
  }
  EXPECT_EQ(entries, "z.y=text;b=5;a.c=true;f=0.25;");
  EXPECT_EQ(config->get(config, "nothing"), nullptr);
  EXPECT_EQ(config->get(config, "tls"), nullptr);
  EXPECT_EQ(config->get(config, nullptr), nullptr);
}

TEST(Bind, FillsDefaults) {
  const Bound bound = Bind("url = \"x\"\n");
  EXPECT_EQ(Text(bound.findings), "");
  const auto get = [&](const char* name) {
    const penstock_value* value = bound.options.Get(name);
    EXPECT_EQ(value->is_set, 0) << name;
    return *value;
  };
  EXPECT_EQ(View(get("mode").str), "fast");
  EXPECT_EQ(get("count").i64, 7);
  EXPECT_EQ(get("least").i64, 0);
  EXPECT_EQ(get("ratio").f64, 0.5);
  EXPECT_EQ(get("on").i64, 1);
  EXPECT_EQ(get("wait").i64, kSecond / 10);
  EXPECT_EQ(get("room").i64, 65536);
  ASSERT_EQ(get("servers").n, 1u);
  EXPECT_EQ(View(get("servers").items[0]), "nats://a");
  ASSERT_EQ(get("tags").n, 2u);
  EXPECT_EQ(View(get("tags").items[1]), "y");
  EXPECT_EQ(View(get("subject").str), "{source}.{subject}");
  EXPECT_EQ(get("token").str.len, 0u);
  EXPECT_EQ(get("client").n, 0u);
  EXPECT_EQ(get("client").type, PENSTOCK_OPT_MAP);
}

TEST(Bind, AnswersTheHostsOwnOptionsOfASink) {
  const Bound bound = Bind("url = \"x\"\nformat = \"argo\"\nmax_in_flight = { events = 3 }\n");
  const penstock_value* format = bound.options.Get("format");
  ASSERT_NE(format, nullptr);
  EXPECT_EQ(View(format->str), "argo");
  EXPECT_EQ(format->is_set, 1);
  EXPECT_EQ(bound.options.Get("max_in_flight.events")->i64, 3);
  EXPECT_EQ(bound.options.Get("max_in_flight.events")->is_set, 1);
  EXPECT_EQ(bound.options.Get("max_in_flight.bytes")->i64, 16 << 20);
  EXPECT_EQ(bound.options.Get("max_in_flight.bytes")->type, PENSTOCK_OPT_SIZE);
  EXPECT_EQ(bound.options.Get("max_in_flight.bytes")->is_set, 0);
  EXPECT_EQ(bound.options.Get("from"), nullptr);
}

TEST(Bind, AnswersTheHostsOwnOptionsOfASource) {
  Loaded loaded = LoadText({{"p.toml", "[sources.a]\nplugin = \"toy\"\nevent_name = \"n\"\n"}});
  loaded.config.sources.at(0).read_ahead_bytes = 1 << 20;
  const Bound bound =
      BindOptions(loaded.config.sources.at(0), PluginOf(nullptr, 0, PENSTOCK_SOURCE));
  EXPECT_EQ(Text(bound.findings), "");
  EXPECT_EQ(View(bound.options.Get("event_source")->str), "a");
  EXPECT_EQ(View(bound.options.Get("event_name")->str), "n");
  EXPECT_EQ(bound.options.Get("event_name")->is_set, 1);
  EXPECT_EQ(bound.options.Get("event_type")->str.len, 0u);
  EXPECT_EQ(bound.options.Get("read_ahead_bytes")->i64, 1 << 20);
  EXPECT_EQ(bound.options.Get("read_ahead_bytes")->type, PENSTOCK_OPT_SIZE);
}

TEST(Bind, OptionsMayMove) {
  Options options = std::move(Bind("url = \"x\"\n").options);
  const penstock_config* config = options.abi();
  Options moved = std::move(options);
  EXPECT_EQ(moved.abi(), config);
  EXPECT_EQ(View(config->get(config, "url")->str), "x");
  EXPECT_EQ(options.abi(), nullptr);  // NOLINT: what is left is empty, but no trap
  EXPECT_EQ(options.Get("url"), nullptr);
  EXPECT_EQ(Options().Get("url"), nullptr);
}

TEST(Bind, KnowsWhereThingsStand) {
  const Bound bound = Bind(
      "url = \"x\"\n[sinks.b.tls]\nca_file = \"/x\"\n[sinks.b.client]\n  \"a.b\" = 1\nc.d = 2\n");
  const auto where = [&](const char* option) {
    const Position at = bound.options.Where(option);
    return at.file + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
  };
  EXPECT_EQ(where("url"), "p.toml:6:7");
  EXPECT_EQ(where("tls.ca_file"), "p.toml:8:11");
  EXPECT_EQ(where("tls.key_file"), "p.toml:7:1");
  EXPECT_EQ(where("client/a.b"), "p.toml:10:11");
  EXPECT_EQ(where("client/c.d"), "p.toml:11:7");
  EXPECT_EQ(where("client/none"), "p.toml:9:1");
  EXPECT_EQ(where("from"), "p.toml:5:8");
  EXPECT_EQ(where("count"), "p.toml:3:1");
  EXPECT_EQ(where(""), "p.toml:3:1");
}

TEST(Bind, MultiLineTextIsKept) {
  const Bound bound = Bind("url = \"\"\"\nkey1: value1\n\tkey2: \"v\"\n\"\"\"\n");
  EXPECT_EQ(View(bound.options.Get("url")->str), "key1: value1\n\tkey2: \"v\"\n");
}

TEST(Bind, UnknownKeysNameTheNearest) {
  EXPECT_EQ(
      FindingsOfBind("urll = \"x\"\nfromat = \"raw\"\nca_file = \"/x\"\nxyzzy = 1\n"
                     "tls = { ca_fil = \"/x\", key_file = \"/dev/null\", foo = 1 }\ntsl = {}\n"
                     "\"a.b.c\" = 1\n"),
      "p.toml:6:1: error: unknown key \"urll\" in [sinks.b]; did you mean \"url\"?\n"
      "p.toml:7:1: error: unknown key \"fromat\" in [sinks.b]; did you mean \"format\"?\n"
      "p.toml:8:1: error: unknown key \"ca_file\" in [sinks.b]; did you mean "
      "\"tls.ca_file\"?\n"
      "p.toml:9:1: error: unknown key \"xyzzy\" in [sinks.b]; sink plugin \"toy\" has no "
      "such option: see penstock plugins info toy\n"
      "p.toml:10:9: error: unknown key \"ca_fil\" in [sinks.b.tls]; did you mean "
      "\"ca_file\"?\n"
      "p.toml:10:48: error: unknown key \"foo\" in [sinks.b.tls]; sink plugin \"toy\" has "
      "no such option: see penstock plugins info toy\n"
      "p.toml:11:1: error: unknown table \"tsl\" in [sinks.b]; did you mean \"tls\"?\n"
      "p.toml:12:1: error: unknown key \"a.b.c\" in [sinks.b]; write it without quotes, so "
      "that the dot makes a table\n");
}

TEST(Bind, RequiredOptions) {
  EXPECT_EQ(FindingsOfBind(""),
            "p.toml:3:1: error: [sinks.b] has no \"url\", which plugin \"toy\" needs: Where to.\n");
}

TEST(Bind, WrongTypes) {
  EXPECT_EQ(FindingsOfBind("url = 5\ncount = \"5\"\nratio = \"x\"\non = \"yes\"\nwait = 10\n"
                           "room = true\nservers = 5\ntags = [1, \"x\"]\nclient = \"x\"\n"
                           "subject = 1\ntoken = 1\ntls = \"x\"\na = { b = 1 }\n"),
            "p.toml:6:7: error: sinks.b.url: expected a string, found an integer\n"
            "p.toml:7:9: error: sinks.b.count: expected an integer, found a string\n"
            "p.toml:8:9: error: sinks.b.ratio: expected a number, found a string\n"
            "p.toml:9:6: error: sinks.b.on: expected true or false, found a string\n"
            "p.toml:10:8: error: sinks.b.wait: a duration needs a unit: write it as \"10s\" or "
            "\"250ms\", in quotes\n"
            "p.toml:11:8: error: sinks.b.room: expected a size such as \"64KiB\", found a boolean\n"
            "p.toml:12:11: error: sinks.b.servers: expected a list of strings, found an integer\n"
            "p.toml:13:9: error: sinks.b.tags: expected a string, found an integer\n"
            "p.toml:14:10: error: sinks.b.client: expected a table, found a string\n"
            "p.toml:15:11: error: sinks.b.subject: expected a string, found an integer\n"
            "p.toml:16:9: error: sinks.b.token: expected a string, found an integer\n"
            "p.toml:17:7: error: sinks.b.tls: expected a table, found a string\n"
            "p.toml:18:11: error: sinks.b.a.b: expected a table, found an integer\n");
}

TEST(Bind, Bounds) {
  EXPECT_EQ(FindingsOfBind("url = \"x\"\ncount = 101\nleast = 4\nratio = inf\nwait = \"11s\"\n"
                           "room = \"1KB\"\nservers = []\nmode = \"slw\"\ntags = [\"x\", \"q\"]\n"),
            "p.toml:7:9: error: sinks.b.count: must be from 1 to 100, found 101\n"
            "p.toml:8:9: error: sinks.b.least: must be at least 5, found 4\n"
            "p.toml:9:9: error: sinks.b.ratio: expected a finite number\n"
            "p.toml:10:8: error: sinks.b.wait: must be from 1ms to 10s, found 11s\n"
            "p.toml:11:8: error: sinks.b.room: must be from 1KiB to 1MiB, found 1000B\n"
            "p.toml:12:11: error: sinks.b.servers: its length must be from 1 to 2, found 0\n"
            "p.toml:13:8: error: sinks.b.mode: expected fast, slow or off, found \"slw\"; did you "
            "mean \"slow\"?\n"
            "p.toml:14:14: error: sinks.b.tags: expected x, y or z, found \"q\"\n");
}

TEST(Bind, TemplateFaultsStandAtTheirColumn) {
  EXPECT_EQ(FindingsOfBind("url = \"x\"\n  subject = 'a.{source}.\xc3\xa9{}'\n").substr(0, 45),
            "p.toml:7:26: error: sinks.b.subject: unknown ");
  EXPECT_EQ(FindingsOfBind("url = \"x\"\nsubject = \"\"\"\na}\"\"\"\n"),
            "p.toml:7:11: error: sinks.b.subject: column 2: this } closes nothing; write }} for a "
            "brace that stays\n");
  EXPECT_EQ(FindingsOfBind("url = \"x\"\nsubject = \"\\t}\"\n"),
            "p.toml:7:11: error: sinks.b.subject: column 2: this } closes nothing; write }} for a "
            "brace that stays\n");
}

TEST(Bind, Maps) {
  EXPECT_EQ(FindingsOfBind("url = \"x\"\nclient = { \"a.b\" = 1, a.b = 2, c = [1], \"\" = 1, d = "
                           "1979-05-27, e = \"\\u0000\" }\n"),
            "p.toml:7:29: error: sinks.b.client: \"a.b\" is set twice, the other is at "
            "p.toml:7:20\n"
            "p.toml:7:36: error: sinks.b.client.c: expected a string, a number, true or false, "
            "found a list\n"
            "p.toml:7:41: error: sinks.b.client.: a key is not empty and holds no control "
            "characters\n"
            "p.toml:7:53: error: sinks.b.client.d: expected a string, a number, true or false, "
            "found a date or time\n"
            "p.toml:7:69: error: sinks.b.client.e: holds a NUL character, which no option can "
            "carry\n");
}

TEST(Bind, SecretsAreReferencesAndNeverShown) {
  for (const char* literal : {"hunter2", "hunter2\\u0000", "ENV:hunter2"}) {
    const std::string text =
        FindingsOfBind("url = \"x\"\ntoken = \"" + std::string(literal) + "\"\n");
    EXPECT_THAT(text, testing::StartsWith("p.toml:7:9: error: sinks.b.token: ")) << literal;
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("hunter2"))) << literal;
  }
  EXPECT_EQ(FindingsOfBind("url = \"x\"\ntoken = \"hunter2\"\n"),
            "p.toml:7:9: error: sinks.b.token: a secret must not stand in this file: write "
            "env:NAME, file:/path or credential:NAME\n");
  EXPECT_EQ(FindingsOfBind("url = \"x\"\ntoken = \"file:token\"\n"),
            "p.toml:7:9: error: sinks.b.token: file: needs an absolute path\n");
  EXPECT_EQ(FindingsOfBind("url = \"x\"\ntoken = \"env:MY-TOKEN\"\n"),
            "p.toml:7:9: error: sinks.b.token: env: needs the name of an environment variable\n");
  EXPECT_EQ(FindingsOfBind("url = \"x\"\ntoken = \"credential:../x\"\n"),
            "p.toml:7:9: error: sinks.b.token: credential: needs a credential's name\n");
}

TEST(Bind, SecretsThatAreNotThereYet) {
  const ScopedVariable none("PENSTOCK_TEST_SECRET", nullptr);
  const ScopedVariable outside("CREDENTIALS_DIRECTORY", nullptr);
  const Bound env = Bind("url = \"x\"\ntoken = \"env:PENSTOCK_TEST_SECRET\"\n");
  EXPECT_EQ(Text(env.findings),
            "p.toml:7:9: notice: sinks.b.token: the environment variable PENSTOCK_TEST_SECRET is "
            "not set here; the daemon needs it\n");
  EXPECT_EQ(View(env.options.Get("token")->str), "env:PENSTOCK_TEST_SECRET");
  EXPECT_EQ(FindingsOfBind("url = \"x\"\ntoken = \"file:/nowhere/token\"\n"),
            "p.toml:7:9: warning: sinks.b.token: there is no file /nowhere/token\n");
  EXPECT_EQ(FindingsOfBind("url = \"x\"\nclient = { pass = \"credential:t\" }\n"),
            "p.toml:7:19: notice: sinks.b.client: the credential t can be seen only in the systemd "
            "unit; not checked\n");
}

TEST(Bind, CredentialsAsFiles) {
  const std::string text = "url = \"x\"\ntls.key_file = \"credential:key\"\n";
  {
    const ScopedVariable outside("CREDENTIALS_DIRECTORY", nullptr);
    const Bound bound = Bind(text);
    EXPECT_EQ(Text(bound.findings),
              "p.toml:7:16: notice: sinks.b.tls.key_file: the credential key can be seen only in "
              "the systemd unit; not checked\n");
    EXPECT_EQ(View(bound.options.Get("tls.key_file")->str),
              "/run/credentials/penstock.service/key");
  }
  const TempFolder folder;
  const ScopedVariable inside("CREDENTIALS_DIRECTORY", folder.path().c_str());
  EXPECT_EQ(FindingsOfBind(text),
            "p.toml:7:16: error: sinks.b.tls.key_file: there is no credential key: add "
            "LoadCredential=key:/path to the unit\n");
  const std::string path = folder.Write("key", "k");
  const Bound bound = Bind(text);
  EXPECT_EQ(Text(bound.findings), "");
  EXPECT_EQ(View(bound.options.Get("tls.key_file")->str), path);
}

TEST(Bind, Files) {
  EXPECT_EQ(FindingsOfBind("url = \"x\"\ntls = { ca_file = \"\", key_file = \"file:/x\" }\n"),
            "p.toml:7:19: error: sinks.b.tls.ca_file: a path must not be empty\n"
            "p.toml:7:34: error: sinks.b.tls.key_file: expected a path by itself, or "
            "credential:NAME\n");
}

TEST(Bind, FilesThatAreNotThereYet) {
  EXPECT_EQ(
      FindingsOfBind("url = \"x\"\ntls = { ca_file = \"/nowhere/ca\", key_file = \"/usr\" }\n"),
      "p.toml:7:19: warning: sinks.b.tls.ca_file: there is no file /nowhere/ca\n"
      "p.toml:7:45: warning: sinks.b.tls.key_file: /usr is a folder, not a file\n");
  // What stands in a plugin's table of options is not the user's.
  const penstock_option option = {"f", PENSTOCK_OPT_FILE, 0, "/nowhere/f", nullptr, 0,
                                  0,   "A file."};
  EXPECT_EQ(FindingsOfBind("", PluginOf(&option, 1)), "");
}

TEST(Bind, TablesFromTwoFiles) {
  const Loaded loaded =
      LoadText({{"p.toml", kHead + "client = { a = 1 }\n"},
                {"q.toml", "[sinks.b]\nurl = \"x\"\nclient = { b = 2 }\nzz = 1\n"}});
  const Bound bound = BindOptions(loaded.config.sinks.at(0), kPlugin);
  EXPECT_EQ(Text(bound.findings),
            "q.toml:4:1: error: unknown key \"zz\" in [sinks.b]; sink plugin \"toy\" has no such "
            "option: see penstock plugins info toy\n");
  EXPECT_EQ(bound.options.Get("client")->n, 2u);
  EXPECT_EQ(bound.options.Where("client/b").file, "q.toml");
}

TEST(Bind, ATableWithErrorsOfTheHostsIsBoundAllTheSame) {
  const Loaded loaded = LoadText({{"p.toml", kHead + "order = 5\nurll = \"x\"\n"}});
  EXPECT_FALSE(loaded.ok());
  ASSERT_TRUE(loaded.complete);
  EXPECT_EQ(Text(BindOptions(loaded.config.sinks.at(0), kPlugin).findings),
            "p.toml:7:1: error: unknown key \"urll\" in [sinks.b]; did you mean \"url\"?\n");
}

TEST(Bind, ATableMadeByHandHasNoKeys) {
  SinkConfig sink;
  EXPECT_EQ(Text(BindOptions(sink, PluginOf(nullptr, 0)).findings), "");
}

constexpr const char* kBlame = "p.toml:4:10: error: plugin \"toy\" is at fault, not this file: ";

std::string BindBad(const penstock_option& option, uint32_t kind = PENSTOCK_SINK) {
  return FindingsOfBind("", PluginOf(&option, 1, kind));
}

TEST(BadOptionTable, IsThePluginsFault) {
  const auto blamed = [](const std::string& fault) {
    return kBlame + fault + "; tell its author\n";
  };
  EXPECT_EQ(BindBad({nullptr, 1, 0, nullptr, nullptr, 0, 0, nullptr}),
            blamed("option number 1 has no name"));
  for (const char* name : {"", ".", "a.", ".a", "a..b", "A", "1a", "a-b", "a b"}) {
    EXPECT_EQ(BindBad({name, 1, 0, nullptr, nullptr, 0, 0, nullptr}),
              blamed("option \"" + std::string(name) +
                     "\" has a name that is not lower-case letters, digits, _ and dots"));
  }
  EXPECT_EQ(BindBad({"from", 1, 0, nullptr, nullptr, 0, 0, nullptr}),
            blamed("option \"from\" has a name that is the gateway's own"));
  EXPECT_EQ(BindBad({"retry.initial", 1, 0, nullptr, nullptr, 0, 0, nullptr}),
            blamed("option \"retry.initial\" has a name that is the gateway's own"));
  EXPECT_EQ(BindBad({"x", 0, 0, nullptr, nullptr, 0, 0, nullptr}),
            blamed("option \"x\" has the unknown type 0"));
  EXPECT_EQ(BindBad({"x", 99, 0, nullptr, nullptr, 0, 0, nullptr}),
            blamed("option \"x\" has the unknown type 99"));
  EXPECT_EQ(
      BindBad({"x", PENSTOCK_OPT_TEMPLATE, 0, nullptr, nullptr, 0, 0, nullptr}, PENSTOCK_SOURCE),
      blamed("option \"x\" is a template, which only sinks may have"));
  EXPECT_EQ(BindBad({"x", PENSTOCK_OPT_INT, 0, nullptr, nullptr, 5, 4, nullptr}),
            blamed("option \"x\" has a min above its max"));
  EXPECT_EQ(BindBad({"x", PENSTOCK_OPT_INT, 0, "five", nullptr, 0, 0, nullptr}),
            blamed("option \"x\" has a default that cannot be read"));
  EXPECT_EQ(BindBad({"x", PENSTOCK_OPT_INT, 0, "5", nullptr, 6, 7, nullptr}),
            blamed("the default of option \"x\" is bad: sinks.b.x: must be from 6 to 7, found 5"));
  EXPECT_EQ(BindBad({"x", PENSTOCK_OPT_STRING, 0, "c", "a|b", 0, 0, nullptr}),
            blamed("the default of option \"x\" is bad: sinks.b.x: expected a or b, found \"c\""));
  EXPECT_EQ(BindBad({"x", PENSTOCK_OPT_TEMPLATE, 0, "{", nullptr, 0, 0, nullptr}),
            blamed("the default of option \"x\" is bad: sinks.b.x: column 1: this { is never "
                   "closed; write {{ for a brace that stays"));
}

TEST(BadOptionTable, AsAWhole) {
  penstock_plugin plugin = PluginOf(nullptr, 3);
  EXPECT_EQ(FindingsOfBind("", plugin),
            std::string(kBlame) +
                "it says that it has 3 options, but has no such table; tell its author\n");
  plugin = PluginOf(kOptions, SIZE_MAX);
  EXPECT_NE(FindingsOfBind("", plugin).find("but has no such table"), std::string::npos);
  plugin = PluginOf(kOptions, 1);
  for (const uint32_t stride : {0u, 1u, 8u, 57u, UINT32_MAX}) {
    plugin.option_stride = stride;
    EXPECT_NE(FindingsOfBind("", plugin).find("its option_stride cannot be"), std::string::npos)
        << stride;
  }
  const penstock_option twice[] = {kOptions[1], kOptions[1]};
  EXPECT_EQ(FindingsOfBind("", PluginOf(twice, 2)),
            std::string(kBlame) + "option \"mode\" stands in its table twice; tell its author\n");
  const penstock_option both[] = {{"tls", PENSTOCK_OPT_BOOL, 0, nullptr, nullptr, 0, 0, nullptr},
                                  kOptions[13]};
  EXPECT_EQ(FindingsOfBind("", PluginOf(both, 2)),
            std::string(kBlame) + "option \"tls\" is also a table of options; tell its author\n");
  plugin = PluginOf(nullptr, 0);
  plugin.id = nullptr;
  EXPECT_EQ(FindingsOfBind("zz = 1\n", plugin),
            "p.toml:6:1: error: unknown key \"zz\" in [sinks.b]; sink plugin \"?\" has no such "
            "option: see penstock plugins info ?\n");
}

TEST(OptionStride, LongerAndShorterTablesAreRead) {
  struct Longer {
    penstock_option option;
    void* later;
  };
  const Longer longer[] = {{kOptions[1], nullptr}, {kOptions[2], nullptr}};
  penstock_plugin plugin = PluginOf(&longer[0].option, 2);
  plugin.option_stride = sizeof(Longer);
  Bound bound = Bind("count = 3\n", plugin);
  EXPECT_EQ(Text(bound.findings), "");
  EXPECT_EQ(bound.options.Get("count")->i64, 3);

  constexpr size_t kShort = offsetof(penstock_option, choices);
  alignas(penstock_option) char shorter[2 * kShort];
  std::memcpy(shorter, &kOptions[1], kShort);
  std::memcpy(shorter + kShort, &kOptions[2], kShort);
  plugin = PluginOf(reinterpret_cast<const penstock_option*>(shorter), 2);
  plugin.option_stride = kShort;
  bound = Bind("mode = \"any\"\ncount = 3000\n", plugin);
  EXPECT_EQ(Text(bound.findings), "");
  EXPECT_EQ(View(bound.options.Get("mode")->str), "any");
  EXPECT_EQ(bound.options.Get("count")->i64, 3000);
}

}  // namespace
}  // namespace penstock::config
