#include "config/model.h"

#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "config/common_keys.h"
#include "config/files.h"
#include "config/filter_check.h"
#include "config/presets.h"
#include "config/table_reader.h"
#include "config/template_check.h"

namespace penstock::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr uint64_t kEventsMost = 1'000'000'000;
constexpr uint64_t kBytesLeast = 1024;
constexpr uint64_t kBytesMost = 1ull << 40u;
constexpr uint64_t kMemoryLeast = 1ull << 20u;
constexpr uint64_t kDiskLeast = 1ull << 20u;
constexpr uint64_t kDiskDefault = 1ull << 30u;
constexpr uint64_t kInFlightMost = 1'000'000;
constexpr size_t kSourcesMost = 4096;
constexpr size_t kSinksMost = 256;
constexpr size_t kHeaderNameMost = 128;
constexpr size_t kHeadersMost = 64;
constexpr size_t kSocketPathMost = sizeof(sockaddr_un::sun_path) - 1;
constexpr size_t kPluginIdMost = PENSTOCK_ID_MAX - 1;

constexpr std::pair<std::string_view, Storage> kStorages[] = {{"memory", Storage::kMemory},
                                                              {"disk", Storage::kDisk}};
constexpr std::pair<std::string_view, WhenFull> kWhenFull[] = {
    {"block", WhenFull::kBlock},
    {"drop_newest", WhenFull::kDropNewest},
    {"drop_oldest", WhenFull::kDropOldest}};
constexpr std::pair<std::string_view, LettersFull> kLettersFull[] = {
    {"hold", LettersFull::kHold}, {"drop_oldest", LettersFull::kDropOldest}};
constexpr std::pair<std::string_view, OnFilterError> kFilterErrors[] = {
    {"dead_letter", OnFilterError::kDeadLetter},
    {"drop", OnFilterError::kDrop},
    {"pass", OnFilterError::kPass}};
constexpr std::pair<std::string_view, bool> kStarts[] = {{"new", false}, {"oldest", true}};
constexpr std::pair<std::string_view, WhenBehind> kWhenBehind[] = {{"hold", WhenBehind::kHold},
                                                                   {"skip", WhenBehind::kSkip}};
constexpr std::pair<std::string_view, Order> kOrders[] = {{"relaxed", Order::kRelaxed},
                                                          {"strict", Order::kStrict}};
constexpr std::pair<std::string_view, event::Format> kFormats[] = {
    {"cloudevents", event::Format::kCloudEvents},
    {"cloudevents-binary", event::Format::kCloudEventsBinary},
    {"argo", event::Format::kArgo},
    {"raw", event::Format::kRaw}};
constexpr std::pair<std::string_view, std::string_view> kLogLevels[] = {
    {"debug", "debug"}, {"info", "info"}, {"warn", "warn"}, {"error", "error"}};
constexpr std::pair<std::string_view, LogFormat> kLogFormats[] = {{"auto", LogFormat::kAuto},
                                                                  {"text", LogFormat::kText},
                                                                  {"json", LogFormat::kJson},
                                                                  {"journal", LogFormat::kJournal}};

// What CloudEvents names itself; metadata of that name would take its place.
constexpr std::array<std::string_view, 11> kCloudEventsOwn{
    "id",      "source", "specversion",     "type",       "subject",    "time",
    "dataref", "data",   "datacontenttype", "dataschema", "data_base64"};

std::string HostName() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  return name;
}

// The first of the directories that systemd made for the unit, which are split by ':'.
std::string UnitDirectory(const char* variable, std::string_view otherwise) {
  const char* given = std::getenv(variable);
  std::string_view directory = given == nullptr ? "" : given;
  directory = directory.substr(0, directory.find(':'));
  return std::string(directory.empty() ? otherwise : directory);
}

std::string DefaultAdminSocket() {
  return UnitDirectory("RUNTIME_DIRECTORY", "/run/penstock") + "/admin.sock";
}

class Builder {
 public:
  Builder(std::string main_file, bool incomplete, Findings* findings)
      : main_file_(std::move(main_file)), incomplete_(incomplete), findings_(findings) {}

