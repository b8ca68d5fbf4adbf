#include "event/encode.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>

#include "event/base64.h"
#include "event/json.h"
#include "event/time.h"

namespace penstock::event {
namespace {

constexpr size_t kHostIdSize = 32;
constexpr std::string_view kOctetStream = "application/octet-stream";
constexpr std::string_view kEnvelopeStart = R"({"specversion":"1.0","id":")";
// More than all keys and punctuation of an envelope that are in no cached piece.
constexpr size_t kEnvelopeKeys = 160;

struct NamedFormat {
  std::string_view name;
  Format format;
};
constexpr NamedFormat kFormats[] = {
    {"cloudevents", Format::kCloudEvents},
    {"cloudevents-binary", Format::kCloudEventsBinary},
    {"argo", Format::kArgo},
    {"raw", Format::kRaw},
};

std::string_view View(const penstock_str& s) { return {s.ptr, s.len}; }
penstock_str Str(std::string_view s) { return {s.data(), s.size()}; }

char* Put(std::string_view text, char* out) {
  if (!text.empty()) std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

// `,"name":"value"`
char* PutMember(std::string_view name, std::string_view value, JsonEscapes escapes, char* out) {
  out = Put(",\"", out);
  out = Put(name, out);
  out = Put("\":\"", out);
  out = WriteJsonString(value, escapes, out);
  return Put("\"", out);
}

std::string Member(std::string_view name, std::string_view value, JsonEscapes escapes) {
  std::string out(MaxJsonStringSize(value.size()) + name.size() + 6, '\0');
  out.resize(static_cast<size_t>(PutMember(name, value, escapes, out.data()) - out.data()));
  return out;
}

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b;
  });
}

Result<JsonScan> ScanDeclaredJson(const Event& event) {
  const JsonScan scan = ScanJson(event.payload);
  if (scan.ok()) return scan;
  return Fail(Code::kReject,
              "the payload is declared " + std::string(event.content_type) +
                  " but is not JSON: " + JsonFaultText(scan, event.payload) +
                  "; declare its true content type, or use a format that keeps payloads as they "
                  "are (raw, cloudevents-binary)");
}

Result<void> CheckId(const Event& event) {
  if (event.id.size() <= PENSTOCK_EVENT_ID_MAX) return {};
  return Fail(Code::kReject, "the source gave the event an id of " +
                                 std::to_string(event.id.size()) + " bytes, more than " +
                                 std::to_string(PENSTOCK_EVENT_ID_MAX) +
                                 "; its plugin must give shorter ones, or none");
}

Result<void> CheckAttributes(const Event& event) {
  if (event.attributes.size() > kMaxAttributes) {
    return Fail(Code::kReject, "the event has " + std::to_string(event.attributes.size()) +
                                   " attributes, more than " + std::to_string(kMaxAttributes));
  }
  for (const penstock_kv& kv : event.attributes) {
    if (IsExtensionName(View(kv.key))) continue;
    return Fail(Code::kReject, "the event's attribute \"" + std::string(View(kv.key)) +
                                   "\" cannot be a CloudEvents extension: names are a-z and 0-9 "
                                   "and none of CloudEvents' own");
  }
  return {};
}

bool HasAttribute(std::span<const penstock_kv> attributes, std::string_view name) {
  return std::any_of(attributes.begin(), attributes.end(),
                     [name](const penstock_kv& kv) { return View(kv.key) == name; });
}

// Calls visit with each attribute; of those with one name only with the last.
template <typename Visit>
void ForEachAttribute(const Event& event, Visit visit) {
  for (size_t i = 0; i < event.attributes.size(); ++i) {
    if (!HasAttribute(event.attributes.subspan(i + 1), View(event.attributes[i].key))) {
      visit(event.attributes[i]);
    }
  }
}

size_t MaxAttributesSize(const Event& event) {
  size_t size = 0;
  for (const penstock_kv& kv : event.attributes) {
    size += kv.key.len + MaxJsonStringSize(kv.value.len) + 6;
  }
  return size;
}

