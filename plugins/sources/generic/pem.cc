#include "pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <stdexcept>

namespace penstock_generic {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* cert) const { X509_free(cert); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

constexpr const char* kReplaced = " (is it being replaced?); it is read again";

Owned<BIO> Open(const std::string& pem) {
  return Owned<BIO>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// Nobody is there to ask for a password; the empty one is what gRPC tries, too.
char* NoPassword() {
  static char none[] = "";
  return none;
}

Owned<X509> NextCertificate(BIO* bio) {
  return Owned<X509>(PEM_read_bio_X509(bio, nullptr, nullptr, NoPassword()));
}

// After a certificate that could not be read: whether there was none any more.
bool AtEnd() {
  const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  return end;
}

[[noreturn]] void Refuse(const char* option, const std::string& path, const char* why) {
  throw std::runtime_error(std::string(option) + " " + path + " " + why + kReplaced);
}

}  // namespace

void CheckAuthority(const std::string& pem, const Options& options) {
  const Owned<BIO> bio = Open(pem);
  if (NextCertificate(bio.get()) == nullptr) {
    ERR_clear_error();
    Refuse("tls.ca_file", options.ca_file, "holds no whole certificate");
  }
}

void CheckPair(const std::string& cert, const std::string& key, const Options& options) {
  const Owned<BIO> certs = Open(cert), keys = Open(key);
  const Owned<X509> own = NextCertificate(certs.get());
  if (own == nullptr) {
    ERR_clear_error();
    Refuse("tls.cert_file", options.cert_file, "holds no whole certificate");
  }
  // Those that lead up to the authority.
  while (NextCertificate(certs.get()) != nullptr) {
  }
  if (!AtEnd()) Refuse("tls.cert_file", options.cert_file, "ends in half a certificate");
  const Owned<EVP_PKEY> secret(PEM_read_bio_PrivateKey(keys.get(), nullptr, nullptr, NoPassword()));
  if (secret == nullptr) {
    ERR_clear_error();
    Refuse("tls.key_file", options.key_file, "holds no whole private key, or one with a password");
  }
  const bool together = X509_check_private_key(own.get(), secret.get()) == 1;
  ERR_clear_error();
  if (!together) {
    Refuse("tls.key_file", options.key_file,
           ("is not the key of tls.cert_file " + options.cert_file).c_str());
  }
}

}  // namespace penstock_generic
