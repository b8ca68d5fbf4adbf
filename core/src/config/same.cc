// What a reload has to change: whether two configurations say the same.
#include <algorithm>

#include "config/config.h"
#include "config/node.h"

namespace penstock::config {
namespace {

bool Same(const Node& a, const Node& b);

// Whether a has all that b has; the order of keys says nothing.
bool SameMembers(const Node& a, const Node& b, std::string_view but) {
  const auto counted = [but](const Node& node) {
    return std::count_if(node.members.begin(), node.members.end(),
                         [but](const Member& m) { return m.key != but; });
  };
  if (counted(a) != counted(b)) return false;
  return std::all_of(a.members.begin(), a.members.end(), [&](const Member& member) {
    if (member.key == but) return true;
    const Member* other = b.Find(member.key);
    return other != nullptr && Same(member.value, other->value);
  });
}

bool Same(const Node& a, const Node& b) {
  return a.kind == b.kind && a.text == b.text && a.integer == b.integer && a.number == b.number &&
         a.boolean == b.boolean &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), Same) &&
         SameMembers(a, b, "");
}

}  // namespace

bool SameTable(const SourceConfig& a, const SourceConfig& b) {
  return SameMembers(a.raw->table, b.raw->table, "");
}

bool SameTable(const SinkConfig& a, const SinkConfig& b) {
  return SameMembers(a.raw->table, b.raw->table, "from");
}

std::vector<std::string> NeedRestart(const GatewayConfig& a, const GatewayConfig& b) {
  std::vector<std::string> out;
  if (a.name != b.name) out.emplace_back("gateway.name");
  if (a.memory_limit != b.memory_limit) out.emplace_back("gateway.memory_limit");
  if (a.state_dir != b.state_dir) out.emplace_back("gateway.state_dir");
  if (a.commit_events != b.commit_events || a.commit_bytes != b.commit_bytes ||
      a.commit_interval != b.commit_interval)
    out.emplace_back("gateway.commit");
  if (a.admin_socket != b.admin_socket) out.emplace_back("gateway.admin_socket");
  if (a.admin_listen.host != b.admin_listen.host || a.admin_listen.port != b.admin_listen.port)
    out.emplace_back("gateway.admin_listen");
  if (a.log_format != b.log_format) out.emplace_back("gateway.log.format");
  return out;
}

}  // namespace penstock::config