std::string ArgoMetadata(const SourceInfo& source) {
  std::string out;
  for (const auto& [key, value] : source.metadata) {
    out += out.empty() ? R"(,"metadata":{)" : ",";
    AppendJsonString(key, JsonEscapes::kHtml, &out);
    out += ':';
    AppendJsonString(value, JsonEscapes::kHtml, &out);
  }
  if (!out.empty()) out += '}';
  return out;
}

}  // namespace

bool IsJsonType(std::string_view content_type) {
  if (content_type == "application/json") return true;
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.remove_suffix(1);
  const size_t slash = type.find('/');
  if (slash == type.npos || type.size() - slash < 5) return false;
  return EqualsIgnoringCase(type.substr(slash + 1), "json") ||
         EqualsIgnoringCase(type.substr(type.size() - 5), "+json");
}

Result<Format> ParseFormat(std::string_view name) {
  std::string all;
  for (const NamedFormat& known : kFormats) {
    if (known.name == name) return known.format;
    all += (all.empty() ? "" : ", ") + std::string(known.name);
  }
  return Fail(Code::kConfig,
              "unknown format \"" + std::string(name) + "\"; the formats are " + all);
}

std::string_view FormatName(Format format) {
  for (const NamedFormat& known : kFormats) {
    if (known.format == format) return known.name;
  }
  return {};
}

void WriteHostId(uint64_t queue_id, uint64_t offset, char* out) {
  static constexpr std::array<char[2], 256> kPairs = [] {
    std::array<char[2], 256> pairs{};
    for (size_t i = 0; i < pairs.size(); ++i) {
      pairs[i][0] = "0123456789abcdef"[i >> 4];
      pairs[i][1] = "0123456789abcdef"[i & 15];
    }
    return pairs;
  }();
  for (int i = 0; i < 8; ++i) {
    const int shift = 56 - 8 * i;
    std::memcpy(out + 2 * i, kPairs[queue_id >> shift & 255], 2);
    std::memcpy(out + 16 + 2 * i, kPairs[offset >> shift & 255], 2);
  }
}

std::string IdOf(const Event& event, const SourceInfo& source, uint64_t queue_id, uint64_t offset) {
  if (!event.id.empty()) return source.name + ':' + std::string(event.id);
  std::string id(32, '\0');
  WriteHostId(queue_id, offset, id.data());
  return id;
}

bool IsExtensionName(std::string_view text) {
  static constexpr std::string_view kTaken[] = {"specversion", "id",   "source",          "type",
                                                "subject",     "time", "datacontenttype", "data"};
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  }) && std::find(std::begin(kTaken), std::end(kTaken), text) == std::end(kTaken);
}

// What is the same for all events, made once. Messages point into it.
struct Encoder::Fixed {
  Fixed(const SourceInfo* source_info, EncoderSpec encoder_spec);

  std::string_view IdOf(const Event& event, uint64_t queue_id, uint64_t offset, Arena& arena) const;
  void SetTemplates(const TemplateValues& values, Arena& arena, penstock_message* message) const;
  void SetHeaders(const TemplateValues& values, Arena& arena, penstock_message* message) const;
  char* PutIdentity(const Event& event, std::string_view id, char* out) const;
  size_t MaxEnvelopeSize(const Event& event, std::string_view id) const;
  char* PutExtensions(const Event& event, char* out) const;
  char* PutAttributes(const Event& event, char* out) const;
  Result<void> CloudEvent(const Event& event, std::string_view id, Arena& arena,
                          penstock_message* message) const;
  Result<void> BinaryCloudEvent(const Event& event, std::string_view id, Arena& arena,
                                penstock_message* message) const;
  Result<void> Argo(const Event& event, std::string_view id, Arena& arena,
                    penstock_message* message) const;