  Config Build(const Node& root) {
    TableReader top(&root, "", findings_);
    ReadGateway(top.Table("gateway"));
    const TableReader sources = top.Table("sources");
    const TableReader sinks = top.Table("sinks");
    top.RefuseUnknown();
    for (const Member& member : Members(sources, kSourcesMost)) ReadSource(member);
    for (const SourceConfig& source : config_.sources) {
      source_names_.push_back(source.name);
      readers_[source.name] = {};
    }
    for (const Member& member : Members(sinks, kSinksMost)) ReadSink(member);
    CheckMetadataNames();
    CheckWhole();
    return std::move(config_);
  }

 private:
  // Of a source: how many sinks read it, and how many of those have no use for CloudEvents names.
  struct Readers {
    size_t all = 0, plain = 0;
  };

  std::span<const Member> Members(const TableReader& table, size_t most) {
    if (table.node() == nullptr) return {};
    const std::vector<Member>& members = table.node()->members;
    if (members.size() <= most) return members;
    incomplete_ = true;
    findings_->Error(members[most].key_where.ToPosition(),
                     Cat("more than ", std::to_string(most), " ", table.PathOf("")));
    return std::span(members).first(most);
  }

  void ReadGateway(TableReader table) {
    GatewayConfig& gateway = config_.gateway;
    gateway.name = HostName();
    table.Name("name", &gateway.name);
    for (const Node* dir : table.Strings("plugin_dirs")) {
      if (dir->text.empty()) {
        table.Error(*dir, "plugin_dirs", "a folder's name must not be empty");
      } else {
        gateway.plugin_dirs.push_back(ResolvePath(dir->where, dir->text));
      }
    }
    table.Duration("shutdown_timeout", nanoseconds(0), hours(24), &gateway.shutdown_timeout);
    table.Duration("drain_timeout", nanoseconds(0), hours(1), &gateway.drain_timeout);
    table.Size("memory_limit", kMemoryLeast, kBytesMost, &gateway.memory_limit);
    ReadStateDir(&table);
    ReadCommit(table.Table("commit"));
    ReadAdminSocket(&table);
    ReadAdminListen(&table);
    TableReader log = table.Table("log");
    std::string_view level = gateway.log_level;
    log.Choice("level", kLogLevels, &level);
    gateway.log_level = level;
    log.Choice("format", kLogFormats, &gateway.log_format);
    log.RefuseUnknown();
    table.RefuseUnknown();
  }

  void ReadStateDir(TableReader* table) {
    std::string* dir = &config_.gateway.state_dir;
    *dir = UnitDirectory("STATE_DIRECTORY", "/var/lib/penstock");
    const Node* node = table->Find("state_dir");
    if (node == nullptr) return;
    std::string text;
    table->Name("state_dir", &text);
    if (!text.empty()) *dir = ResolvePath(node->where, text);
  }

  void ReadCommit(TableReader table) {
    GatewayConfig& gateway = config_.gateway;
    table.Integer("events", 1, kInFlightMost, &gateway.commit_events);
    table.Size("bytes", kBytesLeast, kMemoryLeast << 10u, &gateway.commit_bytes);
    table.Duration("interval", nanoseconds(0), seconds(1), &gateway.commit_interval);
    table.RefuseUnknown();
  }

  void ReadAdminSocket(TableReader* table) {
    GatewayConfig& gateway = config_.gateway;
    gateway.admin_socket = DefaultAdminSocket();
    const Node* node = table->Find("admin_socket");
    if (node == nullptr) return;
    gateway.admin_socket_where = node->where.ToPosition();
    std::string text;
    const bool empty = node->kind == Node::Kind::kString && node->text.empty();
    if (!empty) table->Name("admin_socket", &text);
    const bool off = text.empty() || text == "none";
    gateway.admin_socket = off ? "" : ResolvePath(node->where, text);
    if (gateway.admin_socket.size() > kSocketPathMost) {
      table->Error(*node, "admin_socket",
                   Cat(gateway.admin_socket, " has more than the ", std::to_string(kSocketPathMost),
                       " bytes that a socket's path may have"));
    }
  }

