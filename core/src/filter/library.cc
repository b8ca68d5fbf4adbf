#include "filter/library.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "event/base64.h"
#include "event/encode.h"
#include "event/time.h"
#include "filter/body.h"

namespace penstock::filter {
namespace {

std::string_view ToView(lua_State* lua, int index) {
  size_t size = 0;
  const char* const bytes = lua_tolstring(lua, index, &size);
  return {bytes, size};
}

void PushView(lua_State* lua, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
}

int Push(lua_State* lua, bool value) {
  lua_pushboolean(lua, value);
  return 1;
}

// A string argument. Numbers are none: a comparison by == would not take them for one either.
std::string_view Text(lua_State* lua, int arg) {
  luaL_checktype(lua, arg, LUA_TSTRING);
  return ToView(lua, arg);
}

bool IsNil(lua_State* lua, int arg) { return lua_isnoneornil(lua, arg); }

int PushNil(lua_State* lua) {
  lua_pushnil(lua);
  return 1;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }
char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c; }

// ---- text

// As text.find(part), whose time is the product of both lengths, in that of their sum.
size_t Find(std::string_view text, std::string_view part) {
  const void* const found = memmem(text.data(), text.size(), part.data(), part.size());
  return found == nullptr ? text.npos
                          : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

// Whether text has a match; nothing: the pattern is none, and r->text says why.
enum class Match { kNo, kYes, kBad };
Match Search(Runtime* r, std::string_view text, std::string_view pattern, uint64_t* steps) {
  constexpr uint64_t kCompileSteps = 10'000, kProgramBytesAStep = 1024;
  bool made = false;
  const RE2* const compiled = r->patterns.Find(pattern, &made);
  *steps = made ? kCompileSteps : 0;
  if (compiled == nullptr) {
    r->text = "matches: " + r->patterns.error();
    return Match::kBad;
  }
  // What it takes at worst grows with both.
  const uint64_t program = static_cast<uint64_t>(std::max(compiled->ProgramSize(), 1));
  *steps += text.size() / Runtime::kBytesAStep + text.size() * program / kProgramBytesAStep;
  if (r->steps + *steps > r->limits.steps) return Match::kNo;  // the caller says so
  return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *compiled) ? Match::kYes
                                                                                  : Match::kNo;
}

int Matches(lua_State* lua) {
  const std::string_view pattern = Text(lua, 2);
  if (IsNil(lua, 1)) return Push(lua, false);
  Runtime& r = Runtime::Of(lua);
  uint64_t steps = 0;
  const Match match = Search(&r, Text(lua, 1), pattern, &steps);
  r.Spend(steps);
  if (match == Match::kBad) r.Raise();
  return Push(lua, match == Match::kYes);
}

int StartsWith(lua_State* lua) {
  const std::string_view part = Text(lua, 2);
  return Push(lua, !IsNil(lua, 1) && Text(lua, 1).starts_with(part));
}

int EndsWith(lua_State* lua) {
  const std::string_view part = Text(lua, 2);
  return Push(lua, !IsNil(lua, 1) && Text(lua, 1).ends_with(part));
}

// The length of a list; objects are none.
lua_Integer ListLength(lua_State* lua, int arg) {
  luaL_checktype(lua, arg, LUA_TTABLE);
  const lua_Integer n = luaL_len(lua, arg);
  if (n > 0) return n;
  lua_pushnil(lua);
  if (lua_next(lua, arg) != 0) luaL_argerror(lua, arg, "an object is no list");
  return 0;
}

int Contains(lua_State* lua) {
  luaL_checkany(lua, 2);
  if (IsNil(lua, 1)) return Push(lua, false);
  Runtime& r = Runtime::Of(lua);
  if (lua_type(lua, 1) == LUA_TSTRING) {
    const std::string_view text = ToView(lua, 1), part = Text(lua, 2);
    r.SpendBytes(text.size());
    return Push(lua, Find(text, part) != text.npos);
  }
  const lua_Integer n = ListLength(lua, 1);
  for (lua_Integer i = 1; i <= n; ++i) {
    r.Spend(1);
    lua_rawgeti(lua, 1, i);
    if (lua_rawequal(lua, -1, 2) != 0) return Push(lua, true);
    lua_pop(lua, 1);
  }
  return Push(lua, false);
}

int OneOf(lua_State* lua) {
  luaL_checkany(lua, 1);
  const int n = lua_gettop(lua);
  for (int i = 2; i <= n; ++i) {
    if (lua_rawequal(lua, 1, i) != 0) return Push(lua, true);
  }
  return Push(lua, false);
}

template <char (*Change)(char)>
int Changed(lua_State* lua) {
  if (IsNil(lua, 1)) return PushNil(lua);
  const std::string_view text = Text(lua, 1);
  luaL_Buffer buffer;
  char* const out = luaL_buffinitsize(lua, &buffer, text.size());
  std::transform(text.begin(), text.end(), out, Change);
  luaL_pushresultsize(&buffer, text.size());
  return 1;
}

int Trim(lua_State* lua) {
  if (IsNil(lua, 1)) return PushNil(lua);
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  std::string_view text = Text(lua, 1);
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  text = text.substr(0, text.find_last_not_of(kSpace) + 1);
  PushView(lua, text);
  return 1;
}

int Split(lua_State* lua) {
  const std::string_view separator = Text(lua, 2);
  luaL_argcheck(lua, !separator.empty(), 2, "it is empty");
  if (IsNil(lua, 1)) return PushNil(lua);
  std::string_view rest = Text(lua, 1);
  Runtime& r = Runtime::Of(lua);
  r.SpendBytes(rest.size());
  lua_createtable(lua, 0, 0);
  for (lua_Integer n = 1;; ++n) {
    r.Spend(1);
    const size_t at = Find(rest, separator);
    PushView(lua, rest.substr(0, at));
    lua_rawseti(lua, -2, n);
    if (at == rest.npos) return 1;
    rest.remove_prefix(at + separator.size());
  }
}

int Repeat(lua_State* lua) {
  const std::string_view text = Text(lua, 1);
  const lua_Integer n = std::max<lua_Integer>(luaL_checkinteger(lua, 2), 0);
  const std::string_view separator = lua_isnoneornil(lua, 3) ? std::string_view() : Text(lua, 3);
  const uint64_t each = text.size() + separator.size();
  if (n == 0 || each == 0) {
    lua_pushliteral(lua, "");
    return 1;
  }
  const Runtime& r = Runtime::Of(lua);
  if (static_cast<uint64_t>(n) > r.limits.bytes / each)
    return luaL_error(lua, "string.rep: more than the memory of an evaluation");
  const size_t size = each * static_cast<uint64_t>(n) - separator.size();
  luaL_Buffer buffer;
  char* const begin = luaL_buffinitsize(lua, &buffer, size);
  const auto put = [](std::string_view what, char* to) {
    return std::copy(what.begin(), what.end(), to);
  };
  char* out = put(text, begin);
  for (lua_Integer i = 1; i < n; ++i) out = put(text, put(separator, out));
  luaL_pushresultsize(&buffer, size);
  return 1;
}

// Lua's own, but for what would tell of addresses: tables and functions, and %p.
int Format(lua_State* lua) {
  const std::string_view format = Text(lua, 1);
  for (size_t at = format.find('%'); at < format.size(); at = format.find('%', at + 1)) {
    at = std::min(format.find_first_not_of("-+ #0123456789.", at + 1), format.size());
    if (at < format.size() && format[at] == 'p') luaL_argerror(lua, 1, "there is no %p here");
  }
  const int n = lua_gettop(lua);
  for (int i = 2; i <= n; ++i) {
    const int type = lua_type(lua, i);
    if (type == LUA_TTABLE || type == LUA_TFUNCTION)
      luaL_argerror(lua, i, "tables and functions have no text");
  }
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, n, 1);
  return 1;
}