  const SourceInfo* source;
  EncoderSpec spec;
  JsonEscapes escapes;  // of an envelope
  // Of the templates and headers, for an event that brings nothing by itself.
  std::vector<std::string> texts;
  std::vector<penstock_str> templates;
  std::vector<penstock_kv> headers;
  unsigned template_needs = 0;
  unsigned header_needs = 0;
  std::string source_member;  // `","source":"..."`: the quote ends the id
  std::string identity;       // the same with type and subject
  std::vector<std::pair<std::string, std::string>> extensions;  // metadata that may be one
  std::string extension_members;                                // all of them, as `,"name":"value"`
  std::string argo_body_end;                                    // metadata and the closing brace
};

Encoder::Fixed::Fixed(const SourceInfo* source_info, EncoderSpec encoder_spec)
    : source(source_info),
      spec(std::move(encoder_spec)),
      // Argo hands the envelope that its SDK wrote to Go's encoding/json, which escapes once more.
      escapes(spec.format == Format::kArgo ? JsonEscapes::kPlainHtml : JsonEscapes::kPlain) {
  const Event plain;
  const TemplateValues values{source, &plain, spec.sink_name, {}};
  texts.reserve(spec.templates.size() + spec.headers.size());
  for (const Template& t : spec.templates) {
    Arena arena;
    templates.push_back(Str(texts.emplace_back(t.Render(values, arena))));
    template_needs |= t.needs();
  }
  for (const auto& [name, t] : spec.headers) {
    Arena arena;
    headers.push_back({Str(name), Str(texts.emplace_back(t.Render(values, arena)))});
    header_needs |= t.needs();
  }
  source_member = '"' + Member("source", source->event_source, escapes);
  identity = source_member + Member("type", source->event_type, escapes);
  if (!source->event_name.empty()) identity += Member("subject", source->event_name, escapes);
  for (const auto& [name, value] : source->metadata) {
    if (!IsExtensionName(name)) continue;
    extensions.emplace_back(name, value);
    extension_members += Member(name, value, escapes);
  }
  argo_body_end = ArgoMetadata(*source) + "}";
}

std::string_view Encoder::Fixed::IdOf(const Event& event, uint64_t queue_id, uint64_t offset,
                                      Arena& arena) const {
  if (event.id.empty()) {
    char* out = arena.Allocate(kHostIdSize);
    WriteHostId(queue_id, offset, out);
    return {out, kHostIdSize};
  }
  const size_t size = source->name.size() + 1 + event.id.size();
  char* out = arena.Allocate(size);
  Put(event.id, Put(":", Put(source->name, out)));
  return {out, size};
}

void Encoder::Fixed::SetTemplates(const TemplateValues& values, Arena& arena,
                                  penstock_message* message) const {
  const unsigned parts = PartsOf(*values.event);
  message->templates = templates.data();
  if ((template_needs & parts) == 0) return;
  penstock_str* out = arena.AllocateArray<penstock_str>(templates.size());
  for (size_t i = 0; i < templates.size(); ++i) {
    const Template& t = spec.templates[i];
    out[i] = (t.needs() & parts) == 0 ? templates[i] : Str(t.Render(values, arena));
  }
  message->templates = out;
}

void Encoder::Fixed::SetHeaders(const TemplateValues& values, Arena& arena,
                                penstock_message* message) const {
  const unsigned parts = PartsOf(*values.event);
  message->headers = headers.data();
  message->n_headers = static_cast<uint32_t>(headers.size());
  if ((header_needs & parts) == 0) return;
  penstock_kv* out = arena.AllocateArray<penstock_kv>(headers.size());
  for (size_t i = 0; i < headers.size(); ++i) {
    const Template& t = spec.headers[i].second;
    out[i] = headers[i];
    if ((t.needs() & parts) != 0) out[i].value = Str(t.Render(values, arena));
  }
  message->headers = out;
}

