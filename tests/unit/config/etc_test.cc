// The packaged default and the examples are in order, as far as the host's own keys go.
#include "unit/config/support.h"

namespace penstock::config {
namespace {

TEST(Etc, PackagedDefaultIsValidAndDoesNothing) {
  const std::string path = std::string(PENSTOCK_ETC_DIR) + "/penstock.toml";
  const Loaded loaded = Load(path);
  EXPECT_EQ(Text(loaded.findings), path +
                                       ": notice: nothing is configured: add a [sources.NAME] "
                                       "and a [sinks.NAME] table\n");
  EXPECT_TRUE(loaded.config.sources.empty());
  EXPECT_TRUE(loaded.config.sinks.empty());
}

bool ReadsAsToml(const std::string& comment) {
  if (comment.rfind("# ", 0) != 0) return false;
  const size_t word = comment.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", 2);
  return comment[2] == '[' ||
         (word > 2 && word != std::string::npos && comment.compare(word, 3, " = ") == 0);
}

// The text with its examples in force: what a comment holds that reads as TOML.
std::string Uncommented(const std::string& path) {
  std::ifstream file(path);
  std::string out;
  bool in_text = false;
  for (std::string line; std::getline(file, line);) {
    const bool example = in_text || ReadsAsToml(line);
    if (line.find("\"\"\"") != std::string::npos) in_text = !in_text;
    out += (example ? line.substr(2) : line) + "\n";
  }
  return out;
}

TEST(Etc, PackagedDefaultIsValidWithItsExamplesInForce) {
  const std::string path = std::string(PENSTOCK_ETC_DIR) + "/penstock.toml";
  const Loaded loaded = LoadText({{path, Uncommented(path)}});
  EXPECT_EQ(Text(loaded.findings), "");
  EXPECT_EQ(loaded.config.gateway.name, "edge-1");
  EXPECT_EQ(loaded.config.sources.size(), 1u);
  ASSERT_EQ(loaded.config.sinks.size(), 2u);
  EXPECT_EQ(loaded.config.sinks[1].when_behind, WhenBehind::kSkip);
}

TEST(Etc, ExamplesAreValid) {
  size_t count = 0;
  const std::string folder = std::string(PENSTOCK_ETC_DIR) + "/examples";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".toml") continue;
    ++count;
    const Loaded loaded = Load(entry.path().string());
    EXPECT_EQ(Text(loaded.findings), "");
    EXPECT_FALSE(loaded.config.sources.empty()) << entry.path();
    EXPECT_FALSE(loaded.config.sinks.empty()) << entry.path();
  }
  EXPECT_GE(count, 8u);
}

}  // namespace
}  // namespace penstock::config
