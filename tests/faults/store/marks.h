// What store-writer and store-check agree on. Marks are lines:
//   N                       the store and its queues are made
//   E QUEUE FIRST LAST      about to be appended
//   A QUEUE NUMBER          acknowledged: stored
//   D SINK QUEUE NUMBER     delivered; its cursor may pass it from here on
// An event's number is its offset plus one, so that an event under another's offset shows.
#ifndef PENSTOCK_TESTS_FAULTS_STORE_MARKS_H
#define PENSTOCK_TESTS_FAULTS_STORE_MARKS_H

#include <cstdint>
#include <stdexcept>
#include <string>

#include "faults/numbered.h"
#include "platform/result.h"
#include "queue/disk_queue.h"
#include "store/store.h"

namespace penstock_faults {

constexpr const char* kQueues[] = {"orders", "shipments"};
constexpr const char* kSinks[] = {"bus", "lake"};
constexpr penstock::queue::Limits kLimits{400, 1 << 20, penstock::queue::WhenFull::kBlock};

inline Numbered EventsOf(const std::string& queue) { return {queue, 1, 50, 20000}; }

template <typename T>
T Must(penstock::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_STORE_MARKS_H
