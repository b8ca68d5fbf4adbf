// The file of a unix socket, on both of its sides. Private to this folder.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "admin/fd.h"
#include "platform/result.h"

namespace penstock::admin {

// The file that a socket was made as; another one may stand at its path by now.
struct SocketFile {
  std::string path;
  dev_t device = 0;
  ino_t inode = 0;
};

struct Listener {
  Fd fd;
  SocketFile file;
};

// See Server::Listen.
Result<Listener> ListenOn(const std::string& path, int backlog);

// Removes this very file, if it is still there.
void Remove(const SocketFile& file);

// Connects within timeout_ms. The value: a descriptor, or the errno that it ended with.
struct Connected {
  Fd fd;
  int error = 0;
};
Connected ConnectTo(const std::string& path, int timeout_ms);

// Who is at the other end; nothing when the kernel does not say.
struct Peer {
  pid_t pid;
  uid_t uid;
};
std::optional<Peer> PeerOf(int fd);

}  // namespace penstock::admin
