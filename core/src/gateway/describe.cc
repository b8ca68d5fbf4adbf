#include "gateway/describe.h"

#include <algorithm>
#include <iterator>

#include "platform/utf8.h"

namespace penstock::gateway {
namespace {

std::string Bytes(uint64_t n) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (n >= 1024 && n % 1024 == 0 && unit + 1 < std::size(units)) {
    n /= 1024;
    ++unit;
  }
  return std::to_string(n) + ' ' + units[unit];
}

// More events than any queue is configured for: only its bytes are bounded.
constexpr uint64_t kNoBound = 1'000'000'000;

bool OnDisk(const config::SourceConfig& source) {
  return source.queue.storage == config::Storage::kDisk;
}

std::string QueueWords(const config::SourceConfig& source) {
  std::string out = OnDisk(source) ? "queue on disk, at most " : "queue in memory, at most ";
  if (source.queue.max_events < kNoBound)
    out += std::to_string(source.queue.max_events) + " events or ";
  out += Bytes(source.queue.max_bytes) + "; when full ";
  switch (source.queue.when_full) {
    case config::WhenFull::kBlock:
      return out + "the source stops reading, so that its server is slowed down";
    case config::WhenFull::kDropNewest:
      return out + "new events are dropped and counted";
    case config::WhenFull::kDropOldest:
      return out + "the oldest events are dropped and counted";
  }
  return out;
}

// Rounded up, to a tenth.
std::string About(uint64_t n) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  uint64_t tenths = n * 10;
  for (; tenths >= 10240 && unit + 1 < std::size(units); ++unit) tenths = (tenths + 1023) / 1024;
  std::string out = std::to_string(tenths / 10);
  if (tenths % 10 != 0) out += '.' + std::to_string(tenths % 10);
  return out + ' ' + units[unit];
}

// What its server takes for sent and a kill -9 loses.
std::string WindowWords(const SourcePart& source, uint64_t commit_bytes) {
  if (source.holds == 0)
    return "; what its origin has sent by then and is not there yet is lost with the process";
  const std::string held = "; up to " + About(source.holds);
  if (!OnDisk(*source.config))
    return held + " that its server has sent by then may be lost by a kill -9, beside the queue";
  // One commit is being written while the next one gathers.
  const uint64_t waiting = 2 * commit_bytes;
  return held + " in its hands and " + About(waiting) + " that wait for a commit (" +
         About(source.holds + waiting) + " together) may be lost by a kill -9";
}

std::string StartWords(const SourcePart& source, uint64_t commit_bytes) {
  const bool disk = OnDisk(*source.config);
  if ((source.plugin->entry().caps & PENSTOCK_CAP_ACK) != 0) {
    return disk ? "acknowledged to its origin once an event is stored"
                : "acknowledged to its origin once every sink has settled an event";
  }
  return std::string("no acknowledgement to its origin: the guarantee begins when an event is ") +
         (disk ? "stored" : "in the queue") + WindowWords(source, commit_bytes);
}

std::string OrderWords(const SinkPart& sink) {
  if (sink.config->order == config::Order::kRelaxed)
    return "in order while nothing fails; an event that is retried may stand after later ones "
           "(counted)";
  return MayPipelineStrict(*sink.plugin, *sink.config)
             ? "strict, pipelined: after a failure the window is sent again from the first failed "
               "event"
             : "strict, one event at a time: throughput is one event per answer of the bus";
}

std::string RepeatWords(const SinkPart& sink) {
  if ((sink.plugin->entry().caps & PENSTOCK_CAP_DEDUPLICATES) != 0)
    return "an event sent twice has the same id, so the bus drops the copy inside its duplicate "
           "window";
  return "an event whose answer was lost is sent again with the same id: consumers may see it "
         "twice";
}

std::string LimitWords(const config::SinkConfig& sink) {
  if (sink.retry_limit_attempts > 0) {
    return " up to " + std::to_string(sink.retry_limit_attempts) +
           " times each, then they go to the dead letters";
  }
  if (sink.retry_limit_age > std::chrono::nanoseconds(0)) {
    return " until " +
           std::to_string(
               std::chrono::duration_cast<std::chrono::seconds>(sink.retry_limit_age).count()) +
           " s after the first attempt, then they go to the dead letters";
  }
  return " for ever";
}

bool Skips(const config::SinkConfig& sink) { return sink.when_behind == config::WhenBehind::kSkip; }

std::string FullWords(config::WhenFull when_full) {
  switch (when_full) {
    case config::WhenFull::kBlock:
      return "a full queue then holds up everything that reads the same source";
    case config::WhenFull::kDropNewest:
      return "a full queue then drops new events, for every sink that reads the same source";
    case config::WhenFull::kDropOldest:
      return "a full queue then drops its oldest events, for every sink that has not got them";
  }
  return "";
}

