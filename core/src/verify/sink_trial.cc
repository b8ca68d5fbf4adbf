// A sink at work: what it accepts, and a receipt for each.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "platform/abi.h"
#include "verify/host.h"
#include "verify/values.h"

namespace penstock::verify {
namespace {

constexpr size_t kBatches = 20, kPerBatch = 16;
constexpr size_t kSizes[] = {2, 100, 1000, 64 * 1024};
constexpr size_t kGrowth =
    64;  // by which the messages of some batches are longer, as of a later host
constexpr uint64_t kFirstToken = 1000;
constexpr milliseconds kPause{20}, kSettles{500};

constexpr Callee kSubmit{"submit()", kSoon,
                         "it must not wait for its peer; keep what there is room for and answer "
                         "AGAIN for the rest"};
constexpr Callee kFlush{"flush()", kSoon, "it asks and does not wait"};
constexpr Callee kCancel{"cancel()", kSoon, "it asks and does not wait"};

// Memory that can be taken away: who touches it then crashes.
class Region {
 public:
  explicit Region(size_t size) : size_(size) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    at_ = static_cast<char*>(at);
  }
  char* at() const { return at_; }
  void TakeAway() { mprotect(at_, size_, PROT_NONE); }

 private:
  char* at_;
  const size_t size_;
};

// kPerBatch messages; their bytes lie in one region, until all of them have their receipts.
struct Batch {
  Batch(const penstock_plugin& plugin, uint64_t first_token, size_t stride);
  const penstock_message_batch* abi() const { return &abi_; }

  static constexpr char kText[] = "verify";
  Region bytes, messages;
  size_t left = kPerBatch;  // messages without a receipt
 private:
  penstock_message_batch abi_{};
};

size_t SizeOf(size_t i) { return kSizes[i % std::size(kSizes)]; }

Batch::Batch(const penstock_plugin& plugin, uint64_t first_token, size_t stride)
    : bytes(kPerBatch * (64 * 1024 + 64) + 64 * plugin.n_options), messages(kPerBatch * stride) {
  char* at = bytes.at();
  const auto text = [&at](std::string_view content, size_t filler = 0) {
    std::memcpy(at, content.data(), content.size());
    std::memset(at + content.size(), ' ', filler);  // JSON stays JSON
    const penstock_str out{at, content.size() + filler};
    at += out.len;
    return out;
  };
  std::vector<penstock_str> rendered;
  for (size_t i = 0; i < plugin.n_options; ++i) {
    const penstock_option& option = plugin.options[i];
    if (option.type != PENSTOCK_OPT_TEMPLATE) continue;
    const bool empty = option.default_value == nullptr || option.default_value[0] == '\0';
    const bool required = (option.flags & PENSTOCK_OPT_REQUIRED) != 0;
    rendered.push_back(empty && !required ? penstock_str{nullptr, 0} : text(kText));
  }
  at += -reinterpret_cast<uintptr_t>(at) % alignof(penstock_str);
  auto* templates = reinterpret_cast<penstock_str*>(at);
  std::ranges::copy(rendered, templates);
  at += rendered.size() * sizeof(penstock_str);
  for (size_t i = 0; i < kPerBatch; ++i) {
    penstock_message message{};
    message.token = first_token + i;
    message.payload = text("{}", SizeOf(i) - 2);
    message.content_type = text("application/json");
    message.templates = templates;
    message.id = text(std::to_string(message.token));
    message.attempt = 1;
    std::memcpy(messages.at() + i * stride, &message, sizeof message);
  }
  abi_.struct_size = sizeof abi_;
  abi_.stride = static_cast<uint32_t>(stride);
  abi_.messages = reinterpret_cast<const penstock_message*>(messages.at());
  abi_.count = kPerBatch;
  abi_.lane = 1;
}

class SinkHost final : public Host {
 public:
  explicit SinkHost(Trial* trial, const penstock_plugin* plugin) : Host(trial), plugin_(plugin) {
    table().complete = Complete;
  }

  // Hands the sink one batch more.
  void Submit(penstock_instance* instance);
  size_t offered() const { return slots_.size(); }
  size_t accepted();
  // Accepted, and without a receipt.
  std::vector<uint64_t> InFlight();

 private:
  enum class Taken { kUnknown, kYes, kNo };
  struct Slot {
    Batch* batch;
    Taken taken = Taken::kUnknown;
    size_t receipts = 0;
  };
  static void Complete(const penstock_host*, const penstock_receipt*, size_t n) noexcept;
  void Settle(const penstock_receipt& receipt);
  void Judge(Slot* slot);

