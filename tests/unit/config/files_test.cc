#include <sys/stat.h>
#include <unistd.h>

#include "unit/config/support.h"

namespace penstock::config {
namespace {

constexpr const char* kNothing =
    ": notice: nothing is configured: add a [sources.NAME] and a [sinks.NAME] table\n";

TEST(Files, ReadsDropInsInNameOrder) {
  const TempFolder folder;
  const std::string main = folder.Write("p.toml", "[gateway]\nname = \"0\"\n");
  folder.Write("conf.d/20-b.toml", "[gateway]\nname = \"2\"\n");
  folder.Write("conf.d/10-a.toml", "[gateway]\nname = \"1\"\n");
  folder.Write("conf.d/.hidden.toml", "nonsense");
  folder.Write("conf.d/30-c.toml.rpmnew", "nonsense");
  const Loaded loaded = Load(main);
  EXPECT_EQ(Text(loaded.findings), main + kNothing);
  EXPECT_EQ(loaded.config.gateway.name, "2");
}

TEST(Files, SortsFindingsByFileAsRead) {
  const TempFolder folder;
  const std::string main = folder.Write("p.toml", "\n\nx = 1\n");
  folder.Write("conf.d/b.toml", "y = 1\n");
  folder.Write("conf.d/a.toml", "\nz = 1\n");
  EXPECT_EQ(Text(Load(main).findings),
            main + kNothing + main +
                ":3:1: error: unknown key \"x\"; known are gateway, sources and sinks\n" +
                folder.path() +
                "/conf.d/a.toml:2:1: error: unknown key \"z\"; known are gateway, sources and "
                "sinks\n" +
                folder.path() +
                "/conf.d/b.toml:1:1: error: unknown key \"y\"; known are gateway, sources and "
                "sinks\n");
}

TEST(Files, MissingMainFile) {
  const TempFolder folder;
  EXPECT_EQ(Text(Load(folder.path() + "/p.toml").findings),
            folder.path() +
                "/p.toml: error: cannot be read: No such file or directory; name the "
                "configuration with --config FILE\n");
}

TEST(Files, MainFileIsADirectory) {
  const TempFolder folder;
  EXPECT_EQ(Text(Load(folder.path()).findings),
            folder.path() +
                ": error: is a directory, expected a file; name the configuration with --config "
                "FILE\n");
}

// Root reads everything, so the test is somebody else for a while.
TEST(Files, UnreadableFile) {
  const TempFolder folder;
  const std::string main = folder.Write("p.toml", "");
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(main.c_str(), 0), 0);
  const bool root = ::geteuid() == 0;
  ASSERT_TRUE(!root || ::seteuid(65534) == 0);
  const std::string findings = Text(Load(main).findings);
  ASSERT_TRUE(!root || ::seteuid(0) == 0);
  EXPECT_EQ(findings, main +
                          ": error: cannot be read: Permission denied; name the configuration "
                          "with --config FILE\n");
}

TEST(Files, AFifoDoesNotBlock) {
  const TempFolder folder;
  const std::string main = folder.path() + "/p.toml";
  ASSERT_EQ(::mkfifo(main.c_str(), 0600), 0);
  EXPECT_EQ(Text(Load(main).findings),
            main + ": error: is not a regular file; name the configuration with --config FILE\n");
}

TEST(Files, ADropInMaskedWithDevNullIsEmpty) {
  const TempFolder folder;
  const std::string main = folder.Write("p.toml", "");
  folder.Write("conf.d/a.toml", "");
  std::filesystem::remove(folder.path() + "/conf.d/a.toml");
  std::filesystem::create_symlink("/dev/null", folder.path() + "/conf.d/a.toml");
  EXPECT_EQ(Text(Load(main).findings), main + kNothing);
}

TEST(Files, DropInsThatCannotBeRead) {
  const TempFolder folder;
  const std::string main = folder.Write("p.toml", "");
  std::filesystem::create_directories(folder.path() + "/conf.d/a.toml");
  std::filesystem::create_symlink("/nowhere", folder.path() + "/conf.d/b.toml");
  EXPECT_EQ(Text(Load(main).findings),
            folder.path() + "/conf.d/a.toml: error: is a directory, expected a file\n" +
                folder.path() +
                "/conf.d/b.toml: error: cannot be read: No such file or directory\n");
}

TEST(Files, ConfDIsAFile) {
  const TempFolder folder;
  const std::string main = folder.Write("p.toml", "");
  folder.Write("conf.d", "");
  EXPECT_EQ(Text(Load(main).findings),
            folder.path() + "/conf.d: error: the folder cannot be read: Not a directory\n");
}

TEST(Files, LargeFileIsRefusedWithoutReadingItAll) {
  const TempFolder folder;
  const std::string main = folder.Write("p.toml", "");
  std::filesystem::resize_file(main, 100u << 20u);
  EXPECT_EQ(Text(Load(main).findings),
            main +
                ": error: is larger than 1MiB, the most that is read; name the configuration "
                "with --config FILE\n");
}

TEST(Files, AFileOfOneMebibyteIsRead) {
  const TempFolder folder;
  EXPECT_TRUE(Load(folder.Write("p.toml", "#" + std::string((1u << 20u) - 1, ' '))).ok());
}

}  // namespace
}  // namespace penstock::config
