#include "cli/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace penstock::cli {
namespace {

constexpr size_t kBuffer = 1 << 20;

}  // namespace

NewFile::NewFile(std::string path)
    : path_(std::move(path)),
      fd_(open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640)) {
  if (fd_ < 0) Fail();
}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  close(fd_);
  if (!finished_) unlink(path_.c_str());
}

bool NewFile::Write(std::string_view line) {
  buffer_.append(line).push_back('\n');
  return buffer_.size() < kBuffer || Flush();
}

bool NewFile::Finish() {
  if (!Flush()) return false;
  if (fsync(fd_) != 0) return Fail();
  const size_t slash = path_.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int directory = open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && fsync(directory) == 0;
  if (!synced) Fail();
  if (directory >= 0) close(directory);
  finished_ = synced;
  return synced;
}

bool NewFile::Fail() {
  if (error_.empty()) error_ = path_ + ": " + std::strerror(errno);
  return false;
}

bool NewFile::Flush() {
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t n = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Fail();
    done += static_cast<size_t>(n);
  }
  buffer_.clear();
  return true;
}

}  // namespace penstock::cli
