// The file "seal" beside LMDB's data: which commit was the last, and whether the store was closed.
//
// LMDB's two root pages bear no checksum: a flipped bit there can make it open the state before the
// last commit, which looks whole. The seal is written after each commit and reaches the disk some
// time later, so what it says is the least that must be there; after a clean stop it is exact.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "platform/result.h"

namespace penstock::store {

struct SealRecord {
  std::array<uint64_t, 2> store_id{};
  uint64_t commit = 0;  // LMDB's number of the transaction
  bool clean = false;   // closed; nothing was written since
};

// nullopt: there is none. The error: it cannot be read, or its checksum is wrong.
Result<std::optional<SealRecord>> ReadSeal(const std::string& directory);

// Used by one thread.
class SealFile {
 public:
  SealFile() = default;
  ~SealFile();
  SealFile(const SealFile&) = delete;
  SealFile& operator=(const SealFile&) = delete;

  Result<void> Open(const std::string& directory);
  // sync: it is on the disk when this returns.
  Result<void> Write(const SealRecord& record, bool sync);

 private:
  int fd_ = -1;
};

}  // namespace penstock::store
