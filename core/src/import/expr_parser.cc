#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "config/text.h"
#include "import/expr.h"

namespace penstock::import_argo {
namespace {

using config::Cat;
using config::Quote;
using Node = std::unique_ptr<Expr>;

constexpr size_t kMostText = 64 << 10;
constexpr int kMostDepth = 100;
constexpr int kMostHeight = 200;

struct Operator {
  std::string_view text;
  int precedence;
};
constexpr int kUnaryNot = 50, kUnaryMinus = 90;
constexpr std::array<Operator, 23> kBinary = {
    {{"|", 0},         {"or", 10}, {"||", 10},      {"and", 15},      {"&&", 15},
     {"==", 20},       {"!=", 20}, {"<", 20},       {">", 20},        {">=", 20},
     {"<=", 20},       {"in", 20}, {"matches", 20}, {"contains", 20}, {"startsWith", 20},
     {"endsWith", 20}, {"..", 25}, {"+", 30},       {"-", 30},        {"*", 60},
     {"/", 60},        {"%", 60},  {"??", 500}}};
constexpr int kPower = 100;

// Those whose second argument is a predicate, and reduce.
constexpr std::array<std::string_view, 13> kPredicates = {
    "all",  "none",      "any",      "one",           "filter",  "map",   "count",
    "find", "findIndex", "findLast", "findLastIndex", "groupBy", "reduce"};
constexpr std::array<std::string_view, 46> kBuiltins = {
    "len",       "type",       "abs",      "ceil",       "floor",      "round",    "int",
    "float",     "string",     "trim",     "trimPrefix", "trimSuffix", "upper",    "lower",
    "split",     "splitAfter", "replace",  "repeat",     "join",       "indexOf",  "lastIndexOf",
    "hasPrefix", "hasSuffix",  "max",      "min",        "sum",        "mean",     "median",
    "toJSON",    "fromJSON",   "toBase64", "fromBase64", "now",        "duration", "date",
    "first",     "last",       "get",      "take",       "keys",       "values",   "toPairs",
    "fromPairs", "sort",       "sortBy",   "reduce"};

std::optional<int> Precedence(std::string_view op) {
  if (op == "**" || op == "^") return kPower;
  const auto found = std::ranges::find(kBinary, op, &Operator::text);
  return found == kBinary.end() ? std::nullopt : std::optional(found->precedence);
}

// One function for each of the library's own, so that both can be read side by side; its oddities
// are kept. After an error all of them come back at once, with nodes that nobody looks at.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  tl::expected<Node, ExprError> Run() {
    Node node = Expression(0);
    if (Current().kind != Token::Kind::kEnd) FailHere();
    if (error_) return tl::unexpected(*error_);
    return node;
  }

 private:
  using Kind = Token::Kind;

  const Token& Current() const { return tokens_[pos_]; }
  bool Is(Kind kind, std::string_view text) const {
    return Current().kind == kind && Current().text == text;
  }
  bool IsOperator(std::string_view text) const { return Is(Kind::kOperator, text); }
  bool IsBracket(std::string_view text) const { return Is(Kind::kBracket, text); }

  void Fail(size_t at, std::string text) {
    if (!error_) error_ = ExprError{at, std::move(text)};
    pos_ = tokens_.size() - 1;
  }
  void FailHere() {
    const Token& token = Current();
    Fail(token.at, token.kind == Kind::kEnd ? "it ends too early"
                                            : Cat(Quote(token.text), " is not expected there"));
  }
  void Next() {
    if (pos_ + 1 < tokens_.size()) ++pos_;
  }
  void Expect(Kind kind, std::string_view text) {
    if (Is(kind, text)) {
      Next();
    } else {
      FailHere();
    }
  }

  static Node Make(Expr::Kind kind, size_t at, std::string text = "") {
    auto node = std::make_unique<Expr>();
    node->kind = kind;
    node->at = at;
    node->text = std::move(text);
    return node;
  }

  void Adopt(Expr* parent, Node kid) {
    // A chain of operators makes as high a tree as brackets do.
    parent->height = std::max(parent->height, kid->height + 1);
    if (parent->height > kMostHeight) Fail(parent->at, "too many operators, or nested too deeply");
    parent->kids.push_back(std::move(kid));
  }

  Node Expression(int precedence) {
    if (++depth_ > kMostDepth) Fail(Current().at, "nested too deeply");
    Node node;
    if (error_) {
      node = Make(Expr::Kind::kNil, 0);
    } else if (precedence == 0 && IsOperator("let")) {
      node = Let();
    } else {
      node = Operators(Primary(), precedence);
      if (precedence == 0) node = Conditional(std::move(node));
    }
    --depth_;
    return node;
  }

