// An event and what expressions say of it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "filter/filter.h"

namespace penstock::filter {

struct TestEvent {
  explicit TestEvent(std::string body = "", std::string type = "application/json")
      : payload(std::move(body)), content_type(std::move(type)) {}

  Input Make() {
    event.payload = payload;
    event.content_type = content_type;
    event.time_ns = 1'700'000'000'123'000'000;
    return {event, source, 0x0123456789abcdef, 42};
  }

  std::string payload, content_type;
  event::Event event;
  event::SourceInfo source{"table", "shop", "orders", "order", {{"region", "eu"}}};
};

inline std::unique_ptr<Filter> Compiled(std::string_view expression, const Limits& limits = {}) {
  auto filter = Filter::Compile(expression, limits);
  EXPECT_TRUE(filter.has_value()) << expression << ": " << filter.error().text;
  return filter ? std::move(*filter) : nullptr;
}

// "pass", "drop", or the error.
inline std::string Says(Filter* filter, TestEvent event) {
  if (filter == nullptr) return "not compiled";
  switch (filter->Evaluate(event.Make())) {
    case Verdict::kPass:
      return "pass";
    case Verdict::kDrop:
      return "drop";
    case Verdict::kError:
      return filter->error();
  }
  return "?";
}

inline std::string Says(std::string_view expression, TestEvent event) {
  const auto filter = Compiled(expression);
  std::string once = Says(filter.get(), event);
  EXPECT_EQ(Says(filter.get(), std::move(event)), once) << expression;
  return once;
}
inline std::string Says(std::string_view expression, std::string body = "") {
  return Says(expression, TestEvent(std::move(body)));
}

// "LINE:COLUMN: TEXT" of what is wrong with it.
inline std::string FaultOf(std::string_view expression) {
  const auto filter = Filter::Compile(expression);
  if (filter) return "none";
  const Fault& fault = filter.error();
  return std::to_string(fault.line) + ':' + std::to_string(fault.column) + ": " + fault.text;
}

}  // namespace penstock::filter
