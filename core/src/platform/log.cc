#include "platform/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>

#include "platform/journal.h"
#include "platform/throttle.h"

namespace penstock::log {
namespace {

std::atomic<int32_t> threshold{static_cast<int32_t>(Level::kInfo)};
static_assert(sizeof(threshold) == sizeof(int32_t));
std::atomic<Format> format{Format::kText};

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("penstock",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    made->set_pattern("%v");
    return made;
  }();
  return *logger;
}

const char* Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarn:
      return "warn";
    case Level::kError:
      return "error";
  }
  return "info";
}

// RFC 3339 in UTC, to the millisecond.
std::string Time() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto since_epoch = now.time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count() % 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", text, ms);
}

// A log line is one line: what would break it, or a terminal, is shown as an escape.
void AppendPlain(std::string_view text, std::string* out) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || c == '\r' || c == '\t') {
      *out += ' ';
    } else if (byte < 0x20 || byte == 0x7f) {
      *out += fmt::format("\\x{:02x}", byte);
    } else {
      *out += c;
    }
  }
}

void AppendJson(std::string_view text, std::string* out) {
  *out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      *out += '\\';
      *out += c;
    } else if (byte < 0x20) {
      *out += fmt::format("\\u{:04x}", byte);
    } else {
      *out += c;
    }
  }
  *out += '"';
}

// What a person reads, but for time and level.
std::string Message(std::string_view component, std::string_view text, const Field* fields,
                    size_t n) {
  std::string line;
  AppendPlain(component, &line);
  line += ": ";
  AppendPlain(text, &line);
  for (size_t i = 0; i < n; ++i) {
    line += ' ';
    AppendPlain(fields[i].key, &line);
    line += '=';
    AppendPlain(fields[i].value, &line);
  }
  return line;
}

std::string TextLine(Level level, std::string_view component, std::string_view text,
                     const Field* fields, size_t n) {
  return fmt::format("{} {:<5} ", Time(), Name(level)) + Message(component, text, fields, n);
}

std::string JsonLine(Level level, std::string_view component, std::string_view text,
                     const Field* fields, size_t n) {
  std::string line = fmt::format(R"({{"time":"{}","level":"{}","component":)", Time(), Name(level));
  AppendJson(component, &line);
  line += ",\"message\":";
  AppendJson(text, &line);
  for (size_t i = 0; i < n; ++i) {
    line += ',';
    AppendJson(fields[i].key, &line);
    line += ':';
    AppendJson(fields[i].value, &line);
  }
  return line += '}';
}

Journal& TheJournal() {
  static Journal journal;
  return journal;
}

int Priority(Level level) {  // as syslog's
  switch (level) {
    case Level::kDebug:
      return 7;
    case Level::kInfo:
      return 6;
    case Level::kWarn:
      return 4;
    case Level::kError:
      return 3;
  }
  return 6;
}

struct Bound {
  std::mutex mutex;
  Throttle throttle;
};

Bound& TheBound() {
  static Bound bound;
  return bound;
}

}  // namespace

Format AutoFormat() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat file {};
  if (stream == nullptr || fstat(STDERR_FILENO, &file) != 0) return Format::kText;
  return fmt::format("{}:{}", file.st_dev, file.st_ino) == stream ? Format::kJournal
                                                                  : Format::kText;
}

void Configure(Level level, Format new_format) {
  threshold = static_cast<int32_t>(level);
  format = new_format;
}

Level ParseLevel(std::string_view name) {
  for (const Level level : {Level::kDebug, Level::kWarn, Level::kError}) {
    if (name == Name(level)) return level;
  }
  return Level::kInfo;
}

const int32_t* Threshold() { return reinterpret_cast<const int32_t*>(&threshold); }

void Write(Level level, std::string_view component, std::string_view text, const Field* fields,
           size_t n) {
  if (!Enabled(level)) return;
  const Format chosen = format;
  if (chosen == Format::kJournal) {
    TheJournal().Write(Priority(level), component, Message(component, text, fields, n), fields, n);
  } else {
    const auto make = chosen == Format::kJson ? JsonLine : TextLine;
    Logger().info("{}", make(level, component, text, fields, n));
  }
}

void WriteBounded(Level level, std::string_view component, std::string_view text,
                  const Field* fields, size_t n) {
  if (!Enabled(level)) return;
  {
    std::lock_guard lock(TheBound().mutex);
    if (!TheBound().throttle.Allow(component, SystemClock().Now())) return;
  }
  Write(level, component, text, fields, n);
}

void SayHeldBack(TimePoint now) {
  std::vector<Throttle::Note> notes;
  {
    std::lock_guard lock(TheBound().mutex);
    notes = TheBound().throttle.Due(now);
  }
  for (const Throttle::Note& note : notes) Warn(note.component, Throttle::Text(note));
}

void Flush() {
  SayHeldBack(TimePoint::max());
  if (format.load() == Format::kJournal) TheJournal().Flush(std::chrono::seconds(1));
}

}  // namespace penstock::log