  Node Operators(Node left, int precedence) {
    std::string before;
    Token op = Current();
    while (op.kind == Kind::kOperator && !error_) {
      size_t not_at = 0;
      const bool negate = op.text == "not";
      if (negate) {
        Next();
        not_at = op.at;
        op = Current();
      }
      const auto own = op.kind == Kind::kOperator ? Precedence(op.text) : std::nullopt;
      if (!own || *own < precedence) {
        // The library takes the "not" away here, whatever follows.
        if (negate) FailHere();
        break;
      }
      Next();
      if (op.text == "|") {
        left = Pipe(std::move(left));
      } else {
        if (before == "??" && op.text != "??") {
          Fail(op.at, "?? and another operator need parentheses");
          break;
        }
        Node right = Expression(own == kPower ? *own : *own + 1);
        Node both = Make(Expr::Kind::kBinary, op.at, op.text);
        Adopt(both.get(), std::move(left));
        Adopt(both.get(), std::move(right));
        left = std::move(both);
        if (negate) {
          Node inverse = Make(Expr::Kind::kUnary, not_at, "not");
          Adopt(inverse.get(), std::move(left));
          left = std::move(inverse);
        }
      }
      before = op.text;
      op = Current();
    }
    return left;
  }

  Node Let() {
    const size_t at = Current().at;
    Next();
    if (Current().kind != Kind::kIdentifier) FailHere();
    Next();
    Expect(Kind::kOperator, "=");
    Expression(0);
    Expect(Kind::kOperator, ";");
    Expression(0);
    return Make(Expr::Kind::kLet, at);
  }

  Node Conditional(Node node) {
    while (IsOperator("?") && !error_) {
      const size_t at = Current().at;
      Next();
      // a ?: b, which has its condition as its value, is not taken apart.
      if (IsOperator(":")) {
        Fail(at, "?: without a value between");
        break;
      }
      Node choice = Make(Expr::Kind::kCondition, at);
      Adopt(choice.get(), std::move(node));
      Adopt(choice.get(), Expression(0));
      Expect(Kind::kOperator, ":");
      Adopt(choice.get(), Expression(0));
      node = std::move(choice);
    }
    return node;
  }

  Node Primary() {
    const Token token = Current();
    if (token.kind == Kind::kOperator) {
      const bool inverts = token.text == "not" || token.text == "!";
      if (inverts || token.text == "-" || token.text == "+") {
        Next();
        Node node = Make(Expr::Kind::kUnary, token.at, inverts ? "not" : token.text);
        Adopt(node.get(), Expression(inverts ? kUnaryNot : kUnaryMinus));
        return Postfix(std::move(node));
      }
    }
    if (IsBracket("(")) {
      Next();
      Node node = Expression(0);
      Expect(Kind::kBracket, ")");
      return Postfix(std::move(node));
    }
    if (IsOperator("#") || IsOperator(".")) {
      if (closures_ == 0) {
        Fail(token.at, Cat(Quote(token.text), " stands outside of a predicate"));
        return Make(Expr::Kind::kNil, token.at);
      }
      Node node = Make(Expr::Kind::kPointer, token.at);
      if (token.text == "#") {
        Next();
        if (Current().kind == Kind::kIdentifier && Current().at == token.at + 1) {
          node->text = Current().text;
          Next();
        }
      }
      return Postfix(std::move(node));
    }
    return Secondary();
  }

  Node Secondary() {
    const Token token = Current();
    Node node;
    if (token.kind == Kind::kIdentifier) {
      Next();
      if (token.text == "true" || token.text == "false")
        return Make(Expr::Kind::kBool, token.at, token.text);
      if (token.text == "nil") return Make(Expr::Kind::kNil, token.at);
      node = Call(token);
    } else if (token.kind == Kind::kNumber) {
      Next();
      return Number(token);
    } else if (token.kind == Kind::kString) {
      Next();
      node = Make(Expr::Kind::kString, token.at, token.text);
    } else if (IsBracket("[")) {
      node = Array();
    } else if (IsBracket("{")) {
      node = Map();
    } else {
      FailHere();
      return Make(Expr::Kind::kNil, token.at);
    }
    return Postfix(std::move(node));
  }

