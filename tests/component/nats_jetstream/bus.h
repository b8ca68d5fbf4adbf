// A second client of the test's server: makes streams and reads back what is in them.
#pragma once

#include <gtest/gtest.h>
#include <nats/nats.h>

#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace penstock::fakes {

struct Stored {
  uint64_t sequence = 0;
  std::string subject, payload;
  std::map<std::string, std::string> headers;
};

class Bus {
 public:
  // configure may add login and TLS to the options.
  explicit Bus(const std::string& url, const std::function<void(natsOptions*)>& configure = {}) {
    natsOptions* options = nullptr;
    Check(natsOptions_Create(&options));
    Check(natsOptions_SetURL(options, url.c_str()));
    natsOptions_SetReconnectWait(options, 50);
    natsOptions_SetMaxReconnect(options, -1);
    if (configure) configure(options);
    const natsStatus status = natsConnection_Connect(&nc_, options);
    natsOptions_Destroy(options);
    Check(status);
    Check(natsConnection_JetStream(&js_, nc_, nullptr));
  }
  ~Bus() {
    jsCtx_Destroy(js_);
    natsConnection_Destroy(nc_);
  }
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  void AddStream(const std::string& name, const std::string& subject,
                 const std::function<void(jsStreamConfig*)>& change = {}) {
    const char* subjects[] = {subject.c_str()};
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = name.c_str();
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    if (change) change(&config);
    Check(js_AddStream(nullptr, js_, &config, nullptr, nullptr));
  }
  void UpdateStream(const std::string& name, const std::function<void(jsStreamConfig*)>& change) {
    jsStreamInfo* info = nullptr;
    Check(js_GetStreamInfo(&info, js_, name.c_str(), nullptr, nullptr));
    change(info->Config);
    const natsStatus status = js_UpdateStream(nullptr, js_, info->Config, nullptr, nullptr);
    jsStreamInfo_Destroy(info);
    Check(status);
  }
  void DeleteStream(const std::string& name) {
    Check(js_DeleteStream(js_, name.c_str(), nullptr, nullptr));
  }
  void Purge(const std::string& name) {
    Check(js_PurgeStream(js_, name.c_str(), nullptr, nullptr));
  }
  // Calls see with the stream's information; false when there is none.
  bool Look(const std::string& name, const std::function<void(const jsStreamInfo&)>& see) {
    jsStreamInfo* info = nullptr;
    if (js_GetStreamInfo(&info, js_, name.c_str(), nullptr, nullptr) != NATS_OK) return false;
    see(*info);
    jsStreamInfo_Destroy(info);
    return true;
  }
  uint64_t Count(const std::string& name) {
    uint64_t n = 0;
    Look(name, [&](const jsStreamInfo& info) { n = info.State.Msgs; });
    return n;
  }
  std::vector<Stored> Read(const std::string& name) {
    std::vector<Stored> all;
    uint64_t first = 1, last = 0;
    Look(name, [&](const jsStreamInfo& info) {
      first = info.State.FirstSeq;
      last = info.State.LastSeq;
    });
    for (uint64_t sequence = first; sequence <= last; ++sequence) {
      natsMsg* msg = nullptr;
      if (js_GetMsg(&msg, js_, name.c_str(), sequence, nullptr, nullptr) != NATS_OK) continue;
      Stored stored;
      stored.sequence = sequence;
      stored.subject = natsMsg_GetSubject(msg);
      stored.payload.assign(natsMsg_GetData(msg), static_cast<size_t>(natsMsg_GetDataLength(msg)));
      const char** keys = nullptr;
      int n = 0;
      if (natsMsgHeader_Keys(msg, &keys, &n) == NATS_OK) {
        for (int i = 0; i < n; ++i) {
          const char* value = nullptr;
          natsMsgHeader_Get(msg, keys[i], &value);
          stored.headers[keys[i]] = value;
        }
        std::free(static_cast<void*>(keys));
      }
      natsMsg_Destroy(msg);
      all.push_back(std::move(stored));
    }
    return all;
  }
  std::vector<std::string> Payloads(const std::string& name) {
    std::vector<std::string> out;
    for (Stored& stored : Read(name)) out.push_back(std::move(stored.payload));
    return out;
  }
  // Publishes and waits for the acknowledgement.
  void Publish(const std::string& subject, const std::string& payload) {
    Check(js_Publish(nullptr, js_, subject.c_str(), payload.data(),
                     static_cast<int>(payload.size()), nullptr, nullptr));
  }

  natsConnection* nc() { return nc_; }

 private:
  static void Check(natsStatus status) {
    if (status == NATS_OK) return;
    const char* text = nats_GetLastError(nullptr);
    throw std::runtime_error(std::string(natsStatus_GetText(status)) + ": " +
                             (text == nullptr ? "" : text));
  }

  natsConnection* nc_ = nullptr;
  jsCtx* js_ = nullptr;
};

}  // namespace penstock::fakes
