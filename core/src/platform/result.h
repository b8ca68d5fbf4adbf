// A value, or an Error that says what, why and what to do next.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace penstock {

// Answers the one question that the caller has.
enum class Code {
  kConfig,  // the user's input is wrong: exit 78
  kRetry,   // trying again may work
  kReject,  // this one thing will never work
  kFatal,   // the process cannot go on
};

struct Error {
  Code code;
  std::string message;

  // Context goes in front on the way up.
  Error Prefixed(const std::string& context) && {
    message.insert(0, context + ": ");
    return std::move(*this);
  }
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> Fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace penstock
