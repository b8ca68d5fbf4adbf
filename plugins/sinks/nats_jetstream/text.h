// nats.c's last error of this thread, for people.
#pragma once

#include <nats/nats.h>

#include <string>

namespace penstock::nats_jetstream {

// Without the place in nats.c's source, "(conn.c:733): ", that it begins with.
inline std::string LastText(natsStatus status) {
  const char* last = nats_GetLastError(nullptr);
  std::string text = last != nullptr && *last != '\0' ? last : natsStatus_GetText(status);
  const size_t end = text.find("): ");
  if (text[0] == '(' && end != std::string::npos) text.erase(0, end + 3);
  const size_t null = text.rfind(": (null)");
  if (null != std::string::npos) text.erase(null);
  return text;
}

}  // namespace penstock::nats_jetstream
