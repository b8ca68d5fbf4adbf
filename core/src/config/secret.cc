#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "config/config.h"
#include "config/files.h"
#include "config/references.h"
#include "config/text.h"

namespace penstock::config {
namespace {

constexpr size_t kSecretMost = 64 * 1024;

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsVariableName(std::string_view name) {
  return !name.empty() && !IsDigit(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return IsLetter(c) || IsDigit(c) || c == '_'; });
}

Result<std::string> Checked(std::string secret, std::string_view what) {
  if (secret.size() > kSecretMost) {
    return Fail(Code::kConfig, Cat(what, " is longer than ", FormatSize(kSecretMost),
                                   ", the most that a secret may have"));
  }
  if (secret.ends_with('\n')) secret.pop_back();
  if (secret.empty()) return Fail(Code::kConfig, Cat(what, " is empty: put the secret there"));
  return secret;
}

}  // namespace

std::optional<std::string_view> CredentialName(std::string_view reference) {
  constexpr std::string_view kPrefix = "credential:";
  if (!reference.starts_with(kPrefix)) return std::nullopt;
  return reference.substr(kPrefix.size());
}

bool IsCredentialName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return IsLetter(c) || IsDigit(c) || c == '_' || c == '-' || c == '.' || c == '@';
         });
}

bool InUnit() {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  return directory != nullptr && *directory != '\0';
}

std::string CredentialPath(std::string_view name) {
  // Outside a unit there is no such file; the path then only shows in messages.
  const char* directory =
      InUnit() ? std::getenv("CREDENTIALS_DIRECTORY") : "/run/credentials/penstock.service";
  return Cat(directory, "/", name);
}

bool IsSecretReference(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return false;
  if (text.starts_with("env:")) return IsVariableName(text.substr(4));
  if (text.starts_with("file:")) return text.substr(5).starts_with("/");
  const auto credential = CredentialName(text);
  return credential && IsCredentialName(*credential);
}

Result<std::string> ReadSecret(std::string_view reference) {
  if (!IsSecretReference(reference)) {
    return Fail(Code::kConfig,
                "not a secret's reference: write env:NAME, file:/path or credential:NAME");
  }
  if (reference.starts_with("env:")) {
    const std::string name(reference.substr(4));
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) {
      return Fail(Code::kConfig, Cat("the environment variable ", name,
                                     " is not set: set it for this process, in a unit with "
                                     "Environment= or EnvironmentFile="));
    }
    return Checked(value, Cat("the environment variable ", name));
  }
  if (const auto name = CredentialName(reference)) {
    if (!InUnit()) {
      return Fail(Code::kConfig,
                  Cat("the credential ", *name,
                      " cannot be read: CREDENTIALS_DIRECTORY is not set, as only systemd does "
                      "for a unit with LoadCredential=",
                      *name, ":/path"));
    }
    const std::string what = Cat("the credential ", *name);
    return ReadWholeFile(CredentialPath(*name), kSecretMost)
        .map_error([&](const Error& error) {
          return Error{Code::kConfig, Cat(what, ": ", error.message, ": add LoadCredential=", *name,
                                          ":/path to the unit")};
        })
        .and_then([&](std::string secret) { return Checked(std::move(secret), what); });
  }
  const std::string path(reference.substr(5));
  return ReadWholeFile(path, kSecretMost)
      .map_error([&](const Error& error) {
        return Error{Code::kConfig, Cat("the secret's file ", path, ": ", error.message)};
      })
      .and_then([&](std::string secret) {
        return Checked(std::move(secret), Cat("the secret's file ", path));
      });
}

}  // namespace penstock::config
