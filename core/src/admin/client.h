// HTTP to a running gateway, over its admin socket.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "platform/result.h"

namespace penstock::admin {

struct Reply {
  int status = 0;
  std::string content_type;
  std::string body;
};

// One connection for each call; any thread.
class Client {
 public:
  // timeout: how long nothing may come back before a call gives up.
  explicit Client(std::string socket_path,
                  std::chrono::milliseconds timeout = std::chrono::seconds(10));

  // target: the path with its query, encoded. Blocks. An error says why there is no answer and what
  // to do; an answer of any status is none. A body of more than kMaxReply bytes is an error.
  Result<Reply> Call(const std::string& method, const std::string& target,
                     const std::string& body = "") const;

  // The same for long answers: each piece of the body of an answer with status 200 goes to on_data
  // as it comes, and the body in the reply is empty. An answer that was cut off is an error.
  using OnData = std::function<void(std::string_view)>;
  Result<Reply> Stream(const std::string& method, const std::string& target,
                       const std::string& body, const OnData& on_data) const;

  static constexpr size_t kMaxReply = 64 << 20;

 private:
  const std::string socket_path_;
  const std::chrono::milliseconds timeout_;
};

}  // namespace penstock::admin
