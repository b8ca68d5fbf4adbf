#include "admin/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace penstock::admin {
namespace {

constexpr mode_t kMode = 0600;
constexpr int kProbeMs = 1000;

// False when the path is too long for one.
bool ToAddress(const std::string& path, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address->sun_path) return false;
  std::memcpy(address->sun_path, path.data(), path.size());
  return true;
}

Fd MakeSocket() { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

tl::unexpected<Error> Refuse(const std::string& path, const std::string& why) {
  return Fail(Code::kConfig, "admin socket " + path + ": " + why);
}

constexpr char kWaysOut[] = " or name another file in gateway.admin_socket (\"none\": no socket)";

tl::unexpected<Error> RefuseErrno(const std::string& path, int error) {
  const std::string directory = DirectoryOf(path);
  switch (error) {
    case ENOENT:
      return Refuse(path, "the directory " + directory +
                              " does not exist: make it, owned by the user that the gateway runs "
                              "as," +
                              kWaysOut);
    case EACCES:
    case EPERM:
    case EROFS:
      return Refuse(path, "this user may not write to " + directory + " (" + std::strerror(error) +
                              "): make it this user's own," + kWaysOut);
    case ENAMETOOLONG:
      return Refuse(path, "a socket's path has at most " +
                              std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
    default:
      return Refuse(path, std::strerror(error));
  }
}

// Makes way for a new socket: removes the file if it is a socket that nobody listens on.
Result<void> RemoveStale(const std::string& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return RefuseErrno(path, errno);
  }
  if (!S_ISSOCK(found.st_mode))
    return Refuse(
        path, std::string("there is a file of that name that is no socket: remove it,") + kWaysOut);
  const Connected probe = ConnectTo(path, kProbeMs);
  if (probe.error == 0) {
    const std::optional<Peer> peer = PeerOf(probe.fd.get());
    return Refuse(path, "a gateway" + (peer ? " (pid " + std::to_string(peer->pid) + ")" : "") +
                            " listens there already: stop it," + kWaysOut);
  }
  if (probe.error == ENOENT) return {};
  if (probe.error != ECONNREFUSED)
    return Refuse(path, std::string("whether a gateway listens there is not to be found out (") +
                            std::strerror(probe.error) + "): stop it," + kWaysOut);
  Remove({path, found.st_dev, found.st_ino});
  return {};
}

}  // namespace

Result<Listener> ListenOn(const std::string& path, int backlog) {
  sockaddr_un address;
  if (!ToAddress(path, &address)) return RefuseErrno(path, ENAMETOOLONG);
  if (auto removed = RemoveStale(path); !removed) return tl::unexpected(removed.error());
  Listener listener{MakeSocket(), {path}};
  const int fd = listener.fd.get();
  // The file gets the mode of the descriptor, so that it is never open to others.
  if (fd < 0 || ::fchmod(fd, kMode) != 0) return RefuseErrno(path, errno);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return RefuseErrno(path, errno);
  struct stat made {};
  if (::listen(fd, backlog) != 0 || ::lstat(path.c_str(), &made) != 0) {
    const int error = errno;
    ::unlink(path.c_str());
    return RefuseErrno(path, error);
  }
  listener.file.device = made.st_dev;
  listener.file.inode = made.st_ino;
  return listener;
}

void Remove(const SocketFile& file) {
  struct stat found {};
  if (::lstat(file.path.c_str(), &found) != 0) return;
  if (found.st_dev == file.device && found.st_ino == file.inode) ::unlink(file.path.c_str());
}

Connected ConnectTo(const std::string& path, int timeout_ms) {
  sockaddr_un address;
  if (!ToAddress(path, &address)) return {Fd(), ENAMETOOLONG};
  Fd fd = MakeSocket();
  if (fd.get() < 0) return {Fd(), errno};
  // What connect waits for is a place in the listener's backlog.
  const timeval timeout{timeout_ms / 1000, timeout_ms % 1000 * 1000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  int result = 0;
  do {
    result = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (result != 0 && errno == EINTR);
  if (result != 0) return {Fd(), errno};
  return {std::move(fd), 0};
}

std::optional<Peer> PeerOf(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return Peer{credentials.pid, credentials.uid};
}

}  // namespace penstock::admin
