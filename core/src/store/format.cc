#include "store/format.h"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>
#include <span>

namespace penstock::store {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the store's numbers are little-endian");

constexpr size_t kVersionAt = 4, kKindAt = 5, kSizeAt = 8, kCommitAt = 16, kChecksumAt = 24;

void AppendBigEndian(std::string* out, uint64_t n, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    out->push_back(static_cast<char>(n >> shift & 0xff));
}

template <typename T>
T Load(const char* at) {
  T out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

uint64_t Checksum(const char* value, size_t body_bytes) {
  const uint64_t head = XXH3_64bits(value, kChecksumAt);
  return XXH3_64bits_withSeed(value + kEnvelopeBytes, body_bytes, head);
}

// Numbers and counted strings, one behind the other.
class Writer {
 public:
  template <typename T>
  Writer& Number(T n) {
    out_.append(reinterpret_cast<const char*>(&n), sizeof n);
    return *this;
  }
  Writer& Text(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    out_.append(text);
    return *this;
  }
  // Seven bits a byte, the lowest first; the last byte's highest bit is 0.
  Writer& Varint(uint64_t n) {
    for (; n >= 0x80; n >>= 7) out_.push_back(static_cast<char>(n | 0x80));
    out_.push_back(static_cast<char>(n));
    return *this;
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

// Reads the same; past the end everything is zero and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <typename T>
  T Number() {
    const std::string_view bytes = Bytes(sizeof(T));
    return bytes.empty() ? T{} : Load<T>(bytes.data());
  }
  std::string_view Text() { return Bytes(Number<uint32_t>()); }
  uint64_t Varint() {
    uint64_t out = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = Number<uint8_t>();
      out |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return out;
    }
    ok_ = false;
    return 0;
  }
  std::string_view Bytes(size_t n) {
    ok_ = ok_ && n <= rest_.size();
    if (!ok_) return {};
    const std::string_view out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

tl::unexpected<Error> Malformed(const char* what) {
  return Fail(Code::kFatal, std::string("malformed ") + what);
}

std::string Key(Kind kind) { return std::string(1, static_cast<char>(kind)); }

}  // namespace

// ---- keys

std::string FormatKey() { return Key(Kind::kFormat); }

std::string KeyPrefix(Kind kind, uint32_t queue) {
  std::string key = Key(kind);
  AppendBigEndian(&key, queue, 4);
  return key;
}

std::string QueueKey(uint32_t queue) { return KeyPrefix(Kind::kQueue, queue); }

std::string CursorKey(uint32_t queue, std::string_view sink) {
  return KeyPrefix(Kind::kCursor, queue).append(sink);
}

std::string LetterCountsKey(uint32_t queue, std::string_view sink) {
  return KeyPrefix(Kind::kLetterCounts, queue).append(sink);
}

std::string ChunkKey(uint32_t queue, uint64_t first) {
  std::string key = KeyPrefix(Kind::kChunk, queue);
  AppendBigEndian(&key, first, 8);
  return key;
}

std::string LetterKey(uint32_t queue, uint64_t queue_id, uint64_t offset, std::string_view sink) {
  std::string key = KeyPrefix(Kind::kLetter, queue);
  AppendBigEndian(&key, queue_id, 8);
  AppendBigEndian(&key, offset, 8);
  return key.append(sink);
}

// ---- envelopes

Result<Envelope> Open(std::string_view bytes) {
  if (bytes.size() < kEnvelopeBytes || bytes.substr(0, kMagic.size()) != kMagic)
    return Fail(Code::kFatal, "no value of this store");
  Envelope out;
  out.version = Load<uint8_t>(bytes.data() + kVersionAt);
  if (out.version != kFormatVersion) {
    return Fail(Code::kFatal, "format version " + std::to_string(out.version) + ", expected " +
                                  std::to_string(kFormatVersion));
  }
  out.kind = static_cast<Kind>(bytes[kKindAt]);
  const size_t body_bytes = Load<uint32_t>(bytes.data() + kSizeAt);
  if (body_bytes > bytes.size() - kEnvelopeBytes)
    return Fail(Code::kFatal, "the value is cut short");
  if (Load<uint64_t>(bytes.data() + kChecksumAt) != Checksum(bytes.data(), body_bytes))
    return Fail(Code::kFatal, "the checksum is wrong");
  out.commit = Load<uint64_t>(bytes.data() + kCommitAt);
  out.body = bytes.substr(kEnvelopeBytes, body_bytes);
  return out;
}

void Seal(char* value, Kind kind, uint64_t commit, size_t body_bytes) {
  std::memset(value, 0, kEnvelopeBytes);
  std::memcpy(value, kMagic.data(), kMagic.size());
  value[kVersionAt] = static_cast<char>(kFormatVersion);
  value[kKindAt] = static_cast<char>(kind);
  const auto size = static_cast<uint32_t>(body_bytes);
  std::memcpy(value + kSizeAt, &size, sizeof size);
  std::memcpy(value + kCommitAt, &commit, sizeof commit);
  const uint64_t checksum = Checksum(value, body_bytes);
  std::memcpy(value + kChecksumAt, &checksum, sizeof checksum);
}

std::string Sealed(Kind kind, uint64_t commit, std::string_view body) {
  std::string value(kEnvelopeBytes, '\0');
  value.append(body);
  Seal(value.data(), kind, commit, body.size());
  return value;
}

// ---- small values

std::string Encode(const FormatRecord& r, uint64_t commit) {
  return Sealed(Kind::kFormat, commit,
                Writer().Number(r.store_id[0]).Number(r.store_id[1]).Number(r.created_ns).Take());
}

Result<FormatRecord> DecodeFormat(std::string_view body) {
  Reader in(body);
  FormatRecord r;
  r.store_id[0] = in.Number<uint64_t>();
  r.store_id[1] = in.Number<uint64_t>();
  r.created_ns = in.Number<int64_t>();
  if (!in.AtEnd()) return Malformed("format record");
  return r;
}

std::string Encode(const QueueRecord& r, uint64_t commit) {
  return Sealed(Kind::kQueue, commit,
                Writer()
                    .Number(r.queue)
                    .Number(r.id)
                    .Text(r.name)
                    .Number(static_cast<uint8_t>(r.disk))
                    .Number(r.begin)
                    .Number(r.end)
                    .Number(r.bytes_before)
                    .Number(r.dropped_newest)
                    .Take());
}

Result<QueueRecord> DecodeQueue(std::string_view body) {
  Reader in(body);
  QueueRecord r;
  r.queue = in.Number<uint32_t>();
  r.id = in.Number<uint64_t>();
  r.name = in.Text();
  r.disk = in.Number<uint8_t>() != 0;
  r.begin = in.Number<uint64_t>();
  r.end = in.Number<uint64_t>();
  r.bytes_before = in.Number<uint64_t>();
  r.dropped_newest = in.Number<uint64_t>();
  if (!in.AtEnd() || r.begin > r.end) return Malformed("queue record");
  return r;
}

uint64_t CursorRecord::Unsettled(uint64_t from, uint64_t to) const {
  from = std::max(from, committed);
  if (from >= to) return 0;
  uint64_t out = to - from;
  for (const event::OffsetRange& range : settled) {
    const uint64_t first = std::max(range.first, from), end = std::min(range.end, to);
    if (first < end) out -= end - first;
  }
  return out;
}

uint64_t Pending(const QueueRecord& queue, const CursorRecord& cursor) {
  return cursor.Unsettled(queue.begin, queue.end);
}

// The stretches as distances: from the end of what settled before to the first offset, and from
// there to the end. So they cannot overlap or stand in a wrong order. Nothing for none.
std::string Encode(const CursorRecord& r, uint64_t commit) {
  assert(r.settled.size() <= kMaxSettledRanges);
  Writer out;
  out.Number(r.queue).Text(r.sink).Number(r.start).Number(r.committed);
  out.Number(r.dropped_newest_before);
  for (const uint64_t counter : r.counters) out.Number(counter);
  if (!r.settled.empty()) out.Varint(r.settled.size());
  uint64_t before = r.committed;
  for (const event::OffsetRange& range : r.settled) {
    assert(range.first > before && range.end > range.first);
    out.Varint(range.first - before).Varint(range.end - range.first);
    before = range.end;
  }
  return Sealed(Kind::kCursor, commit, out.Take());
}

namespace {

// false: they are not as Encode writes them.
bool ReadSettled(Reader* in, CursorRecord* r) {
  const uint64_t n = in->Varint();
  if (n == 0 || n > kMaxSettledRanges) return false;
  uint64_t before = r->committed;
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t unsettled = in->Varint(), length = in->Varint();
    if (unsettled == 0 || length == 0 || unsettled > ~before) return false;
    const uint64_t first = before + unsettled;
    if (length > ~first) return false;
    before = first + length;
    r->settled.push_back({first, before});
  }
  return true;
}

}  // namespace

Result<CursorRecord> DecodeCursor(std::string_view body) {
  Reader in(body);
  CursorRecord r;
  r.queue = in.Number<uint32_t>();
  r.sink = in.Text();
  r.start = in.Number<uint64_t>();
  r.committed = in.Number<uint64_t>();
  r.dropped_newest_before = in.Number<uint64_t>();
  for (uint64_t& counter : r.counters) counter = in.Number<uint64_t>();
  if (in.ok() && !in.AtEnd() && !ReadSettled(&in, &r)) return Malformed("cursor record");
  if (!in.AtEnd() || r.start > r.committed) return Malformed("cursor record");
  return r;
}

std::string Encode(const LetterRecord& r, uint64_t commit) {
  return Sealed(Kind::kLetter, commit,
                Writer()
                    .Number(r.queue)
                    .Number(r.queue_id)
                    .Number(r.offset)
                    .Text(r.sink)
                    .Text(r.id)
                    .Text(r.reason)
                    .Number(r.why)
                    .Number(r.replay)
                    .Number(r.code)
                    .Number(r.attempts)
                    .Number(r.buried_ns)
                    .Text(r.event)
                    .Take());
}

Result<LetterRecord> DecodeLetter(std::string_view body) {
  Reader in(body);
  LetterRecord r;
  r.queue = in.Number<uint32_t>();
  r.queue_id = in.Number<uint64_t>();
  r.offset = in.Number<uint64_t>();
  r.sink = in.Text();
  r.id = in.Text();
  r.reason = in.Text();
  r.why = in.Number<uint8_t>();
  r.replay = in.Number<uint8_t>();
  r.code = in.Number<int32_t>();
  r.attempts = in.Number<uint32_t>();
  r.buried_ns = in.Number<int64_t>();
  r.event = in.Text();
  if (!in.AtEnd()) return Malformed("dead letter");
  return r;
}

std::string Encode(const LetterCounts& r, uint64_t commit) {
  Writer out;
  out.Number(r.queue).Text(r.sink).Number(r.buried).Number(r.replayed).Number(r.dropped);
  return Sealed(Kind::kLetterCounts, commit, out.Take());
}

Result<LetterCounts> DecodeLetterCounts(std::string_view body) {
  Reader in(body);
  LetterCounts r;
  r.queue = in.Number<uint32_t>();
  r.sink = in.Text();
  r.buried = in.Number<uint64_t>();
  r.replayed = in.Number<uint64_t>();
  r.dropped = in.Number<uint64_t>();
  if (!in.AtEnd()) return Malformed("counts of dead letters");
  return r;
}

// ---- records: the lengths, then subject, id, type, content type, attributes, payload

namespace {

struct RecordHead {
  uint32_t payload, subject, id, type, content_type, attributes, n_attributes, zero;
  int64_t time_ns;
};
static_assert(sizeof(RecordHead) == kRecordHeadBytes);

size_t AttributeBytes(std::span<const penstock_kv> attributes) {
  size_t bytes = 0;
  for (const penstock_kv& kv : attributes)
    bytes += 2 * sizeof(uint32_t) + kv.key.len + kv.value.len;
  return bytes;
}

char* Put(const char* bytes, size_t n, char* out) {
  if (n > 0) std::memcpy(out, bytes, n);
  return out + n;
}

char* PutCounted(const penstock_str& text, char* out) {
  const auto size = static_cast<uint32_t>(text.len);
  std::memcpy(out, &size, sizeof size);
  return Put(text.ptr, text.len, out + sizeof size);
}

// Memory that the events of a decoded block point into; freed with the block.
struct Copy {
  penstock_owner owner{};
  uint64_t references = 0;
  std::string bytes;
  std::vector<penstock_event> events;
  std::vector<penstock_kv> attributes;

  explicit Copy(std::string_view from) : bytes(from) { owner.release = Release; }
  static void Release(penstock_owner* owner, uint32_t n) noexcept {
    auto* self = reinterpret_cast<Copy*>(owner);
    self->references -= n;
    if (self->references == 0) delete self;
  }
};
static_assert(offsetof(Copy, owner) == 0);

penstock_str Str(std::string_view text) { return {text.data(), text.size()}; }

bool ReadAttributes(Reader* in, const RecordHead& head, Copy* copy) {
  for (uint32_t i = 0; i < head.n_attributes; ++i) {
    const std::string_view key = in->Text();
    const std::string_view value = in->Text();
    if (!in->ok()) return false;
    copy->attributes.push_back({Str(key), Str(value)});
  }
  return true;
}

bool ReadRecord(Reader* in, Copy* copy) {
  const std::string_view raw = in->Bytes(kRecordHeadBytes);
  if (!in->ok()) return false;
  const auto head = Load<RecordHead>(raw.data());
  penstock_event event{};
  event.subject = Str(in->Bytes(head.subject));
  event.id = Str(in->Bytes(head.id));
  event.type = Str(in->Bytes(head.type));
  event.content_type = Str(in->Bytes(head.content_type));
  Reader attributes(in->Bytes(head.attributes));
  event.n_attributes = head.n_attributes;
  if (!ReadAttributes(&attributes, head, copy) || !attributes.AtEnd()) return false;
  event.payload = Str(in->Bytes(head.payload));
  event.time_ns = head.time_ns;
  event.owner = &copy->owner;
  copy->events.push_back(event);
  return in->ok();
}

std::shared_ptr<const event::Block> MakeBlock(std::unique_ptr<Copy> copy, uint64_t first) {
  // The table of attributes has its final place only now.
  const penstock_kv* next = copy->attributes.data();
  for (penstock_event& event : copy->events) {
    event.attributes = next;
    next += event.n_attributes;
  }
  copy->references = copy->events.size();
  const std::vector<penstock_event> events = std::move(copy->events);
  const penstock_event_batch batch{sizeof batch, sizeof(penstock_event), events.data(),
                                   events.size()};
  auto block = event::Block::Take(batch, 0, events.size(), first, 1);
  copy.release();  // the block's now
  return block;
}

}  // namespace

size_t RecordBytes(const event::Event& event) {
  return kRecordHeadBytes + event.subject.size() + event.id.size() + event.type.size() +
         event.content_type.size() + AttributeBytes(event.attributes) + event.payload.size();
}

size_t RecordBytes(const penstock_event& event) {
  return kRecordHeadBytes + event.subject.len + event.id.len + event.type.len +
         event.content_type.len + AttributeBytes({event.attributes, event.n_attributes}) +
         event.payload.len;
}

char* WriteRecord(const event::Event& event, char* out) {
  const auto length = [](std::string_view text) { return static_cast<uint32_t>(text.size()); };
  const RecordHead head{length(event.payload),
                        length(event.subject),
                        length(event.id),
                        length(event.type),
                        length(event.content_type),
                        static_cast<uint32_t>(AttributeBytes(event.attributes)),
                        static_cast<uint32_t>(event.attributes.size()),
                        0,
                        event.time_ns};
  out = Put(reinterpret_cast<const char*>(&head), sizeof head, out);
  for (const std::string_view text : {event.subject, event.id, event.type, event.content_type})
    out = Put(text.data(), text.size(), out);
  for (const penstock_kv& kv : event.attributes)
    out = PutCounted(kv.value, PutCounted(kv.key, out));
  return Put(event.payload.data(), event.payload.size(), out);
}

// ---- chunks

ChunkWriter::ChunkWriter(const ChunkHead& head, uint64_t commit, char* value)
    : head_(head), commit_(commit), value_(value), out_(value + kEnvelopeBytes + kChunkHeadBytes) {
  static_assert(sizeof(ChunkHead) == kChunkHeadBytes);
  std::memcpy(value + kEnvelopeBytes, &head_, sizeof head_);
}

void ChunkWriter::Add(const event::Event& event) { out_ = WriteRecord(event, out_); }

void ChunkWriter::Finish() {
  assert(out_ == value_ + kEnvelopeBytes + kChunkHeadBytes + head_.bytes);
  Seal(value_, Kind::kChunk, commit_, kChunkHeadBytes + head_.bytes);
}

Result<ChunkHead> DecodeChunkHead(std::string_view body) {
  if (body.size() < kChunkHeadBytes) return Malformed("chunk");
  const auto head = Load<ChunkHead>(body.data());
  if (head.count == 0 || head.bytes != body.size() - kChunkHeadBytes) return Malformed("chunk");
  return head;
}

Result<std::shared_ptr<const event::Block>> DecodeChunk(std::string_view body) {
  const auto head = DecodeChunkHead(body);
  if (!head) return tl::unexpected(head.error());
  auto copy = std::make_unique<Copy>(body.substr(kChunkHeadBytes));
  if (head->count > copy->bytes.size() / kRecordHeadBytes) return Malformed("chunk");
  copy->events.reserve(head->count);
  Reader in(copy->bytes);
  for (uint32_t i = 0; i < head->count; ++i) {
    if (!ReadRecord(&in, copy.get())) return Malformed("event in a chunk");
  }
  if (!in.AtEnd()) return Malformed("chunk");
  return MakeBlock(std::move(copy), head->first);
}

Result<std::shared_ptr<const event::Block>> DecodeRecord(std::string_view record, uint64_t offset) {
  auto copy = std::make_unique<Copy>(record);
  Reader in(copy->bytes);
  if (!ReadRecord(&in, copy.get()) || !in.AtEnd()) return Malformed("event");
  return MakeBlock(std::move(copy), offset);
}

}  // namespace penstock::store