std::string AwayWords(const config::SourceConfig& source, const config::SinkConfig& sink) {
  if (Skips(sink))
    return "events wait up to max_behind, then this sink skips the oldest (counted as behind); "
           "nobody else is held up";
  return "events wait in the queue and are tried again" + LimitWords(sink) + "; " +
         FullWords(source.queue.when_full);
}

std::string LostWords(const config::SourceConfig& source, const config::SinkConfig& sink) {
  std::string out = OnDisk(source)
                        ? "nothing that is stored, at a stop, a crash or a power cut"
                        : "what is in memory when the process or the host dies; nothing at a "
                          "planned stop that drains within shutdown_timeout";
  const bool drops = source.queue.when_full != config::WhenFull::kBlock;
  if (drops && Skips(sink)) return out + "; but for what when_full and when_behind drop";
  if (drops) return out + "; but for what when_full drops";
  if (Skips(sink)) return out + "; but for what when_behind drops";
  return out;
}

std::string LettersWords(const config::DeadLettersConfig& letters) {
  return "dead letters: at most " + std::to_string(letters.max_events) + " events or " +
         Bytes(letters.max_bytes) +
         (letters.when_full == config::LettersFull::kHold
              ? "; when full the route that has one more stops"
              : "; when full the oldest are dropped and counted");
}

const SourcePart& SourceOf(const Prepared& prepared, const std::string& name) {
  return *std::find_if(prepared.sources.begin(), prepared.sources.end(),
                       [&](const SourcePart& s) { return s.config->name == name; });
}

// An expression in one line.
std::string Shown(const std::string& expression) {
  constexpr size_t kMost = 120;
  std::string out;
  for (const char c : expression) {
    const bool space = static_cast<uint8_t>(c) <= ' ' || c == 0x7f;
    if (!space) out += c;
    if (space && !out.empty() && out.back() != ' ') out += ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  if (out.size() <= kMost) return out;
  return out.substr(0, Utf8CutAt(out, kMost)) + "...";
}

std::string FilterWords(const config::FilterConfig& filter, const std::string& whose) {
  std::string out = "only events for which " + Shown(filter.expression) + " (" + whose +
                    "); the others are dropped and counted (filtered); where it fails, the event ";
  switch (filter.on_error) {
    case config::OnFilterError::kPass:
      return out + "passes";
    case config::OnFilterError::kDrop:
      return out + "is dropped and counted (filter_error)";
    case config::OnFilterError::kDeadLetter:
      return out + "goes to the dead letters (filter_error)";
  }
  return out;
}

void DescribePreset(const config::SinkConfig& sink, std::string* out) {
  if (sink.preset.empty()) return;
  *out += "    preset " + sink.preset + ", beside what the table says itself:\n";
  for (const std::string& line : sink.preset_gives) *out += "      " + line + "\n";
}

void DescribeRoute(const SourcePart& source, const SinkPart& sink, std::string* out) {
  *out += "  " + source.config->name + " -> " + sink.config->name + "\n";
  const auto line = [out](const char* label, const std::string& text) {
    *out += std::string("    ") + label + text + "\n";
  };
  if (!source.config->filter.expression.empty())
    line("filter:   ",
         FilterWords(source.config->filter, "filter of source " + source.config->name));
  if (!sink.config->filter.expression.empty())
    line("filter:   ", FilterWords(sink.config->filter, "filter of sink " + sink.config->name));
  line("lost:     ", LostWords(*source.config, *sink.config));
  line("repeated: ", RepeatWords(sink));
  line("order:    ", OrderWords(sink));
  line("bus away: ", AwayWords(*source.config, *sink.config));
}

}  // namespace

std::string DescribeAdmin(const config::GatewayConfig& config) {
  if (config.admin_listen.host.empty()) return "";
  return "admin\n    http://" + config.admin_listen.ToString() +
         " serves /metrics, /healthz, /readyz and /status, to read only, to whoever reaches it\n";
}

std::string DescribeRoutes(const Prepared& prepared) {
  std::string out;
  for (const SourcePart& source : prepared.sources) {
    out += "source " + source.config->name + " (" + source.config->plugin + ")\n    " +
           QueueWords(*source.config) + "\n    " +
           StartWords(source, prepared.config.gateway.commit_bytes) + "\n    " +
           LettersWords(source.config->dead_letters) + "\n";
  }
  for (const SinkPart& sink : prepared.sinks) {
    out += "sink " + sink.config->name + " (" + sink.config->plugin + ", format " +
           std::string(event::FormatName(sink.config->format)) + ")\n";
    DescribePreset(*sink.config, &out);
    for (const std::string& name : sink.config->from)
      DescribeRoute(SourceOf(prepared, name), sink, &out);
  }
  return out;
}

}  // namespace penstock::gateway
