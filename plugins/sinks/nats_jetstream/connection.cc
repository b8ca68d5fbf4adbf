#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>

#include "ack.h"
#include "handshake.h"
#include "nkey.h"
#include "stream.h"
#include "text.h"

namespace penstock::nats_jetstream {
namespace {

constexpr int64_t kSecond = 1000000000;
constexpr int64_t kConnectTimeoutMs = kConnectTimeoutS * 1000;
constexpr int64_t kWriteDeadlineMs = 5000;  // only TLS can come to wait in a write
constexpr int kIoBuffer = 64 * 1024;
constexpr int64_t kPingEvery = 10 * kSecond;
constexpr int64_t kPingTimeoutMs = 10000;
constexpr int64_t kStreamRetry = 2 * kSecond;
constexpr unsigned kTcpTimeoutMs = 20000;
constexpr size_t kAnswerBatch = 256;
constexpr int kMostRecords = 256;  // of TLS, read at once

void Require(natsStatus status, const std::string& what) {
  if (status != NATS_OK) throw std::runtime_error(what + ": " + LastText(status));
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

// Nobody else's, like nats.c's own inboxes, but half as long: nats.c reads an answer's subject byte
// by byte, which is a tenth of what a message costs.
std::string NewInbox() {
  constexpr std::string_view kDigits =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string out = "_INBOX.";
  std::random_device random;
  std::uniform_int_distribution<size_t> digit(0, kDigits.size() - 1);
  for (int i = 0; i < 12; ++i) out += kDigits[digit(random)];
  return out;
}

std::string ConnectFailure(natsStatus status, const Settings& settings, const std::string& servers,
                           bool no_handshake) {
  if (no_handshake) {
    return "no TLS connection to " + servers + ": a server takes the connection and says nothing " +
           "in the TLS handshake for " + std::to_string(kConnectTimeoutS) +
           "s; look at it, and at what is between (a firewall, NAT, a proxy that takes connections "
           "for a server that is away)";
  }
  const std::string text = LastText(status);
  switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
      return "the server at " + servers + " refuses the login: " + text +
             "; check user and password, token, creds_file or nkey_seed_file";
    case NATS_SSL_ERROR:
      return "no TLS connection to " + servers + ": " + text +
             "; check tls.ca_file, tls.server_name and tls.cert_file";
    case NATS_SECURE_CONNECTION_REQUIRED:
      return "the server at " + servers + " wants TLS: write tls://HOST:PORT, or set tls.ca_file";
    case NATS_SECURE_CONNECTION_WANTED:
      return "TLS is configured, and the server at " + servers +
             " offers none, or leaves the choice (allow_non_tls), which older versions of nats.c "
             "do not take up: let the server demand TLS, or leave tls out";
    default:
      break;
  }
  // With TLS 1.3 a server judges the client's certificate after the handshake, and hangs up.
  const bool hung_up = settings.tls && status != NATS_NO_SERVER && status != NATS_TIMEOUT;
  return "cannot connect to " + servers + ": " + text +
         (hung_up ? "; if it wants a certificate of its clients, check tls.cert_file" : "");
}

void ApplyTls(natsOptions* options, const Settings& settings) {
  if (!settings.tls) return;
  Require(natsOptions_SetSecure(options, true), "TLS cannot be used");
  if (!settings.ca_file.empty()) {
    Require(natsOptions_LoadCATrustedCertificates(options, settings.ca_file.c_str()),
            "tls.ca_file " + settings.ca_file + " cannot be used");
  }
  if (!settings.cert_file.empty()) {
    Require(natsOptions_LoadCertificatesChain(options, settings.cert_file.c_str(),
                                              settings.key_file.c_str()),
            "tls.cert_file " + settings.cert_file + " and tls.key_file " + settings.key_file +
                " cannot be used");
  }
  if (!settings.server_name.empty()) {
    Require(natsOptions_SetExpectedHostname(options, settings.server_name.c_str()),
            "tls.server_name cannot be used");
  }
  if (settings.insecure_skip_verify) {
    Require(natsOptions_SkipServerVerification(options, true),
            "tls.insecure_skip_verify cannot be used");
  }
}

void ApplyLogin(natsOptions* options, const Settings& settings, const Credentials& credentials) {
  if (!settings.user.empty()) {
    Require(
        natsOptions_SetUserInfo(options, credentials.user.c_str(), credentials.password.c_str()),
        "user and password cannot be used");
  }
  if (!settings.token.empty()) {
    Require(natsOptions_SetToken(options, credentials.token.c_str()), "token cannot be used");
  }
  if (!settings.creds_file.empty()) {
    Require(natsOptions_SetUserCredentialsFromFiles(options, settings.creds_file.c_str(), nullptr),
            "creds_file " + settings.creds_file + " cannot be used");
  }
  if (!settings.nkey_seed_file.empty()) {
    const std::string key = PublicKeyOfSeedFile(settings.nkey_seed_file);
    Require(natsOptions_SetNKeyFromSeed(options, key.c_str(), settings.nkey_seed_file.c_str()),
            "nkey_seed_file " + settings.nkey_seed_file + " cannot be used");
  }
}

// A dead peer of the network is noticed by the kernel; one that is frozen by our pings.
void TuneSocket(int fd) {
  const int on = 1, idle_s = 10, every_s = 5, count = 2;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kTcpTimeoutMs, sizeof kTcpTimeoutMs);
}

}  // namespace

