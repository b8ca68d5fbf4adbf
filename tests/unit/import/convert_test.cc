#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "import/import.h"

namespace penstock::import_argo {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

std::string Texts(const std::vector<config::Finding>& findings) {
  std::string out;
  for (const config::Finding& finding : findings) out += finding.ToString() + "\n";
  return out;
}

std::vector<std::string> Cases() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(PENSTOCK_IMPORT_TESTDATA "/cases"))
    if (entry.path().extension() == ".yaml") out.push_back(entry.path().stem().string());
  std::sort(out.begin(), out.end());
  return out;
}

// cases/NAME.yaml makes NAME.toml and NAME.findings. With PENSTOCK_WRITE_EXPECTED set they are
// written anew.
class Case : public ::testing::TestWithParam<std::string> {};

TEST_P(Case, IsConverted) {
  const fs::path base = fs::path(PENSTOCK_IMPORT_TESTDATA "/cases") / GetParam();
  const auto with = [&](const char* extension) { return fs::path(base.string() + extension); };
  const Outcome made = Convert({{GetParam() + ".yaml", ReadFile(with(".yaml"))}}, {});
  if (std::getenv("PENSTOCK_WRITE_EXPECTED") != nullptr) {
    std::ofstream(with(".toml"), std::ios::binary) << made.toml;
    std::ofstream(with(".findings"), std::ios::binary) << Texts(made.findings);
  }
  EXPECT_EQ(made.toml, ReadFile(with(".toml")));
  EXPECT_EQ(Texts(made.findings), ReadFile(with(".findings")));
  EXPECT_GT(made.sources, 0u);
}

