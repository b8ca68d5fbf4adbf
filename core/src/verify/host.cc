#include "verify/host.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace penstock::verify {
namespace {

constexpr uint64_t kReadAhead = 1 << 20;
constexpr milliseconds kLateCalls{300};
constexpr milliseconds kEver = std::chrono::hours(1);

constexpr Callee kCreate{"create()", kSoon, "it does no I/O; leave that to start()"};
constexpr Callee kStart{"start()", kLater,
                        "a peer that is away must not hold it up; connect in the background"};
constexpr Callee kRun{"run()", kEver, ""};
constexpr Callee kStop{"stop()", kSoon, "it asks and does not wait; wait for threads in destroy()"};
constexpr Callee kDestroy{"destroy()", kLater,
                          "make the threads that it joins leave what they wait for"};

std::string OrNothing(const std::string& text) { return text.empty() ? "no reason given" : text; }

}  // namespace

// ---- Host

Host::Host(Trial* trial) : trial_(trial) {
  table_.struct_size = sizeof table_;
  table_.abi_major = PENSTOCK_ABI_MAJOR;
  table_.abi_minor = PENSTOCK_ABI_MINOR;
  table_.ctx = this;
  table_.instance_name = "verify";
  table_.host_version = PENSTOCK_VERSION;
  table_.log_level = &log_level_;
  table_.read_ahead_bytes = kReadAhead;
  table_.log = Log;
  table_.metric = Metric;
  table_.report_state = ReportState;
  table_.read_secret = ReadSecret;
  table_.stopping = [](const penstock_host* host) noexcept -> int32_t {
    Of(host)->Enter("stopping");
    return Of(host)->stopping_ ? 1 : 0;
  };
  table_.emit = [](const penstock_host* host, const penstock_event_batch*, size_t* accepted,
                   int64_t) noexcept -> penstock_status {
    if (Of(host)->Enter("emit"))
      Of(host)->trial_->Fault("host-calls", "calls host->emit(), which is for a source in run()");
    *accepted = 0;
    return PENSTOCK_STOPPED;
  };
  table_.complete = [](const penstock_host* host, const penstock_receipt*, size_t) noexcept {
    if (Of(host)->Enter("complete"))
      Of(host)->trial_->Fault("host-calls", "gives a receipt, though it was given no message");
  };
  table_.ready = [](const penstock_host* host) noexcept { Of(host)->Enter("ready"); };
  table_.extension = [](const penstock_host* host, const char*) noexcept -> const void* {
    Of(host)->Enter("extension");
    return nullptr;
  };
}

bool Host::Enter(const char* service) {
  if (!gone_) return true;
  trial_->Fault("quiet", std::string("called host->") + service +
                             "() after destroy() had returned; destroy() must join every thread "
                             "and end every callback first");
  return false;
}

bool Host::Sound(penstock_str text, const char* what) {
  if (text.ptr != nullptr || text.len == 0) return true;
  trial_->Fault("host-calls", std::string(what) + " is " + std::to_string(text.len) +
                                  " bytes at a null pointer; len must be 0 then");
  return false;
}

void Host::Log(const penstock_host* host, int32_t level, penstock_str text,
               const penstock_kv* fields, size_t n) noexcept {
  Host* self = Of(host);
  self->Enter("log");
  self->Sound(text, "the text of a log line");
  for (size_t i = 0; i < n; ++i) self->Sound(fields[i].value, "a field of a log line");
  if (level >= PENSTOCK_LOG_DEBUG && level <= PENSTOCK_LOG_ERROR) return;
  self->trial_->Fault("host-calls", "logs at the level " + std::to_string(level) +
                                        ", which there is not; use PENSTOCK_LOG_*");
}

uint64_t* Host::Metric(const penstock_host* host, int32_t kind, const char* name,
                       const char*) noexcept {
  static uint64_t cells[64];
  static std::atomic<size_t> next{0};
  Host* self = Of(host);
  self->Enter("metric");
  const std::string_view text = name == nullptr ? "" : name;
  const bool counter = kind == PENSTOCK_METRIC_COUNTER;
  const bool clean = !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || c == '_';
  });
  if (!clean || (!counter && kind != PENSTOCK_METRIC_GAUGE) ||
      text.ends_with("_total") != counter) {
    self->trial_->Fault("host-calls",
                        "asks for the metric \"" + std::string(text) +
                            "\"; a name is of a-z and _, and ends in _total if it is a counter's "
                            "and only then");
  }
  return &cells[next++ % std::size(cells)];
}

