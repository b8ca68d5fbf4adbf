// penstock/plugin.hpp - write a Penstock plugin in C++17: a class and one line of registration.
//
//   class Ticker : public penstock::Source {
//    public:
//     static constexpr penstock::Option kOptions[] = {
//         penstock::Option::Duration("interval").Default("1s")};
//     Ticker(const penstock::Host& host, const penstock::Config& config)
//         : Source(host), interval_(config.Duration("interval")) {}
//     void Run() override {
//       while (SleepFor(interval_)) {
//         penstock::Event tick;
//         tick.SetPayload("tick");
//         if (!Emit(tick)) return;
//       }
//     }
//    private:
//     std::chrono::nanoseconds interval_;
//   };
//   PENSTOCK_SOURCE_PLUGIN(Ticker, "ticker", "1.0.0", "Emits a tick at a fixed interval.")
//
// A constructor, Start or Run that throws std::exception fails that call with the exception's text;
// nothing thrown ever reaches the host. Link with penstock_add_plugin() (CMake), which exports
// exactly the entry. Threads and life cycle are those of plugin.h. A class may say more of itself,
// as static constexpr members: uint32_t kCaps (PENSTOCK_CAP_*), and const char kVendor[],
// kLicense[], kDocUrl[].
#ifndef PENSTOCK_PLUGIN_HPP
#define PENSTOCK_PLUGIN_HPP

#include <penstock/plugin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock {

inline std::string_view View(penstock_str s) {
  return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len);
}
inline penstock_str Str(std::string_view s) { return {s.data(), s.size()}; }

// One entry of a plugin's option table. Build with the named functions and the chained setters, all
// constexpr.
class Option : public penstock_option {
 public:
  static constexpr Option String(const char* name) { return {name, PENSTOCK_OPT_STRING}; }
  static constexpr Option Int(const char* name) { return {name, PENSTOCK_OPT_INT}; }
  static constexpr Option Float(const char* name) { return {name, PENSTOCK_OPT_FLOAT}; }
  static constexpr Option Bool(const char* name) { return {name, PENSTOCK_OPT_BOOL}; }
  static constexpr Option Duration(const char* name) { return {name, PENSTOCK_OPT_DURATION}; }
  static constexpr Option Size(const char* name) { return {name, PENSTOCK_OPT_SIZE}; }
  static constexpr Option List(const char* name) { return {name, PENSTOCK_OPT_LIST}; }
  static constexpr Option Map(const char* name) { return {name, PENSTOCK_OPT_MAP}; }
  static constexpr Option Template(const char* name) { return {name, PENSTOCK_OPT_TEMPLATE}; }
  static constexpr Option Secret(const char* name) { return {name, PENSTOCK_OPT_SECRET}; }
  static constexpr Option File(const char* name) { return {name, PENSTOCK_OPT_FILE}; }

  constexpr Option Required() const {
    Option o = *this;
    o.flags |= PENSTOCK_OPT_REQUIRED;
    return o;
  }
  constexpr Option Default(const char* text) const {
    Option o = *this;
    o.default_value = text;
    return o;
  }
  constexpr Option Choices(const char* list) const {
    Option o = *this;
    o.choices = list;
    return o;
  }
  constexpr Option Range(int64_t low, int64_t high) const {
    Option o = *this;
    o.min = low;
    o.max = high;
    return o;
  }
  constexpr Option Help(const char* sentence) const {
    Option o = *this;
    o.help = sentence;
    return o;
  }

 private:
  constexpr Option(const char* option, int32_t kind)
      : penstock_option{option, kind, 0, nullptr, nullptr, 0, 0, ""} {}
};
static_assert(sizeof(Option) == sizeof(penstock_option));