// From the envelope's start to the subject.
char* Encoder::Fixed::PutIdentity(const Event& event, std::string_view id, char* out) const {
  out = Put(kEnvelopeStart, out);
  out = WriteJsonString(id, escapes, out);
  if (event.subject.empty() && event.type.empty()) return Put(identity, out);
  out = Put(source_member, out);
  out = PutMember("type", TypeOf(event, *source), escapes, out);
  const std::string_view subject = SubjectOf(event, *source);
  return subject.empty() ? out : PutMember("subject", subject, escapes, out);
}

// Of the whole envelope but its data.
size_t Encoder::Fixed::MaxEnvelopeSize(const Event& event, std::string_view id) const {
  size_t size = kEnvelopeKeys + identity.size() + extension_members.size() +
                MaxJsonStringSize(id.size() + event.content_type.size());
  if (!event.subject.empty() || !event.type.empty()) {
    size += MaxJsonStringSize(TypeOf(event, *source).size() + SubjectOf(event, *source).size());
  }
  return size + MaxAttributesSize(event);
}

// Metadata, then attributes, which win.
char* Encoder::Fixed::PutExtensions(const Event& event, char* out) const {
  if (event.attributes.empty()) return Put(extension_members, out);
  for (const auto& [name, value] : extensions) {
    if (!HasAttribute(event.attributes, name)) out = PutMember(name, value, escapes, out);
  }
  return PutAttributes(event, out);
}

char* Encoder::Fixed::PutAttributes(const Event& event, char* out) const {
  ForEachAttribute(event, [&out, this](const penstock_kv& kv) {
    out = PutMember(View(kv.key), View(kv.value), escapes, out);
  });
  return out;
}

