// A host for one sink plugin under test: gives it configuration, secrets and messages, and checks
// what it gives back. Each accepted message must get exactly one receipt; its memory is freed at
// that moment, so that a sanitizer sees a late read.
//
//   FakeSinkHost host("bus");
//   host.SetSecret("env:TOKEN", "s3cret");
//   FakeSink sink(host, LoadPlugin(PENSTOCK_SINK_FILE), {{"servers",
//   List{"nats://127.0.0.1:4222"}}}); sink.Start();
//   ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
//   const uint64_t token = sink.Submit({.payload = "hello", .templates = {"a.b", "id-1"}});
//   ASSERT_TRUE(host.WaitReceipts(1));
//   EXPECT_EQ(host.receipt(token).outcome, PENSTOCK_DELIVERED);
#pragma once

#include <gtest/gtest.h>
#include <penstock/plugin.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fakes/fake_config.h"
#include "fakes/fake_host.h"

namespace penstock::fakes {

// A message as a test writes it. The templates are the rendered TEMPLATE options, in the order of
// the option table.
struct FakeMessage {
  std::string payload = {};
  List templates = {};
  std::string id = {};
  std::string content_type = {};
  Map attributes = {};
  Map headers = {};
  uint32_t attempt = 1;
};

struct FakeReceipt {
  uint64_t token = 0;
  int32_t outcome = -1;
  uint32_t flags = 0;
  int32_t code = 0;
  std::string reason;
};

// The host's side of one instance. Declare it before the FakeSink that uses it.
class FakeSinkHost : public FakeHost {
 public:
  explicit FakeSinkHost(std::string instance = "sink") : FakeHost(std::move(instance)) {
    abi_.complete = [](const penstock_host* h, const penstock_receipt* r, size_t n) noexcept {
      Self(h).Complete(r, n);
    };
    abi_.ready = [](const penstock_host* h) noexcept { Self(h).Ready(); };
  }

  // Each of these waits until the condition holds; false after the timeout.
  bool WaitReceipts(size_t total, Timeout timeout = kTimeout) {
    return Wait([&] { return n_receipts_ >= total; }, timeout);
  }
  // For a part of what was submitted: receipts of the others may come first.
  bool WaitReceiptsOf(const std::vector<uint64_t>& tokens, Timeout timeout = kTimeout) {
    const auto has = [this](uint64_t token) { return receipts_.count(token) != 0; };
    return Wait([&] { return std::all_of(tokens.begin(), tokens.end(), has); }, timeout);
  }
  bool WaitSettled(Timeout timeout = kTimeout) {
    return Wait([&] { return pending_.empty(); }, timeout);
  }
  bool WaitReady(size_t calls, Timeout timeout = kTimeout) {
    return Wait([&] { return ready_calls_ >= calls; }, timeout);
  }

  FakeReceipt receipt(uint64_t token) const {
    std::lock_guard lock(mutex_);
    const auto found = receipts_.find(token);
    return found == receipts_.end() ? FakeReceipt{} : found->second;
  }
  std::vector<FakeReceipt> receipts() const {  // by token
    std::lock_guard lock(mutex_);
    std::vector<FakeReceipt> out;
    for (const auto& [token, receipt] : receipts_) out.push_back(receipt);
    return out;
  }
  // Forgets the receipts so far, for long runs; WaitReceipts counts from zero again.
  std::vector<FakeReceipt> TakeReceipts() {
    std::lock_guard lock(mutex_);
    std::vector<FakeReceipt> out;
    for (auto& [token, receipt] : receipts_) out.push_back(std::move(receipt));
    receipts_.clear();
    n_receipts_ = 0;
    return out;
  }
  size_t count(int32_t outcome) const {
    std::lock_guard lock(mutex_);
    size_t n = 0;
    for (const auto& [token, receipt] : receipts_) n += receipt.outcome == outcome ? 1 : 0;
    return n;
  }
  size_t pending() const {
    std::lock_guard lock(mutex_);
    return pending_.size();
  }
  size_t ready_calls() const {
    std::lock_guard lock(mutex_);
    return ready_calls_;
  }
  // Calls of complete(), to see that receipts come in batches.
  size_t complete_calls() const {
    std::lock_guard lock(mutex_);
    return complete_calls_;
  }

