// What a JetStream server answers to a publish, and the reply subject that tells which publish it
// answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::nats_jetstream {

struct Ack {
  bool ok = false;         // stored, or known before
  bool duplicate = false;  // known before
  int32_t code = 0;        // JetStream's err_code, else the HTTP-like code, else 0
  std::string text;        // the error's description
};

// Reads a publish answer. What is no answer at all comes back as an error that says so.
Ack ParseAck(std::string_view json);
// The quick answer for nearly all: true for a plain acknowledgement without remarks.
bool IsPlainAck(std::string_view json);

// The last token of a reply subject: a slot and its generation, eight characters.
constexpr size_t kReplyTokenSize = 8;
constexpr uint32_t kMaxSlots = 1u << 20;
constexpr uint32_t kGenerationMask = (1u << 28) - 1;
inline uint64_t ReplyKey(uint32_t slot, uint32_t generation) {
  return (static_cast<uint64_t>(generation) << 20) | slot;
}
void WriteReplyToken(uint64_t key, char* out);
// False when the text is no token.
bool ReadReplyToken(std::string_view text, uint64_t* key);

}  // namespace penstock::nats_jetstream
