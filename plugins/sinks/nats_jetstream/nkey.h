// NATS keys: an ed25519 key pair in base32 text with a check sum.
#pragma once

#include <string>
#include <string_view>

namespace penstock::nats_jetstream {

// The public key that belongs to the seed ("SU..."). Throws std::runtime_error with what is wrong.
std::string PublicKeyOfSeed(std::string_view seed);
// The same for a file that holds a seed among other lines.
std::string PublicKeyOfSeedFile(const std::string& path);

}  // namespace penstock::nats_jetstream
