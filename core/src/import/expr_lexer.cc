#include <algorithm>
#include <array>
#include <optional>

#include "config/text.h"
#include "import/expr.h"
#include "platform/utf8.h"

namespace penstock::import_argo {
namespace {

using config::Cat;
using config::Quote;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
// Letters beyond ASCII are letters, too; which characters are letters there is not looked at.
bool IsWord(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// As Go's utf8.EncodeRune has it: a surrogate becomes U+FFFD.
void AppendUtf8(uint32_t c, std::string* out) {
  if (c >= 0xD800 && c <= 0xDFFF) c = 0xFFFD;
  const auto put = [&](uint32_t byte) { *out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 63));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 63));
    put(0x80 | (c & 63));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 63));
    put(0x80 | (c >> 6 & 63));
    put(0x80 | (c & 63));
  }
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  tl::expected<std::vector<Token>, ExprError> Run() {
    while (!error_ && SkipBlanks()) Next();
    if (error_) return tl::unexpected(*error_);
    Add(Token::Kind::kEnd, text_.size(), text_.size());
    return std::move(tokens_);
  }

 private:
  char At(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  void Fail(size_t at, std::string text) {
    if (!error_) error_ = ExprError{at, std::move(text)};
  }
  void Add(Token::Kind kind, size_t from, size_t to) {
    tokens_.push_back({kind, std::string(text_.substr(from, to - from)), from});
    at_ = to;
  }

  // White space and comments; false at the end.
  bool SkipBlanks() {
    while (at_ < text_.size()) {
      if (IsSpace(text_[at_])) {
        ++at_;
      } else if (text_.substr(at_).starts_with("//")) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (text_.substr(at_).starts_with("/*")) {
        const size_t end = text_.find("*/", at_ + 2);
        if (end == text_.npos) {
          Fail(at_, "a comment without an end");
          return false;
        }
        at_ = end + 2;
      } else {
        return true;
      }
    }
    return false;
  }

  void Next() {
    const char c = text_[at_];
    const char next = At(at_ + 1);
    if (c == '\'' || c == '"') {
      String(c);
    } else if (IsDigit(c) || (c == '.' && IsDigit(next))) {
      Number();
    } else if (c == '?') {
      Add(Token::Kind::kOperator, at_, at_ + (next == '.' || next == '?' ? 2 : 1));
    } else if (c == '#') {
      Pointer();
    } else if (c == '|') {
      Add(Token::Kind::kOperator, at_, at_ + (next == '|' ? 2 : 1));
    } else if (std::string_view("([{)]}").find(c) != std::string_view::npos) {
      Add(Token::Kind::kBracket, at_, at_ + 1);
    } else if (std::string_view(",:;%+-^/").find(c) != std::string_view::npos) {
      Add(Token::Kind::kOperator, at_, at_ + 1);
    } else if (std::string_view("&!=*<>").find(c) != std::string_view::npos) {
      const bool two = next == '&' || next == '=' || next == '*';
      Add(Token::Kind::kOperator, at_, at_ + (two ? 2 : 1));
    } else if (c == '.') {
      Add(Token::Kind::kOperator, at_, at_ + (next == '.' ? 2 : 1));
    } else if (IsWord(c)) {
      Word();
    } else {
      Fail(at_, Cat("the character ", Quote(text_.substr(at_, 1)), " has no meaning there"));
    }
  }

  void Word() {
    constexpr std::array<std::string_view, 8> kOperators = {
        "not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith"};
    size_t end = at_;
    while (end < text_.size() && IsWord(text_[end])) ++end;
    const std::string_view word = text_.substr(at_, end - at_);
    const bool is_operator = word == "let" || std::ranges::count(kOperators, word) != 0;
    Add(is_operator ? Token::Kind::kOperator : Token::Kind::kIdentifier, at_, end);
  }

  void Pointer() {
    Add(Token::Kind::kOperator, at_, at_ + 1);
    size_t end = at_;
    while (end < text_.size() && IsWord(text_[end])) ++end;
    if (end > at_) Add(Token::Kind::kIdentifier, at_, end);
  }

  void Number() {
    const size_t from = at_;
    size_t end = at_;
    std::string_view digits = "0123456789_";
    if (At(end) == '0') {
      const char base = At(end + 1);
      if (base == 'x' || base == 'X') digits = "0123456789abcdefABCDEF_";
      if (base == 'o' || base == 'O') digits = "01234567_";
      if (base == 'b' || base == 'B') digits = "01_";
      if (digits.size() != 11) end += 2;
    }
    const auto run = [&] { end = std::min(text_.find_first_not_of(digits, end), text_.size()); };
    run();
    if (At(end) == '.' && At(end + 1) == '.') return Add(Token::Kind::kNumber, from, end);
    if (At(end) == '.') {
      ++end;
      run();
    }
    if (At(end) == 'e' || At(end) == 'E') {
      ++end;
      if (At(end) == '+' || At(end) == '-') ++end;
      run();
    }
    if (end < text_.size() && IsWord(text_[end])) return Fail(from, "not a number");
    Add(Token::Kind::kNumber, from, end);
  }

  void String(char quote) {
    const size_t from = at_;
    std::string out;
    size_t i = at_ + 1;
    while (i < text_.size() && text_[i] != quote) {
      if (text_[i] == '\n') break;
      if (text_[i] != '\\') {
        // A carriage return counts as the end of a line.
        if (text_[i] == '\r') return Fail(i, "a line end in a string");
        out += text_[i++];
      } else if (!Escape(&i, &out, quote)) {
        return Fail(i, "an unknown escape sequence");
      }
    }
    if (At(i) != quote || i >= text_.size()) return Fail(from, "a string without an end");
    tokens_.push_back({Token::Kind::kString, std::move(out), from});
    at_ = i + 1;
  }

  bool Escape(size_t* i, std::string* out, char quote) {
    constexpr std::string_view kPlain = "abfnrtv\\";
    constexpr std::string_view kMeans = "\a\b\f\n\r\t\v\\";
    const char c = At(*i + 1);
    if (const size_t found = kPlain.find(c); c != '\0' && found != kPlain.npos) {
      *out += kMeans[found];
      *i += 2;
      return true;
    }
    if (c == quote) {
      *out += quote;
      *i += 2;
      return true;
    }
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    const bool octal = c >= '0' && c <= '3';
    if (octal) digits = 3;
    if (digits == 0) return false;
    const size_t first = *i + (octal ? 1 : 2);
    uint32_t value = 0;
    for (size_t k = first; k < first + digits; ++k) {
      const int digit = HexDigit(At(k));
      if (digit < 0 || (octal && digit > 7)) return false;
      value = value * (octal ? 8 : 16) + static_cast<uint32_t>(digit);
    }
    if (value > 0x10FFFF) return false;
    AppendUtf8(value, out);
    *i = first + digits;
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<Token> tokens_;
  std::optional<ExprError> error_;
};

}  // namespace

tl::expected<std::vector<Token>, ExprError> LexExpr(std::string_view text) {
  return Lexer(text).Run();
}

}  // namespace penstock::import_argo
