// What an expression says before Lua sees it: its words, and the names that it uses. Private to
// this folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "filter/filter.h"
#include "filter/runtime.h"

namespace penstock::filter {

enum class TokenKind { kName, kNumber, kString, kSymbol };

struct Token {
  TokenKind kind;
  std::string_view text;
  size_t at = 0;  // in the expression
};

// The words of the expression; white space and comments stand between them. Whatever is no Lua is
// left for Lua to say.
std::vector<Token> Tokens(std::string_view expression);

// A fault at that byte of the expression.
Fault FaultAt(std::string_view expression, size_t at, std::string text);

// The call of the function type, and not the event's field of that name.
bool IsTypeCall(const std::vector<Token>& tokens, size_t i);

// What the expression uses of what it is given; the lazy fields are not in it.
struct Uses {
  std::vector<Field> fields;
  std::vector<std::string_view> functions;  // and tables
};

// Refuses names that there are none of, assignments to what is given, brackets that do not match,
// calls of methods, and the signs of other languages.
tl::expected<Uses, Fault> ReadUses(std::string_view expression, const std::vector<Token>& tokens);

// The pieces of text that are given to matches as patterns.
std::vector<const Token*> PatternsOf(const std::vector<Token>& tokens);

std::string_view FieldName(Field field);

}  // namespace penstock::filter
