#include "platform/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "fakes/datagrams.h"
#include "fakes/temp_dir.h"

namespace penstock::log {
namespace {

// One end is what the journal gives a service as standard error, the other the journal's.
class Stream {
 public:
  Stream() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()), 0); }
  ~Stream() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  int fd() const { return ends_[0]; }
  std::string Take() const {
    std::string text(1 << 20, '\0');
    const ssize_t n = recv(ends_[1], text.data(), text.size(), MSG_DONTWAIT);
    text.resize(n < 0 ? 0 : static_cast<size_t>(n));
    return text;
  }

 private:
  std::array<int, 2> ends_{};
};

class JournalTest : public testing::Test {
 protected:
  void Write(const std::string& message, std::initializer_list<Field> fields = {}) {
    journal_.Write(4, "sink bus", message, fields.begin(), fields.size());
  }

  fakes::TempDir dir_;
  const std::string path_ = dir_.path() + "/journal";
  Stream stream_;
  Journal journal_{path_, stream_.fd()};
};

TEST_F(JournalTest, AnEntryHasFields) {
  fakes::Datagrams socket(path_);
  Write("sink bus: late", {{"waiting", "3"}, {"bytes in-flight", "7"}});
  EXPECT_EQ(socket.Take(),
            "MESSAGE=sink bus: late\nPRIORITY=4\nSYSLOG_IDENTIFIER=penstock\n"
            "PENSTOCK_COMPONENT=sink bus\nPENSTOCK_WAITING=3\nPENSTOCK_BYTES_IN_FLIGHT=7\n");
  EXPECT_EQ(stream_.Take(), "");
}

TEST_F(JournalTest, NoValueForgesAField) {
  fakes::Datagrams socket(path_);
  Write("m", {{"component", "gateway"}, {"A=B\nPRIORITY", "a\nPRIORITY=0"}});
  const std::string size("\x0c\0\0\0\0\0\0\0", 8);
  EXPECT_EQ(socket.Take(),
            "MESSAGE=m\nPRIORITY=4\nSYSLOG_IDENTIFIER=penstock\nPENSTOCK_COMPONENT=sink bus\n"
            "PENSTOCK_FIELD_COMPONENT=gateway\nPENSTOCK_A_B_PRIORITY\n" +
                size + "a\nPRIORITY=0\n");
}

TEST_F(JournalTest, WhatIsTooLongIsCut) {
  fakes::Datagrams socket(path_);
  const std::string text(1 << 20, 'x');
  const std::string key(200, 'k');
  std::vector<Field> fields(16, Field{key, text});
  journal_.Write(3, "sink bus", text, fields.data(), fields.size());
  const std::string entry = socket.Take();
  EXPECT_GT(entry.size(), 64u * 1024);
  EXPECT_LT(entry.size(), 160u * 1024);
  EXPECT_NE(entry.find("\nPENSTOCK_" + std::string(55, 'K') + "="), entry.npos);
  EXPECT_EQ(stream_.Take(), "");
}

TEST_F(JournalTest, WithoutItsSocketLinesGoToStandardError) {
  Write("sink bus: late", {{"waiting", "3"}});
  EXPECT_EQ(stream_.Take(), "<4>sink bus: late\n");
  {
    fakes::Datagrams socket(path_);
    Write("sink bus: later");
    EXPECT_EQ(socket.Take().find("MESSAGE=sink bus: later\n"), 0u);
  }
  Write("sink bus: gone");  // restarting
  EXPECT_EQ(stream_.Take(), "<4>sink bus: gone\n");
  fakes::Datagrams again(path_);
  Write("sink bus: back");
  EXPECT_EQ(again.Take().find("MESSAGE=sink bus: back\n"), 0u);
}

// It would block for ever, were it not for MSG_DONTWAIT.
TEST_F(JournalTest, AJournalThatReadsNothingHoldsUpNobody) {
  fakes::Datagrams socket(path_);
  const std::string text(1000, 'x');
  constexpr uint64_t kLines = 20'000;  // more than sockets hold
  for (uint64_t i = 0; i < kLines; ++i) Write(text);
  EXPECT_FALSE(journal_.Flush(std::chrono::milliseconds(1)));
  uint64_t taken = 0;
  while (!socket.Take().empty()) ++taken;
  std::string spare;
  for (std::string part = stream_.Take(); !part.empty(); part = stream_.Take()) spare += part;
  taken += static_cast<uint64_t>(std::count(spare.begin(), spare.end(), '\n'));
  EXPECT_LT(taken, kLines);
  EXPECT_TRUE(journal_.Flush(std::chrono::seconds(10)));

  Write("sink bus: back");
  EXPECT_EQ(socket.Take().find("MESSAGE=sink bus: back\n"), 0u);
  EXPECT_EQ(socket.Take().find("MESSAGE=log: the journal took no lines for a while; " +
                               std::to_string(kLines - taken) + " lines are lost\n"),
            0u);
}

TEST_F(JournalTest, AFileAsStandardErrorGetsPlainLines) {
  const std::string file = dir_.path() + "/stderr";
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  Journal journal(path_, fd);
  journal.Write(6, "gateway", "gateway: running", nullptr, 0);
  char text[64] = {};
  EXPECT_EQ(pread(fd, text, sizeof text, 0), 17);
  EXPECT_STREQ(text, "gateway: running\n");
  close(fd);
}

TEST_F(JournalTest, FlushWaitsForTheReader) {
  fakes::Datagrams socket(path_);
  EXPECT_TRUE(journal_.Flush(std::chrono::milliseconds(1)));
  Write("sink bus: late");
  EXPECT_FALSE(journal_.Flush(std::chrono::milliseconds(1)));
  std::thread reader([&socket] { EXPECT_NE(socket.Take(), ""); });
  EXPECT_TRUE(journal_.Flush(std::chrono::seconds(10)));
  reader.join();
}

}  // namespace
}  // namespace penstock::log
