#include "filter/scan.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "filter/library.h"
#include "platform/utf8.h"

namespace penstock::filter {
namespace {

constexpr std::string_view kFields[] = {"source",   "subject",      "type", "id",
                                        "time",     "content_type", "body", "payload",
                                        "metadata", "attributes"};
constexpr std::string_view kKeywords[] = {"and",   "break", "do",       "else", "elseif", "end",
                                          "false", "for",   "function", "goto", "if",     "in",
                                          "local", "nil",   "not",      "or",   "repeat", "return",
                                          "then",  "true",  "until",    "while"};
// Long ones first.
constexpr std::string_view kSymbols[] = {
    "...", "..", "::", "==", "~=", "<=", ">=", "<<", ">>", "//", "&&", "||", "!=", "=~"};

bool IsKeyword(std::string_view word) {
  return std::find(std::begin(kKeywords), std::end(kKeywords), word) != std::end(kKeywords);
}
bool IsAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view text) : text_(text) {}

  std::vector<Token> Run() {
    std::vector<Token> out;
    for (SkipGap(); at_ < text_.size(); SkipGap()) {
      const size_t begin = at_;
      const TokenKind kind = Skip();
      out.push_back({kind, text_.substr(begin, at_ - begin), begin});
    }
    return out;
  }

 private:
  char At(size_t at) const { return at < text_.size() ? text_[at] : '\0'; }

  // "[[", "[=[" ...: what ends such a text; empty: none begins at at.
  std::string LongEnd(size_t at) const {
    if (At(at) != '[') return {};
    const size_t level = std::min(text_.find_first_not_of('=', at + 1), text_.size()) - at - 1;
    return At(at + 1 + level) == '[' ? "]" + std::string(level, '=') + "]" : std::string();
  }
  void SkipLong(size_t at, const std::string& end) {
    const size_t found = text_.find(end, at + end.size());
    at_ = found == text_.npos ? text_.size() : found + end.size();
  }

  void SkipGap() {
    for (; at_ < text_.size();) {
      const char c = text_[at_];
      if (c == ' ' || (c >= '\t' && c <= '\r')) {
        ++at_;
      } else if (text_.substr(at_, 2) == "--") {
        const std::string end = LongEnd(at_ + 2);
        if (end.empty())
          at_ = std::min(text_.find_first_of("\n\r", at_), text_.size());
        else
          SkipLong(at_ + 2, end);
      } else {
        return;
      }
    }
  }

  TokenKind Skip() {
    const char c = text_[at_];
    if (IsAlpha(c)) {
      while (IsAlpha(At(at_)) || IsDigit(At(at_))) ++at_;
      return TokenKind::kName;
    }
    if (IsDigit(c) || (c == '.' && IsDigit(At(at_ + 1)))) {
      SkipNumber();
      return TokenKind::kNumber;
    }
    if (c == '"' || c == '\'') {
      SkipQuoted(c);
      return TokenKind::kString;
    }
    if (const std::string end = LongEnd(at_); !end.empty()) {
      SkipLong(at_, end);
      return TokenKind::kString;
    }
    const auto symbol =
        std::find_if(std::begin(kSymbols), std::end(kSymbols),
                     [this](std::string_view s) { return text_.substr(at_, s.size()) == s; });
    at_ += symbol == std::end(kSymbols) ? 1 : symbol->size();
    return TokenKind::kSymbol;
  }

  // As Lua does it: 0x1p-3 and 3in are one word.
  void SkipNumber() {
    const bool hex = At(at_) == '0' && (At(at_ + 1) | 0x20) == 'x';
    const char exponent = hex ? 'p' : 'e';
    for (; IsAlpha(At(at_)) || IsDigit(At(at_)) || At(at_) == '.'; ++at_) {
      if ((At(at_) | 0x20) == exponent && (At(at_ + 1) == '+' || At(at_ + 1) == '-')) ++at_;
    }
  }

