#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <set>

#include "config/text.h"
#include "filter/filter.h"
#include "import/expr.h"
#include "import/lua_helpers.h"

namespace penstock::import_argo {
namespace {

using config::Cat;
using config::Quote;

// Lua's operators, the loosest first.
enum Binding { kOr, kAnd, kCompare, kConcat, kSum, kProduct, kUnary, kPower, kAtom };

// What is known of a value before there is one. Of a JSON document nothing is.
enum class Type { kAny, kNil, kBool, kInt, kFloat, kString, kList };

// What must hold of an event for expr not to fail: "object:PATH", "string:PATH", "bool:PATH".
using Facts = std::set<std::string>;

void Add(const Facts& more, Facts* facts) { facts->insert(more.begin(), more.end()); }
Facts Without(Facts facts, const Facts& known) {
  for (const std::string& fact : known) facts.erase(fact);
  return facts;
}
bool Covers(const Facts& all, const Facts& some) { return std::ranges::includes(all, some); }
Facts Both(const Facts& a, const Facts& b) {
  Facts out;
  std::ranges::set_intersection(a, b, std::inserter(out, out.end()));
  return out;
}

struct Lua {
  std::string code;
  Type type = Type::kAny;
  Binding binding = kAtom;
  // Where one of these does not hold expr fails and this is nil or false.
  Facts may_fail = {};
  // All that holds of an event for which this is true.
  Facts when_true = {};
  bool plain = false;  // a field, which is cheap enough to be written twice
  bool literal = false;
  bool folded = false;  // by lower or upper, which here change no letter outside of ASCII
};

// kStrict: what is made fails where expr fails. kLoose: there it may also be nil or false, as the
// answer no is as good as none for the whole.
enum class Mode { kStrict, kLoose };

struct Context {
  Mode mode = Mode::kLoose;
  Facts known = {};  // what holds already where the code stands

  bool loose() const { return mode == Mode::kLoose; }
  Context Strict() const { return {Mode::kStrict, known}; }
  Context Knowing(const Facts& more) const {
    Context out = *this;
    Add(more, &out.known);
    return out;
  }
};

std::string LuaString(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool IsLuaName(std::string_view text) {
  constexpr std::array<std::string_view, 22> kKeywords = {
      "and",      "break",  "do",   "else", "elseif", "end",  "false", "for",
      "function", "goto",   "if",   "in",   "local",  "nil",  "not",   "or",
      "repeat",   "return", "then", "true", "until",  "while"};
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  const bool word = std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  });
  return word && std::ranges::count(kKeywords, text) == 0;
}

std::string Wrapped(const Lua& lua, Binding least) {
  return lua.binding >= least ? lua.code : Cat("(", lua.code, ")");
}

bool IsNumber(Type type) { return type == Type::kInt || type == Type::kFloat; }

std::string_view TypeName(Type type) {
  switch (type) {
    case Type::kAny:
      return "any value";
    case Type::kNil:
      return "nil";
    case Type::kBool:
      return "a boolean";
    case Type::kInt:
    case Type::kFloat:
      return "a number";
    case Type::kString:
      return "a string";
    case Type::kList:
      return "a list";
  }
  return "";
}

// A field: where it begins and the way from there.
struct Step {
  const Expr* key = nullptr;  // kString or kInt
  bool optional = false;
};

class Translator {
 public:
  explicit Translator(const FilterContext& context) : context_(context) {}

  tl::expected<std::string, ExprError> Run(const Expr& expr) {
    const Lua lua = Bool(expr, {Mode::kLoose, {}});
    if (error_) return tl::unexpected(*error_);
    return WithHelpers(helpers_, lua.code);
  }

 private:
  Lua Fail(const Expr& expr, std::string text) {
    if (!error_) error_ = ExprError{expr.at, std::move(text)};
    return {};
  }
  Lua Refused(const Expr& expr, std::string_view what) {
    return Fail(expr, Cat("Argo itself refuses it: ", what));
  }
  std::string Call(const std::string& helper, const std::string& arguments) {
    helpers_.insert(helper);
    return Cat(helper, "(", arguments, ")");
  }

  // ---- booleans