// Reads an instance's checked configuration. Asking for a name that is not in the table throws.
class Config {
 public:
  explicit Config(const penstock_config* c) : c_(c) {}
  bool IsSet(const char* name) const { return Get(name).is_set != 0; }
  std::string Str(const char* name) const { return std::string(View(Get(name).str)); }
  int64_t Int(const char* name) const { return Get(name).i64; }
  size_t Size(const char* name) const { return static_cast<size_t>(Get(name).i64); }
  bool Bool(const char* name) const { return Get(name).i64 != 0; }
  double Float(const char* name) const { return Get(name).f64; }
  std::chrono::nanoseconds Duration(const char* name) const {
    return std::chrono::nanoseconds(Get(name).i64);
  }
  std::vector<std::string> List(const char* name) const {
    std::vector<std::string> out;
    const penstock_value& v = Get(name);
    for (size_t i = 0; i < v.n; ++i) out.emplace_back(View(v.items[i]));
    return out;
  }
  std::vector<std::pair<std::string, std::string>> Map(const char* name) const {
    std::vector<std::pair<std::string, std::string>> out;
    const penstock_value& v = Get(name);
    for (size_t i = 0; i < v.n; ++i)
      out.emplace_back(View(v.entries[i].key), View(v.entries[i].value));
    return out;
  }

 private:
  const penstock_value& Get(const char* name) const {
    const penstock_value* v = c_->get(c_, name);
    if (v == nullptr)
      throw std::logic_error(std::string("plugin asks for an option that it does not declare: ") +
                             name);
    return *v;
  }
  const penstock_config* c_;
};

// Collects what a plugin's static Check() finds.
class Report {
 public:
  explicit Report(const penstock_report* r) : r_(r) {}
  void Error(const char* option, std::string_view text) const {
    r_->add(r_, PENSTOCK_ERROR, option, penstock::Str(text));
  }
  void Warning(const char* option, std::string_view text) const {
    r_->add(r_, PENSTOCK_WARNING, option, penstock::Str(text));
  }
  void Notice(const char* option, std::string_view text) const {
    r_->add(r_, PENSTOCK_NOTICE, option, penstock::Str(text));
  }
  // Of a source without acknowledgement: what it may hold before Emit.
  void Holds(uint64_t bytes) const {
    if (r_->holds != nullptr) r_->holds(r_, bytes);
  }

 private:
  const penstock_report* r_;
};

// A 64-bit metric cell of the host; cheap to copy, safe from any thread.
class Metric {
 public:
  explicit Metric(uint64_t* cell = nullptr) : cell_(cell) {}
  void Add(uint64_t n = 1) const { penstock_count(cell_, n); }
  void Set(uint64_t n) const {
    if (cell_ != nullptr) __atomic_store_n(cell_, n, __ATOMIC_RELAXED);
  }

 private:
  uint64_t* cell_;
};

// The host's services. Copyable; valid until the instance is destroyed.
class Host {
 public:
  explicit Host(const penstock_host* h) : h_(h) {}
  const penstock_host* raw() const { return h_; }
  std::string_view instance_name() const { return h_->instance_name; }
  uint64_t read_ahead_bytes() const { return h_->read_ahead_bytes; }

  bool Logs(int32_t level) const {
    return level >= __atomic_load_n(h_->log_level, __ATOMIC_RELAXED);
  }
  void Log(int32_t level, std::string_view text,
           std::initializer_list<std::pair<std::string_view, std::string_view>> fields = {}) const {
    if (!Logs(level)) return;
    std::vector<penstock_kv> kv;
    for (const auto& [key, value] : fields)
      kv.push_back({penstock::Str(key), penstock::Str(value)});
    h_->log(h_, level, penstock::Str(text), kv.data(), kv.size());
  }
  void Debug(std::string_view text) const { Log(PENSTOCK_LOG_DEBUG, text); }
  void Info(std::string_view text) const { Log(PENSTOCK_LOG_INFO, text); }
  void Warn(std::string_view text) const { Log(PENSTOCK_LOG_WARN, text); }
  void Error(std::string_view text) const { Log(PENSTOCK_LOG_ERROR, text); }