  void SkipQuoted(char quote) {
    for (++at_; at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n'; ++at_) {
      if (text_[at_] != '\\') continue;
      ++at_;
      if (At(at_) != 'z') continue;
      while (At(at_ + 1) == ' ' || (At(at_ + 1) >= '\t' && At(at_ + 1) <= '\r')) ++at_;
    }
    at_ = std::min(at_ + 1, text_.size());
  }

  const std::string_view text_;
  size_t at_ = 0;
};

// What Lua writes another way.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kForeign{
    {{"&&", "write and"},
     {"||", "write or"},
     {"!", "write not"},
     {"!=", "write ~="},
     {"=~", "write matches(TEXT, PATTERN)"},
     {"?", "write A and B or C"},
     {"null", "write nil"},
     {"undefined", "write nil"},
     {"in", "write contains(LIST, X), one_of(X, ...) or has(TABLE, KEY)"}}};

// Words that stand between two values in Argo's language.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kInfix{
    {{"matches", "matches(TEXT, PATTERN)"},
     {"contains", "contains(TEXT, PART)"},
     {"startsWith", "starts_with(TEXT, PART)"},
     {"endsWith", "ends_with(TEXT, PART)"}}};

constexpr std::string_view kStatements[] = {"return", "if", "local", "for",
                                            "while",  "do", "goto",  "repeat"};

std::string Hint(std::string_view word) {
  for (const auto& [foreign, hint] : kForeign) {
    if (foreign == word) return "; " + std::string(hint);
  }
  return "";
}

class UsesReader {
 public:
  UsesReader(std::string_view expression, const std::vector<Token>& tokens)
      : expression_(expression), tokens_(tokens), library_(LibraryNames()) {}

  tl::expected<Uses, Fault> Run() {
    for (size_t i = 0; i < tokens_.size(); ++i) FindDeclared(i);
    for (size_t i = 0; i < tokens_.size() && !fault_; ++i) Read(i);
    if (fault_) return tl::unexpected(std::move(*fault_));
    return std::move(uses_);
  }

 private:
  std::string_view Text(size_t i) const {
    return i < tokens_.size() ? tokens_[i].text : std::string_view();
  }
  bool IsName(size_t i) const {
    return i < tokens_.size() && tokens_[i].kind == TokenKind::kName && !IsKeyword(tokens_[i].text);
  }

  void Refuse(size_t i, std::string text, bool unknown = false) {
    if (fault_) return;
    fault_ = FaultAt(expression_, tokens_[i].at, std::move(text));
    if (unknown) fault_->unknown = tokens_[i].text;
  }

  // The names after local, for, and of a function's parameters. Where they are good is not looked
  // at: outside of there they are names that nothing has.
  void FindDeclared(size_t i) {
    const std::string_view word = Text(i);
    if (tokens_[i].kind != TokenKind::kName) return;
    if (word == "function") {
      ++i;
      if (IsName(i)) declared_.insert(Text(i++));  // a local function, or Read refuses it
      if (Text(i) == "(") Declare(i + 1);
    } else if (word == "local" || word == "for") {
      Declare(i + 1);
    }
  }
  void Declare(size_t i) {
    while (IsName(i)) {
      declared_.insert(Text(i++));
      if (Text(i) == "<") i += 3;  // <const>
      if (Text(i) != ",") return;
      ++i;
    }
  }

