// Reads what the host must know of a shared object from its bytes alone: no mapping, no dlopen, no
// trust in any offset.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugin/plugin.h"

namespace penstock::plugin {

// The plugin's note. kind, id and version are meaningful only when the ABI is one that this host
// knows.
struct Note {
  uint32_t abi_major = 0, abi_minor = 0;
  Kind kind = Kind::kSource;
  std::string id;
  std::string version;
};

struct ElfFacts {
  std::string refusal;                // empty: nothing speaks against loading it
  std::optional<Note> note;           // may be there beside a refusal
  std::vector<std::string> needed;    // DT_NEEDED, in order
  std::vector<std::string> run_path;  // directories of DT_RUNPATH, or else of DT_RPATH
  bool nodelete = false;              // DF_1_NODELETE
  // The names that other libraries can bind to; nothing when the file does not say them all.
  std::optional<std::vector<std::string>> exports;
};

// Judges a whole file. Never fails otherwise than by a refusal: a sentence without the path that
// says what the file is, why it cannot be loaded and what to do. Any thread.
ElfFacts ReadElf(std::span<const uint8_t> file);

// Empty when this host takes plugins of that ABI; else the sentence that names both versions.
std::string AbiRefusal(uint32_t major, uint32_t minor);

// text with everything that could harm a terminal or a log line replaced, and cut to a bearable
// length, most bytes.
std::string Printable(std::string_view text, size_t most = 256);

// Whether text can be a plugin's id: [a-z0-9-], not empty, short enough for the note.
bool IsId(std::string_view text);

}  // namespace penstock::plugin
