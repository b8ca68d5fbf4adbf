#include "plugin/elf.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace penstock::plugin {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kOwnMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kOwnMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr uint16_t kOwnMachine = EM_RISCV;
#elif defined(__powerpc64__)
constexpr uint16_t kOwnMachine = EM_PPC64;
#elif defined(__s390x__)
constexpr uint16_t kOwnMachine = EM_S390;
#else
#error "Name this CPU's ELF machine here"
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
constexpr uint8_t kOwnOrder = ELFDATA2LSB;
#else
constexpr uint8_t kOwnOrder = ELFDATA2MSB;
#endif
static_assert(sizeof(void*) == 8, "the host is a 64-bit program");

// Bounds on what a real shared object holds, so that a forged one costs little time.
constexpr size_t kMaxProgramHeaders = 256;
constexpr uint64_t kMaxNoteSegment = 1 << 20;
constexpr size_t kMaxDynamicEntries = 4096;
constexpr size_t kMaxStringLength = 4096;
constexpr uint64_t kMaxSymbols = 65536;

constexpr char kNoteOwner[] = "Penstock";
constexpr uint32_t kNoteType = 1;
constexpr uint32_t kNoteFixedSize = 16;  // magic, abi_major, abi_minor, kind
constexpr uint32_t kNoteSize = kNoteFixedSize + PENSTOCK_ID_MAX + PENSTOCK_VERSION_MAX;
static_assert(sizeof(penstock_note) == 24 + kNoteSize);

constexpr char kTruncated[] =
    "; is it still being copied? Copy it again, best to another name and then mv";

std::string MachineName(uint16_t machine) {
  switch (machine) {
    case EM_386:
      return "x86 (32-bit)";
    case EM_ARM:
      return "ARM (32-bit)";
    case EM_X86_64:
      return "x86-64";
    case EM_AARCH64:
      return "AArch64";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "PowerPC64";
    case EM_S390:
      return "S/390";
    case EM_MIPS:
      return "MIPS";
    case 258:
      return "LoongArch";
    default:
      return "CPU number " + std::to_string(machine);
  }
}

std::vector<std::string> SplitPath(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const size_t colon = std::min(list.find(':'), list.size());
    out.emplace_back(list.substr(0, colon));
    list.remove_prefix(std::min(colon + 1, list.size()));
  }
  return out;
}

uint64_t RoundUp(uint64_t n, uint64_t align) { return (n + align - 1) / align * align; }

// One file under judgement. Each step returns false once facts.refusal says why.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> file) : file_(file) {}

  ElfFacts Read() {
    // The note comes before the dynamic section, so that a listing can name what it refuses.
    if (ReadHeader() && ReadProgramHeaders() && CheckExtent() && ReadNotes() && CheckSegments() &&
        ReadDynamic()) {
      ReadExports();
      facts_.refusal = AbiRefusal(facts_.note->abi_major, facts_.note->abi_minor);
    }
    return std::move(facts_);
  }

 private:
  bool Refuse(std::string why) {
    facts_.refusal = std::move(why);
    return false;
  }
  bool Malformed(const std::string& what) {
    return Refuse("is damaged (" + what + "); build or copy it again");
  }
  bool Fits(uint64_t offset, uint64_t size) const {
    return offset <= file_.size() && size <= file_.size() - offset;
  }
  template <typename T>
  bool Get(uint64_t offset, T* out) const {
    if (!Fits(offset, sizeof(T))) return false;
    std::memcpy(out, file_.data() + offset, sizeof(T));
    return true;
  }

  bool ReadHeader();
  bool CheckCpu();
  bool ReadProgramHeaders();
  bool CheckExtent();
  bool CheckSegments();
  bool ReadNotes();
  bool ReadNoteSegment(const Elf64_Phdr& segment);
  bool TakeNote(uint64_t desc, uint32_t size);
  bool ReadDynamic();
  bool TakeDynamic(const Elf64_Phdr& segment);
  void ReadExports();
  bool OffsetOf(uint64_t address, uint64_t* offset) const;
  bool DynamicString(uint64_t index, std::string* out) const;
  bool NoteText(uint64_t offset, size_t size, std::string* out) const;

  std::span<const uint8_t> file_;
  ElfFacts facts_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
  uint64_t strings_ = 0, strings_size_ = 0;  // of the dynamic section, as a range of the file
};