INSTANTIATE_TEST_SUITE_P(Cases, Case, ::testing::ValuesIn(Cases()), [](const auto& param_info) {
  std::string name = param_info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

std::string Source(const std::string& spec) {
  return "kind: EventSource\nmetadata: {name: a}\nspec:\n" + spec;
}

std::string Entry(const std::string& entry) {
  return Source("  generic:\n    e: {" + entry + "}\n");
}

// What is wrong, and where.
struct Wrong {
  std::string yaml, finding;
};

TEST(Convert, WhatIsWrongIsAnErrorWithItsPlace) {
  const std::vector<Wrong> cases = {
      {"\xff", "1:1: error: not UTF-8 text"},
      {"a: b\nc: \"\xc3(\"", "2:5: error: not UTF-8 text"},
      {std::string("a\0b", 3), "1:2: error: a NUL byte: this is not a text file"},
      {"a: \"\\ud800\"", "error: not YAML: "},
      {Entry("url: u, config: c, metadata: {'': x}"),
       "error: the key \"\" of spec.generic.e.metadata is empty"},
      {"a: [b", "error: not YAML: "},
      {"a: b\n c: d: e", "error: not YAML: "},
      {"kind: x\nkind: y", "2:1: error: the key \"kind\" stands twice in one map"},
      {"? [a]\n: b", "error: a key that is a list or a map"},
      {"a: !!binary eA==", "error: the tag \"tag:yaml.org,2002:binary\" is not understood"},
      {"a: *none", "error: not YAML: "},
      {"- a", "1:1: error: the document is a list, expected a map"},
      {"just text", "1:1: error: the document is a string, expected a map"},
      {"a: b", "1:1: error: the document has no kind: it is no manifest of Kubernetes"},
      {"kind: 3",
       "1:7: error: kind is a number, expected a string; as a string it is written with "
       "quotes: \"3\""},
      {"kind: EventSource", "1:1: error: the manifest has no metadata.name"},
      {"kind: null", "1:1: error: the document has no kind"},
      {"kind: EventSource\nmetadata: null", "1:1: error: the manifest has no metadata.name"},
      {"kind: EventSource\nmetadata: {name: ~}", "2:11: error: the manifest has no metadata.name"},
      {"kind: EventSource\nmetadata: {name: a}\nspec:", "1:1: error: the EventSource has no spec"},
      {"kind: EventBus\nmetadata: {name: a}\nspec: ~", "1:1: error: the EventBus has no spec"},
      {"kind: EventSource\nmetadata: []", "2:11: error: metadata is a list, expected a map"},
      {"kind: EventSource\nmetadata: {name: 5}", "2:18: error: metadata.name is a number"},
      {"kind: EventSource\nmetadata: {name: a}", "1:1: error: the EventSource has no spec"},
      {"kind: EventBus\nmetadata: {name: a}\nspec: {}",
       "3:7: error: spec has none of jetstream, jetstreamExotic, kafka"},
      {"kind: EventBus\nmetadata: {name: a}\nspec: {kafka: {}}",
       "3:15: error: spec.kafka has no url"},
      {"kind: EventBus\nmetadata: {name: a}\nspec: {jetstream: {streamConfig: \"- a\"}}",
       "3:34: error: spec.jetstream.streamConfig is no YAML map"},
      {Source("  generic: [a]\n"), "4:12: error: spec.generic is a list, expected a map"},
      {Source("  generic: {e: x}\n"), "4:16: error: spec.generic.e is a string, expected a map"},
      {Source("  generic: {\"a\\x07\": {url: u, config: c}}\n"),
       "4:13: error: the key \"a\\x07\" cannot be the name of an event source or event"},
      {Entry("config: c"), "5:5: error: spec.generic.e has no url, which Argo requires"},
      {Entry("url: u"), "5:5: error: spec.generic.e has no config, which Argo requires"},
      {Entry("url: u, config: null"), "error: spec.generic.e has no config, which Argo requires"},
      {Entry("url: u, config: \"\""), "error: spec.generic.e has no config, which Argo requires"},
      {Entry("url: u, config: 5"),
       "5:25: error: spec.generic.e.config is a number, expected a "
       "string; as a string it is written with quotes: \"5\""},
      {Entry("url: u, config: c, insecure: \"true\""),
       "error: spec.generic.e.insecure is a string, expected true or false"},
      {Entry("url: u, config: c, metadata: {a: 1}"),
       "error: spec.generic.e.metadata.a is a number, expected a string"},
      {Entry("url: u, config: c, metadata: {a: [1]}"),
       "error: spec.generic.e.metadata.a is a list, expected a string"},
      {Entry("url: u, config: c, authSecret: {name: a}"),
       "error: spec.generic.e.authSecret needs name and key"},
      {Entry("url: u, config: c, filter: true"),
       "error: spec.generic.e.filter is true or false, expected a map"}};
  for (const Wrong& wrong : cases) {
    const Outcome made = Convert({{"f.yaml", wrong.yaml}}, {});
    EXPECT_THAT(Texts(made.findings), HasSubstr(wrong.finding)) << wrong.yaml;
    EXPECT_THAT(Texts(made.findings), HasSubstr("f.yaml:")) << wrong.yaml;
    EXPECT_EQ(made.toml, "");
  }
}

TEST(Convert, IsBounded) {
  const auto error = [](const std::string& yaml) {
    return Texts(Convert({{"f.yaml", yaml}}, {}).findings);
  };
  EXPECT_THAT(error(std::string((1 << 20) + 1, 'a')),
              HasSubstr("f.yaml: error: is larger than 1MiB"));
  EXPECT_THAT(error(std::string(100'000, '[')), HasSubstr("error: "));
  EXPECT_THAT(error(std::string(100, '[') + std::string(100, ']')),
              HasSubstr("error: nested too deeply"));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string one = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + one;
    for (int k = 0; k < 9; ++k) bomb += ", " + one;
    bomb += "]\n";
  }
  EXPECT_THAT(error(bomb), HasSubstr("error: more than 100000 values, aliases expanded"));
  std::string text = "a: &a " + std::string(200'000, 'x') + "\nb: [";
  for (int i = 0; i < 40; ++i) text += "*a, ";
  EXPECT_THAT(error(text + "]"), HasSubstr("error: aliases that expand to too much text"));
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += "--- x\n";
  EXPECT_THAT(error(many), HasSubstr("error: too many documents"));
}

TEST(Convert, TheBusCanBeGiven) {
  const std::vector<config::FileText> files = {
      {"f.yaml", Entry("url: 'u:1', config: c, insecure: true")}};
  const Outcome nats = Convert(files, {"nats://a:4222,nats://b:4222", "", ""});
  EXPECT_EQ(Texts(nats.findings), "");
  EXPECT_THAT(nats.toml, HasSubstr("servers = [\"nats://a:4222\", \"nats://b:4222\"]\n"));
  const Outcome kafka = Convert(files, {"", "kafka:9092", "t"});
  EXPECT_EQ(Texts(kafka.findings), "");
  EXPECT_THAT(kafka.toml, HasSubstr("plugin = \"kafka\"\npreset = \"argo\"\n"));
  EXPECT_THAT(kafka.toml, HasSubstr("\"bootstrap.servers\" = \"kafka:9092\"\n"));
  EXPECT_THAT(kafka.toml, HasSubstr("topic = \"t\"\n"));
}

TEST(Convert, ABusThatIsGivenInVainIsNamed) {
  const std::string bus =
      "kind: EventBus\nmetadata: {name: default}\nspec: {kafka: {url: 'k:1', topic: t}}\n---\n";
  const std::string source = Entry("url: 'u:1', config: c, insecure: true");
  EXPECT_EQ(
      Texts(Convert({{"f.yaml", bus + source}}, {"nats://h:1", "", ""}).findings),
      "warning: --bus is not used, as the EventBus of every source is among the manifests: for "
      "another address write it into the sink, or leave the EventBus out\n");
  EXPECT_EQ(Texts(Convert({{"f.yaml", source}}, {"nats://h:1", "", ""}).findings), "");
}

TEST(Convert, AnAddressIsAsGrpcTakesIt) {
  for (const auto& [url, expected] : {std::pair{"h:1", "h:1"},
                                      {"dns:///h:1", "h:1"},
                                      {"passthrough:///h:1", "h:1"},
                                      {"h.example.com", "h.example.com:443"},
                                      {"[::1]:5", "[::1]:5"},
                                      {"unix:/s", "unix:/s"}}) {
    const std::string yaml = Entry(std::string("config: c, insecure: true, url: '") + url + "'");
    EXPECT_THAT(Convert({{"f.yaml", yaml}}, {"nats://h:1", "", ""}).toml,
                HasSubstr(std::string("\nurl = \"") + expected + "\"\n"));
  }
}

TEST(Convert, TheAddressOfJetStreamHasAScheme) {
  const auto servers = [](const std::string& spec) {
    const std::string bus =
        "kind: EventBus\nmetadata: {name: default}\nspec: {jetstreamExotic: {" + spec + "}}\n---\n";
    return Convert({{"f.yaml", bus + Entry("url: 'u:1', config: c, insecure: true")}}, {}).toml;
  };
  EXPECT_THAT(servers("url: 'a:4222'"), HasSubstr("servers = [\"nats://a:4222\"]\n"));
  EXPECT_THAT(servers("url: 'nats://a:1,tls://b:1', tls: {enabled: true}"),
              HasSubstr("servers = [\"tls://a:1\", \"tls://b:1\"]\n"));
  EXPECT_THAT(servers("url: 'nats://a:1', tls: {insecureSkipVerify: true}"),
              HasSubstr("servers = [\"nats://a:1\"]\n"));
}

TEST(Convert, NothingIsMadeOfNothing) {
  for (const char* yaml : {"", "---\n---\n", "# a comment\n", "kind: Sensor\n"}) {
    const Outcome made = Convert({{"f.yaml", yaml}}, {});
    EXPECT_EQ(made.sources, 0u);
    EXPECT_THAT(Texts(made.findings), ::testing::Not(HasSubstr("error")));
  }
}

TEST(Convert, SeveralFilesMakeOneConfiguration) {
  const std::string bus =
      "kind: EventBus\nmetadata: {name: default}\nspec: {kafka: {url: 'k:1', topic: t}}\n";
  const std::string source = Entry("url: 'u:1', config: c, insecure: true");
  const Outcome made = Convert({{"a.yaml", source}, {"-", source}, {"bus.yaml", bus}}, {});
  EXPECT_EQ(
      Texts(made.findings),
      "-:1:1: warning: the EventSource \"a\" stands among the manifests more than once, in the "
      "same namespace: a cluster keeps one of them, here each makes its sources\n");
  EXPECT_EQ(made.sources, 2u);
  EXPECT_THAT(made.toml, HasSubstr("of \"a.yaml\", standard input, \"bus.yaml\".\n"));
  EXPECT_THAT(made.toml, HasSubstr("from = [\"a-e\", \"a-e-2\"]\n"));
}

const penstock_option kOptions[] = {
    {"url", PENSTOCK_OPT_STRING, 0, nullptr, nullptr, 0, 0, "."},
    {"config", PENSTOCK_OPT_STRING, 0, nullptr, nullptr, 0, 0, "."},
    {"insecure", PENSTOCK_OPT_BOOL, 0, "false", nullptr, 0, 0, "."},
    {"json_body", PENSTOCK_OPT_BOOL, 0, "false", nullptr, 0, 0, "."},
};

std::string ConfigOf(const config::SourceConfig& source) {
  penstock_plugin plugin{};
  plugin.kind = PENSTOCK_SOURCE;
  plugin.id = "generic";
  plugin.options = kOptions;
  plugin.n_options = std::size(kOptions);
  plugin.option_stride = sizeof(penstock_option);
  const config::Bound bound = config::BindOptions(source, plugin);
  EXPECT_EQ(Texts(bound.findings), "");
  const penstock_value* value = bound.options.Get("config");
  return value == nullptr ? "" : std::string(value->str.ptr, value->str.len);
}

TEST(Convert, TextsAreTheSameBytesAfterAll) {
  std::mt19937 random(20261126);
  const std::vector<std::string> pieces = {
      "a",     "'", "''", "'''", "\"", "\"\"\"", "\\",      "\\n", "\n", "\t", "\\x0d", "\\x01",
      "\\x7f", " ", "#",  "=",   "ä",  "😀",      "\\u2028", "{",   "}",  "$",  "%"};
  for (int round = 0; round < 500; ++round) {
    std::string wanted, yaml;
    for (unsigned n = 1 + random() % 8; n > 0; --n) {
      const std::string& piece = pieces[random() % pieces.size()];
      // In YAML's double quotes.
      if (piece.starts_with("\\x") || piece.starts_with("\\u")) {
        yaml += piece;
        wanted += piece == "\\x0d"   ? "\r"
                  : piece == "\\x01" ? "\x01"
                  : piece == "\\x7f" ? "\x7f"
                                     : "\u2028";
        continue;
      }
      for (const char c : piece) {
        if (c == '\n') {
          yaml += "\\n";
        } else if (c == '\t') {
          yaml += "\\t";
        } else if (c == '"' || c == '\\') {
          yaml += {'\\', c};
        } else {
          yaml += c;
        }
      }
      wanted += piece;
    }
    const Outcome made =
        Convert({{"f.yaml", Entry("url: 'u:1', insecure: true, config: \"" + yaml + "\"")}},
                {"nats://h:1", "", ""});
    ASSERT_EQ(Texts(made.findings), "") << yaml;
    const config::Loaded loaded = config::LoadText({{"a.toml", made.toml}});
    ASSERT_EQ(Texts(loaded.findings), "") << made.toml;
    ASSERT_EQ(loaded.config.sources.size(), 1u);
    EXPECT_EQ(ConfigOf(loaded.config.sources[0]), wanted) << made.toml;
  }
}

}  // namespace
}  // namespace penstock::import_argo
