#include "filter/filter.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "filter/library.h"
#include "filter/scan.h"
#include "platform/utf8.h"

namespace penstock::filter {
namespace {

// Before the line in what Lua says.
constexpr char kChunk[] = "=filter";
constexpr std::string_view kChunkPrefix = "filter:";
constexpr size_t kErrorMost = 512;

// The text that Lua gets, in pieces: so that it is known how far it had read when it refused.
struct Source {
  struct Piece {
    std::string_view text;
    const Token* token;  // nullptr: not one of the expression's
  };
  std::string head, tail;
  std::vector<Piece> pieces;
  size_t read = 0;
};

std::string Joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

// A function that is given the library's functions, and gives one that is given the event's fields.
std::string HeadOf(const Uses& uses) {
  std::vector<std::string> functions, fields, values;
  for (const std::string_view name : uses.functions)
    functions.push_back(std::string(name == "type" ? "__type" : name) + " <const>");
  for (const Field field : uses.fields) {
    fields.push_back(std::string(FieldName(field)) + " <const>");
    values.push_back("__" + std::to_string(values.size()));
  }
  std::string out = functions.empty() ? "" : "local " + Joined(functions) + " = ... ";
  out += "return function(" + Joined(values) + ") ";
  if (!fields.empty()) out += "local " + Joined(fields) + " = " + Joined(values) + " ";
  return out + "return (";
}

void FillSource(std::string_view expression, const std::vector<Token>& tokens, const Uses& uses,
                Source* out) {
  out->head = HeadOf(uses);
  out->tail = "\n) end";
  const auto add = [out](std::string_view text, const Token* token) {
    if (!text.empty()) out->pieces.push_back({text, token});
  };
  add(out->head, nullptr);
  size_t at = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    add(expression.substr(at, tokens[i].at - at), nullptr);
    add(IsTypeCall(tokens, i) ? std::string_view("__type") : tokens[i].text, &tokens[i]);
    at = tokens[i].at + tokens[i].text.size();
  }
  add(expression.substr(at), nullptr);
  add(out->tail, nullptr);
}

const char* ReadPiece(lua_State*, void* data, size_t* size) {
  Source& source = *static_cast<Source*>(data);
  if (source.read == source.pieces.size()) {
    *size = 0;
    return nullptr;
  }
  const std::string_view text = source.pieces[source.read++].text;
  *size = text.size();
  return text.data();
}

// Without "filter:3:" in front; *line: the 3.
std::string_view WithoutPlace(std::string_view text, std::string_view* line) {
  *line = {};
  if (!text.starts_with(kChunkPrefix)) return text;
  const size_t colon = text.find(": ", kChunkPrefix.size());
  if (colon == text.npos) return text;
  *line = text.substr(kChunkPrefix.size(), colon - kChunkPrefix.size());
  return text.substr(colon + 2);
}

// In one line, bounded, without what a terminal would obey.
std::string Printable(std::string_view text) {
  const bool cut = text.size() > kErrorMost;
  std::string out(cut ? text.substr(0, Utf8CutAt(text, kErrorMost)) : text);
  for (char& c : out) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return cut ? out + "..." : out;
}

// What Lua says, where it can be said better. The word is one of the expression, which stands in
// brackets that the user has not written.
std::string Clearer(std::string_view expression, std::string_view text, const Token* word) {
  if (text.find("C stack overflow") != text.npos) return "it is nested too deeply";
  if (text.starts_with("invalid escape sequence"))
    return Printable(text) + "; for one \\ write two, or the text in [[ ]]";
  constexpr std::string_view kOurs = "')' expected near ";
  if (word == nullptr || !text.starts_with(kOurs)) return Printable(text);
  int depth = 0;
  for (const Token& token : Tokens(expression.substr(0, word->at))) {
    if (token.kind != TokenKind::kSymbol) continue;
    if (token.text == "(") ++depth;
    if (token.text == ")") --depth;
  }
  if (depth > 0) return Printable(text);
  return "unexpected " + Printable(text.substr(kOurs.size())) +
         (word->kind == TokenKind::kSymbol ? "" : "; is there an operator missing?");
}

// Where Lua stopped reading: at the last word that it was given and that it names.
Fault FaultOf(std::string_view expression, const Source& source, std::string_view message) {
  std::string_view line;
  const std::string_view text = WithoutPlace(message, &line);
  constexpr std::string_view kNear = " near '";
  const size_t near = text.rfind(kNear);
  const std::string_view word =
      near == text.npos ? std::string_view()
                        : text.substr(near + kNear.size(), text.size() - near - kNear.size() - 1);
  for (size_t i = source.read; i-- > 0;) {
    const Token* const token = source.pieces[i].token;
    if (token == nullptr || (!word.empty() && source.pieces[i].text.substr(0, word.size()) != word))
      continue;
    return FaultAt(expression, token->at, Clearer(expression, text, token));
  }
  // The head and the tail are ours.
  const std::string_view what = near == text.npos ? text : text.substr(0, near);
  return FaultAt(expression, expression.size(),
                 Printable(what) + (near == text.npos ? "" : " near the end of the expression"));
}

int LazyField(lua_State* lua) {
  if (lua_type(lua, 2) == LUA_TSTRING) {
    const char* const name = lua_tostring(lua, 2);
    for (int i = 0; i < kLazyFields; ++i) {
      const auto field = static_cast<Field>(static_cast<int>(Field::kBody) + i);
      if (FieldName(field) != name) continue;
      PushField(&Runtime::Of(lua), field);
      return 1;
    }
  }
  return luaL_error(lua, "unknown name '%s'", luaL_tolstring(lua, 2, nullptr));
}

int RefuseGlobal(lua_State* lua) {
  return luaL_error(lua, "'%s' cannot be assigned to", luaL_tolstring(lua, 2, nullptr));
}

// What is called in one go, with pointers to its arguments.
struct Setup {
  Source* source;
  const Uses* uses;
  bool bad = false;  // the expression is at fault
};

void PushEnvironment(lua_State* lua) {
  lua_createtable(lua, 0, 0);
  lua_createtable(lua, 0, 2);
  lua_pushcfunction(lua, LazyField);
  lua_setfield(lua, -2, "__index");
  lua_pushcfunction(lua, RefuseGlobal);
  lua_setfield(lua, -2, "__newindex");
  lua_setmetatable(lua, -2);
}

int SetUp(lua_State* lua) {
  Setup& setup = *static_cast<Setup*>(lua_touserdata(lua, 1));
  Runtime& r = Runtime::Of(lua);
  lua_createtable(lua, kLazyFields, 0);
  r.made = luaL_ref(lua, LUA_REGISTRYINDEX);
  PushLibrary(lua);
  SetIndexing(lua);  // after Lua's own library has had its way with strings
  const int library = lua_gettop(lua);
  if (lua_load(lua, ReadPiece, setup.source, kChunk, "t") != LUA_OK) {
    setup.bad = true;
    return lua_error(lua);
  }
  PushEnvironment(lua);
  lua_setupvalue(lua, -2, 1);
  luaL_checkstack(lua, 64, nullptr);
  for (const std::string_view name : setup.uses->functions) {
    lua_pushlstring(lua, name.data(), name.size());
    lua_rawget(lua, library);
  }
  lua_call(lua, static_cast<int>(setup.uses->functions.size()), 1);
  r.entry = luaL_ref(lua, LUA_REGISTRYINDEX);
  return 0;
}

int Run(lua_State* lua) {
  Runtime& r = Runtime::Of(lua);
  lua_rawgeti(lua, LUA_REGISTRYINDEX, r.entry);
  for (const Field field : r.fields) PushPlainField(&r, field);
  lua_call(lua, static_cast<int>(r.fields.size()), 1);
  return 1;
}

// What stands between the quotes of a word that is a string; Lua reads it.
int Unquote(lua_State* lua) {
  const Token& token = *static_cast<const Token*>(lua_touserdata(lua, 1));
  lua_pushliteral(lua, "return ");
  lua_pushlstring(lua, token.text.data(), token.text.size());
  lua_concat(lua, 2);
  size_t size = 0;
  const char* const text = lua_tolstring(lua, -1, &size);
  if (luaL_loadbufferx(lua, text, size, kChunk, "t") != LUA_OK) return lua_error(lua);
  lua_call(lua, 0, 1);
  return 1;
}

// Calls function with a pointer in protected mode; what it leaves is on top, as is an error.
bool Protected(lua_State* lua, lua_CFunction function, const void* data) {
  lua_settop(lua, 0);
  lua_pushcfunction(lua, function);
  lua_pushlightuserdata(lua, const_cast<void*>(data));
  return lua_pcall(lua, 1, 1, 0) == LUA_OK;
}

std::string_view TopText(lua_State* lua) {
  if (lua_type(lua, -1) != LUA_TSTRING) return "an error without a text";
  size_t size = 0;
  const char* const text = lua_tolstring(lua, -1, &size);
  return {text, size};
}

std::string ErrorText(const Runtime& r, int status) {
  if (status == LUA_ERRMEM)
    return "it took more than " + std::to_string(r.limits.bytes >> 20) + " MiB of memory";
  std::string_view line;
  const std::string_view text = WithoutPlace(TopText(r.lua), &line);
  return (r.many_lines && !line.empty() ? "line " + std::string(line) + ": " : std::string()) +
         Printable(text);
}

}  // namespace

