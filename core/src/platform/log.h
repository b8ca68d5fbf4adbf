// The gateway's log: one line a state change, never one an event. Text or JSON on standard error,
// or entries with fields in systemd's journal.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "platform/clock.h"

namespace penstock::log {

enum class Level { kDebug = 1, kInfo, kWarn, kError };  // as PENSTOCK_LOG_* in plugin.h
enum class Format { kText, kJson, kJournal };

struct Field {
  std::string_view key, value;
};

// Both may be called again; not at the same time as Write.
void Configure(Level level, Format format);
// kJournal where standard error goes to the journal anyway ($JOURNAL_STREAM names it), else kText.
Format AutoFormat();
// "debug", "info", "warn", "error"; info for anything else.
Level ParseLevel(std::string_view name);

// The threshold, for plugins that look before they format.
const int32_t* Threshold();
inline bool Enabled(Level level) { return static_cast<int32_t>(level) >= *Threshold(); }

// component: who speaks, as "gateway", "source orders", "sink bus", "orders -> bus". Control
// characters in text and values are replaced. Any thread.
void Write(Level level, std::string_view component, std::string_view text, const Field* fields,
           size_t n);
inline void Write(Level level, std::string_view component, std::string_view text,
                  std::initializer_list<Field> fields = {}) {
  if (Enabled(level)) Write(level, component, text, fields.begin(), fields.size());
}

// The same for what a plugin says, which may be in a loop: of one component at most 50 lines at
// once and 10 a second are written. Any thread.
void WriteBounded(Level level, std::string_view component, std::string_view text,
                  const Field* fields, size_t n);
// Says how many lines of each component were held back, every ten seconds. To be called now and
// then.
void SayHeldBack(TimePoint now);
// Says what was held back, and waits a moment until the journal has read all: it does not know the
// unit of a process that has ended by then. Before the process ends.
void Flush();

inline void Info(std::string_view component, std::string_view text) {
  Write(Level::kInfo, component, text);
}
inline void Warn(std::string_view component, std::string_view text) {
  Write(Level::kWarn, component, text);
}
inline void LogError(std::string_view component, std::string_view text) {
  Write(Level::kError, component, text);
}

// Lets one line through per interval and tells how many it held back. One thread at a time.
class Limiter {
 public:
  explicit Limiter(Nanoseconds interval) : interval_(interval) {}
  bool Allow(TimePoint now) {
    if (now < next_) {
      ++held_back_;
      return false;
    }
    next_ = now + interval_;
    return true;
  }
  // " (N more like it were held back)", or nothing if there were none; starts again from 0.
  std::string HeldBackNote() {
    const uint64_t n = std::exchange(held_back_, 0);
    return n == 0 ? std::string() : " (" + std::to_string(n) + " more like it were held back)";
  }

 private:
  Nanoseconds interval_;
  TimePoint next_{};
  uint64_t held_back_ = 0;
};

}  // namespace penstock::log
