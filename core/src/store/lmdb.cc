#include "store/lmdb.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace penstock::store {
namespace {

MDB_val Val(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};  // LMDB does not write to it
}

std::string_view View(const MDB_val& val) {
  return {static_cast<const char*>(val.mv_data), val.mv_size};
}

class Cursor {
 public:
  ~Cursor() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  int Open(MDB_txn* txn, MDB_dbi dbi) { return mdb_cursor_open(txn, dbi, &cursor_); }
  int Get(MDB_val* key, MDB_val* value, MDB_cursor_op op) {
    return mdb_cursor_get(cursor_, key, value, op);
  }

 private:
  MDB_cursor* cursor_ = nullptr;
};

}  // namespace

Error LmdbError(int code, const std::string& what) {
  const bool no_room = code == MDB_MAP_FULL || code == ENOSPC || code == EDQUOT;
  return {no_room ? Code::kRetry : Code::kFatal, what + ": " + mdb_strerror(code)};
}

namespace {

// LMDB's lock file is mapped. A part of it that the disk has no room for would end the process by
// SIGBUS when it is first touched, so that it is set aside before.
Result<void> AllocateLockFile(const std::string& directory, unsigned max_readers) {
  constexpr off_t kPage = 4096, kPerReader = 64;
  const std::string path = directory + "/lock.mdb";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return tl::unexpected(LmdbError(errno, "opening " + path));
  const off_t size = ((off_t{max_readers} + 2) * kPerReader / kPage + 2) * kPage;
  int code = fallocate(fd, 0, 0, size) == 0 ? 0 : errno;
  if (code == EOPNOTSUPP || code == ENOSYS) code = 0;
  close(fd);
  if (code != 0) return tl::unexpected(LmdbError(code, "setting room aside for " + path));
  return {};
}

}  // namespace

Environment::~Environment() { Close(); }

void Environment::Close() {
  if (env_ != nullptr) mdb_env_close(env_);
  env_ = nullptr;
}

Result<void> Environment::Open(const std::string& directory, uint64_t map_bytes,
                               unsigned max_readers) {
  if (auto allocated = AllocateLockFile(directory, max_readers); !allocated) return allocated;
  int code = mdb_env_create(&env_);
  if (code == 0) code = mdb_env_set_mapsize(env_, map_bytes);
  if (code == 0) code = mdb_env_set_maxreaders(env_, max_readers);
  // Each page is written whole before it is read again, so its memory need not be cleared first.
  if (code == 0) code = mdb_env_open(env_, directory.c_str(), MDB_NOTLS | MDB_NOMEMINIT, 0640);
  if (code != 0) {
    Close();
    return tl::unexpected(LmdbError(code, "opening the store in " + directory));
  }
  int dead = 0;
  mdb_reader_check(env_, &dead);  // of a process that was killed
  MDB_txn* txn = nullptr;
  code = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn);
  if (code == 0) {
    code = mdb_dbi_open(txn, nullptr, 0, &dbi_);
    mdb_txn_abort(txn);
  }
  if (code != 0) {
    Close();
    return tl::unexpected(LmdbError(code, "opening the store in " + directory));
  }
  return {};
}

uint64_t Environment::last_commit() const {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  return info.me_last_txnid;
}

uint64_t Environment::map_bytes() const {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  return info.me_mapsize;
}

uint64_t Environment::used_bytes() const {
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(env_, &info);
  mdb_env_stat(env_, &stat);
  return (info.me_last_pgno + 1) * stat.ms_psize;
}

uint64_t Environment::page_bytes() const {
  MDB_stat stat{};
  mdb_env_stat(env_, &stat);
  return stat.ms_psize;
}

int Environment::fd() const {
  int fd = -1;
  mdb_env_get_fd(env_, &fd);
  return fd;
}

Result<void> Transaction::Begin(const Environment& environment, Mode mode) {
  dbi_ = environment.dbi();
  const int code = mdb_txn_begin(environment.get(), nullptr,
                                 mode == Mode::kRead ? unsigned{MDB_RDONLY} : 0u, &txn_);
  if (code != 0) {
    txn_ = nullptr;
    return tl::unexpected(LmdbError(code, "beginning a transaction"));
  }
  return {};
}