  Lua Bool(const Expr& expr, const Context& context) {
    if (expr.kind == Expr::Kind::kBinary) {
      if (expr.text == "and" || expr.text == "&&") return And(expr, context);
      if (expr.text == "or" || expr.text == "||") return Or(expr, context);
    }
    if (expr.kind == Expr::Kind::kCondition) return Condition(expr, context);
    Lua value = context.loose() ? Value(expr, context) : Looked(expr, context);
    if (value.type == Type::kBool) return value;
    if (value.type != Type::kAny)
      return Refused(expr, Cat(TypeName(value.type), " where it wants true or false"));
    if (value.plain && context.loose()) {
      const std::string fact = Cat("bool:", value.code);
      value.may_fail.insert(fact);
      value.when_true = value.may_fail;
      Add(Objects(expr), &value.when_true);
      value.code = Cat(value.code, " == true");
      value.binding = kCompare;
    } else {
      value.code = Call("bool", value.code);
      value.binding = kAtom;
      value.may_fail.clear();
    }
    value.plain = false;
    value.type = Type::kBool;
    return value;
  }

  Lua And(const Expr& expr, const Context& context) {
    Lua left = Bool(*expr.kids[0], context);
    const Lua right = Bool(*expr.kids[1], context.Knowing(left.when_true));
    Lua out{Cat(Wrapped(left, kAnd), " and ", Wrapped(right, kCompare)), Type::kBool, kAnd};
    out.may_fail = left.may_fail;
    Add(right.may_fail, &out.may_fail);
    out.when_true = left.when_true;
    Add(right.when_true, &out.when_true);
    return out;
  }

  // Where the left side fails in expr the right side must not make up for it.
  Lua Or(const Expr& expr, const Context& context) {
    Lua left = Bool(*expr.kids[0], context);
    const Lua right = Bool(*expr.kids[1], context);
    if (!Covers(right.when_true, left.may_fail)) left = Bool(*expr.kids[0], context.Strict());
    Lua out{Cat(Wrapped(left, kOr), " or ", Wrapped(right, kAnd)), Type::kBool, kOr};
    out.may_fail = left.may_fail;
    Add(right.may_fail, &out.may_fail);
    out.when_true = Both(left.when_true, right.when_true);
    return out;
  }

  Lua Condition(const Expr& expr, const Context& context) {
    const Lua condition = Bool(*expr.kids[0], context.Strict());
    const Lua yes = Bool(*expr.kids[1], context.Knowing(condition.when_true));
    const Lua no = Bool(*expr.kids[2], context);
    Lua out{Cat("(function() if ", condition.code, " then return ", yes.code, " end return ",
                no.code, " end)()"),
            Type::kBool};
    out.may_fail = yes.may_fail;
    Add(no.may_fail, &out.may_fail);
    return out;
  }

  Lua Choice(const Expr& expr, const Context& context) {
    const Lua condition = Bool(*expr.kids[0], context.Strict());
    const Lua yes = Value(*expr.kids[1], context.Strict().Knowing(condition.when_true));
    const Lua no = Value(*expr.kids[2], context.Strict());
    if (yes.type != no.type) return Fail(expr, "?: between values of different types");
    return {Cat("(function() if ", condition.code, " then return ", yes.code, " end return ",
                no.code, " end)()"),
            yes.type};
  }

  // ---- values

  Lua Value(const Expr& expr, const Context& context) {
    switch (expr.kind) {
      case Expr::Kind::kNil:
        return {"nil", Type::kNil, kAtom, {}, {}, false, true};
      case Expr::Kind::kBool:
        return {expr.text, Type::kBool, kAtom, {}, {}, false, true};
      case Expr::Kind::kInt:
        return {std::to_string(expr.number), Type::kInt, kAtom, {}, {}, false, true};
      case Expr::Kind::kFloat:
        return {LuaFloat(expr.real), Type::kFloat, kAtom, {}, {}, false, true};
      case Expr::Kind::kString:
        return {LuaString(expr.text), Type::kString, kAtom, {}, {}, false, true};
      case Expr::Kind::kName:
        return Name(expr);
      case Expr::Kind::kPointer:
        return Pointer(expr);
      case Expr::Kind::kMember:
        return Member(expr, context);
      case Expr::Kind::kUnary:
        return Unary(expr, context);
      case Expr::Kind::kBinary:
        return Binary(expr, context);
      case Expr::Kind::kCondition:
        return Choice(expr, context);
      case Expr::Kind::kCall:
        return Called(expr);
      case Expr::Kind::kBuiltin:
        return Builtin(expr, context);
      case Expr::Kind::kArray:
        return Fail(expr, "a list stands only to the right of in");
      case Expr::Kind::kMap:
        return Fail(expr, "a map has no equivalent");
      case Expr::Kind::kSlice:
        return Fail(expr, "a slice [from:to] has no equivalent");
      case Expr::Kind::kLet:
        return Fail(expr, "let has no equivalent");
    }
    return {};
  }

  static std::string LuaFloat(double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", value);
    std::string out = text;
    if (out.find_first_of(".en") == out.npos) out += ".0";
    return out == "inf" ? "math.huge" : out;
  }

