#include "stream.h"

#include <algorithm>
#include <memory>

#include "text.h"

namespace penstock::nats_jetstream {
namespace {

constexpr int64_t kApiTimeoutMs = 3000;

struct JsDeleter {
  void operator()(jsCtx* js) const { jsCtx_Destroy(js); }
  void operator()(jsStreamInfo* info) const { jsStreamInfo_Destroy(info); }
};
using Info = std::unique_ptr<jsStreamInfo, JsDeleter>;

std::string Reason(natsStatus status, jsErrCode code) {
  std::string out = LastText(status);
  if (code != 0) out += " (JetStream error " + std::to_string(static_cast<int>(code)) + ")";
  return out;
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::vector<std::string> Compare(const jsStreamConfig& found, const StreamSettings& wanted) {
  std::vector<std::string> different;
  const auto differ = [&](const char* option, const std::string& is, const std::string& asked) {
    if (is != asked)
      different.push_back(std::string(option) + " is " + is + ", configured is " + asked);
  };
  std::vector<std::string> subjects;
  for (int i = 0; i < found.SubjectsLen; ++i) subjects.emplace_back(found.Subjects[i]);
  std::vector<std::string> asked = wanted.subjects;
  std::sort(subjects.begin(), subjects.end());
  std::sort(asked.begin(), asked.end());
  differ("subjects", "[" + Join(subjects) + "]", "[" + Join(asked) + "]");
  differ("storage", found.Storage == js_MemoryStorage ? "memory" : "file",
         wanted.memory ? "memory" : "file");
  differ("replicas", std::to_string(found.Replicas), std::to_string(wanted.replicas));
  const auto bytes = [](int64_t n) { return n <= 0 ? "unlimited" : std::to_string(n) + " bytes"; };
  const auto count = [](int64_t n) { return n <= 0 ? "unlimited" : std::to_string(n); };
  differ("max_messages", count(found.MaxMsgs), count(wanted.max_messages));
  differ("max_bytes", bytes(found.MaxBytes), bytes(wanted.max_bytes));
  differ("discard", found.Discard == js_DiscardNew ? "new" : "old",
         wanted.discard_old ? "old" : "new");
  const auto seconds = [](int64_t ns) { return std::to_string(ns / 1000000000) + "s"; };
  const auto age = [&](int64_t ns) { return ns <= 0 ? "unlimited" : seconds(ns); };
  differ("max_age", age(found.MaxAge), age(wanted.max_age.count()));
  differ("duplicates", seconds(found.Duplicates), seconds(wanted.duplicates.count()));
  if (found.Sealed) different.emplace_back("it is sealed, so that it takes nothing");
  return different;
}

// What the check cannot know of a stream that somebody else has made.
std::vector<std::string> Deletes(const jsStreamConfig& found, const std::string& name) {
  if (found.Discard != js_DiscardOld || (found.MaxMsgs <= 0 && found.MaxBytes <= 0)) return {};
  std::string bound;
  if (found.MaxMsgs > 0) bound = std::to_string(found.MaxMsgs) + " messages";
  if (found.MaxBytes > 0)
    bound += (bound.empty() ? "" : " or ") + std::to_string(found.MaxBytes) + " bytes";
  return {"events can be lost: stream " + name + " has discard = old, so when it has " + bound +
          " the server deletes the oldest for each new one, also those that nobody has read yet; "
          "with discard = new, events would wait here"};
}

natsStatus Add(jsCtx* js, jsOptions* options, const StreamSettings& stream, jsErrCode* code) {
  std::vector<const char*> subjects;
  for (const std::string& subject : stream.subjects) subjects.push_back(subject.c_str());
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  config.Name = stream.name.c_str();
  config.Subjects = subjects.data();
  config.SubjectsLen = static_cast<int>(subjects.size());
  config.Storage = stream.memory ? js_MemoryStorage : js_FileStorage;
  config.Replicas = stream.replicas;
  config.MaxMsgs = stream.max_messages > 0 ? stream.max_messages : -1;
  config.MaxAge = stream.max_age.count();
  config.MaxBytes = stream.max_bytes > 0 ? stream.max_bytes : -1;
  config.Discard = stream.discard_old ? js_DiscardOld : js_DiscardNew;
  config.Duplicates = stream.duplicates.count();
  return js_AddStream(nullptr, js, &config, options, code);
}

StreamVerdict Missing(const StreamSettings& stream, natsStatus status, jsErrCode code) {
  StreamVerdict verdict;
  verdict.usable = true;
  verdict.text = "stream " + stream.name + " cannot be looked up: " + Reason(status, code) +
                 "; events are sent all the same and tried again until a stream takes them";
  if (status == NATS_NOT_FOUND) {
    verdict.text = "there is no stream " + stream.name +
                   "; events are tried again until one takes their subject: create it, or set "
                   "stream.create = true";
  }
  return verdict;
}

// A server alone keeps one copy, a cluster as many as it has servers.
std::string ReplicasHint(const StreamSettings& stream, jsErrCode code) {
  const std::string asked = "; stream.replicas is " + std::to_string(stream.replicas);
  if (code == JSStreamReplicasNotSupportedErr)
    return asked + " and this server is in no cluster: write stream = { replicas = 1 }";
  if (stream.replicas > 1 && (code == JSClusterNoPeersErr || code == JSInsufficientResourcesErr))
    return asked + ": a cluster needs as many servers, else write stream = { replicas = 1 }";
  return {};
}

StreamVerdict Create(jsCtx* js, jsOptions* options, const StreamSettings& stream) {
  StreamVerdict verdict;
  auto code = static_cast<jsErrCode>(0);
  const natsStatus status = Add(js, options, stream, &code);
  verdict.usable = verdict.created = status == NATS_OK;
  verdict.text = verdict.usable
                     ? "created stream " + stream.name
                     : "cannot create stream " + stream.name + ": " + Reason(status, code) +
                           ReplicasHint(stream, code) + "; it is tried again";
  return verdict;
}

}  // namespace

StreamVerdict EnsureStream(natsConnection* nc, const StreamSettings& stream) {
  StreamVerdict verdict;
  verdict.usable = true;
  if (stream.name.empty()) return verdict;
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = kApiTimeoutMs;
  jsCtx* raw = nullptr;
  natsStatus status = natsConnection_JetStream(&raw, nc, &options);
  const std::unique_ptr<jsCtx, JsDeleter> js(raw);
  auto code = static_cast<jsErrCode>(0);
  jsStreamInfo* raw_info = nullptr;
  if (status == NATS_OK)
    status = js_GetStreamInfo(&raw_info, js.get(), stream.name.c_str(), &options, &code);
  const Info info(raw_info);
  if (status != NATS_OK && !stream.create) return Missing(stream, status, code);
  if (status == NATS_NOT_FOUND) return Create(js.get(), &options, stream);
  if (status != NATS_OK) {
    verdict.usable = false;
    verdict.text = "cannot look up stream " + stream.name + ": " + Reason(status, code) +
                   (status == NATS_NO_RESPONDERS || status == NATS_TIMEOUT
                        ? "; is JetStream enabled for this account?"
                        : "");
    return verdict;
  }
  if (!stream.create) {
    verdict.warnings = Deletes(*info->Config, stream.name);
    return verdict;
  }
  for (const std::string& difference : Compare(*info->Config, stream))
    verdict.warnings.push_back("stream " + stream.name +
                               " exists and is left as it is: " + difference);
  return verdict;
}

}  // namespace penstock::nats_jetstream
