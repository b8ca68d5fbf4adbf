// penstock/fakes.hpp - a host for the unit tests of a plugin. C++17, nothing but the standard
// library.
//
// A sink gets configuration, secrets and messages; each accepted message must get exactly one
// receipt, and its memory is freed at that moment, so that a sanitizer sees a late read:
//
//   penstock::fakes::FakeSinkHost host("bus");
//   host.SetSecret("env:TOKEN", "s3cret");
//   penstock::fakes::FakeSink sink(host, penstock::fakes::LoadPlugin("./sink-bus.so"),
//                                  {{"address", "127.0.0.1:4222"}, {"token", "env:TOKEN"}});
//   sink.Start();
//   host.WaitState(PENSTOCK_STATE_READY);
//   const uint64_t token = sink.Submit({"hello", {"a.b"}});  // payload, rendered templates
//   host.WaitReceipts(1);
//   assert(host.receipt(token).outcome == PENSTOCK_DELIVERED);
//
// A source gets configuration, secrets and a queue that can be full; what it emits is kept:
//
//   penstock::fakes::FakeSourceHost host("orders");
//   penstock::fakes::FakeSource source(host, plugin, {{"interval", std::chrono::milliseconds(1)}});
//   source.Run();
//   host.WaitEvents(1);
//   assert(host.events()[0].payload == "hello");
//
// Check() gives what the plugin's own check() finds in options. Whatever a plugin
// does against plugin.h is a fault: see OnFault() and faults(). A constructor throws
// std::runtime_error with the plugin's text when it refuses. Declare a host before what uses it.
#ifndef PENSTOCK_FAKES_HPP
#define PENSTOCK_FAKES_HPP

#include <dlfcn.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <penstock/plugin.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace penstock::fakes {

using List = std::vector<std::string>;
using Map = std::vector<std::pair<std::string, std::string>>;

// Called with each thing that a plugin does against plugin.h, from any thread; standard error
// unless a test replaces it before its first host. With GoogleTest:
//   penstock::fakes::OnFault() = [](const std::string& what) { ADD_FAILURE() << what; };
inline std::function<void(const std::string&)>& OnFault() {
  static std::function<void(const std::string&)> on_fault = [](const std::string& what) {
    std::fprintf(stderr, "penstock: the plugin breaks its contract: %s\n", what.c_str());
  };
  return on_fault;
}

namespace detail {

// The element of an array that a plugin of any minor filled.
template <typename T>
T Read(const T* first, size_t stride, size_t index) {
  T out = {};
  std::memcpy(static_cast<void*>(&out), reinterpret_cast<const char*>(first) + index * stride,
              std::min(stride, sizeof out));
  return out;
}

// Messages of the fakes lie further apart than penstock_message is large, as those of a later host.
struct WideMessage {
  penstock_message message;
  uint64_t later[2];
};

}  // namespace detail

// Opens a plugin for the life of the process; throws with dlerror's text. A test may also link the
// plugin's sources in and use penstock_plugin_entry.
inline const penstock_plugin& LoadPlugin(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const void* entry = dlsym(library, "penstock_plugin_entry");
  if (entry == nullptr) throw std::runtime_error(path + " has no entry");
  return *static_cast<const penstock_plugin*>(entry);
}

// One option's value. Durations are nanoseconds or std::chrono, sizes bytes.
struct Value {
  std::variant<int64_t, double, std::string, List, Map> data;

  template <typename T>
  Value(T v) {  // NOLINT: meant to be implicit
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      data = static_cast<int64_t>(v);
    } else if constexpr (std::is_floating_point_v<T>) {
      data = static_cast<double>(v);
    } else if constexpr (std::is_convertible_v<T, std::chrono::nanoseconds>) {
      data = static_cast<int64_t>(std::chrono::nanoseconds(v).count());
    } else if constexpr (std::is_convertible_v<T, std::string>) {
      data = std::string(v);
    } else {
      data = std::move(v);
    }
  }
};
using Values = std::map<std::string, Value>;