  void Connecting(std::string_view why) const {
    h_->report_state(h_, PENSTOCK_STATE_CONNECTING, penstock::Str(why));
  }
  void Ready(std::string_view what = {}) const {
    h_->report_state(h_, PENSTOCK_STATE_READY, penstock::Str(what));
  }
  void Failed(std::string_view why) const {
    h_->report_state(h_, PENSTOCK_STATE_FAILED, penstock::Str(why));
  }

  Metric Counter(const char* name, const char* help) const {
    return Metric(h_->metric(h_, PENSTOCK_METRIC_COUNTER, name, help));
  }
  Metric Gauge(const char* name, const char* help) const {
    return Metric(h_->metric(h_, PENSTOCK_METRIC_GAUGE, name, help));
  }
  // The secret behind a reference, read now; throws std::runtime_error with the host's text.
  std::string ReadSecret(std::string_view reference) const {
    std::string out(64 * 1024, '\0');
    size_t len = 0;
    penstock_error error{};
    error.struct_size = sizeof error;
    if (h_->read_secret(h_, penstock::Str(reference), out.data(), out.size(), &len, &error) !=
        PENSTOCK_OK)
      throw std::runtime_error(error.text);
    out.resize(len);
    return out;
  }

 private:
  const penstock_host* h_;
};

// A penstock_event with setters. With no owner set the host copies what it points to during Emit.
struct Event : penstock_event {
  Event() : penstock_event{} {}
  void SetPayload(std::string_view bytes) { payload = penstock::Str(bytes); }
  void SetSubject(std::string_view text) { subject = penstock::Str(text); }
  void SetId(std::string_view text) { id = penstock::Str(text); }
  void SetContentType(std::string_view text) { content_type = penstock::Str(text); }
};
static_assert(sizeof(Event) == sizeof(penstock_event));

// Base of a source. Derive, implement Run(), and leave it soon after Stop().
class Source {
 public:
  explicit Source(const Host& host) : host_(host) {}
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  virtual void Start() {}
  virtual void Run() = 0;
  // Whoever overrides it calls it first.
  virtual void Stop() {
    {
      std::lock_guard lock(stop_mutex_);
      stopping_ = true;
    }
    stop_cv_.notify_all();
  }
  virtual void OnAck(const uint64_t* /*tokens*/, size_t /*n*/) {}

 protected:
  const Host& host() const { return host_; }
  bool Stopping() const {
    std::lock_guard lock(stop_mutex_);
    return stopping_;
  }
  // Sleeps; false at once when the source is to stop.
  bool SleepFor(std::chrono::nanoseconds time) {
    std::unique_lock lock(stop_mutex_);
    return !stop_cv_.wait_for(lock, time, [this] { return stopping_; });
  }
  bool SleepUntil(std::chrono::steady_clock::time_point when) {
    std::unique_lock lock(stop_mutex_);
    return !stop_cv_.wait_until(lock, when, [this] { return stopping_; });
  }
  // Hands events to the queue, waiting for room; false: the host takes no more, return from Run().
  bool Emit(const penstock_event* events, size_t n) {
    while (n > 0) {
      penstock_event_batch batch{sizeof batch, sizeof(penstock_event), events, n};
      size_t accepted = 0;
      const penstock_status status = host_.raw()->emit(host_.raw(), &batch, &accepted, -1);
      if (status < 0) throw std::logic_error("the host refuses a batch of events as malformed");
      events += accepted;
      n -= accepted;
      if (status == PENSTOCK_STOPPED && n > 0) return false;
    }
    return true;
  }
  bool Emit(const Event& event) { return Emit(&event, 1); }

 private:
  Host host_;
  mutable std::mutex stop_mutex_;
  std::condition_variable stop_cv_;
  bool stopping_ = false;
};

// Base of a sink. Derive and implement Submit().
class Sink {
 public:
  explicit Sink(const Host& host) : host_(host) {}
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  virtual void Start() {}
  // Takes the first n messages and returns n; fewer than batch.count means AGAIN, and
  // host().raw()->ready() follows.
  virtual size_t Submit(const penstock_message_batch& batch) = 0;
  virtual void Cancel(const uint64_t* /*tokens*/, size_t /*n*/) {}
  virtual void Flush() {}
  virtual void Stop() {}

