// Turns an event into the message that a sink gets: format, templates, headers. All formats are the host's, so that every
// sink, a stranger's too, has them all.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "event/arena.h"
#include "event/event.h"
#include "event/template.h"
#include "platform/result.h"

namespace penstock::event {

enum class Format {
  kCloudEvents,        // structured JSON, CloudEvents 1.0
  kCloudEventsBinary,  // payload as it is; attributes beside it, the sink adds its binding's prefix
  kArgo,               // what Argo Events' own client writes, byte for byte
  kRaw,                // payload as it is
};

// "cloudevents", "cloudevents-binary", "argo", "raw"; an error that lists them for anything else.
Result<Format> ParseFormat(std::string_view name);
std::string_view FormatName(Format format);

// An id made by the host: 32 lower-case hex digits, the queue's 64 random bits and the 64-bit offset. Writes exactly 32
// bytes, no NUL.
void WriteHostId(uint64_t queue_id, uint64_t offset, char* out);

struct EncoderSpec {
  Format format = Format::kCloudEvents;
  std::string sink_name;
  std::vector<Template> templates;                          // the sink's TEMPLATE options, in its table's order
  std::vector<std::pair<std::string, Template>> headers;    // the route's own
};

// Encodes the events of one source for one sink. Used by one thread at a time.
class Encoder {
 public:
  // source must outlive the encoder.
  Encoder(const SourceInfo* source, EncoderSpec spec);

  // Fills message (all but token and attempt). What it points to lives in the arena, in the event's block or in this
  // encoder. queue_id and offset give the id where the event has none; an id that the source gave is prefixed with the
  // source's name and a colon. Fails with Code::kReject and a reason when the event cannot be encoded in this format
  // (declared JSON that is not).
  Result<void> Encode(const Event& event, uint64_t queue_id, uint64_t offset, Arena& arena,
                      penstock_message* message) const;

 private:
  const SourceInfo* source_;
  EncoderSpec spec_;
  // Parts that are the same for every event may be made once, here.
  std::string constant_prefix_;
  std::string metadata_json_;
};

}  // namespace penstock::event