// ---- values

int Length(lua_State* lua) {
  Runtime& r = Runtime::Of(lua);
  lua_Integer n = 0;
  if (lua_type(lua, 1) == LUA_TSTRING) {
    n = static_cast<lua_Integer>(lua_rawlen(lua, 1));
  } else if (!IsNil(lua, 1)) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    n = luaL_len(lua, 1);
    if (n == 0) {
      for (lua_pushnil(lua); lua_next(lua, 1) != 0; lua_pop(lua, 1), ++n) r.Spend(1);
    }
  }
  lua_pushinteger(lua, n);
  return 1;
}

int Has(lua_State* lua) {
  luaL_checkany(lua, 2);
  if (!lua_istable(lua, 1) || lua_isnil(lua, 2)) return Push(lua, false);
  lua_pushvalue(lua, 2);
  return Push(lua, lua_rawget(lua, 1) != LUA_TNIL);
}

// Any and all: whether f is true of one element, or false of one.
int Search(lua_State* lua, bool wanted) {
  luaL_checktype(lua, 2, LUA_TFUNCTION);
  if (IsNil(lua, 1)) return Push(lua, !wanted);
  Runtime& r = Runtime::Of(lua);
  const lua_Integer n = ListLength(lua, 1);
  for (lua_Integer i = 1; i <= n; ++i) {
    r.Spend(1);
    lua_pushvalue(lua, 2);
    lua_rawgeti(lua, 1, i);
    lua_call(lua, 1, 1);
    if ((lua_toboolean(lua, -1) != 0) == wanted) return Push(lua, wanted);
    lua_pop(lua, 1);
  }
  return Push(lua, !wanted);
}
int Any(lua_State* lua) { return Search(lua, true); }
int All(lua_State* lua) { return Search(lua, false); }