 protected:
  const Host& host() const { return host_; }
  void Complete(const penstock_receipt* receipts, size_t n) {
    if (n > 0) host_.raw()->complete(host_.raw(), receipts, n);
  }
  void Complete(uint64_t token, int32_t outcome, std::string_view reason = {}, int32_t code = 0,
                uint32_t flags = 0) {
    const penstock_receipt receipt{token, outcome, flags, code, 0, penstock::Str(reason)};
    Complete(&receipt, 1);
  }
  void ReadyForMore() { host_.raw()->ready(host_.raw()); }

 private:
  Host host_;
};

// ---- registration

namespace internal {

inline void SetError(penstock_error* error, const char* text) noexcept {
  if (error != nullptr) std::snprintf(error->text, sizeof error->text, "%s", text);
}

// The exception barrier: runs body, turns what it throws into a status and a text.
template <typename Body>
penstock_status Guard(penstock_error* error, Body&& body) noexcept {
  try {
    body();
    return PENSTOCK_OK;
  } catch (const std::exception& e) {
    SetError(error, e.what());
  } catch (...) {
    SetError(error, "the plugin threw something that is not a std::exception");
  }
  return PENSTOCK_E_FAILED;
}

template <typename T, typename = void>
struct HasCheck : std::false_type {};
template <typename T>
struct HasCheck<T, std::void_t<decltype(T::Check(std::declval<const Config&>(),
                                                 std::declval<const Report&>()))>>
    : std::true_type {};

template <typename T, typename = void>
struct Caps {
  static constexpr uint32_t value = 0;
};
template <typename T>
struct Caps<T, std::void_t<decltype(T::kCaps)>> {
  static constexpr uint32_t value = T::kCaps;
};

// Of a plugin class's own: static constexpr const char kVendor[], kLicense[], kDocUrl[].
template <typename T, typename = void>
struct Vendor {
  static constexpr const char* value = "";
};
template <typename T>
struct Vendor<T, std::void_t<decltype(T::kVendor)>> {
  static constexpr const char* value = T::kVendor;
};
template <typename T, typename = void>
struct License {
  static constexpr const char* value = "";
};
template <typename T>
struct License<T, std::void_t<decltype(T::kLicense)>> {
  static constexpr const char* value = T::kLicense;
};
template <typename T, typename = void>
struct DocUrl {
  static constexpr const char* value = "";
};
template <typename T>
struct DocUrl<T, std::void_t<decltype(T::kDocUrl)>> {
  static constexpr const char* value = T::kDocUrl;
};

// An option table may be empty: then the class has no kOptions.
template <typename T, typename = void>
struct Options {
  static constexpr const penstock_option* data = nullptr;
  static constexpr size_t size = 0;
};
template <typename T>
struct Options<T, std::void_t<decltype(T::kOptions)>> {
  static constexpr const penstock_option* data = T::kOptions;
  static constexpr size_t size = sizeof(T::kOptions) / sizeof(Option);
};

// What the entry's function pointers point to, for a plugin class T with base Base (Source or
// Sink).
template <typename T, typename Base>
struct Glue {
  static Base* Of(penstock_instance* i) noexcept { return reinterpret_cast<Base*>(i); }

