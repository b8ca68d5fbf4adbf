// A source at work: what it emits, and whether run() ends when it should.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "platform/abi.h"
#include "verify/host.h"
#include "verify/values.h"

namespace penstock::verify {
namespace {

constexpr size_t kRoom = 8192;  // events that wait, unless the trial is of a full queue
constexpr size_t kRoomBytes = 32u << 20;
constexpr size_t kFewRoom = 8;
constexpr size_t kKeptToTheEnd = 64;  // events released after destroy() only
constexpr size_t kEnoughEvents = 500;
constexpr milliseconds kFirstEvent{1'500}, kMoreEvents{400};
constexpr milliseconds kWaited{0};  // it has been waited for already
constexpr std::chrono::nanoseconds kLongestTry = milliseconds(100);
constexpr Callee kOnAck{"on_ack()", kSoon, "it is called from the host's own threads"};
constexpr char kNothing[] =
    "it emitted nothing; give values with which it does, --option KEY=VALUE or --config FILE";

// Tells one content of an event from another.
uint64_t Digest(const penstock_event& event) {
  uint64_t hash = 14695981039346656037u;
  for (const penstock_str& part : {event.payload, event.id, event.subject, event.type}) {
    for (size_t i = 0; i < part.len; ++i)
      hash = (hash ^ static_cast<unsigned char>(part.ptr[i])) * 1099511628211u;
    hash = (hash ^ part.len) * 1099511628211u;
  }
  return hash;
}

class SourceHost final : public Host {
 public:
  SourceHost(Trial* trial, size_t room) : Host(trial), room_(room) { table().emit = Emit; }

  size_t emitted() const { return emitted_; }
  bool full() const { return full_; }
  bool partial() const { return partial_; }
  bool refused() const { return refused_; }  // answered STOPPED
  // Nothing is taken any more; who waits for room is told so.
  void Close();
  // Gives accepted events back from the oldest on, until so many are left.
  void Release(size_t left, const penstock_plugin* plugin, penstock_instance* instance);

 private:
  struct Held {
    penstock_event event;
    uint64_t digest;
  };

  static penstock_status Emit(const penstock_host*, const penstock_event_batch*, size_t* accepted,
                              int64_t timeout_ns) noexcept;
  penstock_status Take(const penstock_event_batch& batch, size_t* accepted, int64_t timeout_ns);
  void Examine(const penstock_event& event);
  bool HasRoom() const { return held_.size() < room_ && held_bytes_ < kRoomBytes; }

  const size_t room_;
  std::atomic<bool> emitting_{false};
  std::atomic<size_t> emitted_{0};
  std::atomic<bool> full_{false}, partial_{false}, refused_{false};
  size_t tries_ = 0;              // emits that do not wait for ever; of the data thread
  std::optional<uint64_t> rest_;  // the first event that was not taken; likewise
  std::set<std::string> ids_;     // likewise
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  std::deque<Held> held_;
  size_t held_bytes_ = 0;
};

void SourceHost::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

penstock_status SourceHost::Emit(const penstock_host* host, const penstock_event_batch* batch,
                                 size_t* accepted, int64_t timeout_ns) noexcept {
  auto* self = static_cast<SourceHost*>(Of(host));
  *accepted = 0;
  if (!self->Enter("emit")) return PENSTOCK_STOPPED;
  if (self->emitting_.exchange(true))
    self->trial().Fault("events", "emit is called by two threads at once; take turns");
  const penstock_status status = self->Take(*batch, accepted, timeout_ns);
  self->emitting_ = false;
  return status;
}

penstock_status SourceHost::Take(const penstock_event_batch& batch, size_t* accepted,
                                 int64_t timeout_ns) {
  if (batch.struct_size < abi::kEventBatch10 ||
      !abi::IsStride<penstock_event>(batch.stride, abi::kEvent10)) {
    trial().Fault("events", "a batch has struct_size " + std::to_string(batch.struct_size) +
                                " and stride " + std::to_string(batch.stride) +
                                "; they are sizeof of what it is filled with");
    return PENSTOCK_E_FAILED;
  }
  if (rest_ && batch.count > 0 && Digest(*penstock_event_at(&batch, 0)) != *rest_) {
    trial().Fault("rest",
                  "after emit had taken a part of a batch, the next one does not begin with the "
                  "first event that was left, which is lost then; offer the rest again");
  }
  rest_.reset();
  size_t most = batch.count;
  if (timeout_ns >= 0 && ++tries_ % 2 == 0 && batch.count > 0) most = batch.count / 2;
  std::unique_lock lock(mutex_);
  while (*accepted < most && !closed_) {
    if (!HasRoom()) {
      full_ = true;
      if (timeout_ns >= 0) {
        changed_.wait_for(lock, std::min(std::chrono::nanoseconds(timeout_ns), kLongestTry),
                          [&] { return closed_ || HasRoom(); });
        if (!HasRoom()) break;
        continue;
      }
      changed_.wait(lock, [&] { return closed_ || HasRoom(); });
      continue;
    }
    const penstock_event& event = *penstock_event_at(&batch, (*accepted)++);
    Examine(event);
    held_.push_back({event, event.owner == nullptr ? 0 : Digest(event)});
    held_bytes_ += event.payload.len;
  }
  emitted_ += *accepted;
  if (*accepted == batch.count) return PENSTOCK_OK;
  if (closed_) {
    refused_ = true;
    return PENSTOCK_STOPPED;
  }
  partial_ = true;
  rest_ = Digest(*penstock_event_at(&batch, *accepted));
  return PENSTOCK_AGAIN;
}

void SourceHost::Examine(const penstock_event& event) {
  const std::string id(event.id.ptr == nullptr ? "" : event.id.ptr, event.id.len);
  if (id.size() > PENSTOCK_EVENT_ID_MAX) {
    trial().Fault("events", "an event's id has " + std::to_string(id.size()) +
                                " bytes and would be rejected; at most " +
                                std::to_string(PENSTOCK_EVENT_ID_MAX) + " are allowed");
  }
  if (!id.empty() && ids_.size() < 100'000 && !ids_.insert(id).second) {
    trial().Fault("events", "the id \"" + id +
                                "\" comes twice, so a bus that drops repeated ids loses the second "
                                "event; leave it empty, or make each one unique");
  }
  for (uint32_t i = 0; i < event.n_attributes; ++i) {
    const penstock_str key = event.attributes[i].key;
    const std::string name(key.ptr == nullptr ? "" : key.ptr, key.len);
    const bool good = !name.empty() && name.size() <= 20 && std::ranges::all_of(name, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    });
    if (good) continue;
    trial().Fault("events", "an attribute is named \"" + name +
                                "\"; CloudEvents allows 1 to 20 of a-z and 0-9");
  }
  if (event.owner != nullptr && event.owner->release == nullptr)
    trial().Fault("events", "an event's owner has no release function; set it, or owner to NULL");
}

void SourceHost::Release(size_t left, const penstock_plugin* plugin, penstock_instance* instance) {
  std::vector<Held> out;
  {
    std::lock_guard lock(mutex_);
    while (held_.size() > left) {
      held_bytes_ -= held_.front().event.payload.len;
      out.push_back(held_.front());
      held_.pop_front();
    }
  }
  for (const Held& held : out) {
    // What has no owner would be a copy of the host's.
    if (held.event.owner == nullptr || Digest(held.event) == held.digest) continue;
    trial().Fault("owners",
                  "the bytes of an accepted event changed before the host released its owner; "
                  "keep them until release() has been called once for each accepted event");
    return;  // what is freed already must not be released
  }
  if (instance != nullptr && (plugin->caps & PENSTOCK_CAP_ACK) != 0) {
    for (const Held& held : out)
      trial().Call(kOnAck, plugin->on_ack, instance, &held.event.ack_token, size_t{1});
  }
  // One by one and coalesced, in turn: both are the same to an owner that counts.
  for (size_t i = 0; i < out.size();) {
    penstock_owner* owner = out[i].event.owner;
    size_t n = 1;
    while (i % 2 == 0 && i + n < out.size() && out[i + n].event.owner == owner) ++n;
    if (owner != nullptr) owner->release(owner, static_cast<uint32_t>(n));
    i += n;
  }
  changed_.notify_all();
}

// An instance whose run() has its thread.
class Runner {
 public:
  Runner(const Subject& subject, const config::Options& options, size_t room)
      : subject_(subject),
        host_(new SourceHost(&subject.trial, room)),
        instance_(new Instance(subject, host_)) {
    instance_->Create(options);
    instance_->Start();
  }
  SourceHost& host() { return *host_; }
  Instance& instance() { return *instance_; }