// The number that a number or string is; false: none.
bool PushNumber(lua_State* lua) {
  if (lua_type(lua, 1) == LUA_TNUMBER) {
    lua_pushvalue(lua, 1);
    return true;
  }
  if (lua_type(lua, 1) != LUA_TSTRING) return false;
  const std::string_view text = ToView(lua, 1);
  Runtime::Of(lua).SpendBytes(text.size());
  return lua_stringtonumber(lua, text.data()) == text.size() + 1;
}

int Float(lua_State* lua) {
  luaL_checkany(lua, 1);
  if (!PushNumber(lua)) return PushNil(lua);
  lua_pushnumber(lua, lua_tonumber(lua, -1));
  return 1;
}

// Towards zero, as Go does it.
int Int(lua_State* lua) {
  luaL_checkany(lua, 1);
  if (!PushNumber(lua)) return PushNil(lua);
  if (lua_isinteger(lua, -1) != 0) return 1;
  lua_Integer whole = 0;
  if (lua_numbertointeger(std::trunc(lua_tonumber(lua, -1)), &whole) == 0) return PushNil(lua);
  lua_pushinteger(lua, whole);
  return 1;
}

int Str(lua_State* lua) {
  luaL_checkany(lua, 1);
  switch (lua_type(lua, 1)) {
    case LUA_TNIL:
      return PushNil(lua);
    case LUA_TBOOLEAN:
      lua_pushstring(lua, lua_toboolean(lua, 1) != 0 ? "true" : "false");
      return 1;
    case LUA_TNUMBER:
    case LUA_TSTRING:
      luaL_tolstring(lua, 1, nullptr);
      return 1;
    default:
      return luaL_argerror(lua, 1, "tables and functions have no text");
  }
}

// Without addresses.
int ToString(lua_State* lua) {
  luaL_checkany(lua, 1);
  if (lua_istable(lua, 1) || lua_isfunction(lua, 1)) {
    lua_pushstring(lua, luaL_typename(lua, 1));
  } else {
    luaL_tolstring(lua, 1, nullptr);
  }
  return 1;
}

int FromJson(lua_State* lua) {
  if (IsNil(lua, 1)) return PushNil(lua);
  PushJson(&Runtime::Of(lua), Text(lua, 1), "json: the text");
  return 1;
}

int ToBase64(lua_State* lua) {
  if (IsNil(lua, 1)) return PushNil(lua);
  const std::string_view bytes = Text(lua, 1);
  luaL_Buffer buffer;
  char* const out = luaL_buffinitsize(lua, &buffer, event::Base64Size(bytes.size()));
  const char* const end = event::EncodeBase64(bytes, out);
  luaL_pushresultsize(&buffer, static_cast<size_t>(end - out));
  return 1;
}

int FromBase64(lua_State* lua) {
  if (IsNil(lua, 1)) return PushNil(lua);
  const std::string_view text = Text(lua, 1);
  luaL_Buffer buffer;
  char* const out = luaL_buffinitsize(lua, &buffer, text.size());
  const char* const end = event::DecodeBase64(text, out);
  if (end == nullptr) return luaL_error(lua, "base64_decode: the text is not Base64");
  luaL_pushresultsize(&buffer, static_cast<size_t>(end - out));
  return 1;
}

// ---- the tables