 private:
  friend class FakeSink;

  // One message's memory: freed at its receipt.
  struct Stored {
    explicit Stored(FakeMessage m) : source(std::move(m)) {
      for (const std::string& t : source.templates) templates.push_back(Str(t));
      for (const auto& [key, value] : source.attributes)
        attributes.push_back({Str(key), Str(value)});
      for (const auto& [key, value] : source.headers) headers.push_back({Str(key), Str(value)});
    }
    penstock_message Message(uint64_t token) const {
      penstock_message m{};
      m.token = token;
      m.payload = Str(source.payload);
      m.content_type = Str(source.content_type);
      m.templates = templates.data();
      m.attributes = attributes.data();
      m.headers = headers.data();
      m.n_attributes = static_cast<uint32_t>(attributes.size());
      m.n_headers = static_cast<uint32_t>(headers.size());
      m.id = Str(source.id);
      m.attempt = source.attempt;
      return m;
    }
    FakeMessage source;
    std::vector<penstock_str> templates;
    std::vector<penstock_kv> attributes, headers;
  };

  static FakeSinkHost& Self(const penstock_host* h) {
    return static_cast<FakeSinkHost&>(*static_cast<FakeHost*>(h->ctx));
  }

  void Complete(const penstock_receipt* receipts, size_t n) {
    std::vector<std::unique_ptr<Stored>> freed;
    std::lock_guard lock(mutex_);
    if (destroyed_) ADD_FAILURE() << "complete after destroy";
    ++complete_calls_;
    for (size_t i = 0; i < n; ++i) {
      const penstock_receipt& r = receipts[i];
      const auto found = pending_.find(r.token);
      if (found == pending_.end()) {
        ADD_FAILURE() << "receipt for token " << r.token << ", which is not in flight";
        continue;
      }
      if (r.outcome < PENSTOCK_DELIVERED || r.outcome > PENSTOCK_REJECTED)
        ADD_FAILURE() << "outcome " << r.outcome << " is none";
      if (r.outcome != PENSTOCK_DELIVERED && r.reason.len == 0)
        ADD_FAILURE() << "outcome " << r.outcome << " without a reason";
      receipts_[r.token] = {r.token, r.outcome, r.flags, r.code, std::string(View(r.reason))};
      freed.push_back(std::move(found->second));
      pending_.erase(found);
      ++n_receipts_;
    }
    changed_.notify_all();
  }

  void Ready() {
    std::lock_guard lock(mutex_);
    ++ready_calls_;
    changed_.notify_all();
  }

  // Makes tokens pending before the plugin sees them: a receipt may come inside submit.
  std::vector<uint64_t> Take(std::vector<FakeMessage> messages,
                             std::vector<penstock_message>* out) {
    std::vector<uint64_t> tokens;
    std::lock_guard lock(mutex_);
    for (FakeMessage& m : messages) {
      const uint64_t token = next_token_++;
      auto stored = std::make_unique<Stored>(std::move(m));
      out->push_back(stored->Message(token));
      pending_[token] = std::move(stored);
      tokens.push_back(token);
    }
    return tokens;
  }
  // Gives back what submit did not accept.
  std::vector<FakeMessage> Untake(const std::vector<uint64_t>& tokens, size_t from) {
    std::vector<FakeMessage> back;
    std::lock_guard lock(mutex_);
    for (size_t i = from; i < tokens.size(); ++i) {
      const auto found = pending_.find(tokens[i]);
      if (found == pending_.end()) {
        ADD_FAILURE() << "token " << tokens[i] << " was not accepted, and got a receipt";
        continue;
      }
      back.push_back(std::move(found->second->source));
      pending_.erase(found);
    }
    return back;
  }