bool Reader::ReadHeader() {
  if (file_.empty()) return Refuse(std::string("is empty") + kTruncated);
  if (file_.size() < SELFMAG || std::memcmp(file_.data(), ELFMAG, SELFMAG) != 0) {
    const auto head = file_.first(std::min<size_t>(file_.size(), 256));
    const bool text = std::all_of(head.begin(), head.end(), [](uint8_t c) {
      return c >= 0x20 ? c != 0x7f : c == '\n' || c == '\r' || c == '\t';
    });
    return Refuse(std::string(text ? "is a text file" : "is not an ELF file") +
                  ", not a shared object; put a built plugin in its place or remove it");
  }
  if (!Get(0, &header_)) return Refuse(std::string("is cut off in its ELF header") + kTruncated);
  if (!CheckCpu()) return false;
  if (header_.e_ident[EI_VERSION] != EV_CURRENT || header_.e_version != EV_CURRENT)
    return Malformed("its ELF version is unknown");
  switch (header_.e_type) {
    case ET_DYN:
      break;
    case ET_EXEC:
      return Refuse("is an executable, not a plugin; link it as a shared object (-shared)");
    case ET_REL:
      return Refuse("is an unlinked object file, not a plugin; link it with -shared");
    case ET_CORE:
      return Refuse("is a core dump, not a plugin; remove it");
    default:
      return Malformed("its ELF type is unknown");
  }
  return true;
}

bool Reader::CheckCpu() {
  uint16_t machine = header_.e_machine;
  const uint8_t order = header_.e_ident[EI_DATA];
  if (order != kOwnOrder) machine = static_cast<uint16_t>(machine << 8 | machine >> 8);
  const uint8_t bits = header_.e_ident[EI_CLASS];
  if (bits == ELFCLASS64 && order == kOwnOrder && machine == kOwnMachine) return true;
  std::string built = MachineName(machine);
  if (machine == kOwnMachine) {
    built += bits != ELFCLASS64 ? " in 32-bit form" : " in the other byte order";
  }
  return Refuse("is built for another CPU: it is for " + built + ", this host runs on " +
                MachineName(kOwnMachine) + "; install the build for " + MachineName(kOwnMachine));
}

bool Reader::ReadProgramHeaders() {
  if (header_.e_phnum == 0 || header_.e_phentsize != sizeof(Elf64_Phdr) ||
      header_.e_phnum > kMaxProgramHeaders) {
    return Malformed("its program headers make no sense");
  }
  if (!Fits(header_.e_phoff, uint64_t{header_.e_phnum} * sizeof(Elf64_Phdr)))
    return Refuse(std::string("is cut off in its program headers") + kTruncated);
  segments_.resize(header_.e_phnum);
  std::memcpy(segments_.data(), file_.data() + header_.e_phoff,
              segments_.size() * sizeof(Elf64_Phdr));
  return true;
}

// Everything that the headers promise must lie within the file: a shared object that ends early
// kills the process that maps it.
bool Reader::CheckExtent() {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_NULL || segment.p_filesz == 0) continue;
    if (!Fits(segment.p_offset, segment.p_filesz)) {
      return Refuse("is cut off: a segment ends beyond the file's " + std::to_string(file_.size()) +
                    " bytes" + kTruncated);
    }
  }
  if (header_.e_shoff == 0) return true;
  const uint64_t sections = std::max<uint64_t>(header_.e_shnum, 1);
  if (!Fits(header_.e_shoff, sections * header_.e_shentsize)) {
    return Refuse("is cut off: its section headers lie beyond the file's " +
                  std::to_string(file_.size()) + " bytes" + kTruncated);
  }
  return true;
}

bool Reader::CheckSegments() {
  bool loads = false, has_stack = false;
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_LOAD) {
      loads = true;
      if (segment.p_filesz > segment.p_memsz)
        return Malformed("a segment is larger than its memory");
    }
    if (segment.p_type == PT_INTERP) {
      return Refuse(
          "is an executable, not a plugin; link it as a shared object (-shared, not -pie)");
    }
    if (segment.p_type == PT_GNU_STACK) {
      has_stack = true;
      if ((segment.p_flags & PF_X) == 0) continue;
      return Refuse(
          "asks for an executable stack, which would take a protection from the whole process; "
          "link it with "
          "-Wl,-z,noexecstack and look for assembly without a .note.GNU-stack section");
    }
  }
  if (!loads) return Malformed("it has nothing to load");
  if (!has_stack) {
    return Refuse(
        "does not say that its stack is not executable (no PT_GNU_STACK), so it would get an "
        "executable one; "
        "link it with -Wl,-z,noexecstack");
  }
  return true;
}

bool Reader::ReadNotes() {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_NOTE && !ReadNoteSegment(segment)) return false;
  }
  if (facts_.note) return true;
  // An executable has no note either, and deserves the better sentence.
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_INTERP) return CheckSegments();
  }
  return Refuse(
      "is a shared object, but not a Penstock plugin: it has no Penstock note; register the plugin "
      "with "
      "PENSTOCK_SOURCE_PLUGIN, PENSTOCK_SINK_PLUGIN or PENSTOCK_DEFINE_NOTE");
}

