// JSON text to values of Lua. Private to this folder.
#pragma once

#include <string_view>

#include "filter/runtime.h"

namespace penstock::filter {

// Pushes what the text stands for: objects and arrays become tables, null nil; of repeated keys the
// last one counts. An integer that fits 64 bits is one, other numbers are floats. The length of an
// array that holds null is still its own. Raises an error that begins with what when it is no JSON.
void PushJson(Runtime* r, std::string_view json, const char* what);

}  // namespace penstock::filter
