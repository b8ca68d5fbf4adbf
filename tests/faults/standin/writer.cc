// standin-writer DIRECTORY TRANSACTIONS [FLAW...]: fills a stand-in store, and says to the recorder
// what it acknowledges. Flaws, each of which must be found: nosync, nometasync, ack-before-commit,
// unsynced-names, stdio.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <set>

#include "faults/standin/standin.h"

namespace penstock_faults {
namespace {

void Mark(const char* what, uint64_t number) {
  using Function = void (*)(const void*, size_t);
  static const auto mark = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, "penstock_record_mark"));
  const std::string line = std::string(what) + " " + std::to_string(number) + "\n";
  if (mark != nullptr) mark(line.data(), line.size());
  std::fputs(line.c_str(), stdout);
}

void SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0) throw std::runtime_error("cannot sync " + path);
  close(fd);
}

class Writer {
 public:
  Writer(const std::string& directory, std::set<std::string> flaws)
      : flaws_(std::move(flaws)), numbers_(kSource, 1, kSmallest, kLargest) {
    const std::string store = directory + "/store";
    if (mkdir(store.c_str(), 0700) != 0) throw std::runtime_error("cannot make " + store);
    unsigned flags = 0;
    if (Has("nosync")) flags |= MDB_NOSYNC;
    if (Has("nometasync")) flags |= MDB_NOMETASYNC;
    Must(mdb_env_create(&env_), "create");
    Must(mdb_env_set_mapsize(env_, kMapSize), "mapsize");
    Must(mdb_env_open(env_, store.c_str(), flags, 0600), "open");
    if (Has("stdio")) std::fclose(std::fopen((store + "/notes").c_str(), "w"));
    MDB_txn* txn = Begin();
    Must(mdb_dbi_open(txn, nullptr, 0, &dbi_), "dbi");
    Must(mdb_txn_commit(txn), "commit");
    // LMDB writes the first meta pages without a sync.
    if (!Has("nosync")) Must(mdb_env_sync(env_, 1), "sync");
    if (!Has("unsynced-names")) {
      SyncDirectory(store);
      SyncDirectory(directory);
    }
    Mark("N", 0);
  }
  ~Writer() { mdb_env_close(env_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void Commit() {
    const uint64_t last = last_ + 1 + rng_.Below(6);
    const uint64_t deleted = last > kKept ? last - kKept : 0;
    Mark("D", deleted);
    MDB_txn* txn = Begin();
    for (uint64_t n = last_ + 1; n <= last; ++n) {
      const std::string key = Key(n), payload = numbers_.Payload(n);
      MDB_val k = Val(key), v = Val(payload);
      Must(mdb_put(txn, dbi_, &k, &v, MDB_APPEND), "put");
    }
    for (; deleted_ < deleted; ++deleted_) {
      const std::string key = Key(deleted_ + 1);
      MDB_val k = Val(key);
      Must(mdb_del(txn, dbi_, &k, nullptr), "del");
    }
    last_ = last;
    if (Has("ack-before-commit")) Mark("A", last_);
    Must(mdb_txn_commit(txn), "commit");
    if (!Has("ack-before-commit")) Mark("A", last_);
  }

 private:
  bool Has(const char* flaw) const { return flaws_.count(flaw) == 1; }
  MDB_txn* Begin() {
    MDB_txn* txn = nullptr;
    Must(mdb_txn_begin(env_, nullptr, 0, &txn), "begin");
    return txn;
  }

  const std::set<std::string> flaws_;
  const Numbered numbers_;
  Rng rng_{1};
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
  uint64_t last_ = 0, deleted_ = 0;
};

}  // namespace
}  // namespace penstock_faults

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("standin-writer DIRECTORY TRANSACTIONS [FLAW...]\n", stderr);
    return 2;
  }
  try {
    penstock_faults::Writer writer(argv[1], std::set<std::string>(argv + 3, argv + argc));
    for (int i = std::atoi(argv[2]); i > 0; --i) writer.Commit();
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "standin-writer: %s\n", e.what());
    return 1;
  }
}
