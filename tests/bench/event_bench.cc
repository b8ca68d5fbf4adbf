// What encoding costs an event, by format and payload size; and taking events into blocks; and
// filtering them.
#include <benchmark/benchmark.h>

#include <string>

#include "event/base64.h"
#include "event/encode.h"
#include "event/json.h"
#include "filter/filter.h"

namespace penstock::event {
namespace {

SourceInfo Source() { return {"orders", "orders", "created", "generic", {{"region", "eu-1"}}}; }

std::string JsonPayload(size_t size) {
  std::string out = R"({"id": 12345, "name": "an order", "items": [)";
  while (out.size() + 60 < size) {
    out += R"({"sku":"A-1001","amount":3,"price":12.50},)";
  }
  out += "\"" + std::string(size > out.size() + 4 ? size - out.size() - 4 : 0, 'x') + "\"]}";
  return out;
}

void Encode(benchmark::State& state, Format format, bool json) {
  const SourceInfo source = Source();
  EncoderSpec spec;
  spec.format = format;
  spec.sink_name = "bus";
  spec.templates.push_back(Template::Parse("default.{source}.{subject}").value());
  const Encoder encoder(&source, std::move(spec));
  const size_t size = static_cast<size_t>(state.range(0));
  const std::string payload = json ? JsonPayload(size) : std::string(size, 'x');
  Event event;
  event.payload = payload;
  event.content_type = json ? "application/json" : "";
  event.time_ns = 1'700'000'000'123'456'789;
  constexpr int kBatch = 64;
  for (auto _ : state) {
    Arena arena;
    for (uint64_t offset = 0; offset < kBatch; ++offset) {
      penstock_message message;
      benchmark::DoNotOptimize(encoder.Encode(event, 1, offset, arena, &message));
      benchmark::DoNotOptimize(message);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
  state.SetBytesProcessed(state.iterations() * kBatch * static_cast<int64_t>(payload.size()));
}
BENCHMARK_CAPTURE(Encode, raw, Format::kRaw, false)->Arg(256);
BENCHMARK_CAPTURE(Encode, cloudevents_binary, Format::kCloudEventsBinary, false)->Arg(256);
BENCHMARK_CAPTURE(Encode, cloudevents_json, Format::kCloudEvents, true)->Arg(256)->Arg(16384);
BENCHMARK_CAPTURE(Encode, cloudevents_bytes, Format::kCloudEvents, false)->Arg(256)->Arg(16384);
BENCHMARK_CAPTURE(Encode, argo_json, Format::kArgo, true)->Arg(256)->Arg(16384);
BENCHMARK_CAPTURE(Encode, argo_bytes, Format::kArgo, false)->Arg(256)->Arg(16384);

void Scan(benchmark::State& state) {
  const std::string payload = JsonPayload(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(ScanJson(payload));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(payload.size()));
}
BENCHMARK(Scan)->Arg(256)->Arg(16384);

void Evaluate(benchmark::State& state, const char* expression, size_t size) {
  const SourceInfo source = Source();
  const auto filter = filter::Filter::Compile(expression).value();
  const std::string payload = R"({"a":{"b":5},"rest":)" + JsonPayload(size - 20) + "}";
  Event event;
  event.payload = payload;
  event.content_type = "application/json";
  event.time_ns = 1'700'000'000'123'456'789;
  for (auto _ : state) benchmark::DoNotOptimize(filter->Evaluate({event, source, 1, 2}));
}
BENCHMARK_CAPTURE(Evaluate, subject, "subject == 'created'", 256);
BENCHMARK_CAPTURE(Evaluate, pattern, "matches(subject, '^cre.*d$')", 256);
BENCHMARK_CAPTURE(Evaluate, body_256, "body.a.b == 5", 256);
BENCHMARK_CAPTURE(Evaluate, body_16384, "body.a.b == 5", 16384);

void Base64(benchmark::State& state) {
  const std::string bytes(static_cast<size_t>(state.range(0)), 'x');
  std::string out(Base64Size(bytes.size()), '\0');
  for (auto _ : state) {
    EncodeBase64(bytes, out.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(Base64)->Arg(256)->Arg(16384);

struct Owner : penstock_owner {
  Owner() {
    release = [](penstock_owner*, uint32_t) noexcept {};
  }
};

void Take(benchmark::State& state) {
  Owner owner;
  std::vector<penstock_event> events(static_cast<size_t>(state.range(0)));
  for (penstock_event& event : events) {
    event = {};
    event.payload = {"payload", 7};
    event.owner = &owner;
  }
  const penstock_event_batch batch = {sizeof(batch), sizeof(penstock_event), events.data(),
                                      events.size()};
  for (auto _ : state) {
    benchmark::DoNotOptimize(Block::Take(batch, 0, events.size(), 0, 1));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Take)->Arg(1)->Arg(64);

}  // namespace
}  // namespace penstock::event
