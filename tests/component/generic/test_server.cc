#include "component/generic/test_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

extern char** environ;

namespace penstock::testing {

TestServer::TestServer(std::vector<std::string> flags) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  flags.insert(flags.begin(), PENSTOCK_TEST_SERVER);
  std::vector<char*> argv;
  for (std::string& flag : flags) argv.push_back(flag.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const int error = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  output_ = ends[0];
  if (error != 0) throw std::runtime_error(std::string("cannot start ") + argv[0]);
  reader_ = std::thread([this] { ReadLines(); });
  const std::string line = WaitLine("PORT ");
  if (line.empty()) {
    Kill();
    reader_.join();
    throw std::runtime_error("the test server does not listen");
  }
  port_ = std::stoi(line.substr(5));
}

TestServer::~TestServer() {
  Kill();
  if (reader_.joinable()) reader_.join();
  close(output_);
}

void TestServer::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void TestServer::Freeze() { kill(pid_, SIGSTOP); }
void TestServer::Thaw() { kill(pid_, SIGCONT); }

void TestServer::ReadLines() {
  std::string rest;
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(output_, buffer, sizeof buffer);
    std::lock_guard lock(mutex_);
    if (n <= 0) {
      ended_ = true;
      changed_.notify_all();
      return;
    }
    rest.append(buffer, static_cast<size_t>(n));
    for (size_t end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
      lines_.push_back(rest.substr(0, end));
      rest.erase(0, end + 1);
    }
    changed_.notify_all();
  }
}

std::string TestServer::WaitLine(const std::string& start, size_t n,
                                 std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  std::string found;
  const auto is_there = [&] {
    size_t left = n;
    for (const std::string& line : lines_) {
      if (line.rfind(start, 0) != 0 || --left > 0) continue;
      found = line;
      return true;
    }
    return false;
  };
  changed_.wait_for(lock, timeout, [&] { return is_there() || ended_; });
  return found;
}

std::string TestServer::LastLine(const std::string& start) {
  std::lock_guard lock(mutex_);
  for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
    if (line->rfind(start, 0) == 0) return *line;
  }
  return "";
}

size_t TestServer::CountLines(const std::string& start) {
  std::lock_guard lock(mutex_);
  size_t n = 0;
  for (const std::string& line : lines_) n += line.rfind(start, 0) == 0 ? 1 : 0;
  return n;
}

std::string Field(const std::string& line, const std::string& key) {
  const size_t at = line.find(" " + key + "=");
  if (at == std::string::npos) return "";
  const size_t start = at + key.size() + 2;
  return line.substr(start, line.find(' ', start) - start);
}

std::string HexField(const std::string& line, const std::string& key) {
  const std::string hex = Field(line, key);
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no free port");
  }
  close(fd);
  return ntohs(address.sin_port);
}

}  // namespace penstock::testing
