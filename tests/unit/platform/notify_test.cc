#include "platform/notify.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "fakes/datagrams.h"
#include "fakes/temp_dir.h"

namespace penstock {
namespace {

class NotifyTest : public testing::Test {
 protected:
  NotifyTest() { setenv("NOTIFY_SOCKET", path_.c_str(), 1); }
  ~NotifyTest() override {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
  }

  fakes::TempDir dir_;
  const std::string path_ = dir_.path() + "/notify";
  fakes::Datagrams manager_{path_};
};

TEST_F(NotifyTest, EachStateIsOneDatagram) {
  EXPECT_TRUE(NotifyWanted());
  NotifyReady("running: 1 source");
  EXPECT_EQ(manager_.Take(), "READY=1\nSTATUS=running: 1 source");
  NotifyStatus("fine");
  EXPECT_EQ(manager_.Take(), "STATUS=fine");
  NotifyAlive();
  EXPECT_EQ(manager_.Take(), "WATCHDOG=1");
  NotifyStopping("stopping");
  EXPECT_EQ(manager_.Take(), "STOPPING=1\nSTATUS=stopping");
  NotifyBusy(std::chrono::seconds(2));
  EXPECT_EQ(manager_.Take(), "EXTEND_TIMEOUT_USEC=2000000");
  NotifyBusy("checking", std::chrono::seconds(3));
  EXPECT_EQ(manager_.Take(), "EXTEND_TIMEOUT_USEC=3000000\nSTATUS=checking");
  NotifyReloading("reloading");
  EXPECT_EQ(manager_.Take().find("RELOADING=1\nMONOTONIC_USEC="), 0u);
}

TEST_F(NotifyTest, AStatusCannotSayAnythingElse) {
  NotifyStatus("sink bus: no\nSTOPPING=1\r\n");
  EXPECT_EQ(manager_.Take(), "STATUS=sink bus: no STOPPING=1  ");
}

TEST_F(NotifyTest, TheWatchdogIsWhatTheEnvironmentSays) {
  EXPECT_FALSE(WatchdogPeriod());
  setenv("WATCHDOG_USEC", "1500000", 1);
  EXPECT_EQ(WatchdogPeriod(), std::chrono::milliseconds(1500));
}

TEST_F(NotifyTest, NobodyToTell) {
  unsetenv("NOTIFY_SOCKET");
  EXPECT_FALSE(NotifyWanted());
  NotifyReady("running");
  EXPECT_EQ(manager_.Take(), "");
}

}  // namespace
}  // namespace penstock
