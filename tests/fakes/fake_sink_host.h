// A host for one sink plugin under test: gives it configuration, secrets and messages, and checks
// what it gives back. Each accepted message must get exactly one receipt; its memory is freed at
// that moment, so that a sanitizer sees a late read.
//
//   FakeSinkHost host("bus");
//   host.SetSecret("env:TOKEN", "s3cret");
//   FakeSink sink(host, LoadPlugin(PENSTOCK_SINK_FILE), {{"servers",
//   List{"nats://127.0.0.1:4222"}}}); sink.Start();
//   ASSERT_TRUE(host.WaitState(PENSTOCK_STATE_READY));
//   const uint64_t token = sink.Submit({.payload = "hello", .templates = {"a.b", "id-1"}});
//   ASSERT_TRUE(host.WaitReceipts(1));
//   EXPECT_EQ(host.receipt(token).outcome, PENSTOCK_DELIVERED);
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <penstock/plugin.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace penstock::fakes {

using List = std::vector<std::string>;
using Map = std::vector<std::pair<std::string, std::string>>;

inline std::string_view View(penstock_str s) { return {s.len == 0 ? "" : s.ptr, s.len}; }
inline penstock_str Str(std::string_view s) { return {s.data(), s.size()}; }

// Opens a plugin for the life of the process; throws with dlerror's text.
inline const penstock_plugin& LoadPlugin(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const void* entry = dlsym(library, "penstock_plugin_entry");
  if (entry == nullptr) throw std::runtime_error(std::string(path) + " has no entry");
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
    abi_ = {sizeof abi_, 0, this, &FakeConfig::Get};
    Put("format", PENSTOCK_OPT_STRING, Value("raw"), false);
    Put("max_in_flight.events", PENSTOCK_OPT_INT, Value(8192), false);
    Put("max_in_flight.bytes", PENSTOCK_OPT_SIZE, Value(16 << 20), false);
    for (size_t i = 0; i < plugin.n_options; ++i) {
      const auto* option = reinterpret_cast<const penstock_option*>(
          reinterpret_cast<const char*>(plugin.options) + i * plugin.option_stride);
      if (option->default_value != nullptr) {
        Put(option->name, option->type, Parse(option->type, option->default_value), false);
      } else {
        Put(option->name, option->type, Empty(option->type), false);
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

// What a plugin's check() reported.
struct FakeFinding {
  int32_t severity;
  std::string option, text;
};

inline std::vector<FakeFinding> Check(const penstock_plugin& plugin, const Values& values) {
  const FakeConfig config(plugin, values);
  std::vector<FakeFinding> found;
  penstock_report report{sizeof report, 0, &found,
                         [](const penstock_report* r, int32_t severity, const char* option,
                            penstock_str text) noexcept {
                           static_cast<std::vector<FakeFinding>*>(r->ctx)->push_back(
                               {severity, option, std::string(View(text))});
                         }};
  if (plugin.check != nullptr) plugin.check(config.abi(), &report);
  return found;
}

// The host's side of one instance. Declare it before the FakeSink that uses it.
class FakeSinkHost {
 public:
  using Timeout = std::chrono::milliseconds;
  static constexpr Timeout kTimeout{20000};

  explicit FakeSinkHost(std::string instance = "sink") : name_(std::move(instance)) {
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
                  size_t n) noexcept { Self(h).Log(lvl, text, fields, n); };
    abi_.metric = [](const penstock_host* h, int32_t, const char* name, const char*) noexcept {
      std::lock_guard lock(Self(h).mutex_);
      return &Self(h).metrics_[name];
    };
    abi_.report_state = [](const penstock_host* h, int32_t state, penstock_str text) noexcept {
      Self(h).State(state, text);
    };
    abi_.read_secret = [](const penstock_host* h, penstock_str reference, char* buf, size_t cap,
                          size_t* len, penstock_error* error) noexcept {
      return Self(h).ReadSecret(reference, buf, cap, len, error);
    };
    abi_.emit = [](const penstock_host*, const penstock_event_batch*, size_t*, int64_t) noexcept {
      ADD_FAILURE() << "a sink called emit";
      return penstock_status{PENSTOCK_STOPPED};
    };
    abi_.stopping = [](const penstock_host*) noexcept { return int32_t{0}; };
    abi_.complete = [](const penstock_host* h, const penstock_receipt* r, size_t n) noexcept {
      Self(h).Complete(r, n);
    };
    abi_.ready = [](const penstock_host* h) noexcept { Self(h).Ready(); };
    abi_.extension = [](const penstock_host*, const char*) noexcept -> const void* {
      return nullptr;
    };
  }
  FakeSinkHost(const FakeSinkHost&) = delete;
  FakeSinkHost& operator=(const FakeSinkHost&) = delete;

  const penstock_host* abi() const { return &abi_; }

  // By reference, as "env:NAME"; anything else cannot be read.
  void SetSecret(const std::string& reference, std::string value) {
    std::lock_guard lock(mutex_);
    secrets_[reference] = std::move(value);
  }

  // Each of these waits until the condition holds; false after the timeout.
  bool WaitReceipts(size_t total, Timeout timeout = kTimeout) {
    return Wait([&] { return n_receipts_ >= total; }, timeout);
  }
  bool WaitSettled(Timeout timeout = kTimeout) {
    return Wait([&] { return pending_.empty(); }, timeout);
  }
  bool WaitReady(size_t calls, Timeout timeout = kTimeout) {
    return Wait([&] { return ready_calls_ >= calls; }, timeout);
  }
  // The current state, not one of the past.
  bool WaitState(int32_t state, Timeout timeout = kTimeout) {
    return Wait([&] { return !states_.empty() && states_.back().first == state; }, timeout);
  }
  bool WaitStates(size_t changes, Timeout timeout = kTimeout) {
    return Wait([&] { return states_.size() >= changes; }, timeout);
  }
  // A line or a state's text that holds the words.
  bool WaitText(const std::string& words, Timeout timeout = kTimeout) {
    return Wait([&] { return HasTextLocked(words); }, timeout);
  }

  bool HasText(const std::string& words) const {
    std::lock_guard lock(mutex_);
    return HasTextLocked(words);
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
  std::vector<std::pair<int32_t, std::string>> states() const {
    std::lock_guard lock(mutex_);
    return states_;
  }
  std::vector<std::pair<int32_t, std::string>> logs() const {
    std::lock_guard lock(mutex_);
    return logs_;
  }
  uint64_t metric(const std::string& name) const {
    std::lock_guard lock(mutex_);
    const auto found = metrics_.find(name);
    return found == metrics_.end() ? 0 : __atomic_load_n(&found->second, __ATOMIC_RELAXED);
  }

  int32_t log_level = PENSTOCK_LOG_DEBUG;

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

  static FakeSinkHost& Self(const penstock_host* h) { return *static_cast<FakeSinkHost*>(h->ctx); }

  template <typename Condition>
  bool Wait(Condition condition, Timeout timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, condition);
  }

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
    logs_.emplace_back(level, std::move(line));
    changed_.notify_all();
  }

  void State(int32_t state, penstock_str text) {
    std::string line(View(text));
    if (verbose_) std::fprintf(stderr, "[%s state %d] %s\n", name_.c_str(), state, line.c_str());
    std::lock_guard lock(mutex_);
    if (destroyed_) ADD_FAILURE() << "report_state after destroy: " << line;
    states_.emplace_back(state, std::move(line));
    changed_.notify_all();
  }

  penstock_status ReadSecret(penstock_str reference, char* buf, size_t cap, size_t* len,
                             penstock_error* error) {
    std::lock_guard lock(mutex_);
    const auto found = secrets_.find(std::string(View(reference)));
    if (found == secrets_.end() || found->second.size() > cap) {
      std::snprintf(error->text, sizeof error->text, "secret %.*s cannot be read",
                    static_cast<int>(reference.len), reference.ptr);
      return PENSTOCK_E_FAILED;
    }
    std::memcpy(buf, found->second.data(), found->second.size());
    *len = found->second.size();
    return PENSTOCK_OK;
  }

  void Complete(const penstock_receipt* receipts, size_t n) {
    std::vector<std::unique_ptr<Stored>> freed;
    std::lock_guard lock(mutex_);
    if (destroyed_) ADD_FAILURE() << "complete after destroy";
    ++complete_calls_;
    for (size_t i = 0; i < n; ++i) {
      const penstock_receipt& r = receipts[i];
      const auto found = pending_.find(r.token);
      if (found == pending_.end()) {
        ADD_FAILURE() << "receipt for token " << r.token << ", which is not in flight";
        continue;
      }
      if (r.outcome < PENSTOCK_DELIVERED || r.outcome > PENSTOCK_REJECTED)
        ADD_FAILURE() << "outcome " << r.outcome << " is none";
      if (r.outcome != PENSTOCK_DELIVERED && r.reason.len == 0)
        ADD_FAILURE() << "outcome " << r.outcome << " without a reason";
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
                             std::vector<penstock_message>* out) {
    std::vector<uint64_t> tokens;
    std::lock_guard lock(mutex_);
    for (FakeMessage& m : messages) {
      const uint64_t token = next_token_++;
      auto stored = std::make_unique<Stored>(std::move(m));
      out->push_back(stored->Message(token));
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
        ADD_FAILURE() << "token " << tokens[i] << " was not accepted, and got a receipt";
        continue;
      }
      back.push_back(std::move(found->second->source));
      pending_.erase(found);
    }
    return back;
  }

  const std::string name_;
  bool verbose_ = false;
  penstock_host abi_{};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool destroyed_ = false;
  uint64_t next_token_ = 1;
  size_t n_receipts_ = 0, ready_calls_ = 0, complete_calls_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Stored>> pending_;
  std::map<uint64_t, FakeReceipt> receipts_;
  std::vector<std::pair<int32_t, std::string>> states_, logs_;
  std::map<std::string, uint64_t> metrics_;
  std::map<std::string, std::string> secrets_;
};

// One instance. Created at once, destroyed with the object: stop, every receipt, destroy.
class FakeSink {
 public:
  FakeSink(FakeSinkHost& host, const penstock_plugin& plugin, const Values& values)
      : host_(host), plugin_(plugin) {
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
    std::vector<penstock_message> abi;
    std::vector<uint64_t> tokens = host_.Take(std::move(messages), &abi);
    penstock_message_batch batch{};
    batch.struct_size = sizeof batch;
    batch.stride = sizeof(penstock_message);
    batch.messages = abi.data();
    batch.count = abi.size();
    batch.lane = lane;
    batch.flags = flags;
    size_t accepted = 0;
    const penstock_status status = plugin_.submit(instance_, &batch, &accepted);
    EXPECT_EQ(status, accepted == abi.size() ? PENSTOCK_OK : PENSTOCK_AGAIN);
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
      if (!messages.empty() && !host_.WaitReady(ready + 1)) {
        ADD_FAILURE() << "submit answered AGAIN and ready() never came";
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
    EXPECT_TRUE(host_.WaitSettled()) << host_.pending() << " messages without a receipt after stop";
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

}  // namespace penstock::fakes
