// The configuration: TOML files to a typed model. Every finding has file, line and column, says
// what was expected and names the nearest known key.
#pragma once

#include <penstock/plugin.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/listen_address.h"
#include "event/encode.h"
#include "platform/result.h"

namespace penstock::config {

struct Position {
  std::string file;
  uint32_t line = 0;    // from 1; 0: no place in a file
  uint32_t column = 0;  // from 1
  // Not empty: the value is not written there but comes from this preset, which is asked for there.
  std::string preset = {};
};

enum class Severity { kNotice, kWarning, kError };

// One thing found in the configuration. ToString: "FILE:LINE:COLUMN: error: TEXT", where TEXT says
// when the value is a preset's.
struct Finding {
  Severity severity = Severity::kError;
  Position where;
  std::string text;
  std::string ToString() const;
};

enum class Storage { kMemory, kDisk };
enum class WhenFull { kBlock, kDropNewest, kDropOldest };
enum class WhenBehind { kHold, kSkip };
enum class Order { kRelaxed, kStrict };
// kAuto: the journal where standard error is one of its streams, else text.
enum class LogFormat { kAuto, kText, kJson, kJournal };

struct QueueConfig {
  Storage storage = Storage::kMemory;
  uint64_t max_events = 16384;  // defaults of a queue in memory; on disk: as many as fit, 1 GiB
  uint64_t max_bytes = 32ull << 20;
  WhenFull when_full = WhenFull::kBlock;
};

enum class LettersFull { kHold, kDropOldest };

struct DeadLettersConfig {
  uint64_t max_events = 100'000;
  uint64_t max_bytes = 64ull << 20;
  LettersFull when_full = LettersFull::kHold;
};

// A plugin's own keys of one table, still unchecked: they are bound to its option table once the
// plugin is known.
class RawOptions;
// The same, checked and with defaults. Gives the plugin its penstock_config. Movable; pointers that
// a plugin got from it live as long as it.
class Options {
 public:
  Options();
  Options(Options&&) noexcept;
  Options& operator=(Options&&) noexcept;
  ~Options();

  const penstock_config* abi() const;  // valid while *this lives and is not moved
  const penstock_value* Get(std::string_view name) const;  // nullptr: no such option
  // Where the option stands in the files ("map/key" for a key of a MAP, "from" and the like for the
  // host's own); the nearest table around it when it is not set.
  Position Where(std::string_view option) const;

  struct Impl;

 private:
  friend struct Binder;
  std::unique_ptr<Impl> impl_;
};

enum class OnFilterError { kPass, kDrop, kDeadLetter };

struct FilterConfig {
  std::string expression;  // compiles; empty: there is none
  OnFilterError on_error = OnFilterError::kDeadLetter;
  bool operator==(const FilterConfig&) const = default;
};

struct SourceConfig {
  std::string name;
  Position where;
  std::string plugin;
  Position plugin_where;
  std::string event_source;  // default: name
  std::string event_name;    // default: name
  std::string event_type;    // default: empty, the gateway puts the plugin's id
  // Sorted by key. Names are [a-z0-9]{1,20} unless only sinks of format argo or raw read it.
  std::vector<std::pair<std::string, std::string>> metadata;
  QueueConfig queue;
  DeadLettersConfig dead_letters;
  FilterConfig filter;
  uint64_t read_ahead_bytes = 0;  // its share, which the gateway sets
  std::shared_ptr<const RawOptions> raw;
};

struct MaxBehind {
  uint64_t events = 0;  // 0: no bound
  uint64_t bytes = 0;
  std::chrono::nanoseconds age{0};
};

struct SinkConfig {
  std::string name;
  Position where;
  std::string plugin;
  Position plugin_where;
  std::vector<std::string> from;  // "*" already expanded; in the order of the sources
  event::Format format = event::Format::kCloudEvents;
  std::vector<std::pair<std::string, std::string>> headers;  // name, template text
  Order order = Order::kRelaxed;
  WhenBehind when_behind = WhenBehind::kHold;
  MaxBehind max_behind;
  uint64_t max_in_flight_events = 8192;
  uint64_t max_in_flight_bytes = 16ull << 20;
  std::chrono::nanoseconds retry_initial{std::chrono::milliseconds(100)};
  std::chrono::nanoseconds retry_max{std::chrono::seconds(10)};
  uint64_t retry_limit_attempts = 0;            // 0: no limit
  std::chrono::nanoseconds retry_limit_age{0};  // 0: no limit
  bool start_oldest = false;                    // where a sink that is new to a queue begins
  FilterConfig filter;
  std::string preset;                     // empty: none
  std::vector<std::string> preset_gives;  // what it fills in, as lines: `stream.replicas = 3`
  std::shared_ptr<const RawOptions> raw;
};

struct GatewayConfig {
  std::string name;                      // default: the host name
  std::vector<std::string> plugin_dirs;  // searched in order, before the packaged directory
  std::chrono::nanoseconds shutdown_timeout{std::chrono::seconds(30)};
  std::chrono::nanoseconds drain_timeout{std::chrono::seconds(10)};
  uint64_t memory_limit = 256ull << 20;
  std::string state_dir;  // absolute; default: systemd's state directory
  // When a group commit of the store goes.
  uint64_t commit_events = 8192;
  uint64_t commit_bytes = 1ull << 20;
  std::chrono::nanoseconds commit_interval{std::chrono::milliseconds(2)};
  // Where a running gateway is asked. Default: admin.sock in the unit's runtime directory
  // ($RUNTIME_DIRECTORY), else in /run/penstock. Empty: nowhere.
  std::string admin_socket;
  Position admin_socket_where;  // line 0: it is the default
  // Where what monitoring asks for is served over TCP as well. Default: nowhere.
  ListenAddress admin_listen;
  Position admin_listen_where;
  std::string log_level = "info";  // debug, info, warn, error
  LogFormat log_format = LogFormat::kAuto;
};

struct Config {
  GatewayConfig gateway;
  std::vector<SourceConfig> sources;  // in the files' order
  std::vector<SinkConfig> sinks;