std::vector<std::string> Merge(std::vector<std::string> servers,
                               const std::vector<std::string>& more) {
  for (const std::string& server : more) {
    bool known = false;
    for (const std::string& other : servers) known = known || other == server;
    if (!known) servers.push_back(server);
  }
  return servers;
}

Connection::Connection(uint64_t id, std::shared_ptr<const Settings> settings,
                       std::shared_ptr<Port> port, std::vector<std::string> known_servers)
    : id_(id),
      settings_(std::move(settings)),
      port_(std::move(port)),
      servers_(Merge(settings_->servers, known_servers)) {}

Connection::~Connection() { natsOptions_Destroy(options_); }

void Connection::Start(const Credentials& credentials) {
  Require(natsOptions_Create(&options_), "NATS options cannot be made");
  std::vector<const char*> servers;
  for (const std::string& server : servers_) servers.push_back(server.c_str());
  Require(natsOptions_SetServers(options_, servers.data(), static_cast<int>(servers.size())),
          "servers cannot be used");
  const std::string name = "penstock-" + settings_->instance_name;
  natsOptions_SetName(options_, name.c_str());
  natsOptions_SetAllowReconnect(options_, false);
  natsOptions_SetTimeout(options_, kConnectTimeoutMs);
  natsOptions_SetPingInterval(options_, 0);
  natsOptions_SetWriteDeadline(options_, kWriteDeadlineMs);
  natsOptions_SetSendAsap(options_, true);         // no flusher thread: the loop writes
  natsOptions_UseOldRequestStyle(options_, true);  // no thread for replies to few requests
  natsOptions_SetIOBufSize(options_, kIoBuffer);
  natsOptions_SetErrorHandler(options_, OnError, this);
  natsOptions_SetClosedCB(options_, OnClosed, this);
  Require(natsOptions_SetEventLoop(options_, this, OnAttach, OnRead, OnWrite, OnDetach),
          "event loop mode cannot be used");
  ApplyTls(options_, *settings_);
  ApplyLogin(options_, *settings_, credentials);
  // Detached, as nats.c cannot be stopped in the middle of a TLS handshake; WaitEnded waits for it.
  std::thread([self = shared_from_this()] { self->Run(); }).detach();
}

void Connection::Run() {
  if (Connect() && Subscribe() && EnsureStreamExists()) {
    LearnServers();
    PostNote(Note::kUp, where_);
    KeepAlive();
    PostNote(Note::kDown, LastError());
  }
  TearDown();
  nats_ReleaseThreadMemory();
  std::lock_guard lock(mutex_);
  thread_ended_ = true;
  changed_.notify_all();
}

bool Connection::Connect() {
  {
    std::lock_guard lock(mutex_);
    for_callbacks_ = shared_from_this();
  }
  natsConnection* nc = nullptr;
  const HandshakeLimit limit(static_cast<int>(kConnectTimeoutS));
  const natsStatus status = natsConnection_Connect(&nc, options_);
  if (status != NATS_OK) {
    PostNote(Note::kFailed,
             ConnectFailure(status, *settings_, Join(servers_),
                            status == NATS_SSL_ERROR && limit.Passed()),
             status == NATS_CONNECTION_AUTH_FAILED || status == NATS_NOT_PERMITTED);
    std::lock_guard lock(mutex_);
    for_callbacks_.reset();
    return false;
  }
  char url[256] = "";
  natsConnection_GetConnectedUrl(nc, url, sizeof url);
  std::lock_guard lock(mutex_);
  nc_ = nc;
  where_ = url;
  return !close_asked_;
}

