// A real Kafka broker for C++ tests: broker.py as a child process, which ends with this one.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace penstock::kafka_tests {

class RealBroker {
 public:
  // Where the jars are not, missing() says so and nothing else works.
  explicit RealBroker(const std::vector<std::string>& options = {}) {
    std::vector<std::string> command = {"python3", PENSTOCK_KAFKA_BROKER, "run"};
    command.insert(command.end(), options.begin(), options.end());
    Spawn(command);
    std::string line;
    while (addresses_.count("BOOTSTRAP") == 0 && ReadLine(&line)) {
      const size_t blank = line.find(' ');
      addresses_[line.substr(0, blank)] = line.substr(blank + 1);
    }
    if (addresses_.count("BOOTSTRAP") != 0) return;
    missing_ = Reap() == 77;
    if (!missing_) throw std::runtime_error("the Kafka broker did not start: see stderr");
  }
  ~RealBroker() {
    if (pid_ > 0) Reap();
  }
  RealBroker(const RealBroker&) = delete;
  RealBroker& operator=(const RealBroker&) = delete;

  bool missing() const { return missing_; }
  const std::string& bootstrap() const { return addresses_.at("BOOTSTRAP"); }
  // PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL
  const std::string& address(const std::string& listener) const { return addresses_.at(listener); }
  // ca.pem, client.pem, client.key, client-encrypted.key
  std::string file(const std::string& name) const {
    return addresses_.at("DIRECTORY") + "/" + name;
  }

  void Start() { Do("start"); }
  void Stop() { Do("stop"); }
  void Kill() { Do("kill"); }
  void Freeze() { Do("freeze"); }
  void Thaw() { Do("thaw"); }

 private:
  void Spawn(const std::vector<std::string>& command) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe");
    std::vector<char*> argv;
    for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = ::fdopen(out[0], "r");
  }

  bool ReadLine(std::string* line) {
    line->clear();
    for (int c = std::fgetc(from_); c != EOF; c = std::fgetc(from_)) {
      if (c == '\n') return true;
      line->push_back(static_cast<char>(c));
    }
    return false;
  }

  void Do(const std::string& what) {
    const std::string line = what + "\n";
    std::string answer;
    if (::write(to_, line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        !ReadLine(&answer) || answer != "OK")
      throw std::runtime_error("broker: " + what + ": " + answer);
  }

  // The end of its stdin makes it clean up and end. Returns its exit code.
  int Reap() {
    ::close(to_);
    std::fclose(from_);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  pid_t pid_ = -1;
  int to_ = -1;
  FILE* from_ = nullptr;
  bool missing_ = false;
  std::map<std::string, std::string> addresses_;
};

}  // namespace penstock::kafka_tests
