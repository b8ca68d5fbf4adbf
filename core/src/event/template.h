// Text with placeholders in braces, as in "default.{source}.{subject}".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "event/arena.h"
#include "event/event.h"
#include "platform/result.h"

namespace penstock::event {

// What the placeholders of one event stand for.
struct TemplateValues {
  const SourceInfo* source;
  const Event* event;
  std::string_view sink;  // {sink}: the sink's table name
  std::string_view id;    // {id}
};

// Placeholders: {source} (event_source), {subject}, {type}, {id}, {sink}, {table} (the source's table name),
// {metadata.KEY}, {attribute.NAME}; a missing key renders as nothing. {{ and }} stand for themselves. Immutable; any
// thread.
class Template {
 public:
  // Fails with Code::kConfig and the column (from 1) of the fault in its message; names the nearest known placeholder.
  static Result<Template> Parse(std::string_view text);

  // The text that is the same for every event, or nullptr when it depends on the event.
  const std::string* constant() const;
  // Whether the placeholder occurs.
  bool Uses(std::string_view placeholder) const;
  // Points into the arena, or into this template when it is constant.
  std::string_view Render(const TemplateValues& values, Arena& arena) const;
  const std::string& text() const { return text_; }

 private:
  struct Part {
    enum class Kind { kText, kSource, kSubject, kType, kId, kSink, kTable, kMetadata, kAttribute } kind;
    std::string text;  // of kText; the key of kMetadata and kAttribute
  };
  std::string text_;
  std::string constant_;
  bool is_constant_ = false;
  std::vector<Part> parts_;
};

}  // namespace penstock::event
