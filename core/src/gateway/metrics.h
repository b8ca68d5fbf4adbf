// The cells that plugins count in. They live as long as the table, which outlives every instance.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::gateway {

class MetricTable {
 public:
  struct Reading {
    std::string instance;  // "source orders"
    std::string plugin;    // its id
    std::string name, help;
    int32_t kind;
    uint64_t value;
  };

  // The same cell for the same instance of the same plugin and name. nullptr: more than kMaxCells,
  // or a name that is not [a-z_]+.
  uint64_t* Cell(std::string_view instance, std::string_view plugin, int32_t kind,
                 std::string_view name, std::string_view help);
  std::vector<Reading> Read() const;

 private:
  static constexpr size_t kMaxCells = 65536;
  struct Entry {
    std::string instance, plugin, name, help;
    int32_t kind;
    uint64_t cell = 0;
  };
  mutable std::mutex mutex_;
  std::deque<Entry> entries_;
};

}  // namespace penstock::gateway
