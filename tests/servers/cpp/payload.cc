#include "payload.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace test_server {
namespace {

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
    table[i] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

std::string BigEndian(uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

}  // namespace

uint32_t Crc32(std::string_view bytes, uint32_t before) {
  uint32_t crc = ~before;
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

std::string JsonPayload(uint64_t number, std::string_view id, size_t size) {
  if (size == 0) return "";
  const std::string seq = std::to_string(number);
  const std::string head = "{\"seq\":" + seq + ",\"stream\":\"" + std::string(id) + "\",\"crc\":\"";
  const std::string middle = "\",\"pad\":\"";
  const size_t fixed = head.size() + 8 + middle.size() + 2;
  std::string pad(size > fixed ? size - fixed : 0, 'x');
  for (size_t i = 0; i < pad.size(); ++i) pad[i] = static_cast<char>('a' + (number + i) % 26);
  char crc[9];
  std::snprintf(crc, sizeof crc, "%08x", Crc32(seq + ":" + std::string(id) + ":" + pad));
  return head + crc + middle + pad + "\"}";
}

std::string BinaryPayload(uint64_t number, std::string_view id, size_t size) {
  if (size == 0) return "";
  const std::string seq = BigEndian(number, 8);
  std::string rest = std::string(id) + '\0';
  const size_t fixed = 12 + rest.size();
  for (size_t i = 0; fixed + i < size; ++i) rest.push_back(static_cast<char>(number + i));
  return seq + BigEndian(Crc32(seq + rest), 4) + rest;
}

std::string TimedPayload(uint64_t number, size_t size) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string text =
      "{\"at\":" +
      std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()) +
      ",\"seq\":" + std::to_string(number) + ",\"pad\":\"";
  const size_t fixed = text.size() + 2;
  text.append(size > fixed ? size - fixed : 0, 'x');
  return text + "\"}";
}

std::string DemoPayload(uint64_t number) {
  static constexpr const char* kItems[] = {"espresso", "flat white", "earl grey", "croissant",
                                           "cinnamon roll"};
  static constexpr const char* kCities[] = {"Oslo", "Porto", "Graz", "Utrecht"};
  const uint64_t amount = 1 + number % 3;
  char text[256];
  std::snprintf(text, sizeof text,
                R"({"order":%llu,"item":"%s","amount":%llu,"price":%llu.%llu0,"city":"%s"})",
                static_cast<unsigned long long>(1000 + number), kItems[number * 3 % 5],
                static_cast<unsigned long long>(amount),
                static_cast<unsigned long long>(amount * 3 + number % 4),
                static_cast<unsigned long long>(number * 7 % 10), kCities[number * 5 % 4]);
  return text;
}

}  // namespace test_server