  Node Number(const Token& token) {
    std::string text = token.text;
    std::erase(text, '_');
    const bool hex = text.find('x') != text.npos;
    if (!hex && text.find_first_of(".eE") != text.npos) {
      Node node = Make(Expr::Kind::kFloat, token.at);
      const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), node->real);
      if (fault != std::errc() || end != text.data() + text.size())
        Fail(token.at, "not a number that it can hold");
      return node;
    }
    Node node = Make(Expr::Kind::kInt, token.at);
    const char* first = text.data() + (hex ? 2 : 0);
    const auto [end, fault] =
        std::from_chars(first, text.data() + text.size(), node->number, hex ? 16 : 10);
    if (fault != std::errc() || end != text.data() + text.size())
      Fail(token.at, "not a whole number that it can hold");
    return node;
  }

  Node Call(const Token& name) {
    if (!IsBracket("(")) return Make(Expr::Kind::kName, name.at, name.text);
    if (std::ranges::count(kPredicates, name.text) != 0) {
      Node node = Make(Expr::Kind::kBuiltin, name.at, name.text);
      Next();
      Adopt(node.get(), Expression(0));
      Expect(Kind::kOperator, ",");
      PredicateAndRest(node.get());
      return node;
    }
    if (std::ranges::count(kBuiltins, name.text) != 0) {
      Node node = Make(Expr::Kind::kBuiltin, name.at, name.text);
      Arguments(node.get());
      return node;
    }
    Node node = Make(Expr::Kind::kCall, name.at);
    Adopt(node.get(), Make(Expr::Kind::kName, name.at, name.text));
    Arguments(node.get());
    return node;
  }

  void PredicateAndRest(Expr* node) {
    const bool braces = IsBracket("{");
    if (braces) Next();
    ++closures_;
    Adopt(node, Expression(0));
    --closures_;
    if (braces) Expect(Kind::kBracket, "}");
    if (node->text == "reduce" && IsOperator(",")) {
      Next();
      Adopt(node, Expression(0));
    }
    Expect(Kind::kBracket, ")");
  }

  Node Pipe(Node first) {
    const Token name = Current();
    if (name.kind != Kind::kIdentifier) {
      FailHere();
      return first;
    }
    Next();
    const bool predicate = std::ranges::count(kPredicates, name.text) != 0;
    const bool builtin = predicate || std::ranges::count(kBuiltins, name.text) != 0;
    Node node = Make(builtin ? Expr::Kind::kBuiltin : Expr::Kind::kCall, name.at, name.text);
    if (!builtin) Adopt(node.get(), Make(Expr::Kind::kName, name.at, name.text));
    Adopt(node.get(), std::move(first));
    if (predicate) {
      Expect(Kind::kBracket, "(");
      PredicateAndRest(node.get());
    } else {
      Arguments(node.get());
    }
    return node;
  }

  void Arguments(Expr* node) {
    Expect(Kind::kBracket, "(");
    for (bool first = true; !IsBracket(")") && !error_; first = false) {
      if (!first) Expect(Kind::kOperator, ",");
      Adopt(node, Expression(0));
    }
    Expect(Kind::kBracket, ")");
  }

  Node Array() {
    Node node = Make(Expr::Kind::kArray, Current().at);
    Next();
    while (!IsBracket("]") && !error_) {
      if (!node->kids.empty()) {
        Expect(Kind::kOperator, ",");
        if (IsBracket("]")) break;
      }
      Adopt(node.get(), Expression(0));
    }
    Expect(Kind::kBracket, "]");
    return node;
  }

  Node Map() {
    Node node = Make(Expr::Kind::kMap, Current().at);
    Next();
    for (bool first = true; !IsBracket("}") && !error_; first = false) {
      if (!first) {
        Expect(Kind::kOperator, ",");
        if (IsBracket("}")) break;
      }
      if (IsBracket("(")) {
        Expression(0);
      } else if (Current().kind == Kind::kOperator || Current().kind == Kind::kBracket) {
        FailHere();
      } else {
        Next();
      }
      Expect(Kind::kOperator, ":");
      Expression(0);
    }
    Expect(Kind::kBracket, "}");
    return node;
  }

  Node Postfix(Node node) {
    while (!error_) {
      if (IsOperator(".") || IsOperator("?.")) {
        node = Property(std::move(node));
      } else if (IsBracket("[")) {
        node = Index(std::move(node));
      } else {
        break;
      }
    }
    return node;
  }

  Node Property(Node of) {
    const bool optional = IsOperator("?.");
    Next();
    const Token name = Current();
    const bool word =
        name.kind == Kind::kIdentifier ||
        (name.kind == Kind::kOperator && std::isalpha(static_cast<unsigned char>(name.text[0])));
    if (!word) {
      FailHere();
      return of;
    }
    Next();
    Node node = Make(Expr::Kind::kMember, name.at);
    node->optional = optional;
    Adopt(node.get(), std::move(of));
    Adopt(node.get(), Make(Expr::Kind::kString, name.at, name.text));
    if (!IsBracket("(")) return node;
    Node call = Make(Expr::Kind::kCall, name.at);
    Adopt(call.get(), std::move(node));
    Arguments(call.get());
    return call;
  }

  Node Index(Node of) {
    const size_t at = Current().at;
    Next();
    Node from;
    if (!IsOperator(":")) from = Expression(0);
    if (IsOperator(":")) {
      Next();
      if (!IsBracket("]")) Expression(0);
      Node node = Make(Expr::Kind::kSlice, at);
      Adopt(node.get(), std::move(of));
      Expect(Kind::kBracket, "]");
      return node;
    }
    Expect(Kind::kBracket, "]");
    Node node = Make(Expr::Kind::kMember, at);
    Adopt(node.get(), std::move(of));
    Adopt(node.get(), std::move(from));
    return node;
  }

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int depth_ = 0, closures_ = 0;
  std::optional<ExprError> error_;
};

}  // namespace

tl::expected<std::unique_ptr<Expr>, ExprError> ParseExpr(std::string_view text) {
  if (text.size() > kMostText) return tl::unexpected(ExprError{0, "longer than 64KiB"});
  auto tokens = LexExpr(text);
  if (!tokens) return tl::unexpected(tokens.error());
  return Parser(std::move(*tokens)).Run();
}

}  // namespace penstock::import_argo
