#include "gateway/status_line.h"

#include <algorithm>
#include <cmath>

namespace penstock::gateway {
namespace {

constexpr Nanoseconds kBetween = std::chrono::seconds(5);
constexpr size_t kTroubles = 3;     // that are told by name
constexpr size_t kReasonMost = 80;  // bytes of what an instance says of itself

// 1234567 as "1,234,567".
std::string Grouped(uint64_t n) {
  std::string out = std::to_string(n);
  for (size_t i = out.size(); i > 3;) out.insert(i -= 3, 1, ',');
  return out;
}

std::string Count(size_t n, const std::string& word) {
  return std::to_string(n) + ' ' + word + (n == 1 ? "" : "s");
}

std::string Cut(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

bool IsTrouble(const InstanceStatus& instance) {
  return instance.state == "connecting" || instance.state == "failed";
}

std::string Trouble(const char* kind, const InstanceStatus& instance, int64_t now_ns) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
      Nanoseconds(std::max<int64_t>(now_ns - instance.since_ns, 0)));
  std::string out = std::string(kind) + ' ' + instance.name + ": " + instance.state + " for " +
                    std::to_string(seconds.count()) + " s";
  if (!instance.reason.empty() && instance.reason != instance.state)
    out += " (" + Cut(instance.reason, kReasonMost) + ")";
  return out;
}

std::vector<std::string> Troubles(const GatewayStatus& status) {
  std::vector<std::string> out;
  if (status.store && status.store->state != "good") out.push_back("store: " + status.store->state);
  for (const SinkStatus& sink : status.sinks) {
    if (IsTrouble(sink)) out.push_back(Trouble("sink", sink, status.now_ns));
  }
  for (const SourceStatus& source : status.sources) {
    if (IsTrouble(source)) out.push_back(Trouble("source", source, status.now_ns));
  }
  return out;
}

}  // namespace

std::string StatusLine(const GatewayStatus& status) {
  std::string out = status.state + ": " + Count(status.sources.size(), "source") + ", " +
                    Count(status.sinks.size(), "sink");
  if (status.rate_over) {
    double delivered = 0;
    for (const RouteStatus& route : status.routes) delivered += route.rate.value_or(0);
    out += "; " + Grouped(static_cast<uint64_t>(std::llround(delivered))) + " delivered/s";
  }
  if (status.state == "stopping") {
    uint64_t pending = 0;
    for (const RouteStatus& route : status.routes) pending += route.ledger.pending;
    out += "; " + Grouped(pending) + " pending";
  }
  const std::vector<std::string> troubles = Troubles(status);
  for (size_t i = 0; i < std::min(troubles.size(), kTroubles); ++i) out += "; " + troubles[i];
  if (troubles.size() > kTroubles)
    out += "; " + std::to_string(troubles.size() - kTroubles) + " more";
  return out;
}

void StatusTeller::Tick(TimePoint now, const std::function<std::string()>& line) {
  if (now < due_) return;
  due_ = now + kBetween;
  std::string text = line();
  if (text == last_) return;
  last_ = std::move(text);
  tell_(last_);
}

void StatusTeller::Told(TimePoint now, std::string line) {
  due_ = now + kBetween;
  last_ = std::move(line);
}

}  // namespace penstock::gateway
