// Whether a bus that routes by subjects takes what the routes would publish there.
#pragma once

#include <string_view>
#include <vector>

#include "gateway/prepare.h"

namespace penstock::gateway {

// Whether subject, of tokens split by '.', is matched by pattern, where '*' stands for one token
// and '>' for one or more at the end.
bool SubjectMatches(std::string_view subject, std::string_view pattern);

// Warns, at the source's name, of routes into a stream that the sink is to create and that would
// not take what the source's events are published to.
void CheckSubjects(const Prepared& prepared, std::vector<config::Finding>* findings);

}  // namespace penstock::gateway
