// Turns an event into the message that a sink gets: format, templates, headers. All formats are the
// host's, so that every sink, a stranger's too, has them all.
#pragma once

#include <memory>
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

// An id made by the host: 32 lower-case hex digits, the queue's 64 random bits and the 64-bit
// offset. Writes exactly 32 bytes, no NUL.
void WriteHostId(uint64_t queue_id, uint64_t offset, char* out);

// The id of an event everywhere outside: what the source gave, behind the source's table name and a
// colon, or else WriteHostId's.
std::string IdOf(const Event& event, const SourceInfo& source, uint64_t queue_id, uint64_t offset);

// Whether the type is JSON, by CloudEvents' rule: the subtype is json or ends in +json, whatever
// its parameters.
bool IsJsonType(std::string_view content_type);

// Whether text can name a CloudEvents extension: [a-z0-9]+ and none of the names that CloudEvents
// has taken itself ("id", "time", "data" ...).
bool IsExtensionName(std::string_view text);

// An event with more attributes than this is rejected by the formats that carry them.
inline constexpr size_t kMaxAttributes = 64;

struct EncoderSpec {
  Format format = Format::kCloudEvents;
  std::string sink_name;
  // The sink's TEMPLATE options, in its table's order.
  std::vector<Template> templates;
  std::vector<std::pair<std::string, Template>> headers;  // the route's own
};

// Encodes the events of one source for one sink. Immutable; movable, which leaves what messages
// point to where it is.
class Encoder {
 public:
  // source must outlive the encoder. Metadata with a name that is no IsExtensionName() is in the
  // body of format argo only.
  Encoder(const SourceInfo* source, EncoderSpec spec);
  Encoder(Encoder&&) noexcept;
  Encoder& operator=(Encoder&&) noexcept;
  ~Encoder();

  // Fills message (all but token and attempt). What it points to lives in the arena, in the event's
  // block or in this encoder. queue_id and offset give the id where the event has none; an id that
  // the source gave is prefixed with the source's table name and a colon, everywhere. content_type
  // is empty in format argo, whose bus messages have no such header, and in format raw when the
  // event declares none. Fails with Code::kReject and a reason when the event cannot be encoded in
  // this format (declared JSON that is not, attributes that CloudEvents does not allow) or its own
  // id is too long.
  Result<void> Encode(const Event& event, uint64_t queue_id, uint64_t offset, Arena& arena,
                      penstock_message* message) const;

 private:
  struct Fixed;
  std::unique_ptr<const Fixed> fixed_;
};

}  // namespace penstock::event
