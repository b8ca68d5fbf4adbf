// standin-check IMAGE MARKS BYTES: opens a stand-in store after a power cut. 0: all that was
// acknowledged in the first BYTES of MARKS is there and intact, or was to be deleted.
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "faults/standin/standin.h"

namespace penstock_faults {
namespace {

struct Said {
  bool made = false;
  uint64_t acknowledged = 0, deleted = 0;
};

Said ReadMarks(const char* path, size_t bytes) {
  std::ifstream in(path, std::ios::binary);
  std::string text(bytes, '\0');
  in.read(text.data(), static_cast<std::streamsize>(bytes));
  std::istringstream lines(text);
  Said said;
  std::string what;
  for (uint64_t number = 0; lines >> what >> number;) {
    said.made = true;
    if (what == "A") said.acknowledged = number;
    if (what == "D") said.deleted = number;
  }
  return said;
}

void CheckValues(MDB_txn* txn, const Said& said) {
  MDB_dbi dbi = 0;
  MDB_cursor* cursor = nullptr;
  Must(mdb_dbi_open(txn, nullptr, 0, &dbi), "dbi");
  Must(mdb_cursor_open(txn, dbi, &cursor), "cursor");
  uint64_t first = 0, last = 0;
  MDB_val key, value;
  int rc = 0;
  while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    const uint64_t number = NumberOf(key);
    const auto event = ParseNumbered({static_cast<const char*>(value.mv_data), value.mv_size});
    if (!event || event->number != number)
      throw std::runtime_error("value " + std::to_string(number) + " is altered");
    if (first != 0 && number != last + 1)
      throw std::runtime_error("value " + std::to_string(last + 1) + " is missing");
    if (first == 0) first = number;
    last = number;
  }
  if (rc != MDB_NOTFOUND) Must(rc, "next");
  const bool wanted = said.acknowledged > said.deleted;
  if (wanted && (first > said.deleted + 1 || last < said.acknowledged))
    throw std::runtime_error("there are " + std::to_string(first) + " to " + std::to_string(last) +
                             ", but acknowledged up to " + std::to_string(said.acknowledged) +
                             " and deleted up to " + std::to_string(said.deleted));
  mdb_cursor_close(cursor);
}

void Check(const std::string& image, const Said& said) {
  const std::string store = image + "/store";
  MDB_env* env = nullptr;
  Must(mdb_env_create(&env), "create");
  Must(mdb_env_set_mapsize(env, kMapSize), "mapsize");
  const int rc = mdb_env_open(env, store.c_str(), 0, 0600);
  if (rc != 0 && !said.made) return;  // while it is made anything may be there
  Must(rc, "open");
  MDB_txn* txn = nullptr;
  Must(mdb_txn_begin(env, nullptr, 0, &txn), "begin");
  CheckValues(txn, said);
  mdb_txn_abort(txn);
  mdb_env_close(env);
}

}  // namespace
}  // namespace penstock_faults

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("standin-check IMAGE MARKS BYTES\n", stderr);
    return 2;
  }
  try {
    const size_t bytes = std::strtoull(argv[3], nullptr, 10);
    penstock_faults::Check(argv[1], penstock_faults::ReadMarks(argv[2], bytes));
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
