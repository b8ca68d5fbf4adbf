#include "filter/patterns.h"

namespace penstock::filter {

const RE2* Patterns::Find(std::string_view pattern, bool* made) {
  *made = false;
  const auto known = compiled_.find(pattern);
  if (known != compiled_.end()) return known->second.get();
  *made = true;
  if (pattern.size() > kLongest) {
    error_ = "it has " + std::to_string(pattern.size()) + " bytes, more than " +
             std::to_string(kLongest) + "; several, joined by or, are as good";
    return nullptr;
  }
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMaxBytes);
  auto compiled = std::make_unique<RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!compiled->ok()) {
    error_ = compiled->error();
    return nullptr;
  }
  if (order_.size() >= kMost) {
    compiled_.erase(order_.front());
    order_.pop_front();
  }
  order_.emplace_back(pattern);
  return compiled_.emplace(pattern, std::move(compiled)).first->second.get();
}

}  // namespace penstock::filter
