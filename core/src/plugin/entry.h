// Checks the table that a loaded plugin exports before anybody calls through it.
#pragma once

#include <boost/dll/shared_library.hpp>
#include <string>
#include <vector>

#include "platform/result.h"
#include "plugin/elf.h"

namespace penstock::plugin {

// The plugin's table in this host's own form: what the plugin's version lacks is zero, texts are
// never NULL, and the options lie side by side with option_stride == sizeof(penstock_option).
// receipt_stride stays the plugin's.
struct Entry {
  penstock_plugin table{};
  std::vector<penstock_option> options;  // table.options points here
};

// Judges what raw points to against the note. symbol_size is what the symbol table says of it, 0 if
// unknown. On success *out holds the normal form; out must not move afterwards. The error is a
// sentence without the path.
Result<void> CheckEntry(const penstock_plugin* raw, size_t symbol_size, const Note& note,
                        Entry* out);

// The same for what a loaded library exports.
Result<void> FindEntry(const boost::dll::shared_library& library, const Note& note, Entry* out);

}  // namespace penstock::plugin
