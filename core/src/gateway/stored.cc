#include "gateway/stored.h"

#include <string>
#include <vector>

#include "config/text.h"
#include "platform/log.h"

namespace penstock::gateway {
namespace {

std::string Events(uint64_t n) { return std::to_string(n) + (n == 1 ? " event" : " events"); }

Error LeftBehind(const std::string& what, const std::string& forget) {
  return {Code::kConfig, what +
                             "; put it back until they are delivered, or give them up with: "
                             "penstock queue forget " +
                             forget};
}

}  // namespace

Error LeftBehind(const std::pair<std::string, std::string>& route, uint64_t events,
                 config::Storage storage, std::chrono::nanoseconds waited) {
  std::string out = "route " + route.first + " -> " + route.second +
                    " is no longer in the configuration, and " + Events(events) +
                    " of it are not delivered";
  if (waited.count() > 0)
    out += " within gateway.drain_timeout, " + config::FormatDuration(waited.count());
  out += "; put it back until they are, or ";
  out += storage == config::Storage::kDisk
             ? "stop the gateway and give them up with: penstock queue forget " + route.first +
                   " --sink " + route.second
             : "restart the gateway, which loses them: their queue is in memory";
  return {Code::kConfig, std::move(out)};
}

uint64_t StoreBytes(const config::Config& config) {
  uint64_t bytes = store::Store::Options().map_bytes;
  for (const config::SourceConfig& source : config.sources) {
    bytes += 2 * source.dead_letters.max_bytes;
    if (source.queue.storage == config::Storage::kDisk) bytes += 2 * source.queue.max_bytes;
  }
  return bytes;
}

Result<void> ReconcileStore(store::Store* store, const config::Config& config) {
  const auto queues = store->Queues();
  if (!queues) return tl::unexpected(queues.error());
  std::vector<std::string> gone;  // keys of cursors that nobody needs
  for (const store::QueueRecord& queue : *queues) {
    if (!queue.disk) continue;
    const config::SourceConfig* source = config.FindSource(queue.name);
    const bool kept = source != nullptr && source->queue.storage == config::Storage::kDisk;
    const auto cursors = store->Cursors(queue.queue);
    if (!cursors) return tl::unexpected(cursors.error());
    for (const store::CursorRecord& cursor : *cursors) {
      if (kept && config.HasRoute(queue.name, cursor.sink)) continue;
      const uint64_t left = store::Pending(queue, cursor);
      if (left > 0 && !kept) {
        const std::string how = source == nullptr ? " is no longer in the configuration"
                                                  : " no longer has queue.storage = \"disk\"";
        return tl::unexpected(LeftBehind("source " + queue.name + how + ", and " + Events(left) +
                                             " for sink " + cursor.sink + " are still on disk",
                                         queue.name));
      }
      if (left > 0) {
        return tl::unexpected(LeftBehind("sink " + cursor.sink + " no longer reads source " +
                                             queue.name + ", and " + Events(left) +
                                             " for it are still on disk",
                                         queue.name + " --sink " + cursor.sink));
      }
      log::Info("store", "route " + queue.name + " -> " + cursor.sink +
                             " is no longer in the configuration and has nothing left on disk; "
                             "forgotten");
      gone.push_back(store::CursorKey(queue.queue, cursor.sink));
    }
  }
  if (gone.empty()) return {};
  return store->Apply([&gone](store::Transaction& transaction) -> Result<void> {
    for (const std::string& key : gone) {
      if (auto deleted = transaction.Delete(key); !deleted) return tl::unexpected(deleted.error());
    }
    return {};
  });
}

}  // namespace penstock::gateway