  void ReadAdminListen(TableReader* table) {
    const Node* node = table->Find("admin_listen");
    if (node == nullptr || (node->kind == Node::Kind::kString && node->text.empty())) return;
    GatewayConfig& gateway = config_.gateway;
    std::string text = "none";
    table->Name("admin_listen", &text);
    if (text == "none") return;
    auto address = ParseListenAddress(text);
    if (!address) return table->Error(*node, "admin_listen", address.error().message);
    gateway.admin_listen = std::move(*address);
    gateway.admin_listen_where = node->where.ToPosition();
    if (gateway.admin_listen.loopback()) return;
    findings_->Warning(
        gateway.admin_listen_where,
        Cat("gateway.admin_listen: ", Quote(text),
            " may be reached from other hosts, and there is no authentication: "
            "whoever reaches it reads status and metrics; write \"127.0.0.1:",
            std::to_string(gateway.admin_listen.port), "\", or let a firewall guard it"));
  }

  // False when the member cannot be a source or sink at all.
  bool CheckInstance(const Member& member, std::string_view kind) {
    const Position where = member.key_where.ToPosition();
    if (!IsInstanceName(member.key)) {
      findings_->Error(where, Cat(kind, ": ", Quote(member.key),
                                  " is no name: 1 to 64 of the characters A-Z a-z 0-9 _ -"));
      return false;
    }
    if (!member.value.IsTable()) {
      findings_->Error(member.value.where.ToPosition(),
                       Cat(kind, ".", member.key, ": ", Expected("a table", member.value)));
      return false;
    }
    return true;
  }

