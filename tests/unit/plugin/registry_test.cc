#include <gmock/gmock.h>

#include <cstdlib>

#include "plugin/image.h"
#include "plugin/plugin.h"
#include "unit/plugin/tree.h"

namespace penstock::plugin {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() { dir_ = tree_.Dir("plugins"); }

  std::string Put(const Bytes& bytes, const std::string& file = "sink-toy.so") {
    return tree_.Put("plugins/" + file, bytes);
  }
  Registry Here() const { return Registry({{dir_, false}}); }
  // The verdict on the one file of the directory; it must be the same from List
  // and from Load.
  std::string Verdict(Kind kind = Kind::kSink, const std::string& id = "toy") {
    Registry registry = Here();
    const auto list = registry.List();
    EXPECT_EQ(list.size(), 1u);
    if (list.empty()) return "nothing listed";
    const auto loaded = registry.Load(kind, id);
    if (list[0].refusal.empty()) return loaded ? "" : loaded.error().message;
    EXPECT_FALSE(loaded);
    if (!loaded) {
      EXPECT_EQ(loaded.error().message, list[0].path + " " + list[0].refusal);
      EXPECT_EQ(loaded.error().code, Code::kConfig);
    }
    return list[0].refusal;
  }

  Tree tree_;
  std::string dir_;
};

using Sum = uint64_t (*)(uint64_t);
uint64_t SumOf(const Plugin& plugin, uint64_t n) {
  const auto* sum = static_cast<const Sum*>(plugin.entry().extension(nullptr, "toy.sum"));
  return (*sum)(n);
}

TEST_F(RegistryTest, LoadsAGoodPlugin) {
  const std::string path = Put(Toy("good"));
  Registry registry = Here();
  auto plugin = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(plugin) << plugin.error().message;
  EXPECT_STREQ((*plugin)->entry().id, "toy");
  EXPECT_EQ((*plugin)->entry().n_options, 4u);
  EXPECT_STREQ((*plugin)->entry().doc_url, "");
  EXPECT_EQ((*plugin)->path(), path);
  EXPECT_EQ(SumOf(**plugin, 16), 80u);
}

TEST_F(RegistryTest, LoadsACxxPlugin) {
  Put(Toy("source", "source-once.so"), "source-once.so");
  EXPECT_EQ(Verdict(Kind::kSource, "once"), "");
}

TEST_F(RegistryTest, MapsShowThePluginsIdVersionAndPath) {
  Put(Toy("good"));
  Registry registry = Here();
  ASSERT_TRUE(registry.Load(Kind::kSink, "toy"));
  const Bytes maps = ReadBytes("/proc/self/maps");
  EXPECT_THAT(std::string(maps.begin(), maps.end()),
              HasSubstr("/memfd:penstock:toy 1.0.0 plugins/sink-toy.so"));
}

TEST_F(RegistryTest, ListsByNameOnlyAndInOrder) {
  Put(Toy("good"));
  Put(Toy("other", "sink-other.so"), "sink-other.so");
  Put(Toy("source", "source-once.so"), "source-once.so");
  Put(Toy("good"), "libtoy.so");
  Put(Toy("good"), "sink-toy.so.bak");
  Put(Toy("good"), "sink-.so");
  const auto list = Here().List();
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].id, "other");
  EXPECT_EQ(list[1].id, "toy");
  EXPECT_EQ(list[1].version, "1.0.0");
  EXPECT_EQ(list[1].abi_minor, PENSTOCK_ABI_MINOR);
  EXPECT_EQ(list[2].kind, Kind::kSource);
  for (const Candidate& candidate : list) EXPECT_EQ(candidate.refusal, "");
}

TEST_F(RegistryTest, ListingAndRefusingRunNoPluginCode) {
  const std::string mark = tree_.path() + "/mark";
  setenv("PENSTOCK_TOY_MARK", mark.c_str(), 1);
  Put(Toy("good"));
  Bytes future = Toy("other", "sink-other.so");
  NoteOf(future).abi_major = 7;
  Put(future, "sink-other.so");
  Registry registry = Here();
  EXPECT_EQ(registry.List().size(), 2u);
  EXPECT_FALSE(registry.Load(Kind::kSink, "other"));
  EXPECT_NE(access(mark.c_str(), F_OK), 0);
  EXPECT_TRUE(registry.Load(Kind::kSink, "toy"));
  EXPECT_EQ(access(mark.c_str(), F_OK), 0) << "the mark shows nothing";
  unsetenv("PENSTOCK_TOY_MARK");
}

