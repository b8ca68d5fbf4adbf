// What the store's file holds: the keys of its one LMDB database and the layout of its values.
//
// A key is a kind byte and fields in big-endian order, so that LMDB's byte order is theirs:
//
//   'C' queue:u32 sink...                      a route's cursor
//   'D' queue:u32 id:u64 offset:u64 sink...    a dead letter
//   'E' queue:u32 first:u64                    a chunk: neighbouring events of one queue
//   'F'                                        the store's format and identity
//   'L' queue:u32 sink...                      what became of a route's dead letters
//   'H' queue:u32 first:u64                    a hole: events that a repair could not save
//   'Q' queue:u32                              a queue's name and bounds
//
// Every value is an envelope and a body. The body says again what the key says, and the checksum is
// over both, so that values can be found in the file's pages even without LMDB's tree. Numbers in
// values are little-endian.
//
//   envelope: "PSTK" version:u8 kind:u8 zero:u16 body_bytes:u32 zero:u32 commit:u64 checksum:u64
//
// commit is the number of the group commit (LMDB's transaction) that wrote the value; the checksum
// is XXH3-64 (https://github.com/Cyan4973/xxHash) of the envelope up to it, then of the body.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "event/event.h"
#include "event/offsets.h"
#include "platform/result.h"

namespace penstock::store {

inline constexpr uint8_t kFormatVersion = 1;
inline constexpr std::string_view kMagic = "PSTK";
inline constexpr size_t kEnvelopeBytes = 32;
inline constexpr size_t kChunkHeadBytes = 48;
inline constexpr size_t kRecordHeadBytes = 40;
// A chunk is cut at this size, so that no value needs many neighbouring free pages. One event may
// be larger.
inline constexpr size_t kChunkBytes = 64 * 1024 - 64;

enum class Kind : uint8_t {
  kCursor = 'C',
  kLetter = 'D',
  kChunk = 'E',
  kFormat = 'F',
  kLetterCounts = 'L',
  kHole = 'H',
  kQueue = 'Q',
};

// ---- keys

std::string FormatKey();
std::string QueueKey(uint32_t queue);
std::string CursorKey(uint32_t queue, std::string_view sink);
std::string LetterCountsKey(uint32_t queue, std::string_view sink);
std::string ChunkKey(uint32_t queue, uint64_t first);
std::string LetterKey(uint32_t queue, uint64_t queue_id, uint64_t offset, std::string_view sink);
// Of all keys of one kind and queue: the bytes that they begin with.
std::string KeyPrefix(Kind kind, uint32_t queue);

// ---- envelopes

struct Envelope {
  uint8_t version = 0;
  Kind kind = Kind::kFormat;
  uint64_t commit = 0;
  std::string_view body;
};
// The value at the front of bytes, which may be longer; checks magic, version, size and checksum.
// The error says which of them is wrong.
Result<Envelope> Open(std::string_view bytes);
// Writes the envelope in front of a body that already stands at value + kEnvelopeBytes.
void Seal(char* value, Kind kind, uint64_t commit, size_t body_bytes);
std::string Sealed(Kind kind, uint64_t commit, std::string_view body);

// ---- small values

struct FormatRecord {
  std::array<uint64_t, 2> store_id{};  // random
  int64_t created_ns = 0;
};
struct QueueRecord {
  uint32_t queue = 0;
  uint64_t id = 0;  // the 64 random bits in the ids of its events
  std::string name;
  bool disk = false;            // false: only dead letters are kept
  uint64_t begin = 0;           // the oldest offset held
  uint64_t end = 0;             // at least so many offsets have been given away
  uint64_t bytes_before = 0;    // of all events below end
  uint64_t dropped_newest = 0;  // events that got no offset
};
inline constexpr size_t kMaxCounters = 16;
// What settled above a cursor is kept in at most so many stretches: a few bytes each.
inline constexpr size_t kMaxSettledRanges = 4096;
struct CursorRecord {
  uint32_t queue = 0;
  std::string sink;
  uint64_t start = 0;                  // the first offset that the route was ever to deliver
  uint64_t committed = 0;              // all below have settled
  uint64_t dropped_newest_before = 0;  // of its queue, when the route was made
  // As the caller numbers them; of all that settled: below committed, and in settled.
  std::array<uint64_t, kMaxCounters> counters{};
  // What settled above committed, in order, with an event between them that has not.
  std::vector<event::OffsetRange> settled{};