Result<void> Transaction::Commit() {
  const int code = mdb_txn_commit(std::exchange(txn_, nullptr));
  if (code != 0) return tl::unexpected(LmdbError(code, "committing to the store"));
  return {};
}

void Transaction::Abort() {
  if (txn_ != nullptr) mdb_txn_abort(std::exchange(txn_, nullptr));
}

uint64_t Transaction::number() const { return mdb_txn_id(txn_); }

uint64_t Transaction::FreePages() const {
  // LMDB's database 0 holds lists of free pages, by the transaction that freed them; each begins
  // with its length.
  Cursor cursor;
  MDB_val k{}, v{};
  uint64_t pages = 0;
  if (cursor.Open(txn_, 0) != 0) return 0;
  while (cursor.Get(&k, &v, MDB_NEXT) == 0) {
    size_t n = 0;
    if (v.mv_size >= sizeof n) std::memcpy(&n, v.mv_data, sizeof n);
    pages += n;
  }
  return pages;
}

Result<std::optional<std::string_view>> Transaction::Get(std::string_view key) const {
  MDB_val k = Val(key), v{};
  const int code = mdb_get(txn_, dbi_, &k, &v);
  if (code == MDB_NOTFOUND) return std::optional<std::string_view>();
  if (code != 0) return tl::unexpected(LmdbError(code, "reading the store"));
  return View(v);
}

Result<std::optional<KeyValue>> Transaction::Seek(std::string_view key) const {
  Cursor cursor;
  MDB_val k = Val(key), v{};
  int code = cursor.Open(txn_, dbi_);
  if (code == 0) code = cursor.Get(&k, &v, MDB_SET_RANGE);
  if (code == MDB_NOTFOUND) return std::optional<KeyValue>();
  if (code != 0) return tl::unexpected(LmdbError(code, "reading the store"));
  return KeyValue{View(k), View(v)};
}

Result<std::optional<KeyValue>> Transaction::SeekBefore(std::string_view key) const {
  Cursor cursor;
  MDB_val k = Val(key), v{};
  int code = cursor.Open(txn_, dbi_);
  if (code == 0) {
    code = cursor.Get(&k, &v, MDB_SET_RANGE);
    if (code == 0 || code == MDB_NOTFOUND)
      code = cursor.Get(&k, &v, code == 0 ? MDB_PREV : MDB_LAST);
  }
  if (code == MDB_NOTFOUND) return std::optional<KeyValue>();
  if (code != 0) return tl::unexpected(LmdbError(code, "reading the store"));
  return KeyValue{View(k), View(v)};
}

Result<void> Transaction::ForEach(std::string_view prefix,
                                  const std::function<bool(const KeyValue&)>& f) const {
  Cursor cursor;
  MDB_val k = Val(prefix), v{};
  int code = cursor.Open(txn_, dbi_);
  if (code == 0) code = cursor.Get(&k, &v, MDB_SET_RANGE);
  while (code == 0 && View(k).starts_with(prefix) && f(KeyValue{View(k), View(v)}))
    code = cursor.Get(&k, &v, MDB_NEXT);
  if (code != 0 && code != MDB_NOTFOUND)
    return tl::unexpected(LmdbError(code, "reading the store"));
  return {};
}

Result<void> Transaction::Put(std::string_view key, std::string_view value) {
  MDB_val k = Val(key), v = Val(value);
  const int code = mdb_put(txn_, dbi_, &k, &v, 0);
  if (code != 0) return tl::unexpected(LmdbError(code, "writing to the store"));
  return {};
}

Result<char*> Transaction::Reserve(std::string_view key, size_t bytes) {
  MDB_val k = Val(key), v{bytes, nullptr};
  const int code = mdb_put(txn_, dbi_, &k, &v, MDB_RESERVE);
  if (code != 0) return tl::unexpected(LmdbError(code, "writing to the store"));
  return static_cast<char*>(v.mv_data);
}

Result<bool> Transaction::Delete(std::string_view key) {
  MDB_val k = Val(key);
  const int code = mdb_del(txn_, dbi_, &k, nullptr);
  if (code == MDB_NOTFOUND) return false;
  if (code != 0) return tl::unexpected(LmdbError(code, "writing to the store"));
  return true;
}

}  // namespace penstock::store
