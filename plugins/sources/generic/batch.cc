#include "batch.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include "wire.h"

namespace penstock_generic {
namespace {

// The head of a block; the payloads follow it.
struct Block : penstock_owner {
  explicit Block(uint32_t count) : penstock_owner{&Block::Give}, references(count) {}

  static Block* Make(uint32_t count, size_t bytes) {
    void* memory = std::malloc(sizeof(Block) + bytes);
    if (memory == nullptr) throw std::bad_alloc();
    return new (memory) Block(count);
  }
  static void Give(penstock_owner* self, uint32_t n) noexcept {
    auto* block = static_cast<Block*>(self);
    if (block->references.fetch_sub(n, std::memory_order_acq_rel) == n) std::free(block);
  }
  char* bytes() { return reinterpret_cast<char*>(this + 1); }

  std::atomic<uint32_t> references;
};

}  // namespace

Batch::Batch(size_t max_bytes, std::string_view content_type)
    : max_bytes_(max_bytes), content_type_(content_type) {
  messages_.reserve(kMaxEvents);
  events_.reserve(kMaxEvents);
}

Batch::~Batch() { Clear(); }

void Batch::Clear() {
  for (grpc_byte_buffer* message : messages_) grpc_byte_buffer_destroy(message);
  messages_.clear();
  bytes_ = 0;
}

void Batch::Add(grpc_byte_buffer* message) {
  bytes_ += grpc_byte_buffer_length(message);
  messages_.push_back(message);
}

Batch::Built Batch::Build() {
  events_.clear();
  if (messages_.empty()) return {nullptr, 0, false};
  bool damaged = false;
  Block* block = Block::Make(static_cast<uint32_t>(messages_.size()), bytes_);
  char* to = block->bytes();
  for (const grpc_byte_buffer* message : messages_) {
    const grpc_slice_buffer& buffer = message->data.raw.slice_buffer;
    std::optional<PayloadPlace> payload = FindPayload(buffer.slices, buffer.count);
    if (!payload) {
      damaged = true;
      break;
    }
    payload->start.Copy(to, payload->size);
    penstock_event& event = events_.emplace_back();
    event.payload = {to, payload->size};
    event.content_type = penstock::Str(content_type_);
    event.owner = block;
    to += payload->size;
  }
  const size_t left_out = messages_.size() - events_.size();
  if (left_out > 0) Block::Give(block, static_cast<uint32_t>(left_out));
  Clear();
  return {events_.data(), events_.size(), damaged};
}

void Batch::Release(const penstock_event* events, size_t count) {
  if (count > 0) events->owner->release(events->owner, static_cast<uint32_t>(count));
}

}  // namespace penstock_generic
