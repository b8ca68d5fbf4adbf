#include "filter/body.h"

#include <charconv>
#include <cstdlib>

#include "event/json.h"

namespace penstock::filter {
namespace {

void SayFault(const event::JsonScan& scan, std::string_view json, const char* what,
              std::string* out) {
  *out = std::string(what) + " is not JSON: " + event::JsonFaultText(scan, json);
}

// Of text that was found valid, so that nothing is checked here again.
class Decoder {
 public:
  Decoder(Runtime* r, std::string_view json, bool is_interoperable)
      : r_(r), lua_(r->lua), p_(json.data()), end_(p_ + json.size()), plain_(is_interoperable) {}

  void Run() {
    r_->levels.clear();
    for (;;) {
      SkipSpace();
      if (!Value()) continue;
      while (!r_->levels.empty()) {
        if (Keep()) break;
        CloseLevel();
      }
      if (r_->levels.empty()) return;
    }
  }

 private:
  void SkipSpace() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
  }

  // Pushes the value here, or what will hold the values of the array or object that begins here.
  // Whether the value is complete.
  bool Value() {
    switch (*p_) {
      case '{':
      case '[':
        return Open();
      case '"':
        String();
        return true;
      case 't':
      case 'f':
        lua_pushboolean(lua_, *p_ == 't');
        p_ += *p_ == 't' ? 4 : 5;
        return true;
      case 'n':
        lua_pushnil(lua_);
        p_ += 4;
        return true;
      default:
        Number();
        return true;
    }
  }

  bool Open() {
    const bool object = *p_++ == '{';
    luaL_checkstack(lua_, 8, "nested too deeply");
    lua_createtable(lua_, 0, 0);
    SkipSpace();
    if (*p_ == (object ? '}' : ']')) {
      ++p_;
      return true;
    }
    r_->levels.push_back({object, false, 0});
    if (object) Key();
    return false;
  }

  void Key() {
    SkipSpace();
    String();
    SkipSpace();
    ++p_;  // the colon
  }

  // Puts the complete value on top into what holds it. Whether another one follows.
  bool Keep() {
    Runtime::Level& level = r_->levels.back();
    if (level.object) {
      lua_rawset(lua_, -3);
    } else if (++level.count; lua_isnil(lua_, -1)) {
      level.holes = true;
      lua_pop(lua_, 1);
    } else {
      lua_rawseti(lua_, -2, level.count);
    }
    SkipSpace();
    if (*p_++ != ',') return false;
    if (level.object) Key();
    return true;
  }

  void CloseLevel() {
    const Runtime::Level level = r_->levels.back();
    r_->levels.pop_back();
    if (!level.holes) return;
    lua_createtable(lua_, 0, 1);
    lua_pushinteger(lua_, level.count);
    lua_pushcclosure(
        lua_,
        [](lua_State* lua) {
          lua_pushvalue(lua, lua_upvalueindex(1));
          return 1;
        },
        1);
    lua_setfield(lua_, -2, "__len");
    lua_setmetatable(lua_, -2);
  }

  void String() {
    const char* const begin = ++p_;
    bool plain = plain_;
    for (; *p_ != '"'; ++p_) {
      if (*p_ != '\\') continue;
      plain = false;
      ++p_;
    }
    const std::string_view inside(begin, static_cast<size_t>(p_++ - begin));
    if (plain) {
      lua_pushlstring(lua_, inside.data(), inside.size());
      return;
    }
    luaL_Buffer buffer;
    char* const out = luaL_buffinitsize(
        lua_, &buffer, plain_ ? inside.size() : event::MaxDecodedJsonSize(inside.size()));
    const char* const end = event::DecodeJsonString(inside, out);
    luaL_pushresultsize(&buffer, static_cast<size_t>(end - out));
  }

  void Number() {
    const char* const begin = p_;
    bool integer = true;
    for (; p_ != end_ && ((*p_ >= '0' && *p_ <= '9') || *p_ == '-' || *p_ == '+' || *p_ == '.' ||
                          *p_ == 'e' || *p_ == 'E');
         ++p_)
      integer = integer && *p_ != '.' && *p_ != 'e' && *p_ != 'E';
    lua_Integer whole = 0;
    if (integer && std::from_chars(begin, p_, whole).ec == std::errc()) {
      lua_pushinteger(lua_, whole);
      return;
    }
    lua_Number number = 0;
    if (std::from_chars(begin, p_, number).ec != std::errc()) {
      // Too large or too small, which only the older function tells apart.
      number = std::strtod(lua_pushlstring(lua_, begin, static_cast<size_t>(p_ - begin)), nullptr);
      lua_pop(lua_, 1);
    }
    lua_pushnumber(lua_, number);
  }

  Runtime* const r_;
  lua_State* const lua_;
  const char* p_;
  const char* const end_;
  const bool plain_;  // all of it is UTF-8, without a lone surrogate
};

}  // namespace

void PushJson(Runtime* r, std::string_view json, const char* what) {
  r->SpendBytes(json.size());
  const event::JsonScan scan = event::ScanJson(json);
  if (!scan.ok()) {
    SayFault(scan, json, what, &r->text);
    r->Raise();
  }
  Decoder(r, json, scan.is_interoperable).Run();
}

}  // namespace penstock::filter