  Lua Name(const Expr& expr) {
    if (expr.text == "body") {
      if (context_.json_body) return {"body", Type::kAny, kAtom, {}, {}, true};
      helpers_.insert("encoded");
      return {"encoded", Type::kAny, kAtom, {}, {}, true};
    }
    if (expr.text == "metadata") {
      if (context_.has_metadata) return {"metadata", Type::kAny, kAtom, {}, {}, true};
      return Fail(expr, "the source has no metadata, so Argo fails there for every event");
    }
    return Fail(expr, Cat("Argo knows no ", Quote(expr.text),
                          " there, only body and metadata, and takes it for nil"));
  }

  Lua Pointer(const Expr& expr) {
    if (!expr.text.empty()) return Fail(expr, Cat("#", expr.text, " has no equivalent"));
    if (pointers_ == 0) return Fail(expr, "# outside of a predicate");
    return {PointerName(pointers_), Type::kAny, kAtom, {}, {}, true};
  }
  static std::string PointerName(int depth) {
    return depth == 1 ? "it" : Cat("it", std::to_string(depth));
  }

  // The value that a way of fields and elements begins at, and the way.
  static const Expr& Root(const Expr& expr, std::vector<Step>* way) {
    const Expr* at = &expr;
    while (at->kind == Expr::Kind::kMember) {
      way->insert(way->begin(), {at->kids[1].get(), at->optional});
      at = at->kids[0].get();
    }
    return *at;
  }

  static std::string Written(const std::string& of, const Expr& key) {
    return IsLuaName(key.text) ? Cat(of, ".", key.text) : Cat(of, "[", LuaString(key.text), "]");
  }

  // What must be an object for a field to be there. Nothing for what is no field.
  Facts Objects(const Expr& expr) {
    if (expr.kind != Expr::Kind::kMember) return {};
    std::vector<Step> way;
    const Expr& root = Root(expr, &way);
    if (root.kind != Expr::Kind::kName && root.kind != Expr::Kind::kPointer) return {};
    Facts out;
    std::string code = root.kind == Expr::Kind::kName ? root.text : PointerName(pointers_);
    for (const Step& step : way) {
      if (step.key->kind != Expr::Kind::kString) return out;
      if (code != "metadata") out.insert(Cat("object:", code));
      code = Written(code, *step.key);
    }
    return out;
  }

  std::optional<std::string> Key(const Expr& key) {
    if (key.kind == Expr::Kind::kString) return LuaString(key.text);
    if (key.kind == Expr::Kind::kInt) return std::to_string(key.number);
    if (key.kind == Expr::Kind::kUnary && key.text == "-" && key.kids[0]->kind == Expr::Kind::kInt)
      return std::to_string(-key.kids[0]->number);
    Fail(key, "only a name or a number can stand in [ ]");
    return std::nullopt;
  }

  Lua Member(const Expr& expr, const Context& context) {
    std::vector<Step> way;
    const Expr& root_expr = Root(expr, &way);
    if (way.size() > kLongestWay) return Fail(expr, "too many fields in a row");
    if (root_expr.kind == Expr::Kind::kName && root_expr.text == "body" && !context_.json_body)
      return Fail(expr, "without jsonBody the body is text in base64, which has no fields");
    const Lua root = Value(root_expr, context.Strict());
    std::string plain = Wrapped(root, kAtom), sure, likely;
    bool names_only = root.plain, optional = false;
    for (const Step& step : way) {
      const auto key = Key(*step.key);
      if (!key) return {};
      names_only = names_only && step.key->kind == Expr::Kind::kString;
      if (names_only) plain = Written(plain, *step.key);
      if (optional && !step.optional) return Fail(*step.key, "?. and then . has no equivalent");
      optional = step.optional;
      if (optional && step.key->kind != Expr::Kind::kString) return Fail(*step.key, "?. with [ ]");
      (optional ? likely : sure) += ", " + *key;
    }
    Lua out{plain, Type::kAny};
    out.plain = names_only;
    const Facts needed = Without(Objects(expr), context.known);
    if (names_only && context.loose()) {
      out.may_fail = needed;
      return out;
    }
    if (names_only && needed.empty()) return out;
    out.plain = false;
    out.code = sure.empty() ? root.code : Call("get", root.code + sure);
    if (!likely.empty()) out.code = Call("try", out.code + likely);
    return out;
  }

  // A field may be nil where expr fails; the answer of anything else may not be another one.
  Lua Field(const Expr& expr, const Context& context) {
    return Value(expr, expr.kind == Expr::Kind::kMember ? context : context.Strict());
  }

