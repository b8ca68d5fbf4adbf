// Certificates for tests, made by the openssl command in a directory of their own.
#ifndef PENSTOCK_TESTS_COMPONENT_GENERIC_CERTIFICATES_H
#define PENSTOCK_TESTS_COMPONENT_GENERIC_CERTIFICATES_H

#include <string>

namespace penstock::testing {

// A certificate authority, a server certificate of it for "localhost" and 127.0.0.1 and a client
// certificate. The files go with the object.
class Certificates {
 public:
  Certificates();
  ~Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  std::string directory() const { return directory_; }
  std::string ca() const { return directory_ + "/ca.pem"; }
  std::string server() const { return directory_ + "/server.pem"; }
  std::string server_key() const { return directory_ + "/server.key"; }
  std::string client() const { return directory_ + "/client.pem"; }
  std::string client_key() const { return directory_ + "/client.key"; }

 private:
  void Run(const std::string& arguments) const;
  void Issue(const std::string& name, const std::string& alternatives) const;

  std::string directory_;
};

}  // namespace penstock::testing

#endif  // PENSTOCK_TESTS_COMPONENT_GENERIC_CERTIFICATES_H
