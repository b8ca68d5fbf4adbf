// The server on TCP, and clients that know HTTP or do not.
#include <gmock/gmock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "admin/server.h"

namespace penstock::admin {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A connection to "127.0.0.1:9464" or "[::1]:9464".
class TcpClient {
 public:
  explicit TcpClient(const std::string& address) {
    const size_t colon = address.rfind(':');
    std::string host = address.substr(0, colon);
    if (host.front() == '[') host = host.substr(1, host.size() - 2);
    addrinfo hints{}, *found = nullptr;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    EXPECT_EQ(getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found), 0);
    fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected_ = connect(fd_, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
  }
  ~TcpClient() { close(fd_); }
  TcpClient(const TcpClient&) = delete;
  TcpClient& operator=(const TcpClient&) = delete;

  bool connected() const { return connected_; }
  bool Write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // Until the server closes the connection.
  std::string ReadAll() {
    std::string out;
    char chunk[4096];
    for (ssize_t n; (n = read(fd_, chunk, sizeof chunk)) > 0;)
      out.append(chunk, static_cast<size_t>(n));
    return out;
  }

 private:
  int fd_ = -1;
  bool connected_ = false;
};

std::string Ask(const std::string& address, const std::string& method, const std::string& path) {
  TcpClient client(address);
  EXPECT_TRUE(client.connected()) << address << ": " << std::strerror(errno);
  client.Write(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  return client.ReadAll();
}

std::unique_ptr<Server> MakeServer(Limits limits = {}) {
  auto server = std::make_unique<Server>(limits);
  server->Handle("GET", "/hello", [](const Request&) {
    Response response;
    response.body = "hello\n";
    return response;
  });
  return server;
}

std::string Listen(Server& server, const std::string& host, uint16_t port = 0) {
  const auto address = server.ListenTcp(host, port);
  EXPECT_TRUE(address) << address.error().message;
  return address ? *address : "";
}

uint16_t PortOf(const std::string& address) {
  return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

// Containers may be without it.
bool HasIpv6() {
  const int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return bound;
}

TEST(Tcp, ServesAnyFreePortOfAnAddressOrAName) {
  for (const auto& [host, prefix] :
       {std::pair("127.0.0.1", "127.0.0.1:"), std::pair("::1", "[::1]:"),
        std::pair("localhost", "127.0.0.1:")}) {
    if (std::string_view(host) == "::1" && !HasIpv6()) continue;
    const auto server = MakeServer();
    const std::string address = Listen(*server, host);
    EXPECT_THAT(address, AllOf(StartsWith(prefix), Not(EndsWith(":0"))));
    EXPECT_THAT(Ask(address, "GET", "/hello"),
                AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("\r\n\r\nhello\n")));
  }
}

TEST(Tcp, AllAddressesOfIpv6AreThoseOfIpv4Too) {
  if (!HasIpv6()) return;
  const auto server = MakeServer();
  const std::string port = std::to_string(PortOf(Listen(*server, "::")));
  EXPECT_THAT(Ask("[::1]:" + port, "GET", "/hello"), EndsWith("hello\n"));
  EXPECT_THAT(Ask("127.0.0.1:" + port, "GET", "/hello"), EndsWith("hello\n"));
}

TEST(Tcp, EachAnswerEndsItsConnection) {
  const auto server = MakeServer();
  const std::string address = Listen(*server, "127.0.0.1");
  for (const char* path : {"/hello", "/nothing"}) {
    EXPECT_THAT(Ask(address, "GET", path), HasSubstr("\r\nConnection: close\r\n"));
    EXPECT_THAT(Ask(address, "HEAD", path),
                AllOf(HasSubstr("\r\nConnection: close\r\n"), EndsWith("\r\n\r\n")));
  }
}

TEST(Tcp, WhatTheTableDoesNotHaveIsNotThere) {
  const auto server = MakeServer();
  const std::string address = Listen(*server, "127.0.0.1");
  EXPECT_THAT(Ask(address, "POST", "/deadletters/drop"),
              AllOf(StartsWith("HTTP/1.1 404 "),
                    EndsWith("there is no /deadletters/drop; there are\n  GET /hello\n")));
  EXPECT_THAT(Ask(address, "POST", "/hello"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("\r\nAllow: GET\r\n")));
  EXPECT_THAT(Ask(address, "GET", "/hello/../hello"), StartsWith("HTTP/1.1 404 "));
}

TEST(Tcp, WhatIsNoHttpIsRefusedAndTheNextOneAnswered) {
  Limits limits;
  limits.connections = 1;
  limits.timeout = seconds(1);
  const auto server = MakeServer(limits);
  const std::string address = Listen(*server, "127.0.0.1");
  const std::string bad[] = {
      "\r\n\r\n\r\n\r\n",
      std::string("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 11),
      "GET\r\n\r\n",
      "GET /hello HTTP/9.9\r\n\r\n",
      "GET /hello HTTP/1.1\r\n" + std::string(100'000, 'x') + ": y\r\n\r\n",
      "GET /" + std::string(100'000, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n",
      "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
      "GET /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"};
  for (const std::string& text : bad) {
    TcpClient client(address);
    ASSERT_TRUE(client.connected());
    client.Write(text);
    EXPECT_THAT(client.ReadAll(), Not(HasSubstr("HTTP/1.1 200"))) << text.substr(0, 40);
    EXPECT_THAT(Ask(address, "GET", "/hello"), EndsWith("hello\n")) << text.substr(0, 40);
  }
}

TEST(Tcp, MoreClientsThanConnectionsWaitTheirTurn) {
  Limits limits;
  limits.connections = 3;
  limits.timeout = seconds(1);
  const auto server = MakeServer(limits);
  const std::string address = Listen(*server, "127.0.0.1");
  std::vector<std::unique_ptr<TcpClient>> idle;
  for (int i = 0; i < 5; ++i) {
    idle.push_back(std::make_unique<TcpClient>(address));
    idle.back()->Write("GET /hel");
  }
  // They hang until they are cut off, and then others have their turn.
  EXPECT_THAT(Ask(address, "GET", "/hello"), EndsWith("hello\n"));
}

TEST(Tcp, ClientsThatSayNothingHoldUpNobody) {
  Limits limits;
  limits.connections = 1;
  limits.timeout = std::chrono::minutes(1);
  const auto server = MakeServer(limits);
  const std::string address = Listen(*server, "127.0.0.1");
  std::vector<std::unique_ptr<TcpClient>> silent;
  for (int i = 0; i < 5; ++i) silent.push_back(std::make_unique<TcpClient>(address));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(Ask(address, "GET", "/hello"), EndsWith("hello\n"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
}

TEST(Tcp, NoMoreHandlersRunAtOnceThanThereAreConnections) {
  Limits limits;
  limits.connections = 2;
  auto server = MakeServer(limits);
  std::mutex mutex;
  std::condition_variable changed;
  int running = 0, most = 0;
  bool go = false;
  server->Handle("GET", "/slow", [&](const Request&) {
    std::unique_lock lock(mutex);
    most = std::max(most, ++running);
    changed.notify_all();
    changed.wait(lock, [&] { return go; });
    --running;
    return Response{};
  });
  const std::string address = Listen(*server, "127.0.0.1");
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back([&] {
      if (Ask(address, "GET", "/slow").starts_with("HTTP/1.1 200 ")) ++answered;
    });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return running == 2; });
    go = true;
  }
  changed.notify_all();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, 10);
  EXPECT_EQ(most, 2);
}

TEST(Tcp, StopFreesThePortForTheNextOne) {
  auto server = MakeServer();
  const std::string address = Listen(*server, "127.0.0.1");
  TcpClient hanging(address);
  hanging.Write("GET /hel");
  EXPECT_THAT(Ask(address, "GET", "/hello"), EndsWith("hello\n"));
  server->Stop();
  EXPECT_EQ(hanging.ReadAll(), "");
  EXPECT_FALSE(TcpClient(address).connected());
  server->Stop();
  const auto next = MakeServer();
  EXPECT_EQ(Listen(*next, "127.0.0.1", PortOf(address)), address);
}

// ---- where it cannot listen

Error ErrorOf(const std::string& host, uint16_t port) {
  const auto address = MakeServer()->ListenTcp(host, port);
  EXPECT_FALSE(address);
  return address ? Error{} : address.error();
}

TEST(Tcp, APortThatIsTakenIsNamed) {
  const auto server = MakeServer();
  const std::string address = Listen(*server, "127.0.0.1");
  const Error error = ErrorOf("127.0.0.1", PortOf(address));
  EXPECT_EQ(error.message, "cannot listen on " + address +
                               ": another process has that port: stop it, or choose another");
  EXPECT_EQ(error.code, Code::kRetry);
}

TEST(Tcp, AnAddressOfAnotherHostIsNamed) {
  const Error error = ErrorOf("192.0.2.1", 9464);
  EXPECT_THAT(error.message, StartsWith("cannot listen on 192.0.2.1:9464: this host has no such "
                                        "address"));
  EXPECT_EQ(error.code, Code::kRetry) << "the network may not be up yet";
}

TEST(Tcp, ANameThatIsNoneIsNamed) {
  const Error error = ErrorOf("no..name", 9464);
  EXPECT_THAT(error.message, StartsWith("cannot listen on no..name:9464: the host's name is not "
                                        "resolved ("));
  EXPECT_THAT(error.message, EndsWith("): write an address"));
}

}  // namespace
}  // namespace penstock::admin
