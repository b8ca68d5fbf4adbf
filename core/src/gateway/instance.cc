#include "gateway/instance.h"

#include <sys/prctl.h>

#include <cassert>
#include <cstring>

#include "platform/abi.h"
#include "platform/log.h"

namespace penstock::gateway {
namespace {

std::string_view View(penstock_str s) {
  return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len);
}

void SetError(penstock_error* error, const std::string& text) {
  if (error == nullptr) return;
  const size_t n = std::min(text.size(), sizeof error->text - 1);
  std::memcpy(error->text, text.data(), n);
  error->text[n] = '\0';
}

const char* StateName(int32_t state) {
  switch (state) {
    case PENSTOCK_STATE_CONNECTING:
      return "connecting";
    case PENSTOCK_STATE_READY:
      return "ready";
    case PENSTOCK_STATE_FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

// After which an emit is said to wait for room.
constexpr Nanoseconds kRoomPatience = std::chrono::milliseconds(100);
constexpr Nanoseconds kStopGrace = std::chrono::seconds(2);
constexpr Nanoseconds kRetirePoll = std::chrono::milliseconds(5);
// How often the control thread shows that it lives while it waits for a delivery thread.
constexpr Nanoseconds kPassInterval = std::chrono::seconds(1);
// Between two log lines that give another reason for the same state.
constexpr Nanoseconds kReasonPause = std::chrono::seconds(10);

void NameThread(const std::string& name) { prctl(PR_SET_NAME, name.substr(0, 15).c_str()); }

}  // namespace

// ---- Instance

Instance::Instance(plugin::Kind kind, std::string name, std::shared_ptr<plugin::Plugin> plugin,
                   std::shared_ptr<const config::Options> options, MetricTable* metrics)
    : name_(std::move(name)),
      component_(std::string(plugin::KindName(kind)) + ' ' + name_),
      plugin_(std::move(plugin)),
      options_(std::move(options)),
      metrics_(metrics) {
  shown_.since_ns = SystemClock().WallNs();
  host_.struct_size = sizeof host_;
  host_.abi_major = PENSTOCK_ABI_MAJOR;
  host_.abi_minor = PENSTOCK_ABI_MINOR;
  host_.ctx = this;
  host_.instance_name = name_.c_str();
  host_.host_version = PENSTOCK_VERSION;
  host_.log_level = log::Threshold();
  host_.log = Log;
  host_.metric = Metric;
  host_.report_state = ReportState;
  host_.read_secret = ReadSecret;
  host_.extension = Extension;
  host_.emit = [](const penstock_host* host, const penstock_event_batch*, size_t* accepted,
                  int64_t) noexcept {
    Of(host)->NoteMisuse("calls emit, which is for sources");
    *accepted = 0;
    return penstock_status{PENSTOCK_E_UNSUPPORTED};
  };
  host_.stopping = [](const penstock_host* host) noexcept {
    Of(host)->NoteMisuse("calls stopping, which is for sources");
    return int32_t{0};
  };
  host_.complete = [](const penstock_host* host, const penstock_receipt*, size_t) noexcept {
    Of(host)->NoteMisuse("calls complete, which is for sinks");
  };
  host_.ready = [](const penstock_host* host) noexcept {
    Of(host)->NoteMisuse("calls ready, which is for sinks");
  };
}

Instance::~Instance() { assert(instance_ == nullptr); }

Result<void> Instance::Create() {
  penstock_error error{};
  error.struct_size = sizeof error;
  const penstock_status status = entry().create(&host_, options_->abi(), &instance_, &error);
  if (status == PENSTOCK_OK && instance_ != nullptr) return {};
  if (status == PENSTOCK_OK)
    return Fail(Code::kFatal, component_ +
                                  ": the plugin's create made no instance, and says that "
                                  "it did; its author must mend that");
  instance_ = nullptr;
  // Trying again would mend neither.
  const bool config = status == PENSTOCK_E_CONFIG || status == PENSTOCK_E_UNSUPPORTED;
  return Fail(
      config ? Code::kConfig : Code::kFatal,
      component_ + ": " + (error.text[0] != '\0' ? error.text : "the plugin gave no reason"));
}

void Instance::NoteMisuse(std::string_view what) {
  if (misuse_noted_.exchange(true)) return;
  log::LogError(component_, "the plugin " + std::string(what) + "; its author must mend that");
}

Result<void> Instance::StartPlugin() {
  if (entry().start == nullptr) return {};
  penstock_error error{};
  error.struct_size = sizeof error;
  if (entry().start(instance_, &error) == PENSTOCK_OK) return {};
  return Fail(Code::kFatal, component_ + " does not start: " +
                                (error.text[0] != '\0' ? error.text : "the plugin gave no reason"));
}

void Instance::StopPlugin() {
  if (instance_ != nullptr) entry().stop(instance_);
}

void Instance::Destroy() {
  if (instance_ != nullptr) entry().destroy(instance_);
  instance_ = nullptr;
}

void Instance::Log(const penstock_host* host, int32_t level, penstock_str text,
                   const penstock_kv* fields, size_t n) noexcept {
  constexpr size_t kMaxFields = 16;
  log::Field views[kMaxFields];
  n = std::min(n, kMaxFields);
  for (size_t i = 0; i < n; ++i) views[i] = {View(fields[i].key), View(fields[i].value)};
  level = std::clamp<int32_t>(level, PENSTOCK_LOG_DEBUG, PENSTOCK_LOG_ERROR);
  log::WriteBounded(static_cast<log::Level>(level), Of(host)->component_, View(text), views, n);
}

uint64_t* Instance::Metric(const penstock_host* host, int32_t kind, const char* name,
                           const char* help) noexcept {
  return Of(host)->metrics_->Cell(Of(host)->component_, Of(host)->entry().id, kind, name,
                                  help == nullptr ? "" : help);
}

InstanceState Instance::state() const {
  std::lock_guard lock(shown_mutex_);
  return shown_;
}

void Instance::Show(std::string_view state, std::string_view reason) {
  std::lock_guard lock(shown_mutex_);
  if (shown_.name != state) shown_.since_ns = SystemClock().WallNs();
  shown_.name = state;
  shown_.reason = reason;
}

bool Instance::IsNews(int32_t state, std::string_view reason) {
  const TimePoint now = SystemClock().Now();
  const bool changed = std::exchange(state_, state) != state;
  if (!changed && (reason == reason_ || now < reason_due_)) return false;
  reason_ = reason;
  reason_due_ = changed ? now : now + kReasonPause;
  return true;
}

void Instance::ReportState(const penstock_host* host, int32_t state, penstock_str text) noexcept {
  Instance* self = Of(host);
  if (state < PENSTOCK_STATE_CONNECTING || state > PENSTOCK_STATE_FAILED)
    state = PENSTOCK_STATE_CONNECTING;  // of a later minor; none that this host could submit in
  self->Show(StateName(state), View(text));
  std::lock_guard lock(self->state_mutex_);
  const int32_t before = self->state_;
  if (self->IsNews(state, View(text))) {
    // Also a first attempt that fails is trouble: connecting, with another reason than before.
    const bool trouble =
        state == PENSTOCK_STATE_FAILED ||
        (state == PENSTOCK_STATE_CONNECTING && (before == PENSTOCK_STATE_READY || before == state));
    const std::string_view name = StateName(state);
    const bool says_it = View(text).substr(0, name.size()) == name;
    std::string line(says_it ? std::string_view() : name);
    if (!says_it && text.len > 0) line += ": ";
    log::WriteBounded(trouble ? log::Level::kWarn : log::Level::kInfo, self->component_,
                      line.append(View(text)), nullptr, 0);
  }
  self->OnState(state, View(text));
}

penstock_status Instance::ReadSecret(const penstock_host*, penstock_str reference, char* buf,
                                     size_t cap, size_t* len, penstock_error* error) noexcept {
  const Result<std::string> secret = config::ReadSecret(View(reference));
  if (!secret) {
    SetError(error, secret.error().message);
    return PENSTOCK_E_FAILED;
  }
  if (secret->size() > cap) {
    SetError(error, "the secret has " + std::to_string(secret->size()) +
                        " bytes, the plugin takes at most " + std::to_string(cap));
    return PENSTOCK_E_FAILED;
  }
  std::memcpy(buf, secret->data(), secret->size());
  *len = secret->size();
  return PENSTOCK_OK;
}

const void* Instance::Extension(const penstock_host*, const char*) noexcept { return nullptr; }

// ---- SourceInstance

SourceInstance::SourceInstance(std::string name, std::shared_ptr<plugin::Plugin> plugin,
                               std::shared_ptr<const config::Options> options, MetricTable* metrics,
                               uint64_t read_ahead_bytes, std::function<void()> on_finished)
    : Instance(plugin::Kind::kSource, std::move(name), std::move(plugin), std::move(options),
               metrics),
      on_finished_(std::move(on_finished)) {
  table().read_ahead_bytes = read_ahead_bytes;
  table().emit = Emit;
  table().stopping = Stopping;
}

SourceInstance::~SourceInstance() {
  Stop();
  Join();
  Destroy();
}

Result<void> SourceInstance::Start() {
  if (auto started = StartPlugin(); !started) {
    Show("failed", started.error().message + "; mend it and reload or restart the gateway");
    failed_ = finished_ = true;
    return started;
  }
  thread_ = std::thread([this] { Run(); });
  return {};
}

void SourceInstance::Run() {
  NameThread(name());
  if (state().name == InstanceState().name) Show("running", "");
  penstock_error error{};
  error.struct_size = sizeof error;
  const penstock_status status = entry().run(plugin_instance(), &error);
  if (status < 0) {
    failed_ = true;
    const std::string reason = std::string("stopped for good: ") +
                               (error.text[0] != '\0' ? error.text : "the plugin gave no reason") +
                               "; mend it and reload or restart the gateway";
    Show("failed", reason);
    log::LogError(component(), reason);
  } else if (!stopping_) {
    Show("finished", "");
    log::Info(component(), "finished");
  } else {
    Show("stopped", "");
  }
  finished_ = true;
  on_finished_();
}

void SourceInstance::Stop() {
  stopping_ = true;
  StopPlugin();
}

void SourceInstance::Join() {
  if (!thread_.joinable()) return;
  thread_.join();
  if (not_taken_ > 0)
    log::Warn(component(),
              std::to_string(not_taken_) +
                  " events that it had read did not get into its queue and are not taken");
}

void SourceInstance::OnAck(const uint64_t* ack_tokens, size_t n) {
  if (entry().on_ack != nullptr) entry().on_ack(plugin_instance(), ack_tokens, n);
}

penstock_status SourceInstance::Emit(const penstock_host* host, const penstock_event_batch* batch,
                                     size_t* accepted, int64_t timeout_ns) noexcept {
  auto* self = static_cast<SourceInstance*>(static_cast<Instance*>(host->ctx));
  if (batch->struct_size < abi::kEventBatch10 ||
      !abi::IsStride<penstock_event>(batch->stride, abi::kEvent10)) {
    self->NoteMisuse("emits a batch whose struct_size or stride cannot be");
    *accepted = 0;
    return PENSTOCK_E_FAILED;
  }
  const auto append = [self](const penstock_event_batch& events, size_t* n, Nanoseconds timeout) {
    const penstock_status status = self->queue_->Append(events, n, timeout);
    self->waits_for_room_ = status == PENSTOCK_AGAIN;
    if (status == PENSTOCK_STOPPED) self->not_taken_ += events.count - *n;
    return status;
  };
  if (timeout_ns >= 0) return append(*batch, accepted, Nanoseconds(timeout_ns));
  penstock_event_batch rest = {};  // what the plugin filled may end where 1.0 did
  rest.struct_size = sizeof rest;
  rest.stride = batch->stride;
  rest.events = batch->events;
  rest.count = batch->count;
  for (*accepted = 0;;) {
    size_t n = 0;
    const penstock_status status = append(rest, &n, kRoomPatience);
    *accepted += n;
    if (status != PENSTOCK_AGAIN) return status;
    rest.events = penstock_event_at(&rest, n);
    rest.count -= n;
  }
}

int32_t SourceInstance::Stopping(const penstock_host* host) noexcept {
  return static_cast<SourceInstance*>(static_cast<Instance*>(host->ctx))->stopping_ ? 1 : 0;
}

// ---- SinkInstance

SinkInstance::SinkInstance(std::string name, std::shared_ptr<plugin::Plugin> plugin,
                           std::shared_ptr<const config::Options> options, MetricTable* metrics,
                           delivery::WindowLimits limits, queue::MemoryBudget* budget,
                           uint64_t reserve, const Clock* clock, uint64_t seed)
    : Instance(plugin::Kind::kSink, std::move(name), std::move(plugin), std::move(options),
               metrics),
      clock_(clock),
      dispatcher_(Instance::name(), this, limits,
                  budget->MakeShare(reserve, signal_, queue::MemoryBudget::First::kAlways), clock,
                  signal_, seed) {
  table().complete = Complete;
  table().ready = Ready;
}

SinkInstance::~SinkInstance() {
  Stop();
  Destroy();
}

Result<void> SinkInstance::Start() {
  if (auto started = StartPlugin(); !started) return started;
  if (!reported_) {
    const penstock_str nothing{nullptr, 0};
    table().report_state(&table(), PENSTOCK_STATE_READY, nothing);
  }
  if (heartbeats_ != nullptr) beat_ = heartbeats_->Add(component(), "the delivery thread");
  thread_ = std::thread([this] {
    Run();
    beat_ = nullptr;  // it is over, which is no standing still
  });
  return {};
}

void SinkInstance::Run() {
  NameThread(name());
  for (;;) {
    const Signal::Ticket ticket = signal_->Take();
    const TimePoint pulse = beat_->Pass(clock_->Now());
    TimePoint next = dispatcher_.Step();
    if (stopped_) {
      // The plugin has been told to give every message its receipt; a dead one must not hold up the
      // exit.
      if (stop_deadline_ == TimePoint{}) stop_deadline_ = clock_->Now() + kStopGrace;
      if (dispatcher_.in_flight() == 0 || clock_->Now() >= stop_deadline_) return;
      next = stop_deadline_;
    }
    if (draining_ && !drained_ && dispatcher_.Drained()) {
      drained_ = true;
      if (on_drained_) on_drained_();
    }
    if (next > clock_->Now()) signal_->WaitPast(ticket, std::min(next, pulse));
  }
}

void SinkInstance::Drain() {
  dispatcher_.SetDraining();
  draining_ = true;
  signal_->Notify();
}

void SinkInstance::AddCursorLater(delivery::CursorSpec spec) {
  const auto shared = std::make_shared<delivery::CursorSpec>(std::move(spec));
  dispatcher_.Post([this, shared] { dispatcher_.AddCursor(std::move(*shared)); });
}

void SinkInstance::Change(const std::function<void(delivery::Dispatcher&)>& f) {
  if (!thread_.joinable()) return f(dispatcher_);
  std::atomic<bool> done{false};
  dispatcher_.Post([&] {
    f(dispatcher_);
    done = true;
    changed_->Notify();
  });
  for (;;) {
    const Signal::Ticket ticket = changed_->Take();
    if (done) return;
    changed_->WaitPast(ticket, heartbeats_ ? clock_->Now() + kPassInterval : TimePoint::max());
    if (heartbeats_) heartbeats_->PassControl();
  }
}

std::vector<std::unique_ptr<delivery::Cursor>> SinkInstance::Retire(
    const std::function<bool()>& may_wait) {
  dispatcher_.StopSubmitting();
  const auto settled = [this] {
    uint64_t in_flight = 0;
    Change([&](delivery::Dispatcher& dispatcher) { in_flight = dispatcher.in_flight(); });
    return in_flight == 0;
  };
  while (may_wait() && Status().state == PENSTOCK_STATE_READY && !settled()) {
    const Signal::Ticket ticket = changed_->Take();
    changed_->WaitPast(ticket, clock_->Now() + kRetirePoll);
  }
  Stop();
  // What it was given is in use until it is gone.
  Destroy();
  return dispatcher_.TakeCursors();
}

void SinkInstance::AskToStop() {
  dispatcher_.StopSubmitting();
  StopPlugin();
  stopped_ = true;
  signal_->Notify();
}

void SinkInstance::Stop() {
  AskToStop();
  if (thread_.joinable()) thread_.join();
}

penstock_status SinkInstance::Submit(const penstock_message_batch& batch, size_t* accepted) {
  const Beat::Call call(beat_.get(), "submit", clock_->Now());
  return entry().submit(plugin_instance(), &batch, accepted);
}

void SinkInstance::Flush() {
  if (entry().flush == nullptr) return;
  const Beat::Call call(beat_.get(), "flush", clock_->Now());
  entry().flush(plugin_instance());
}

void SinkInstance::Cancel(const std::vector<uint64_t>& tokens) {
  if (entry().cancel == nullptr) return;
  const Beat::Call call(beat_.get(), "cancel", clock_->Now());
  entry().cancel(plugin_instance(), tokens.data(), tokens.size());
}

void SinkInstance::OnState(int32_t state, std::string_view text) {
  reported_ = true;
  dispatcher_.SetState(state, text);
}

void SinkInstance::Complete(const penstock_host* host, const penstock_receipt* receipts,
                            size_t n) noexcept {
  auto* self = static_cast<SinkInstance*>(static_cast<Instance*>(host->ctx));
  const uint32_t stride = self->entry().receipt_stride;
  if (stride == sizeof(penstock_receipt)) return self->dispatcher_.Complete(receipts, n);
  std::vector<penstock_receipt> own;
  own.reserve(n);
  for (size_t i = 0; i < n; ++i) own.push_back(abi::Read(receipts, stride, i));
  self->dispatcher_.Complete(own.data(), n);
}

void SinkInstance::Ready(const penstock_host* host) noexcept {
  static_cast<SinkInstance*>(static_cast<Instance*>(host->ctx))->dispatcher_.Ready();
}

}  // namespace penstock::gateway
