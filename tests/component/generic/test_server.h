// The C++ test server as a child process.
#ifndef PENSTOCK_TESTS_COMPONENT_GENERIC_TEST_SERVER_H
#define PENSTOCK_TESTS_COMPONENT_GENERIC_TEST_SERVER_H

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace penstock::testing {

// Starts with the object and ends with it. Its lines are read as they come.
class TestServer {
 public:
  // Waits until it listens; throws std::runtime_error when it does not.
  explicit TestServer(std::vector<std::string> flags);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  int port() const { return port_; }
  std::string url() const { return "127.0.0.1:" + std::to_string(port_); }

  void Freeze();
  void Thaw();
  // Ends it at once, as a crash would.
  void Kill();

  // Waits for the n-th line (from 1) that begins with these words; empty when it does not come.
  std::string WaitLine(const std::string& start, size_t n = 1,
                       std::chrono::milliseconds timeout = std::chrono::seconds(20));
  // The last of them so far, or empty.
  std::string LastLine(const std::string& start);
  size_t CountLines(const std::string& start);

 private:
  void ReadLines();

  pid_t pid_ = -1;
  int output_ = -1;
  int port_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
  bool ended_ = false;
  std::thread reader_;
};

// The value of "key=..." in a line, up to the next space.
std::string Field(const std::string& line, const std::string& key);
// A field that is written as hex digits.
std::string HexField(const std::string& line, const std::string& key);

// A port on 127.0.0.1 on which nobody listens at the moment.
int FreePort();

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_COMPONENT_GENERIC_TEST_SERVER_H
