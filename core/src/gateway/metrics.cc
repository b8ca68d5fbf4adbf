#include "gateway/metrics.h"

namespace penstock::gateway {

uint64_t* MetricTable::Cell(std::string_view instance, std::string_view plugin, int32_t kind,
                            std::string_view name, std::string_view help) {
  if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") != name.npos)
    return nullptr;
  std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    if (entry.instance == instance && entry.plugin == plugin && entry.name == name)
      return &entry.cell;
  }
  if (entries_.size() >= kMaxCells) return nullptr;
  entries_.push_back(
      {std::string(instance), std::string(plugin), std::string(name), std::string(help), kind, 0});
  return &entries_.back().cell;
}

std::vector<MetricTable::Reading> MetricTable::Read() const {
  std::lock_guard lock(mutex_);
  std::vector<Reading> out;
  for (const Entry& e : entries_) {
    out.push_back(
        {e.instance, e.plugin, e.name, e.help, e.kind, __atomic_load_n(&e.cell, __ATOMIC_RELAXED)});
  }
  return out;
}

}  // namespace penstock::gateway
