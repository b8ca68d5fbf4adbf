// store-writer DIRECTORY LIVES EVENTS [FLAW]: two disk queues of the real store under load, each
// with two readers, closed and opened again. Flaws, which must be found: ack-early (before the
// commit), cursor-early (the cursor is in the store before the receipt).
#include <dlfcn.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "faults/store/marks.h"

namespace penstock_faults {
namespace {

using penstock::queue::DiskQueue;
using penstock::store::Lock;
using penstock::store::Store;

void Mark(const std::string& lines) {
  using Function = void (*)(const void*, size_t);
  static const auto mark = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, "penstock_record_mark"));
  if (mark != nullptr) mark(lines.data(), lines.size());
}

std::string Line(const std::string& what, uint64_t number) {
  return what + " " + std::to_string(number) + "\n";
}

struct Life {
  std::string flaw;
  uint64_t events;  // to append
  uint64_t seed;
  Store* store;
};

// One queue with its source and its sinks.
class Route {
 public:
  Route(const Life& life, std::string name, penstock::queue::MemoryBudget* budget,
        const penstock::Clock* clock)
      : life_(life), name_(std::move(name)), events_(EventsOf(name_)) {
    queue_ = Must(DiskQueue::Open(life.store, name_, kLimits, budget, 0, clock,
                                  [this](const uint64_t* tokens, size_t n) {
                                    if (life_.flaw != "ack-early") Acknowledge(tokens, n);
                                  }));
  }

  void Start() {
    for (const char* sink : kSinks) {
      const auto wake = std::make_shared<penstock::Signal>();
      const auto reader = queue_->AddReader(sink, penstock::queue::Start::kOldest, wake);
      threads_.emplace_back([this, sink, wake, reader] { Drain(sink, wake, reader); });
    }
    threads_.emplace_back([this] { Append(); });
  }
  void Join() {
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void Acknowledge(const uint64_t* tokens, size_t n) const {
    std::string lines;
    for (size_t i = 0; i < n; ++i) lines += Line("A " + name_, tokens[i]);
    Mark(lines);
  }

  void Append() {
    Rng rng(life_.seed, 1);
    uint64_t next = queue_->end() + 1;
    const uint64_t last = next + life_.events - 1;
    while (next <= last) {
      const uint64_t n = std::min(1 + rng.Below(30), last - next + 1);
      Mark("E " + name_ + " " + std::to_string(next) + Line("", next + n - 1));
      std::vector<std::string> payloads;
      std::vector<penstock_event> events(n);
      std::vector<uint64_t> tokens;
      for (uint64_t i = 0; i < n; ++i, ++next) {
        payloads.push_back(events_.Payload(next));
        tokens.push_back(next);
        events[i].ack_token = next;
      }
      for (uint64_t i = 0; i < n; ++i) events[i].payload = {payloads[i].data(), payloads[i].size()};
      if (life_.flaw == "ack-early") Acknowledge(tokens.data(), tokens.size());
      const penstock_event_batch batch{sizeof batch, sizeof(penstock_event), events.data(), n};
      size_t accepted = 0;
      if (queue_->Append(batch, &accepted, penstock::Nanoseconds(-1)) != PENSTOCK_OK)
        throw std::runtime_error("the queue takes nothing");
      if (rng.Chance(10)) std::this_thread::sleep_for(std::chrono::milliseconds(rng.Below(8)));
    }
    last_ = last;
  }

  // Until all is delivered; lake gives up before, and leaves the rest to the next life.
  void Drain(const std::string& sink, const std::shared_ptr<penstock::Signal>& wake,
             const penstock::queue::Reader& reader) {
    Rng rng(life_.seed, sink.size());
    penstock::queue::Progress progress{reader.settled, reader.settled, reader.counters};
    while (last_ == 0 || progress.settled + (sink == "lake" ? 100 : 0) < last_) {
      const auto ticket = wake->Take();
      const auto read = queue_->Read(reader.id, progress.settled, 1 + rng.Below(60), 100000);
      if (read.runs.empty()) {
        wake->WaitPast(ticket, penstock::SystemClock().Now() + std::chrono::milliseconds(20));
        continue;
      }
      std::string lines;
      for (uint64_t offset = read.begin; offset < read.end; ++offset)
        lines += Line("D " + sink + " " + name_, offset + 1);
      if (life_.flaw != "cursor-early") Mark(lines);
      progress.counters.delivered += read.end - read.begin;
      progress.hold = progress.settled = read.end;
      queue_->Release(reader.id, progress);
      if (life_.flaw != "cursor-early") continue;
      life_.store->Flush(penstock::TimePoint::max());
      Mark(lines);
    }
  }

  const Life life_;
  const std::string name_;
  const Numbered events_;
  std::atomic<uint64_t> last_{0};
  std::shared_ptr<DiskQueue> queue_;
  std::vector<std::thread> threads_;
};

void Live(const std::string& directory, Life life) {
  const penstock::SystemClock clock;
  penstock::queue::MemoryBudget budget(64 << 20);
  const auto store = Must(Store::Open(Must(Lock::Take(directory + "/store")), {}, &clock));
  life.store = store.get();
  std::vector<std::unique_ptr<Route>> lines;
  for (const char* queue : kQueues)
    lines.push_back(std::make_unique<Route>(life, queue, &budget, &clock));
  Mark("N\n");
  for (const auto& line : lines) line->Start();
  for (const auto& line : lines) line->Join();
}

}  // namespace
}  // namespace penstock_faults

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fputs("store-writer DIRECTORY LIVES EVENTS [FLAW]\n", stderr);
    return 2;
  }
  try {
    const uint64_t events = std::strtoull(argv[3], nullptr, 10);
    for (int life = 0; life < std::atoi(argv[2]); ++life)
      penstock_faults::Live(
          argv[1], {argc > 4 ? argv[4] : "", events, static_cast<uint64_t>(life + 1), nullptr});
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "store-writer: %s\n", e.what());
    return 1;
  }
}