  void ReadPlugin(TableReader* table, const Member& member, std::span<const std::string_view> keys,
                  std::string* plugin, Position* where) {
    const Node* node = table->Find("plugin");
    if (node == nullptr) return Missing("plugin", "plugin = \"NAME\"", *table, member, keys);
    table->Name("plugin", plugin);
    *where = node->where.ToPosition();
    const bool good =
        plugin->size() <= kPluginIdMost && std::all_of(plugin->begin(), plugin->end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        });
    if (!good) {
      table->Error(*node, "plugin",
                   Cat(Quote(*plugin), " is no plugin's name: at most ",
                       std::to_string(kPluginIdMost), " of the characters a-z 0-9 -"));
    }
  }

  // A key that must be there is not. One that looks like it may be the reason.
  void Missing(std::string_view key, std::string_view example, const TableReader& table,
               const Member& member, std::span<const std::string_view> keys) {
    if (incomplete_) return;
    const std::array<std::string_view, 1> wanted{key};
    std::string hint;
    for (const Member& other : member.value.members) {
      if (std::find(keys.begin(), keys.end(), other.key) != keys.end()) continue;
      if (Nearest(other.key, wanted).empty()) continue;
      hint = Cat("; did you mean it by ", Quote(other.key), " in line ",
                 std::to_string(other.key_where.line), "?");
      break;
    }
    findings_->Error(member.value.where.ToPosition(),
                     Cat("[", table.PathOf(""), "] has no ", Quote(key), ": add ", example, hint));
  }

  std::shared_ptr<const RawOptions> Raw(const Member& member, std::string_view kind) {
    auto raw = std::make_shared<RawOptions>();
    raw->table = member.value;
    raw->path = Cat(kind, ".", member.key);
    return raw;
  }

  void ReadSource(const Member& member) {
    if (!CheckInstance(member, "sources")) return;
    SourceConfig source;
    source.name = source.event_source = source.event_name = member.key;
    source.where = member.value.where.ToPosition();
    TableReader table(&member.value, Cat("sources.", member.key), findings_);
    ReadPlugin(&table, member, kSourceKeys, &source.plugin, &source.plugin_where);
    table.Name("event_source", &source.event_source);
    table.Name("event_name", &source.event_name);
    table.Name("event_type", &source.event_type);
    ReadMetadata(table.Table("metadata"), &source);
    ReadQueue(table.Table("queue"), &source.queue);
    ReadDeadLetters(table.Table("dead_letters"), &source.dead_letters);
    ReadFilter(&table, &source.filter);
    source.raw = Raw(member, "sources");
    config_.sources.push_back(std::move(source));
  }

  void ReadMetadata(const TableReader& table, SourceConfig* source) {
    if (table.node() == nullptr) return;
    for (Entry& entry : ReadEntries(*table.node(), table.PathOf(""), findings_)) {
      source->metadata.emplace_back(std::move(entry.key), std::move(entry.text));
    }
    std::sort(source->metadata.begin(), source->metadata.end());
  }

  void ReadQueue(TableReader table, QueueConfig* queue) {
    table.Choice("storage", kStorages, &queue->storage);
    const bool disk = queue->storage == Storage::kDisk;
    if (disk) {
      queue->max_events = kEventsMost;
      queue->max_bytes = kDiskDefault;
    }
    table.Integer("max_events", 1, kEventsMost, &queue->max_events);
    table.Size("max_bytes", disk ? kDiskLeast : kBytesLeast, kBytesMost, &queue->max_bytes);
    table.Choice("when_full", kWhenFull, &queue->when_full);
    const Node* bytes = table.Find("max_bytes");
    if (!disk && bytes != nullptr && queue->max_bytes > config_.gateway.memory_limit) {
      findings_->Warning(bytes->where.ToPosition(),
                         Cat(table.PathOf("max_bytes"), ": ", FormatSize(queue->max_bytes),
                             " cannot be reached, gateway.memory_limit is ",
                             FormatSize(config_.gateway.memory_limit)));
    }
    table.RefuseUnknown();
  }

  void ReadDeadLetters(TableReader table, DeadLettersConfig* letters) {
    table.Integer("max_events", 1, kEventsMost, &letters->max_events);
    table.Size("max_bytes", kDiskLeast, kBytesMost, &letters->max_bytes);
    table.Choice("when_full", kLettersFull, &letters->when_full);
    table.RefuseUnknown();
  }

  void ReadFilter(TableReader* table, FilterConfig* filter) {
    table->Choice("on_filter_error", kFilterErrors, &filter->on_error);
    const Node* policy = table->Find("on_filter_error");
    const Node* node = table->Find("filter");
    if (node == nullptr) {
      if (policy != nullptr && !incomplete_)
        table->Error(*policy, "on_filter_error", "has no effect without a filter: add one");
    } else if (node->kind != Node::Kind::kString) {
      table->Error(*node, "filter", Expected("a string", *node));
    } else if (const auto fault = CheckFilter(*node)) {
      findings_->Error(fault->where.ToPosition(), Cat(table->PathOf("filter"), ": ", fault->text));
    } else {
      filter->expression = node->text;
    }
  }

  void ReadSink(const Member& written) {
    if (!CheckInstance(written, "sinks")) return;
    SinkConfig sink;
    sink.name = written.key;
    sink.where = written.value.where.ToPosition();
    const Member member = ReadPreset(written, &sink);
    TableReader table(&member.value, Cat("sinks.", member.key), findings_);
    ReadPlugin(&table, member, kSinkKeys, &sink.plugin, &sink.plugin_where);
    ReadFrom(&table, member, &sink);
    table.Choice("format", kFormats, &sink.format);
    ReadHeaders(table.Table("headers"), &sink);
    table.Choice("order", kOrders, &sink.order);
    ReadBehind(&table, &sink);
    TableReader in_flight = table.Table("max_in_flight");
    in_flight.Integer("events", 1, kInFlightMost, &sink.max_in_flight_events);
    in_flight.Size("bytes", kBytesLeast, kBytesMost, &sink.max_in_flight_bytes);
    in_flight.RefuseUnknown();
    ReadRetry(table.Table("retry"), &sink);
    table.Choice("start", kStarts, &sink.start_oldest);
    ReadFilter(&table, &sink.filter);
    sink.raw = Raw(member, "sinks");
    const bool plain = sink.format == event::Format::kArgo || sink.format == event::Format::kRaw;
    for (const std::string& name : sink.from) {
      Readers& readers = readers_[name];
      ++readers.all;
      readers.plain += plain ? 1 : 0;
    }
    config_.sinks.push_back(std::move(sink));
  }

  // The table with what its preset fills in. The key itself is gone then: what counts is what it
  // says.
  Member ReadPreset(const Member& written, SinkConfig* sink) {
    Member member = written;
    TableReader table(&written.value, Cat("sinks.", written.key), findings_);
    const Node* node = table.Find("preset");
    if (node == nullptr) return member;
    std::erase_if(member.value.members, [](const Member& m) { return m.key == "preset"; });
    const size_t chosen = table.ChooseName("preset", PresetNames());
    if (chosen == PresetNames().size()) return member;
    const Member* plugin = written.value.Find("plugin");
    sink->preset = PresetNames()[chosen];
    sink->preset_gives =
        ApplyPreset(PresetNames()[chosen], plugin == nullptr ? "" : plugin->value.text, node->where,
                    &member.value);
    return member;
  }

  void ReadFrom(TableReader* table, const Member& member, SinkConfig* sink) {
    const Node* node = table->Find("from");
    if (node == nullptr) {
      from_in_doubt_ = true;
      return Missing("from", "from = [\"SOURCE\"] or from = [\"*\"]", *table, member, kSinkKeys);
    }
    const std::vector<std::string_view> known = Views(source_names_);
    std::set<std::string_view> chosen;
    const std::vector<const Node*> items = table->Strings("from");
    for (const Node* item : items) {
      if (item->text == "*") {
        if (known.empty() && !incomplete_) {
          findings_->Warning(item->where.ToPosition(),
                             Cat(table->PathOf("from"), ": there are no sources yet"));
        }
        chosen.insert(known.begin(), known.end());
      } else if (readers_.contains(item->text)) {
        if (!named_.insert({sink->name, item->text}).second) {
          table->Error(*item, "from", Cat("names ", Quote(item->text), " twice"));
        }
        chosen.insert(item->text);
      } else if (!incomplete_) {
        from_in_doubt_ = true;
        table->Error(*item, "from",
                     Cat("there is no source ", Quote(item->text), Suggest(item->text, known)));
      }
    }
    if (node->kind == Node::Kind::kList && node->items.empty()) {
      table->Error(*node, "from", "names no source: write [\"SOURCE\"] or [\"*\"]");
    }
    for (const std::string_view name : known) {
      if (chosen.contains(name)) sink->from.emplace_back(name);
    }
  }

  void ReadHeaders(const TableReader& table, SinkConfig* sink) {
    if (table.node() == nullptr) return;
    std::vector<Entry> entries = ReadEntries(*table.node(), table.PathOf(""), findings_);
    if (entries.size() > kHeadersMost) {
      findings_->Error(
          table.node()->where.ToPosition(),
          Cat(table.PathOf(""), ": more than ", std::to_string(kHeadersMost), " headers"));
      return;
    }
    for (Entry& entry : entries) {
      const bool good = entry.key.size() <= kHeaderNameMost &&
                        std::all_of(entry.key.begin(), entry.key.end(),
                                    [](char c) { return c > ' ' && c < 0x7f && c != ':'; });
      if (!good) {
        findings_->Error(entry.node->where.ToPosition(),
                         Cat(table.PathOf(""), ": ", Quote(entry.key),
                             " is no header's name: visible ASCII without a colon, at most ",
                             std::to_string(kHeaderNameMost), " characters"));
      } else if (auto fault = CheckTemplate(*entry.node, entry.text)) {
        findings_->Error(fault->where.ToPosition(),
                         Cat(table.PathOf(entry.key), ": ", fault->text));
      } else {
        sink->headers.emplace_back(std::move(entry.key), std::move(entry.text));
      }
    }
  }

  void ReadBehind(TableReader* table, SinkConfig* sink) {
    table->Choice("when_behind", kWhenBehind, &sink->when_behind);
    TableReader behind = table->Table("max_behind");
    behind.Integer("events", 1, kEventsMost, &sink->max_behind.events);
    behind.Size("bytes", kBytesLeast, kBytesMost, &sink->max_behind.bytes);
    behind.Duration("age", milliseconds(1), hours(24 * 366), &sink->max_behind.age);
    behind.RefuseUnknown();
    const Node* bounds = table->Find("max_behind");
    const Node* policy = table->Find("when_behind");
    if (sink->when_behind == WhenBehind::kSkip && policy != nullptr &&
        (bounds == nullptr || (bounds->IsTable() && bounds->members.empty())) && !incomplete_) {
      table->Error(*policy, "when_behind",
                   "\"skip\" needs to know how far: add max_behind = { events = 10000 }, with any "
                   "of events, bytes and age");
    }
    if (sink->when_behind == WhenBehind::kHold && bounds != nullptr) {
      findings_->Warning(
          bounds->where.ToPosition(),
          Cat(table->PathOf("max_behind"), ": has no effect without when_behind = \"skip\""));
    }
  }

  void ReadRetry(TableReader table, SinkConfig* sink) {
    table.Duration("initial", milliseconds(1), hours(1), &sink->retry_initial);
    table.Duration("max", milliseconds(1), hours(24), &sink->retry_max);
    // A number is a count of attempts, a text is an age.
    const Node* limit = table.Find("limit");
    if (limit != nullptr && limit->kind == Node::Kind::kString) {
      table.Duration("limit", milliseconds(100), hours(24 * 365), &sink->retry_limit_age);
    } else {
      table.Integer("limit", 1, kEventsMost, &sink->retry_limit_attempts);
    }
    table.RefuseUnknown();
    if (sink->retry_initial > sink->retry_max) {
      table.Error(*table.node(), "initial",
                  Cat(FormatDuration(sink->retry_initial.count()), " is longer than retry.max, ",
                      FormatDuration(sink->retry_max.count())));
    }
  }

  // Metadata becomes CloudEvents extension attributes, unless only formats that have none read it.
  void CheckMetadataNames() {
    if (incomplete_) return;
    for (const SourceConfig& source : config_.sources) {
      const Readers& readers = readers_[source.name];
      if (readers.all > 0 && readers.plain == readers.all) continue;
      const Member* metadata = source.raw->table.Find("metadata");
      if (metadata == nullptr || !metadata->value.IsTable()) continue;
      for (const Member& member : metadata->value.members) CheckMetadataName(source, member);
    }
  }

  void CheckMetadataName(const SourceConfig& source, const Member& member) {
    const std::string& name = member.key;
    const bool good = !name.empty() && name.size() <= 20 && !member.value.IsTable() &&
                      std::all_of(name.begin(), name.end(), [](char c) {
                        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
                      });
    const std::string path = Cat("sources.", source.name, ".metadata: ");
    if (!good) {
      findings_->Error(member.key_where.ToPosition(),
                       Cat(path, Quote(name),
                           " cannot be the name of a CloudEvents extension: 1 to 20 of the "
                           "characters a-z 0-9 (only sinks with format = \"argo\" or \"raw\" take "
                           "other names)"));
    } else if (std::find(kCloudEventsOwn.begin(), kCloudEventsOwn.end(), name) !=
               kCloudEventsOwn.end()) {
      findings_->Error(
          member.key_where.ToPosition(),
          Cat(path, Quote(name), " is a name that CloudEvents itself uses: choose another"));
    }
  }

  void CheckWhole() {
    if (incomplete_) return;
    if (config_.sources.empty() && config_.sinks.empty()) {
      findings_->Notice({main_file_, 0, 0},
                        "nothing is configured: add a [sources.NAME] and a [sinks.NAME] table");
    }
    if (from_in_doubt_) return;
    for (const SourceConfig& source : config_.sources) {
      if (readers_[source.name].all == 0) {
        findings_->Error(source.where,
                         Cat("no sink reads source ", Quote(source.name),
                             ": name it in the \"from\" of a [sinks.NAME] table, or remove it"));
      }
    }
  }

  std::string main_file_;
  bool incomplete_;
  bool from_in_doubt_ = false;  // a sink's "from" is wrong or missing
  Findings* findings_;
  Config config_;
  std::vector<std::string> source_names_;
  std::map<std::string, Readers> readers_;               // by source
  std::set<std::pair<std::string, std::string>> named_;  // sink, source
};

}  // namespace

const SourceConfig* Config::FindSource(std::string_view name) const {
  const auto at = std::find_if(sources.begin(), sources.end(),
                               [name](const SourceConfig& source) { return source.name == name; });
  return at == sources.end() ? nullptr : &*at;
}

const SinkConfig* Config::FindSink(std::string_view name) const {
  const auto at = std::find_if(sinks.begin(), sinks.end(),
                               [name](const SinkConfig& sink) { return sink.name == name; });
  return at == sinks.end() ? nullptr : &*at;
}

bool Config::HasRoute(std::string_view source, std::string_view sink) const {
  return std::any_of(sinks.begin(), sinks.end(), [&](const SinkConfig& s) {
    return s.name == sink && std::find(s.from.begin(), s.from.end(), source) != s.from.end();
  });
}

Config BuildModel(const Node& root, const std::string& main_file, bool incomplete,
                  Findings* findings) {
  return Builder(main_file, incomplete, findings).Build(root);
}

}  // namespace penstock::config