TEST_F(RegistryTest, UnknownIdNamesDirectoriesAndTheNearestId) {
  Put(Toy("good"));
  Registry registry({{dir_, false}, {"/nonexistent/plugins", true}});
  const auto far = registry.Load(Kind::kSink, "quite-else");
  ASSERT_FALSE(far);
  EXPECT_THAT(far.error().message,
              AllOf(HasSubstr("there is no file sink-quite-else.so in " + dir_),
                    HasSubstr("/nonexistent/plugins (No such file")));
  const auto near = registry.Load(Kind::kSink, "tyo");
  ASSERT_FALSE(near);
  EXPECT_THAT(near.error().message, HasSubstr("did you mean \"toy\"?"));
  const auto kind = registry.Load(Kind::kSource, "toy");
  ASSERT_FALSE(kind);
  EXPECT_THAT(kind.error().message, EndsWith("\"toy\" is a sink, not a source"));
}

TEST_F(RegistryTest, AnIdIsNoPath) {
  Put(Toy("good"), "../sink-toy.so");
  EXPECT_FALSE(Here().Load(Kind::kSink, "x/../../sink-toy"));
}

// ---- refusals ----

TEST_F(RegistryTest, RefusesATextFile) {
  Put({'h', 'e', 'l', 'l', 'o', '\n'});
  EXPECT_THAT(Verdict(), StartsWith("is a text file"));
}

TEST_F(RegistryTest, RefusesATruncatedFile) {
  const Bytes whole = Toy("good");
  for (size_t length : {size_t{0}, size_t{40}, size_t{600}, whole.size() / 2, whole.size() - 1}) {
    Put(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length)));
    EXPECT_THAT(Verdict(), HasSubstr("still being copied?")) << length;
  }
}

TEST_F(RegistryTest, RefusesAnotherCpu) {
  Bytes bytes = Toy("good");
  Header(bytes).e_machine = Header(bytes).e_machine == EM_AARCH64 ? EM_X86_64 : EM_AARCH64;
  Put(bytes);
  EXPECT_THAT(Verdict(), StartsWith("is built for another CPU"));
}

TEST_F(RegistryTest, RefusesAnExecutable) {
  Put(ReadBytes("/proc/self/exe"));
  EXPECT_THAT(Verdict(), StartsWith("is an executable"));
}

TEST_F(RegistryTest, RefusesALibraryWithoutANote) {
  Put(Toy("library_1", "libpenstocktoy.so.3"));
  EXPECT_THAT(Verdict(), HasSubstr("not a Penstock plugin"));
}

TEST_F(RegistryTest, RefusesAnAbiOfTheFuture) {
  Bytes bytes = Toy("good");
  NoteOf(bytes).abi_major = 2;
  NoteOf(bytes).abi_minor = 0;
  Put(bytes);
  EXPECT_THAT(Verdict(), AllOf(StartsWith("is built for a newer Penstock"), HasSubstr("2.0"),
                               HasSubstr(std::to_string(PENSTOCK_ABI_MAJOR) + "." +
                                         std::to_string(PENSTOCK_ABI_MINOR))));
}

TEST_F(RegistryTest, RefusesAnExecutableStack) {
  Bytes bytes = Toy("good");
  Segment(bytes, PT_GNU_STACK).p_flags |= PF_X;
  Put(bytes);
  EXPECT_THAT(Verdict(), HasSubstr("executable stack"));
}

TEST_F(RegistryTest, RefusesTextRelocations) {
  Bytes bytes = Toy("good");
  Dynamic(bytes, DT_FLAGS).d_un.d_val |= DF_TEXTREL;
  Put(bytes);
  EXPECT_THAT(Verdict(), HasSubstr("text relocations"));
}

TEST_F(RegistryTest, RefusesOrigin) {
  Put(Toy("origin"));
  EXPECT_THAT(Verdict(), HasSubstr("$ORIGIN"));
}

TEST_F(RegistryTest, RefusesAMissingLibraryAndNamesIt) {
  Put(Toy("needy"));
  EXPECT_THAT(Verdict(), AllOf(HasSubstr("not installed: libpenstockabsent.so.3"),
                               HasSubstr("install the package")));
}

TEST_F(RegistryTest, LoadsWithALibraryFromAnAbsoluteRunPath) {
  Put(Toy("served"));
  EXPECT_EQ(Verdict(), "");
}