constexpr luaL_Reg kFunctions[] = {{"matches", Matches},
                                   {"contains", Contains},
                                   {"starts_with", StartsWith},
                                   {"ends_with", EndsWith},
                                   {"one_of", OneOf},
                                   {"has", Has},
                                   {"lower", Changed<Lower>},
                                   {"upper", Changed<Upper>},
                                   {"trim", Trim},
                                   {"split", Split},
                                   {"len", Length},
                                   {"any", Any},
                                   {"all", All},
                                   {"int", Int},
                                   {"float", Float},
                                   {"str", Str},
                                   {"json", FromJson},
                                   {"base64_decode", FromBase64},
                                   {"base64_encode", ToBase64},
                                   {"tostring", ToString}};
constexpr const char* kBase[] = {"tonumber", "type", "ipairs", "pairs", "select"};
constexpr const char* kString[] = {"sub", "byte", "char", "reverse", "len"};
constexpr luaL_Reg kOwnString[] = {
    {"rep", Repeat}, {"lower", Changed<Lower>}, {"upper", Changed<Upper>}};
// All of it in Lua 5.4, but for random numbers.
constexpr const char* kMath[] = {
    "abs",  "acos", "asin", "atan", "ceil",      "cos",  "deg", "exp",        "floor",
    "fmod", "huge", "log",  "max",  "min",       "modf", "pi",  "maxinteger", "mininteger",
    "rad",  "sin",  "sqrt", "tan",  "tointeger", "type", "ult"};
constexpr const char* kTables[] = {"math", "string"};

int RefuseAssignment(lua_State* lua) { return luaL_error(lua, "this cannot be assigned to"); }

// Puts a table that can only be read in the place of the one on top.
void Protect(lua_State* lua) {
  lua_createtable(lua, 0, 0);
  lua_createtable(lua, 0, 2);
  lua_rotate(lua, -3, -1);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, RefuseAssignment);
  lua_setfield(lua, -2, "__newindex");
  lua_setmetatable(lua, -2);
}

// Of the table below the top, whose fields go to the one on top.
void CopyFields(lua_State* lua, const char* const* names, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    lua_getfield(lua, -2, names[i]);
    lua_setfield(lua, -2, names[i]);
  }
}

void PushStringTable(lua_State* lua) {
  lua_pushcfunction(lua, luaopen_string);
  lua_call(lua, 0, 1);
  lua_createtable(lua, 0, 10);
  CopyFields(lua, kString, std::size(kString));
  lua_getfield(lua, -2, "format");
  lua_pushcclosure(lua, Format, 1);
  lua_setfield(lua, -2, "format");
  for (const auto& [name, function] : kOwnString) {
    lua_pushcfunction(lua, function);
    lua_setfield(lua, -2, name);
  }
  lua_remove(lua, -2);
}

void PushMathTable(lua_State* lua) {
  lua_pushcfunction(lua, luaopen_math);
  lua_call(lua, 0, 1);
  lua_createtable(lua, 0, static_cast<int>(std::size(kMath)));
  CopyFields(lua, kMath, std::size(kMath));
  lua_remove(lua, -2);
}

// ---- the event

int MakeMetadata(lua_State* lua, const event::SourceInfo& source) {
  lua_createtable(lua, 0, static_cast<int>(source.metadata.size()));
  for (const auto& [key, value] : source.metadata) {
    PushView(lua, key);
    PushView(lua, value);
    lua_rawset(lua, -3);
  }
  return 1;
}

void MakeAttributes(lua_State* lua, const event::Event& event) {
  lua_createtable(lua, 0, static_cast<int>(std::min<size_t>(event.attributes.size(), 64)));
  for (const penstock_kv& kv : event.attributes) {
    PushView(lua, {kv.key.ptr, kv.key.len});
    PushView(lua, {kv.value.ptr, kv.value.len});
    lua_rawset(lua, -3);
  }
}

void MakeField(Runtime* r, Field field) {
  const event::Event& event = r->input->event;
  switch (field) {
    case Field::kMetadata:
      MakeMetadata(r->lua, r->input->source);
      return;
    case Field::kAttributes:
      MakeAttributes(r->lua, event);
      return;
    case Field::kBody:
      if (event.payload.empty()) return lua_pushnil(r->lua);
      if (event::IsJsonType(event.content_type))
        return PushJson(r, event.payload, "the body, which is declared as JSON,");
      [[fallthrough]];
    default:
      PushView(r->lua, event.payload);
  }
}

int PlaceOf(Field field) { return static_cast<int>(field) - static_cast<int>(Field::kBody) + 1; }

