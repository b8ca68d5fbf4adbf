#include "filter/runtime.h"

#include <cstdlib>

namespace penstock::filter {
namespace {

// How often the steps are counted.
constexpr int kHookSteps = 100;
// Garbage that is left to the next evaluations, which are faster for it.
constexpr uint64_t kGarbage = 1 << 20;
constexpr size_t kTextKept = 4096;

int64_t Now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void* Allocate(void* data, void* block, size_t old_size, size_t new_size) {
  Runtime& r = *static_cast<Runtime*>(data);
  const size_t old_bytes = block == nullptr ? 0 : old_size;  // else it is what it will be used for
  if (new_size == 0) {
    r.used -= old_bytes;
    std::free(block);
    return nullptr;
  }
  if (new_size > old_bytes) {
    if (r.used - old_bytes + new_size > r.limits.bytes) return nullptr;
    r.steps += (new_size - old_bytes) / Runtime::kBytesAStep;
  }
  void* const out = std::realloc(block, new_size);
  if (out == nullptr) return new_size <= old_bytes ? block : nullptr;
  r.used += new_size - old_bytes;
  return out;
}

// The processor's time is dear to ask for: only an evaluation that is not over soon does, and again
// only if it may have used it up.
void CheckTime(Runtime* r) {
  const int64_t coarse = Now(CLOCK_MONOTONIC_COARSE);
  if (r->cpu_start_ns == 0) {
    r->cpu_start_ns = Now(CLOCK_THREAD_CPUTIME_ID);
    r->coarse_start_ns = coarse;
  }
  if (coarse - r->coarse_start_ns <= r->limits.cpu_ns) return;
  if (Now(CLOCK_THREAD_CPUTIME_ID) - r->cpu_start_ns <= r->limits.cpu_ns) {
    r->coarse_start_ns = coarse;
    return;
  }
  luaL_error(r->lua, "it took more than %d ms of processor time",
             static_cast<int>(r->limits.cpu_ns / 1'000'000));
}

void OnCount(lua_State* lua, lua_Debug*) {
  Runtime& r = Runtime::Of(lua);
  r.Spend(kHookSteps);
  CheckTime(&r);
}

}  // namespace

Runtime::Runtime(const Limits& bounds) : limits(bounds) {
  lua = lua_newstate(Allocate, this);
  if (lua == nullptr) return;
  *static_cast<Runtime**>(lua_getextraspace(lua)) = this;
  // Garbage is collected between evaluations (End), and when there is no room within one.
  lua_gc(lua, LUA_GCSTOP);
  lua_sethook(lua, OnCount, LUA_MASKCOUNT, kHookSteps);
}

Runtime::~Runtime() {
  if (lua != nullptr) lua_close(lua);
}

void Runtime::Spend(uint64_t n) {
  steps += n;
  if (steps > limits.steps)
    luaL_error(lua, "it took more than %I steps", static_cast<LUAI_UACINT>(limits.steps));
}

void Runtime::Raise() {
  lua_pushlstring(lua, text.data(), text.size());
  lua_error(lua);
  std::abort();  // it does not return
}

void Runtime::Begin(const Input* what) {
  input = what;
  steps = 0;
  cpu_start_ns = 0;
}

void Runtime::End() {
  lua_settop(lua, 0);
  input = nullptr;
  if (has_made) {
    has_made = false;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, made);
    for (int i = 1; i <= kLazyFields; ++i) {
      lua_pushnil(lua);
      lua_rawseti(lua, -2, i);  // its places are there: nothing is allocated
    }
    lua_settop(lua, 0);
  }
  if (text.capacity() > kTextKept) std::string().swap(text);
  if (levels.capacity() > kTextKept) std::vector<Level>().swap(levels);
  if (used <= settled + kGarbage) return;
  lua_gc(lua, LUA_GCCOLLECT);
  settled = used;
}

}  // namespace penstock::filter