TEST_F(RegistryTest, RefusesAnUndefinedSymbolAndNamesIt) {
  const std::string path = Put(Toy("undefined"));
  EXPECT_THAT(Verdict(), AllOf(StartsWith(path + " cannot be loaded: undefined symbol: "),
                               HasSubstr("penstock_toy_nowhere"), HasSubstr("-Wl,-z,defs"),
                               Not(HasSubstr("/proc/self/fd"))));
}

TEST_F(RegistryTest, RefusesAnAbsentSymbolVersionAndNamesIt) {
  const std::string path = Put(Toy("newer"));
  EXPECT_THAT(Verdict(),
              AllOf(StartsWith(path + " cannot be loaded: "), HasSubstr("TOYLIB_2"),
                    HasSubstr("built on a newer system"), Not(HasSubstr("/proc/self/fd"))));
}

TEST_F(RegistryTest, RefusesAPluginWithoutAnEntry) {
  const std::string path = Put(Toy("no_entry"));
  EXPECT_THAT(Verdict(), StartsWith(path + " does not export the symbol penstock_plugin_entry"));
}

TEST_F(RegistryTest, RefusesAnEntryThatIsNotTheNotes) {
  Put(Toy("liar"));
  Registry registry = Here();
  for (int time = 0; time < 2; ++time) {
    const auto loaded = registry.Load(Kind::kSink, "toy");
    ASSERT_FALSE(loaded) << "time " << time;
    EXPECT_THAT(loaded.error().message, HasSubstr("not those of its note"));
  }
}

TEST_F(RegistryTest, RefusesAFileNameThatIsNotTheNotes) {
  Put(Toy("good"), "sink-toys.so");
  EXPECT_THAT(Verdict(Kind::kSink, "toys"),
              AllOf(HasSubstr("its note that it is the sink toy"), HasSubstr("says sink toys"),
                    EndsWith("rename it to sink-toy.so")));
}

TEST_F(RegistryTest, RefusesAKindThatIsNotTheNotes) {
  Put(Toy("good"), "source-toy.so");
  EXPECT_THAT(Verdict(Kind::kSource, "toy"), EndsWith("rename it to sink-toy.so"));
}

TEST_F(RegistryTest, RefusesWhatIsNotARegularFile) {
  tree_.Dir("plugins/sink-toy.so");
  EXPECT_THAT(Verdict(), HasSubstr("is not a regular file"));
}

TEST_F(RegistryTest, RefusesAFifoWithoutWaiting) {
  ASSERT_EQ(mkfifo((dir_ + "/sink-toy.so").c_str(), 0644), 0);
  EXPECT_THAT(Verdict(), HasSubstr("is not a regular file"));
}

TEST_F(RegistryTest, RefusesAFileBeyondTheBound) {
  const std::string path = Put(Toy("good"));
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(kMaxPluginBytes + 1)), 0);
  EXPECT_THAT(Verdict(), HasSubstr("larger than the bound of 256 MiB"));
}

TEST_F(RegistryTest, RefusesADanglingLink) {
  ASSERT_EQ(symlink("gone.so", (dir_ + "/sink-toy.so").c_str()), 0);
  EXPECT_THAT(Verdict(), HasSubstr("No such file"));
}

TEST_F(RegistryTest, RefusesAFileWritableByOthers) {
  const std::string path = Put(Toy("good"));
  chmod(path.c_str(), 0646);
  EXPECT_THAT(Verdict(), AllOf(HasSubstr(path + " is writable by everybody"),
                               HasSubstr("chmod go-w " + path)));
}

TEST_F(RegistryTest, RefusesAFileWritableByItsGroup) {
  const std::string path = Put(Toy("good"));
  chmod(path.c_str(), 0664);
  EXPECT_THAT(Verdict(), HasSubstr(path + " is writable by its group"));
}

TEST_F(RegistryTest, RefusesADirectoryWritableByOthers) {
  Put(Toy("good"));
  for (const mode_t mode : {0757, 0775, 01777}) {
    chmod(dir_.c_str(), mode);
    EXPECT_THAT(Verdict(), HasSubstr("the directory " + dir_ + " is writable by")) << mode;
  }
  chmod(dir_.c_str(), 0755);
  EXPECT_EQ(Verdict(), "");
}

