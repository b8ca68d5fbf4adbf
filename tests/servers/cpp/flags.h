// What the test server is told to do: flags of the process, and over them the words of
// EventSource.config.
#ifndef PENSTOCK_TESTS_SERVERS_CPP_FLAGS_H
#define PENSTOCK_TESTS_SERVERS_CPP_FLAGS_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace test_server {

// What one stream does.
struct StreamFlags {
  uint64_t count = 0;  // events; 0: no end. After the last one the stream stays open
  uint64_t total = 0;  // the same of all streams of this process together
  uint64_t first = 0;  // number of the first event
  size_t size = 256;   // bytes of a payload
  double rate = 0;     // events a second; 0: as many as go out
  uint64_t burst = 1;  // of those so many at once
  std::optional<uint64_t> close_after;  // end the stream after so many events
  int status = 0;                       // with this code
  std::optional<uint64_t> oversize_at;  // the event of this number has oversize_size bytes
  size_t oversize_size = 5 * 1024 * 1024;
  bool oversize_once = false;   // only in the first stream of this process that gets there
  std::string format = "json";  // json, binary, demo, numbered, timed
  bool resume = false;          // the numbers go on where the last stream of this process ended
  bool unbuffered = false;      // each event by itself, as servers do that give no hint
  bool early_headers = false;   // answer before the first event
  bool damaged = false;         // each message holds a group, which proto3 does not have
};

struct Flags {
  int port = 0;
  std::string listen;  // instead of port: unix:/path
  std::string id;      // in the payloads; made up when empty
  std::string token;   // bearer that a client must show
  std::string tls_cert, tls_key, tls_ca;
  bool progress = false;
  std::string witness;  // a FIFO that is told what numbered payloads go out
  uint64_t seed = 1;    // of numbered payloads
  StreamFlags stream;
};

// Throws std::invalid_argument, whose text names the flag.
Flags ParseFlags(int argc, char** argv);

// Words "key=value" among others that are left alone, separated by white space or commas.
StreamFlags ApplyConfig(StreamFlags flags, std::string_view config);

extern const char kUsage[];

}  // namespace test_server

#endif  // PENSTOCK_TESTS_SERVERS_CPP_FLAGS_H
