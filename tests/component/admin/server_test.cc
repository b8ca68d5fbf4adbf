// Server and client over a real socket.
#include "admin/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "admin/client.h"

namespace penstock::admin {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uid_t kNobody = 65534;

sockaddr_un Address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// A client that does what it likes.
class RawClient {
 public:
  explicit RawClient(const std::string& path)
      : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_un address = Address(path);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    EXPECT_TRUE(connected_) << std::strerror(errno);
  }
  ~RawClient() { Close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  // false: the server is not there any more.
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
  int fd_;
  bool connected_ = false;
};

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    char name[] = "/tmp/penstock-admin-XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/admin.sock";
  }
  ~AdminTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<Server> MakeServer(Limits limits = {}, uid_t owner = geteuid()) {
    auto server = std::make_unique<Server>(limits, owner);
    server->Handle("GET", "/hello", [](const Request&) {
      Response response;
      response.body = "hello\n";
      return response;
    });
    server->Handle("POST", "/echo", [](const Request& request) {
      Response response;
      response.content_type = "application/json";
      for (const auto& [key, value] : request.query) response.body += key + "=" + value + ";";
      response.body += request.body;
      return response;
    });
    return server;
  }
  std::unique_ptr<Server> Serve(Limits limits = {}, uid_t owner = geteuid()) {
    auto server = MakeServer(limits, owner);
    const auto listening = server->Listen(path_);
    EXPECT_TRUE(listening) << listening.error().message;
    return server;
  }
  // What Listen says; it must not work.
  std::string ListenError(const std::string& path) {
    const auto listening = MakeServer()->Listen(path);
    EXPECT_FALSE(listening);
    if (listening) return "";
    EXPECT_EQ(listening.error().code, Code::kConfig);
    return listening.error().message;
  }
  std::string CallError(const std::string& path, milliseconds timeout = seconds(10)) {
    const auto reply = Client(path, timeout).Call("GET", "/hello");
    EXPECT_FALSE(reply);
    return reply ? "" : reply.error().message;
  }
  Reply Call(const std::string& method, const std::string& target, const std::string& body = "") {
    const auto reply = Client(path_).Call(method, target, body);
    EXPECT_TRUE(reply) << reply.error().message;
    return reply ? *reply : Reply{};
  }
  // A socket's file without a process.
  void LeaveStaleSocket() {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_un address = Address(path_);
    ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(listen(fd, 1), 0);
    close(fd);
  }
  bool Exists() const { return std::filesystem::exists(path_); }

  std::string directory_, path_;
};

TEST_F(AdminTest, AnswersWithWhatTheHandlerGives) {
  const auto server = Serve();
  const Reply hello = Call("GET", "/hello");
  EXPECT_EQ(hello.status, 200);
  EXPECT_EQ(hello.body, "hello\n");
  EXPECT_EQ(hello.content_type, "text/plain; charset=utf-8");
  const Reply echo = Call("POST", "/echo?a=1&b=x%20y&c", "body");
  EXPECT_EQ(echo.status, 200);
  EXPECT_EQ(echo.body, "a=1;b=x y;c=;body");
  EXPECT_EQ(echo.content_type, "application/json");
}

TEST_F(AdminTest, AnswersSeveralRequestsOfOneConnection) {
  const auto server = Serve();
  RawClient client(path_);
  client.Write("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  client.Write("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answers = client.ReadAll();
  EXPECT_THAT(answers, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("\r\n\r\nhello\n")));
  EXPECT_EQ(answers.find("hello"), answers.rfind("hello")) << "HEAD has no body";
}

TEST_F(AdminTest, AnUnknownPathGetsTheListOfPaths) {
  const auto server = Serve();
  const Reply reply = Call("GET", "/helo");
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.body, "there is no /helo; there are\n  POST /echo\n  GET /hello\n");
}

TEST_F(AdminTest, AWrongMethodIsToldTheRightOne) {
  const auto server = Serve();
  const Reply reply = Call("POST", "/hello", "x");
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.body, "/hello does not know POST, only GET\n");
  RawClient client(path_);
  client.Write("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.ReadAll(), HasSubstr("\r\nAllow: POST\r\n"));
}