  // Of a value that something looks at that fails itself if it is nil.
  Lua Looked(const Expr& expr, const Context& context) {
    Lua out = Value(expr, expr.kind == Expr::Kind::kMember ? Context{Mode::kLoose, context.known}
                                                           : context.Strict());
    out.may_fail.clear();
    return out;
  }

  // ---- operators

  Lua Unary(const Expr& expr, const Context& context) {
    const Expr& of = *expr.kids[0];
    if (expr.text == "not") {
      const Lua inner = Bool(of, context.Strict());
      return {Cat("not ", Wrapped(inner, kUnary)), Type::kBool, kUnary};
    }
    if (expr.text == "+") {
      // It does nothing, and says nothing of what is no number.
      const Lua inner = Value(of, context.Strict());
      if (inner.type == Type::kAny || IsNumber(inner.type)) return inner;
      return Refused(expr, Cat(TypeName(inner.type), " is no number"));
    }
    const Lua inner = Number(of, context);
    Lua out{Cat("-", Wrapped(inner, kPower)), inner.type, kUnary};
    out.literal = inner.literal;
    return out;
  }

  Lua Binary(const Expr& expr, const Context& context) {
    const std::string& op = expr.text;
    if (op == "and" || op == "&&" || op == "or" || op == "||") {
      // As a condition it is looked at as a whole; as a value it is its right side as that is.
      if (!IsBoolean(*expr.kids[1])) return Fail(expr, Cat(op, " as a value, not as a condition"));
      return op == "and" || op == "&&" ? And(expr, context) : Or(expr, context);
    }
    if (op == "==" || op == "!=") return Equal(expr, context);
    if (op == "<" || op == ">" || op == "<=" || op == ">=") return Order(expr, context);
    if (op == "in") return In(expr, context);
    if (op == "contains") return Text(expr, "contains", context);
    if (op == "startsWith") return Text(expr, "starts_with", context);
    if (op == "endsWith") return Text(expr, "ends_with", context);
    if (op == "matches") return Text(expr, "matches", context);
    if (op == "??") return Coalesce(expr, context);
    if (op == "..") return Fail(expr, "a range stands only to the right of in");
    return Arithmetic(expr, context);
  }

  Lua Equal(const Expr& expr, const Context& context) {
    const bool equal = expr.text == "==";
    const Expr* a = expr.kids[0].get();
    const Expr* b = expr.kids[1].get();
    const bool swapped = IsLiteral(*a);
    if (swapped) std::swap(a, b);
    const Lua right = Value(*b, context.Strict());
    // Where the field is not there it is nil, which is not equal to what is something.
    const bool loose = right.literal && equal == (right.type != Type::kNil);
    const Lua left = loose ? Field(*a, context) : Value(*a, context.Strict());
    if (!Comparable(left.type, right.type))
      return Refused(expr, Cat("it compares ", TypeName(left.type), " and ", TypeName(right.type)));
    CheckFolded(left, right, expr);
    CheckFolded(right, left, expr);
    Lua out{"", Type::kBool, kCompare};
    if (left.type == Type::kAny && right.type == Type::kAny) {
      out.code = Cat(equal ? "" : "not ", Call("same", Cat(left.code, ", ", right.code)));
      out.binding = equal ? kAtom : kUnary;
      return out;
    }
    const std::string first = Wrapped(left, kConcat), second = Wrapped(right, kConcat);
    out.code = Cat(swapped ? second : first, equal ? " == " : " ~= ", swapped ? first : second);
    out.may_fail = left.may_fail;
    if (left.plain && right.literal && equal == (right.type != Type::kNil)) {
      out.when_true = Objects(*a);
      if (right.type == Type::kString) out.when_true.insert(Cat("string:", left.code));
      if (right.type == Type::kBool) out.when_true.insert(Cat("bool:", left.code));
    }
    return out;
  }

  // Whether expr itself knows that it is true or false.
  static bool IsBoolean(const Expr& expr) {
    constexpr std::array<std::string_view, 11> kOperators = {
        "==", "!=", "<", ">", "<=", ">=", "in", "contains", "startsWith", "endsWith", "matches"};
    constexpr std::array<std::string_view, 4> kFunctions = {"any", "all", "none", "one"};
    if (expr.kind == Expr::Kind::kBool) return true;
    if (expr.kind == Expr::Kind::kUnary) return expr.text == "not";
    if (expr.kind == Expr::Kind::kBuiltin) return std::ranges::count(kFunctions, expr.text) != 0;
    if (expr.kind != Expr::Kind::kBinary) return false;
    const bool logic =
        expr.text == "and" || expr.text == "&&" || expr.text == "or" || expr.text == "||";
    return logic ? IsBoolean(*expr.kids[1]) : std::ranges::count(kOperators, expr.text) != 0;
  }