bool Reader::ReadNoteSegment(const Elf64_Phdr& segment) {
  if (segment.p_filesz > kMaxNoteSegment) return Malformed("its notes are too large");
  const uint64_t align = segment.p_align == 8 ? 8 : 4;
  const uint64_t end = segment.p_offset + segment.p_filesz;
  uint64_t at = segment.p_offset;
  while (end - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note;
    if (!Get(at, &note)) return Malformed("a note lies beyond the file");
    const uint64_t name = at + sizeof note;
    // gABI: the description starts, and the next note too, at a multiple of the alignment from the
    // segment's start.
    const uint64_t desc =
        segment.p_offset + RoundUp(name - segment.p_offset + note.n_namesz, align);
    if (desc > end || note.n_descsz > end - desc)
      return Malformed("a note ends beyond its segment");
    if (note.n_type == kNoteType && note.n_namesz == sizeof kNoteOwner &&
        std::memcmp(file_.data() + name, kNoteOwner, sizeof kNoteOwner) == 0 &&
        !TakeNote(desc, note.n_descsz)) {
      return false;
    }
    const uint64_t next =
        segment.p_offset + RoundUp(desc - segment.p_offset + note.n_descsz, align);
    if (next > end) break;
    at = next;
  }
  return true;
}

bool Reader::TakeNote(uint64_t desc, uint32_t size) {
  if (facts_.note) {
    return Refuse("holds two Penstock notes; one plugin per file: split it");
  }
  uint32_t words[4];
  if (size < sizeof words || !Get(desc, &words) || words[0] != PENSTOCK_MAGIC)
    return Malformed("its Penstock note is not one");
  Note note;
  note.abi_major = words[1];
  note.abi_minor = words[2];
  // What follows is laid out as that ABI says, which only its own hosts know.
  const bool known = AbiRefusal(note.abi_major, note.abi_minor).empty();
  if (size < kNoteSize) {
    if (known) return Malformed("its Penstock note is too short");
    facts_.note = std::move(note);
    return true;
  }
  note.kind = words[3] == PENSTOCK_SOURCE ? Kind::kSource : Kind::kSink;
  const bool good =
      (words[3] == PENSTOCK_SOURCE || words[3] == PENSTOCK_SINK) &&
      NoteText(desc + kNoteFixedSize, PENSTOCK_ID_MAX, &note.id) && IsId(note.id) &&
      NoteText(desc + kNoteFixedSize + PENSTOCK_ID_MAX, PENSTOCK_VERSION_MAX, &note.version);
  if (!good && known) {
    return Refuse(
        "has a Penstock note with an invalid kind, id or version; an id has only a-z, 0-9 and '-', "
        "at most " +
        std::to_string(PENSTOCK_ID_MAX - 1) + " of them: correct it and build again");
  }
  if (!good) note.id = note.version = "";
  facts_.note = std::move(note);
  return true;
}

bool Reader::NoteText(uint64_t offset, size_t size, std::string* out) const {
  const char* text = reinterpret_cast<const char*>(file_.data() + offset);
  const size_t length = strnlen(text, size);
  if (length == 0 || length == size) return false;
  const bool clean = std::all_of(text, text + length, [](char c) { return c > 0x20 && c < 0x7f; });
  if (clean) out->assign(text, length);
  return clean;
}

bool Reader::ReadDynamic() {
  const Elf64_Phdr* dynamic = nullptr;
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_DYNAMIC) continue;
    if (dynamic != nullptr) return Malformed("it has two dynamic sections");
    dynamic = &segment;
  }
  if (dynamic == nullptr) {
    return Refuse("is linked statically, so it exports nothing; link it with -shared");
  }
  return TakeDynamic(*dynamic);
}

