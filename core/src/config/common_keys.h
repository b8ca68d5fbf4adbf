// The keys of a source's and a sink's table that are the host's; all others are the plugin's.
// Private to this folder.
#pragma once

#include <array>
#include <string_view>

namespace penstock::config {

inline constexpr std::array<std::string_view, 9> kSourceKeys{
    "plugin", "event_source", "event_name", "event_type",     "metadata",
    "queue",  "dead_letters", "filter",     "on_filter_error"};
inline constexpr std::array<std::string_view, 13> kSinkKeys{
    "plugin",     "preset",        "from",  "format", "headers", "order",          "when_behind",
    "max_behind", "max_in_flight", "retry", "start",  "filter",  "on_filter_error"};

}  // namespace penstock::config
