// What the store holds, against what the configuration names.
#pragma once

#include "config/config.h"
#include "store/store.h"

namespace penstock::gateway {

// A source or sink that is gone from the configuration and has events left on disk is an error
// (kConfig) with their number and the ways out. One that has nothing left is forgotten.
Result<void> ReconcileStore(store::Store* store, const config::Config& config);

}  // namespace penstock::gateway
