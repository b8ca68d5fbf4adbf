#include "plugin/libraries.h"

#include <gmock/gmock.h>

#include "unit/plugin/tree.h"

namespace penstock::plugin {
namespace {

using ::testing::HasSubstr;

ElfFacts Needs(std::vector<std::string> names) {
  ElfFacts facts;
  facts.needed = std::move(names);
  return facts;
}

// Nothing but what the process has loaded.
LibraryPaths Nowhere() { return {"/nonexistent", {}}; }

TEST(Libraries, NamesEachThatIsMissing) {
  const std::string refusal = MissingLibraries(
      Needs({"libc.so.6", "libabsent.so.3", "libalso.so.1"}), LibraryPaths::OfSystem());
  EXPECT_THAT(refusal, HasSubstr("libabsent.so.3 and libalso.so.1"));
  EXPECT_THAT(refusal, HasSubstr("install the packages that provide them"));
  EXPECT_THAT(refusal, Not(HasSubstr("libc.so.6")));
}

TEST(Libraries, FindsWhatIsLoaded) {
  EXPECT_EQ(MissingLibraries(Needs({"libc.so.6"}), Nowhere()), "");
}

TEST(Libraries, FindsWhatIsInTheRunPathAndInTheSystemsDirectories) {
  const Tree tree;
  tree.Put("libabsent.so.3", {1});
  ElfFacts facts = Needs({"libabsent.so.3"});
  EXPECT_NE(MissingLibraries(facts, Nowhere()), "");
  LibraryPaths paths = Nowhere();
  paths.directories = {tree.path()};
  EXPECT_EQ(MissingLibraries(facts, paths), "");
  facts.run_path = {tree.path()};
  EXPECT_EQ(MissingLibraries(facts, Nowhere()), "");
  facts.run_path = {"relative"};
  EXPECT_NE(MissingLibraries(facts, Nowhere()), "");
}

TEST(Libraries, RefusesASanitizerThatTheProcessLacks) {
  EXPECT_THAT(MissingLibraries(Needs({"libhwasan.so.99"}), LibraryPaths::OfSystem()),
              HasSubstr("is built with a sanitizer (libhwasan.so.99)"));
}

TEST(Libraries, TakesOnlyAbsolutePathsThatAreThere) {
  const Tree tree;
  const std::string path = tree.Put("libabsent.so.3", {1});
  EXPECT_EQ(MissingLibraries(Needs({path}), Nowhere()), "");
  EXPECT_NE(MissingLibraries(Needs({path + "x"}), Nowhere()), "");
  EXPECT_NE(MissingLibraries(Needs({"./libc.so.6"}), Nowhere()), "");
}

#if defined(__x86_64__) || defined(__aarch64__)
// Builds ld.so.cache's table of one entry.
Bytes Cache(const std::string& name, const std::string& path, int32_t flags) {
  Bytes out;
  const auto add = [&](const void* data, size_t size) {
    const auto* p = static_cast<const uint8_t*>(data);
    out.insert(out.end(), p, p + size);
  };
  const auto strings = static_cast<uint32_t>(name.size() + path.size() + 2);
  const uint32_t header[7] = {1, strings, 0, 0, 0, 0, 0};
  const uint32_t entry[6] = {
      static_cast<uint32_t>(flags), 72, static_cast<uint32_t>(72 + name.size() + 1), 0, 0, 0};
  add("glibc-ld.so.cache1.1", 20);
  add(header, sizeof header);
  add(entry, sizeof entry);
  add(name.c_str(), name.size() + 1);
  add(path.c_str(), path.size() + 1);
  return out;
}

#if defined(__x86_64__)
constexpr int32_t kOwn = 0x0303, kForeign = 0x0003;
#else
constexpr int32_t kOwn = 0x0a03, kForeign = 0x0003;
#endif

TEST(Libraries, ReadsTheCacheAndMindsTheCpu) {
  const Tree tree;
  const std::string library = tree.Put("elsewhere", {1});
  const ElfFacts facts = Needs({"libabsent.so.3"});
  const auto missing = [&](const Bytes& cache) {
    return MissingLibraries(facts, {tree.Put("cache", cache), {}});
  };
  EXPECT_EQ(missing(Cache("libabsent.so.3", library, kOwn)), "");
  EXPECT_NE(missing(Cache("libabsent.so.3", library, kForeign)), "");
  EXPECT_NE(missing(Cache("libabsent.so.4", library, kOwn)), "");
  EXPECT_NE(missing(Cache("libabsent.so.3", library + "gone", kOwn)), "");
}

TEST(Libraries, SurvivesADamagedCache) {
  const Tree tree;
  const Bytes whole = Cache("libabsent.so.3", tree.Put("elsewhere", {1}), kOwn);
  for (size_t length = 0; length < 72; ++length) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    EXPECT_NE(MissingLibraries(Needs({"libabsent.so.3"}), {tree.Put("cache", part), {}}), "");
  }
  for (size_t at : {20, 52, 56}) {
    Bytes damaged = whole;
    At<uint32_t>(damaged, at) = 0xfffffff0;
    EXPECT_NE(MissingLibraries(Needs({"libabsent.so.3"}), {tree.Put("cache", damaged), {}}), "");
  }
}
#endif

}  // namespace
}  // namespace penstock::plugin
