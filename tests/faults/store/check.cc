// store-check IMAGE MARKS BYTES: opens the real store after a power cut. 0: for each sink, all that
// was acknowledged is behind the cursor or was delivered, intact, under its own offset; no cursor
// passed what was not delivered; and the store's own check finds nothing.
#include "store/check.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "faults/store/marks.h"

namespace penstock_faults {
namespace {

using penstock::queue::DiskQueue;
using penstock::store::Lock;
using penstock::store::Store;

struct Said {
  bool made = false;
  std::map<std::string, uint64_t> emitted, acknowledged;              // up to
  std::map<std::pair<std::string, std::string>, uint64_t> delivered;  // sink, queue
};

Said ReadMarks(const char* path, size_t bytes) {
  std::ifstream in(path, std::ios::binary);
  std::string text(bytes, '\0');
  in.read(text.data(), static_cast<std::streamsize>(bytes));
  std::istringstream lines(text);
  Said said;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string what, queue, sink;
    uint64_t number = 0;
    words >> what;
    said.made = true;
    if (what == "D") words >> sink;
    words >> queue >> number;
    if (what == "E") words >> number;
    uint64_t& highest = what == "E"   ? said.emitted[queue]
                        : what == "A" ? said.acknowledged[queue]
                                      : said.delivered[{sink, queue}];
    highest = std::max(highest, number);
  }
  return said;
}

[[noreturn]] void Bad(const std::string& where, const std::string& what) {
  throw std::runtime_error(where + ": " + what);
}

// What the sink will get; the number behind the last event.
uint64_t CheckEvents(DiskQueue& queue, const penstock::queue::Reader& reader,
                     const std::string& name, const std::string& where) {
  uint64_t offset = reader.settled;
  for (;;) {
    const auto read = queue.Read(reader.id, offset, 1000, 1 << 20);
    if (read.begin != offset) Bad(where, "events from " + std::to_string(offset) + " are missing");
    if (read.end == offset) return offset + 1;
    for (const auto& run : read.runs) {
      for (uint64_t at = run.begin; at < run.end; ++at) {
        const auto event = ParseNumbered(run.block->at(at).payload);
        if (!event || event->source != name)
          Bad(where, "the event at " + std::to_string(at) + " is altered");
        if (event->number != at + 1)
          Bad(where,
              "at offset " + std::to_string(at) + " is event " + std::to_string(event->number));
      }
    }
    offset = read.end;
  }
}

void CheckQueue(DiskQueue& queue, const std::string& name, const Said& said) {
  const auto number = [](const auto& map, const auto& key) {
    const auto found = map.find(key);
    return found == map.end() ? 0 : found->second;
  };
  const uint64_t acknowledged = number(said.acknowledged, name);
  for (const char* sink : kSinks) {
    const std::string where = name + " -> " + sink;
    const auto reader = queue.AddReader(sink, penstock::queue::Start::kOldest,
                                        std::make_shared<penstock::Signal>());
    const uint64_t delivered = number(said.delivered, std::pair(std::string(sink), name));
    if (reader.settled > delivered)
      Bad(where, "the cursor is at " + std::to_string(reader.settled) + ", but delivered is only " +
                     std::to_string(delivered));
    if (reader.counters.delivered != reader.settled)
      Bad(where, "the ledger says " + std::to_string(reader.counters.delivered) +
                     " delivered, the cursor " + std::to_string(reader.settled));
    const uint64_t end = CheckEvents(queue, reader, name, where);
    if (end <= acknowledged)
      Bad(where, "stored are the events up to " + std::to_string(end - 1) +
                     ", acknowledged up to " + std::to_string(acknowledged));
    if (end - 1 > number(said.emitted, name)) Bad(where, "there are events that nobody emitted");
  }
}

void CheckStore(const std::string& directory) {
  const auto report = Must(penstock::store::Verify(directory, penstock::store::Depth::kFull));
  if (!report.sound()) Bad("verify", penstock::store::ToJson(report));
}

void Check(const std::string& image, const Said& said) {
  const std::string directory = image + "/store";
  struct stat found {};
  if (stat((directory + "/data.mdb").c_str(), &found) != 0) {
    if (said.made) Bad("store", "is not there");
    return;
  }
  CheckStore(directory);
  const penstock::SystemClock clock;
  Store::Options options;
  options.thread = false;
  const auto store = Must(Store::Open(Must(Lock::Take(directory)), options, &clock));
  penstock::queue::MemoryBudget budget(64 << 20);
  for (const char* name : kQueues) {
    const auto queue = Must(DiskQueue::Open(store.get(), name, kLimits, &budget, 0, &clock, {}));
    CheckQueue(*queue, name, said);
  }
}

}  // namespace
}  // namespace penstock_faults

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("store-check IMAGE MARKS BYTES\n", stderr);
    return 2;
  }
  try {
    const size_t bytes = std::strtoull(argv[3], nullptr, 10);
    penstock_faults::Check(argv[1], penstock_faults::ReadMarks(argv[2], bytes));
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
