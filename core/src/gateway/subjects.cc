#include "gateway/subjects.h"

#include <algorithm>
#include <optional>
#include <string>

#include "event/arena.h"
#include "event/template.h"

namespace penstock::gateway {
namespace {

constexpr std::string_view kSpecial = ".*> \t";

std::string_view TextOf(const SinkPart& sink, std::string_view option) {
  const penstock_value* value = sink.options->Get(option);
  return value == nullptr || value->str.ptr == nullptr
             ? std::string_view()
             : std::string_view(value->str.ptr, value->str.len);
}

// The subjects of the stream that the sink makes when there is none; empty: it makes none.
std::vector<std::string_view> StreamSubjects(const SinkPart& sink) {
  const penstock_value* create = sink.options->Get("stream.create");
  const penstock_value* subjects = sink.options->Get("stream.subjects");
  if (create == nullptr || create->i64 == 0 || subjects == nullptr) return {};
  std::vector<std::string_view> out;
  for (size_t i = 0; i < subjects->n && subjects->items != nullptr; ++i)
    out.emplace_back(subjects->items[i].ptr, subjects->items[i].len);
  return out;
}

// What the source's events are published to, as long as an event brings no name of its own.
std::string SubjectOf(const config::SourceConfig& source, const config::SinkConfig& sink,
                      const event::Template& subject) {
  const event::SourceInfo info = InfoOf(source);
  const event::Event plain{};
  event::Arena arena;
  return std::string(subject.Render({&info, &plain, sink.name, "id"}, arena));
}

bool IsTaken(std::string_view subject, const std::vector<std::string_view>& patterns) {
  // One that nobody can publish to would seem to match.
  if (subject.find_first_of("*> \t") != std::string_view::npos) return false;
  return std::any_of(patterns.begin(), patterns.end(), [subject](std::string_view pattern) {
    return SubjectMatches(subject, pattern);
  });
}

std::string Listed(const std::vector<std::string_view>& words) {
  std::string out;
  for (const std::string_view word : words)
    (out += out.empty() ? "\"" : ", \"").append(word) += '"';
  return out;
}

void CheckRoute(const SourcePart& source, const SinkPart& sink, const event::Template& subject,
                const std::vector<std::string_view>& patterns,
                std::vector<config::Finding>* findings) {
  const std::string published = SubjectOf(*source.config, *sink.config, subject);
  if (IsTaken(published, patterns)) return;
  const auto at_fault = [&](std::string_view placeholder, std::string_view value) {
    return subject.Uses(placeholder) && value.find_first_of(kSpecial) != std::string_view::npos;
  };
  const char* key = at_fault("subject", source.config->event_name)    ? "event_name"
                    : at_fault("source", source.config->event_source) ? "event_source"
                                                                      : nullptr;
  std::string text = "events of source \"" + source.config->name + "\" would go to subject \"" +
                     published + "\", which the stream of sink \"" + sink.config->name +
                     "\" does not take (" + Listed(patterns) + "): none would ever be delivered; ";
  text += key == nullptr ? "correct subject, or stream.subjects"
                         : std::string("choose an ") + key + " without . * > and spaces";
  findings->push_back({config::Severity::kWarning,
                       key == nullptr ? sink.options->Where("subject") : source.options->Where(key),
                       std::move(text)});
}

}  // namespace

bool SubjectMatches(std::string_view subject, std::string_view pattern) {
  for (;;) {
    const size_t subject_dot = subject.find('.'), pattern_dot = pattern.find('.');
    const std::string_view token = subject.substr(0, subject_dot);
    const std::string_view wanted = pattern.substr(0, pattern_dot);
    if (token.empty()) return false;
    if (wanted == ">") return pattern_dot == std::string_view::npos;
    if (wanted != "*" && wanted != token) return false;
    if (subject_dot == std::string_view::npos || pattern_dot == std::string_view::npos)
      return subject_dot == pattern_dot;
    subject.remove_prefix(subject_dot + 1);
    pattern.remove_prefix(pattern_dot + 1);
  }
}

void CheckSubjects(const Prepared& prepared, std::vector<config::Finding>* findings) {
  for (const SinkPart& sink : prepared.sinks) {
    const std::vector<std::string_view> patterns = StreamSubjects(sink);
    if (patterns.empty()) continue;
    const auto subject = event::Template::Parse(TextOf(sink, "subject"));
    // An attribute is known only with its event.
    if (!subject || (subject->needs() & event::kOwnAttributes) != 0) continue;
    for (const SourcePart& source : prepared.sources) {
      const auto& from = sink.config->from;
      if (std::find(from.begin(), from.end(), source.config->name) != from.end())
        CheckRoute(source, sink, *subject, patterns, findings);
    }
  }
}

}  // namespace penstock::gateway
