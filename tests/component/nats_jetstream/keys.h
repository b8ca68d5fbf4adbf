// Keys and certificates for tests, made when they are needed: nkeys and JWTs as a NATS operator's
// tools make them, and certificates by the openssl program.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::fakes {

inline std::string Base32(const std::vector<uint8_t>& bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (const uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    for (n += 8; n >= 5; n -= 5) out += kDigits[(bits >> (n - 5)) & 31];
  }
  if (n > 0) out += kDigits[(bits << (5 - n)) & 31];
  return out;
}

inline std::string Base64Url(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (const char c : bytes) {
    bits = (bits << 8) | static_cast<uint8_t>(c);
    for (n += 8; n >= 6; n -= 6) out += kDigits[(bits >> (n - 6)) & 63];
  }
  if (n > 0) out += kDigits[(bits << (6 - n)) & 63];
  return out;
}

// An ed25519 pair in NATS's text form.
class NKey {
 public:
  enum Kind : uint8_t { kOperator = 14 << 3, kAccount = 0, kUser = 20 << 3 };

  explicit NKey(Kind kind) : kind_(kind) {
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nullptr);
    EVP_PKEY_keygen_init(context);
    if (EVP_PKEY_keygen(context, &pair_) != 1) throw std::runtime_error("no ed25519 key");
    EVP_PKEY_CTX_free(context);
  }
  ~NKey() { EVP_PKEY_free(pair_); }
  NKey(const NKey&) = delete;
  NKey& operator=(const NKey&) = delete;

  std::string Public() const {
    std::vector<uint8_t> raw(32);
    size_t size = raw.size();
    EVP_PKEY_get_raw_public_key(pair_, raw.data(), &size);
    raw.insert(raw.begin(), kind_);
    return Sealed(std::move(raw));
  }
  std::string Seed() const {
    std::vector<uint8_t> raw(32);
    size_t size = raw.size();
    EVP_PKEY_get_raw_private_key(pair_, raw.data(), &size);
    constexpr uint8_t kSeed = 18 << 3;
    raw.insert(raw.begin(), {static_cast<uint8_t>(kSeed | (kind_ >> 5)),
                             static_cast<uint8_t>((kind_ & 31) << 3)});
    return Sealed(std::move(raw));
  }
  std::string Sign(const std::string& text) const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    std::string signature(64, '\0');
    size_t size = signature.size();
    EVP_DigestSignInit(context, nullptr, nullptr, nullptr, pair_);
    EVP_DigestSign(context, reinterpret_cast<uint8_t*>(signature.data()), &size,
                   reinterpret_cast<const uint8_t*>(text.data()), text.size());
    EVP_MD_CTX_free(context);
    return signature;
  }
  // A JWT about subject, whose "nats" part is given as JSON.
  std::string Jwt(const std::string& subject, const std::string& name,
                  const std::string& nats) const {
    const std::string claims = R"({"jti":"X","iat":1700000000,"iss":")" + Public() +
                               R"(","name":")" + name + R"(","sub":")" + subject + R"(","nats":)" +
                               nats + "}";
    const std::string text =
        Base64Url(R"({"typ":"JWT","alg":"ed25519-nkey"})") + "." + Base64Url(claims);
    return text + "." + Base64Url(Sign(text));
  }

 private:
  static std::string Sealed(std::vector<uint8_t> raw) {
    uint16_t crc = 0;
    for (const uint8_t byte : raw) {
      crc = static_cast<uint16_t>(crc ^ (byte << 8));
      for (int bit = 0; bit < 8; ++bit)
        crc = static_cast<uint16_t>((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    raw.push_back(static_cast<uint8_t>(crc & 0xff));
    raw.push_back(static_cast<uint8_t>(crc >> 8));
    return Base32(raw);
  }

  const Kind kind_;
  EVP_PKEY* pair_ = nullptr;
};

// Certificates in a directory: NAME.pem and NAME.key.
class Certificates {
 public:
  explicit Certificates(std::string directory) : directory_(std::move(directory)) {}

  std::string File(const std::string& name) const { return directory_ + "/" + name; }

  void MakeAuthority(const std::string& name) const {
    Run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" +
        name + " -keyout " + File(name + ".key") + " -out " + File(name + ".pem"));
  }
  // alternative: as "IP:127.0.0.1".
  void Make(const std::string& name, const std::string& authority,
            const std::string& alternative) const {
    std::ofstream(File(name + ".ext")) << "subjectAltName=" << alternative << "\n";
    Run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name +
        " -keyout " + File(name + ".key") + " -out " + File(name + ".csr"));
    Run("openssl x509 -req -days 2 -CAcreateserial -CA " + File(authority + ".pem") + " -CAkey " +
        File(authority + ".key") + " -extfile " + File(name + ".ext") + " -in " +
        File(name + ".csr") + " -out " + File(name + ".pem"));
  }

 private:
  static void Run(const std::string& command) {
    if (std::system((command + " >/dev/null 2>&1").c_str()) != 0)
      throw std::runtime_error("failed: " + command);
  }
  const std::string directory_;
};

}  // namespace penstock::fakes