  void Read(size_t i) {
    const Token& token = tokens_[i];
    if (token.kind == TokenKind::kSymbol) return ReadSymbol(i);
    if (token.kind != TokenKind::kName) return;
    if (!IsKeyword(token.text)) return ReadName(i);
    if (i > 0 && Text(i - 1) == ".")
      return Refuse(i, "'" + std::string(token.text) +
                           "' is a word of the language; a field of that name is [\"" +
                           std::string(token.text) + "\"], without the dot");
    if (!InFunction() && std::ranges::count(kStatements, token.text) != 0)
      return Refuse(i, "unexpected '" + std::string(token.text) +
                           "'; write an expression alone, or statements in (function() ... end)()");
    if (token.text == "function" && IsName(i + 1) && Text(i - 1) != "local")
      return Refuse(i + 1, "a function with a name has to be local");
    if (token.text == "function" || token.text == "if" || token.text == "do" ||
        token.text == "repeat") {
      open_.push_back('f');
    } else if (token.text == "end" || token.text == "until") {
      Close(i, 'f');
    } else if (token.text == "in" && open_.empty()) {
      Refuse(i, "unexpected 'in'" + Hint("in"));
    }
  }

  void ReadSymbol(size_t i) {
    const std::string_view text = Text(i);
    if (text == "(" || text == "[" || text == "{") {
      open_.push_back(text[0]);
    } else if (text == ")" || text == "]" || text == "}") {
      Close(i, text == ")" ? '(' : text == "]" ? '[' : '{');
    } else if (const std::string hint = Hint(text); !hint.empty()) {
      Refuse(i, "'" + std::string(text) + "' is not of this language" + hint);
    } else if ((text[0] & 0x80) != 0) {
      const std::string_view rest = expression_.substr(tokens_[i].at);
      const size_t length = std::max<size_t>(Utf8CharacterLength(rest), 1);
      Refuse(i, "'" + std::string(rest.substr(0, length)) +
                    "' can only stand between quotes; a field of such a name is body[\"...\"]");
    } else if (text == "=" && !InFunction() && (open_.empty() || open_.back() != '{')) {
      Refuse(i, "unexpected '='; to compare, write ==");
    } else if (text == ":" && IsName(i + 1)) {
      Refuse(i, "values have no methods; write string." + std::string(Text(i + 1)) +
                    "(TEXT, ...), or a function by its name");
    }
  }

  void Close(size_t i, char opened) {
    if (open_.empty() || open_.back() != opened)
      return Refuse(i, "unexpected '" + std::string(Text(i)) + "'");
    open_.pop_back();
  }

  bool InFunction() const { return open_.find('f') != open_.npos; }

  // Whether a value may end with the word.
  bool EndsValue(size_t i) const {
    const std::string_view text = Text(i);
    return i < tokens_.size() &&
           (IsName(i) || tokens_[i].kind == TokenKind::kNumber ||
            tokens_[i].kind == TokenKind::kString || text == ")" || text == "]" || text == "}");
  }

  // What stands behind string. and math.
  void ReadMember(size_t i) {
    const std::string_view table = i < 2 ? std::string_view() : Text(i - 2);
    if (i > 2 && (Text(i - 3) == "." || Text(i - 3) == ":")) return;
    if ((table != "string" && table != "math") || declared_.contains(table)) return;
    const std::string_view name = Text(i);
    if (HasMember(table, name)) return;
    const bool search = name == "find" || name == "match" || name == "gmatch" || name == "gsub";
    Refuse(i, "unknown name '" + std::string(table) + "." + std::string(name) + "'" +
                  (search ? "; write contains(TEXT, PART) or matches(TEXT, PATTERN)" : ""));
  }

  bool IsAssigned(size_t i) const {
    return Text(i + 1) == "=" && (open_.empty() || open_.back() != '{');
  }

