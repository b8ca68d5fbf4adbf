#include "nkey.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <vector>

namespace penstock::nats_jetstream {
namespace {

constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr uint8_t kPrefixSeed = 18 << 3;   // 'S'
constexpr size_t kSeedBytes = 2 + 32 + 2;  // two bytes of prefix, the key, the check sum

std::vector<uint8_t> DecodeBase32(std::string_view text) {
  std::vector<uint8_t> out;
  uint32_t bits = 0;
  int n_bits = 0;
  for (const char c : text) {
    const size_t digit = kBase32.find(c);
    if (digit == std::string_view::npos) throw std::runtime_error("it is not base32 text");
    bits = (bits << 5) | static_cast<uint32_t>(digit);
    n_bits += 5;
    if (n_bits >= 8) {
      n_bits -= 8;
      out.push_back(static_cast<uint8_t>(bits >> n_bits));
    }
  }
  return out;
}

std::string EncodeBase32(const std::vector<uint8_t>& bytes) {
  std::string out;
  uint32_t bits = 0;
  int n_bits = 0;
  for (const uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    for (n_bits += 8; n_bits >= 5; n_bits -= 5) out += kBase32[(bits >> (n_bits - 5)) & 31];
  }
  if (n_bits > 0) out += kBase32[(bits << (5 - n_bits)) & 31];
  return out;
}

uint16_t Crc16(const uint8_t* bytes, size_t n) {
  uint16_t crc = 0;
  for (size_t i = 0; i < n; ++i) {
    crc = static_cast<uint16_t>(crc ^ (bytes[i] << 8));
    for (int bit = 0; bit < 8; ++bit)
      crc = static_cast<uint16_t>((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
  }
  return crc;
}

std::vector<uint8_t> PublicPart(const uint8_t* private_key) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, private_key, 32), EVP_PKEY_free);
  std::vector<uint8_t> out(32);
  size_t size = out.size();
  if (pair == nullptr || EVP_PKEY_get_raw_public_key(pair.get(), out.data(), &size) != 1)
    throw std::runtime_error("OpenSSL cannot make an ed25519 key of it");
  return out;
}

}  // namespace

std::string PublicKeyOfSeed(std::string_view seed) {
  std::vector<uint8_t> raw = DecodeBase32(seed);
  if (raw.size() != kSeedBytes || (raw[0] & 0xf8) != kPrefixSeed)
    throw std::runtime_error("it is no seed: a seed is 58 characters long and begins with SU");
  const uint16_t crc = Crc16(raw.data(), kSeedBytes - 2);
  if (raw[kSeedBytes - 2] != (crc & 0xff) || raw[kSeedBytes - 1] != (crc >> 8))
    throw std::runtime_error("its check sum is wrong: a character is missing or changed");
  // The kind of key stands in the last three bits of the first byte and the first five of the
  // second.
  const auto kind = static_cast<uint8_t>(((raw[0] & 7) << 5) | ((raw[1] & 0xf8) >> 3));
  std::vector<uint8_t> key = PublicPart(raw.data() + 2);
  OPENSSL_cleanse(raw.data(), raw.size());
  key.insert(key.begin(), kind);
  const uint16_t sum = Crc16(key.data(), key.size());
  key.push_back(static_cast<uint8_t>(sum & 0xff));
  key.push_back(static_cast<uint8_t>(sum >> 8));
  return EncodeBase32(key);
}

std::string PublicKeyOfSeedFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("nkey_seed_file " + path + " cannot be read");
  std::string word;
  while (file >> word) {
    if (word.compare(0, 2, "SU") != 0) continue;
    try {
      return PublicKeyOfSeed(word);
    } catch (const std::runtime_error& e) {
      throw std::runtime_error("nkey_seed_file " + path + ": " + e.what());
    }
  }
  throw std::runtime_error("nkey_seed_file " + path + " holds no user's seed (SU...)");
}

}  // namespace penstock::nats_jetstream