TEST_F(AdminTest, ATooLargeBodyIsRefusedAndTheHandlerNotCalled) {
  Limits limits;
  limits.max_body = 1000;
  const auto server = Serve(limits);
  EXPECT_EQ(Call("POST", "/echo", std::string(1000, 'x')).body.size(), 1000u);
  // Announced.
  const Reply refused = Call("POST", "/echo", std::string(1001, 'x'));
  EXPECT_EQ(refused.status, 413);
  EXPECT_EQ(refused.body, "the body has more than 1000 bytes\n");
  // More than the sockets hold: the client's write fails, and it reads the answer all the same.
  EXPECT_EQ(Call("POST", "/echo", std::string(8 << 20, 'x')).status, 413);
  // Not announced.
  RawClient client(path_);
  client.Write(
      "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
      "Transfer-Encoding: chunked\r\n\r\n400\r\n" +
      std::string(1024, 'x') + "\r\n0\r\n\r\n");
  EXPECT_THAT(client.ReadAll(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(AdminTest, ABodyWithoutEndIsCutOff) {
  const auto server = Serve();
  RawClient client(path_);
  client.Write("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  size_t written = 0;
  while (written < (64u << 20) && client.Write(chunk)) written += chunk.size();
  EXPECT_LT(written, 64u << 20);
}

TEST_F(AdminTest, WhatAHandlerThrowsIsStatus500) {
  auto server = MakeServer();
  server->Handle("GET", "/bad",
                 [](const Request&) -> Response { throw std::runtime_error("no such luck"); });
  ASSERT_TRUE(server->Listen(path_));
  const Reply reply = Call("GET", "/bad");
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.body, "failed: no such luck\n");
  EXPECT_EQ(Call("GET", "/hello").status, 200);
}

// ---- streamed bodies

// Pieces of all sizes, numbered lines, until there are so many bytes.
struct Lines {
  size_t most, made = 0, line = 0;
  std::string Next() {
    std::string out;
    const size_t lines = 1 + line % 3000;
    for (size_t i = 0; i < lines && made + out.size() < most; ++i)
      out += std::to_string(line++) + "\n";
    made += out.size();
    return out;
  }
};

TEST_F(AdminTest, AStreamedBodyArrivesWholeAndInPieces) {
  constexpr size_t kSize = 5 << 20;
  auto server = MakeServer();
  server->Handle("GET", "/export", [](const Request&) {
    Response response;
    response.pull = [lines = Lines{kSize}]() mutable -> Result<std::string> {
      return lines.Next();
    };
    return response;
  });
  ASSERT_TRUE(server->Listen(path_));
  std::string got, wanted;
  size_t pieces = 0;
  const auto reply = Client(path_).Stream("GET", "/export", "", [&](std::string_view piece) {
    got += piece;
    ++pieces;
  });
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->body, "");
  Lines lines{kSize};
  for (std::string piece; !(piece = lines.Next()).empty();) wanted += piece;
  EXPECT_TRUE(got == wanted);
  EXPECT_GT(pieces, 10u);
  // Other answers are not data.
  size_t data = 0;
  const auto missing = Client(path_).Stream("GET", "/exprt", "", [&](std::string_view) { ++data; });
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->status, 404);
  EXPECT_THAT(missing->body, HasSubstr("/export"));
  EXPECT_EQ(data, 0u);
}

TEST_F(AdminTest, AStreamedBodyIsPulledNoFasterThanItIsRead) {
  auto server = MakeServer();
  std::atomic<size_t> made{0};
  server->Handle("GET", "/endless", [&](const Request&) {
    Response response;
    response.pull = [&]() -> Result<std::string> {
      made += 10000;
      return std::string(10000, 'x');
    };
    return response;
  });
  ASSERT_TRUE(server->Listen(path_));
  size_t read = 0, most = 0;
  const Client client(path_);
  class Enough {};
  const auto stream = [&] {
    (void)client.Stream("GET", "/endless", "", [&](std::string_view piece) {
      read += piece.size();
      most = std::max(most, made - read);
      if (read > (20u << 20)) throw Enough();
    });
  };
  EXPECT_THROW(stream(), Enough);
  EXPECT_LT(most, 2u << 20) << "what is under way is what the sockets hold";
  server->Stop();
}

TEST_F(AdminTest, AStreamThatFailsIsSeenToBeCutOff) {
  auto server = MakeServer();
  server->Handle("GET", "/export", [](const Request&) {
    Response response;
    response.pull = [n = 0]() mutable -> Result<std::string> {
      if (++n == 3) return Fail(Code::kRetry, "the disk has gone");
      return std::string("piece\n");
    };
    return response;
  });
  ASSERT_TRUE(server->Listen(path_));
  const auto reply = Client(path_).Call("GET", "/export");
  ASSERT_FALSE(reply);
  EXPECT_THAT(reply.error().message, HasSubstr("ended the connection before the end"));
}

// ---- the socket's file

TEST_F(AdminTest, TheSocketIsItsOwnersOnlyAndGoesAtStop) {
  const mode_t before = umask(0);
  const auto server = Serve();
  umask(before);
  struct stat made {};
  ASSERT_EQ(lstat(path_.c_str(), &made), 0);
  EXPECT_TRUE(S_ISSOCK(made.st_mode));
  EXPECT_EQ(made.st_mode & 07777, 0600u);
  server->Stop();
  EXPECT_FALSE(Exists());
  server->Stop();
}

TEST_F(AdminTest, TheFileOfADeadProcessIsReplaced) {
  LeaveStaleSocket();
  ASSERT_TRUE(Exists());
  EXPECT_THAT(CallError(path_), AllOf(StartsWith("no gateway runs with this configuration (" +
                                                 path_ + " is left over"),
                                      HasSubstr("--socket")));
  const auto server = Serve();
  EXPECT_EQ(Call("GET", "/hello").status, 200);
}

TEST_F(AdminTest, ALivingListenerIsNamedAndLeftAlone) {
  const auto first = Serve();
  EXPECT_THAT(ListenError(path_),
              AllOf(StartsWith("admin socket " + path_ + ": a gateway (pid " +
                               std::to_string(getpid()) + ") listens there already"),
                    HasSubstr("gateway.admin_socket")));
  EXPECT_EQ(Call("GET", "/hello").status, 200);
}

TEST_F(AdminTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(path_) << "mine";
  EXPECT_THAT(ListenError(path_), HasSubstr("is no socket: remove it"));
  EXPECT_EQ(std::filesystem::file_size(path_), 4u);
}

TEST_F(AdminTest, StopLeavesAFileThatIsNotItsOwn) {
  const auto server = Serve();
  std::filesystem::remove(path_);
  std::ofstream(path_) << "mine";
  server->Stop();
  EXPECT_TRUE(Exists());
}

TEST_F(AdminTest, AMissingDirectoryIsNamedWithWhatToDo) {
  EXPECT_THAT(ListenError(directory_ + "/run/admin.sock"),
              AllOf(HasSubstr("the directory " + directory_ + "/run does not exist: make it"),
                    HasSubstr("gateway.admin_socket")));
}

TEST_F(AdminTest, ATooLongPathIsAnError) {
  EXPECT_THAT(ListenError("/" + std::string(108, 'x')), HasSubstr("at most 107 bytes"));
}

// ---- who may

// What a child of another user is told; its exit status is the HTTP status, or 1.
int StatusForUser(const std::string& path, uid_t user) {
  const pid_t child = fork();
  if (child == 0) {
    const sockaddr_un address = Address(path);
    char answer[64] = {};
    const char ask[] = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";
    if (syscall(SYS_setuid, user) != 0) _exit(2);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) _exit(3);
    if (write(fd, ask, sizeof ask - 1) < 0 || read(fd, answer, sizeof answer - 1) < 12) _exit(4);
    _exit(std::strncmp(answer, "HTTP/1.1 403", 12) == 0   ? 43
          : std::strncmp(answer, "HTTP/1.1 200", 12) == 0 ? 20
                                                          : 5);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(AdminTest, AnotherUserIsRefusedByTheSocketAndByTheServer) {
  if (geteuid() != 0) {  // the only other user that can be had is one that we are not
    const auto server = Serve({}, geteuid() + 1);
    const Reply reply = Call("GET", "/hello");
    EXPECT_EQ(reply.status, 403);
    EXPECT_THAT(reply.body, HasSubstr("only root and the user"));
    return;
  }
  const auto server = Serve();
  std::filesystem::permissions(directory_, std::filesystem::perms(0755));
  EXPECT_EQ(StatusForUser(path_, kNobody), 3) << "by its mode";
  chmod(path_.c_str(), 0666);
  EXPECT_EQ(StatusForUser(path_, kNobody), 43) << "by its credentials";
  EXPECT_EQ(StatusForUser(path_, 0), 20);
}

TEST_F(AdminTest, TheOwnerAndRootMay) {
  if (geteuid() != 0) {
    const auto server = Serve();
    EXPECT_EQ(Call("GET", "/hello").status, 200);
    return;
  }
  const auto server = Serve({}, kNobody);
  std::filesystem::permissions(directory_, std::filesystem::perms(0755));
  chmod(path_.c_str(), 0666);
  EXPECT_EQ(StatusForUser(path_, kNobody), 20);
  EXPECT_EQ(StatusForUser(path_, kNobody - 1), 43);
  EXPECT_EQ(Call("GET", "/hello").status, 200) << "root";
}

// ---- clients that do not behave

TEST_F(AdminTest, ASlowClientHoldsUpNobodyAndIsCutOff) {
  Limits limits;
  limits.timeout = seconds(1);
  const auto server = Serve(limits);
  RawClient slow(path_);
  slow.Write("GET /hel");
  EXPECT_EQ(Call("GET", "/hello").status, 200);
  EXPECT_THAT(slow.ReadAll(), Not(HasSubstr("200")));
}

TEST_F(AdminTest, MoreClientsThanConnectionsWaitTheirTurn) {
  Limits limits;
  limits.connections = 3;
  limits.timeout = seconds(1);
  const auto server = Serve(limits);
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 5; ++i) idle.push_back(std::make_unique<RawClient>(path_));
  // They hang until they are cut off, and then others have their turn.
  EXPECT_EQ(Call("GET", "/hello").status, 200);
}

TEST_F(AdminTest, NoMoreHandlersRunAtOnceThanThereAreConnections) {
  Limits limits;
  limits.connections = 3;
  auto server = MakeServer(limits);
  std::atomic<int> running{0}, most{0};
  std::mutex mutex;
  std::condition_variable changed;
  bool go = false;
  server->Handle("GET", "/slow", [&](const Request&) {
    const int now = ++running;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    std::unique_lock lock(mutex);
    changed.notify_all();
    changed.wait(lock, [&] { return go; });
    --running;
    return Response{};
  });
  ASSERT_TRUE(server->Listen(path_));
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&] {
      const auto reply = Client(path_, seconds(30)).Call("GET", "/slow");
      if (reply && reply->status == 200) ++answered;
    });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return running == 3; });
    go = true;
  }
  changed.notify_all();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, 12);
  EXPECT_EQ(most, 3);
}

