#include "ack.h"

#include <array>
#include <cstdlib>

namespace penstock::nats_jetstream {
namespace {

constexpr std::string_view kDigits =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

constexpr std::array<uint8_t, 256> MakeReverse() {
  std::array<uint8_t, 256> table{};
  for (auto& entry : table) entry = 0xff;
  for (size_t i = 0; i < kDigits.size(); ++i)
    table[static_cast<uint8_t>(kDigits[i])] = static_cast<uint8_t>(i);
  return table;
}
constexpr std::array<uint8_t, 256> kReverse = MakeReverse();

// Walks through JSON text: enough of it to find members of an object and skip the rest.
class Reader {
 public:
  explicit Reader(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  // Calls member(key) for each member of the object that comes next; member must consume the value.
  // False: no object.
  template <typename Member>
  bool Object(Member member) {
    if (!Take('{')) return false;
    if (Take('}')) return true;
    do {
      std::string key;
      if (!String(&key) || !Take(':') || !member(key)) return false;
    } while (Take(','));
    return Take('}');
  }
  bool String(std::string* out) {
    if (!Take('"')) return false;
    for (; at_ < end_ && *at_ != '"'; ++at_) {
      if (*at_ == '\\' && ++at_ == end_) return false;
      out->push_back(*at_);
    }
    return at_++ < end_;
  }
  bool Number(int64_t* out) {
    std::string text;
    if (!Scalar(&text)) return false;
    *out = std::strtoll(text.c_str(), nullptr, 10);
    return true;
  }
  bool Bool(bool* out) {
    std::string text;
    if (!Scalar(&text)) return false;
    *out = text == "true";
    return true;
  }
  bool Skip() {
    Spaces();
    if (at_ == end_) return false;
    std::string ignored;
    if (*at_ == '"') return String(&ignored);
    if (*at_ != '{' && *at_ != '[') return Scalar(&ignored);
    for (int depth = 0; at_ < end_;) {
      if (*at_ == '"') {
        if (!String(&ignored)) return false;
        continue;
      }
      if (*at_ == '{' || *at_ == '[') ++depth;
      if (*at_ == '}' || *at_ == ']') --depth;
      ++at_;
      if (depth == 0) return true;
    }
    return false;
  }

 private:
  void Spaces() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r' || *at_ == '\n')) ++at_;
  }
  bool Take(char c) {
    Spaces();
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool Scalar(std::string* out) {
    Spaces();
    while (at_ < end_ && *at_ != ',' && *at_ != '}' && *at_ != ']' && *at_ != ' ') *out += *at_++;
    return !out->empty();
  }

  const char* at_;
  const char* const end_;
};

}  // namespace

bool IsPlainAck(std::string_view json) {
  constexpr std::string_view kStart = "{\"stream\":";
  const size_t size = json.size();
  return size > kStart.size() + 2 && json.compare(0, kStart.size(), kStart) == 0 &&
         json[size - 1] == '}' && json[size - 2] >= '0' && json[size - 2] <= '9' &&
         json.find("\"error\"") == std::string_view::npos &&
         json.find("\"duplicate\"") == std::string_view::npos;
}

Ack ParseAck(std::string_view json) {
  Ack ack;
  bool failed = false;
  std::string stream;
  int64_t code = 0, err_code = 0;
  Reader reader(json);
  const bool whole = reader.Object([&](const std::string& key) {
    if (key == "stream") return reader.String(&stream);
    if (key == "duplicate") return reader.Bool(&ack.duplicate);
    if (key != "error") return reader.Skip();
    failed = true;
    return reader.Object([&](const std::string& part) {
      if (part == "code") return reader.Number(&code);
      if (part == "err_code") return reader.Number(&err_code);
      if (part == "description") return reader.String(&ack.text);
      return reader.Skip();
    });
  });
  if (!whole || (!failed && stream.empty())) {
    ack = Ack{};
    ack.text = "the answer is not JetStream's: \"" + std::string(json.substr(0, 80)) +
               "\"; something else listens on this subject and replies";
    return ack;
  }
  ack.ok = !failed;
  ack.code = static_cast<int32_t>(err_code != 0 ? err_code : code);
  return ack;
}

void WriteReplyToken(uint64_t key, char* out) {
  for (size_t i = kReplyTokenSize; i-- > 0; key >>= 6) out[i] = kDigits[key & 63];
}

bool ReadReplyToken(std::string_view text, uint64_t* key) {
  if (text.size() != kReplyTokenSize) return false;
  uint64_t value = 0;
  for (const char c : text) {
    const uint8_t digit = kReverse[static_cast<uint8_t>(c)];
    if (digit == 0xff) return false;
    value = (value << 6) | digit;
  }
  *key = value;
  return true;
}

}  // namespace penstock::nats_jetstream