bool Connection::Subscribe() {
  reply_prefix_ = NewInbox() + ".";
  auto closure = std::make_unique<std::shared_ptr<Connection>>(shared_from_this());
  natsStatus status = natsConnection_Subscribe(&answers_, nc_, (reply_prefix_ + "*").c_str(),
                                               OnAnswer, closure.get());
  if (status == NATS_OK) status = natsSubscription_SetPendingLimits(answers_, -1, -1);
  if (status == NATS_OK)
    status = natsSubscription_SetOnCompleteCB(answers_, OnAnswersEnded, closure.get());
  if (status == NATS_OK || answers_ != nullptr) closure.release();  // OnAnswersEnded's now
  if (status == NATS_OK) status = natsConnection_FlushTimeout(nc_, kConnectTimeoutMs);
  const char* error = nullptr;
  if (status == NATS_OK && natsConnection_GetLastError(nc_, &error) == NATS_NOT_PERMITTED) {
    PostNote(Note::kFailed,
             "the server at " + where_ + " does not let this user receive acknowledgements: " +
                 error + "; allow it to subscribe to _INBOX.>",
             true);
    return false;
  }
  if (status != NATS_OK) {
    PostNote(Note::kFailed,
             "connected to " + where_ + ", and it does not answer: " + natsStatus_GetText(status));
  }
  return status == NATS_OK;
}

bool Connection::EnsureStreamExists() {
  while (!Closing(0)) {
    const StreamVerdict verdict = EnsureStream(nc_, settings_->stream);
    for (const std::string& warning : verdict.warnings) PostNote(Note::kWarning, warning);
    if (verdict.usable) {
      if (!verdict.text.empty())
        PostNote(verdict.created ? Note::kInfo : Note::kWarning, verdict.text);
      return true;
    }
    PostNote(Note::kNotYet, verdict.text);
    Closing(kStreamRetry);
  }
  PostNote(Note::kFailed, "the connection to " + where_ + " ended: " + LastError());
  return false;
}

void Connection::LearnServers() {
  char** urls = nullptr;
  int n = 0;
  if (natsConnection_GetDiscoveredServers(nc_, &urls, &n) != NATS_OK) return;
  std::vector<std::string> found;
  for (int i = 0; i < n; ++i) {
    found.emplace_back(urls[i]);
    std::free(urls[i]);
  }
  std::free(urls);
  std::lock_guard lock(mutex_);
  discovered_ = std::move(found);
}

void Connection::KeepAlive() {
  for (;;) {
    if (Closing(kPingEvery)) return;
    LearnServers();
    if (natsConnection_FlushTimeout(nc_, kPingTimeoutMs) == NATS_TIMEOUT) {
      PostNote(Note::kWarning, where_ + " has not answered a ping for " +
                                   std::to_string(kPingTimeoutMs / 1000) +
                                   "s; the connection is given up");
      Close();
    }
  }
}

void Connection::TearDown() {
  {
    std::unique_lock lock(mutex_);
    close_asked_ = true;
    changed_.wait(lock, [this] { return released_; });
  }
  natsSubscription_Destroy(answers_);
  natsConnection_Destroy(nc_);
}

bool Connection::Closing(int64_t wait_ns) {
  std::unique_lock lock(mutex_);
  const auto closing = [this] { return close_asked_ || ended_; };
  return changed_.wait_for(lock, std::chrono::nanoseconds(wait_ns), closing);
}

void Connection::PostNote(Note::Kind kind, std::string text, bool slow) {
  port_->PostNote({kind, id_, std::move(text), slow});
}

void Connection::ReadIn() {
  natsConnection* nc = polled();
  if (nc == nullptr) return;
  {
    std::lock_guard lock(gate_mutex_);
    reading_ = true;
  }
  natsConnection_ProcessReadEvent(nc);
  // With TLS that was one record, which may hold a single answer: a server sends each of its writes
  // as a record of its own.
  for (int i = 1; settings_->tls && i < kMostRecords && Readable(); ++i)
    natsConnection_ProcessReadEvent(nc);
  {
    std::lock_guard lock(gate_mutex_);
    reading_ = false;
  }
  gate_.notify_one();
}

bool Connection::Readable() {
  std::lock_guard lock(mutex_);
  pollfd poll_fd{fd_, POLLIN, 0};
  return fd_ >= 0 && poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLIN) != 0;
}

void Connection::WatchWrites(bool on) {
  std::lock_guard lock(mutex_);
  if (fd_ >= 0) port_->WatchWrites(fd_, id_, on);
}

