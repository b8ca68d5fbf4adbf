#include "faults/images/crash_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace penstock_faults {

FromTo SplitPath(std::string_view path) {
  const size_t nul = path.find('\0');
  if (nul == std::string_view::npos) throw std::runtime_error("a rename with one name only");
  return {path.substr(0, nul), path.substr(nul + 1)};
}

CrashLog::CrashLog(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat found {};
  if (fd < 0 || fstat(fd, &found) != 0)
    throw std::runtime_error(path + ": " + std::strerror(errno) +
                             "; was the program started with recorder.so?");
  const auto size = static_cast<size_t>(found.st_size);
  void* map = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
  close(fd);
  if (size == 0) throw std::runtime_error(path + ": the log is empty");
  if (map == MAP_FAILED) throw std::runtime_error(path + ": " + std::strerror(errno));
  bytes_ = {static_cast<const char*>(map), size};
  Parse();
}

CrashLog::~CrashLog() { munmap(const_cast<char*>(bytes_.data()), bytes_.size()); }

void CrashLog::Parse() {
  mark_bytes_.push_back(0);
  for (size_t at = 0; at + sizeof(penstock_record_head) <= bytes_.size();) {
    Record record{};
    std::memcpy(&record.head, bytes_.data() + at, sizeof record.head);
    if (record.head.magic != RECORD_MAGIC)
      throw std::runtime_error("no record at byte " + std::to_string(at) + " of the log");
    at += sizeof record.head;
    if (bytes_.size() - at < size_t{record.head.path_len} + record.head.data_len) break;
    record.path = bytes_.substr(at, record.head.path_len);
    record.data = bytes_.substr(at + record.head.path_len, record.head.data_len);
    at += record.path.size() + record.data.size();
    const bool is_base =
        record.head.kind == RECORD_BASE_DIR || record.head.kind == RECORD_BASE_FILE;
    if (is_base) base_ = records_.size() + 1;
    if (record.head.kind == RECORD_MARK) marks_ += record.data;
    if (record.head.kind == RECORD_ERROR) errors_.emplace_back(record.data);
    records_.push_back(record);
    mark_bytes_.push_back(marks_.size());
  }
  if (base_ == 0) throw std::runtime_error("the log does not begin with what was there before");
}

namespace {

const char* KindName(int kind) {
  static constexpr const char* kNames[] = {"?",        "base-dir",  "base-file",  "open",
                                           "close",    "write",     "sync-write", "sync-write-done",
                                           "truncate", "fallocate", "sync",       "sync-done",
                                           "rename",   "link",      "unlink",     "mkdir",
                                           "rmdir",    "mark",      "error"};
  return kind > 0 && kind <= RECORD_ERROR ? kNames[kind] : kNames[0];
}

}  // namespace

std::string ToText(const Record& record) {
  const penstock_record_head& head = record.head;
  std::string text = KindName(head.kind);
  text += " pid=" + std::to_string(head.pid) + " inode=" + std::to_string(head.inode);
  if (!record.path.empty()) {
    std::string path(record.path);
    if (const size_t nul = path.find('\0'); nul != std::string::npos) path.replace(nul, 1, " -> ");
    text += " path=" + path;
  }
  if (head.offset != 0 || head.kind == RECORD_WRITE || head.kind == RECORD_TRUNCATE)
    text += " offset=" + std::to_string(head.offset);
  if (head.length != 0) text += " length=" + std::to_string(head.length);
  if (head.op != 0) text += " op=" + std::to_string(head.op);
  if (head.detail != 0) text += " detail=" + std::to_string(head.detail);
  if (head.result != 0) text += " result=" + std::to_string(head.result);
  if (!record.data.empty()) text += " bytes=" + std::to_string(record.data.size());
  if (head.kind == RECORD_MARK || head.kind == RECORD_ERROR)
    text += " " + std::string(record.data.substr(0, 200));
  return text;
}

}  // namespace penstock_faults
