// How one message goes out: subject, headers, payload.
#pragma once

#include <nats/nats.h>
#include <penstock/plugin.h>

#include <string>
#include <string_view>
#include <vector>

namespace penstock::nats_jetstream {

// The sink's TEMPLATE options, by their place in the option table.
enum { kSubjectTemplate = 0, kMsgIdTemplate = 1 };

inline std::string_view View(penstock_str s) {
  return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len);
}

// nats.c's messages are freed by a thread of its own; giving them up many at a time wakes it
// seldom.
class Trash {
 public:
  ~Trash() { Empty(); }
  void Add(natsMsg* msg, size_t bytes) {
    messages_.push_back(msg);
    bytes_ += bytes;
    if (messages_.size() >= kMostMessages || bytes_ >= kMostBytes) Empty();
  }
  void Empty() {
    for (natsMsg* msg : messages_) natsMsg_Destroy(msg);
    messages_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr size_t kMostMessages = 1024, kMostBytes = 256 * 1024;
  std::vector<natsMsg*> messages_;
  size_t bytes_ = 0;
};

// Writes messages into a connection's buffer. One thread.
class MessageWriter {
 public:
  // binary: attributes and content type become headers (CloudEvents' binary mode).
  explicit MessageWriter(bool binary) : binary_(binary) {}

  // Empty, or why no server will ever take this message: subject or headers are not valid.
  std::string Fault(const penstock_message& message);

  // For a message without fault. expected_id: the id that must be the stream's last; empty: none.
  natsStatus Write(natsConnection* nc, const penstock_message& message,
                   std::string_view expected_id, const char* reply, Trash* trash);

 private:
  natsStatus SetHeaders(natsMsg* msg, const penstock_message& message,
                        std::string_view expected_id);
  natsStatus Set(natsMsg* msg, const char* name, std::string_view value);

  const bool binary_;
  std::string subject_, name_, value_;  // NUL-terminated copies; kept for their memory
};

// Percent-encoding of CloudEvents' NATS binding.
void EncodeHeaderValue(std::string_view value, std::string* out);

}  // namespace penstock::nats_jetstream