std::string Connection::LastError() const {
  const char* text = nullptr;
  const natsStatus status = natsConnection_GetLastError(nc_, &text);
  return status == NATS_OK || text == nullptr ? "closed" : text;
}

std::vector<std::string> Connection::DiscoveredServers() {
  std::lock_guard lock(mutex_);
  return discovered_;
}

void Connection::Close() {
  std::lock_guard lock(mutex_);
  close_asked_ = true;
  // The loop sees the end of the stream and closes; nats.c closes a descriptor only after OnRead.
  if (fd_ >= 0) shutdown(fd_, SHUT_RDWR);
  changed_.notify_all();
}

void Connection::Release() {
  std::lock_guard lock(mutex_);
  released_ = true;
  changed_.notify_all();
}

bool Connection::WaitEnded(int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns),
                           [this] { return thread_ended_; });
}

natsStatus Connection::OnAttach(void** user, void* loop, natsConnection* nc, natsSock socket) {
  auto* self = static_cast<Connection*>(loop);
  *user = self;
  TuneSocket(socket);
  std::lock_guard lock(self->mutex_);
  self->fd_ = socket;
  self->attached_ = nc;
  if (self->close_asked_) return NATS_OK;  // nobody will read; it is destroyed soon
  self->polled_.store(nc, std::memory_order_release);
  self->port_->Watch(socket, self->id_);
  return NATS_OK;
}

natsStatus Connection::OnRead(void* user, bool add) {
  if (add) return NATS_OK;
  auto* self = static_cast<Connection*>(user);
  natsSock fd = -1;
  {
    std::lock_guard lock(self->mutex_);
    self->polled_.store(nullptr, std::memory_order_release);
    std::swap(fd, self->fd_);
    self->ended_ = true;
    self->port_->Unwatch(fd);
    self->changed_.notify_all();
  }
#if NATS_VERSION_NUMBER >= 0x030A00
  natsConnection_ProcessCloseEvent(&fd);
#endif
  self->port_->Wake();
  return NATS_OK;
}

natsStatus Connection::OnWrite(void* user, bool add) {
  auto* self = static_cast<Connection*>(user);
  self->wants_write_.store(add, std::memory_order_release);
  if (add) self->port_->Wake();
  return NATS_OK;
}

natsStatus Connection::OnDetach([[maybe_unused]] void* user) {
#if NATS_VERSION_NUMBER >= 0x030B00
  natsConnection_ProcessDetachedEvent(static_cast<Connection*>(user)->attached_);
#endif
  return NATS_OK;
}

void Connection::OnClosed(natsConnection*, void* closure) {
  auto* self = static_cast<Connection*>(closure);
  std::shared_ptr<Connection> last;
  std::lock_guard lock(self->mutex_);
  last.swap(self->for_callbacks_);
  self->ended_ = true;
  self->changed_.notify_all();
}

void Connection::OnError(natsConnection*, natsSubscription*, natsStatus status, void* closure) {
  auto* self = static_cast<Connection*>(closure);
  if (status == NATS_NOT_PERMITTED) self->PostNote(Note::kNotAllowed, LastText(status));
}

void Connection::OnAnswer(natsConnection*, natsSubscription* sub, natsMsg* msg, void* closure) {
  auto& self = **static_cast<std::shared_ptr<Connection>*>(closure);
  if (self.batch_.empty()) {
    std::unique_lock lock(self.gate_mutex_);
    self.gate_.wait(lock, [&self] { return !self.reading_; });
  }
  const std::string_view subject = natsMsg_GetSubject(msg);
  Answer answer{0, msg, false};
  if (subject.size() >= kReplyTokenSize &&
      ReadReplyToken(subject.substr(subject.size() - kReplyTokenSize), &answer.key)) {
    const auto size = static_cast<size_t>(natsMsg_GetDataLength(msg));
    answer.plain = IsPlainAck(std::string_view(size == 0 ? "" : natsMsg_GetData(msg), size));
    self.batch_.push_back(answer);
  } else {
    natsMsg_Destroy(msg);
  }
  uint64_t waiting = 0;
  if (self.batch_.size() < kAnswerBatch && natsSubscription_QueuedMsgs(sub, &waiting) == NATS_OK &&
      waiting > 0) {
    return;
  }
  self.port_->PostAnswers(&self.batch_);
}

void Connection::OnAnswersEnded(void* closure) {
  auto& self = **static_cast<std::shared_ptr<Connection>*>(closure);
  self.port_->PostAnswers(&self.batch_);
  delete static_cast<std::shared_ptr<Connection>*>(closure);
}

}  // namespace penstock::nats_jetstream
