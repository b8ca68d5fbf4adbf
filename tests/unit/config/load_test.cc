#include <gmock/gmock.h>

#include "unit/config/support.h"

namespace penstock::config {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Case {
  const char* name;
  std::string text;
  std::string findings;  // all of them
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class LoadFindings : public testing::TestWithParam<Case> {};

TEST_P(LoadFindings, AreExact) { EXPECT_EQ(FindingsOf(GetParam().text), GetParam().findings); }

std::string CaseName(const testing::TestParamInfo<Case>& info) { return info.param.name; }

// A source that is in order, so that a case has only its own fault.
const std::string kSource = "[sources.a]\nplugin = \"generic\"\n";
const std::string kSink = "[sinks.b]\nplugin = \"null\"\nfrom = [\"a\"]\n";
const std::string kBoth = kSource + kSink;

INSTANTIATE_TEST_SUITE_P(
    Toml, LoadFindings,
    testing::Values(
        Case{"UnquotedWord", "[gateway]\nlog = { level = info }\nname = edge\n",
             "p.toml:2:17: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"UnquotedValue", "[gateway]\nname = edge\n",
             "p.toml:2:8: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"UnquotedDuration", "[gateway]\n  shutdown_timeout =  10s # so\n",
             "p.toml:2:23: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"UnquotedSecret", "[gateway]\nname = topsecret\n",
             "p.toml:2:8: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"UnquotedSecretInside", "[gateway]\na = [ topsecret ]\n",
             "p.toml:2:7: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"UnquotedUrl", "[gateway]\na = [1, http://x:1/y]\n",
             "p.toml:2:9: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"UnquotedAfterUmlaut", "a = { b = \"\xc3\xa9\", c = 1s }\n",
             "p.toml:1:20: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"NotQuiteTrue", "a = 1\nb = [ true, topsecret.x ]\n",
             "p.toml:2:13: error: text, durations and sizes stand in quotes, as in \"10s\"\n"},
        Case{"OpenString", "[gateway]\nname = \"edge\n",
             "p.toml:2:13: error: not valid TOML: this string has no closing quote on its line\n"},
        Case{"OpenHeader", "[gateway\nname = 1\n",
             "p.toml:1:9: error: not valid TOML: in this table header: expected ']', saw '\\n'\n"},
        Case{"NoEquals", "[gateway]\nname \"a\"\n",
             "p.toml:2:6: error: not valid TOML: in this key-value pair: expected '=', saw "
             "'\"'\n"},
        Case{"KeyTwice", "[sources.a]\nplugin = \"x\"\nurl = \"1\"\n\nurl = \"2\"\n",
             "p.toml:5:1: error: set twice in this file, first in line 3, column 1: remove one of "
             "the two\n"},
        Case{"DottedKeyTwice", "[sources.a]\nq.x = 1\nq.y = 2\n[sources.b]\nq.x = 1\nq.x = 1\n",
             "p.toml:6:3: error: set twice in this file, first in line 5, column 3: remove one of "
             "the two\n"},
        Case{
            "HeaderTwice", "[sources.a]\nx = 1\n[sources.b]\n[sources.a]\n",
            "p.toml:4:10: error: set twice in this file, first in line 1, column 10: remove one of "
            "the two\n"},
        Case{"BadEscape", "[gateway]\nname = \"a\\q\"\n",
             "p.toml:2:11: error: not valid TOML: in this string: unknown escape sequence '\\q'\n"},
        Case{"NotUtf8", "[gateway]\nname = \"\xc3\xa9\xff\"\n",
             "p.toml:2:10: error: not UTF-8 text\n"},
        Case{"Surrogate", "# \xed\xa0\x80", "p.toml:1:3: error: not UTF-8 text\n"},
        Case{"Utf16", std::string("\xff\xfe[\0g\0]\0", 8), "p.toml:1:1: error: not UTF-8 text\n"},
        Case{"Nul", std::string("[gateway]\nname = \"a\0\"\n", 21),
             "p.toml:2:10: error: a NUL byte: this is not a text file\n"},
        Case{"NonAsciiKey", "\xc3\xa9 = 1\n",
             "p.toml:1:1: error: not valid TOML: in this root table: expected keys, tables, "
             "whitespace or comments, saw '\xc3\xa9'\n"},
        Case{"DeepLists", "x = " + std::string(100'000, '['),
             "p.toml:1:37: error: nested too deeply\n"},
        Case{"DeepTables",
             "x = " +
                 [] {
                   std::string s;
                   for (int i = 0; i < 10'000; ++i) s += "{a=";
                   return s;
                 }(),
             "p.toml:1:101: error: nested too deeply\n"},
        Case{"DeepKey",
             "[a" +
                 [] {
                   std::string s;
                   for (int i = 0; i < 100'000; ++i) s += ".a";
                   return s;
                 }() +
                 "]\n",
             "p.toml:1:35: error: a key of too many parts\n"},
        Case{"AssertInLibrary", "v=[}1_%60",
             "p.toml:1:4: error: not valid TOML: in this value: "
             "could not determine value type\n"}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    Whole, LoadFindings,
    testing::Values(
        Case{"Empty", "",
             "p.toml: notice: nothing is configured: add a [sources.NAME] and a [sinks.NAME] "
             "table\n"},
        Case{"ByteOrderMark", "\xEF\xBB\xBF[gatewya]\n",
             "p.toml: notice: nothing is configured: add a [sources.NAME] and a [sinks.NAME] "
             "table\n"
             "p.toml:1:2: error: unknown table \"gatewya\"; did you mean \"gateway\"?\n"},
        Case{"UnknownTables", kBoth + "[source.c]\n[logging]\nx = 1\n",
             "p.toml:6:2: error: unknown table \"source\"; did you mean \"sources\"?\n"
             "p.toml:7:2: error: unknown table \"logging\"; known are gateway, sources and "
             "sinks\n"},
        Case{"UnknownTopKey", "name = \"x\"\n" + kBoth,
             "p.toml:1:1: error: unknown key \"name\"; known are gateway, sources and sinks\n"},
        Case{"TablesThatAreNone", "gateway = 1\nsources = \"x\"\nsinks = []\n",
             "p.toml: notice: nothing is configured: add a [sources.NAME] and a [sinks.NAME] "
             "table\n"
             "p.toml:1:11: error: gateway: expected a table, found an integer\n"
             "p.toml:2:11: error: sources: expected a table, found a string\n"
             "p.toml:3:9: error: sinks: expected a table, found a list\n"},
        Case{"ArrayOfTables", "[[sources]]\nplugin = \"x\"\n" + kSink,
             "p.toml:1:1: error: sources: expected a table, found a list\n"
             "p.toml:5:9: error: sinks.b.from: there is no source \"a\"\n"}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    Gateway, LoadFindings,
    testing::Values(
        Case{"UnknownKey", kBoth + "[gateway]\nshutdown_timout = \"1s\"\nfoo = 1\n",
             "p.toml:7:1: error: unknown key \"shutdown_timout\" in [gateway]; did you mean "
             "\"shutdown_timeout\"?\n"
             "p.toml:8:1: error: unknown key \"foo\" in [gateway]; known are name, plugin_dirs, "
             "shutdown_timeout, drain_timeout, memory_limit, state_dir, commit, admin_socket, "
             "admin_listen and log\n"},
        Case{"WrongTypes",
             kBoth + "[gateway]\nname = 1\nplugin_dirs = 2\nshutdown_timeout = 30\n"
                     "memory_limit = 1.5\nlog = \"debug\"\nadmin_socket = true\n",
             "p.toml:7:8: error: gateway.name: expected a string, found an integer\n"
             "p.toml:8:15: error: gateway.plugin_dirs: expected a list of strings, found an "
             "integer\n"
             "p.toml:9:20: error: gateway.shutdown_timeout: a duration needs a unit: write it as "
             "\"10s\" or \"250ms\", in quotes\n"
             "p.toml:10:16: error: gateway.memory_limit: expected a size such as \"64KiB\", found "
             "a float\n"
             "p.toml:11:7: error: gateway.log: expected a table, found a string\n"
             "p.toml:12:16: error: gateway.admin_socket: expected a string, found a boolean\n"},
        Case{"LongSocket", kBoth + "[gateway]\nadmin_socket = \"/" + std::string(107, 'x') + "\"\n",
             "p.toml:7:16: error: gateway.admin_socket: /" + std::string(107, 'x') +
                 " has more than the 107 bytes that a socket's path may have\n"},
        Case{"ListenOnANumber", kBoth + "[gateway]\nadmin_listen = 9464\n",
             "p.toml:7:16: error: gateway.admin_listen: expected a string, found an integer\n"},
        Case{"ListenWithoutPort", kBoth + "[gateway]\nadmin_listen = \"localhost\"\n",
             "p.toml:7:16: error: gateway.admin_listen: \"localhost\" has no port: write "
             "\"HOST:PORT\", such as \"127.0.0.1:9464\" or \"[::1]:9464\"\n"},
        Case{"BadValues",
             kBoth + "[gateway]\nname = \"\"\nplugin_dirs = [\"/a\", 3]\n"
                     "shutdown_timeout = \"30 seconds\"\nmemory_limit = \"lots\"\n"
                     "log = { level = \"warning\", format = \"xml\", file = 1 }\n",
             "p.toml:7:8: error: gateway.name: must not be empty\n"
             "p.toml:8:22: error: gateway.plugin_dirs: expected a string, found an integer\n"
             "p.toml:9:20: error: gateway.shutdown_timeout: \"30 seconds\" is not a duration: "
             "write numbers with a unit (ns, us, ms, s, m, h, d), as in \"10s\", \"250ms\" or "
             "\"1h30m\"\n"
             "p.toml:10:16: error: gateway.memory_limit: \"lots\" is not a size: write a whole "
             "number with a unit (B, KB, MB, GB, KiB, MiB, GiB, TiB), as in \"64KiB\" or "
             "\"100MB\"\n"
             "p.toml:11:17: error: gateway.log.level: expected debug, info, warn or error, found "
             "\"warning\"\n"
             "p.toml:11:37: error: gateway.log.format: expected auto, text, json or journal, "
             "found \"xml\"\n"
             "p.toml:11:44: error: unknown key \"file\" in [gateway.log]; known are level and "
             "format\n"},
        Case{"OutOfRange",
             kBoth + "[gateway]\nname = \"a\\nb\"\nshutdown_timeout = \"25h\"\n"
                     "memory_limit = \"1KiB\"\n",
             "p.toml:7:8: error: gateway.name: must not hold control characters\n"
             "p.toml:8:20: error: gateway.shutdown_timeout: must be from 0s to 1d, found 1d1h\n"
             "p.toml:9:16: error: gateway.memory_limit: must be from 1MiB to 1TiB, found "
             "1KiB\n"}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    Source, LoadFindings,
    testing::Values(
        Case{"Names", "[sources.\"a b\"]\nplugin = \"x\"\n[sources]\nc = 1\n" + kBoth,
             "p.toml:1:10: error: sources: \"a b\" is no name: 1 to 64 of the characters A-Z a-z "
             "0-9 _ -\n"
             "p.toml:4:5: error: sources.c: expected a table, found an integer\n"},
        Case{"NoPlugin", "[sources.a]\nurl = \"x\"\n" + kSink,
             "p.toml:1:1: error: [sources.a] has no \"plugin\": add plugin = \"NAME\"\n"},
        Case{"PluginMisspelt", "[sources.a]\nplugn = \"x\"\n" + kSink,
             "p.toml:1:1: error: [sources.a] has no \"plugin\": add plugin = \"NAME\"; did you "
             "mean it by \"plugn\" in line 2?\n"},
        Case{"BadPlugin", "[sources.a]\nplugin = \"../x\"\n" + kSink,
             "p.toml:2:10: error: sources.a.plugin: \"../x\" is no plugin's name: at most 47 of "
             "the characters a-z 0-9 -\n"},
        Case{"EmptyNames",
             kSource + "event_source = \"\"\nevent_name = 5\nevent_type = \"\\u0000\"\n" + kSink,
             "p.toml:3:16: error: sources.a.event_source: must not be empty\n"
             "p.toml:4:14: error: sources.a.event_name: expected a string, found an integer\n"
             "p.toml:5:14: error: sources.a.event_type: holds a NUL character, which no option can "
             "carry\n"},
        Case{
            "Queue",
            kSource +
                "[sources.a.queue]\nstorage = \"tape\"\nmax_events = 0\nmax_bytes = -1\n"
                "when_full = \"drop\"\nmax_age = 1\n" +
                kSink,
            "p.toml:4:11: error: sources.a.queue.storage: expected memory or disk, found \"tape\"\n"
            "p.toml:5:14: error: sources.a.queue.max_events: must be from 1 to 1000000000, found "
            "0\n"
            "p.toml:6:13: error: sources.a.queue.max_bytes: a size is not negative\n"
            "p.toml:7:13: error: sources.a.queue.when_full: expected block, drop_newest or "
            "drop_oldest, found \"drop\"\n"
            "p.toml:8:1: error: unknown key \"max_age\" in [sources.a.queue]; known are storage, "
            "max_events, max_bytes and when_full\n"},
        Case{"QueueAboveLimit",
             "[gateway]\nmemory_limit = \"2MiB\"\n" + kSource +
                 "queue = { max_bytes = \"3MiB\" }\n" + kSink,
             "p.toml:5:23: warning: sources.a.queue.max_bytes: 3MiB cannot be reached, "
             "gateway.memory_limit is 2MiB\n"},
        Case{"Metadata",
             kSource +
                 "metadata = { Region = \"x\", ok = 1, time = \"t\", d = [1], e = {f = 1}, "
                 "abcdefghijklmnopqrstu = true }\n" +
                 kSink,
             "p.toml:3:14: error: sources.a.metadata: \"Region\" cannot be the name of a "
             "CloudEvents extension: 1 to 20 of the characters a-z 0-9 (only sinks with format = "
             "\"argo\" or \"raw\" take other names)\n"
             "p.toml:3:36: error: sources.a.metadata: \"time\" is a name that CloudEvents itself "
             "uses: choose another\n"
             "p.toml:3:52: error: sources.a.metadata.d: expected a string, a number, true or "
             "false, found a list\n"
             "p.toml:3:57: error: sources.a.metadata: \"e\" cannot be the name of a CloudEvents "
             "extension: 1 to 20 of the characters a-z 0-9 (only sinks with format = \"argo\" or "
             "\"raw\" take other names)\n"
             "p.toml:3:70: error: sources.a.metadata: \"abcdefghijklmnopqrstu\" cannot be the name "
             "of a CloudEvents extension: 1 to 20 of the characters a-z 0-9 (only sinks with "
             "format = \"argo\" or \"raw\" take other names)\n"},
        Case{"MetadataForArgo",
             kSource + "metadata = { Region = \"x\", \"a.b\" = 1 }\n" + kSink +
                 "format = \"argo\"\n",
             ""},
        Case{"MetadataForArgoAndMore",
             kSource + "metadata = { Region = \"x\" }\n" + kSink +
                 "format = \"argo\"\n[sinks.c]\nplugin = \"null\"\nfrom = \"*\"\n",
             "p.toml:3:14: error: sources.a.metadata: \"Region\" cannot be the name of a "
             "CloudEvents extension: 1 to 20 of the characters a-z 0-9 (only sinks with format = "
             "\"argo\" or \"raw\" take other names)\n"},
        Case{"MetadataIsNoTable", kSource + "metadata = \"x\"\n" + kSink,
             "p.toml:3:12: error: sources.a.metadata: expected a table, found a string\n"},
        Case{"NobodyReads", kSource,
             "p.toml:1:1: error: no sink reads source \"a\": name it in the \"from\" of a "
             "[sinks.NAME] table, or remove it\n"}),
    CaseName);

INSTANTIATE_TEST_SUITE_P(
    Sink, LoadFindings,
    testing::Values(
        Case{"NoFrom", kSource + "[sinks.b]\nplugin = \"null\"\nform = \"a\"\n",
             "p.toml:3:1: error: [sinks.b] has no \"from\": add from = [\"SOURCE\"] or from = "
             "[\"*\"]; did you mean it by \"form\" in line 5?\n"},
        Case{"FromUnknown",
             "[sources.orders]\nplugin = \"x\"\n[sources.bills]\nplugin = \"x\"\n[sinks.b]\n"
             "plugin = \"null\"\nfrom = [\"order\", \"zzz\", \"bills\"]\n",
             "p.toml:7:9: error: sinks.b.from: there is no source \"order\"; did you mean "
             "\"orders\"?\n"
             "p.toml:7:18: error: sinks.b.from: there is no source \"zzz\"; known are orders and "
             "bills\n"},
        Case{"FromTypes",
             kSource + "[sinks.b]\nplugin = \"null\"\nfrom = [1, \"a\", \"a\"]\n"
                       "[sinks.c]\nplugin = \"null\"\nfrom = []\n"
                       "[sinks.d]\nplugin = \"null\"\nfrom = true\n",
             "p.toml:5:9: error: sinks.b.from: expected a string, found an integer\n"
             "p.toml:5:17: error: sinks.b.from: names \"a\" twice\n"
             "p.toml:8:8: error: sinks.c.from: names no source: write [\"SOURCE\"] or [\"*\"]\n"
             "p.toml:11:8: error: sinks.d.from: expected a list of strings, found a boolean\n"},
        Case{"FromAllOfNone", "[sinks.b]\nplugin = \"null\"\nfrom = [\"*\"]\n",
             "p.toml:3:9: warning: sinks.b.from: there are no sources yet\n"},
        Case{"Choices", kBoth + "format = \"cloud-events\"\norder = \"Strict\"\nwhen_behind = 1\n",
             "p.toml:6:10: error: sinks.b.format: expected cloudevents, cloudevents-binary, argo "
             "or raw, found \"cloud-events\"; did you mean \"cloudevents\"?\n"
             "p.toml:7:9: error: sinks.b.order: expected relaxed or strict, found \"Strict\"; did "
             "you mean \"strict\"?\n"
             "p.toml:8:15: error: sinks.b.when_behind: expected a string, found an integer\n"},
        Case{"Skip", kBoth + "when_behind = \"skip\"\n",
             "p.toml:6:15: error: sinks.b.when_behind: \"skip\" needs to know how far: add "
             "max_behind = { events = 10000 }, with any of events, bytes and age\n"},
        Case{"HoldWithBounds", kBoth + "max_behind = { events = 5 }\n",
             "p.toml:6:14: warning: sinks.b.max_behind: has no effect without when_behind = "
             "\"skip\"\n"},
        Case{"Behind",
             kBoth + "when_behind = \"skip\"\n"
                     "max_behind = { events = 0, bytes = \"x\", age = 5, foo = 1 }\n",
             "p.toml:7:25: error: sinks.b.max_behind.events: must be from 1 to 1000000000, found "
             "0\n"
             "p.toml:7:36: error: sinks.b.max_behind.bytes: \"x\" is not a size: write a whole "
             "number with a unit (B, KB, MB, GB, KiB, MiB, GiB, TiB), as in \"64KiB\" or "
             "\"100MB\"\n"
             "p.toml:7:47: error: sinks.b.max_behind.age: a duration needs a unit: write it as "
             "\"10s\" or \"250ms\", in quotes\n"
             "p.toml:7:50: error: unknown key \"foo\" in [sinks.b.max_behind]; known are events, "
             "bytes and age\n"},
        Case{"InFlight", kBoth + "max_in_flight = 100\nretry = { initial = \"20s\", maxx = 1 }\n",
             "p.toml:6:17: error: sinks.b.max_in_flight: expected a table, found an integer\n"
             "p.toml:7:9: error: sinks.b.retry.initial: 20s is longer than retry.max, 10s\n"
             "p.toml:7:28: error: unknown key \"maxx\" in [sinks.b.retry]; did you mean "
             "\"max\"?\n"},
        Case{"Headers",
             kBoth + "[sinks.b.headers]\nx-a = \"{source}\"\n\"x b\" = \"1\"\nx-c = 5\n"
                     "x-d = \"a{sorce}\"\nx-e = [1]\n",
             "p.toml:8:9: error: sinks.b.headers: \"x b\" is no header's name: visible ASCII "
             "without a colon, at most 128 characters\n"
             "p.toml:10:9: error: sinks.b.headers.x-d: unknown placeholder {sorce}, did you mean "
             "{source}? (known: {source}, {subject}, {type}, {id}, {sink}, {table}, "
             "{metadata.NAME}, {attribute.NAME})\n"
             "p.toml:11:7: error: sinks.b.headers.x-e: expected a string, a number, true or false, "
             "found a list\n"},
        Case{"Filter",
             kBoth + "filter = \"subject == 'é' and bodi.x\"\non_filter_error = \"skip\"\n",
             "p.toml:6:30: error: sinks.b.filter: unknown name 'bodi'; did you mean \"body\"?\n"
             "p.toml:7:19: error: sinks.b.on_filter_error: expected dead_letter, drop or pass, "
             "found \"skip\"\n"},
        Case{"FilterOfTheSource", kSource + "filter = 'type = 5'\n" + kSink,
             "p.toml:3:11: error: sources.a.filter: 'type' cannot be assigned to\n"},
        Case{"FilterOfManyLines",
             kBoth + "filter = '''\nsubject == 'x' and\n  matches(type, '(')\n'''\n",
             "p.toml:8:17: error: sinks.b.filter: no regular expression: missing ): (\n"},
        Case{"FilterWithEscapes", kBoth + "filter = \"body.a == \\\"x\\\" &&\"\n",
             "p.toml:6:10: error: sinks.b.filter: line 1, column 15 of the expression: '&&' is not "
             "of this language; write and\n"},
        Case{"FilterThatIsEmpty", kBoth + "filter = \"\"\n",
             "p.toml:6:11: error: sinks.b.filter: it is empty\n"},
        Case{"FilterOfAnotherKind", kBoth + "filter = true\n",
             "p.toml:6:10: error: sinks.b.filter: expected a string, found a boolean\n"},
        Case{"FilterErrorWithoutAFilter", kBoth + "on_filter_error = \"drop\"\n",
             "p.toml:6:19: error: sinks.b.on_filter_error: has no effect without a filter: add "
             "one\n"}),
    CaseName);

TEST(Load, TheAdminSocketIsInTheRuntimeDirectoryOrWhereTheFileSays) {
  const auto socket = [](const std::string& line) {
    const Loaded loaded = LoadText({{"/c/p.toml", kBoth + "[gateway]\n" + line}});
    EXPECT_EQ(Text(loaded.findings), "");
    return loaded.config.gateway.admin_socket;
  };
  const ScopedVariable unit("RUNTIME_DIRECTORY", "/run/edge:/run/other");
  EXPECT_EQ(socket(""), "/run/edge/admin.sock");
  EXPECT_EQ(socket("admin_socket = \"/x/y\""), "/x/y");
  EXPECT_EQ(socket("admin_socket = \"y\""), "/c/y");
  EXPECT_EQ(socket("admin_socket = \"none\""), "");
  EXPECT_EQ(socket("admin_socket = \"\""), "");
  const Loaded loaded = LoadText({{"p.toml", kBoth + "[gateway]\nadmin_socket = \"/x\"\n"}});
  EXPECT_EQ(loaded.config.gateway.admin_socket_where.line, 7u);
}

TEST(Load, AnAddressToListenOnIsReadAndOneThatOthersReachWarnedOf) {
  const auto load = [](const std::string& line) {
    return LoadText({{"p.toml", kBoth + "[gateway]\n" + line}});
  };
  const Loaded good = load("admin_listen = \"[::1]:9464\"\n");
  EXPECT_EQ(Text(good.findings), "");
  EXPECT_EQ(good.config.gateway.admin_listen.ToString(), "[::1]:9464");
  EXPECT_EQ(good.config.gateway.admin_listen_where.line, 7u);
  EXPECT_EQ(load("admin_listen = \"none\"\n").config.gateway.admin_listen.host, "");
  EXPECT_EQ(load("admin_listen = \"\"\n").config.gateway.admin_listen.host, "");
  const Loaded open = load("admin_listen = \"0.0.0.0:9464\"\n");
  EXPECT_EQ(
      Text(open.findings),
      "p.toml:7:16: warning: gateway.admin_listen: \"0.0.0.0:9464\" may be reached from other "
      "hosts, and there is no authentication: whoever reaches it reads status and metrics; "
      "write \"127.0.0.1:9464\", or let a firewall guard it\n");
  EXPECT_TRUE(open.ok());
  EXPECT_EQ(open.config.gateway.admin_listen.ToString(), "0.0.0.0:9464");
}

TEST(Load, FillsTheModelWithDefaults) {
  const ScopedVariable no_unit("RUNTIME_DIRECTORY", nullptr);
  const Loaded loaded = LoadText({{"p.toml", kBoth}});
  EXPECT_EQ(Text(loaded.findings), "");
  EXPECT_TRUE(loaded.ok());
  const Config& config = loaded.config;
  EXPECT_FALSE(config.gateway.name.empty());
  EXPECT_EQ(config.gateway.shutdown_timeout, seconds(30));
  EXPECT_EQ(config.gateway.memory_limit, 256u << 20u);
  EXPECT_EQ(config.gateway.log_level, "info");
  EXPECT_EQ(config.gateway.admin_socket, "/run/penstock/admin.sock");
  EXPECT_EQ(config.gateway.admin_socket_where.line, 0u);
  EXPECT_EQ(config.gateway.admin_listen.host, "");
  ASSERT_EQ(config.sources.size(), 1u);
  const SourceConfig& source = config.sources[0];
  EXPECT_EQ(source.name, "a");
  EXPECT_EQ(source.plugin, "generic");
  EXPECT_EQ(source.event_source, "a");
  EXPECT_EQ(source.event_name, "a");
  EXPECT_EQ(source.event_type, "");
  EXPECT_EQ(source.queue.max_events, 16384u);
  EXPECT_EQ(source.where.line, 1u);
  ASSERT_EQ(config.sinks.size(), 1u);
  const SinkConfig& sink = config.sinks[0];
  EXPECT_THAT(sink.from, testing::ElementsAre("a"));
  EXPECT_EQ(sink.format, event::Format::kCloudEvents);
  EXPECT_EQ(sink.max_in_flight_events, 8192u);
  EXPECT_EQ(sink.where.line, 3u);
}

TEST(Load, ReadsEveryKey) {
  const Loaded loaded = LoadText({{"/c/p.toml", R"(
[gateway]
name = "edge-1"
plugin_dirs = ["/opt/p", "mine"]
shutdown_timeout = "1m"
memory_limit = "1GiB"
log = { level = "debug", format = "json" }

[sources.z]
plugin = "generic"
event_source = "orders"
event_name = "created"
event_type = "com.example.order"
metadata = { region = "eu-1", n = 7, x = 1.5, on = true, big = 1e3 }
[sources.z.queue]
storage = "memory"
max_events = 10
max_bytes = "2MiB"
when_full = "drop_oldest"

[sources.x]
plugin = "generator"
filter = "subject == 'a'"

[sources.y]
plugin = "generator"

[sinks.bus]
plugin = "nats-jetstream"
from = ["*"]
format = "argo"
headers = { b = "{id}", a = 1 }
order = "strict"
when_behind = "skip"
max_behind = { events = 5, bytes = 4096, age = "1h" }
max_in_flight = { events = 7, bytes = "1MiB" }
retry = { initial = "1s", max = "2s" }
filter = "body.n > 5"
on_filter_error = "pass"
)"}});
  EXPECT_EQ(Text(loaded.findings), "");
  const GatewayConfig& gateway = loaded.config.gateway;
  EXPECT_EQ(gateway.name, "edge-1");
  EXPECT_THAT(gateway.plugin_dirs, testing::ElementsAre("/opt/p", "/c/mine"));
  EXPECT_EQ(gateway.shutdown_timeout, std::chrono::minutes(1));
  EXPECT_EQ(gateway.memory_limit, 1u << 30u);
  EXPECT_EQ(gateway.log_level, "debug");
  EXPECT_EQ(gateway.log_format, LogFormat::kJson);
  ASSERT_EQ(loaded.config.sources.size(), 3u);
  const SourceConfig& source = loaded.config.sources[0];
  EXPECT_EQ(source.name, "z");
  EXPECT_EQ(source.filter.expression, "");
  EXPECT_EQ(loaded.config.sources[1].filter.expression, "subject == 'a'");
  EXPECT_EQ(loaded.config.sources[1].filter.on_error, OnFilterError::kDeadLetter);
  EXPECT_EQ(source.event_source, "orders");
  EXPECT_EQ(source.event_name, "created");
  EXPECT_EQ(source.event_type, "com.example.order");
  using Pair = std::pair<std::string, std::string>;
  EXPECT_THAT(source.metadata,
              testing::ElementsAre(Pair("big", "1000"), Pair("n", "7"), Pair("on", "true"),
                                   Pair("region", "eu-1"), Pair("x", "1.5")));
  EXPECT_EQ(source.queue.max_events, 10u);
  EXPECT_EQ(source.queue.max_bytes, 2u << 20u);
  EXPECT_EQ(source.queue.when_full, WhenFull::kDropOldest);
  ASSERT_EQ(loaded.config.sinks.size(), 1u);
  const SinkConfig& sink = loaded.config.sinks[0];
  EXPECT_THAT(sink.from, testing::ElementsAre("z", "x", "y"));
  EXPECT_EQ(sink.format, event::Format::kArgo);
  EXPECT_THAT(sink.headers, testing::ElementsAre(Pair("b", "{id}"), Pair("a", "1")));
  EXPECT_EQ(sink.order, Order::kStrict);
  EXPECT_EQ(sink.when_behind, WhenBehind::kSkip);
  EXPECT_EQ(sink.max_behind.events, 5u);
  EXPECT_EQ(sink.max_behind.bytes, 4096u);
  EXPECT_EQ(sink.max_behind.age, std::chrono::hours(1));
  EXPECT_EQ(sink.max_in_flight_events, 7u);
  EXPECT_EQ(sink.max_in_flight_bytes, 1u << 20u);
  EXPECT_EQ(sink.retry_initial, seconds(1));
  EXPECT_EQ(sink.retry_max, seconds(2));
  EXPECT_EQ(sink.filter.expression, "body.n > 5");
  EXPECT_EQ(sink.filter.on_error, OnFilterError::kPass);
}

TEST(Load, MetadataAndHeadersAreTextWhateverTheyLookLike) {
  const Loaded loaded =
      LoadText({{"p.toml", kBoth + "headers = { h = \"file:/nowhere/b\" }\n"},
                {"q.toml", "[sources.a]\nmetadata = { m = \"env:PENSTOCK_NO_SUCH\" }\n"}});
  EXPECT_EQ(Text(loaded.findings), "");
  EXPECT_THAT(loaded.config.sources.at(0).metadata,
              testing::ElementsAre(testing::Pair("m", "env:PENSTOCK_NO_SUCH")));
  EXPECT_THAT(loaded.config.sinks.at(0).headers,
              testing::ElementsAre(testing::Pair("h", "file:/nowhere/b")));
}

TEST(Load, KeepsSourcesInTheFilesOrder) {
  const Loaded loaded =
      LoadText({{"p.toml",
                 "[sources.c.queue]\nmax_events = 5\n[sources.b]\nplugin = \"x\"\n"
                 "[sources.a]\nplugin = \"x\"\n[sources.c]\nplugin = \"x\"\n"
                 "[sinks.s]\nplugin = \"null\"\nfrom = [\"a\", \"*\"]\n"},
                {"q.toml", "[sources.A]\nplugin = \"x\"\n"}});
  EXPECT_EQ(Text(loaded.findings), "");
  std::vector<std::string> names;
  for (const SourceConfig& source : loaded.config.sources) names.push_back(source.name);
  EXPECT_THAT(names, testing::ElementsAre("c", "b", "a", "A"));
  EXPECT_EQ(loaded.config.sinks[0].from, names);
}

TEST(Merge, PutsTablesTogether) {
  const Loaded loaded = LoadText(
      {{"p.toml", kBoth + "max_in_flight = { events = 5 }\n"},
       {"q.toml", "[sources.a.queue]\nmax_events = 9\n[sinks.b.max_in_flight]\nbytes = 2048\n"}});
  EXPECT_EQ(Text(loaded.findings), "");
  EXPECT_EQ(loaded.config.sources[0].queue.max_events, 9u);
  EXPECT_EQ(loaded.config.sinks[0].max_in_flight_events, 5u);
  EXPECT_EQ(loaded.config.sinks[0].max_in_flight_bytes, 2048u);
}

TEST(Merge, AKeySetTwiceNamesBothPlaces) {
  EXPECT_EQ(Text(LoadText({{"p.toml", kBoth + "format = \"raw\"\n"},
                           {"q.toml", "[sinks.b]\n  format = \"argo\"\nfrom = [\"*\"]\n"},
                           {"r.toml", "[sinks]\nb = 1\n[sources.a.plugin]\nx = 1\n"}})
                     .findings),
            "q.toml:2:3: error: sinks.b.format is set twice, first at p.toml:6:1: remove one of "
            "the two\n"
            "q.toml:3:1: error: sinks.b.from is set twice, first at p.toml:5:1: remove one of the "
            "two\n"
            "r.toml:2:1: error: sinks.b is set twice, first at p.toml:3:8: remove one of the two\n"
            "r.toml:3:12: error: sources.a.plugin is set twice, first at p.toml:2:1: remove one of "
            "the two\n");
}

TEST(Merge, InTheGatewayTheLaterFileWins) {
  const Loaded loaded = LoadText(
      {{"p.toml", kBoth + "[gateway]\nname = \"one\"\nplugin_dirs = [\"/a\", \"/b\"]\n"
                          "log = { level = \"debug\", format = \"json\" }\n"},
       {"q.toml",
        "[gateway]\nname = \"two\"\nplugin_dirs = [\"/c\"]\nlog = { level = \"warn\" }\n"}});
  EXPECT_EQ(Text(loaded.findings), "");
  EXPECT_EQ(loaded.config.gateway.name, "two");
  EXPECT_THAT(loaded.config.gateway.plugin_dirs, testing::ElementsAre("/c"));
  EXPECT_EQ(loaded.config.gateway.log_level, "warn");
  EXPECT_EQ(loaded.config.gateway.log_format, LogFormat::kJson);
}

TEST(Merge, OneSyntaxErrorAFileAndAllOtherErrors) {
  EXPECT_EQ(Text(LoadText({{"p.toml", "[gateway]\nname = 1\n" + kSink},
                           {"q.toml", "[sources.a\n[also\n"},
                           {"r.toml", "[sinks.c]\nplugin = 5\n[sorces]\n"},
                           {"s.toml", "x ="}})
                     .findings),
            "p.toml:2:8: error: gateway.name: expected a string, found an integer\n"
            "q.toml:1:11: error: not valid TOML: in this table header: expected ']', saw '\\n'\n"
            "r.toml:2:10: error: sinks.c.plugin: expected a string, found an integer\n"
            "r.toml:3:2: error: unknown table \"sorces\"; did you mean \"sources\"?\n"
            "s.toml:1:4: error: not valid TOML: in this key-value pair: encountered end-of-file\n");
}

std::string Repeated(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

TEST(Load, NestingJustWithinTheBoundsIsHarmless) {
  const std::string key = "a" + Repeated(".a", 16);
  const std::string text = "[" + key + "]\n" + key + " = " + Repeated("{" + key + " = ", 31) + "1" +
                           Repeated("}", 31) + "\n";
  EXPECT_EQ(FindingsOf(text),
            "p.toml: notice: nothing is configured: add a [sources.NAME] and a [sinks.NAME] "
            "table\n"
            "p.toml:1:2: error: unknown table \"a\"; known are gateway, sources and sinks\n");
}

TEST(Load, BoundsSourcesAndSinks) {
  std::string text;
  for (int i = 0; i < 4097; ++i) text += "[sources.s" + std::to_string(i) + "]\nplugin = \"x\"\n";
  for (int i = 0; i < 257; ++i) {
    text += "[sinks.s" + std::to_string(i) + "]\nplugin = \"x\"\nfrom = \"*\"\n";
  }
  EXPECT_EQ(FindingsOf(text),
            "p.toml:8193:10: error: more than 4096 sources\n"
            "p.toml:8963:8: error: more than 256 sinks\n");
}

TEST(Load, SaysWhetherAllWasRead) {
  EXPECT_TRUE(LoadText({{"p.toml", "x = 1"}}).complete);
  const Loaded loaded = LoadText({{"p.toml", kBoth}, {"q.toml", "x ="}});
  EXPECT_FALSE(loaded.complete);
  EXPECT_THAT(loaded.files, testing::ElementsAre("p.toml", "q.toml"));
  EXPECT_FALSE(Load("/nowhere/p.toml").complete);
}

TEST(Sort, GoesByFileAsReadThenPlace) {
  const auto finding = [](const char* file, uint32_t line, uint32_t column) {
    return Finding{Severity::kNotice, {file, line, column}, ""};
  };
  std::vector<Finding> findings{finding("a", 2, 1), finding("b", 1, 9), finding("b", 0, 0),
                                finding("x", 1, 1), finding("b", 1, 2), finding("a", 1, 1)};
  Sort({"b", "a"}, &findings);
  EXPECT_EQ(Text(findings),
            "b: notice: \nb:1:2: notice: \nb:1:9: notice: \na:1:1: notice: \n"
            "a:2:1: notice: \nx:1:1: notice: \n");
}

TEST(Load, BoundsTheFindings) {
  std::string text = kBoth;
  for (int i = 0; i < 5000; ++i) text = "k" + std::to_string(i) + " = 1\n" + text;
  const Loaded loaded = LoadText({{"p.toml", text}});
  EXPECT_FALSE(loaded.ok());
  ASSERT_EQ(loaded.findings.size(), 1001u);
  EXPECT_EQ(loaded.findings.back().ToString(), "notice: and 4000 more, not shown");
}

}  // namespace
}  // namespace penstock::config
