#include "gateway/gateway.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <future>
#include <iostream>
#include <mutex>
#include <optional>
#include <thread>

#include "admin/server.h"
#include "gateway/describe.h"
#include "gateway/monitor.h"
#include "gateway/pipeline.h"
#include "gateway/prepare.h"
#include "gateway/status.h"
#include "gateway/store_tools.h"
#include "platform/log.h"
#include "platform/notify.h"

namespace penstock::gateway {
namespace {

constexpr char kMe[] = "gateway";

// SIGTERM, SIGINT and SIGHUP as a file descriptor; blocked in this thread and in all that it
// starts.
class Signals {
 public:
  Signals() {
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~Signals() {
    close(fd_);
    close(wake_fd_);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // The number of the signal that came, or 0 once the time is over (< 0: never) or somebody wakes.
  int Wait(int timeout_ms) {
    pollfd fds[] = {{fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    if (poll(fds, 2, timeout_ms) <= 0) return 0;
    uint64_t woken = 0;
    while (read(wake_fd_, &woken, sizeof woken) > 0) continue;
    signalfd_siginfo info{};
    if (read(fd_, &info, sizeof info) != sizeof info) return 0;
    return static_cast<int>(info.ssi_signo);
  }
  // Wait returns, now or the next time. Any thread.
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

// Answers what other threads want done, on the control thread.
class Requests {
 public:
  enum class Kind { kReload, kDrain };
  struct Request {
    Kind kind;
    std::promise<Result<std::string>> answer;
  };
  explicit Requests(Signals* signals) : signals_(signals) {}

  // Waits for the answer. Any thread but the control thread.
  Result<std::string> Ask(Kind kind) {
    std::future<Result<std::string>> answer;
    {
      std::lock_guard lock(mutex_);
      if (closed_) return Closed();
      waiting_.push_back({kind, {}});
      answer = waiting_.back().answer.get_future();
    }
    signals_->Wake();
    return answer.get();
  }
  std::optional<Request> Take() {
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) return {};
    Request first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }
  // Refuses what waits and what comes.
  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    for (Request& request : waiting_) request.answer.set_value(Closed());
    waiting_.clear();
  }

 private:
  static Result<std::string> Closed() { return Fail(Code::kRetry, "the gateway is stopping"); }
  Signals* const signals_;
  std::mutex mutex_;
  std::deque<Request> waiting_;
  bool closed_ = false;
};

admin::Response Answer(const Result<std::string>& done) {
  admin::Response response;
  if (!done) response.status = done.error().code == Code::kConfig ? 409 : 503;
  response.body = (done ? *done : done.error().message) + "\n";
  return response;
}

// Where the gateway may be asked: for all of it at the admin socket, for what only looks on TCP.
struct AdminServers {
  admin::Server socket, tcp;
};

void AddHandlers(StatusReader* status, Pipeline* pipeline, Requests* requests,
                 AdminServers* servers) {
  for (const Endpoint& endpoint : MonitorEndpoints(status, pipeline, HealthCheck())) {
    servers->socket.Handle(endpoint.method, endpoint.path, endpoint.handler);
    servers->tcp.Handle(endpoint.method, endpoint.path, endpoint.handler);
  }
  servers->socket.Handle("POST", "/reload", [requests](const admin::Request&) {
    return Answer(requests->Ask(Requests::Kind::kReload));
  });
  servers->socket.Handle("POST", "/drain", [requests](const admin::Request&) {
    return Answer(requests->Ask(Requests::Kind::kDrain));
  });
  StoreAccess access;
  access.store = [pipeline]() -> Result<store::Store*> {
    if (!pipeline->started()) return Fail(Code::kRetry, "the gateway is starting: ask again soon");
    if (pipeline->store() != nullptr) return pipeline->store();
    return Fail(Code::kReject, "this gateway keeps nothing on disk; its log says why");
  };
  access.config = [pipeline] { return pipeline->config(); };
  access.marked = [pipeline] { return pipeline->StartReplays(); };
  access.removed = [pipeline] { return pipeline->RecountLetters(); };
  for (Endpoint& endpoint : StoreEndpoints(std::move(access)))
    servers->socket.Handle(endpoint.method, endpoint.path, std::move(endpoint.handler));
}

// The socket that the configuration names must work; the one that it does not need not.
Result<void> ServeSocket(const config::GatewayConfig& config, admin::Server* server) {
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

Result<void> ServeTcp(const config::GatewayConfig& config, admin::Server* server) {
  const config::ListenAddress& address = config.admin_listen;
  if (address.host.empty()) return {};
  const auto listening = server->ListenTcp(address.host, address.port);
  if (!listening) {
    const config::Finding finding{config::Severity::kError, config.admin_listen_where,
                                  "gateway.admin_listen: " + listening.error().message};
    return Fail(listening.error().code, finding.ToString());
  }
  log::Info("admin", "http://" + *listening + " serves /metrics, /healthz, /readyz and /status");
  return {};
}

Result<void> ServeAdmin(const config::GatewayConfig& config, AdminServers* servers) {
  if (auto serving = ServeSocket(config, &servers->socket); !serving) return serving;
  return ServeTcp(config, &servers->tcp);
}

log::Format LogFormat(const config::GatewayConfig& config) {
  return config.log_format == config::LogFormat::kJson ? log::Format::kJson : log::Format::kText;
}

// Everything between the start and the stop; the control thread's.
class Control {
 public:
  Control(const CommandOptions& options, Signals* signals, Requests* requests, Pipeline* pipeline,
          StatusReader* status, plugin::Registry* registry)
      : options_(options),
        signals_(*signals),
        requests_(*requests),
        pipeline_(*pipeline),
        status_(*status),
        registry_(*registry) {}

  // Returns once a signal asks for the stop, or the store has failed; with exit_when_done also when
  // every source has finished.
  void Run() {
    for (;;) {
      const int signal_number = signals_.Wait(options_.exit_when_done ? 20 : -1);
      if (signal_number == SIGHUP) {
        (void)Reload();  // it logs how it went
      } else if (signal_number != 0) {
        log::Info(kMe, std::string("stopping: ") + strsignal(signal_number));
        return;
      }
      while (auto request = requests_.Take())
        request->answer.set_value(request->kind == Requests::Kind::kReload ? Reload() : Drain());
      if (!pipeline_.store_failure().empty()) return;
      if (options_.exit_when_done && pipeline_.sources_finished()) return;
    }
  }

 private:
  // The value says what has changed, line by line; an error, why nothing has.
  Result<std::string> Reload() {
    const StatusReader::Phase before = status_.phase();
    status_.SetPhase(StatusReader::Phase::kReloading);
    NotifyReady("reloading");
    const std::unique_ptr<Prepared> next = Prepare(options_, &registry_);
    for (const config::Finding& finding : next->findings) LogFinding(finding);
    Result<std::string> done = next->ok() ? pipeline_.Reload(*next) : ErrorsOf(*next);
    if (done) {
      log::Configure(log::ParseLevel(next->config.gateway.log_level),
                     LogFormat(next->config.gateway));
      log::Info(kMe, "reloaded: " + *done);
    } else {
      log::LogError(kMe, "not reloaded, all goes on as before: " + done.error().message);
    }
    status_.SetPhase(done ? StatusReader::Phase::kRunning : before);
    NotifyReady("running: " + pipeline_.Summary());
    return done;
  }

  static Result<std::string> ErrorsOf(const Prepared& next) {
    std::string text = "the configuration has errors:";
    for (const config::Finding& finding : next.findings)
      if (finding.severity == config::Severity::kError) text += '\n' + finding.ToString();
    return Fail(Code::kConfig, std::move(text));
  }

  Result<std::string> Drain() {
    log::Info(kMe, "draining: the sources are stopped until the next reload");
    status_.SetPhase(StatusReader::Phase::kDraining);
    pipeline_.Drain();
    return std::string("draining");
  }

  const CommandOptions& options_;
  Signals& signals_;
  Requests& requests_;
  Pipeline& pipeline_;
  StatusReader& status_;
  plugin::Registry& registry_;
};

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

int ShutDown(Pipeline& pipeline, Signals& signals, Signal& changed, Nanoseconds timeout) {
  const SystemClock clock;
  const TimePoint deadline = clock.Now() + timeout;
  NotifyStopping("draining");
  pipeline.StopSources(pipeline.store_failure().empty() ? deadline : clock.Now());
  pipeline.DrainSinks();
  bool hurried = false;
  while (!pipeline.drained() && pipeline.worth_draining() && clock.Now() < deadline && !hurried &&
         pipeline.store_failure().empty()) {
    const Signal::Ticket ticket = changed.Take();
    if (pipeline.drained()) break;
    changed.WaitPast(ticket, std::min(deadline, clock.Now() + std::chrono::milliseconds(50)));
    const int signal_number = signals.Wait(0);
    hurried = signal_number == SIGTERM || signal_number == SIGINT;
  }
  if (hurried) log::Warn(kMe, "a second signal: not waiting for the rest");
  pipeline.StopSinks();
  return Conclude(pipeline);
}

}  // namespace

int Run(const CommandOptions& options) {
  KeepHeap();
  Signals signals;
  plugin::Registry registry;
  const std::unique_ptr<Prepared> prepared = Prepare(options, &registry);
  const config::GatewayConfig& config = prepared->config.gateway;
  log::Configure(log::ParseLevel(config.log_level), LogFormat(config));
  for (const config::Finding& finding : prepared->findings) LogFinding(finding);
  if (!prepared->ok()) {
    log::LogError(kMe, "not started: the configuration has errors; penstock check shows them all");
    return kExitConfig;
  }

  const SystemClock clock;
  Signal changed;
  Pipeline pipeline(prepared.get(), &clock, &changed);
  pipeline.SetOnStoreFailed([&signals] { signals.Wake(); });
  StatusReader status(&pipeline, &config, &clock);
  Requests requests(&signals);
  AdminServers servers;
  AddHandlers(&status, &pipeline, &requests, &servers);
  auto started = ServeAdmin(config, &servers);
  if (started) started = pipeline.Start();
  if (!started) {
    requests.Close();
    log::LogError(kMe, started.error().message);
    return started.error().code == Code::kConfig ? kExitConfig : kExitFailure;
  }
  log::Write(log::Level::kInfo, kMe, "running: " + pipeline.Summary(),
             {{"name", config.name}, {"version", PENSTOCK_VERSION}});
  status.SetPhase(StatusReader::Phase::kRunning);
  NotifyReady("running: " + pipeline.Summary());
  Control(options, &signals, &requests, &pipeline, &status, &registry).Run();
  requests.Close();
  const bool source_failed = options.exit_when_done && pipeline.any_source_failed();
  status.SetPhase(StatusReader::Phase::kStopping);
  const int code =
      ShutDown(pipeline, signals, changed, pipeline.config()->gateway.shutdown_timeout);
  return source_failed && code == kExitOk ? kExitFailure : code;
}

int Check(const CommandOptions& options, std::ostream& out, std::ostream& err) {
  plugin::Registry registry;
  const std::unique_ptr<Prepared> prepared = Prepare(options, &registry);
  for (const config::Finding& finding : prepared->findings) err << finding.ToString() << '\n';
  if (!prepared->ok()) return kExitConfig;
  out << DescribeAdmin(prepared->config.gateway) << DescribeRoutes(*prepared) << options.config_file
      << ": the configuration is valid\n";
  return kExitOk;
}

}  // namespace penstock::gateway
