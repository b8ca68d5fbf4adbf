// A file that a command makes.
#pragma once

#include <string>
#include <string_view>

namespace penstock::cli {

// A file that was not there before; removed again unless it was finished. One thread.
class NewFile {
 public:
  explicit NewFile(std::string path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Adds the line and a newline. false: error() says why.
  bool Write(std::string_view line);
  // Puts it onto the disk.
  bool Finish();
  const std::string& error() const { return error_; }  // with the path; empty: none

 private:
  bool Fail();
  bool Flush();

  const std::string path_;
  const int fd_;
  std::string buffer_, error_;
  bool finished_ = false;
};

}  // namespace penstock::cli