  static bool IsLiteral(const Expr& expr) {
    if (expr.kind == Expr::Kind::kUnary && expr.text == "-") return IsLiteral(*expr.kids[0]);
    return expr.kind == Expr::Kind::kNil || expr.kind == Expr::Kind::kBool ||
           expr.kind == Expr::Kind::kInt || expr.kind == Expr::Kind::kFloat ||
           expr.kind == Expr::Kind::kString;
  }

  // What lower or upper made can be held against ASCII only.
  void CheckFolded(const Lua& value, const Lua& other, const Expr& expr) {
    const bool ascii = other.literal && std::ranges::all_of(other.code, [](char c) {
                         return static_cast<unsigned char>(c) < 0x80;
                       });
    if (value.folded && !ascii)
      Fail(expr, "lower and upper, which here change only A to Z, with anything but such a text");
  }

  static bool Comparable(Type a, Type b) {
    if (a == Type::kAny || b == Type::kAny || a == Type::kNil || b == Type::kNil) return true;
    return a == b || (IsNumber(a) && IsNumber(b));
  }

  // Lua fails here for the same operands as expr.
  Lua Order(const Expr& expr, const Context& context) {
    const Lua left = Looked(*expr.kids[0], context), right = Looked(*expr.kids[1], context);
    const auto ordered = [](Type t) {
      return t == Type::kAny || t == Type::kString || IsNumber(t);
    };
    if (!ordered(left.type) || !ordered(right.type) || !Comparable(left.type, right.type))
      return Refused(expr, Cat("it compares ", TypeName(left.type), " and ", TypeName(right.type)));
    CheckFolded(left, right, expr);
    CheckFolded(right, left, expr);
    Lua out{Cat(Wrapped(left, kConcat), " ", expr.text, " ", Wrapped(right, kConcat)), Type::kBool,
            kCompare};
    for (const auto& [side, operand] : {std::pair{&left, 0}, {&right, 1}}) {
      if (!side->plain) continue;
      Add(Objects(*expr.kids[static_cast<size_t>(operand)]), &out.when_true);
    }
    return out;
  }

  // What was Looked at, as a number or a string: what may be another thing is checked by Lua.
  Lua AsNumber(const Expr& expr, const Lua& value) {
    if (IsNumber(value.type)) return value;
    if (value.type != Type::kAny) return Refused(expr, Cat(TypeName(value.type), " is no number"));
    return {Call("num", value.code), Type::kFloat};
  }

  Lua AsString(const Expr& expr, const Lua& value, const Context& context) {
    if (value.type == Type::kString) return value;
    if (value.type != Type::kAny) return Refused(expr, Cat(TypeName(value.type), " is no string"));
    if (value.plain && context.known.contains(Cat("string:", value.code))) return value;
    return {Call("text", value.code), Type::kString};
  }

  Lua Number(const Expr& expr, const Context& context) {
    return AsNumber(expr, Looked(expr, context));
  }
  Lua String(const Expr& expr, const Context& context) {
    return AsString(expr, Looked(expr, context), context);
  }

  Lua Arithmetic(const Expr& expr, const Context& context) {
    const Expr &a = *expr.kids[0], &b = *expr.kids[1];
    const std::string& op = expr.text;
    if (op == "+") return Sum(expr, context);
    if (op == "%") return Modulo(expr, context);
    const Lua left = Number(a, context), right = Number(b, context);
    const bool whole = left.type == Type::kInt && right.type == Type::kInt;
    if (op == "**" || op == "^")
      return {Cat(Wrapped(left, kAtom), " ^ ", Wrapped(right, kPower)), Type::kFloat, kPower};
    if (op == "-")
      return {Cat(Wrapped(left, kSum), " - ", Wrapped(right, kProduct)),
              whole ? Type::kInt : Type::kFloat, kSum};
    if (op == "*" || op == "/")
      return {Cat(Wrapped(left, kProduct), " ", op, " ", Wrapped(right, kUnary)),
              whole && op == "*" ? Type::kInt : Type::kFloat, kProduct};
    return Fail(expr, Cat(Quote(op), " has no equivalent"));
  }