  static void Check(const penstock_config* config, const penstock_report* report) noexcept {
    if constexpr (HasCheck<T>::value) {
      penstock_error error{};
      if (Guard(&error, [&] { T::Check(Config(config), Report(report)); }) != PENSTOCK_OK)
        report->add(report, PENSTOCK_ERROR, "", Str(error.text));
    }
  }
  static penstock_status Create(const penstock_host* host, const penstock_config* config,
                                penstock_instance** out, penstock_error* error) noexcept {
    return Guard(error, [&] {
      Base* instance = new T(Host(host), Config(config));
      *out = reinterpret_cast<penstock_instance*>(instance);
    });
  }
  static penstock_status Start(penstock_instance* i, penstock_error* error) noexcept {
    return Guard(error, [&] { Of(i)->Start(); });
  }
  static void Stop(penstock_instance* i) noexcept { Of(i)->Stop(); }
  static void Destroy(penstock_instance* i) noexcept { delete Of(i); }
  static penstock_status Run(penstock_instance* i, penstock_error* error) noexcept {
    return Guard(error, [&] { Of(i)->Run(); });
  }
  static void OnAck(penstock_instance* i, const uint64_t* tokens, size_t n) noexcept {
    Of(i)->OnAck(tokens, n);
  }
  static penstock_status Submit(penstock_instance* i, const penstock_message_batch* batch,
                                size_t* accepted) noexcept {
    *accepted = Of(i)->Submit(*batch);
    return *accepted == batch->count ? PENSTOCK_OK : PENSTOCK_AGAIN;
  }
  static void Cancel(penstock_instance* i, const uint64_t* tokens, size_t n) noexcept {
    Of(i)->Cancel(tokens, n);
  }
  static void Flush(penstock_instance* i) noexcept { Of(i)->Flush(); }
};

template <typename T>
constexpr penstock_plugin Describe(uint32_t kind, const char* id, const char* version,
                                   const char* summary) {
  penstock_plugin p{};
  p.magic = PENSTOCK_MAGIC;
  p.abi_major = PENSTOCK_ABI_MAJOR;
  p.abi_minor = PENSTOCK_ABI_MINOR;
  p.struct_size = sizeof(penstock_plugin);
  p.kind = kind;
  p.caps = Caps<T>::value;
  p.option_stride = sizeof(penstock_option);
  p.receipt_stride = sizeof(penstock_receipt);
  p.id = id;
  p.version = version;
  p.summary = summary;
  p.vendor = Vendor<T>::value;
  p.license = License<T>::value;
  p.doc_url = DocUrl<T>::value;
  p.options = Options<T>::data;
  p.n_options = Options<T>::size;
  return p;
}

template <typename T>
constexpr penstock_plugin DescribeSource(const char* id, const char* version, const char* summary) {
  penstock_plugin p = Describe<T>(PENSTOCK_SOURCE, id, version, summary);
  using G = Glue<T, Source>;
  p.check = G::Check;
  p.create = G::Create;
  p.start = G::Start;
  p.stop = G::Stop;
  p.destroy = G::Destroy;
  p.run = G::Run;
  p.on_ack = G::OnAck;
  return p;
}

template <typename T>
constexpr penstock_plugin DescribeSink(const char* id, const char* version, const char* summary) {
  penstock_plugin p = Describe<T>(PENSTOCK_SINK, id, version, summary);
  using G = Glue<T, Sink>;
  p.check = G::Check;
  p.create = G::Create;
  p.start = G::Start;
  p.stop = G::Stop;
  p.destroy = G::Destroy;
  p.submit = G::Submit;
  p.cancel = G::Cancel;
  p.flush = G::Flush;
  return p;
}

}  // namespace internal
}  // namespace penstock

#define PENSTOCK_SOURCE_PLUGIN(CLASS, ID, VERSION, SUMMARY)    \
  PENSTOCK_DEFINE_NOTE(PENSTOCK_SOURCE, ID, VERSION)           \
  extern "C" constexpr penstock_plugin penstock_plugin_entry = \
      ::penstock::internal::DescribeSource<CLASS>(ID, VERSION, SUMMARY);

#define PENSTOCK_SINK_PLUGIN(CLASS, ID, VERSION, SUMMARY)      \
  PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, ID, VERSION)             \
  extern "C" constexpr penstock_plugin penstock_plugin_entry = \
      ::penstock::internal::DescribeSink<CLASS>(ID, VERSION, SUMMARY);

#endif  // PENSTOCK_PLUGIN_HPP
