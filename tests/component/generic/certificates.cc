#include "component/generic/certificates.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace penstock::testing {

Certificates::Certificates() {
  std::string pattern = std::filesystem::temp_directory_path() / "penstock-certs-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
  directory_ = pattern;
  Run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=Test CA' "
      "-keyout ca.key -out ca.pem");
  Issue("server", "DNS:localhost,DNS:orders.test,IP:127.0.0.1");
  Issue("client", "DNS:client.test");
}

Certificates::~Certificates() { std::filesystem::remove_all(directory_); }

void Certificates::Issue(const std::string& name, const std::string& alternatives) const {
  std::ofstream(directory_ + "/" + name + ".ext") << "subjectAltName=" << alternatives << "\n";
  Run("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " -keyout " +
      name + ".key -out " + name + ".csr");
  Run("x509 -req -days 2 -in " + name + ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile " +
      name + ".ext -out " + name + ".pem");
}

void Certificates::Run(const std::string& arguments) const {
  const std::string command =
      "cd '" + directory_ + "' && openssl " + arguments + " > openssl.log 2>&1";
  if (std::system(command.c_str()) != 0) {
    throw std::runtime_error("openssl failed (is it installed?): " + arguments);
  }
}

}  // namespace penstock::testing
