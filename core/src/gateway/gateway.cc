#include "gateway/gateway.h"

#include <malloc.h>

#include <iostream>

#include "admin/server.h"
#include "gateway/control.h"
#include "gateway/describe.h"
#include "gateway/monitor.h"
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

// Batches are encoded into memory that is freed a moment later. By default glibc gives the top of
// the heap back to the kernel each time and faults it in again, which costs more than the encoding.
void KeepHeap() {
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  mallopt(M_TOP_PAD, 1 << 20);
}

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
                 const Heartbeats* heartbeats, AdminServers* servers) {
  const auto health = [heartbeats] { return heartbeats->Unhealthy(); };
  for (const Endpoint& endpoint : MonitorEndpoints(status, pipeline, health)) {
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

int ShutDown(Pipeline& pipeline, Signals& signals, Signal& changed, Nanoseconds timeout,
             Service& service) {
  const SystemClock clock;
  const TimePoint deadline = clock.Now() + timeout;
  service.Stopping(deadline);
  bool second = false;
  const auto hurried = [&] {
    service.Tick();
    second = second || signals.StopAsked();
    return second || !pipeline.store_failure().empty();
  };
  pipeline.StopSources(deadline, hurried);
  pipeline.DrainSinks();
  while (!pipeline.drained() && pipeline.worth_draining() && clock.Now() < deadline && !hurried()) {
    const Signal::Ticket ticket = changed.Take();
    if (pipeline.drained()) break;
    changed.WaitPast(ticket, std::min(deadline, clock.Now() + std::chrono::milliseconds(50)));
  }
  if (second) log::Warn(kMe, "a second signal: not waiting for the rest");
  pipeline.StopSinks();
  return Conclude(pipeline);
}

}  // namespace

int Run(const CommandOptions& options) {
  struct FlushedLog {
    ~FlushedLog() { log::Flush(); }
  } const flushed_log;
  KeepHeap();
  Signals signals;
  plugin::Registry registry;
  const std::unique_ptr<Prepared> prepared = Prepare(options, &registry);
  const config::GatewayConfig& config = prepared->config.gateway;
  ConfigureLog(config);
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
  pipeline.SetStopWanted([&signals] { return signals.StopPending(); });
  pipeline.SetHeartbeats(&heartbeats);
  StatusReader status(&pipeline, &config, &clock);
  Service service(&heartbeats, &status, &clock);
  Requests requests(&signals);
  AdminServers servers;
  AddHandlers(&status, &pipeline, &requests, &heartbeats, &servers);
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
  service.Ready();
  Control(options, {&signals, &requests, &pipeline, &status, &service, &registry}).Run();
  requests.Close();
  const bool source_failed = options.exit_when_done && pipeline.any_source_failed();
  status.SetPhase(StatusReader::Phase::kStopping);
  const Nanoseconds timeout = pipeline.config()->gateway.shutdown_timeout;
  const int code = ShutDown(pipeline, signals, changed, timeout, service);
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
