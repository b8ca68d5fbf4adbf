// "credential:NAME" and its place in the file system. Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace penstock::config {

std::optional<std::string_view> CredentialName(
    std::string_view reference);  // what follows "credential:"
bool IsCredentialName(std::string_view name);
bool InUnit();  // systemd has given this process credentials
std::string CredentialPath(std::string_view name);

}  // namespace penstock::config
