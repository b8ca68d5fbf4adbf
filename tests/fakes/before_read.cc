#include "fakes/before_read.h"

#include <dlfcn.h>
#include <lmdb.h>

#include <utility>

namespace penstock::fakes {
namespace {

std::function<void()> before_next;

}  // namespace

void BeforeNextRead(std::function<void()> f) { before_next = std::move(f); }

}  // namespace penstock::fakes

#pragma GCC visibility push(default)
extern "C" int mdb_txn_begin(MDB_env* env, MDB_txn* parent, unsigned flags, MDB_txn** txn) {
  using Begin = int (*)(MDB_env*, MDB_txn*, unsigned, MDB_txn**);
  static const auto real = reinterpret_cast<Begin>(dlsym(RTLD_NEXT, "mdb_txn_begin"));
  if ((flags & MDB_RDONLY) != 0) {
    if (const auto f = std::exchange(penstock::fakes::before_next, nullptr)) f();
  }
  return real(env, parent, flags, txn);
}
#pragma GCC visibility pop
