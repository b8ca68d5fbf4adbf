#include "handshake.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace penstock::nats_jetstream {
namespace {

thread_local int limit_s = 0;  // 0: this thread makes no handshake
thread_local bool passed = false;

void SetTimeouts(int fd) {
  const timeval time{limit_s, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

// Of a socket that blocks: after the handshake it does not, and its timeouts have no effect.
bool InHandshake(BIO* bio) {
  int fd = -1;
  BIO_get_fd(bio, &fd);
  return fd >= 0 && (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
}

long OnBio(BIO* bio, int operation, const char* argument, size_t, int command, long, int result,
           size_t*) {
  if (operation == BIO_CB_CTRL && command == BIO_C_SET_FD) {
    passed = false;
    SetTimeouts(*reinterpret_cast<const int*>(argument));
  } else if (operation == (BIO_CB_READ | BIO_CB_RETURN)) {
    if (!InHandshake(bio)) {
      BIO_set_callback_ex(bio, nullptr);
    } else if (result <= 0 && BIO_should_retry(bio)) {
      passed = true;
    }
  }
  return result;
}

void OnNewBio(void* bio, void*, CRYPTO_EX_DATA*, int, long, void*) {
  if (limit_s > 0) BIO_set_callback_ex(static_cast<BIO*>(bio), OnBio);
}

}  // namespace

HandshakeLimit::HandshakeLimit(int seconds) {
  [[maybe_unused]] static const int index =
      CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_BIO, 0, nullptr, OnNewBio, nullptr, nullptr);
  limit_s = seconds;
  passed = false;
}

HandshakeLimit::~HandshakeLimit() { limit_s = 0; }

// A member, so that it is asked while the limit lives.
bool HandshakeLimit::Passed() const { return passed; }

}  // namespace penstock::nats_jetstream