TEST_F(RegistryTest, RefusesAnAncestorWritableByOthersUnlessSticky) {
  Put(Toy("good"));
  chmod(tree_.path().c_str(), 0777);
  EXPECT_THAT(Verdict(), HasSubstr("the directory " + tree_.path() + " is writable by everybody"));
  chmod(tree_.path().c_str(), 01777);
  EXPECT_EQ(Verdict(), "");
}

TEST_F(RegistryTest, RefusesALinkThroughADirectoryWritableByOthers) {
  const std::string loose = tree_.Dir("loose");
  tree_.Put("loose/toy.so", Toy("good"));
  ASSERT_EQ(symlink("../loose/toy.so", (dir_ + "/sink-toy.so").c_str()), 0);
  EXPECT_EQ(Verdict(), "");
  chmod(loose.c_str(), 0777);
  EXPECT_THAT(Verdict(), HasSubstr("the directory " + loose + " is writable by everybody"));
}

TEST_F(RegistryTest, ADirectoryReachedByALinkIsHeldToTheSameRule) {
  Put(Toy("good"));
  const std::string link = tree_.path() + "/link";
  ASSERT_EQ(symlink("plugins", link.c_str()), 0);
  chmod(dir_.c_str(), 01777);
  Registry registry({{link, false}});
  ASSERT_EQ(registry.List().size(), 1u);
  EXPECT_THAT(registry.List()[0].refusal, HasSubstr("is writable by everybody"));
}

// Root can give a file away; anybody else has one that is not root's.
TEST_F(RegistryTest, RefusesAnOwnerThatIsNeitherRootNorOneself) {
  const std::string path = Put(Toy("good"));
  if (geteuid() == 0) {
    ASSERT_EQ(chown(path.c_str(), 12345, 12345), 0);
    EXPECT_THAT(Verdict(),
                AllOf(HasSubstr(path + " belongs to user 12345"), HasSubstr("chown root")));
    ASSERT_EQ(chown(path.c_str(), 0, 0), 0);
    ASSERT_EQ(chown(dir_.c_str(), 12345, 12345), 0);
    EXPECT_THAT(Verdict(), HasSubstr("the directory " + dir_ + " belongs to user 12345"));
    return;
  }
  EXPECT_EQ(Verdict(), "") << "oneself is trusted";
  Registry packaged({{dir_, true}});
  EXPECT_THAT(packaged.List()[0].refusal, HasSubstr("it must belong to root"));
}

TEST_F(RegistryTest, RefusesOneIdTwiceInADirectoryAndNamesBoth) {
  const std::string first = Put(Toy("good"), "sink-toy.1.so");
  const std::string second = Put(Toy("second"));
  Registry registry = Here();
  const auto list = registry.List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_THAT(list[0].refusal, AllOf(HasSubstr("is the sink toy"), HasSubstr(second)));
  EXPECT_THAT(list[1].refusal, AllOf(HasSubstr("is the sink toy"), HasSubstr(first)));
  const auto loaded = registry.Load(Kind::kSink, "toy");
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, AllOf(StartsWith(second), HasSubstr(first)));
}

TEST_F(RegistryTest, RefusesALinkToAPluginBesideIt) {
  Put(Toy("good"));
  ASSERT_EQ(symlink("sink-toy.so", (dir_ + "/sink-copy.so").c_str()), 0);
  for (const Candidate& candidate : Here().List())
    EXPECT_THAT(candidate.refusal, HasSubstr("in the same directory")) << candidate.path;
}

// Else anybody's broken file could take a good plugin out of service.
TEST_F(RegistryTest, AFileThatIsRefusedAnywayTakesNoIdFromAnother) {
  Put(Toy("good"));
  const std::string loose = Put(Toy("good"), "sink-toy.1.so");
  chmod(loose.c_str(), 0666);
  EXPECT_TRUE(Here().Load(Kind::kSink, "toy"));
}

TEST_F(RegistryTest, TheEarlierDirectoryWinsAndTheOtherIsShadowed) {
  const std::string late = tree_.Dir("late");
  const std::string winner = Put(Toy("second"));
  const std::string loser = tree_.Put("late/sink-toy.so", Toy("good"));
  Registry registry({{dir_, false}, {late, false}});
  const auto list = registry.List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].path, winner);
  EXPECT_THAT(list[0].shadowed_by, IsEmpty());
  EXPECT_EQ(list[1].path, loser);
  EXPECT_EQ(list[1].shadowed_by, winner);
  EXPECT_EQ(list[1].refusal, "");
  const auto loaded = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(loaded);
  EXPECT_STREQ((*loaded)->entry().version, "2.0.0");
}

