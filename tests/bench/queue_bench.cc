// What the host itself costs an event: from Append to settled, without a source, a bus or another
// thread.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "delivery/dispatcher.h"
#include "queue/memory_queue.h"

namespace penstock {
namespace {

// Takes everything and gives every receipt inside Submit.
class NullPort : public delivery::SinkPort {
 public:
  penstock_status Submit(const penstock_message_batch& batch, size_t* accepted) override {
    receipts_.assign(batch.count, penstock_receipt{});
    for (size_t i = 0; i < batch.count; ++i) receipts_[i].token = batch.messages[i].token;
    dispatcher->Complete(receipts_.data(), receipts_.size());
    *accepted = batch.count;
    return PENSTOCK_OK;
  }
  void Flush() override {}
  void Cancel(const std::vector<uint64_t>&) override {}

  delivery::Dispatcher* dispatcher = nullptr;

 private:
  std::vector<penstock_receipt> receipts_;
};

// A source that lends its memory, a queue for each sink's cursor, and one sink.
class Route {
 public:
  explicit Route(size_t queues) {
    const auto signal = std::make_shared<Signal>();
    dispatcher_ = std::make_unique<delivery::Dispatcher>(
        "bus", &port_, delivery::WindowLimits{},
        budget_.MakeShare(4 << 20, signal, queue::MemoryBudget::First::kAlways), &clock_, signal,
        1);
    port_.dispatcher = dispatcher_.get();
    source_ = {"orders", "orders", "created", "generic", {}};
    for (size_t i = 0; i < queues; ++i) {
      queues_.push_back(std::make_shared<queue::MemoryQueue>(i, queue::Limits{}, &budget_, 1 << 20,
                                                             &clock_, nullptr));
      delivery::CursorSpec cursor;
      cursor.queue = queues_.back();
      cursor.source = &source_;
      cursor.encoder = {event::Format::kRaw, "bus", {}, {}};
      dispatcher_->AddCursor(std::move(cursor));
    }
    dispatcher_->SetState(PENSTOCK_STATE_READY, "");
  }

  void Append(size_t queue, const std::vector<penstock_event>& events) {
    const penstock_event_batch batch{sizeof batch, sizeof(penstock_event), events.data(),
                                     events.size()};
    size_t accepted = 0;
    if (queues_[queue]->Append(batch, &accepted, Nanoseconds(0)) != PENSTOCK_OK) std::abort();
  }
  void Deliver() {
    while (!dispatcher_->Drained()) dispatcher_->Step();
  }

 private:
  const SystemClock clock_;
  queue::MemoryBudget budget_{256 << 20};
  NullPort port_;
  event::SourceInfo source_;
  std::vector<std::shared_ptr<queue::MemoryQueue>> queues_;
  std::unique_ptr<delivery::Dispatcher> dispatcher_;
};

// range(0): events in a batch; range(1): cursors of the sink, of which one gets all events.
void AppendToSettled(benchmark::State& state) {
  Route route(static_cast<size_t>(state.range(1)));
  penstock_owner owner{[](penstock_owner*, uint32_t) noexcept {}};
  const std::string payload(256, 'x');
  penstock_event event{};
  event.payload = {payload.data(), payload.size()};
  event.owner = &owner;
  event.time_ns = 1;
  const std::vector<penstock_event> events(static_cast<size_t>(state.range(0)), event);
  for (auto _ : state) {
    route.Append(0, events);
    route.Deliver();
  }
  const auto n = static_cast<double>(state.iterations()) * static_cast<double>(events.size());
  state.counters["per_event"] =
      benchmark::Counter(n, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(AppendToSettled)
    ->Args({1, 1})
    ->Args({64, 1})
    ->Args({256, 1})
    ->Args({4096, 1})
    ->Args({1, 200})
    ->Args({256, 200});

}  // namespace
}  // namespace penstock
