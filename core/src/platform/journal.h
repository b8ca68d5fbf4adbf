// Writes entries with fields to systemd's journal, in its native protocol
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). Not through sd_journal_sendv, which waits for as
// long as the journal reads nothing, and takes a journal that is gone for one that has the line.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "platform/clock.h"
#include "platform/log.h"

namespace penstock::log {

// Never blocks. What the journal does not take goes to standard error, which is the journal's too,
// in lines without fields; what that does not take either is counted, and the count said once
// something is taken again. Any thread.
class Journal {
 public:
  static constexpr char kSocket[] = "/run/systemd/journal/socket";

  // spare_fd: standard error; stays the caller's.
  explicit Journal(std::string socket = kSocket, int spare_fd = 2);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // message: one line for people. Beside it the entry has PENSTOCK_COMPONENT, and each field as
  // PENSTOCK_KEY.
  void Write(int priority, std::string_view component, const std::string& message,
             const Field* fields, size_t n);
  // Waits until the journal has read all that was sent, at most so long. Whether it has.
  bool Flush(Nanoseconds timeout) const;

 private:
  bool Send(const std::string& entry) const;
  bool SendSpare(int priority, const std::string& message) const;

  const std::string socket_;
  const int spare_fd_;
  const int fd_;
  std::atomic<uint64_t> lost_{0};
};

}  // namespace penstock::log
