// What the store holds, against what the configuration names.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "config/config.h"
#include "store/store.h"

namespace penstock::gateway {

// Events of a route that is to go are left: with their number and the ways out of its queue.
// waited: drain_timeout, when they were waited for; else 0.
Error LeftBehind(const std::pair<std::string, std::string>& route, uint64_t events,
                 config::Storage storage, std::chrono::nanoseconds waited);

// What the store may ever have to hold: twice the bounds of its queues and dead letters.
uint64_t StoreBytes(const config::Config& config);

// A source or sink that is gone from the configuration and has events left on disk is an error
// (kConfig) with their number and the ways out. One that has nothing left is forgotten.
Result<void> ReconcileStore(store::Store* store, const config::Config& config);

}  // namespace penstock::gateway
