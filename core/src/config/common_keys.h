// The keys of a source's and a sink's table that are the host's; all others are the plugin's.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace penstock::config {

struct CommonKey {
  std::string_view name, help;
};

inline constexpr std::array kSourceCommon{
    CommonKey{"plugin", "Which plugin. Required."},
    CommonKey{"event_source", "The CloudEvents source of its events. Default: the table's name."},
    CommonKey{"event_name",
              "The CloudEvents subject of events that bring none. Default: the table's name."},
    CommonKey{"event_type",
              "The CloudEvents type of events that bring none. Default: the plugin's id."},
    CommonKey{"metadata", "A table of names and texts that go with every event."},
    CommonKey{"queue", "A table: storage, max_events, max_bytes, when_full."},
    CommonKey{"dead_letters", "A table: max_events, max_bytes, when_full."},
    CommonKey{"filter", "Which events go on to the sinks: an expression, as \"body.price > 5\"."},
    CommonKey{"on_filter_error",
              "dead_letter (default), drop or pass: an event that the filter fails on."},
};
inline constexpr std::array kSinkCommon{
    CommonKey{"plugin", "Which plugin. Required."},
    CommonKey{"from", "The sources that it reads, as [\"orders\"], or [\"*\"] for all. Required."},
    CommonKey{"preset", "argo: fills in what Argo Events' bus expects; what is written counts."},
    CommonKey{"format", "cloudevents (default), cloudevents-binary, argo or raw."},
    CommonKey{"headers", "A table of header names and templates."},
    CommonKey{"order", "relaxed (default) or strict."},
    CommonKey{"when_behind", "hold (default) or skip."},
    CommonKey{"max_behind",
              "A table: events, bytes, age. How far it may fall behind before it skips."},
    CommonKey{"max_in_flight", "A table: events, bytes. What may be under way to the bus at once."},
    CommonKey{"retry",
              "A table: initial, max, limit. The pause before an event is sent again, and for how "
              "long."},
    CommonKey{"start", "new (default) or oldest: where a sink begins that a queue does not know."},
    CommonKey{"filter",
              "Which of its sources' events it takes: an expression, as \"body.price > 5\"."},
    CommonKey{"on_filter_error",
              "dead_letter (default), drop or pass: an event that the filter fails on."},
};

template <size_t N>
constexpr std::array<std::string_view, N> NamesOf(const std::array<CommonKey, N>& keys) {
  std::array<std::string_view, N> names;
  for (size_t i = 0; i < N; ++i) names[i] = keys[i].name;
  return names;
}
inline constexpr auto kSourceKeys = NamesOf(kSourceCommon);
inline constexpr auto kSinkKeys = NamesOf(kSinkCommon);

}  // namespace penstock::config