// A penstock_config: the plugin's options with their defaults, over them the test's values, and the
// host's own names.
class FakeConfig {
 public:
  // Throws for a name that the plugin does not declare and for a value of another type than the
  // declared one.
  FakeConfig(const penstock_plugin& plugin, const Values& values) {
    abi_ = {sizeof abi_, sizeof(penstock_value), this, &FakeConfig::Get};
    if (plugin.kind == PENSTOCK_SOURCE) {
      for (const char* name : {"event_source", "event_name", "event_type"})
        Put(name, PENSTOCK_OPT_STRING, Value(""), false);
      Put("read_ahead_bytes", PENSTOCK_OPT_SIZE, Value(2 << 20), false);
    } else {
      Put("format", PENSTOCK_OPT_STRING, Value("raw"), false);
      Put("max_in_flight.events", PENSTOCK_OPT_INT, Value(8192), false);
      Put("max_in_flight.bytes", PENSTOCK_OPT_SIZE, Value(16 << 20), false);
    }
    for (size_t i = 0; i < plugin.n_options; ++i) {
      const penstock_option option = detail::Read(plugin.options, plugin.option_stride, i);
      if (option.default_value != nullptr) {
        Put(option.name, option.type, Parse(option.type, option.default_value), false);
      } else {
        Put(option.name, option.type, Empty(option.type), false);
      }
    }
    for (const auto& [name, value] : values) {
      const auto found = entries_.find(name);
      if (found == entries_.end()) throw std::logic_error("the plugin has no option " + name);
      Put(name, found->second.value.type, value, true);
    }
  }
  FakeConfig(const FakeConfig&) = delete;
  FakeConfig& operator=(const FakeConfig&) = delete;

  const penstock_config* abi() const { return &abi_; }

 private:
  struct Entry {
    penstock_value value{};
    std::string text;
    std::vector<std::string> storage;
    std::vector<penstock_str> items;
    std::vector<penstock_kv> pairs;
  };

  static const penstock_value* Get(const penstock_config* c, const char* name) noexcept {
    const auto& entries = static_cast<const FakeConfig*>(c->ctx)->entries_;
    const auto found = entries.find(name);
    return found == entries.end() ? nullptr : &found->second.value;
  }

  static Value Empty(int32_t type) {
    switch (type) {
      case PENSTOCK_OPT_LIST:
        return List{};
      case PENSTOCK_OPT_MAP:
        return Map{};
      case PENSTOCK_OPT_FLOAT:
        return 0.0;
      case PENSTOCK_OPT_INT:
      case PENSTOCK_OPT_BOOL:
      case PENSTOCK_OPT_DURATION:
      case PENSTOCK_OPT_SIZE:
        return 0;
      default:
        return "";
    }
  }

  // Default texts as option tables hold them: TOML without quotes.
  static Value Parse(int32_t type, const std::string& text) {
    switch (type) {
      case PENSTOCK_OPT_BOOL:
        return text == "true";
      case PENSTOCK_OPT_FLOAT:
        return std::stod(text);
      case PENSTOCK_OPT_INT:
        return int64_t{std::stoll(text)};
      case PENSTOCK_OPT_DURATION:
      case PENSTOCK_OPT_SIZE:
        return ParseUnits(text);
      case PENSTOCK_OPT_LIST: {
        List out;
        for (size_t at = text.find('"'); at != std::string::npos; at = text.find('"', at + 1)) {
          const size_t end = text.find('"', at + 1);
          out.push_back(text.substr(at + 1, end - at - 1));
          at = end;
        }
        return out;
      }
      case PENSTOCK_OPT_MAP:
        return Map{};
      default:
        return text;
    }
  }
  static int64_t ParseUnits(const std::string& text) {
    static const std::map<std::string, int64_t> kUnits = {
        {"", 1},           {"ns", 1},          {"us", 1000},         {"ms", 1000000},
        {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000}, {"B", 1},
        {"KB", 1000},      {"MB", 1000000},    {"GB", 1000000000},   {"KiB", 1 << 10},
        {"MiB", 1 << 20},  {"GiB", 1 << 30}};
    int64_t total = 0;
    size_t at = 0;
    while (at < text.size()) {
      size_t used = 0;
      const int64_t number = std::stoll(text.substr(at), &used);
      at += used;
      size_t end = at;
      while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
      total += number * kUnits.at(text.substr(at, end - at));
      at = end;
    }
    return total;
  }

  void Put(const std::string& name, int32_t type, const Value& v, bool set) {
    Entry& e = entries_[name];
    e = Entry{};
    e.value.type = type;
    e.value.is_set = set ? 1 : 0;
    const bool number = type == PENSTOCK_OPT_INT || type == PENSTOCK_OPT_BOOL ||
                        type == PENSTOCK_OPT_DURATION || type == PENSTOCK_OPT_SIZE;
    if (number && std::holds_alternative<int64_t>(v.data)) {
      e.value.i64 = std::get<int64_t>(v.data);
    } else if (type == PENSTOCK_OPT_FLOAT && std::holds_alternative<double>(v.data)) {
      e.value.f64 = std::get<double>(v.data);
    } else if (type == PENSTOCK_OPT_LIST && std::holds_alternative<List>(v.data)) {
      e.storage = std::get<List>(v.data);
      for (const std::string& item : e.storage) e.items.push_back(Str(item));
      e.value.items = e.items.data();
      e.value.n = e.items.size();
    } else if (type == PENSTOCK_OPT_MAP && std::holds_alternative<Map>(v.data)) {
      const Map& map = std::get<Map>(v.data);
      e.storage.reserve(2 * map.size());
      for (const auto& [key, value] : map) {
        e.storage.push_back(key);
        e.storage.push_back(value);
        e.pairs.push_back({Str(e.storage[e.storage.size() - 2]), Str(e.storage.back())});
      }
      e.value.entries = e.pairs.data();
      e.value.n = e.pairs.size();
    } else if (!number && type != PENSTOCK_OPT_FLOAT && type != PENSTOCK_OPT_LIST &&
               type != PENSTOCK_OPT_MAP && std::holds_alternative<std::string>(v.data)) {
      e.text = std::get<std::string>(v.data);
      e.value.str = Str(e.text);
    } else {
      throw std::logic_error("the value given for option " + name + " is of another type");
    }
  }

