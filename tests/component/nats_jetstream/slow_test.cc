// What takes minutes: attempts to connect that nats.c cannot break off.
#include "fixture.h"
#include "silent_server.h"

namespace penstock::fakes {
namespace {

TEST(NatsJetStreamSlow, TlsHandshakesThatHangMakeAttemptsRareAndNeverStopThem) {
#if NATS_VERSION_NUMBER >= 0x030B00
  GTEST_SKIP() << "nats.c " NATS_VERSION_STRING " breaks them off";
#endif
  const size_t threads = ThreadsOfNats();
  {
    SilentServer server(SilentServer::kSlowly);
    Running run({{"servers", List{server.url()}}}, false);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(server.Accept(seconds(30))) << i;
    ASSERT_TRUE(run.host.WaitText("4 attempts hang in their TLS handshake", seconds(30)));
    EXPECT_FALSE(server.Accept(seconds(30)));
    EXPECT_TRUE(server.Accept(seconds(60)));
  }
  // They must be gone before OpenSSL cleans up at the end of the process.
  WaitThreads(threads, seconds(10));
}

}  // namespace
}  // namespace penstock::fakes
