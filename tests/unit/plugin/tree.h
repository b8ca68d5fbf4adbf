// A private directory for plugins under test, and ways to spoil a copy.
#pragma once

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "plugin/plugin.h"

namespace penstock::plugin {

using Bytes = std::vector<uint8_t>;

inline Bytes ReadBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return Bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void WriteBytes(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  ASSERT_TRUE(out.good()) << path;
}

// The bytes of the toy that was built as variant, e.g. Toy("good").
inline Bytes Toy(const std::string& variant, const std::string& file = "sink-toy.so") {
  return ReadBytes(std::filesystem::path(PENSTOCK_TOYS) / variant / file);
}

// Removed with all that is in it at the end of the test. Lies in /tmp, whose modes a loader
// accepts.
class Tree {
 public:
  Tree() {
    char name[] = "/tmp/penstock-test-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~Tree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  const std::string& path() const { return root_; }
  std::string Dir(const std::string& name) const {
    const std::string path = root_ + "/" + name;
    std::filesystem::create_directories(path);
    chmod(path.c_str(), 0755);
    return path;
  }
  // Writes dir/file with mode 0644 and returns its path.
  std::string Put(const std::string& file, const Bytes& bytes) const {
    const std::string path = root_ + "/" + file;
    WriteBytes(path, bytes);
    chmod(path.c_str(), 0644);
    return path;
  }

 private:
  std::string root_;
};

template <typename T>
T& At(Bytes& bytes, size_t offset) {
  EXPECT_LE(offset + sizeof(T), bytes.size());
  return *reinterpret_cast<T*>(bytes.data() + offset);
}

inline Elf64_Ehdr& Header(Bytes& bytes) { return At<Elf64_Ehdr>(bytes, 0); }

inline Elf64_Phdr& Segment(Bytes& bytes, uint32_t type) {
  const Elf64_Ehdr& header = Header(bytes);
  for (size_t i = 0; i < header.e_phnum; ++i) {
    auto& segment = At<Elf64_Phdr>(bytes, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (segment.p_type == type) return segment;
  }
  ADD_FAILURE() << "no segment of type " << type;
  return At<Elf64_Phdr>(bytes, header.e_phoff);
}

inline Elf64_Dyn& Dynamic(Bytes& bytes, int64_t tag) {
  const Elf64_Phdr segment = Segment(bytes, PT_DYNAMIC);
  for (size_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
    auto& entry = At<Elf64_Dyn>(bytes, segment.p_offset + at);
    if (entry.d_tag == tag) return entry;
  }
  ADD_FAILURE() << "no dynamic entry " << tag;
  return At<Elf64_Dyn>(bytes, segment.p_offset);
}

inline penstock_note& NoteOf(Bytes& bytes) {
  constexpr char kOwner[12] = "Penstock";
  for (size_t at = 0; at + sizeof(penstock_note) <= bytes.size(); at += 4) {
    auto& note = At<penstock_note>(bytes, at);
    if (note.namesz == 9 && std::memcmp(note.name, kOwner, sizeof kOwner) == 0) return note;
  }
  ADD_FAILURE() << "no note";
  return At<penstock_note>(bytes, 0);
}

}  // namespace penstock::plugin