  penstock_config abi_{};
  std::map<std::string, Entry> entries_;
};

// What a plugin's check() reported.
struct FakeFinding {
  int32_t severity;
  std::string option, text;
};

// What the plugin's check() says of a configuration, and what it says that it may hold.
inline std::vector<FakeFinding> Check(const penstock_plugin& plugin, const Values& values,
                                      uint64_t* holds = nullptr) {
  struct Said {
    std::vector<FakeFinding> findings;
    uint64_t holds = 0;
  } said;
  const FakeConfig config(plugin, values);
  penstock_report report{};
  report.struct_size = sizeof report;
  report.ctx = &said;
  report.add = [](const penstock_report* r, int32_t severity, const char* option,
                  penstock_str text) noexcept {
    static_cast<Said*>(r->ctx)->findings.push_back({severity, option, std::string(View(text))});
  };
  report.holds = [](const penstock_report* r, uint64_t bytes) noexcept {
    static_cast<Said*>(r->ctx)->holds = bytes;
  };
  if (plugin.check != nullptr) plugin.check(config.abi(), &report);
  if (holds != nullptr) *holds = said.holds;
  return said.findings;
}

// ---- what the hosts of sources and sinks have in common

class FakeHost {
 public:
  using Timeout = std::chrono::milliseconds;
  using Lines = std::vector<std::pair<int32_t, std::string>>;  // level or state, and its text
  static constexpr Timeout kTimeout{20000};

  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  const penstock_host* abi() const { return &abi_; }

  // By reference, as "env:NAME"; anything else cannot be read.
  void SetSecret(const std::string& reference, std::string value) {
    std::lock_guard lock(mutex_);
    secrets_[reference] = std::move(value);
  }

  // Each of these waits until the condition holds; false after the timeout. WaitState: the current
  // state, not one of the past. WaitText: a line or a state's text that holds the words.
  bool WaitState(int32_t state, Timeout timeout = kTimeout) {
    return Wait([&] { return !states_.empty() && states_.back().first == state; }, timeout);
  }
  bool WaitStates(size_t changes, Timeout timeout = kTimeout) {
    return Wait([&] { return states_.size() >= changes; }, timeout);
  }
  bool WaitText(const std::string& words, Timeout timeout = kTimeout) {
    return Wait([&] { return HasTextLocked(words); }, timeout);
  }
  bool WaitMetric(const std::string& name, uint64_t least, Timeout timeout = kTimeout) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    while (metric(name) < least) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  bool HasText(const std::string& words) const {
    std::lock_guard lock(mutex_);
    return HasTextLocked(words);
  }
  Lines states() const {
    std::lock_guard lock(mutex_);
    return states_;
  }
  Lines logs() const {
    std::lock_guard lock(mutex_);
    return logs_;
  }
  uint64_t metric(const std::string& name) const {
    std::lock_guard lock(mutex_);
    const auto found = metrics_.find(name);
    return found == metrics_.end() ? 0 : __atomic_load_n(&found->second, __ATOMIC_RELAXED);
  }

  // What the plugin did against plugin.h; OnFault() has been called with each.
  std::vector<std::string> faults() const {
    std::lock_guard lock(faults_mutex_);
    return faults_;
  }

  int32_t log_level = PENSTOCK_LOG_DEBUG;
  // How long the fakes wait for what a plugin owes them: receipts after stop, ready() after AGAIN.
  Timeout patience = kTimeout;

