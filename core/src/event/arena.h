// Memory for the encoded copies of a batch of events: handed out piece by piece, freed all at once.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace penstock::event {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Uninitialised bytes, aligned for any type; stable until the arena dies.
  char* Allocate(size_t size) {
    constexpr size_t kAlign = alignof(std::max_align_t);
    size = (size + kAlign - 1) / kAlign * kAlign;
    if (size > left_) Grow(size);
    char* out = next_;
    next_ += size;
    left_ -= size;
    used_ += size;
    return out;
  }
  // Gives back the tail of the latest allocation.
  void Shrink(char* latest, size_t size) {
    constexpr size_t kAlign = alignof(std::max_align_t);
    char* end = latest + (size + kAlign - 1) / kAlign * kAlign;
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
  size_t used() const { return used_; }

 private:
  static constexpr size_t kChunk = 16 * 1024;
  void Grow(size_t at_least) {
    const size_t size = at_least > kChunk ? at_least : kChunk;
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    next_ = chunks_.back().get();
    left_ = size;
  }
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* next_ = nullptr;
  size_t left_ = 0;
  size_t used_ = 0;
};

}  // namespace penstock::event
