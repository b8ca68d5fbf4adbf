// What a message becomes on the wire: its size and its headers.
#pragma once

#include <librdkafka/rdkafka.h>

#include <cstddef>
#include <penstock/plugin.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::kafka {

// How the sink's format puts CloudEvents into a record.
enum class Binding {
  kNone,        // raw and argo: the payload and nothing else
  kStructured,  // the payload is the event; its content type is a header
  kBinary,      // attributes are headers with the prefix ce_
};
Binding BindingOf(std::string_view format);

// A message's headers, collected before they are sent. Names that need a prefix are kept here,
// values point into the message. Reused from message to message.
class Headers {
 public:
  void Collect(const penstock_message& message, Binding binding);
  bool empty() const { return headers_.empty(); }
  size_t size() const { return headers_.size(); }
  // Bytes of the names, values and their lengths in a record.
  size_t WireSize() const;
  // A copy that librdkafka takes over when it takes the message.
  rd_kafka_headers_t* Make() const;

 private:
  struct Header {
    std::string_view prefix, name, value, suffix;
  };
  std::vector<Header> headers_;
};

// Bytes of a record batch that holds only this record, uncompressed: what the broker compares with
// the topic's max.message.bytes.
size_t LoneBatchSize(size_t key, size_t value, const Headers& headers);

// Why no topic can have this name; empty: it can.
std::string TopicNameFault(std::string_view name);

}  // namespace penstock::kafka