 protected:
  // What only a source or only a sink may call is a failure here; the other one replaces it.
  explicit FakeHost(std::string instance) : name_(std::move(instance)) {
    // PENSTOCK_TEST_LOG=1 shows what the plugin logs as it comes.
    const char* level = std::getenv("PENSTOCK_TEST_LOG");
    verbose_ = level != nullptr && *level != '\0';
    abi_.struct_size = sizeof abi_;
    abi_.abi_major = PENSTOCK_ABI_MAJOR;
    abi_.abi_minor = PENSTOCK_ABI_MINOR;
    abi_.ctx = this;
    abi_.instance_name = name_.c_str();
    abi_.host_version = "test";
    abi_.log_level = &log_level;
    abi_.log = [](const penstock_host* h, int32_t lvl, penstock_str text, const penstock_kv* fields,
                  size_t n) noexcept { Of(h).Log(lvl, text, fields, n); };
    abi_.metric = [](const penstock_host* h, int32_t, const char* name, const char*) noexcept {
      std::lock_guard lock(Of(h).mutex_);
      return &Of(h).metrics_[name];
    };
    abi_.report_state = [](const penstock_host* h, int32_t state, penstock_str text) noexcept {
      Of(h).State(state, text);
    };
    abi_.read_secret = [](const penstock_host* h, penstock_str reference, char* buf, size_t cap,
                          size_t* len, penstock_error* error) noexcept {
      return Of(h).ReadSecret(reference, buf, cap, len, error);
    };
    abi_.emit = [](const penstock_host* h, const penstock_event_batch*, size_t* accepted,
                   int64_t) noexcept {
      Of(h).Fault("a sink calls emit");
      *accepted = 0;
      return penstock_status{PENSTOCK_E_UNSUPPORTED};
    };
    abi_.stopping = [](const penstock_host* h) noexcept {
      Of(h).Fault("a sink calls stopping");
      return int32_t{0};
    };
    abi_.complete = [](const penstock_host* h, const penstock_receipt*, size_t) noexcept {
      Of(h).Fault("a source calls complete");
    };
    abi_.ready = [](const penstock_host* h) noexcept { Of(h).Fault("a source calls ready"); };
    abi_.extension = [](const penstock_host*, const char*) noexcept -> const void* {
      return nullptr;
    };
  }
  ~FakeHost() = default;

  void Fault(std::string what) {
    {
      std::lock_guard lock(faults_mutex_);
      faults_.push_back(what);
    }
    OnFault()(name_ + ": " + what);
  }

  template <typename Condition>
  bool Wait(Condition condition, Timeout timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, condition);
  }

  penstock_host abi_{};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool destroyed_ = false;

 private:
  static FakeHost& Of(const penstock_host* h) { return *static_cast<FakeHost*>(h->ctx); }

  bool HasTextLocked(const std::string& words) const {
    for (const auto* lines : {&logs_, &states_})
      for (const auto& [level, text] : *lines)
        if (text.find(words) != std::string::npos) return true;
    return false;
  }

  void Log(int32_t level, penstock_str text, const penstock_kv* fields, size_t n) {
    std::string line(View(text));
    for (size_t i = 0; i < n; ++i)
      line.append(" ").append(View(fields[i].key)).append("=").append(View(fields[i].value));
    if (verbose_) std::fprintf(stderr, "[%s log %d] %s\n", name_.c_str(), level, line.c_str());
    std::lock_guard lock(mutex_);
    if (destroyed_) Fault("logs after destroy: " + line);
    logs_.emplace_back(level, std::move(line));
    changed_.notify_all();
  }

  void State(int32_t state, penstock_str text) {
    std::string line(View(text));
    if (verbose_) std::fprintf(stderr, "[%s state %d] %s\n", name_.c_str(), state, line.c_str());
    std::lock_guard lock(mutex_);
    if (destroyed_) Fault("calls report_state after destroy: " + line);
    states_.emplace_back(state, std::move(line));
    changed_.notify_all();
  }

  penstock_status ReadSecret(penstock_str reference, char* buf, size_t cap, size_t* len,
                             penstock_error* error) {
    std::lock_guard lock(mutex_);
    const auto found = secrets_.find(std::string(View(reference)));
    if (found == secrets_.end() || found->second.size() > cap) {
      if (error != nullptr)
        std::snprintf(error->text, sizeof error->text, "secret %.*s cannot be read",
                      static_cast<int>(reference.len), reference.ptr);
      return PENSTOCK_E_FAILED;
    }
    std::memcpy(buf, found->second.data(), found->second.size());
    *len = found->second.size();
    return PENSTOCK_OK;
  }

  const std::string name_;
  bool verbose_ = false;
  Lines states_, logs_;
  mutable std::mutex faults_mutex_;
  std::vector<std::string> faults_;
  std::map<std::string, uint64_t> metrics_;
  std::map<std::string, std::string> secrets_;
};

// ---- sinks

// A message as a test writes it. The templates are the rendered TEMPLATE options, in the order of
// the option table.
struct FakeMessage {
  std::string payload = {};
  List templates = {};
  std::string id = {};
  std::string content_type = {};
  Map attributes = {};
  Map headers = {};
  uint32_t attempt = 1;
};

struct FakeReceipt {
  uint64_t token = 0;
  int32_t outcome = -1;
  uint32_t flags = 0;
  int32_t code = 0;
  std::string reason;
};