  Lua Sum(const Expr& expr, const Context& context) {
    const Expr &a = *expr.kids[0], &b = *expr.kids[1];
    const Lua left = Looked(a, context), right = Looked(b, context);
    if (left.folded || right.folded) return Fail(expr, "+ with what lower or upper made");
    if (left.type == Type::kString || right.type == Type::kString)
      return {Cat(Wrapped(AsString(a, left, context), kSum), " .. ",
                  Wrapped(AsString(b, right, context), kConcat)),
              Type::kString, kConcat};
    if (IsNumber(left.type) || IsNumber(right.type)) {
      const bool whole = left.type == Type::kInt && right.type == Type::kInt;
      return {Cat(Wrapped(AsNumber(a, left), kSum), " + ", Wrapped(AsNumber(b, right), kProduct)),
              whole ? Type::kInt : Type::kFloat, kSum};
    }
    if (left.type != Type::kAny || right.type != Type::kAny)
      return Refused(expr, Cat("it adds ", TypeName(left.type), " and ", TypeName(right.type)));
    return {Call("add", Cat(left.code, ", ", right.code)), Type::kAny};
  }

  Lua Modulo(const Expr& expr, const Context& context) {
    const Lua left = Looked(*expr.kids[0], context), right = Looked(*expr.kids[1], context);
    if (left.type == Type::kInt && right.type == Type::kInt)
      return {Cat("math.fmod(", left.code, ", ", right.code, ")"), Type::kInt};
    return Fail(expr, "% fails in Argo for every number of a JSON document; int() makes it whole");
  }

  // contains and the like; fields that are not there, or no strings, make expr fail.
  Lua Text(const Expr& expr, const std::string& function, const Context& context) {
    const Expr &a = *expr.kids[0], &b = *expr.kids[1];
    const Lua right = String(b, context);
    const Lua field = Looked(a, context);
    CheckFolded(field, right, expr);
    CheckFolded(right, field, expr);
    Lua out{"", Type::kBool};
    const std::string fact = Cat("string:", field.code);
    if (!field.plain || !context.loose() || context.known.contains(fact)) {
      out.code = Cat(function, "(", AsString(a, field, context).code, ", ", right.code, ")");
    } else {
      out.code = Cat(function, "(", field.code, ", ", right.code, ")");
      // With a list, contains looks for an element.
      if (function == "contains") {
        out.code = Cat("type(", field.code, ") == \"string\" and ", out.code);
        out.binding = kAnd;
      }
      out.may_fail = Without(Objects(a), context.known);
      out.may_fail.insert(fact);
    }
    if (field.plain) {
      out.when_true = Objects(a);
      out.when_true.insert(fact);
    }
    return out;
  }

  Lua In(const Expr& expr, const Context& context) {
    const Expr &what = *expr.kids[0], &where = *expr.kids[1];
    if (where.kind == Expr::Kind::kBinary && where.text == "..") {
      const Lua first = Value(*where.kids[0], context.Strict());
      const Lua last = Value(*where.kids[1], context.Strict());
      if (first.type != Type::kInt || last.type != Type::kInt || !first.literal || !last.literal)
        return Fail(where, "a range whose ends are not written out has no equivalent");
      return {Call("in_range",
                   Cat(Value(what, context.Strict()).code, ", ", first.code, ", ", last.code)),
              Type::kBool};
    }
    if (where.kind != Expr::Kind::kArray) return Within(what, where, context);
    if (where.kids.empty()) return Fail(where, "nothing is in an empty list");
    const Lua field = Field(what, context);
    std::vector<std::string> list;
    bool strings = true, empty_string = false;
    for (const auto& kid : where.kids) {
      const Lua element = Value(*kid, context.Strict());
      if (!element.literal || element.type == Type::kNil)
        return Fail(*kid, "in is translated only with a list of texts, numbers and booleans");
      if (!Comparable(field.type, element.type))
        return Refused(*kid, Cat(TypeName(field.type), " cannot be ", TypeName(element.type)));
      CheckFolded(field, element, *kid);
      strings = strings && element.type == Type::kString;
      empty_string = empty_string || kid->text.empty();
      list.push_back(element.code);
    }
    if (list.size() > kMostArguments && !field.plain)
      return Fail(where, "a list of so many is translated only for a field");
    if (strings) return InTexts(expr, field, list, empty_string, context);
    Lua out = OneOf(field.code, list);
    out.may_fail = field.may_fail;
    if (field.plain) out.when_true = Objects(what);
    return out;
  }

  // A call in Lua takes no more than about 250 arguments.
  static Lua OneOf(const std::string& code, const std::vector<std::string>& list) {
    Lua out{"", Type::kBool, list.size() > kMostArguments ? kOr : kAtom};
    for (size_t i = 0; i < list.size(); ++i) {
      const bool first = i % kMostArguments == 0, last = (i + 1) % kMostArguments == 0;
      if (first) out.code += Cat(i == 0 ? "" : " or ", "one_of(", code);
      out.code += ", " + list[i];
      if (last || i + 1 == list.size()) out.code += ")";
    }
    return out;
  }

