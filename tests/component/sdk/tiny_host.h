// The least of a host that a plugin runs on: it logs nowhere, takes every event and every receipt.
#pragma once

#include <penstock/plugin.h>

#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace penstock::sdk_test {

class TinyHost {
 public:
  TinyHost() {
    abi_.struct_size = sizeof abi_;
    abi_.abi_major = PENSTOCK_ABI_MAJOR;
    abi_.abi_minor = PENSTOCK_ABI_MINOR;
    abi_.ctx = this;
    abi_.instance_name = "tiny";
    abi_.host_version = "test";
    abi_.log_level = &log_level_;
    abi_.log = [](const penstock_host*, int32_t, penstock_str, const penstock_kv*,
                  size_t) noexcept {};
    abi_.metric = [](const penstock_host* h, int32_t, const char* name, const char*) noexcept {
      return &Self(h).metrics[name];
    };
    abi_.report_state = [](const penstock_host*, int32_t, penstock_str) noexcept {};
    abi_.read_secret = [](const penstock_host*, penstock_str, char*, size_t, size_t*,
                          penstock_error*) noexcept { return penstock_status{PENSTOCK_E_FAILED}; };
    abi_.emit = [](const penstock_host* h, const penstock_event_batch* batch, size_t* accepted,
                   int64_t) noexcept { return Self(h).Emit(*batch, accepted); };
    abi_.stopping = [](const penstock_host*) noexcept { return int32_t{0}; };
    abi_.complete = [](const penstock_host* h, const penstock_receipt* r, size_t n) noexcept {
      Self(h).receipts.insert(Self(h).receipts.end(), r, r + n);
    };
    abi_.ready = [](const penstock_host*) noexcept {};
    abi_.extension = [](const penstock_host*, const char*) noexcept -> const void* {
      return nullptr;
    };
  }
  TinyHost(const TinyHost&) = delete;
  TinyHost& operator=(const TinyHost&) = delete;
  const penstock_host* abi() const { return &abi_; }

  std::vector<std::pair<std::string, std::string>> events;  // payload, content type
  std::vector<penstock_receipt> receipts;
  std::map<std::string, uint64_t> metrics;

 private:
  static TinyHost& Self(const penstock_host* h) { return *static_cast<TinyHost*>(h->ctx); }
  penstock_status Emit(const penstock_event_batch& batch, size_t* accepted) {
    const auto text = [](penstock_str s) { return std::string(s.ptr, s.len); };
    for (size_t i = 0; i < batch.count; ++i) {
      const penstock_event* event = penstock_event_at(&batch, i);
      events.emplace_back(text(event->payload), text(event->content_type));
      if (event->owner != nullptr) event->owner->release(event->owner, 1);
    }
    *accepted = batch.count;
    return PENSTOCK_OK;
  }

  penstock_host abi_{};
  int32_t log_level_ = PENSTOCK_LOG_ERROR;
};

// Options by name; texts and numbers.
class TinyConfig {
 public:
  TinyConfig() : abi_{sizeof abi_, sizeof(penstock_value), this, &TinyConfig::Get} {}
  TinyConfig(const TinyConfig&) = delete;
  TinyConfig& operator=(const TinyConfig&) = delete;
  void Set(const std::string& name, const char* text) {
    values_[name].str = {text, std::char_traits<char>::length(text)};
  }
  void Set(const std::string& name, int64_t number) { values_[name].i64 = number; }
  const penstock_config* abi() const { return &abi_; }

 private:
  static const penstock_value* Get(const penstock_config* c, const char* name) noexcept {
    const auto& values = static_cast<const TinyConfig*>(c->ctx)->values_;
    const auto it = values.find(name);
    return it == values.end() ? nullptr : &it->second;
  }
  penstock_config abi_;
  std::map<std::string, penstock_value> values_;
};

}  // namespace penstock::sdk_test