// The host's side of one instance. Declare it before the FakeSink that uses it.
class FakeSinkHost : public FakeHost {
 public:
  explicit FakeSinkHost(std::string instance = "sink") : FakeHost(std::move(instance)) {
    abi_.complete = [](const penstock_host* h, const penstock_receipt* r, size_t n) noexcept {
      Self(h).Complete(r, n);
    };
    abi_.ready = [](const penstock_host* h) noexcept { Self(h).Ready(); };
  }

  // Each of these waits until the condition holds; false after the timeout.
  bool WaitReceipts(size_t total, Timeout timeout = kTimeout) {
    return Wait([&] { return n_receipts_ >= total; }, timeout);
  }
  // For a part of what was submitted: receipts of the others may come first.
  bool WaitReceiptsOf(const std::vector<uint64_t>& tokens, Timeout timeout = kTimeout) {
    const auto has = [this](uint64_t token) { return receipts_.count(token) != 0; };
    return Wait([&] { return std::all_of(tokens.begin(), tokens.end(), has); }, timeout);
  }
  bool WaitSettled(Timeout timeout = kTimeout) {
    return Wait([&] { return pending_.empty(); }, timeout);
  }
  bool WaitReady(size_t calls, Timeout timeout = kTimeout) {
    return Wait([&] { return ready_calls_ >= calls; }, timeout);
  }

  FakeReceipt receipt(uint64_t token) const {
    std::lock_guard lock(mutex_);
    const auto found = receipts_.find(token);
    return found == receipts_.end() ? FakeReceipt{} : found->second;
  }
  std::vector<FakeReceipt> receipts() const {  // by token
    std::lock_guard lock(mutex_);
    std::vector<FakeReceipt> out;
    for (const auto& [token, receipt] : receipts_) out.push_back(receipt);
    return out;
  }
  // Forgets the receipts so far, for long runs; WaitReceipts counts from zero again.
  std::vector<FakeReceipt> TakeReceipts() {
    std::lock_guard lock(mutex_);
    std::vector<FakeReceipt> out;
    for (auto& [token, receipt] : receipts_) out.push_back(std::move(receipt));
    receipts_.clear();
    n_receipts_ = 0;
    return out;
  }
  size_t count(int32_t outcome) const {
    std::lock_guard lock(mutex_);
    size_t n = 0;
    for (const auto& [token, receipt] : receipts_) n += receipt.outcome == outcome ? 1 : 0;
    return n;
  }
  size_t pending() const {
    std::lock_guard lock(mutex_);
    return pending_.size();
  }
  size_t ready_calls() const {
    std::lock_guard lock(mutex_);
    return ready_calls_;
  }
  // Calls of complete(), to see that receipts come in batches.
  size_t complete_calls() const {
    std::lock_guard lock(mutex_);
    return complete_calls_;
  }

 private:
  friend class FakeSink;

  // One message's memory: freed at its receipt.
  struct Stored {
    explicit Stored(FakeMessage m) : source(std::move(m)) {
      for (const std::string& t : source.templates) templates.push_back(Str(t));
      for (const auto& [key, value] : source.attributes)
        attributes.push_back({Str(key), Str(value)});
      for (const auto& [key, value] : source.headers) headers.push_back({Str(key), Str(value)});
    }
    penstock_message Message(uint64_t token) const {
      penstock_message m{};
      m.token = token;
      m.payload = Str(source.payload);
      m.content_type = Str(source.content_type);
      m.templates = templates.data();
      m.attributes = attributes.data();
      m.headers = headers.data();
      m.n_attributes = static_cast<uint32_t>(attributes.size());
      m.n_headers = static_cast<uint32_t>(headers.size());
      m.id = Str(source.id);
      m.attempt = source.attempt;
      return m;
    }
    FakeMessage source;
    std::vector<penstock_str> templates;
    std::vector<penstock_kv> attributes, headers;
  };

  static FakeSinkHost& Self(const penstock_host* h) {
    return static_cast<FakeSinkHost&>(*static_cast<FakeHost*>(h->ctx));
  }

  void Complete(const penstock_receipt* receipts, size_t n) {
    std::vector<std::unique_ptr<Stored>> freed;
    std::lock_guard lock(mutex_);
    if (destroyed_) Fault("calls complete after destroy");
    ++complete_calls_;
    for (size_t i = 0; i < n; ++i) {
      const penstock_receipt r = detail::Read(receipts, receipt_stride_, i);
      const auto found = pending_.find(r.token);
      if (found == pending_.end()) {
        Fault("gives a receipt for token " + std::to_string(r.token) +
              ", which is not in flight: a second one, or none of its messages");
        continue;
      }
      if (r.outcome < PENSTOCK_DELIVERED || r.outcome > PENSTOCK_REJECTED)
        Fault("gives a receipt with the outcome " + std::to_string(r.outcome) + ", which is none");
      if (r.outcome != PENSTOCK_DELIVERED && r.reason.len == 0)
        Fault("gives a receipt with the outcome " + std::to_string(r.outcome) + " and no reason");
      receipts_[r.token] = {r.token, r.outcome, r.flags, r.code, std::string(View(r.reason))};
      freed.push_back(std::move(found->second));
      pending_.erase(found);
      ++n_receipts_;
    }
    changed_.notify_all();
  }

