// A store as small as can be, on LMDB alone: what the tools of this folder are tried on.
//
// Numbered values, one transaction after the other, the oldest deleted in the same transactions.
// Marks: "N 0": the store is made; "D n": from here on, values up to n may be deleted; "A n": all
// up to n are acknowledged.
#ifndef PENSTOCK_TESTS_FAULTS_STANDIN_STANDIN_H
#define PENSTOCK_TESTS_FAULTS_STANDIN_STANDIN_H

#include <lmdb.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "faults/numbered.h"

namespace penstock_faults {

constexpr size_t kMapSize = size_t{64} << 20;
constexpr uint64_t kKept = 200;  // values
constexpr size_t kSmallest = 40, kLargest = 9000;
constexpr const char* kSource = "standin";

inline void Must(int rc, const char* what) {
  if (rc != 0) throw std::runtime_error(std::string(what) + ": " + mdb_strerror(rc));
}

inline std::string Key(uint64_t number) {
  std::string key(8, '\0');
  for (int i = 7; i >= 0; --i, number >>= 8) key[i] = static_cast<char>(number);
  return key;
}

inline MDB_val Val(std::string_view bytes) {
  return {bytes.size(), const_cast<char*>(bytes.data())};
}

inline uint64_t NumberOf(const MDB_val& key) {
  uint64_t number = 0;
  for (size_t i = 0; i < key.mv_size; ++i)
    number = number << 8 | static_cast<const uint8_t*>(key.mv_data)[i];
  return number;
}

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_STANDIN_STANDIN_H