Filter::Filter() = default;
Filter::~Filter() = default;

uint64_t Filter::memory_used() const { return runtime_->used; }

tl::expected<std::unique_ptr<Filter>, Fault> Filter::Compile(std::string_view expression,
                                                             const Limits& limits) {
  if (expression.size() > kMaxExpression) {
    return tl::unexpected(
        FaultAt(expression, 0, "it is longer than " + std::to_string(kMaxExpression) + " bytes"));
  }
  const std::vector<Token> tokens = Tokens(expression);
  if (tokens.empty()) return tl::unexpected(FaultAt(expression, 0, "it is empty"));
  const auto uses = ReadUses(expression, tokens);
  if (!uses) return tl::unexpected(uses.error());

  std::unique_ptr<Filter> out(new Filter);
  out->runtime_ = std::make_unique<Runtime>(limits);
  Runtime& r = *out->runtime_;
  Source source;
  FillSource(expression, tokens, *uses, &source);
  Setup setup{&source, &*uses};
  if (r.lua == nullptr || !Protected(r.lua, SetUp, &setup)) {
    if (r.lua == nullptr || !setup.bad)
      return tl::unexpected(FaultAt(expression, 0, "there is no memory to compile it"));
    return tl::unexpected(FaultOf(expression, source, TopText(r.lua)));
  }
  for (const Token* const token : PatternsOf(tokens)) {
    bool made = false;
    if (!Protected(r.lua, Unquote, token) || r.patterns.Find(TopText(r.lua), &made) != nullptr)
      continue;
    return tl::unexpected(
        FaultAt(expression, token->at, "no regular expression: " + Printable(r.patterns.error())));
  }
  r.fields = uses->fields;
  r.many_lines = expression.find('\n') != expression.npos;
  r.End();
  lua_gc(r.lua, LUA_GCCOLLECT);
  r.settled = r.used;
  return out;
}

Verdict Filter::Evaluate(const Input& input) {
  Runtime& r = *runtime_;
  r.Begin(&input);
  lua_pushcfunction(r.lua, Run);
  const int status = lua_pcall(r.lua, 0, 1, 0);
  Verdict verdict = Verdict::kError;
  if (status != LUA_OK) {
    error_ = ErrorText(r, status);
  } else if (lua_isboolean(r.lua, -1) || lua_isnil(r.lua, -1)) {
    verdict = lua_toboolean(r.lua, -1) != 0 ? Verdict::kPass : Verdict::kDrop;
  } else {
    error_ = std::string("it gave a ") + luaL_typename(r.lua, -1) + " and not true or false";
  }
  r.End();
  return verdict;
}

}  // namespace penstock::filter