  void Ready() {
    std::lock_guard lock(mutex_);
    ++ready_calls_;
    changed_.notify_all();
  }

  // Makes tokens pending before the plugin sees them: a receipt may come inside submit.
  std::vector<uint64_t> Take(std::vector<FakeMessage> messages,
                             std::vector<detail::WideMessage>* out) {
    std::vector<uint64_t> tokens;
    std::lock_guard lock(mutex_);
    for (FakeMessage& m : messages) {
      const uint64_t token = next_token_++;
      auto stored = std::make_unique<Stored>(std::move(m));
      out->push_back({stored->Message(token), {~uint64_t{0}, ~uint64_t{0}}});
      pending_[token] = std::move(stored);
      tokens.push_back(token);
    }
    return tokens;
  }
  // Gives back what submit did not accept.
  std::vector<FakeMessage> Untake(const std::vector<uint64_t>& tokens, size_t from) {
    std::vector<FakeMessage> back;
    std::lock_guard lock(mutex_);
    for (size_t i = from; i < tokens.size(); ++i) {
      const auto found = pending_.find(tokens[i]);
      if (found == pending_.end()) {
        Fault("gives a receipt for token " + std::to_string(tokens[i]) +
              ", which it did not accept");
        continue;
      }
      back.push_back(std::move(found->second->source));
      pending_.erase(found);
    }
    return back;
  }

  uint32_t receipt_stride_ = sizeof(penstock_receipt);
  uint64_t next_token_ = 1;
  size_t n_receipts_ = 0, ready_calls_ = 0, complete_calls_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Stored>> pending_;
  std::map<uint64_t, FakeReceipt> receipts_;
};

// One instance. Created at once, destroyed with the object: stop, every receipt, destroy.
class FakeSink {
 public:
  FakeSink(FakeSinkHost& host, const penstock_plugin& plugin, const Values& values)
      : host_(host), plugin_(plugin) {
    host_.receipt_stride_ = plugin.receipt_stride;
    const FakeConfig config(plugin, values);
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin.create(host.abi(), config.abi(), &instance_, &error) != PENSTOCK_OK)
      throw std::runtime_error(error.text);
  }
  ~FakeSink() { Destroy(); }
  FakeSink(const FakeSink&) = delete;
  FakeSink& operator=(const FakeSink&) = delete;

  void Start() {
    if (plugin_.start == nullptr) return;
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin_.start(instance_, &error) != PENSTOCK_OK) throw std::runtime_error(error.text);
  }

  // Offers the messages once. Returns the tokens of those accepted; the rest, in order, comes back
  // in *rest.
  std::vector<uint64_t> TrySubmit(std::vector<FakeMessage> messages, uint32_t lane = 0,
                                  uint32_t flags = 0, std::vector<FakeMessage>* rest = nullptr) {
    std::vector<detail::WideMessage> abi;
    std::vector<uint64_t> tokens = host_.Take(std::move(messages), &abi);
    penstock_message_batch batch{};
    batch.struct_size = sizeof batch;
    batch.stride = sizeof(detail::WideMessage);
    batch.messages = abi.empty() ? nullptr : &abi[0].message;
    batch.count = abi.size();
    batch.lane = lane;
    batch.flags = flags;
    size_t accepted = 0;
    const penstock_status status = plugin_.submit(instance_, &batch, &accepted);
    if (accepted > abi.size() ||
        status != (accepted == abi.size() ? PENSTOCK_OK : PENSTOCK_AGAIN)) {
      host_.Fault("submit takes " + std::to_string(accepted) + " of " + std::to_string(abi.size()) +
                  " messages and answers " + std::to_string(status));
      accepted = std::min(accepted, abi.size());
    }
    std::vector<FakeMessage> back = host_.Untake(tokens, accepted);
    if (rest != nullptr) *rest = std::move(back);
    tokens.resize(accepted);
    return tokens;
  }

  // Offers the messages until all are accepted, waiting for ready() after AGAIN.
  std::vector<uint64_t> Submit(std::vector<FakeMessage> messages, uint32_t lane = 0,
                               uint32_t flags = 0) {
    std::vector<uint64_t> all;
    while (!messages.empty()) {
      const size_t ready = host_.ready_calls();
      std::vector<FakeMessage> rest;
      for (const uint64_t token : TrySubmit(std::move(messages), lane, flags, &rest))
        all.push_back(token);
      if (!all.empty()) flags &= ~static_cast<uint32_t>(PENSTOCK_BATCH_RESUME);
      messages = std::move(rest);
      if (!messages.empty() && !host_.WaitReady(ready + 1, host_.patience)) {
        host_.Fault("submit answers AGAIN, and ready() never comes");
        break;
      }
    }
    return all;
  }
  uint64_t Submit(FakeMessage message, uint32_t lane = 0, uint32_t flags = 0) {
    std::vector<FakeMessage> one;
    one.push_back(std::move(message));
    const std::vector<uint64_t> tokens = Submit(std::move(one), lane, flags);
    return tokens.empty() ? 0 : tokens[0];
  }

  void Cancel(const std::vector<uint64_t>& tokens) {
    if (plugin_.cancel != nullptr) plugin_.cancel(instance_, tokens.data(), tokens.size());
  }
  void Flush() {
    if (plugin_.flush != nullptr) plugin_.flush(instance_);
  }
  void Stop() { plugin_.stop(instance_); }

  // Stops, expects every receipt, destroys. Safe to call twice.
  void Destroy() {
    if (instance_ == nullptr) return;
    Stop();
    if (!host_.WaitSettled(host_.patience))
      host_.Fault(std::to_string(host_.pending()) + " messages have no receipt after stop");
    plugin_.destroy(instance_);
    instance_ = nullptr;
    std::lock_guard lock(host_.mutex_);
    host_.destroyed_ = true;
  }

 private:
  FakeSinkHost& host_;
  const penstock_plugin& plugin_;
  penstock_instance* instance_ = nullptr;
};

