// A real nats-server for tests, as a child process on a free port of the loopback, with JetStream
// in a directory of its own. It can be killed, frozen and started again on the same port and store.
// PENSTOCK_TEST_NATS_SERVER names another server program than the one in PATH.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace penstock::fakes {

// A directory that goes away with the object.
class TempDir {
 public:
  TempDir() {
    const char* base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/penstock-test-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + path_);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no free port");
  }
  close(fd);
  return ntohs(address.sin_port);
}

class NatsServer {
 public:
  // Starts it with JetStream; config is added to the server's configuration file. Throws when it
  // does not come up.
  explicit NatsServer(std::string config = "", bool jetstream = true)
      : config_(std::move(config)), jetstream_(jetstream), port_(FreePort()) {
    Start();
  }
  ~NatsServer() { Kill(); }
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  int port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string url() const { return "nats://" + address(); }
  std::string store() const { return dir_.path() + "/store"; }
  std::string Log() const {
    std::ifstream file(dir_.path() + "/log");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  // On the same port, with the same store.
  void Start() {
    if (pid_ > 0) return;
    std::ofstream(dir_.path() + "/log", std::ios::trunc);
    WriteConfig();
    const std::string program = Program(), file = dir_.path() + "/server.conf";
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(127);
      const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
      dup2(null, 0);
      dup2(null, 1);
      dup2(null, 2);
      execlp(program.c_str(), program.c_str(), "-c", file.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    if (pid_ < 0) throw std::runtime_error("fork failed");
    WaitUntilUp();
  }
  // SIGTERM, waits for its end.
  void Stop() { End(SIGTERM); }
  // SIGKILL, waits for its end.
  void Kill() { End(SIGKILL); }
  // Returns when it stands still.
  void Freeze() {
    kill(pid_, SIGSTOP);
    waitpid(pid_, nullptr, WUNTRACED);
  }
  void Thaw() { kill(pid_, SIGCONT); }
  // Used from the next start on, or after Reload().
  void SetConfig(std::string config) {
    config_ = std::move(config);
    WriteConfig();
  }
  void Reload() { kill(pid_, SIGHUP); }

 private:
  static std::string Program() {
    const char* program = std::getenv("PENSTOCK_TEST_NATS_SERVER");
    return program != nullptr && *program != '\0' ? program : "nats-server";
  }

  void WriteConfig() const {
    std::ofstream file(dir_.path() + "/server.conf", std::ios::trunc);
    file << "listen: \"" << address() << "\"\nlog_file: \"" << dir_.path() << "/log\"\n";
    if (jetstream_) file << "jetstream { store_dir: \"" << store() << "\" }\n";
    file << config_ << "\n";
  }

  bool Accepts() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(port_));
    const bool up = connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    close(fd);
    return up;
  }

  // The server writes its line after JetStream has recovered and the port listens.
  void WaitUntilUp() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < until) {
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        throw std::runtime_error("nats-server ended at once:\n" + Log());
      }
      if (Log().find("Server is ready") != std::string::npos && Accepts()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // polls another process
    }
    throw std::runtime_error("nats-server does not come up:\n" + Log());
  }

  void End(int signal_number) {
    if (pid_ <= 0) return;
    kill(pid_, signal_number);
    kill(pid_, SIGCONT);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  TempDir dir_;
  std::string config_;
  const bool jetstream_;
  const int port_;
  pid_t pid_ = -1;
};

}  // namespace penstock::fakes
