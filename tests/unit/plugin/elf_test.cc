#include "plugin/elf.h"

#include <gmock/gmock.h>

#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <random>

#include "unit/plugin/tree.h"

namespace penstock::plugin {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Refusal(const Bytes& bytes) { return ReadElf(bytes).refusal; }

TEST(Elf, ReadsTheNoteOfAGoodPlugin) {
  const ElfFacts facts = ReadElf(Toy("good"));
  EXPECT_EQ(facts.refusal, "");
  ASSERT_TRUE(facts.note.has_value());
  EXPECT_EQ(facts.note->kind, Kind::kSink);
  EXPECT_EQ(facts.note->id, "toy");
  EXPECT_EQ(facts.note->version, "1.0.0");
  EXPECT_EQ(facts.note->abi_major, PENSTOCK_ABI_MAJOR);
  EXPECT_EQ(facts.note->abi_minor, PENSTOCK_ABI_MINOR);
}

TEST(Elf, ReadsTheNoteOfACxxPlugin) {
  const ElfFacts facts = ReadElf(Toy("source", "source-once.so"));
  EXPECT_EQ(facts.refusal, "");
  ASSERT_TRUE(facts.note.has_value());
  EXPECT_EQ(facts.note->kind, Kind::kSource);
  EXPECT_EQ(facts.note->id, "once");
}

TEST(Elf, ListsTheLibrariesThatItNeeds) {
  EXPECT_THAT(ReadElf(Toy("needy")).needed, ::testing::Contains("libpenstockabsent.so.3"));
  const ElfFacts served = ReadElf(Toy("served"));
  EXPECT_EQ(served.refusal, "");
  ASSERT_EQ(served.run_path.size(), 1u);
  EXPECT_THAT(served.run_path[0], ::testing::EndsWith("/library_1"));
}

TEST(Elf, ListsWhatItExports) {
  using ::testing::ElementsAre;
  using ::testing::Optional;
  EXPECT_THAT(ReadElf(Toy("good")).exports, Optional(ElementsAre("penstock_plugin_entry")));
  EXPECT_THAT(ReadElf(Toy("no_entry")).exports, Optional(::testing::IsEmpty()));
  Bytes stripped = Toy("good");
  Header(stripped).e_shoff = Header(stripped).e_shnum = 0;
  EXPECT_EQ(ReadElf(stripped).refusal, "");
  EXPECT_EQ(ReadElf(stripped).exports, std::nullopt);
}

TEST(Elf, ExportsBehindTheFileAreNoneAndNoReasonToRefuse) {
  Bytes bytes = Toy("good");
  const Elf64_Ehdr header = Header(bytes);
  for (size_t i = 0; i < header.e_shnum; ++i) {
    auto& section = At<Elf64_Shdr>(bytes, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type == SHT_DYNSYM) section.sh_offset = bytes.size() - 8;
  }
  EXPECT_EQ(ReadElf(bytes).refusal, "");
  EXPECT_EQ(ReadElf(bytes).exports, std::nullopt);
}

TEST(Elf, SaysWhetherItMayBeUnloaded) {
  Bytes bytes = Toy("good");
  EXPECT_FALSE(ReadElf(bytes).nodelete);
  Dynamic(bytes, DT_FLAGS_1).d_un.d_val |= DF_1_NODELETE;
  EXPECT_TRUE(ReadElf(bytes).nodelete);
}

TEST(Elf, RefusesATextFile) {
  const std::string text = "#!/bin/sh\necho plugin\n";
  EXPECT_THAT(Refusal(Bytes(text.begin(), text.end())), StartsWith("is a text file"));
}

TEST(Elf, RefusesOtherBytes) {
  EXPECT_THAT(Refusal({0x1f, 0x8b, 0x08, 0x00, 0x00}), StartsWith("is not an ELF file"));
}

TEST(Elf, RefusesAnEmptyFile) { EXPECT_THAT(Refusal({}), HasSubstr("still being copied?")); }

TEST(Elf, RefusesAnotherCpuAndNamesBoth) {
  Bytes bytes = Toy("good");
  const uint16_t own = Header(bytes).e_machine;
  const uint16_t other = own == EM_AARCH64 ? EM_X86_64 : EM_AARCH64;
  Header(bytes).e_machine = other;
  const std::string refusal = Refusal(bytes);
  EXPECT_THAT(refusal, HasSubstr("is built for another CPU"));
  EXPECT_THAT(refusal, HasSubstr("AArch64"));
  EXPECT_THAT(refusal, HasSubstr("x86-64"));
}

TEST(Elf, Refuses32Bit) {
  Bytes bytes = Toy("good");
  Header(bytes).e_ident[EI_CLASS] = ELFCLASS32;
  Header(bytes).e_machine = EM_386;
  EXPECT_THAT(Refusal(bytes), HasSubstr("it is for x86 (32-bit), this host runs on"));
}

TEST(Elf, RefusesTheOtherByteOrder) {
  Bytes bytes = Toy("good");
  Header(bytes).e_ident[EI_DATA] = ELFDATA2MSB;
  Header(bytes).e_machine = EM_S390 << 8;
  EXPECT_THAT(Refusal(bytes), HasSubstr("it is for S/390"));
}

TEST(Elf, RefusesAnExecutableOfEachForm) {
  Bytes fixed = Toy("good");
  Header(fixed).e_type = ET_EXEC;
  EXPECT_THAT(Refusal(fixed), StartsWith("is an executable"));
  EXPECT_THAT(Refusal(ReadBytes("/proc/self/exe")), StartsWith("is an executable"));
  Bytes with_interpreter = Toy("good");
  Segment(with_interpreter, PT_GNU_EH_FRAME).p_type = PT_INTERP;
  EXPECT_THAT(Refusal(with_interpreter), StartsWith("is an executable"));
  Bytes pie = Toy("good");
  Dynamic(pie, DT_FLAGS_1).d_un.d_val |= DF_1_PIE;
  EXPECT_THAT(Refusal(pie), StartsWith("is an executable"));
}

TEST(Elf, RefusesAnObjectFile) {
  Bytes bytes = Toy("good");
  Header(bytes).e_type = ET_REL;
  EXPECT_THAT(Refusal(bytes), StartsWith("is an unlinked object file"));
}

TEST(Elf, RefusesALibraryWithoutANote) {
  EXPECT_THAT(Refusal(Toy("library_1", "libpenstocktoy.so.3")),
              HasSubstr("not a Penstock plugin: it has no Penstock note"));
}

TEST(Elf, RefusesTextRelocations) {
  Bytes bytes = Toy("good");
  Dynamic(bytes, DT_FLAGS).d_un.d_val |= DF_TEXTREL;
  EXPECT_THAT(Refusal(bytes), HasSubstr("DT_TEXTREL"));
  Bytes old_form = Toy("good");
  Elf64_Dyn& entry = Dynamic(old_form, DT_FLAGS);
  entry.d_tag = DT_TEXTREL;
  entry.d_un.d_val = 0;
  EXPECT_THAT(Refusal(old_form), HasSubstr("-fPIC"));
}

TEST(Elf, RefusesAnExecutableStack) {
  Bytes bytes = Toy("good");
  Segment(bytes, PT_GNU_STACK).p_flags |= PF_X;
  EXPECT_THAT(Refusal(bytes), StartsWith("asks for an executable stack"));
  Bytes silent = Toy("good");
  Segment(silent, PT_GNU_STACK).p_type = PT_NULL;
  EXPECT_THAT(Refusal(silent), HasSubstr("no PT_GNU_STACK"));
}

TEST(Elf, RefusesOrigin) {
  const std::string refusal = Refusal(Toy("origin"));
  EXPECT_THAT(refusal, HasSubstr("RUNPATH $ORIGIN/lib"));
  EXPECT_THAT(refusal, HasSubstr("absolute"));
}

TEST(Elf, RefusesAnotherAbiAndNamesBothVersions) {
  const std::string own =
      std::to_string(PENSTOCK_ABI_MAJOR) + "." + std::to_string(PENSTOCK_ABI_MINOR);
  Bytes future = Toy("good");
  NoteOf(future).abi_major = PENSTOCK_ABI_MAJOR + 7;
  NoteOf(future).abi_minor = 3;
  const ElfFacts facts = ReadElf(future);
  EXPECT_THAT(facts.refusal, StartsWith("is built for a newer Penstock"));
  EXPECT_THAT(facts.refusal, HasSubstr(std::to_string(PENSTOCK_ABI_MAJOR + 7) + ".3"));
  EXPECT_THAT(facts.refusal, HasSubstr("this host's is " + own));
  ASSERT_TRUE(facts.note.has_value());
  EXPECT_EQ(facts.note->id, "toy");
}

TEST(Elf, TakesEveryMinorOfItsMajorAndNoOtherMajor) {
  for (const uint32_t minor : {0u, 1u, 7u, UINT32_MAX})
    EXPECT_EQ(AbiRefusal(PENSTOCK_ABI_MAJOR, minor), "") << minor;
  for (const uint32_t minor : {0u, 1u, 7u}) {
    EXPECT_THAT(AbiRefusal(PENSTOCK_ABI_MAJOR + 1, minor),
                StartsWith("is built for a newer Penstock"));
    EXPECT_THAT(AbiRefusal(PENSTOCK_ABI_MAJOR - 1, minor),
                StartsWith("is built for an older Penstock"));
  }
}

// A later ABI may lay out what follows its version as it likes.
TEST(Elf, NamesTheAbiOfANoteThatItCannotReadOtherwise) {
  Bytes bytes = Toy("good");
  NoteOf(bytes).abi_major = 9;
  std::memset(NoteOf(bytes).id, 0xff, PENSTOCK_ID_MAX);
  const ElfFacts facts = ReadElf(bytes);
  EXPECT_THAT(facts.refusal, StartsWith("is built for a newer Penstock"));
  ASSERT_TRUE(facts.note.has_value());
  EXPECT_EQ(facts.note->id, "");
}

TEST(Elf, RefusesAnInvalidNote) {
  Bytes unterminated = Toy("good");
  std::memset(NoteOf(unterminated).id, 'a', PENSTOCK_ID_MAX);
  EXPECT_THAT(Refusal(unterminated), HasSubstr("invalid kind, id or version"));
  Bytes slash = Toy("good");
  NoteOf(slash).id[0] = '/';
  EXPECT_THAT(Refusal(slash), HasSubstr("invalid kind, id or version"));
  Bytes kind = Toy("good");
  NoteOf(kind).kind = 3;
  EXPECT_THAT(Refusal(kind), HasSubstr("invalid kind, id or version"));
  Bytes magic = Toy("good");
  NoteOf(magic).magic = 1;
  EXPECT_THAT(Refusal(magic), HasSubstr("its Penstock note is not one"));
  Bytes beyond = Toy("good");
  NoteOf(beyond).descsz = 0xfffffff0;
  EXPECT_THAT(Refusal(beyond), HasSubstr("a note ends beyond its segment"));
}

TEST(Elf, RefusesTwoNotes) {
  EXPECT_THAT(Refusal(Toy("double")), StartsWith("holds two Penstock notes"));
}

TEST(Elf, RefusesWhatHasNoDynamicSection) {
  Bytes bytes = Toy("good");
  Segment(bytes, PT_DYNAMIC).p_type = PT_NULL;
  EXPECT_THAT(Refusal(bytes), StartsWith("is linked statically"));
}

TEST(Elf, RefusesHeadersThatContradictThemselves) {
  const auto refusal = [](const std::function<void(Bytes&)>& spoil) {
    Bytes bytes = Toy("good");
    spoil(bytes);
    return Refusal(bytes);
  };
  const auto damaged = StartsWith("is damaged (");
  EXPECT_THAT(refusal([](Bytes& b) { Header(b).e_phnum = 0; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Header(b).e_phnum = 0xffff; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Header(b).e_phentsize = 1; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Header(b).e_version = 9; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Header(b).e_type = 77; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Segment(b, PT_LOAD).p_memsz = 1; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Dynamic(b, DT_STRTAB).d_un.d_ptr = 1ull << 60; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Dynamic(b, DT_STRSZ).d_un.d_val = 1ull << 60; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Dynamic(b, DT_NEEDED).d_un.d_val = 1ull << 60; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Segment(b, PT_GNU_EH_FRAME).p_type = PT_DYNAMIC; }), damaged);
  EXPECT_THAT(refusal([](Bytes& b) { Header(b).e_phoff = ~uint64_t{0}; }), HasSubstr("is cut off"));
  EXPECT_THAT(refusal([](Bytes& b) { Header(b).e_shoff = ~uint64_t{0}; }), HasSubstr("is cut off"));
  EXPECT_THAT(refusal([](Bytes& b) { Segment(b, PT_LOAD).p_offset = ~uint64_t{0}; }),
              HasSubstr("is cut off"));
}

TEST(Elf, RefusesEveryTruncation) {
  const Bytes whole = Toy("good");
  for (size_t length = 0; length < whole.size(); length += 64) {
    // On the heap with its exact size, so that a sanitizer sees one byte too
    // far.
    const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length));
    EXPECT_THAT(Refusal(part), HasSubstr("still being copied?")) << length;
  }
  EXPECT_THAT(Refusal(Bytes(whole.begin(), whole.end() - 1)), HasSubstr("still being copied?"));
}