// ---- sources

// An event as the plugin emitted it, copied.
struct FakeEvent {
  std::string payload, subject, id, type, content_type;
  std::chrono::steady_clock::time_point at;
  Map attributes = {};
  int64_t time_ns = 0;
  uint64_t ack_token = 0;
};

// The host's side of one instance. Declare it before the FakeSource that uses it. Releases what it
// takes at once, or later from another thread.
class FakeSourceHost : public FakeHost {
 public:
  explicit FakeSourceHost(std::string instance = "source", uint64_t read_ahead_bytes = 2 << 20)
      : FakeHost(std::move(instance)) {
    abi_.read_ahead_bytes = read_ahead_bytes;
    abi_.emit = [](const penstock_host* h, const penstock_event_batch* batch, size_t* accepted,
                   int64_t timeout_ns) noexcept {
      return Self(h).Emit(batch, accepted, timeout_ns);
    };
    abi_.stopping = [](const penstock_host* h) noexcept {
      std::lock_guard lock(Self(h).mutex_);
      return int32_t{Self(h).stopping_};
    };
  }
  ~FakeSourceHost() {
    for (std::thread& thread : releasers_) thread.join();
  }

  // Room for so many more events; each that is taken uses one up.
  void SetRoom(size_t events) {
    std::lock_guard lock(mutex_);
    room_ = events;
    changed_.notify_all();
  }
  // What is taken is released on other threads.
  void ReleaseElsewhere() { release_elsewhere_ = true; }
  // Past taking anything: emit answers STOPPED.
  void Shutdown() {
    std::lock_guard lock(mutex_);
    shutdown_ = true;
    changed_.notify_all();
  }

  // Each of these waits until the condition holds; false after the timeout.
  bool WaitEvents(size_t total, Timeout timeout = kTimeout) {
    return Wait([&] { return events_.size() >= total; }, timeout);
  }
  // The data thread waits for room inside emit.
  bool WaitBlocked(Timeout timeout = kTimeout) {
    return Wait([&] { return blocked_; }, timeout);
  }

  std::vector<FakeEvent> events() const {
    std::lock_guard lock(mutex_);
    return events_;
  }
  size_t event_count() const {
    std::lock_guard lock(mutex_);
    return events_.size();
  }
  // Calls of emit, to see that events come in batches.
  size_t emit_calls() const {
    std::lock_guard lock(mutex_);
    return emit_calls_;
  }

 private:
  friend class FakeSource;

  static FakeSourceHost& Self(const penstock_host* h) {
    return static_cast<FakeSourceHost&>(*static_cast<FakeHost*>(h->ctx));
  }

