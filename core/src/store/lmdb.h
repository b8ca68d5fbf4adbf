// LMDB with owners for its handles and its return codes as errors. Only the store uses it.
#pragma once

#include <lmdb.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "platform/result.h"

namespace penstock::store {

// LMDB's return code, or errno, in words. Code::kRetry: there was no room (the map or the disk is
// full), and nothing was changed; anything else is kFatal. That goes for a file system that has
// become read-only, too: with a file of it open that happens after its own errors only, and it does
// not get well as long as the file is open.
Error LmdbError(int code, const std::string& what);

class Environment {
 public:
  Environment() = default;
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  // Opens or makes the environment in the directory, which must be there. One process at a time,
  // once.
  Result<void> Open(const std::string& directory, uint64_t map_bytes, unsigned max_readers);
  void Close();

  MDB_env* get() const { return env_; }
  MDB_dbi dbi() const { return dbi_; }
  uint64_t last_commit() const;
  uint64_t map_bytes() const;
  // The file's part that holds pages, used or free.
  uint64_t used_bytes() const;
  uint64_t page_bytes() const;
  int fd() const;

 private:
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
};

struct KeyValue {
  std::string_view key, value;
};

// A transaction; aborted when it goes and was not committed. What it returns lies in the map and is
// good until the transaction changes something or ends. Used by one thread.
class Transaction {
 public:
  enum class Mode { kRead, kWrite };

  Transaction() = default;
  ~Transaction() { Abort(); }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  Result<void> Begin(const Environment& environment, Mode mode);
  Result<void> Commit();
  void Abort();
  uint64_t number() const;     // of this transaction, and so of the commit
  uint64_t FreePages() const;  // that commits may use again

  Result<std::optional<std::string_view>> Get(std::string_view key) const;
  // The first pair at or behind key; the last pair before key.
  Result<std::optional<KeyValue>> Seek(std::string_view key) const;
  Result<std::optional<KeyValue>> SeekBefore(std::string_view key) const;
  // Calls f for each pair whose key begins with prefix, in order, until it returns false.
  Result<void> ForEach(std::string_view prefix,
                       const std::function<bool(const KeyValue&)>& f) const;

  Result<void> Put(std::string_view key, std::string_view value);
  // Room for a value that the caller writes at once.
  Result<char*> Reserve(std::string_view key, size_t bytes);
  // true: it was there.
  Result<bool> Delete(std::string_view key);

 private:
  MDB_txn* txn_ = nullptr;
  MDB_dbi dbi_ = 0;
};

}  // namespace penstock::store
