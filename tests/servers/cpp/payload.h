// The payloads of the test servers, the same in each language; tests/servers/README.md has the
// format.
#ifndef PENSTOCK_TESTS_SERVERS_CPP_PAYLOAD_H
#define PENSTOCK_TESTS_SERVERS_CPP_PAYLOAD_H

#include <cstdint>
#include <string>
#include <string_view>

namespace test_server {

// CRC-32 (IEEE 802.3), as zlib's crc32.
uint32_t Crc32(std::string_view bytes, uint32_t before = 0);

// Exactly size bytes, or as many as the fixed part needs; size 0 is an empty payload.
std::string JsonPayload(uint64_t number, std::string_view id, size_t size);
std::string BinaryPayload(uint64_t number, std::string_view id, size_t size);
// When it was made, in ns since 1970 by this host's clock, its number, and filler.
std::string TimedPayload(uint64_t number, size_t size);
// An order of a shop, for the eye.
std::string DemoPayload(uint64_t number);

}  // namespace test_server

#endif  // PENSTOCK_TESTS_SERVERS_CPP_PAYLOAD_H
