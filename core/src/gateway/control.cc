#include "gateway/control.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "platform/log.h"

namespace penstock::gateway {
namespace {

constexpr char kMe[] = "gateway";

Error Closed() { return {Code::kRetry, "the gateway is stopping"}; }

Result<std::string> ErrorsOf(const Prepared& next) {
  std::string text = "the configuration has errors:";
  for (const config::Finding& finding : next.findings)
    if (finding.severity == config::Severity::kError) text += '\n' + finding.ToString();
  return Fail(Code::kConfig, std::move(text));
}

log::Format FormatOf(config::LogFormat format) {
  switch (format) {
    case config::LogFormat::kAuto:
      return log::AutoFormat();
    case config::LogFormat::kText:
      return log::Format::kText;
    case config::LogFormat::kJson:
      return log::Format::kJson;
    case config::LogFormat::kJournal:
      return log::Format::kJournal;
  }
  return log::Format::kText;
}

}  // namespace

void LogFinding(const config::Finding& finding) {
  switch (finding.severity) {
    case config::Severity::kError:
      log::LogError(kMe, finding.ToString());
      break;
    case config::Severity::kWarning:
      log::Warn(kMe, finding.ToString());
      break;
    case config::Severity::kNotice:
      log::Info(kMe, finding.ToString());
      break;
  }
}

void ConfigureLog(const config::GatewayConfig& config) {
  log::Configure(log::ParseLevel(config.log_level), FormatOf(config.log_format));
}

// ---- Signals

Signals::Signals() : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

Signals::~Signals() {
  close(fd_);
  close(wake_fd_);
}

int Signals::Wait(int timeout_ms) {
  pollfd fds[] = {{fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
  if (poll(fds, 2, timeout_ms) <= 0) return 0;
  uint64_t woken = 0;
  while (read(wake_fd_, &woken, sizeof woken) > 0) continue;
  signalfd_siginfo info{};
  if (read(fd_, &info, sizeof info) != sizeof info) return 0;
  return static_cast<int>(info.ssi_signo);
}

bool Signals::StopAsked() {
  const int number = Wait(0);
  return number == SIGTERM || number == SIGINT;
}

bool Signals::StopPending() const {
  sigset_t pending;
  sigemptyset(&pending);
  sigpending(&pending);
  return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

void Signals::Wake() {
  const uint64_t one = 1;
  if (write(wake_fd_, &one, sizeof one) < 0) std::abort();  // it never blocks
}

// ---- Requests

Result<std::string> Requests::Ask(Kind kind) {
  std::future<Result<std::string>> answer;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return tl::unexpected(Closed());
    waiting_.push_back({kind, {}});
    answer = waiting_.back().answer.get_future();
  }
  signals_->Wake();
  return answer.get();
}

std::optional<Requests::Request> Requests::Take() {
  std::lock_guard lock(mutex_);
  if (waiting_.empty()) return {};
  Request first = std::move(waiting_.front());
  waiting_.pop_front();
  return first;
}

void Requests::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  for (Request& request : waiting_) request.answer.set_value(tl::unexpected(Closed()));
  waiting_.clear();
}

// ---- Control

void Control::Run() {
  for (;;) {
    const int signal_number =
        p_.signals->Wait(options_.exit_when_done ? 20 : p_.service->tick_ms());
    p_.service->Tick();
    p_.pipeline->RestartEnded();
    if (signal_number == SIGHUP) {
      (void)Reload();  // it logs how it went
    } else if (signal_number != 0) {
      log::Info(kMe, std::string("stopping: ") + strsignal(signal_number));
      return;
    }
    while (auto request = p_.requests->Take())
      request->answer.set_value(request->kind == Requests::Kind::kReload ? Reload() : Drain());
    if (!p_.pipeline->store_failure().empty()) return;
    if (options_.exit_when_done && p_.pipeline->sources_finished()) return;
  }
}

Result<std::string> Control::Reload() {
  const StatusReader::Phase before = p_.status->phase();
  p_.status->SetPhase(StatusReader::Phase::kReloading);
  p_.service->Reloading();
  const std::unique_ptr<Prepared> next = Prepare(options_, p_.registry);
  for (const config::Finding& finding : next->findings) LogFinding(finding);
  Result<std::string> done = next->ok() ? p_.pipeline->Reload(*next) : ErrorsOf(*next);
  if (done) {
    ConfigureLog(next->config.gateway);
    log::Info(kMe, "reloaded: " + *done);
  } else {
    log::LogError(kMe, "not reloaded, all goes on as before: " + done.error().message);
  }
  p_.status->SetPhase(done ? StatusReader::Phase::kRunning : before);
  p_.service->Ready();
  return done;
}

Result<std::string> Control::Drain() {
  log::Info(kMe, "draining: the sources are stopped until the next reload");
  p_.status->SetPhase(StatusReader::Phase::kDraining);
  p_.pipeline->Drain();
  return std::string("draining");
}

}  // namespace penstock::gateway