bool Reader::TakeDynamic(const Elf64_Phdr& segment) {
  std::vector<uint64_t> needed;
  std::optional<uint64_t> run_path, r_path;
  uint64_t string_address = 0, flags = 0, flags_1 = 0;
  bool textrel = false;
  const uint64_t entries = segment.p_filesz / sizeof(Elf64_Dyn);
  if (entries > kMaxDynamicEntries) return Malformed("its dynamic section is too large");
  for (uint64_t i = 0; i < entries; ++i) {
    Elf64_Dyn entry;
    if (!Get(segment.p_offset + i * sizeof entry, &entry))
      return Malformed("its dynamic section is cut off");
    if (entry.d_tag == DT_NULL) break;
    const uint64_t value = entry.d_un.d_val;
    switch (entry.d_tag) {
      case DT_NEEDED:
        needed.push_back(value);
        break;
      case DT_RUNPATH:
        run_path = value;
        break;
      case DT_RPATH:
        r_path = value;
        break;
      case DT_STRTAB:
        string_address = value;
        break;
      case DT_STRSZ:
        strings_size_ = value;
        break;
      case DT_TEXTREL:
        textrel = true;
        break;
      case DT_FLAGS:
        flags = value;
        break;
      case DT_FLAGS_1:
        flags_1 = value;
        break;
      default:
        break;
    }
  }
  if ((flags_1 & DF_1_PIE) != 0) {
    return Refuse("is an executable, not a plugin; link it as a shared object (-shared, not -pie)");
  }
  if (textrel || (flags & DF_TEXTREL) != 0) {
    return Refuse(
        "has text relocations (DT_TEXTREL), which need code that can be written to; compile it "
        "with -fPIC");
  }
  if (!OffsetOf(string_address, &strings_) || !Fits(strings_, strings_size_))
    return Malformed("its string table lies beyond the file");
  for (uint64_t index : needed) {
    if (!DynamicString(index, &facts_.needed.emplace_back()))
      return Malformed("the name of a library is unreadable");
  }
  if (!run_path) run_path = r_path;
  std::string path;
  if (run_path && !DynamicString(*run_path, &path)) return Malformed("its RUNPATH is unreadable");
  if (path.find("$ORIGIN") != path.npos || path.find("${ORIGIN}") != path.npos) {
    return Refuse("looks for libraries beside itself (RUNPATH " + Printable(path) +
                  "), but a plugin runs from a private copy that has nothing beside it; link it "
                  "with an absolute "
                  "RUNPATH or without one");
  }
  facts_.run_path = SplitPath(path);
  facts_.nodelete = (flags_1 & DF_1_NODELETE) != 0;
  return true;
}

// By the section of symbols, since no entry of the dynamic section says how many there are. The
// loader needs none of it, so nothing here is a reason to refuse a file.
void Reader::ReadExports() {
  if (header_.e_shoff == 0 || header_.e_shentsize != sizeof(Elf64_Shdr)) return;
  Elf64_Shdr section{};
  uint64_t index = 0;
  while (index < header_.e_shnum && section.sh_type != SHT_DYNSYM) {
    if (!Get(header_.e_shoff + index++ * sizeof section, &section)) return;
  }
  const uint64_t count = section.sh_size / sizeof(Elf64_Sym);
  if (section.sh_type != SHT_DYNSYM || count > kMaxSymbols) return;
  std::vector<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    Elf64_Sym symbol;
    if (!Get(section.sh_offset + i * sizeof symbol, &symbol)) return;
    const bool open = ELF64_ST_BIND(symbol.st_info) != STB_LOCAL &&
                      (ELF64_ST_VISIBILITY(symbol.st_other) == STV_DEFAULT ||
                       ELF64_ST_VISIBILITY(symbol.st_other) == STV_PROTECTED);
    if (!open || symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS) continue;
    if (!DynamicString(symbol.st_name, &names.emplace_back())) return;
  }
  facts_.exports = std::move(names);
}

bool Reader::OffsetOf(uint64_t address, uint64_t* offset) const {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_LOAD || address < segment.p_vaddr) continue;
    if (address - segment.p_vaddr >= segment.p_filesz) continue;
    *offset = segment.p_offset + (address - segment.p_vaddr);
    return true;
  }
  return false;
}

bool Reader::DynamicString(uint64_t index, std::string* out) const {
  if (index >= strings_size_) return false;
  const size_t room = std::min<uint64_t>(strings_size_ - index, kMaxStringLength);
  const char* text = reinterpret_cast<const char*>(file_.data() + strings_ + index);
  const size_t length = strnlen(text, room);
  if (length == room) return false;
  out->assign(text, length);
  return true;
}

}  // namespace

ElfFacts ReadElf(std::span<const uint8_t> file) { return Reader(file).Read(); }

std::string AbiRefusal(uint32_t major, uint32_t minor) {
  if (major == PENSTOCK_ABI_MAJOR) return "";
  const auto version = [](uint32_t a, uint32_t b) {
    return std::to_string(a) + "." + std::to_string(b);
  };
  const std::string own = version(PENSTOCK_ABI_MAJOR, PENSTOCK_ABI_MINOR);
  if (major > PENSTOCK_ABI_MAJOR) {
    return "is built for a newer Penstock: its plugin ABI is " + version(major, minor) +
           ", this host's is " + own +
           "; upgrade Penstock, or install a build of the plugin for ABI " + own;
  }
  return "is built for an older Penstock: its plugin ABI is " + version(major, minor) +
         ", this host's is " + own +
         "; build it again with this Penstock's headers, or install a newer build";
}

std::string Printable(std::string_view text, size_t most) {
  std::string out(text.substr(0, most));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() > most) out += "...";
  return out;
}

bool IsId(std::string_view text) {
  return !text.empty() && text.size() < PENSTOCK_ID_MAX &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace penstock::plugin