uint32_t Seed() {
  const char* given = std::getenv("PENSTOCK_SEED");
  const uint32_t seed =
      given != nullptr ? static_cast<uint32_t>(std::atoll(given)) : std::random_device()();
  std::cout << "seed: PENSTOCK_SEED=" << seed << std::endl;
  return seed;
}

// Whether the note stands in the file, at any place, just as it was read.
bool Holds(const Bytes& bytes, const Note& note) {
  constexpr size_t kNameOffset = offsetof(penstock_note, name);
  constexpr char kOwner[9] = "Penstock";
  for (size_t at = 0; at + sizeof(penstock_note) <= bytes.size(); ++at) {
    if (std::memcmp(bytes.data() + at + kNameOffset, kOwner, sizeof kOwner) != 0) continue;
    penstock_note raw;
    std::memcpy(&raw, bytes.data() + at, sizeof raw);
    if (raw.kind == static_cast<uint32_t>(note.kind) && note.id == raw.id &&
        note.version == raw.version && raw.abi_major == note.abi_major &&
        raw.abi_minor == note.abi_minor) {
      return true;
    }
  }
  return false;
}

// Any bytes: no crash, and what is not refused has a note that holds what a
// note may hold.
TEST(Elf, SurvivesRandomDamage) {
  std::mt19937 random(Seed());
  const Bytes whole = Toy("good");
  // Most of the file is code; the headers and the note are in the first and the
  // dynamic section in the last part.
  const auto position = [&]() -> size_t {
    const size_t range = random() % 2 == 0 ? std::min<size_t>(1024, whole.size()) : whole.size();
    return random() % range;
  };
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = whole;
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips)
      bytes[position()] = static_cast<uint8_t>(random());
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    const ElfFacts facts = ReadElf(bytes);
    if (!facts.refusal.empty()) continue;
    ++accepted;
    ASSERT_TRUE(facts.note.has_value());
    ASSERT_TRUE(IsId(facts.note->id));
    ASSERT_EQ(AbiRefusal(facts.note->abi_major, facts.note->abi_minor), "");
    ASSERT_TRUE(Holds(bytes, *facts.note)) << "round " << round;
  }
  EXPECT_GT(accepted, 0);
}

TEST(Elf, PrintableTakesNoControlCharacters) {
  EXPECT_EQ(Printable("a\n\x1b[31mb"), "a??[31mb");
  EXPECT_EQ(Printable(std::string(300, 'x')), std::string(256, 'x') + "...");
}

}  // namespace
}  // namespace penstock::plugin