// A text has no fields. Of a body that nobody has declared as JSON that would mean that the filter
// is never true, which is hardly what it was written for.
int IndexString(lua_State* lua) {
  Runtime& r = Runtime::Of(lua);
  if (r.input != nullptr && !event::IsJsonType(r.input->event.content_type)) {
    lua_rawgeti(lua, LUA_REGISTRYINDEX, r.made);
    lua_rawgeti(lua, -1, PlaceOf(Field::kBody));
    if (lua_topointer(lua, -1) == lua_topointer(lua, 1)) {
      r.text =
          "body has no fields, as the payload is not declared as JSON: let the source do so "
          "(json_body = true), or read json(payload)";
      r.Raise();
    }
  }
  return PushNil(lua);
}

}  // namespace

std::vector<std::string_view> LibraryNames() {
  std::vector<std::string_view> out(std::begin(kTables), std::end(kTables));
  out.insert(out.end(), std::begin(kBase), std::end(kBase));
  for (const luaL_Reg& function : kFunctions) out.emplace_back(function.name);
  return out;
}

bool HasMember(std::string_view table, std::string_view name) {
  const auto is_name = [name](const char* known) { return name == known; };
  if (table == "math") return std::ranges::any_of(kMath, is_name);
  return name == "format" || std::ranges::any_of(kString, is_name) ||
         std::ranges::any_of(kOwnString, is_name, &luaL_Reg::name);
}

void PushLibrary(lua_State* lua) {
  lua_pushcfunction(lua, luaopen_base);
  lua_call(lua, 0, 1);
  lua_createtable(lua, 0, 32);
  CopyFields(lua, kBase, std::size(kBase));
  for (const auto& [name, function] : kFunctions) {
    lua_pushcfunction(lua, function);
    lua_setfield(lua, -2, name);
  }
  PushStringTable(lua);
  Protect(lua);
  lua_setfield(lua, -2, "string");
  PushMathTable(lua);
  Protect(lua);
  lua_setfield(lua, -2, "math");
  lua_remove(lua, -2);
}

void SetIndexing(lua_State* lua) {
  lua_createtable(lua, 0, 1);
  lua_createtable(lua, 0, 0);
  lua_setfield(lua, -2, "__index");
  lua_pushnil(lua);
  lua_pushboolean(lua, 0);
  lua_pushinteger(lua, 0);
  for (int i = 0; i < 3; ++i) {
    lua_pushvalue(lua, -4 + i);
    lua_setmetatable(lua, -2);
    lua_pop(lua, 1);
  }
  lua_pop(lua, 1);
  lua_pushliteral(lua, "");
  lua_createtable(lua, 0, 1);
  lua_pushcfunction(lua, IndexString);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, -2);
  lua_pop(lua, 1);
}

void PushField(Runtime* r, Field field) {
  lua_State* const lua = r->lua;
  const int place = PlaceOf(field);
  lua_rawgeti(lua, LUA_REGISTRYINDEX, r->made);
  if (lua_rawgeti(lua, -1, place) == LUA_TNIL) {
    lua_pop(lua, 1);
    MakeField(r, field);
    lua_pushvalue(lua, -1);
    lua_rawseti(lua, -3, place);
    r->has_made = true;
  }
  lua_remove(lua, -2);
}

void PushPlainField(Runtime* r, Field field) {
  const Input& in = *r->input;
  char bytes[64];
  switch (field) {
    case Field::kSource:
      return PushView(r->lua, in.source.event_source);
    case Field::kSubject:
      return PushView(r->lua, event::SubjectOf(in.event, in.source));
    case Field::kType:
      return PushView(r->lua, event::TypeOf(in.event, in.source));
    case Field::kContentType:
      return PushView(r->lua, in.event.content_type);
    case Field::kTime: {
      const char* const end = event::WriteTime(in.event.time_ns, bytes);
      return PushView(r->lua, {bytes, static_cast<size_t>(end - bytes)});
    }
    case Field::kId:
      if (!in.event.id.empty()) {
        PushView(r->lua, in.source.name);
        lua_pushliteral(r->lua, ":");
        PushView(r->lua, in.event.id);
        return lua_concat(r->lua, 3);
      }
      event::WriteHostId(in.queue_id, in.offset, bytes);
      return PushView(r->lua, {bytes, 32});
    default:
      return lua_pushnil(r->lua);
  }
}

}  // namespace penstock::filter