  uint64_t next_token_ = 1;
  size_t n_receipts_ = 0, ready_calls_ = 0, complete_calls_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Stored>> pending_;
  std::map<uint64_t, FakeReceipt> receipts_;
};

// One instance. Created at once, destroyed with the object: stop, every receipt, destroy.
class FakeSink {
 public:
  FakeSink(FakeSinkHost& host, const penstock_plugin& plugin, const Values& values)
      : host_(host), plugin_(plugin) {
    const FakeConfig config(plugin, values);
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin.create(host.abi(), config.abi(), &instance_, &error) != PENSTOCK_OK)
      throw std::runtime_error(error.text);
  }
  ~FakeSink() { Destroy(); }
  FakeSink(const FakeSink&) = delete;
  FakeSink& operator=(const FakeSink&) = delete;

  void Start() {
    if (plugin_.start == nullptr) return;
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin_.start(instance_, &error) != PENSTOCK_OK) throw std::runtime_error(error.text);
  }

  // Offers the messages once. Returns the tokens of those accepted; the rest, in order, comes back
  // in *rest.
  std::vector<uint64_t> TrySubmit(std::vector<FakeMessage> messages, uint32_t lane = 0,
                                  uint32_t flags = 0, std::vector<FakeMessage>* rest = nullptr) {
    std::vector<penstock_message> abi;
    std::vector<uint64_t> tokens = host_.Take(std::move(messages), &abi);
    penstock_message_batch batch{};
    batch.struct_size = sizeof batch;
    batch.stride = sizeof(penstock_message);
    batch.messages = abi.data();
    batch.count = abi.size();
    batch.lane = lane;
    batch.flags = flags;
    size_t accepted = 0;
    const penstock_status status = plugin_.submit(instance_, &batch, &accepted);
    EXPECT_EQ(status, accepted == abi.size() ? PENSTOCK_OK : PENSTOCK_AGAIN);
    std::vector<FakeMessage> back = host_.Untake(tokens, accepted);
    if (rest != nullptr) *rest = std::move(back);
    tokens.resize(accepted);
    return tokens;
  }

  // Offers the messages until all are accepted, waiting for ready() after AGAIN.
  std::vector<uint64_t> Submit(std::vector<FakeMessage> messages, uint32_t lane = 0,
                               uint32_t flags = 0) {
    std::vector<uint64_t> all;
    while (!messages.empty()) {
      const size_t ready = host_.ready_calls();
      std::vector<FakeMessage> rest;
      for (const uint64_t token : TrySubmit(std::move(messages), lane, flags, &rest))
        all.push_back(token);
      if (!all.empty()) flags &= ~static_cast<uint32_t>(PENSTOCK_BATCH_RESUME);
      messages = std::move(rest);
      if (!messages.empty() && !host_.WaitReady(ready + 1)) {
        ADD_FAILURE() << "submit answered AGAIN and ready() never came";
        break;
      }
    }
    return all;
  }
  uint64_t Submit(FakeMessage message, uint32_t lane = 0, uint32_t flags = 0) {
    std::vector<FakeMessage> one;
    one.push_back(std::move(message));
    const std::vector<uint64_t> tokens = Submit(std::move(one), lane, flags);
    return tokens.empty() ? 0 : tokens[0];
  }

  void Cancel(const std::vector<uint64_t>& tokens) {
    if (plugin_.cancel != nullptr) plugin_.cancel(instance_, tokens.data(), tokens.size());
  }
  void Flush() {
    if (plugin_.flush != nullptr) plugin_.flush(instance_);
  }
  void Stop() { plugin_.stop(instance_); }

  // Stops, expects every receipt, destroys. Safe to call twice.
  void Destroy() {
    if (instance_ == nullptr) return;
    Stop();
    EXPECT_TRUE(host_.WaitSettled()) << host_.pending() << " messages without a receipt after stop";
    plugin_.destroy(instance_);
    instance_ = nullptr;
    std::lock_guard lock(host_.mutex_);
    host_.destroyed_ = true;
  }

 private:
  FakeSinkHost& host_;
  const penstock_plugin& plugin_;
  penstock_instance* instance_ = nullptr;
};

}  // namespace penstock::fakes