  const SourceConfig* FindSource(std::string_view name) const;  // nullptr: there is none
  const SinkConfig* FindSink(std::string_view name) const;      // likewise
  bool HasRoute(std::string_view source, std::string_view sink) const;
};

// Whether both say the same in all that the table of a source, or of a sink, holds; from of a sink
// apart. What a secret's reference leads to is not looked at.
bool SameTable(const SourceConfig& a, const SourceConfig& b);
bool SameTable(const SinkConfig& a, const SinkConfig& b);
// The keys of [gateway] that a running gateway cannot change and that differ, in words.
std::vector<std::string> NeedRestart(const GatewayConfig& a, const GatewayConfig& b);

struct Loaded {
  // With errors in findings: what could be read. As long as it is complete, its tables may be bound
  // all the same, so that one run finds all.
  Config config;
  bool complete = true;            // every file could be read and parsed
  std::vector<std::string> files;  // in the order in which they count
  std::vector<Finding> findings;   // sorted; bounded, the last one counts those left out
  bool ok() const;                 // no finding is an error
};

// By file, in the order of files, then by line and column.
void Sort(const std::vector<std::string>& files, std::vector<Finding>* findings);

// Reads main_file, then conf.d/*.toml beside it in name order. Never throws; every fault is a
// finding.
Loaded Load(const std::string& main_file);

// The same from memory, the first text being the main file.
struct FileText {
  std::string path;
  std::string text;
};
Loaded LoadText(const std::vector<FileText>& files);

// Checks a table's own keys against a plugin's option table: unknown keys (with the nearest known
// one), types, ranges, choices, required, templates; fills defaults. A fault of the option table
// itself is a finding that names the plugin. An option at fault has its zero value.
struct Bound {
  Options options;
  std::vector<Finding> findings;
};
Bound BindOptions(const SourceConfig& source, const penstock_plugin& plugin);
Bound BindOptions(const SinkConfig& sink, const penstock_plugin& plugin);

// Reads the secret behind "env:NAME", "file:/path" or "credential:NAME" now; one trailing newline
// is cut. The error says what to do; it never holds the secret. Any thread.
Result<std::string> ReadSecret(std::string_view reference);
// Whether text has the form of a secret's reference.
bool IsSecretReference(std::string_view text);

// "10s", "250ms", "1h30m"; "64KiB", "1GiB", "100MB", "512". Errors say what is accepted.
Result<std::chrono::nanoseconds> ParseDuration(std::string_view text);
Result<uint64_t> ParseSize(std::string_view text);

// The candidate nearest to word by edit distance, or empty when none is near.
std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace penstock::config
