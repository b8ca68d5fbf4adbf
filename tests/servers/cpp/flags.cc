#include "flags.h"

#include <grpcpp/support/status.h>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace test_server {

const char kUsage[] =
    "test_server_cpp [--port N | --listen unix:/path] [--id TEXT] [--token TEXT] [--progress]\n"
    "  [--witness FIFO] [--seed N]\n"
    "  [--tls-cert FILE --tls-key FILE [--tls-ca FILE]]\n"
    "  [--count N] [--total N] [--first N] [--size BYTES] [--rate PER_SECOND] [--burst N]\n"
    "  [--json | --binary | --demo | --numbered | --timed]\n"
    "  [--close-after N] [--status CODE] [--oversize-at N] [--oversize-size BYTES]\n"
    "  [--oversize-once] [--resume] [--unbuffered] [--early-headers] [--damaged]\n"
    "See tests/servers/README.md.\n";

namespace {

int StatusCode(const std::string& text) {
  static const std::map<std::string, int> kCodes = {{"OK", 0},
                                                    {"CANCELLED", 1},
                                                    {"UNKNOWN", 2},
                                                    {"INVALID_ARGUMENT", 3},
                                                    {"PERMISSION_DENIED", 7},
                                                    {"RESOURCE_EXHAUSTED", 8},
                                                    {"UNIMPLEMENTED", 12},
                                                    {"INTERNAL", 13},
                                                    {"UNAVAILABLE", 14},
                                                    {"UNAUTHENTICATED", 16}};
  const auto found = kCodes.find(text);
  return found != kCodes.end() ? found->second : std::stoi(text);
}

// True when the stream has a flag of this name, which is then set.
bool SetStreamFlag(StreamFlags* flags, const std::string& name, const std::string& value) {
  if (name == "count") {
    flags->count = std::stoull(value);
  } else if (name == "total") {
    flags->total = std::stoull(value);
  } else if (name == "first") {
    flags->first = std::stoull(value);
  } else if (name == "size") {
    flags->size = std::stoull(value);
  } else if (name == "rate") {
    flags->rate = std::stod(value);
  } else if (name == "burst") {
    flags->burst = std::max<uint64_t>(1, std::stoull(value));
  } else if (name == "close-after") {
    flags->close_after = std::stoull(value);
  } else if (name == "status") {
    flags->status = StatusCode(value);
  } else if (name == "oversize-at") {
    flags->oversize_at = std::stoull(value);
  } else if (name == "oversize-size") {
    flags->oversize_size = std::stoull(value);
  } else {
    return false;
  }
  return true;
}

bool SetStreamSwitch(StreamFlags* flags, const std::string& name) {
  if (name == "json" || name == "binary" || name == "demo" || name == "numbered" ||
      name == "timed") {
    flags->format = name;
    if (name == "demo" && flags->rate == 0) flags->rate = 5;
  } else if (name == "oversize-once") {
    flags->oversize_once = true;
  } else if (name == "resume") {
    flags->resume = true;
  } else if (name == "unbuffered") {
    flags->unbuffered = true;
  } else if (name == "early-headers") {
    flags->early_headers = true;
  } else if (name == "damaged") {
    flags->damaged = true;
  } else {
    return false;
  }
  return true;
}

bool SetServerFlag(Flags* flags, const std::string& name, const std::string& value) {
  const std::map<std::string, std::string*> texts = {
      {"listen", &flags->listen},     {"id", &flags->id},
      {"token", &flags->token},       {"witness", &flags->witness},
      {"tls-cert", &flags->tls_cert}, {"tls-key", &flags->tls_key},
      {"tls-ca", &flags->tls_ca}};
  if (name == "port") {
    flags->port = std::stoi(value);
    return true;
  }
  if (name == "seed") {
    flags->seed = std::stoull(value);
    return true;
  }
  const auto found = texts.find(name);
  if (found == texts.end()) return false;
  *found->second = value;
  return true;
}

}  // namespace

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    if (name.rfind("--", 0) != 0) throw std::invalid_argument(name + " is not a flag");
    name.erase(0, 2);
    if (name == "progress") {
      flags.progress = true;
      continue;
    }
    if (SetStreamSwitch(&flags.stream, name)) continue;
    if (i + 1 == argc) throw std::invalid_argument("--" + name + " is unknown or lacks a value");
    const std::string value = argv[++i];
    if (!SetServerFlag(&flags, name, value) && !SetStreamFlag(&flags.stream, name, value)) {
      throw std::invalid_argument("--" + name + " is unknown");
    }
  }
  return flags;
}

StreamFlags ApplyConfig(StreamFlags flags, std::string_view config) {
  constexpr char kSpace[] = " \t\r\n,";
  for (size_t at = config.find_first_not_of(kSpace); at != config.npos;) {
    const size_t end = std::min(config.find_first_of(kSpace, at), config.size());
    const std::string word(config.substr(at, end - at));
    const size_t equals = word.find('=');
    if (equals == std::string::npos) {
      SetStreamSwitch(&flags, word);
    } else {
      SetStreamFlag(&flags, word.substr(0, equals), word.substr(equals + 1));
    }
    at = config.find_first_not_of(kSpace, end);
  }
  return flags;
}

}  // namespace test_server
