// The functions that an expression may call. Private to this folder.
#pragma once

#include "filter/runtime.h"

namespace penstock::filter {

// The names of all of them, and of the tables math and string.
std::vector<std::string_view> LibraryNames();
// Whether there is string.NAME or math.NAME.
bool HasMember(std::string_view table, std::string_view name);

// Pushes a table of them. May raise an error.
void PushLibrary(lua_State* lua);
// Gives nil, booleans, numbers and strings what indexing them says: nil. May raise an error.
void SetIndexing(lua_State* lua);

// Pushes a lazy field (Field::kBody and those after it). May raise an error.
void PushField(Runtime* r, Field field);
// Pushes one of the others; likewise.
void PushPlainField(Runtime* r, Field field);

}  // namespace penstock::filter