TEST_F(AdminTest, StopDoesNotWaitForAClientThatHangs) {
  const auto server = Serve();
  RawClient hanging(path_), reading(path_);
  hanging.Write("GET /hel");
  EXPECT_EQ(Call("GET", "/hello").status, 200);
  const auto start = std::chrono::steady_clock::now();
  server->Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(5));
  EXPECT_EQ(hanging.ReadAll(), "");
}

TEST_F(AdminTest, StopEndsAnEndlessStream) {
  auto server = MakeServer();
  std::atomic<bool> begun{false};
  server->Handle("GET", "/endless", [&](const Request&) {
    Response response;
    response.pull = [&]() -> Result<std::string> {
      begun = true;
      begun.notify_all();
      return std::string(1000, 'x');
    };
    return response;
  });
  ASSERT_TRUE(server->Listen(path_));
  RawClient client(path_);
  client.Write("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
  begun.wait(false);
  server->Stop();
  client.ReadAll();
}

// ---- the client

TEST_F(AdminTest, TheClientSaysWhyThereIsNoAnswer) {
  EXPECT_EQ(CallError(path_), "no gateway runs with this configuration (no " + path_ +
                                  "): start it, or name its socket with --socket");
}

TEST_F(AdminTest, TheClientGivesUp) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = Address(path_);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd, 0), 0);
  // Connected by the kernel, answered by nobody.
  EXPECT_EQ(CallError(path_, milliseconds(200)),
            "no answer from the gateway on " + path_ + " within 200 ms");
  // Nobody has taken that one, so the backlog is full.
  EXPECT_THAT(CallError(path_, milliseconds(200)), HasSubstr("takes no connection"));
  close(fd);
}

TEST_F(AdminTest, TheClientSaysWhoMay) {
  if (geteuid() == 0) {
    // As nobody, in a child: its standard output is not ours to read, so it compares by itself.
    const auto server = Serve();
    std::filesystem::permissions(directory_, std::filesystem::perms(0755));
    const pid_t child = fork();
    if (child == 0) {
      if (syscall(SYS_setuid, kNobody) != 0) _exit(2);
      const auto reply = Client(path_).Call("GET", "/hello");
      const bool told = !reply && reply.error().message ==
                                      path_ +
                                          ": permission denied: run this as the user that the "
                                          "gateway runs as, or as root";
      _exit(told ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    return;
  }
  const auto server = Serve();
  chmod(path_.c_str(), 0);
  EXPECT_THAT(CallError(path_), HasSubstr("permission denied: run this as the user"));
}

}  // namespace
}  // namespace penstock::admin
