// The event as the gateway holds it: an immutable record inside a block, and what its source says
// of all its events.
#pragma once

#include <penstock/plugin.h>

#include <cassert>
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

inline std::string_view SubjectOf(const Event& event, const SourceInfo& source) {
  return event.subject.empty() ? std::string_view(source.event_name) : event.subject;
}
inline std::string_view TypeOf(const Event& event, const SourceInfo& source) {
  return event.type.empty() ? std::string_view(source.event_type) : event.type;
}

// What an event costs beside the bytes that it points to.
inline constexpr size_t kRecordOverhead = 192;

// The bytes that an event is charged with against every bound: what it points to and its own
// record.
size_t ChargedBytes(const penstock_event& event);

// An event of a batch, whatever the batch's stride: fields that the other side does not know are
// zero.
penstock_event ReadEvent(const penstock_event_batch& batch, size_t index);

// A run of neighbouring events that were accepted together. Immutable once made, so any thread may
// read it; whoever reads holds a shared_ptr, and the plugin's memory is released when the last one
// lets go, on that one's thread.
class Block {
  struct Private {
    explicit Private() = default;
  };

 public:
  // Takes count events of the batch from first on: a reference on the owner of each, or a copy
  // where there is none. Events without a time get now_ns. One allocation.
  static std::shared_ptr<const Block> Take(const penstock_event_batch& batch, size_t first,
                                           size_t count, uint64_t first_offset, int64_t now_ns);
  explicit Block(Private) {}
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  uint64_t first_offset() const { return first_offset_; }
  uint64_t end_offset() const { return first_offset_ + size_; }
  size_t size() const { return size_; }
  // offset: in [first_offset(), end_offset()).
  const Event& at(uint64_t offset) const {
    assert(offset - first_offset_ < size_);
    return events_[offset - first_offset_];
  }
  size_t charged_bytes(uint64_t offset) const {
    assert(offset - first_offset_ < size_);
    return charges_[offset - first_offset_];
  }
  size_t total_charged_bytes() const { return total_charge_; }

 private:
  struct OwnerRun {
    penstock_owner* owner;
    uint32_t events;
  };
  class Filler;

  uint64_t first_offset_ = 0;
  size_t size_ = 0;
  size_t total_charge_ = 0;
  size_t owner_runs_ = 0;
  // All of these lie behind the block, in its own allocation.
  const Event* events_ = nullptr;
  const size_t* charges_ = nullptr;
  const OwnerRun* owners_ = nullptr;
};

}  // namespace penstock::event
