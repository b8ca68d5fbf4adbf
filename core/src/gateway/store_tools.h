// What can be asked of a store, and done to it: the operations behind `penstock queue` and
// `penstock deadletters`. A running gateway has them at its admin socket; for a stopped one the
// commands call them themselves, so that both ways give the same.
//
//   GET  /queues                               JSON: the store, its queues, their sinks
//   GET  /queues/events?queue&from&count       a line of JSON for each event
//   POST /queues/forget?queue&sink&dry_run     JSON: what is given up
//   GET  /deadletters?FILTER&payload           a line of JSON for each
//   GET  /deadletters/payload?FILTER           the bytes of the only one that matches
//   POST /deadletters/replay?FILTER            JSON: how many
//   POST /deadletters/drop?FILTER              JSON: how many
//
// FILTER: source, sink, id, reason, since_ns, until_ns. Nothing is held in memory but a piece, and
// no transaction outlives it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/server.h"
#include "config/config.h"
#include "store/store.h"

namespace penstock::gateway {

struct StoreAccess {
  // The store, which outlives all answers. The error says why there is none now.
  std::function<Result<store::Store*>()> store;
  // The configuration now; may be empty, and give null: it is not known.
  std::function<std::shared_ptr<const config::Config>()> config;
  std::shared_ptr<const config::Config> Config() const { return config ? config() : nullptr; }
  // Called after letters were marked for replay; may be empty.
  std::function<Result<void>()> marked;
};

struct Endpoint {
  std::string method, path;
  admin::Handler handler;
};

// The handlers may be called from any thread, several at once. Bad input is 400, what is not there
// 404, what may not be done now 409, no store 503, a fault of the store 500.
std::vector<Endpoint> StoreEndpoints(StoreAccess access);

// What POST /queues/forget does for the whole queue of a source that has none on disk in that
// configuration. Nobody has the queue open.
Result<void> ForgetQueue(store::Store* store, const config::Config& config,
                         const std::string& source);

}  // namespace penstock::gateway