Result<void> Encoder::Fixed::CloudEvent(const Event& event, std::string_view id, Arena& arena,
                                        penstock_message* message) const {
  if (Result<void> checked = CheckAttributes(event); !checked) return checked;
  bool verbatim = false;
  if (!event.payload.empty() && IsJsonType(event.content_type)) {
    const Result<JsonScan> scan = ScanDeclaredJson(event);
    if (!scan) return tl::unexpected(scan.error());
    // What a strict parser refuses would spoil the whole envelope, so it goes as base64.
    verbatim = scan->is_interoperable;
  }
  const size_t data_size = verbatim ? event.payload.size() : Base64Size(event.payload.size());
  char* const begin = arena.Allocate(MaxEnvelopeSize(event, id) + data_size);
  char* out = PutIdentity(event, id, begin);
  out = Put(R"(,"time":")", out);
  out = WriteTime(event.time_ns, out);
  out = Put(R"(","datacontenttype":")", out);
  out =
      WriteJsonString(event.content_type.empty() ? kOctetStream : event.content_type, escapes, out);
  out = PutExtensions(event, Put("\"", out));
  if (verbatim) {
    out = Put(event.payload, Put(R"(,"data":)", out));
  } else if (!event.payload.empty()) {
    out = Put("\"", EncodeBase64(event.payload, Put(R"(,"data_base64":")", out)));
  }
  out = Put("}", out);
  const size_t size = static_cast<size_t>(out - begin);
  arena.Shrink(begin, size);
  message->payload = {begin, size};
  message->content_type = Str("application/cloudevents+json");
  return {};
}

Result<void> Encoder::Fixed::BinaryCloudEvent(const Event& event, std::string_view id, Arena& arena,
                                              penstock_message* message) const {
  if (Result<void> checked = CheckAttributes(event); !checked) return checked;
  char* const time = arena.Allocate(kMaxTimeSize);
  const size_t time_size = static_cast<size_t>(WriteTime(event.time_ns, time) - time);
  const size_t room = 6 + extensions.size() + event.attributes.size();
  penstock_kv* const begin = arena.AllocateArray<penstock_kv>(room);
  penstock_kv* out = begin;
  *out++ = {Str("specversion"), Str("1.0")};
  *out++ = {Str("id"), Str(id)};
  *out++ = {Str("source"), Str(source->event_source)};
  *out++ = {Str("type"), Str(TypeOf(event, *source))};
  const std::string_view subject = SubjectOf(event, *source);
  if (!subject.empty()) *out++ = {Str("subject"), Str(subject)};
  *out++ = {Str("time"), {time, time_size}};
  for (const auto& [name, value] : extensions) {
    if (!HasAttribute(event.attributes, name)) *out++ = {Str(name), Str(value)};
  }
  ForEachAttribute(event, [&out](const penstock_kv& kv) { *out++ = kv; });
  message->attributes = begin;
  message->n_attributes = static_cast<uint32_t>(out - begin);
  message->payload = Str(event.payload);
  message->content_type = Str(event.content_type.empty() ? kOctetStream : event.content_type);
  return {};
}

Result<void> Encoder::Fixed::Argo(const Event& event, std::string_view id, Arena& arena,
                                  penstock_message* message) const {
  if (Result<void> checked = CheckAttributes(event); !checked) return checked;
  constexpr std::string_view kBodyStart = R"({"body":)";
  const bool json = !event.payload.empty() && IsJsonType(event.content_type);
  JsonScan scan;
  if (json) {
    const Result<JsonScan> scanned = ScanDeclaredJson(event);
    if (!scanned) return tl::unexpected(scanned.error());
    scan = *scanned;
  }
  const size_t value_size = json                    ? scan.compact_size
                            : event.payload.empty() ? 4
                                                    : Base64Size(event.payload.size()) + 2;
  const size_t body_size = kBodyStart.size() + value_size + argo_body_end.size();
  const size_t encoded_size = Base64Size(body_size);
  char* const begin = arena.Allocate(MaxEnvelopeSize(event, id) + encoded_size);
  char* out = PutIdentity(event, id, begin);
  out = Put(R"(,"datacontenttype":"application/json","time":")", out);
  out = WriteTime(event.time_ns, out);
  out = Put(R"(","data_base64":")", out);

  // The body ends where its base64 will end and is encoded in place.
  char* const body = out + encoded_size - body_size;
  char* at = Put(kBodyStart, body);
  if (!json) {
    at = event.payload.empty() ? Put("null", at)
                               : Put("\"", EncodeBase64(event.payload, Put("\"", at)));
  } else if (scan.is_compact) {
    at = Put(event.payload, at);
  } else {
    at = CompactJson(event.payload, at);
  }
  at = Put(argo_body_end, at);
  assert(at == body + body_size);
  out = EncodeBase64({body, body_size}, out);
  out = PutAttributes(event, Put("\"", out));
  out = Put("}", out);
  const size_t size = static_cast<size_t>(out - begin);
  arena.Shrink(begin, size);
  message->payload = {begin, size};
  return {};
}

Encoder::Encoder(const SourceInfo* source, EncoderSpec spec)
    : fixed_(std::make_unique<Fixed>(source, std::move(spec))) {}
Encoder::Encoder(Encoder&&) noexcept = default;
Encoder& Encoder::operator=(Encoder&&) noexcept = default;
Encoder::~Encoder() = default;

Result<void> Encoder::Encode(const Event& event, uint64_t queue_id, uint64_t offset, Arena& arena,
                             penstock_message* message) const {
  if (auto fine = CheckId(event); !fine) return fine;
  const std::string_view id = fixed_->IdOf(event, queue_id, offset, arena);
  const TemplateValues values{fixed_->source, &event, fixed_->spec.sink_name, id};
  message->id = Str(id);
  message->content_type = {};
  message->attributes = nullptr;
  message->n_attributes = 0;
  fixed_->SetTemplates(values, arena, message);
  fixed_->SetHeaders(values, arena, message);
  switch (fixed_->spec.format) {
    case Format::kCloudEvents:
      return fixed_->CloudEvent(event, id, arena, message);
    case Format::kCloudEventsBinary:
      return fixed_->BinaryCloudEvent(event, id, arena, message);
    case Format::kArgo:
      return fixed_->Argo(event, id, arena, message);
    case Format::kRaw:
      message->payload = Str(event.payload);
      message->content_type = Str(event.content_type);
      return {};
  }
  return {};
}

}  // namespace penstock::event