  Lua Within(const Expr& what, const Expr& where, const Context& context) {
    const Lua element = Value(what, context.Strict()), list = Value(where, context.Strict());
    if (list.type != Type::kAny) return Refused(where, Cat(TypeName(list.type), " is no list"));
    if (element.folded) return Fail(what, "in with what lower or upper made");
    return {Call("within", Cat(element.code, ", ", list.code)), Type::kBool};
  }

  // expr makes a map of such a list, which nothing but a string can be looked up in; it takes nil
  // for an empty one.
  Lua InTexts(const Expr& expr, const Lua& field, const std::vector<std::string>& list,
              bool empty_string, const Context& context) {
    const Expr& what = *expr.kids[0];
    Lua out = OneOf(field.code, list);
    if (field.type == Type::kString) return out;
    if (empty_string) return Fail(*expr.kids[1], "in Argo nil is in a list that holds \"\"");
    const std::string fact = Cat("string:", field.code);
    if (field.plain && (context.loose() || context.known.contains(fact))) {
      out.may_fail = field.may_fail;
      if (!context.known.contains(fact)) out.may_fail.insert(fact);
    } else {
      const std::string code = context.loose() ? Value(what, context.Strict()).code : field.code;
      out = OneOf(Call("text_or_nil", code), list);
    }
    if (field.plain) {
      out.when_true = Objects(what);
      out.when_true.insert(fact);
    }
    return out;
  }

  Lua Coalesce(const Expr& expr, const Context& context) {
    const Lua left = Value(*expr.kids[0], context.Strict());
    const Lua right = Value(*expr.kids[1], context.Strict());
    if (!right.literal) return Fail(expr, "?? is translated only with a literal to its right");
    if (left.type != Type::kAny) return Fail(expr, "?? to the right of what is never nil");
    return {Call("either", Cat(left.code, ", ", right.code)), Type::kAny};
  }

  // ---- functions

  Lua Called(const Expr& expr) {
    const Expr& callee = *expr.kids[0];
    const Context context{Mode::kStrict, {}};
    if (callee.kind == Expr::Kind::kName) {
      if (callee.text == "asInt") return ToNumber(expr, 1, "to_int", Type::kInt);
      if (callee.text == "asFloat") return ToNumber(expr, 1, "to_float", Type::kFloat);
      return Fail(expr, Cat("the function ", Quote(callee.text), " has no equivalent"));
    }
    std::vector<Step> way;
    const Expr& root = Root(callee, &way);
    if (root.kind != Expr::Kind::kName || root.text != "sprig" || way.size() != 1)
      return Fail(expr, "calling a field has no equivalent");
    const std::string& name = way[0].key->text;
    const auto arguments = expr.kids.size() - 1;
    const auto argument = [&](size_t i) { return String(*expr.kids[i], context).code; };
    if (arguments == 1 && name == "b64enc")
      return {Cat("base64_encode(", argument(1), ")"), Type::kString};
    if (arguments == 1 && (name == "lower" || name == "upper")) return Folded(name, argument(1));
    // What is looked for comes first there.
    if (arguments == 2 && (name == "contains" || name == "hasPrefix" || name == "hasSuffix"))
      return {Cat(TextFunction(name), "(", argument(2), ", ", argument(1), ")"), Type::kBool};
    return Fail(expr, Cat("the function ", Quote("sprig." + name), " has no equivalent"));
  }

  static Lua Folded(const std::string& function, const std::string& argument) {
    Lua out{Cat(function, "(", argument, ")"), Type::kString};
    out.folded = true;
    return out;
  }

  static std::string_view TextFunction(std::string_view name) {
    return name == "hasPrefix" ? "starts_with" : name == "hasSuffix" ? "ends_with" : "contains";
  }

  Lua ToNumber(const Expr& expr, size_t first, const std::string& helper, Type type) {
    if (expr.kids.size() != first + 1) return Refused(expr, "it wants one argument");
    const Lua argument = Looked(*expr.kids[first], {Mode::kStrict, {}});
    if (argument.type == Type::kBool || argument.type == Type::kNil || argument.type == Type::kList)
      return Refused(expr, Cat(TypeName(argument.type), " is no number"));
    if (argument.type == type) return argument;
    return {Call(helper, argument.code), type};
  }

