#include <cstddef>
#include <string_view>

#include "config/text.h"
#include "config/toml_reader.h"
#include "platform/utf8.h"

namespace penstock::config {
namespace {

constexpr size_t kMostDots = 16;      // in one key
constexpr size_t kMostBrackets = 32;  // around one value

// Follows just as much of TOML as is needed to know what stands in a string or a comment. Only good
// files must be followed rightly: in a bad one the library stops at the same place or before.
class Scanner {
 public:
  Scanner(std::string_view text, ScanFault* fault) : text_(text), fault_(fault) {}

  bool Run() {
    while (at_ < text_.size()) {
      const size_t length = Utf8CharacterLength(text_.substr(at_));
      if (length == 0) return Fail("not UTF-8 text");
      if (text_[at_] == '\0') return Fail("a NUL byte: this is not a text file");
      if (!Follow(text_[at_])) return false;
      Step(length);
    }
    return true;
  }

 private:
  enum class In { kOpen, kComment, kBasic, kLiteral, kLongBasic, kLongLiteral };

  bool Fail(std::string text) {
    *fault_ = {line_, column_, std::move(text)};
    return false;
  }

  void Step(size_t bytes) {
    if (text_[at_] == '\n') {
      ++line_;
      column_ = 0;
    }
    ++column_;
    at_ += bytes;
  }

  bool StartsWith(std::string_view what) const { return text_.substr(at_).starts_with(what); }

  void EnterString(char quote) {
    const std::string_view three = quote == '"' ? "\"\"\"" : "'''";
    if (StartsWith(three)) {
      in_ = quote == '"' ? In::kLongBasic : In::kLongLiteral;
      Step(1);
      Step(1);
    } else {
      in_ = quote == '"' ? In::kBasic : In::kLiteral;
    }
  }

  // A long string may end in up to two quotes of its own.
  void LeaveLongString(char quote) {
    const std::string_view three = quote == '"' ? "\"\"\"" : "'''";
    if (!StartsWith(three)) return;
    Step(1);
    Step(1);
    for (int own = 0; own < 2 && at_ + 1 < text_.size() && text_[at_ + 1] == quote; ++own) Step(1);
    in_ = In::kOpen;
  }

  bool Follow(char c) {
    switch (in_) {
      case In::kOpen:
        return FollowOpen(c);
      case In::kComment:
        if (c == '\n') in_ = In::kOpen;
        break;
      case In::kBasic:
        if (c == '\\' && at_ + 1 < text_.size() && IsAscii(text_[at_ + 1]))
          Step(1);
        else if (c == '"' || c == '\n')
          in_ = In::kOpen;
        break;
      case In::kLiteral:
        if (c == '\'' || c == '\n') in_ = In::kOpen;
        break;
      case In::kLongBasic:
        if (c == '\\' && at_ + 1 < text_.size() && IsAscii(text_[at_ + 1]))
          Step(1);
        else if (c == '"')
          LeaveLongString('"');
        break;
      case In::kLongLiteral:
        if (c == '\'') LeaveLongString('\'');
        break;
    }
    return true;
  }

  bool FollowOpen(char c) {
    switch (c) {
      case '#':
        in_ = In::kComment;
        break;
      case '"':
      case '\'':
        EnterString(c);
        break;
      case '.':
        if (++dots_ > kMostDots) return Fail("a key of too many parts");
        break;
      case '[':
      case '{':
        dots_ = 0;
        if (++brackets_ > kMostBrackets) return Fail("nested too deeply");
        break;
      case ']':
      case '}':
        dots_ = 0;
        if (brackets_ > 0) --brackets_;
        break;
      case '=':
      case ',':
      case '\n':
        dots_ = 0;
        break;
      default:
        break;
    }
    return true;
  }

  static bool IsAscii(char c) { return static_cast<unsigned char>(c) - 1u < 0x7fu; }

  std::string_view text_;
  ScanFault* fault_;
  size_t at_ = 0;
  uint32_t line_ = 1, column_ = 1;
  In in_ = In::kOpen;
  size_t dots_ = 0, brackets_ = 0;
};

}  // namespace

bool Prescan(std::string_view text, ScanFault* fault) { return Scanner(text, fault).Run(); }

}  // namespace penstock::config
