// The event as the gateway holds it: an immutable record inside a block, and what its source says of all its events.
#pragma once

#include <penstock/plugin.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::event {

// What is the same for all events of a source. Lives as long as the source's queue.
struct SourceInfo {
  std::string name;          // of the [sources.NAME] table
  std::string event_source;  // CloudEvents source
  std::string event_name;    // CloudEvents subject, unless the event brings its own
  std::string event_type;    // CloudEvents type, likewise
  std::vector<std::pair<std::string, std::string>> metadata;  // sorted by key
};

// One event. The views point into its block.
struct Event {
  std::string_view payload;
  std::string_view subject;       // empty: SourceInfo::event_name
  std::string_view id;            // empty: made from the queue's id and the offset
  std::string_view type;          // empty: SourceInfo::event_type
  std::string_view content_type;  // empty: undeclared bytes
  std::span<const penstock_kv> attributes;
  int64_t time_ns = 0;  // since the Unix epoch, never 0 in a block
  uint64_t ack_token = 0;
};

// The bytes that an event is charged with against every bound: what it points to and its own record.
size_t ChargedBytes(const penstock_event& event);

// A run of neighbouring events that were accepted together. Immutable once made, so any thread may read it; whoever
// reads holds a shared_ptr, and the plugin's memory is released when the last one lets go.
class Block {
 public:
  // Takes count events of the batch from first on: a reference on the owner of each, or a copy where there is none.
  // Events without a time get now_ns.
  static std::shared_ptr<const Block> Take(const penstock_event_batch& batch, size_t first, size_t count,
                                           uint64_t first_offset, int64_t now_ns);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  uint64_t first_offset() const { return first_offset_; }
  uint64_t end_offset() const { return first_offset_ + events_.size(); }
  size_t size() const { return events_.size(); }
  // offset: in [first_offset(), end_offset()).
  const Event& at(uint64_t offset) const { return events_[offset - first_offset_]; }
  size_t charged_bytes(uint64_t offset) const { return charges_[offset - first_offset_]; }
  size_t total_charged_bytes() const { return total_charge_; }

 private:
  Block() = default;

  uint64_t first_offset_ = 0;
  size_t total_charge_ = 0;
  std::vector<Event> events_;
  std::vector<uint32_t> charges_;
  std::vector<std::pair<penstock_owner*, uint32_t>> owners_;  // runs of equal owners
  std::unique_ptr<char[]> copied_;
  std::vector<penstock_kv> copied_attributes_;
};

}  // namespace penstock::event
