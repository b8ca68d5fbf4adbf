// scribbler DIRECTORY SEED STEPS: threads that write, size, sync, rename and remove files below the
// directory in every way that the recorder knows. Afterwards the end of its log must be the
// directory.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "faults/images/rng.h"

namespace penstock_faults {
namespace {

constexpr uint64_t kMaxOffset = 20000;
constexpr int kNames = 6;

class Scribbler {
 public:
  Scribbler(std::string directory, int shared, uint64_t seed, uint64_t number)
      : directory_(std::move(directory)), shared_(shared), rng_(seed, number) {
    mkdir(directory_.c_str(), 0700);
    at_ = open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  ~Scribbler() {
    if (fd_ >= 0) close(fd_);
    close(at_);
  }
  Scribbler(const Scribbler&) = delete;
  Scribbler& operator=(const Scribbler&) = delete;

  // Whether a call succeeds is not asked: what is renamed or removed may not be there.
  void Step() {
    const uint64_t choice = rng_.Below(20);
    if (fd_ < 0 || choice == 0) return Open();
    if (choice < 12) return Write(choice % 4 == 3 ? shared_ : fd_);
    if (choice < 15) return Resize();
    if (choice < 17) return Sync();
    Rename();
  }

 private:
  std::string Name() { return "f" + std::to_string(rng_.Below(kNames)); }
  std::string Path() { return directory_ + "/" + Name(); }

  void Open() {
    if (fd_ >= 0) close(fd_);
    int flags = O_RDWR | O_CREAT | O_CLOEXEC;
    if (rng_.Chance(30)) flags |= O_APPEND;
    if (rng_.Chance(20)) flags |= O_DSYNC;
    if (rng_.Chance(20)) flags |= O_TRUNC;
    std::string pattern = directory_ + "/t-XXXXXX";
    const uint64_t how = rng_.Below(4);
    fd_ = how == 0   ? openat(at_, Name().c_str(), flags, 0600)
          : how == 1 ? mkstemp(pattern.data())
                     : open(Path().c_str(), flags, 0600);
    if (rng_.Chance(30)) {
      const int copy = rng_.Chance(50) ? dup(fd_) : fcntl(fd_, F_DUPFD_CLOEXEC, 20);
      close(fd_);
      fd_ = copy;
    }
  }

  void Write(int fd) {
    std::string bytes(1 + rng_.Below(3000), static_cast<char>('a' + rng_.Below(26)));
    std::string more(rng_.Below(2000), static_cast<char>('A' + rng_.Below(26)));
    const iovec parts[] = {{bytes.data(), bytes.size()}, {more.data(), more.size()}};
    const auto offset = static_cast<off_t>(rng_.Below(kMaxOffset));
    ssize_t n = 0;
    const uint64_t how = fd == shared_ ? 2 + rng_.Below(2) : rng_.Below(4);
    if (how == 0) n = write(fd, bytes.data(), bytes.size());
    if (how == 1) lseek(fd, offset, SEEK_SET), n = writev(fd, parts, 2);
    if (how == 2) n = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (how == 3) n = pwritev(fd, parts, 2, offset);
    if (n < 0) std::perror("scribbler: write");
  }

  void Resize() {
    static constexpr int kModes[] = {
        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
    const auto a = static_cast<off_t>(rng_.Below(kMaxOffset));
    const auto b = static_cast<off_t>(1 + rng_.Below(kMaxOffset));
    const uint64_t how = rng_.Below(4);
    int result = 0;
    if (how == 0) result = ftruncate(fd_, a);
    if (how == 1) result = truncate(Path().c_str(), a);
    if (how == 2) result = fallocate(fd_, kModes[rng_.Below(4)], a, b);
    if (how == 3) result = posix_fallocate(fd_, a, b);
    static_cast<void>(result);
  }

  void Sync() {
    const uint64_t how = rng_.Below(4);
    if (how == 0) fsync(fd_);
    if (how == 1) fdatasync(fd_);
    if (how == 2) fsync(at_);
    if (how == 3) sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE);
  }

  void Rename() {
    const uint64_t how = rng_.Below(7);
    const std::string sub = directory_ + "/sub", moved = directory_ + "/moved";
    int result = 0;
    if (how == 0) result = rename(Path().c_str(), Path().c_str());
    if (how == 1) result = renameat(at_, Name().c_str(), at_, Name().c_str());
    if (how == 2) result = unlink(Path().c_str());
    if (how == 3) result = link(Path().c_str(), Path().c_str());
    if (how == 4) result = mkdir(sub.c_str(), 0700);
    if (how == 5) result = rename(Path().c_str(), (sub + "/" + Name()).c_str());
    if (how == 6) result = rename(sub.c_str(), moved.c_str());
    static_cast<void>(result);
  }

  const std::string directory_;
  const int shared_;
  Rng rng_;
  int at_ = -1, fd_ = -1;
};

void Scribble(const std::string& directory, uint64_t seed, int steps) {
  const int shared = open((directory + "/shared").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      Scribbler one(directory + "/d" + std::to_string(i), shared, seed, i);
      for (int step = 0; step < steps; ++step) one.Step();
    });
  for (std::thread& thread : threads) thread.join();
  close(shared);
}

}  // namespace
}  // namespace penstock_faults

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("scribbler DIRECTORY SEED STEPS\n", stderr);
    return 2;
  }
  penstock_faults::Scribble(argv[1], std::strtoull(argv[2], nullptr, 10), std::atoi(argv[3]));
  return 0;
}
