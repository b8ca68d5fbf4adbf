#include "record.h"

#include <algorithm>

namespace penstock::kafka {
namespace {

constexpr size_t kBatchHeader = 61;
constexpr size_t kMaxTopicName = 249;

// Bytes of a length as Kafka writes it: zigzag, seven bits a byte.
size_t VarintSize(size_t length) {
  size_t bytes = 1;
  for (size_t rest = length << 1 >> 7; rest > 0; rest >>= 7) ++bytes;
  return bytes;
}

}  // namespace

Binding BindingOf(std::string_view format) {
  if (format == "cloudevents") return Binding::kStructured;
  if (format == "cloudevents-binary") return Binding::kBinary;
  return Binding::kNone;
}

void Headers::Collect(const penstock_message& message, Binding binding) {
  headers_.clear();
  const std::string_view type = View(message.content_type);
  if (binding != Binding::kNone && !type.empty()) {
    const bool bare = binding == Binding::kStructured && type.find(';') == std::string_view::npos;
    headers_.push_back({"", "content-type", type, bare ? "; charset=UTF-8" : ""});
  }
  if (binding == Binding::kBinary)
    for (uint32_t i = 0; i < message.n_attributes; ++i)
      headers_.push_back(
          {"ce_", View(message.attributes[i].key), View(message.attributes[i].value), ""});
  for (uint32_t i = 0; i < message.n_headers; ++i)
    headers_.push_back({"", View(message.headers[i].key), View(message.headers[i].value), ""});
}

size_t Headers::WireSize() const {
  size_t bytes = 0;
  for (const Header& h : headers_) {
    const size_t name = h.prefix.size() + h.name.size();
    const size_t value = h.value.size() + h.suffix.size();
    bytes += VarintSize(name) + name + VarintSize(value) + value;
  }
  return bytes;
}

rd_kafka_headers_t* Headers::Make() const {
  rd_kafka_headers_t* out = rd_kafka_headers_new(headers_.size());
  std::string name, value;
  for (const Header& h : headers_) {
    name.assign(h.prefix).append(h.name);
    std::string_view bytes = h.value;
    if (!h.suffix.empty()) bytes = value.assign(h.value).append(h.suffix);
    rd_kafka_header_add(out, name.data(), static_cast<ssize_t>(name.size()), bytes.data(),
                        static_cast<ssize_t>(bytes.size()));
  }
  return out;
}

size_t LoneBatchSize(size_t key, size_t value, const Headers& headers) {
  // Attributes, time and offset deltas are one byte each.
  const size_t body = 3 + VarintSize(key) + key + VarintSize(value) + value +
                      VarintSize(headers.size()) + headers.WireSize();
  return kBatchHeader + VarintSize(body) + body;
}

std::string TopicNameFault(std::string_view name) {
  const auto legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  const std::string quoted = "\"" + std::string(name.substr(0, 300)) + "\"";
  if (name.empty()) return "the topic's name is empty; check the option topic";
  if (name.size() > kMaxTopicName)
    return "the topic's name " + quoted + " is longer than 249 characters";
  if (name == "." || name == "..") return "no topic may be called " + quoted;
  if (!std::all_of(name.begin(), name.end(), legal))
    return "the topic's name " + quoted + " has characters other than a-z A-Z 0-9 . _ -";
  return {};
}

}  // namespace penstock::kafka