  void ReadName(size_t i) {
    const std::string_view name = Text(i), before = i == 0 ? std::string_view() : Text(i - 1);
    if (before == ".") return ReadMember(i);
    const auto infix = std::ranges::find(kInfix, name, [](const auto& one) { return one.first; });
    if (infix != kInfix.end() && i > 0 && !InFunction() && EndsValue(i - 1))
      return Refuse(i,
                    "unexpected '" + std::string(name) + "'; write " + std::string(infix->second));
    if (before == ":" || before == "::" || before == "goto") return;
    if (name.starts_with("__") || name == "_ENV")
      return Refuse(i, "names that begin with _ _ and _ENV are not for expressions");
    if (Text(i + 1) == "=" && !IsAssigned(i)) return;  // a field in { }
    if (before == "<" && Text(i + 1) == ">") return;   // <const>
    const auto field = std::find(std::begin(kFields), std::end(kFields), name);
    const bool function = std::find(library_.begin(), library_.end(), name) != library_.end() &&
                          (name != "type" || IsTypeCall(tokens_, i));
    const bool known = function || field != std::end(kFields);
    // Where what declares it does not reach, it is the event's or the library's all the same.
    const bool declared = declared_.contains(name);
    if (declared && !known) return;
    if (!known)
      return Refuse(i, "unknown name '" + std::string(name) + "'" + Hint(name), Hint(name).empty());
    if (IsAssigned(i) && !declared)
      return Refuse(i, "'" + std::string(name) + "' cannot be assigned to");
    if (function) return Use(&uses_.functions, name);
    const auto which = static_cast<Field>(field - std::begin(kFields));
    if (which < Field::kBody) Use(&uses_.fields, which);
  }

  template <typename T>
  void Use(std::vector<T>* used, T what) {
    if (std::find(used->begin(), used->end(), what) == used->end()) used->push_back(what);
  }

  const std::string_view expression_;
  const std::vector<Token>& tokens_;
  const std::vector<std::string_view> library_;
  std::set<std::string_view> declared_;
  std::string open_;  // brackets, and f for what end closes
  Uses uses_;
  std::optional<Fault> fault_;
};

}  // namespace

std::string_view FieldName(Field field) { return kFields[static_cast<size_t>(field)]; }

std::vector<std::string_view> KnownNames() {
  std::vector<std::string_view> out = LibraryNames();
  out.insert(out.end(), std::begin(kFields), std::end(kFields));
  return out;
}

std::vector<Token> Tokens(std::string_view expression) { return Tokenizer(expression).Run(); }

Fault FaultAt(std::string_view expression, size_t at, std::string text) {
  const std::string_view before = expression.substr(0, at);
  Fault fault;
  fault.text = std::move(text);
  fault.line = 1 + static_cast<uint32_t>(std::count(before.begin(), before.end(), '\n'));
  const std::string_view line = before.substr(before.rfind('\n') + 1);
  fault.column = 1 + static_cast<uint32_t>(std::count_if(
                         line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  return fault;
}

bool IsTypeCall(const std::vector<Token>& tokens, size_t i) {
  if (tokens[i].text != "type" || i + 1 == tokens.size()) return false;
  if (i > 0 && (tokens[i - 1].text == "." || tokens[i - 1].text == ":")) return false;
  const Token& next = tokens[i + 1];
  return next.text == "(" || next.text == "{" || next.kind == TokenKind::kString;
}

tl::expected<Uses, Fault> ReadUses(std::string_view expression, const std::vector<Token>& tokens) {
  return UsesReader(expression, tokens).Run();
}

std::vector<const Token*> PatternsOf(const std::vector<Token>& tokens) {
  std::vector<const Token*> out;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    if (tokens[i].text != "matches" || tokens[i + 1].text != "(") continue;
    if (i > 0 && tokens[i - 1].text == ".") continue;
    int depth = 0;
    for (size_t j = i + 1; j + 2 < tokens.size(); ++j) {
      const std::string_view text = tokens[j].kind == TokenKind::kSymbol ? tokens[j].text : "";
      if (text == "(" || text == "{" || text == "[") ++depth;
      if (text == ")" || text == "}" || text == "]") --depth;
      if (depth == 0) break;
      if (depth == 1 && text == "," && tokens[j + 1].kind == TokenKind::kString &&
          tokens[j + 2].text == ")")
        out.push_back(&tokens[j + 1]);
    }
  }
  return out;
}

}  // namespace penstock::filter