  // Takes what there is room for, waiting for more as the real host does.
  penstock_status Emit(const penstock_event_batch* batch, size_t* accepted, int64_t timeout_ns) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
    std::unique_lock lock(mutex_);
    if (destroyed_) Fault("calls emit after destroy");
    ++emit_calls_;
    *accepted = 0;
    if (batch->struct_size < kBatch10 || batch->stride < kEvent10) {
      Fault("emits a batch whose struct_size or stride cannot be");
      return PENSTOCK_E_FAILED;
    }
    const auto may_go_on = [this] { return room_ > 0 || shutdown_; };
    while (*accepted < batch->count) {
      if (!may_go_on()) {
        blocked_ = true;
        changed_.notify_all();
        if (timeout_ns < 0) {
          changed_.wait(lock, may_go_on);
        } else if (!changed_.wait_until(lock, until, may_go_on)) {
          return PENSTOCK_AGAIN;
        }
        blocked_ = false;
      }
      if (shutdown_) return PENSTOCK_STOPPED;
      Take(detail::Read(batch->events, batch->stride, (*accepted)++));
    }
    changed_.notify_all();
    return PENSTOCK_OK;
  }

  void Take(const penstock_event& event) {
    --room_;
    events_.push_back({std::string(View(event.payload)), std::string(View(event.subject)),
                       std::string(View(event.id)), std::string(View(event.type)),
                       std::string(View(event.content_type)), std::chrono::steady_clock::now(),
                       Map{}, event.time_ns, event.ack_token});
    for (uint32_t i = 0; i < event.n_attributes; ++i)
      events_.back().attributes.emplace_back(View(event.attributes[i].key),
                                             View(event.attributes[i].value));
    penstock_owner* owner = event.owner;
    if (owner == nullptr) return;
    if (release_elsewhere_ && releasers_.size() < 200) {
      releasers_.emplace_back([owner] { owner->release(owner, 1); });
    } else {
      owner->release(owner, 1);
    }
  }

  // As large as in ABI 1.0, the least that a plugin's can be.
  static constexpr size_t kBatch10 = offsetof(penstock_event_batch, count) + sizeof(size_t);
  static constexpr size_t kEvent10 = offsetof(penstock_event, owner) + sizeof(void*);
  bool release_elsewhere_ = false;
  std::vector<std::thread> releasers_;
  size_t room_ = SIZE_MAX;
  size_t emit_calls_ = 0;
  bool blocked_ = false, stopping_ = false, shutdown_ = false;
  std::vector<FakeEvent> events_;
};

// One instance and its data thread. Created at once, stopped and destroyed with the object.
class FakeSource {
 public:
  // Throws std::runtime_error with the plugin's text when it cannot be created.
  FakeSource(FakeSourceHost& host, const penstock_plugin& plugin, const Values& values)
      : host_(host), plugin_(plugin) {
    const FakeConfig config(plugin, values);
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin.create(host.abi(), config.abi(), &instance_, &error) != PENSTOCK_OK) {
      throw std::runtime_error(error.text);
    }
  }
  ~FakeSource() { Destroy(); }
  FakeSource(const FakeSource&) = delete;
  FakeSource& operator=(const FakeSource&) = delete;

  // Begins run() on its own thread.
  void Run() {
    penstock_error error{};
    error.struct_size = sizeof error;
    if (plugin_.start != nullptr && plugin_.start(instance_, &error) != PENSTOCK_OK) {
      throw std::runtime_error(error.text);
    }
    data_ = std::thread([this] {
      penstock_error failure{};
      failure.struct_size = sizeof failure;
      const penstock_status status = plugin_.run(instance_, &failure);
      if (status < 0) host_.Fault(std::string("run() failed: ") + failure.text);
      std::lock_guard lock(host_.mutex_);
      returned_ = true;
      host_.changed_.notify_all();
    });
  }

  void Stop() {
    {
      std::lock_guard lock(host_.mutex_);
      host_.stopping_ = true;
    }
    plugin_.stop(instance_);
  }
  // Tells the source that these are safe, as the tokens of its events name them.
  void Ack(const std::vector<uint64_t>& tokens) {
    if (plugin_.on_ack != nullptr) plugin_.on_ack(instance_, tokens.data(), tokens.size());
  }
  // Waits until run() has returned.
  bool WaitReturned(FakeSourceHost::Timeout timeout = FakeSourceHost::kTimeout) {
    return host_.Wait([&] { return returned_; }, timeout);
  }
  // How long run() takes to return after stop.
  std::chrono::milliseconds StopAndTime() {
    const auto start = std::chrono::steady_clock::now();
    Stop();
    if (!WaitReturned(host_.patience)) host_.Fault("run() does not return after stop");
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 start);
  }

  // Stops, waits for run(), destroys. Safe to call twice.
  void Destroy() {
    if (instance_ == nullptr) return;
    Stop();
    host_.Shutdown();
    if (data_.joinable()) data_.join();
    plugin_.destroy(instance_);
    instance_ = nullptr;
    std::lock_guard lock(host_.mutex_);
    host_.destroyed_ = true;
  }

 private:
  FakeSourceHost& host_;
  const penstock_plugin& plugin_;
  penstock_instance* instance_ = nullptr;
  std::thread data_;
  bool returned_ = false;
};

}  // namespace penstock::fakes

#endif  // PENSTOCK_FAKES_HPP
