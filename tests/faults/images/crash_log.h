// The log of recorder.so, read.
#ifndef PENSTOCK_TESTS_FAULTS_IMAGES_CRASH_LOG_H
#define PENSTOCK_TESTS_FAULTS_IMAGES_CRASH_LOG_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "faults/recorder/log_format.h"

namespace penstock_faults {

// One call. path and data point into the log.
struct Record {
  penstock_record_head head;
  std::string_view path, data;
};

// The path of a rename or link: FROM NUL TO.
struct FromTo {
  std::string_view from, to;
};
FromTo SplitPath(std::string_view path);

// Holds the log's file mapped. What a kill left half written at its end is left out.
class CrashLog {
 public:
  // Throws std::runtime_error when the file cannot be read or is no such log.
  explicit CrashLog(const std::string& path);
  ~CrashLog();
  CrashLog(const CrashLog&) = delete;
  CrashLog& operator=(const CrashLog&) = delete;

  const std::vector<Record>& records() const { return records_; }
  // How many records at the beginning say what was there before: no power cut lies before them.
  size_t base() const { return base_; }
  // All that the test said, one mark behind the other, and how many bytes of it before a cut.
  const std::string& marks() const { return marks_; }
  size_t MarkBytesBefore(size_t cut) const { return mark_bytes_[cut]; }
  // The calls that the recorder could not follow. With any, images prove nothing.
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  void Parse();

  std::string_view bytes_;
  std::vector<Record> records_;
  size_t base_ = 0;
  std::string marks_;
  std::vector<size_t> mark_bytes_;
  std::vector<std::string> errors_;
};

// One line for people.
std::string ToText(const Record& record);

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_IMAGES_CRASH_LOG_H