  const penstock_plugin* const plugin_;
  std::mutex mutex_;
  std::vector<Slot> slots_;  // by token
  std::vector<std::unique_ptr<Batch>> batches_;
};

void SinkHost::Submit(penstock_instance* instance) {
  const size_t first = slots_.size();
  const size_t stride = sizeof(penstock_message) + (batches_.size() % 2 == 0 ? 0 : kGrowth);
  Batch* batch = nullptr;
  {
    std::lock_guard lock(mutex_);
    batch =
        batches_.emplace_back(std::make_unique<Batch>(*plugin_, kFirstToken + first, stride)).get();
    slots_.resize(first + kPerBatch, Slot{batch});
  }
  size_t accepted = 0;
  const penstock_status status =
      trial().Call(kSubmit, plugin_->submit, instance, batch->abi(), &accepted);
  batch->messages.TakeAway();
  if (accepted > kPerBatch || (status == PENSTOCK_OK) != (accepted == kPerBatch)) {
    trial().Break("submit() answered " + std::to_string(status) + " and accepted " +
                  std::to_string(accepted) + " of " + std::to_string(kPerBatch) +
                  " messages; OK is for all of them, AGAIN for fewer");
  }
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < kPerBatch; ++i) {
    Slot& slot = slots_[first + i];
    slot.taken = i < accepted ? Taken::kYes : Taken::kNo;
    if (slot.taken == Taken::kNo) --batch->left;
    Judge(&slot);
  }
  if (batch->left == 0) batch->bytes.TakeAway();
}

void SinkHost::Complete(const penstock_host* host, const penstock_receipt* receipts,
                        size_t n) noexcept {
  auto* self = static_cast<SinkHost*>(Of(host));
  if (!self->Enter("complete")) return;
  for (size_t i = 0; i < n; ++i)
    self->Settle(abi::Read(receipts, self->plugin_->receipt_stride, i));
}

void SinkHost::Settle(const penstock_receipt& receipt) {
  Sound(receipt.reason, "the reason of a receipt");
  if (receipt.outcome < PENSTOCK_DELIVERED || receipt.outcome > PENSTOCK_REJECTED) {
    trial().Fault("receipts", "a receipt has the outcome " + std::to_string(receipt.outcome) +
                                  ", which there is not; use PENSTOCK_DELIVERED and its like");
  }
  std::lock_guard lock(mutex_);
  if (receipt.token < kFirstToken || receipt.token - kFirstToken >= slots_.size()) {
    trial().Fault("receipts", "a receipt has the token " + std::to_string(receipt.token) +
                                  ", which no message had; copy it from the message");
    return;
  }
  Slot& slot = slots_[receipt.token - kFirstToken];
  ++slot.receipts;
  Judge(&slot);
  if (slot.receipts == 1 && slot.taken != Taken::kNo && --slot.batch->left == 0)
    slot.batch->bytes.TakeAway();
}

void SinkHost::Judge(Slot* slot) {
  if (slot->receipts > 1) {
    trial().Fault("receipts",
                  "a message got two receipts; the second would settle another event's place, so "
                  "forget a message when its receipt is given");
  }
  if (slot->receipts > 0 && slot->taken == Taken::kNo) {
    trial().Fault("receipts",
                  "a message that submit() did not accept got a receipt; the host still has it and "
                  "will submit it again");
  }
}

size_t SinkHost::accepted() {
  std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::ranges::count(slots_, Taken::kYes, &Slot::taken));
}

std::vector<uint64_t> SinkHost::InFlight() {
  std::lock_guard lock(mutex_);
  std::vector<uint64_t> out;
  for (size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].taken == Taken::kYes && slots_[i].receipts == 0) out.push_back(kFirstToken + i);
  return out;
}

}  // namespace

void TrySink(const Subject& subject) {
  subject.trial.Begin("submit");
  const config::Options options = GoodOptions(subject);
  auto* host = new SinkHost(&subject.trial, &subject.plugin);
  auto* instance = new Instance(subject, host);
  instance->Create(options);
  instance->Start();
  for (size_t i = 0; i < kBatches; ++i) {
    host->Submit(instance->get());
    Await(kPause, [&] { return host->InFlight().empty() && host->accepted() > 0; });
  }
  subject.trial.Begin("receipts");
  if (subject.plugin.flush != nullptr)
    subject.trial.Call(kFlush, subject.plugin.flush, instance->get());
  Await(kSettles, [&] { return host->InFlight().empty(); });
  host->Submit(instance->get());
  const std::vector<uint64_t> left = host->InFlight();
  if (subject.plugin.cancel != nullptr && !left.empty())
    subject.trial.Call(kCancel, subject.plugin.cancel, instance->get(), left.data(),
                       (left.size() + 1) / 2);
  host->Submit(instance->get());
  if (host->accepted() == 0) {
    for (const char* check : {"receipts", "stop-receipts"})
      subject.trial.Say(check, Verdict::kSkip,
                        "it accepted none of " + std::to_string(host->offered()) +
                            " messages, as nobody answers where it connects to; give it a peer, "
                            "--option KEY=VALUE or --config FILE");
  }
  subject.trial.Begin("stop-receipts");
  instance->Stop();
  if (!Await(kLater, [&] { return host->InFlight().empty(); })) {
    subject.trial.Fault(std::to_string(host->InFlight().size()) + " of " +
                        std::to_string(host->accepted()) + " accepted messages had no receipt " +
                        std::to_string(kLater.count() / 1000) +
                        " s after stop(); give each one RETRY if it was certainly not taken, else "
                        "UNKNOWN");
  }
  subject.trial.Begin("quiet");
  instance->Destroy();
  AwaitLateCalls();
}

}  // namespace penstock::verify
