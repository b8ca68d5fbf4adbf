// A message as one line of JSON.
#pragma once

#include <cstdint>
#include <penstock/plugin.hpp>
#include <string>
#include <string_view>

namespace penstock::lines {

inline void AppendJsonString(std::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      out->append("\\u00");
      out->push_back(kHex[byte >> 4]);
      out->push_back(kHex[byte & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

inline void AppendBase64(std::string_view bytes, std::string* out) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = bytes.size() - i;
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (j < left ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    out->push_back(kDigits[group >> 18]);
    out->push_back(kDigits[group >> 12 & 63]);
    out->push_back(left > 1 ? kDigits[group >> 6 & 63] : '=');
    out->push_back(left > 2 ? kDigits[group & 63] : '=');
  }
}

inline void AppendObject(std::string_view name, const penstock_kv* pairs, size_t n,
                         std::string* out) {
  if (n == 0) return;
  out->append(",\"").append(name).append("\":{");
  for (size_t i = 0; i < n; ++i) {
    if (i > 0) out->push_back(',');
    AppendJsonString(View(pairs[i].key), out);
    out->push_back(':');
    AppendJsonString(View(pairs[i].value), out);
  }
  out->push_back('}');
}

// Appends the message and a newline. payload_is_json: the host encoded the payload as one JSON
// document, in which line breaks can only stand between tokens.
inline void AppendLine(const penstock_message& message, bool payload_is_json, std::string* out) {
  const std::string_view payload = View(message.payload);
  if (payload_is_json) {
    const size_t start = out->size();
    out->append(payload);
    for (size_t at = out->find_first_of("\r\n", start); at != std::string::npos;
         at = out->find_first_of("\r\n", at + 1))
      (*out)[at] = ' ';
  } else {
    out->append("{\"id\":");
    AppendJsonString(View(message.id), out);
    if (message.content_type.len > 0) {
      out->append(",\"content_type\":");
      AppendJsonString(View(message.content_type), out);
    }
    AppendObject("attributes", message.attributes, message.n_attributes, out);
    AppendObject("headers", message.headers, message.n_headers, out);
    out->append(",\"payload_base64\":\"");
    AppendBase64(payload, out);
    out->append("\"}");
  }
  out->push_back('\n');
}

}  // namespace penstock::lines