void Host::ReportState(const penstock_host* host, int32_t state, penstock_str text) noexcept {
  Host* self = Of(host);
  self->Enter("report_state");
  self->Sound(text, "the text of a state");
  if (state >= PENSTOCK_STATE_CONNECTING && state <= PENSTOCK_STATE_FAILED) return;
  self->trial_->Fault("host-calls", "reports the state " + std::to_string(state) +
                                        ", which there is not; use PENSTOCK_STATE_*");
}

penstock_status Host::ReadSecret(const penstock_host* host, penstock_str reference, char* buf,
                                 size_t cap, size_t* len, penstock_error* error) noexcept {
  Host* self = Of(host);
  self->Enter("read_secret");
  if (!self->Sound(reference, "a secret's reference")) return PENSTOCK_E_FAILED;
  const auto secret = config::ReadSecret(std::string_view(reference.ptr, reference.len));
  if (secret && secret->size() <= cap) {
    std::memcpy(buf, secret->data(), secret->size());
    *len = secret->size();
    return PENSTOCK_OK;
  }
  const std::string text = secret ? "the secret does not fit" : secret.error().message;
  if (error != nullptr) text.copy(error->text, sizeof error->text - 1);
  return PENSTOCK_E_FAILED;
}

// ---- Instance

void Instance::Create(const config::Options& options) {
  ErrorBox error;
  const penstock_status status = subject_.trial.Call(kCreate, subject_.plugin.create, host_->abi(),
                                                     options.abi(), &instance_, error.abi());
  const std::string text = error.Text(&subject_.trial);
  if (status != PENSTOCK_OK) {
    subject_.trial.Break("create() refuses options that check() accepts: " + OrNothing(text) +
                         "; let check() find it, or give other values with --option");
  }
  if (instance_ == nullptr)
    subject_.trial.Break("create() succeeded and set no instance; set it, or answer with an error");
}

void Instance::Start() {
  if (subject_.plugin.start == nullptr) return;
  ErrorBox error;
  const penstock_status status =
      subject_.trial.Call(kStart, subject_.plugin.start, instance_, error.abi());
  if (status == PENSTOCK_OK) return;
  subject_.trial.Break("start() fails: " + OrNothing(error.Text(&subject_.trial)) +
                       "; a peer that is away is no error: connect in the background and report "
                       "the state");
}

void Instance::Stop() {
  host_->SetStopping();
  subject_.trial.Call(kStop, subject_.plugin.stop, instance_);
}

void Instance::Destroy() {
  subject_.trial.Call(kDestroy, subject_.plugin.destroy, instance_);
  host_->SetGone();
}

penstock_status Instance::Run(std::string* text) {
  ErrorBox error;
  const penstock_status status =
      subject_.trial.Call(kRun, subject_.plugin.run, instance_, error.abi());
  *text = OrNothing(error.Text(&subject_.trial));
  return status;
}

// ---- the rest

ErrorBox::ErrorBox() {
  std::memset(&parts_, 0xa5, sizeof parts_);
  parts_.error.struct_size = sizeof parts_.error;
  parts_.error.reserved = 0;
  parts_.error.text[0] = '\0';
}

std::string ErrorBox::Text(Trial* trial) const {
  const char* text = parts_.error.text;
  const size_t length = strnlen(text, sizeof parts_.error.text);
  const bool inside = std::ranges::all_of(parts_.behind, [](unsigned char c) { return c == 0xa5; });
  if (length == sizeof parts_.error.text || !inside) {
    trial->Fault("error-text",
                 "a text in penstock_error has no NUL at its end, or goes beyond it; cut it to " +
                     std::to_string(sizeof parts_.error.text - 1) + " bytes, as snprintf does");
  }
  return std::string(text, std::min<size_t>(length, 300));
}

penstock_status CreateAndDestroy(const Subject& subject, const config::Options& options) {
  auto* host = new Host(&subject.trial);
  penstock_instance* instance = nullptr;
  ErrorBox error;
  const penstock_status status = subject.trial.Call(kCreate, subject.plugin.create, host->abi(),
                                                    options.abi(), &instance, error.abi());
  if (status == PENSTOCK_OK) {
    subject.trial.Call(kDestroy, subject.plugin.destroy, instance);
  } else if (error.Text(&subject.trial).empty()) {
    subject.trial.Fault("error-text",
                        "create() fails without a text, so nobody can mend the configuration; "
                        "write what is wrong and what to do into the penstock_error");
  }
  host->SetGone();
  return status;
}

void AwaitLateCalls() { std::this_thread::sleep_for(kLateCalls); }

}  // namespace penstock::verify
