// preset = "..." in a sink's table.
#include "config/presets.h"

#include "config/toml_reader.h"
#include "unit/config/support.h"

namespace penstock::config {
namespace {

Loaded Sink(const std::string& keys) {
  return LoadText({{"p.toml", "[sources.a]\nplugin = \"generator\"\n[sinks.s]\nfrom = [\"a\"]\n" +
                                  keys + "\n"}});
}

const Member* At(const SinkConfig& sink, std::string_view table, std::string_view key) {
  const Member* found = sink.raw->table.Find(table);
  return found == nullptr ? nullptr : found->value.Find(key);
}

TEST(Presets, FillWhatIsNotWritten) {
  const Loaded loaded = Sink("plugin = \"nats-jetstream\"\npreset = \"argo\"");
  ASSERT_EQ(Text(loaded.findings), "");
  const SinkConfig& sink = loaded.config.sinks[0];
  EXPECT_EQ(sink.format, event::Format::kArgo);
  EXPECT_EQ(sink.preset, "argo");
  const std::vector<std::string> lines{
      "format = \"argo\"",           "subject = \"default.{source}.{subject}\"",
      "msg_id = \"{id}\"",           "stream.name = \"default\"",
      "stream.create = true",        "stream.subjects = [\"default.*.*\"]",
      "stream.storage = \"file\"",   "stream.replicas = 3",
      "stream.max_messages = 50000", "stream.max_age = \"168h\"",
      "stream.max_bytes = 0",        "stream.discard = \"old\"",
      "stream.duplicates = \"5m\"",
  };
  EXPECT_EQ(sink.preset_gives, lines);
  EXPECT_EQ(sink.raw->table.Find("preset"), nullptr);
}

TEST(Presets, GiveWayToWhatIsWrittenKeyByKey) {
  const Loaded loaded = Sink(
      "plugin = \"nats-jetstream\"\npreset = \"argo\"\nformat = \"raw\"\nmsg_id = \"\"\n"
      "stream = { replicas = 1, discard = \"new\" }");
  ASSERT_EQ(Text(loaded.findings), "");
  const SinkConfig& sink = loaded.config.sinks[0];
  EXPECT_EQ(sink.format, event::Format::kRaw);
  EXPECT_EQ(sink.raw->table.Find("msg_id")->value.text, "");
  EXPECT_EQ(At(sink, "stream", "replicas")->value.integer, 1);
  EXPECT_EQ(At(sink, "stream", "discard")->value.text, "new");
  EXPECT_EQ(At(sink, "stream", "name")->value.text, "default");
  for (const std::string& line : sink.preset_gives) {
    EXPECT_EQ(line.find("replicas"), std::string::npos) << line;
    EXPECT_EQ(line.find("format"), std::string::npos) << line;
  }
}

TEST(Presets, ArgoForOtherPlugins) {
  const Loaded kafka = Sink("plugin = \"kafka\"\npreset = \"argo\"");
  const std::vector<std::string> lines{"format = \"argo\"", "key = \"{source}.{subject}\""};
  EXPECT_EQ(kafka.config.sinks[0].preset_gives, lines);
  EXPECT_EQ(Sink("plugin = \"stdout\"\npreset = \"argo\"").config.sinks[0].preset_gives,
            std::vector<std::string>{"format = \"argo\""});
}

TEST(Presets, UnknownOnesAreErrors) {
  EXPECT_EQ(Text(Sink("plugin = \"null\"\npreset = \"agro\"").findings),
            "p.toml:6:10: error: sinks.s.preset: expected argo, found \"agro\"; did you mean "
            "\"argo\"?\n");
  EXPECT_EQ(Text(Sink("plugin = \"null\"\npreset = 1").findings),
            "p.toml:6:10: error: sinks.s.preset: expected a string, found an integer\n");
}

TEST(Presets, AFindingNamesThePresetAndWhereItIsAskedFor) {
  const Loaded loaded = Sink("plugin = \"nats-jetstream\"\npreset = \"argo\"");
  const Position where = At(loaded.config.sinks[0], "stream", "discard")->value.where.ToPosition();
  EXPECT_EQ((Finding{Severity::kWarning, where, "it is so"}.ToString()),
            "p.toml:6:10: warning: preset argo: it is so");
}

TEST(Presets, WhatIsWrittenOutIsTheSameTable) {
  const Loaded by_name = Sink("plugin = \"kafka\"\npreset = \"argo\"");
  const Loaded written =
      Sink("plugin = \"kafka\"\nformat = \"argo\"\nkey = \"{source}.{subject}\"");
  EXPECT_TRUE(SameTable(by_name.config.sinks[0], written.config.sinks[0]));
}

TEST(Presets, AreValidAndWrittenOutInTheManual) {
  std::ifstream file(PENSTOCK_ETC_DIR "/../docs/configuration.md");
  const std::string manual((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
  const auto place = std::make_shared<const std::string>("preset");
  for (const PresetPart& part : PresetParts()) {
    EXPECT_TRUE(ParseToml(part.toml, place)) << part.toml;
    EXPECT_NE(manual.find(part.toml), std::string::npos) << "not in the manual:\n" << part.toml;
  }
}

}  // namespace
}  // namespace penstock::config
