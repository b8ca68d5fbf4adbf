// What `penstock check` says of each route, in plain words.
#pragma once

#include <string>

#include "gateway/prepare.h"

namespace penstock::gateway {

// What is guaranteed, what could be lost or repeated, who can hold up whom.
std::string DescribeRoutes(const Prepared& prepared);

// What is served over TCP; nothing if it is not.
std::string DescribeAdmin(const config::GatewayConfig& config);

}  // namespace penstock::gateway
