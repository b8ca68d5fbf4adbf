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

// What an event may bring by itself, as bits. An event without any of those that a template needs
// renders like every other such event of its source.
enum EventPart : unsigned {
  kOwnSubject = 1,
  kOwnType = 2,
  kOwnAttributes = 4,
  kOwnId = 8,  // every event has one
};
inline unsigned PartsOf(const Event& event) {
  return (event.subject.empty() ? 0u : kOwnSubject) | (event.type.empty() ? 0u : kOwnType) |
         (event.attributes.empty() ? 0u : kOwnAttributes) | kOwnId;
}

// Placeholders: {source} (event_source), {subject}, {type}, {id}, {sink}, {table} (the source's
// table name), {metadata.KEY}, {attribute.NAME}; a missing key renders as nothing. {{ and }} stand
// for themselves. Immutable; any thread.
class Template {
 public:
  // Fails with Code::kConfig and the column (from 1, in characters) of the fault in its message;
  // names the nearest known placeholder.
  static Result<Template> Parse(std::string_view text);

  // The text that is the same for every event of every source, or nullptr when there is none.
  const std::string* constant() const;
  // Whether the placeholder occurs: "id", "metadata.region".
  bool Uses(std::string_view placeholder) const;
  // Bits of EventPart that it depends on.
  unsigned needs() const { return needs_; }
  // Points into the arena, or into this template when it is constant.
  std::string_view Render(const TemplateValues& values, Arena& arena) const;
  const std::string& text() const { return text_; }

 private:
  struct Part {
    enum class Kind {
      kText,
      kSource,
      kSubject,
      kType,
      kId,
      kSink,
      kTable,
      kMetadata,
      kAttribute
    } kind;
    std::string text;  // of kText; the key of kMetadata and kAttribute
  };
  struct Placeholder;
  class Parser;
  static const Placeholder kPlaceholders[];

  static std::string_view Value(const Part& part, const TemplateValues& values);

  std::string text_;
  std::vector<Part> parts_;
  unsigned needs_ = 0;
};

}  // namespace penstock::event
