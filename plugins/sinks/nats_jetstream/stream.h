// Makes sure that the stream is there.
#pragma once

#include <nats/nats.h>

#include <string>
#include <vector>

#include "settings.h"

namespace penstock::nats_jetstream {

struct StreamVerdict {
  bool usable = false;
  bool created = false;
  std::string text;                   // when not usable, or not found: why, and what to do
  std::vector<std::string> warnings;  // about one that is there and is not as configured
};

// Blocks for at most a few seconds. A stream that exists is never changed.
StreamVerdict EnsureStream(natsConnection* nc, const StreamSettings& stream);

}  // namespace penstock::nats_jetstream