// Falling through to an older build would hide the fault.
TEST_F(RegistryTest, ARefusedFileStillShadows) {
  const std::string late = tree_.Dir("late");
  Put({'x'});
  tree_.Put("late/sink-toy.so", Toy("good"));
  Registry registry({{dir_, false}, {late, false}});
  const auto loaded = registry.Load(Kind::kSink, "toy");
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, StartsWith(dir_ + "/sink-toy.so is a text file"));
}

// ---- the same again ----

TEST_F(RegistryTest, TheSameFileGivesTheSameObject) {
  const std::string path = Put(Toy("good"));
  Registry registry = Here();
  const auto first = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(first);
  EXPECT_EQ(registry.Load(Kind::kSink, "toy").value(), *first);
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now());
  EXPECT_EQ(registry.Load(Kind::kSink, "toy").value(), *first) << "touched, but the same build";
}

TEST_F(RegistryTest, AnotherBuildIsLoadedBesideTheFirst) {
  Put(Toy("good"));
  Registry registry = Here();
  const auto first = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(first);
  Put(Toy("second"));
  const auto second = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_NE(*first, *second);
  EXPECT_STREQ((*first)->entry().version, "1.0.0");
  EXPECT_STREQ((*second)->entry().version, "2.0.0");
  EXPECT_EQ(SumOf(**first, 16), 80u);
  EXPECT_EQ(SumOf(**second, 16), 160u);
  Put(Toy("good"));
  EXPECT_EQ(registry.Load(Kind::kSink, "toy").value(), *first) << "back to the build that is there";
}

TEST_F(RegistryTest, ABrokenReplacementIsRefusedAndTheFirstLivesOn) {
  Put(Toy("good"));
  Registry registry = Here();
  const auto first = registry.Load(Kind::kSink, "toy");
  ASSERT_TRUE(first);
  Put({});
  const auto second = registry.Load(Kind::kSink, "toy");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("still being copied?"));
  EXPECT_EQ(SumOf(**first, 16), 80u);
}

// ---- where memory files cannot run ----

TEST(LoadCopyTest, FallsBackToTheStateDirectory) {
  const Tree tree;
  const std::string state = tree.Dir("state");
  setenv("STATE_DIRECTORY", (state + ":/nonexistent").c_str(), 1);
  const Bytes bytes = Toy("good");
  auto loaded = LoadCopy(bytes, "name", "/p/sink-toy.so", CopyPlace::kFileOnly);
  unsetenv("STATE_DIRECTORY");
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_TRUE(loaded->library.has("penstock_plugin_entry"));
  EXPECT_TRUE(HoldsSame(*loaded, bytes));
  struct stat st {};
  ASSERT_EQ(stat((state + "/plugin-copies").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
  EXPECT_TRUE(std::filesystem::is_empty(state + "/plugin-copies"))
      << "the name is gone once loaded";
}

TEST(LoadCopyTest, FallsBackToATemporaryDirectory) {
  const Tree tree;
  setenv("TMPDIR", tree.path().c_str(), 1);
  auto loaded = LoadCopy(Toy("good"), "name", "/p/sink-toy.so", CopyPlace::kFileOnly);
  unsetenv("TMPDIR");
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_TRUE(std::filesystem::is_empty(tree.path()));
}

TEST(LoadCopyTest, ErrorsSpeakOfThePathAndNotOfTheCopy) {
  for (const CopyPlace place : {CopyPlace::kMemoryThenFile, CopyPlace::kFileOnly}) {
    auto loaded = LoadCopy(Toy("undefined"), "name", "/p/sink-toy.so", place);
    ASSERT_FALSE(loaded);
    EXPECT_THAT(loaded.error().message,
                StartsWith("cannot be loaded: undefined symbol: penstock_toy_nowhere"));
  }
}

TEST(LoadCopyTest, TheCopyInMemoryIsSealed) {
  auto loaded = LoadCopy(Toy("good"), "name", "/p/sink-toy.so");
  ASSERT_TRUE(loaded);
  const std::string self = "/proc/self/fd/" + std::to_string(loaded->fd);
  EXPECT_NE(truncate(self.c_str(), 0), 0);
  EXPECT_NE(write(loaded->fd, "x", 1), 1);
}

}  // namespace
}  // namespace penstock::plugin
