// One connection to NATS, from the first attempt to its end; a new attempt is a new object.
// nats.c's own reconnecting is off, so that each attempt reads secrets and certificates anew and
// one path serves all failures.
//
// Socket I/O is the loop thread's alone (nats.c's event loop mode): publishing never blocks, and
// TLS is never used by two threads at once. Everything that may block (connecting, JetStream's API,
// pings, closing) runs on the connection's own thread, which the loop never waits for.
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "port.h"
#include "settings.h"

namespace penstock::nats_jetstream {

constexpr int64_t kConnectTimeoutS = 5;  // for each server

struct Credentials {
  std::string user, password, token;
};

// The servers and those of more that are not among them.
std::vector<std::string> Merge(std::vector<std::string> servers,
                               const std::vector<std::string>& more);

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // known_servers: what earlier connections learned, beside the configured ones.
  Connection(uint64_t id, std::shared_ptr<const Settings> settings, std::shared_ptr<Port> port,
             std::vector<std::string> known_servers);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Begins; notes to the port tell the rest. Throws std::runtime_error with the reason when the
  // options cannot be used (a file that is missing, say).
  void Start(const Credentials& credentials);

  uint64_t id() const { return id_; }

  // For the loop thread, between attach and the end; nullptr outside.
  natsConnection* polled() const { return polled_.load(std::memory_order_acquire); }
  bool wants_write() const { return wants_write_.load(std::memory_order_acquire); }
  void WatchWrites(bool on);
  // Reads what has arrived. nats.c gives each answer to a thread of its own, waking it for every
  // one that finds it idle; so that thread is held at its first until the whole read is through,
  // and then has them all to itself.
  void ReadIn();
  const std::string& reply_prefix() const { return reply_prefix_; }  // "_INBOX.xxxx."
  // After the end: what nats.c says of it.
  std::string LastError() const;
  // The servers of the cluster that it heard of and was not given: none when it never came up.
  std::vector<std::string> DiscoveredServers();

  // Ends it: never waits. Any thread.
  void Close();
  // The loop will not use it again. Then, and not earlier, nats.c's objects are freed.
  void Release();
  // True when its thread has ended within the time.
  bool WaitEnded(int64_t timeout_ns);

 private:
  void Run();
  bool Readable();
  bool Connect();
  bool Subscribe();
  bool EnsureStreamExists();
  void LearnServers();
  void KeepAlive();
  void TearDown();
  bool Closing(int64_t wait_ns);
  void PostNote(Note::Kind kind, std::string text, bool slow = false);

  // nats.c's callbacks.
  static natsStatus OnAttach(void** user, void* loop, natsConnection* nc, natsSock socket);
  static natsStatus OnRead(void* user, bool add);
  static natsStatus OnWrite(void* user, bool add);
  static natsStatus OnDetach(void* user);
  static void OnClosed(natsConnection* nc, void* closure);
  static void OnError(natsConnection* nc, natsSubscription* sub, natsStatus status, void* closure);
  static void OnAnswer(natsConnection* nc, natsSubscription* sub, natsMsg* msg, void* closure);
  static void OnAnswersEnded(void* closure);

  const uint64_t id_;
  const std::shared_ptr<const Settings> settings_;
  const std::shared_ptr<Port> port_;
  const std::vector<std::string> servers_;
  std::string reply_prefix_;
  std::string where_;  // the server, once connected

  natsOptions* options_ = nullptr;
  natsConnection* nc_ = nullptr;
  natsConnection* attached_ = nullptr;
  natsSubscription* answers_ = nullptr;

  std::atomic<natsConnection*> polled_{nullptr};
  std::atomic<bool> wants_write_{false};

  std::mutex gate_mutex_;
  std::condition_variable gate_;
  bool reading_ = false;
  std::vector<Answer> batch_;  // the answers' thread's

  mutable std::mutex mutex_;  // never held while nats.c is called
  std::condition_variable changed_;
  int fd_ = -1;
  bool ended_ = false;  // the socket is gone
  bool close_asked_ = false, released_ = false, thread_ended_ = false;
  std::vector<std::string> discovered_;
  std::shared_ptr<Connection> for_callbacks_;  // keeps this alive until the last callback
};

}  // namespace penstock::nats_jetstream
