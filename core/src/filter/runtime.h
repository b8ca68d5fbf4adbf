// One state of Lua with its bounds, and what the functions in it work on. Private to this folder.
//
// An error of Lua is a longjmp: no function that may raise one has a local variable whose
// destructor does anything. What such a function needs of that kind lies in the Runtime.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include "filter/filter.h"
#include "filter/patterns.h"

extern "C" {
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
}

namespace penstock::filter {

// What an event brings to an evaluation. Those from kBody on are made when they are asked for.
enum class Field {
  kSource,
  kSubject,
  kType,
  kId,
  kTime,
  kContentType,
  kBody,
  kPayload,
  kMetadata,
  kAttributes,
};
inline constexpr int kLazyFields = 4;

struct Runtime {
  // With no more in it than an empty Lua; lua is null if there is no memory for that.
  explicit Runtime(const Limits& limits);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  static Runtime& Of(lua_State* lua) { return **static_cast<Runtime**>(lua_getextraspace(lua)); }

  // What is done inside of one instruction counts as many. Raises an error beyond the limit.
  void Spend(uint64_t n);
  // Bytes that are looked at, one after the other.
  void SpendBytes(uint64_t bytes) { Spend(1 + bytes / kBytesAStep); }
  // Raises text as an error. For texts that were put together before.
  [[noreturn]] void Raise();

  void Begin(const Input* what);
  // Gives back what the evaluation has left.
  void End();

  static constexpr uint64_t kBytesAStep = 64;

  // Of an array or object that is not complete yet; see body.cc.
  struct Level {
    bool object;
    bool holes;  // an element was null
    lua_Integer count;
  };

  const Limits limits;
  lua_State* lua = nullptr;
  uint64_t used = 0;     // bytes
  uint64_t settled = 0;  // of those, after the last collection
  uint64_t steps = 0;
  int64_t cpu_start_ns = 0;  // 0: not asked for yet
  int64_t coarse_start_ns = 0;
  const Input* input = nullptr;
  std::vector<Field> fields;  // that the expression is called with
  int entry = LUA_NOREF;      // the expression, as a function of them
  int made = LUA_NOREF;       // the lazy fields that were made for this event
  bool has_made = false;
  bool many_lines = false;  // in the expression
  Patterns patterns;
  std::vector<Level> levels;
  std::string text;
};

}  // namespace penstock::filter
