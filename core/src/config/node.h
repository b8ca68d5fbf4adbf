// The parsed files as one tree. Private to this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace penstock::config {

// A Position without a copy of the file's name.
struct Place {
  std::shared_ptr<const std::string> file;
  uint32_t line = 0;
  uint32_t column = 0;
  std::string_view preset = {};  // as in Position; of static storage

  Position ToPosition() const {
    return {file ? *file : std::string(), line, column, std::string(preset)};
  }
};

struct Member;

struct Node {
  enum class Kind { kString, kInteger, kFloat, kBoolean, kDateTime, kList, kTable };

  Kind kind = Kind::kTable;
  Place where;       // of the value
  std::string text;  // kString
  // kString: written on one line without escapes, so that a column of text is a column of the file.
  bool verbatim = false;
  // kString: written on several lines, the first of which is this one of the file; 0: it is not.
  uint32_t first_line = 0;
  int64_t integer = 0;
  double number = 0;
  bool boolean = false;
  std::vector<Node> items;      // kList
  std::vector<Member> members;  // kTable, in the files' order

  bool IsTable() const { return kind == Kind::kTable; }
  const Member* Find(std::string_view key) const;  // linear; nullptr: not there
};

struct Member {
  std::string key;
  Place key_where;
  Node value;
};

// "FILE:LINE:COLUMN"
std::string PlaceText(const Place& place);

// "a string", "an integer", ...
std::string_view KindName(Node::Kind kind);

// What BindOptions needs to know of a source's or sink's table.
class RawOptions {
 public:
  Node table;        // all of it, the common options too
  std::string path;  // "sources.orders"
};

}  // namespace penstock::config