  void Run() {
    thread_ = std::thread([this] {
      try {
        status_ = instance_->Run(&text_);
      } catch (const Broken&) {
        broken_ = true;
      }
      ended_ = true;
    });
  }
  bool ended() const { return ended_; }
  penstock_status status() const { return status_; }
  const std::string& text() const { return text_; }

  // Breaks the trial when run() goes on for longer: then its thread is one that nobody can join.
  void Join(milliseconds longest, const std::string& otherwise) {
    if (!Await(longest, [&] { return ended_.load(); })) {
      thread_.detach();
      subject_.trial.Break(otherwise);
    }
    thread_.join();
    if (broken_) throw Broken{};
  }
  void Release(size_t left) { host_->Release(left, &subject_.plugin, instance_->get()); }
  void Destroy() {
    host_->Close();
    instance_->Destroy();
    host_->Release(0, &subject_.plugin, nullptr);
  }

 private:
  const Subject& subject_;
  SourceHost* const host_;
  Instance* const instance_;  // a thread that is left behind may still use it
  std::thread thread_;
  std::atomic<bool> ended_{false};
  bool broken_ = false;
  penstock_status status_ = PENSTOCK_OK;
  std::string text_;
};

const std::string kSeconds = std::to_string(kLater.count() / 1000) + " s";

void TryRun(const Subject& subject, const config::Options& options) {
  subject.trial.Begin("run");
  Runner runner(subject, options, kRoom);
  SourceHost& host = runner.host();
  runner.Run();
  const auto turn = [&](size_t events) {
    runner.Release(kKeptToTheEnd);
    return runner.ended() || host.emitted() >= events;
  };
  if (Await(kFirstEvent, [&] { return turn(1); }))
    Await(kMoreEvents, [&] { return turn(kEnoughEvents); });
  if (runner.ended() && runner.status() < 0) {
    subject.trial.Fault("run() gave up: " + runner.text() +
                        "; a peer that is away is no reason: try again until stop()");
  }
  runner.instance().Stop();
  // What it has received already may still come.
  Await(kLater, [&] { return turn(SIZE_MAX); });
  runner.Join(
      kWaited,
      "run() had not returned " + kSeconds +
          " after stop(), so the gateway could not end; make stop() wake what it waits for");
  if (host.emitted() == 0) {
    for (const char* check : {"events", "rest", "owners"})
      subject.trial.Say(check, Verdict::kSkip, kNothing);
  } else if (!host.partial()) {
    subject.trial.Say("rest", Verdict::kSkip, "it always waits for room, so nothing is left over");
  }
  subject.trial.Begin("owners");
  runner.Destroy();
}

void TryFullQueue(const Subject& subject, const config::Options& options) {
  subject.trial.Begin("run-full");
  Runner runner(subject, options, kFewRoom);
  runner.Run();
  Await(kFirstEvent, [&] { return runner.host().full() || runner.ended(); });
  if (!runner.host().full())
    subject.trial.Say("run-full", Verdict::kSkip, "it did not emit enough to fill a queue");
  runner.host().Close();
  Await(kMoreEvents, [&] { return runner.host().refused() || runner.ended(); });
  runner.instance().Stop();
  runner.Join(kLater, "run() had not returned " + kSeconds +
                          " after emit answered STOPPED; return from run() then");
  runner.Destroy();
}

void TryStopFirst(const Subject& subject, const config::Options& options) {
  subject.trial.Begin("run-stopped");
  Runner runner(subject, options, kRoom);
  runner.instance().Stop();
  runner.Run();
  Await(kLater, [&] {
    runner.Release(kKeptToTheEnd);
    return runner.ended();
  });
  runner.Join(kWaited,
              "run() goes on although stop() came before it; remember in stop() that it came");
  runner.Destroy();
}

}  // namespace

void TrySource(const Subject& subject) {
  subject.trial.Begin("run");
  const config::Options options = GoodOptions(subject);
  TryRun(subject, options);
  TryFullQueue(subject, options);
  TryStopFirst(subject, options);
  subject.trial.Begin("quiet");
  AwaitLateCalls();
}

}  // namespace penstock::verify
