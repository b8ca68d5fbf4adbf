#include "platform/throttle.h"

#include <algorithm>

namespace penstock::log {
namespace {

constexpr Nanoseconds kOneLine =
    Nanoseconds(std::chrono::seconds(1)) / static_cast<int64_t>(Throttle::kPerSecond);

}  // namespace

bool Throttle::Allow(std::string_view component, TimePoint now) {
  auto found = buckets_.find(component);
  if (found == buckets_.end()) found = buckets_.emplace(std::string(component), Bucket{}).first;
  Bucket& bucket = found->second;
  const TimePoint full_at = std::max(bucket.full_at, now);
  if (full_at - now > (kBurst - 1) * kOneLine) {
    if (bucket.held_back++ == 0) bucket.note_due = now + kBetweenNotes;
    return false;
  }
  bucket.full_at = full_at + kOneLine;
  return true;
}

std::vector<Throttle::Note> Throttle::Due(TimePoint now) {
  std::vector<Note> out;
  for (auto& [component, bucket] : buckets_) {
    if (bucket.held_back == 0 || now < bucket.note_due) continue;
    out.push_back({component, bucket.held_back});
    bucket.held_back = 0;
  }
  return out;
}

std::string Throttle::Text(const Note& note) {
  return std::to_string(note.held_back) + " lines were held back: a plugin may log " +
         std::to_string(kBurst) + " at once, then " + std::to_string(kPerSecond) + " a second";
}

}  // namespace penstock::log