  Lua Builtin(const Expr& expr, const Context& outer) {
    const std::string& name = expr.text;
    const Context context = outer.Strict();
    if (name == "any" || name == "all" || name == "none" || name == "one" || name == "count")
      return Predicate(expr, outer);
    if (name == "int") return ToNumber(expr, 0, "to_int", Type::kInt);
    if (name == "float") return ToNumber(expr, 0, "to_float", Type::kFloat);
    if (name == "len") return Length(expr);
    const auto argument = [&](size_t i) { return String(*expr.kids[i], context).code; };
    if (expr.kids.size() == 1) {
      if (name == "lower" || name == "upper") return Folded(name, argument(0));
      if (name == "toBase64") return {Cat("base64_encode(", argument(0), ")"), Type::kString};
      if (name == "fromBase64") return {Cat("base64_decode(", argument(0), ")"), Type::kString};
      if (name == "fromJSON") return {Cat("json(", argument(0), ")"), Type::kAny};
      if (name == "abs") {
        const Lua number = Number(*expr.kids[0], context);
        return {Cat("math.abs(", number.code, ")"), number.type};
      }
    }
    if (expr.kids.size() == 2 && (name == "hasPrefix" || name == "hasSuffix"))
      return {Cat(TextFunction(name), "(", argument(0), ", ", argument(1), ")"), Type::kBool};
    return Fail(expr, Cat("the function ", Quote(name), " has no equivalent"));
  }

  Lua Length(const Expr& expr) {
    if (expr.kids.size() != 1) return Refused(expr, "len wants one argument");
    const Expr& of = *expr.kids[0];
    if (of.kind == Expr::Kind::kBuiltin && of.text == "filter") return Counted(of);
    const Lua value = Looked(of, {Mode::kStrict, {}});
    if (value.type == Type::kString) return {Cat("#", Wrapped(value, kAtom)), Type::kInt, kUnary};
    if (value.type != Type::kAny) return Refused(expr, Cat(TypeName(value.type), " has no length"));
    return {Call("size", value.code), Type::kInt};
  }

  std::string List(const Expr& expr) {
    const Lua list = Looked(expr, {Mode::kStrict, {}});
    if (list.type != Type::kAny) Refused(expr, Cat(TypeName(list.type), " is no list"));
    return Call("list", list.code);
  }

  std::string Function(const Expr& predicate) {
    if (pointers_ == kMostPredicates) {
      Fail(predicate, "predicates in predicates, too deep");
      return "";
    }
    ++pointers_;
    const Lua condition = Bool(predicate, {Mode::kStrict, {}});
    --pointers_;
    return Cat("function(", PointerName(pointers_ + 1), ") return ", condition.code, " end");
  }

  Lua Counted(const Expr& expr) {
    const std::string list = List(*expr.kids[0]);
    return {Call("count", Cat(list, ", ", Function(*expr.kids[1]))), Type::kInt};
  }

  Lua Predicate(const Expr& expr, const Context& context) {
    if (expr.text == "count") return Counted(expr);
    if (expr.text == "one") return {Cat(Counted(expr).code, " == 1"), Type::kBool, kCompare};
    // Of nothing there is none.
    const Lua field =
        expr.text == "any" && context.loose() ? Looked(*expr.kids[0], context) : Lua{};
    if (field.plain) {
      Lua out{Cat("any(", field.code, ", ", Function(*expr.kids[1]), ")"), Type::kBool};
      out.may_fail = out.when_true = Objects(*expr.kids[0]);
      out.may_fail.insert(Cat("list:", field.code));
      out.when_true.insert(Cat("list:", field.code));
      return out;
    }
    const std::string list = List(*expr.kids[0]);
    const std::string arguments = Cat("(", list, ", ", Function(*expr.kids[1]), ")");
    if (expr.text == "none") return {Cat("not any", arguments), Type::kBool, kUnary};
    return {Cat(expr.text, arguments), Type::kBool};
  }

  static constexpr size_t kLongestWay = 64;
  static constexpr size_t kMostArguments = 100;
  static constexpr int kMostPredicates = 8;

  const FilterContext& context_;
  Helpers helpers_;
  int pointers_ = 0;
  std::optional<ExprError> error_;
};

}  // namespace

tl::expected<std::string, ExprError> TranslateFilter(std::string_view expression,
                                                     const FilterContext& context) {
  const auto expr = ParseExpr(expression);
  if (!expr) return tl::unexpected(expr.error());
  auto lua = Translator(context).Run(**expr);
  if (!lua) return lua;
  // Its bounds, and regular expressions that are none, for Argo as well.
  if (const auto filter = filter::Filter::Compile(*lua); !filter)
    return tl::unexpected(ExprError{0, Cat("in Lua it is no filter: ", filter.error().text)});
  return lua;
}

}  // namespace penstock::import_argo