  // The event at that offset, and all behind it, have not settled.
  uint64_t end() const { return settled.empty() ? committed : settled.back().end; }
  // How many of the events in [from, to) have not.
  uint64_t Unsettled(uint64_t from, uint64_t to) const;
};
struct LetterRecord {
  uint32_t queue = 0;
  uint64_t queue_id = 0;
  uint64_t offset = 0;
  std::string sink;
  std::string id;      // of the event, as it went or would have gone onto the bus
  std::string reason;  // in words
  uint8_t why = 0;     // as the caller numbers them
  uint8_t replay = 0;  // 0, or the mark to send it again, another one each time that it is set
  int32_t code = 0;    // the bus's own
  uint32_t attempts = 0;
  int64_t buried_ns = 0;
  std::string event;  // one record, as in a chunk
};
// kept + replayed + dropped are all that were ever buried.
struct LetterCounts {
  uint32_t queue = 0;
  std::string sink;
  uint64_t buried = 0;    // ever
  uint64_t replayed = 0;  // delivered after all
  uint64_t dropped = 0;   // by hand, or to make room

  uint64_t kept() const {
    const uint64_t gone = replayed + dropped;
    return buried - (gone < buried ? gone : buried);
  }
};

std::string Encode(const FormatRecord&, uint64_t commit);
std::string Encode(const QueueRecord&, uint64_t commit);
std::string Encode(const CursorRecord&, uint64_t commit);
std::string Encode(const LetterRecord&, uint64_t commit);
std::string Encode(const LetterCounts&, uint64_t commit);
// Of a body; the error says what is wrong with it.
Result<FormatRecord> DecodeFormat(std::string_view body);
Result<QueueRecord> DecodeQueue(std::string_view body);
Result<CursorRecord> DecodeCursor(std::string_view body);
Result<LetterRecord> DecodeLetter(std::string_view body);
Result<LetterCounts> DecodeLetterCounts(std::string_view body);

// How many events of its queue the route has still to deliver.
uint64_t Pending(const QueueRecord& queue, const CursorRecord& cursor);

// ---- chunks

struct ChunkHead {
  uint32_t queue = 0;
  uint32_t count = 0;
  uint64_t queue_id = 0;
  uint64_t first = 0;         // offset of the first event
  uint64_t bytes_before = 0;  // of all the queue's events before it
  uint64_t bytes = 0;         // of its own
  int64_t appended_ns = 0;    // wall clock
};

// The bytes that an event takes in a chunk; what the bounds of a queue on disk count.
size_t RecordBytes(const event::Event& event);
size_t RecordBytes(const penstock_event& event);
// Writes the record and returns the end of it.
char* WriteRecord(const event::Event& event, char* out);
// Writes a whole chunk of the events [begin, end) of neighbouring blocks; value has room for
// kEnvelopeBytes + kChunkHeadBytes + head.bytes. head.count and head.bytes must be right.
class ChunkWriter {
 public:
  ChunkWriter(const ChunkHead& head, uint64_t commit, char* value);
  void Add(const event::Event& event);
  void Finish();

 private:
  const ChunkHead head_;
  const uint64_t commit_;
  char* const value_;
  char* out_;
};

Result<ChunkHead> DecodeChunkHead(std::string_view body);
// The events of a chunk's body, as a block that owns a copy of it. bytes are checked, so that no
// body, however broken, is read beyond its end.
Result<std::shared_ptr<const event::Block>> DecodeChunk(std::string_view body);
// One record by itself, as a block of one event with that offset.
Result<std::shared_ptr<const event::Block>> DecodeRecord(std::string_view record, uint64_t offset);

}  // namespace penstock::store
