// Filters of Argo Events: expressions of the language expr (github.com/antonmedv/expr v1.15.5, as
// Argo Events 1.9.11 has it), read by its grammar and turned into Lua. Private to this folder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace penstock::import_argo {

struct ExprError {
  size_t at = 0;  // bytes from the expression's start
  std::string text;
};

struct Token {
  enum class Kind { kIdentifier, kNumber, kString, kOperator, kBracket, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;  // of a string what it stands for
  size_t at = 0;
};

tl::expected<std::vector<Token>, ExprError> LexExpr(std::string_view text);

struct Expr {
  enum class Kind {
    kNil,
    kBool,       // text: true, false
    kInt,        // number
    kFloat,      // real
    kString,     // text
    kName,       // text
    kPointer,    // # in a predicate; text: "", or the name behind it
    kUnary,      // text: the operator; kids: 1
    kBinary,     // text: the operator; kids: 2
    kMember,     // kids: of what, which; optional: ?.
    kSlice,      // kids: of what
    kCall,       // kids: what is called, arguments
    kBuiltin,    // text: the name; kids: the arguments, a predicate among them as it is
    kCondition,  // kids: 3
    kArray,      // kids
    kMap,        // kids are not kept
    kLet,        // kids are not kept
  };
  Kind kind = Kind::kNil;
  size_t at = 0;
  std::string text;
  int64_t number = 0;
  double real = 0;
  bool optional = false;
  int height = 0;  // of the tree below; bounded, so that it can be walked by recursion
  std::vector<std::unique_ptr<Expr>> kids;
};

// Bounded in length and depth; what is beyond is an error.
tl::expected<std::unique_ptr<Expr>, ExprError> ParseExpr(std::string_view text);

// What is known of the source that the filter stands in.
struct FilterContext {
  bool json_body = false;
  bool has_metadata = false;
};

// The Lua expression that is true for exactly those events for which Argo's is. Where Argo's fails,
// and Argo drops the event, this one is false or fails as well. The error says why there is none:
// what has no equivalent, or what Argo itself refuses.
tl::expected<std::string, ExprError> TranslateFilter(std::string_view expression,
                                                     const FilterContext& context);

}  // namespace penstock::import_argo
