#include "gateway/gateway.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "admin/server.h"
#include "gateway/describe.h"
#include "gateway/pipeline.h"
#include "gateway/prepare.h"
#include "gateway/service.h"
#include "gateway/status.h"
#include "gateway/store_tools.h"
#include "platform/log.h"
#include "platform/notify.h"

namespace penstock::gateway {
namespace {

constexpr char kMe[] = "gateway";

// SIGTERM and SIGINT as a file descriptor; blocked in this thread and in all that it starts.
class StopSignals {
 public:
  StopSignals() {
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~StopSignals() {
    close(fd_);
    close(wake_fd_);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The number of the signal that came, or 0 once the time is over (< 0: never) or somebody wakes.
  int Wait(int timeout_ms) {
    pollfd fds[] = {{fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    if (poll(fds, 2, timeout_ms) <= 0) return 0;
    signalfd_siginfo info{};
    if (read(fd_, &info, sizeof info) != sizeof info) return 0;
    return static_cast<int>(info.ssi_signo);
  }
  // From now on Wait returns at once. Any thread.
  void Wake() {
    const uint64_t one = 1;
    if (write(wake_fd_, &one, sizeof one) < 0) std::abort();  // it never blocks
  }

 private:
  int fd_;
  int wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
};

// Batches are encoded into memory that is freed a moment later. By default glibc gives the top of
// the heap back to the kernel each time and faults it in again, which costs more than the encoding.
void KeepHeap() {
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  mallopt(M_TOP_PAD, 1 << 20);
}

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

// What may be asked of the gateway at its admin socket.
void AddHandlers(StatusReader* status, Pipeline* pipeline, const config::Config* config,
                 admin::Server* server) {
  server->Handle("GET", "/status", [status](const admin::Request&) {
    admin::Response response;
    response.content_type = "application/json";
    response.body = ToJson(status->Read())
                        .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                    "\n";
    return response;
  });
  StoreAccess access;
  access.store = [pipeline]() -> Result<store::Store*> {
    if (!pipeline->started()) return Fail(Code::kRetry, "the gateway is starting: ask again soon");
    if (pipeline->store() != nullptr) return pipeline->store();
    return Fail(Code::kReject, "this gateway keeps nothing on disk; its log says why");
  };
  access.config = config;
  access.marked = [pipeline] { return pipeline->StartReplays(); };
  access.removed = [pipeline] { return pipeline->RecountLetters(); };
  for (Endpoint& endpoint : StoreEndpoints(std::move(access)))
    server->Handle(endpoint.method, endpoint.path, std::move(endpoint.handler));
}

// The socket that the configuration names must work; the one that it does not need not.
Result<void> ServeAdmin(const config::GatewayConfig& config, admin::Server* server) {
  if (config.admin_socket.empty()) return {};
  auto listening = server->Listen(config.admin_socket);
  if (listening) return {};
  if (config.admin_socket_where.line > 0) {
    const config::Finding finding{config::Severity::kError, config.admin_socket_where,
                                  listening.error().message};
    return Fail(Code::kConfig, finding.ToString());
  }
  log::Warn(kMe, "runs without an admin socket, so penstock status cannot ask it: " +
                     listening.error().message);
  return {};
}

// Waits for a signal or the store's failure; with exit_when_done also for the sources' end.
void WaitForEnd(StopSignals& signals, const Pipeline& pipeline, bool exit_when_done,
                Service& service) {
  for (;;) {
    const int signal_number = signals.Wait(exit_when_done ? 20 : service.tick_ms());
    service.Tick();
    if (signal_number != 0) {
      log::Info(kMe, std::string("stopping: ") + strsignal(signal_number));
      return;
    }
    if (!pipeline.store_failure().empty()) return;
    if (exit_when_done && pipeline.sources_finished()) return;
  }
}

// Events that are not delivered at the end.
struct Rest {
  uint64_t lost = 0;    // they were in memory
  uint64_t stored = 0;  // they are on disk
};

Rest CloseLedger(const Pipeline& pipeline) {
  Rest rest;
  for (const delivery::Ledger& ledger : pipeline.Ledgers()) {
    const bool stored = pipeline.on_disk(ledger.source);
    (stored ? rest.stored : rest.lost) += ledger.pending;
    const bool fine = (stored || ledger.pending == 0) && ledger.Balances();
    log::Write(fine ? log::Level::kInfo : log::Level::kError, "ledger", ledger.ToString());
  }
  return rest;
}

// Says how it ended; the exit code.
int Conclude(const Pipeline& pipeline) {
  const Rest rest = CloseLedger(pipeline);
  const uint64_t unstored = pipeline.unstored();
  if (rest.lost > 0) {
    log::LogError(kMe, std::to_string(rest.lost) +
                           " events were not delivered and are lost (queues in memory); a longer "
                           "shutdown_timeout gives the sinks more time");
  }
  if (unstored > 0) {
    log::LogError(kMe, std::to_string(unstored) +
                           " events were received and could not be stored; they are lost unless "
                           "their source sends them again");
  }
  const std::string failure = pipeline.store_failure();
  if (!failure.empty()) log::LogError(kMe, "the store has failed: " + failure);
  if (rest.lost > 0 || unstored > 0 || !failure.empty()) return kExitFailure;
  log::Info(kMe, rest.stored == 0 ? std::string("stopped")
                                  : "stopped; " + std::to_string(rest.stored) +
                                        " events are on disk and go on at the next start");
  return kExitOk;
}

int ShutDown(Pipeline& pipeline, StopSignals& signals, Signal& changed, Nanoseconds timeout,
             Service& service) {
  const SystemClock clock;
  const TimePoint deadline = clock.Now() + timeout;
  service.Stopping(deadline);
  pipeline.StopSources(pipeline.store_failure().empty() ? deadline : clock.Now());
  pipeline.Drain();
  bool hurried = false;
  while (!pipeline.drained() && pipeline.worth_draining() && clock.Now() < deadline && !hurried &&
         pipeline.store_failure().empty()) {
    const Signal::Ticket ticket = changed.Take();
    if (pipeline.drained()) break;
    changed.WaitPast(ticket, std::min(deadline, clock.Now() + std::chrono::milliseconds(50)));
    hurried = signals.Wait(0) != 0;
    service.Tick();
  }
  if (hurried) log::Warn(kMe, "a second signal: not waiting for the rest");
  pipeline.StopSinks();
  return Conclude(pipeline);
}

}  // namespace

int Run(const CommandOptions& options) {
  struct FlushedLog {
    ~FlushedLog() { log::Flush(); }
  } const flushed_log;
  KeepHeap();
  StopSignals signals;
  const std::unique_ptr<Prepared> prepared = Prepare(options);
  const config::GatewayConfig& config = prepared->config.gateway;
  log::Configure(log::ParseLevel(config.log_level), FormatOf(config.log_format));
  for (const config::Finding& finding : prepared->findings) LogFinding(finding);
  if (!prepared->ok()) {
    log::LogError(kMe, "not started: the configuration has errors; penstock check shows them all");
    return kExitConfig;
  }

  const SystemClock clock;
  Signal changed;
  Heartbeats heartbeats(&clock, WatchdogPeriod().value_or(Heartbeats::kDefaultPeriod));
  Pipeline pipeline(prepared.get(), &clock, &changed);
  pipeline.SetOnStoreFailed([&signals] { signals.Wake(); });
  pipeline.SetHeartbeats(&heartbeats);
  StatusReader status(&pipeline, &config, &clock);
  Service service(&heartbeats, &status, &clock);
  admin::Server server;
  AddHandlers(&status, &pipeline, &prepared->config, &server);
  if (const auto serving = ServeAdmin(config, &server); !serving) {
    log::LogError(kMe, serving.error().message);
    return kExitConfig;
  }
  if (const auto started = pipeline.Start(); !started) {
    log::LogError(kMe, started.error().message);
    return started.error().code == Code::kConfig ? kExitConfig : kExitFailure;
  }
  log::Write(log::Level::kInfo, kMe, "running: " + pipeline.Summary(),
             {{"name", config.name}, {"version", PENSTOCK_VERSION}});
  status.SetPhase(StatusReader::Phase::kRunning);
  service.Ready();
  WaitForEnd(signals, pipeline, options.exit_when_done, service);
  const bool source_failed = options.exit_when_done && pipeline.any_source_failed();
  status.SetPhase(StatusReader::Phase::kStopping);
  const int code = ShutDown(pipeline, signals, changed, config.shutdown_timeout, service);
  return source_failed && code == kExitOk ? kExitFailure : code;
}

int Check(const CommandOptions& options, std::ostream& out, std::ostream& err) {
  const std::unique_ptr<Prepared> prepared = Prepare(options);
  for (const config::Finding& finding : prepared->findings) err << finding.ToString() << '\n';
  if (!prepared->ok()) return kExitConfig;
  out << DescribeRoutes(*prepared) << options.config_file << ": the configuration is valid\n";
  return kExitOk;
}

}  // namespace penstock::gateway
