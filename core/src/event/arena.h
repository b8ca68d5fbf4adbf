// Memory for the encoded copies of a batch of events: handed out piece by piece, freed all at once.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstring>
#include <new>
#include <string_view>

namespace penstock::event {

// Starts small, because a batch may hold a single event. Used by one thread at a time.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    while (chunks_ != nullptr) {
      Chunk* next = chunks_->next;
      ::operator delete(chunks_);
      chunks_ = next;
    }
  }

  // Uninitialised bytes, aligned for any type; stable until the arena dies.
  char* Allocate(size_t size) {
    size = RoundUp(size);
    if (size > left_) return AllocateSlowly(size);
    char* out = next_;
    next_ += size;
    left_ -= size;
    used_ += size;
    return out;
  }
  // Gives back the tail of the latest allocation, of which size bytes stay.
  void Shrink(char* latest, size_t size) {
    char* end = latest + RoundUp(size);
    if (latest == alone_) return;  // it has a chunk to itself
    assert(end <= next_);
    left_ += static_cast<size_t>(next_ - end);
    used_ -= static_cast<size_t>(next_ - end);
    next_ = end;
  }
  template <typename T>
  T* AllocateArray(size_t n) {
    return reinterpret_cast<T*>(Allocate(n * sizeof(T)));
  }
  std::string_view Copy(std::string_view text) {
    char* out = Allocate(text.size());
    if (!text.empty()) std::memcpy(out, text.data(), text.size());
    return {out, text.size()};
  }
  // What was handed out.
  size_t used() const { return used_; }
  // What was taken from the heap for it.
  size_t reserved() const { return reserved_; }

 private:
  struct alignas(std::max_align_t) Chunk {
    Chunk* next;
  };
  static constexpr size_t kFirstChunk = 1024;
  static constexpr size_t kLargestChunk = 32 * 1024;

  static constexpr size_t RoundUp(size_t size) {
    constexpr size_t kAlign = alignof(std::max_align_t);
    return (size + kAlign - 1) / kAlign * kAlign;
  }

  char* NewChunk(size_t room) {
    auto* chunk = static_cast<Chunk*>(::operator new(sizeof(Chunk) + room));
    chunk->next = chunks_;
    chunks_ = chunk;
    reserved_ += sizeof(Chunk) + room;
    return reinterpret_cast<char*>(chunk + 1);
  }

  char* AllocateSlowly(size_t size) {
    if (size > kLargestChunk / 4) {
      // The rest of the current chunk stays in use for what is small.
      used_ += size;
      return alone_ = NewChunk(size);
    }
    while (next_chunk_ - sizeof(Chunk) < size) next_chunk_ *= 2;
    left_ = next_chunk_ - sizeof(Chunk);
    next_ = NewChunk(left_);
    if (next_chunk_ < kLargestChunk) next_chunk_ *= 2;
    return Allocate(size);
  }

  Chunk* chunks_ = nullptr;
  char* next_ = nullptr;
  size_t left_ = 0;
  size_t next_chunk_ = kFirstChunk;
  char* alone_ = nullptr;
  size_t used_ = 0;
  size_t reserved_ = 0;
};

}  // namespace penstock::event
