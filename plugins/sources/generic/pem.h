// Certificates and keys, judged before gRPC gets them: of what it cannot use it only says that an
// address list is empty, and such files are found half written when somebody replaces them.
#ifndef PENSTOCK_SOURCES_GENERIC_PEM_H
#define PENSTOCK_SOURCES_GENERIC_PEM_H

#include <string>

#include "options.h"

namespace penstock_generic {

// Throw std::runtime_error, which names the option and its file. Any thread.
void CheckAuthority(const std::string& pem, const Options& options);
void CheckPair(const std::string& cert, const std::string& key, const Options& options);

}  // namespace penstock_generic

#endif  // PENSTOCK_SOURCES_GENERIC_PEM_H
