#include "store/seal.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>

namespace penstock::store {
namespace {

struct Image {
  char magic[8];
  uint64_t store_id[2];
  uint64_t commit;
  uint64_t clean;
  uint64_t checksum;  // XXH3-64 of what stands before it
};
constexpr char kMagic[8] = {'P', 'S', 'T', 'K', 'S', 'E', 'A', 'L'};
constexpr size_t kChecked = sizeof(Image) - sizeof(uint64_t);

std::string PathIn(const std::string& directory) { return directory + "/seal"; }

tl::unexpected<Error> SystemError(const std::string& what) {
  const bool no_room = errno == ENOSPC || errno == EDQUOT;
  return Fail(no_room ? Code::kRetry : Code::kFatal, what + ": " + std::strerror(errno));
}

}  // namespace

Result<std::optional<SealRecord>> ReadSeal(const std::string& directory) {
  const std::string path = PathIn(directory);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT) return std::optional<SealRecord>();
    return SystemError(path);
  }
  Image image{};
  const ssize_t n = pread(fd, &image, sizeof image, 0);
  close(fd);
  if (n < 0) return SystemError(path);
  if (n == 0) return std::optional<SealRecord>();  // made, and not written yet
  if (static_cast<size_t>(n) != sizeof image ||
      std::memcmp(image.magic, kMagic, sizeof kMagic) != 0 ||
      image.checksum != XXH3_64bits(&image, kChecked))
    return Fail(Code::kFatal, path + ": not a whole seal");
  return SealRecord{{image.store_id[0], image.store_id[1]}, image.commit, image.clean != 0};
}

SealFile::~SealFile() {
  if (fd_ >= 0) close(fd_);
}

Result<void> SealFile::Open(const std::string& directory) {
  const std::string path = PathIn(directory);
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd_ < 0) return SystemError(path);
  return {};
}

Result<void> SealFile::Write(const SealRecord& record, bool sync) {
  Image image{};
  std::memcpy(image.magic, kMagic, sizeof kMagic);
  image.store_id[0] = record.store_id[0];
  image.store_id[1] = record.store_id[1];
  image.commit = record.commit;
  image.clean = record.clean ? 1 : 0;
  image.checksum = XXH3_64bits(&image, kChecked);
  if (pwrite(fd_, &image, sizeof image, 0) != static_cast<ssize_t>(sizeof image))
    return SystemError("writing the store's seal");
  if (sync && fsync(fd_) != 0) return SystemError("syncing the store's seal");
  return {};
}

}  // namespace penstock::store
