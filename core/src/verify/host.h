// The host that a plugin under trial sees. Private to this folder.
#pragma once

#include <atomic>
#include <cstdint>

#include "verify/trial.h"

namespace penstock::verify {

// Lives as long as the process, since a plugin may call it when it must not any more.
class Host {
 public:
  explicit Host(Trial* trial);
  virtual ~Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const penstock_host* abi() const { return &table_; }
  void SetStopping() { stopping_ = true; }
  // destroy() has returned: every call is a fault now.
  void SetGone() { gone_ = true; }

 protected:
  static Host* Of(const penstock_host* host) { return static_cast<Host*>(host->ctx); }
  // Begins every service; false: there must be none any more.
  bool Enter(const char* service);
  Trial& trial() { return *trial_; }
  penstock_host& table() { return table_; }
  // Whether the text can be read; says so if not.
  bool Sound(penstock_str text, const char* what);

 private:
  static void Log(const penstock_host*, int32_t level, penstock_str text, const penstock_kv* fields,
                  size_t n) noexcept;
  static uint64_t* Metric(const penstock_host*, int32_t kind, const char* name,
                          const char* help) noexcept;
  static void ReportState(const penstock_host*, int32_t state, penstock_str text) noexcept;
  static penstock_status ReadSecret(const penstock_host*, penstock_str reference, char* buf,
                                    size_t cap, size_t* len, penstock_error*) noexcept;

  Trial* const trial_;
  penstock_host table_{};
  const int32_t log_level_ = PENSTOCK_LOG_DEBUG;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> gone_{false};
};

// One instance, and the calls of its life. A create or start that fails breaks the trial.
class Instance {
 public:
  Instance(const Subject& subject, Host* host) : subject_(subject), host_(host) {}
  void Create(const config::Options& options);
  void Start();
  void Stop();
  void Destroy();
  penstock_instance* get() const { return instance_; }
  // The status; *text what it says.
  penstock_status Run(std::string* text);

 private:
  const Subject& subject_;
  Host* host_;
  penstock_instance* instance_ = nullptr;
};

// The plugin's sentence, judged by the check error-text.
class ErrorBox {
 public:
  ErrorBox();
  penstock_error* abi() { return &parts_.error; }
  std::string Text(Trial* trial) const;

 private:
  struct Parts {
    penstock_error error;
    unsigned char behind[64];
  } parts_;
};

// Calls create, and destroy if that worked, where either may be refused.
penstock_status CreateAndDestroy(const Subject& subject, const config::Options& options);

// After destroy: gives late calls of the host the time to come.
void AwaitLateCalls();

}  // namespace penstock::verify
