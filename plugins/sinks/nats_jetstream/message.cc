#include "message.h"

#include <array>

namespace penstock::nats_jetstream {
namespace {

constexpr std::string_view kMsgId = "Nats-Msg-Id";
constexpr std::string_view kExpectedLastMsgId = "Nats-Expected-Last-Msg-Id";

bool IsToken(unsigned char c) { return c > ' ' && c < 0x7f && c != ':'; }

std::string SubjectFault(std::string_view subject) {
  const auto fault = [&](const char* why) {
    return "\"" + std::string(subject.substr(0, 200)) + "\" is no subject to publish to: " + why +
           "; check the option subject and what it is made of";
  };
  if (subject.empty()) return fault("it is empty");
  char before = '.';
  for (const char c : subject) {
    if (c == '.' && before == '.') return fault("it has an empty token");
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f)
      return fault("it has a space or control character");
    if (c == '*' || c == '>') return fault("it has a wildcard");
    before = c;
  }
  if (before == '.') return fault("it has an empty token");
  for (const std::string_view reserved : {"$JS.", "$SYS."}) {
    if (subject.substr(0, reserved.size()) == reserved) return fault("it is the server's own");
  }
  return {};
}

bool HasLineBreak(std::string_view value) {
  bool found = false;
  for (const char c : value) found |= c == '\r' || c == '\n' || c == '\0';
  return found;
}

}  // namespace

void EncodeHeaderValue(std::string_view value, std::string* out) {
  constexpr char kHex[] = "0123456789ABCDEF";
  out->clear();
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '%') {
      out->push_back('%');
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
    } else {
      out->push_back(c);
    }
  }
}

std::string MessageWriter::Fault(const penstock_message& message) {
  std::string fault = SubjectFault(View(message.templates[kSubjectTemplate]));
  if (!fault.empty()) return fault;
  if (HasLineBreak(View(message.templates[kMsgIdTemplate])))
    return "the message id has a line break or NUL; check the option msg_id";
  if (binary_ && HasLineBreak(View(message.content_type)))
    return "the content type has a line break or NUL";
  for (uint32_t i = 0; i < message.n_headers; ++i) {
    const std::string_view name = View(message.headers[i].key);
    bool valid = !name.empty();
    for (const char c : name) valid = valid && IsToken(static_cast<unsigned char>(c));
    if (!valid) return "\"" + std::string(name) + "\" is no header's name";
    if (HasLineBreak(View(message.headers[i].value)))
      return "the value of header " + std::string(name) + " has a line break or NUL";
  }
  return {};
}

natsStatus MessageWriter::Set(natsMsg* msg, const char* name, std::string_view value) {
  value_.assign(value);
  return natsMsgHeader_Set(msg, name, value_.c_str());
}

natsStatus MessageWriter::SetHeaders(natsMsg* msg, const penstock_message& message,
                                     std::string_view expected_id) {
  natsStatus status = NATS_OK;
  for (uint32_t i = 0; binary_ && status == NATS_OK && i < message.n_attributes; ++i) {
    name_.assign("ce-").append(View(message.attributes[i].key));
    EncodeHeaderValue(View(message.attributes[i].value), &value_);
    status = natsMsgHeader_Set(msg, name_.c_str(), value_.c_str());
  }
  if (status == NATS_OK && binary_ && message.n_attributes > 0 && message.content_type.len > 0)
    status = Set(msg, "content-type", View(message.content_type));
  for (uint32_t i = 0; status == NATS_OK && i < message.n_headers; ++i) {
    name_.assign(View(message.headers[i].key));
    status = Set(msg, name_.c_str(), View(message.headers[i].value));
  }
  const std::string_view id = View(message.templates[kMsgIdTemplate]);
  if (status == NATS_OK && !id.empty()) status = Set(msg, kMsgId.data(), id);
  if (status == NATS_OK && !expected_id.empty())
    status = Set(msg, kExpectedLastMsgId.data(), expected_id);
  return status;
}

natsStatus MessageWriter::Write(natsConnection* nc, const penstock_message& message,
                                std::string_view expected_id, const char* reply, Trash* trash) {
  subject_.assign(View(message.templates[kSubjectTemplate]));
  const char* payload = message.payload.len == 0 ? "" : message.payload.ptr;
  const int size = static_cast<int>(message.payload.len);
  const bool plain = message.templates[kMsgIdTemplate].len == 0 && message.n_headers == 0 &&
                     (!binary_ || message.n_attributes == 0) && expected_id.empty();
  if (plain) return natsConnection_PublishRequest(nc, subject_.c_str(), reply, payload, size);
  natsMsg* msg = nullptr;
  natsStatus status = natsMsg_Create(&msg, subject_.c_str(), reply, payload, size);
  if (status == NATS_OK) status = SetHeaders(msg, message, expected_id);
  if (status == NATS_OK) status = natsConnection_PublishMsg(nc, msg);
  if (msg == nullptr) return status;
  // nats.c frees a message on another thread, which then fights with this one over the allocator;
  // the header's many small pieces are freed here.
  natsMsgHeader_Delete(msg, kMsgId.data());
  trash->Add(msg, message.payload.len);
  return status;
}

}  // namespace penstock::nats_jetstream
