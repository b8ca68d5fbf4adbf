#include "gateway/store_tools.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "delivery/ledger.h"
#include "event/base64.h"
#include "event/encode.h"
#include "event/time.h"
#include "platform/log.h"
#include "queue/disk_queue.h"
#include "store/catalog.h"
#include "store/letters.h"

namespace penstock::gateway {
namespace {

using Json = nlohmann::ordered_json;
using Query = std::map<std::string, std::string>;
using store::CursorRecord;
using store::Kind;
using store::LetterRecord;
using store::QueueRecord;
using store::Transaction;

constexpr char kMe[] = "store";
// One transaction deletes so many chunks at most, so that its list of pages stays small.
constexpr size_t kMaxDeleted = 1024;

// ---- answers

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

admin::Response Answer(const Json& json) { return {200, "application/json", Dump(json), {}}; }

// An error with the status that it is answered with.
struct Refusal {
  int status;
  std::string text;
};
template <typename T>
using Outcome = tl::expected<T, Refusal>;

tl::unexpected<Refusal> Refuse(int status, std::string text) {
  return tl::unexpected<Refusal>(Refusal{status, std::move(text)});
}
tl::unexpected<Refusal> Failed(const Error& error) { return Refuse(500, error.message); }

// The first piece is read at once: what is wrong with it is the answer, where a later error can
// only cut the lines off.
Outcome<admin::Response> Lines(admin::Pull pull) {
  auto first = pull();
  if (!first) return Failed(first.error());
  admin::Response response{200, "application/x-ndjson", "", {}};
  if (!first->empty())
    response.pull = [pull = std::move(pull),
                     first = std::move(*first)]() mutable -> Result<std::string> {
      return first.empty() ? pull() : std::exchange(first, {});
    };
  return response;
}

admin::Response Answer(const Refusal& refusal) {
  admin::Response response;
  response.status = refusal.status;
  response.body = refusal.text + "\n";
  return response;
}

// ---- what was asked

std::string Text(const Query& query, const std::string& key) {
  const auto found = query.find(key);
  return found == query.end() ? "" : found->second;
}

bool Flag(const Query& query, const std::string& key) {
  const std::string text = Text(query, key);
  return !text.empty() && text != "0";
}

template <typename Number>
Outcome<Number> NumberIn(const Query& query, const std::string& key, Number otherwise) {
  const std::string text = Text(query, key);
  if (text.empty()) return otherwise;
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return Refuse(400, key + " must be a whole number, not \"" + text + "\"");
  return value;
}

Outcome<QueueRecord> FindQueue(const store::Store& store, const std::string& name) {
  auto queues = store.Queues();
  if (!queues) return Failed(queues.error());
  std::string known;
  for (QueueRecord& queue : *queues) {
    if (queue.name == name) return std::move(queue);
    known += (known.empty() ? "" : ", ") + queue.name;
  }
  return Refuse(404, "the store knows no source \"" + name + "\"" +
                         (known.empty() ? ", nor any other" : "; it knows " + known));
}

Outcome<store::LetterFilter> FilterOf(const store::Store& store, const Query& query) {
  store::LetterFilter filter;
  filter.sink = Text(query, "sink");
  filter.id = Text(query, "id");
  filter.reason = Text(query, "reason");
  const auto since = NumberIn<int64_t>(query, "since_ns", 0);
  const auto until = NumberIn<int64_t>(query, "until_ns", 0);
  if (!since) return tl::unexpected(since.error());
  if (!until) return tl::unexpected(until.error());
  filter.since_ns = *since;
  filter.until_ns = *until;
  if (const std::string source = Text(query, "source"); !source.empty()) {
    const auto queue = FindQueue(store, source);
    if (!queue) return tl::unexpected(queue.error());
    filter.queue = queue->queue;
  }
  return filter;
}

// ---- values as JSON

std::string Time(int64_t unix_ns) {
  char text[event::kMaxTimeSize];
  return {text, event::WriteTime(unix_ns, text)};
}

std::string Hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto at = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char lead = at(i++);
    if (lead < 0x80) continue;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < static_cast<size_t>(more)) return false;
    // Neither overlong, nor a surrogate, nor beyond the last code point.
    const unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (at(i) < least || at(i) > most) return false;
    for (int k = 1; k < more; ++k)
      if ((at(i + static_cast<size_t>(k)) & 0xc0) != 0x80) return false;
    i += static_cast<size_t>(more);
  }
  return true;
}

std::string_view View(const penstock_str& text) { return {text.ptr, text.len}; }

void AddEvent(const event::Event& event, Json* out) {
  Json& json = *out;
  json["time"] = Time(event.time_ns);
  json["subject"] = event.subject;
  json["type"] = event.type;
  json["content_type"] = event.content_type;
  json["attributes"] = Json::object();
  for (const penstock_kv& kv : event.attributes)
    json["attributes"][std::string(View(kv.key))] = View(kv.value);
  if (IsUtf8(event.payload)) {
    json["payload"] = event.payload;
  } else {
    std::string text(event::Base64Size(event.payload.size()), '\0');
    event::EncodeBase64(event.payload, text.data());
    json["data_base64"] = std::move(text);
  }
}

std::string IdOf(const std::string& source, uint64_t queue_id, uint64_t offset,
                 const event::Event& event) {
  if (!event.id.empty()) return source + ":" + std::string(event.id);
  std::string id(32, '\0');  // hex digits
  event::WriteHostId(queue_id, offset, id.data());
  return id;
}

// ---- the queues

// All that the store says of one queue, of one moment.
struct QueueView {
  QueueRecord record;
  std::vector<CursorRecord> cursors;
  std::vector<store::LetterCounts> letters;
  uint64_t bytes = 0;     // of the chunks that are there
  int64_t oldest_ns = 0;  // 0: there is none
  std::string damage;     // of its oldest events; empty: they are whole
};

// What to do about a value that is not what was written.
constexpr char kDamaged[] =
    "; stop the gateway, then see penstock queue verify, and penstock queue repair";

template <typename Record>
Result<std::vector<Record>> ReadAll(const Transaction& transaction, const std::string& prefix,
                                    Result<Record> (*decode)(std::string_view)) {
  std::vector<Record> out;
  Result<void> bad;
  auto read = transaction.ForEach(prefix, [&](const store::KeyValue& pair) {
    const auto envelope = store::Open(pair.value);
    auto record = envelope ? decode(envelope->body) : tl::unexpected(envelope.error());
    if (!record)
      bad = Fail(Code::kFatal,
                 store::Describe(pair.key) + " is damaged: " + record.error().message + kDamaged);
    if (record) out.push_back(std::move(*record));
    return bad.has_value();
  });
  if (!read) return tl::unexpected(read.error());
  if (!bad) return tl::unexpected(bad.error());
  return out;
}

Result<void> ReadOldest(const Transaction& transaction, QueueView* view) {
  const std::string prefix = store::KeyPrefix(Kind::kChunk, view->record.queue);
  const auto first = transaction.Seek(prefix);
  if (!first) return tl::unexpected(first.error());
  if (!*first || !(**first).key.starts_with(prefix)) return {};
  const auto envelope = store::Open((**first).value);
  const auto head =
      envelope ? store::DecodeChunkHead(envelope->body) : tl::unexpected<Error>(envelope.error());
  if (!head) {
    // All the rest can be told.
    view->damage =
        store::Describe((**first).key) + " are damaged: " + head.error().message + kDamaged;
    return {};
  }
  view->oldest_ns = head->appended_ns;
  view->bytes = view->record.bytes_before - std::min(view->record.bytes_before, head->bytes_before);
  return {};
}

Result<QueueView> ReadQueue(const Transaction& transaction, QueueRecord record) {
  QueueView view;
  view.record = std::move(record);
  auto cursors = ReadAll<CursorRecord>(
      transaction, store::KeyPrefix(Kind::kCursor, view.record.queue), store::DecodeCursor);
  if (!cursors) return tl::unexpected(cursors.error());
  view.cursors = std::move(*cursors);
  auto letters = ReadAll<store::LetterCounts>(
      transaction, store::KeyPrefix(Kind::kLetterCounts, view.record.queue),
      store::DecodeLetterCounts);
  if (!letters) return tl::unexpected(letters.error());
  view.letters = std::move(*letters);
  if (auto read = ReadOldest(transaction, &view); !read) return tl::unexpected(read.error());
  return view;
}

Result<std::vector<QueueView>> ReadQueues(const store::Store& store) {
  std::vector<QueueView> out;
  auto read = store.Read([&](const Transaction& transaction) -> Result<void> {
    auto records = ReadAll<QueueRecord>(
        transaction, std::string(1, static_cast<char>(Kind::kQueue)), store::DecodeQueue);
    if (!records) return tl::unexpected(records.error());
    for (QueueRecord& record : *records) {
      auto view = ReadQueue(transaction, std::move(record));
      if (!view) return tl::unexpected(view.error());
      out.push_back(std::move(*view));
    }
    return {};
  });
  if (!read) return tl::unexpected(read.error());
  return out;
}

const config::SourceConfig* FindSource(const config::Config* config, const std::string& name) {
  return config == nullptr ? nullptr : config->FindSource(name);
}

const char* WhenFullName(config::WhenFull when_full) {
  switch (when_full) {
    case config::WhenFull::kBlock:
      return "block";
    case config::WhenFull::kDropNewest:
      return "drop_newest";
    case config::WhenFull::kDropOldest:
      return "drop_oldest";
  }
  return "?";
}

Json SinksJson(const QueueView& view) {
  Json out = Json::array();
  for (const CursorRecord& cursor : view.cursors) {
    out.push_back({{"sink", cursor.sink},
                   {"start", cursor.start},
                   {"committed", cursor.committed},
                   {"pending", store::Pending(view.record, cursor)}});
  }
  return out;
}

Json LettersJson(const QueueView& view) {
  Json out = Json::array();
  for (const store::LetterCounts& counts : view.letters) {
    out.push_back({{"sink", counts.sink},
                   {"kept", counts.kept()},
                   {"buried", counts.buried},
                   {"replayed", counts.replayed},
                   {"dropped", counts.dropped}});
  }
  return out;
}

Json QueueJson(const QueueView& view, const config::Config* config) {
  const QueueRecord& record = view.record;
  const config::SourceConfig* source = FindSource(config, record.name);
  const bool bounded = source != nullptr && source->queue.storage == config::Storage::kDisk;
  Json out = {{"name", record.name},
              {"storage", record.disk ? "disk" : "memory"},
              {"configured", config == nullptr ? Json() : Json(source != nullptr)},
              {"events", record.disk ? Json(record.end - record.begin) : Json()},
              {"bytes", record.disk && view.damage.empty() ? Json(view.bytes) : Json()},
              {"max_events", bounded ? Json(source->queue.max_events) : Json()},
              {"max_bytes", bounded ? Json(source->queue.max_bytes) : Json()},
              {"when_full", bounded ? Json(WhenFullName(source->queue.when_full)) : Json()},
              {"begin", record.begin},
              {"end", record.end},
              {"oldest", view.oldest_ns == 0 ? Json() : Json(Time(view.oldest_ns))},
              {"dropped_newest", record.dropped_newest}};
  out["sinks"] = SinksJson(view);
  out["dead_letters"] = LettersJson(view);
  out["damage"] = view.damage.empty() ? Json() : Json(view.damage);
  out["number"] = record.queue;
  out["id"] = Hex(record.id);
  return out;
}

Json StoreJson(const store::Store& store) {
  const store::StoreStats stats = store.stats();
  const store::FormatRecord& format = store.format();
  Json files = Json::object();
  for (const char* name : {"data.mdb", "lock.mdb", "seal"}) {
    struct stat file {};
    if (stat((store.directory() + "/" + name).c_str(), &file) == 0) files[name] = file.st_size;
  }
  return {{"directory", store.directory()},
          {"format_version", store::kFormatVersion},
          {"id", Hex(format.store_id[0]) + Hex(format.store_id[1])},
          {"created", Time(format.created_ns)},
          {"used_bytes", stats.used_bytes},
          {"files", std::move(files)}};
}

// ---- the events of a queue

class EventReader {
 public:
  EventReader(store::Store* store, QueueRecord queue, uint64_t from, uint64_t count)
      : store_(store),
        queue_(std::move(queue)),
        next_(std::max(from, queue_.begin)),
        end_(next_ + std::min(count, queue_.end - std::min(queue_.end, next_))) {}

  // The lines of the next chunk; empty: that was all.
  Result<std::string> Next() {
    std::string out;
    while (out.empty() && next_ < end_) {
      std::shared_ptr<const event::Block> block;
      auto read = store_->Read([&](const Transaction& transaction) -> Result<void> {
        if (auto skipped = SkipDelivered(transaction); !skipped) return skipped;
        auto found = Find(transaction);
        if (!found) return tl::unexpected(found.error());
        block = std::move(*found);
        return {};
      });
      if (!read) return tl::unexpected(read.error());
      Write(block.get(), &out);
    }
    return out;
  }

 private:
  // What every sink has settled by now is no longer there, and no loss.
  Result<void> SkipDelivered(const Transaction& transaction) {
    const auto value = transaction.Get(store::QueueKey(queue_.queue));
    if (!value) return tl::unexpected(value.error());
    if (!*value) {
      next_ = end_;
      return {};
    }
    const auto envelope = store::Open(**value);
    if (!envelope) return tl::unexpected(envelope.error());
    const auto now = store::DecodeQueue(envelope->body);
    if (!now) return tl::unexpected(now.error());
    next_ = std::max(next_, now->begin);
    return {};
  }

  // The chunk that holds next_, or the first behind it; null: there is none.
  Result<std::shared_ptr<const event::Block>> Find(const Transaction& transaction) const {
    std::shared_ptr<const event::Block> none;
    if (next_ >= end_) return none;
    const std::string prefix = store::KeyPrefix(Kind::kChunk, queue_.queue);
    const std::string behind = store::ChunkKey(queue_.queue, next_ + 1);
    for (const auto& found : {transaction.SeekBefore(behind), transaction.Seek(behind)}) {
      if (!found) return tl::unexpected(found.error());
      if (!*found || !(**found).key.starts_with(prefix)) continue;
      const auto envelope = store::Open((**found).value);
      if (!envelope) return Damaged(envelope.error());
      auto block = store::DecodeChunk(envelope->body);
      if (!block) return Damaged(block.error());
      if ((**block).end_offset() > next_) return std::move(*block);
    }
    return none;
  }

  tl::unexpected<Error> Damaged(const Error& error) const {
    return Fail(Code::kFatal, "queue " + queue_.name + " at offset " + std::to_string(next_) +
                                  ": " + error.message + kDamaged);
  }

  void Write(const event::Block* block, std::string* out) {
    const uint64_t first = block == nullptr ? end_ : std::min(block->first_offset(), end_);
    if (first > next_) {  // a repair could not save them
      *out += Dump({{"offset", next_}, {"lost", first - next_}});
      next_ = first;
    }
    if (block == nullptr) return;
    for (const uint64_t stop = std::min(block->end_offset(), end_); next_ < stop; ++next_) {
      const event::Event& event = block->at(next_);
      Json json = {{"offset", next_}, {"id", IdOf(queue_.name, queue_.id, next_, event)}};
      AddEvent(event, &json);
      *out += Dump(json);
    }
  }

  store::Store* const store_;
  const QueueRecord queue_;
  uint64_t next_, end_;
};

// The queue, if its events can be read: that it has none is no answer for one in memory.
Outcome<QueueRecord> FindEvents(const StoreAccess& access, const store::Store& store,
                                const std::string& name) {
  auto queue = FindQueue(store, name);
  const auto config = access.Config();
  const config::SourceConfig* source = FindSource(config.get(), name);
  bool readable = queue && queue->disk;
  if (source != nullptr) {
    // Beside what the configuration says, events may be left from before it said so.
    readable =
        source->queue.storage == config::Storage::kDisk || (readable && queue->begin < queue->end);
  } else if (!queue) {
    return queue;
  }
  if (readable) return queue;
  return Refuse(409, "the queue of source " + name +
                         " is in memory; only a queue on disk can be read; penstock status shows "
                         "how much is in it while the gateway runs");
}

Outcome<admin::Response> ShowEvents(const StoreAccess& access, store::Store* store,
                                    const Query& query) {
  auto queue = FindEvents(access, *store, Text(query, "queue"));
  if (!queue) return tl::unexpected(queue.error());
  const auto from = NumberIn<uint64_t>(query, "from", 0);
  const auto count = NumberIn<uint64_t>(query, "count", ~uint64_t{0});
  if (!from) return tl::unexpected(from.error());
  if (!count) return tl::unexpected(count.error());
  auto reader = std::make_shared<EventReader>(store, std::move(*queue), *from, *count);
  return Lines([reader] { return reader->Next(); });
}

Outcome<admin::Response> ShowQueues(const StoreAccess& access, store::Store* store, const Query&) {
  const auto queues = ReadQueues(*store);
  if (!queues) return Failed(queues.error());
  Json out = {{"store", StoreJson(*store)}, {"queues", Json::array()}};
  const auto config = access.Config();
  for (const QueueView& queue : *queues) out["queues"].push_back(QueueJson(queue, config.get()));
  return Answer(out);
}

// ---- forgetting

// What a cursor's ledger is once the rest of its events is given up; *given_up: their number.
delivery::Ledger ForgottenLedger(const QueueRecord& queue, const CursorRecord& cursor,
                                 uint64_t* given_up) {
  delivery::Ledger out;
  static_cast<queue::Counters&>(out) = queue::CountersOf(cursor);
  out.source = queue.name;
  out.sink = cursor.sink;
  const uint64_t dropped_newest =
      queue.dropped_newest - std::min(queue.dropped_newest, cursor.dropped_newest_before);
  const uint64_t dropped_oldest = cursor.Unsettled(cursor.start, std::min(queue.begin, queue.end));
  *given_up = store::Pending(queue, cursor);
  out.dropped[static_cast<size_t>(queue::DropReason::kWhenFull)] += dropped_newest + dropped_oldest;
  out.dropped[static_cast<size_t>(queue::DropReason::kForgotten)] += *given_up;
  out.received = std::max(queue.end, cursor.end()) - cursor.start + dropped_newest;
  return out;
}

class Forgetting {
 public:
  Forgetting(const config::Config* config, store::Store* store, std::string source,
             std::string sink)
      : config_(config), store_(store), source_(std::move(source)), sink_(std::move(sink)) {}

  Outcome<Json> Run(bool dry_run) {
    auto queue = FindQueue(*store_, source_);
    if (!queue) return tl::unexpected(queue.error());
    number_ = queue->queue;
    if (auto allowed = Allowed(); !allowed) return tl::unexpected(allowed.error());
    auto read = store_->Read([this](const Transaction& t) { return Plan(t); });
    if (!read) return Failed(read.error());
    if (!sink_.empty() && routes_.empty()) {
      return Refuse(404, "sink " + sink_ + " has no place in the queue of source " + source_ +
                             ": there is nothing to forget");
    }
    if (!dry_run) {
      if (auto done = Carry(); !done) return Failed(done.error());
    }
    Json out = {{"source", source_},
                {"events", events_},
                {"dead_letters_kept", letters_},
                {"routes", Json::array()}};
    for (const Route& route : routes_) {
      out["routes"].push_back(
          {{"sink", route.sink}, {"events", route.given_up}, {"ledger", route.ledger.ToString()}});
    }
    return out;
  }

 private:
  struct Route {
    std::string sink;
    uint64_t given_up = 0;
    delivery::Ledger ledger;
  };

  Outcome<void> Allowed() const {
    const config::SourceConfig* source = FindSource(config_, source_);
    if (source == nullptr || source->queue.storage != config::Storage::kDisk) return {};
    if (sink_.empty()) {
      return Refuse(409, "source " + source_ +
                             " is in the configuration, and its queue is on disk: take it out "
                             "first, or name a sink that no longer reads it with --sink");
    }
    for (const config::SinkConfig& sink : config_->sinks) {
      if (sink.name == sink_ && std::ranges::count(sink.from, source_) > 0) {
        return Refuse(409, "sink " + sink_ + " reads source " + source_ +
                               " in the configuration: take it out first");
      }
    }
    return {};
  }

  // What there is to be done, by what the transaction sees.
  Result<void> Plan(const Transaction& transaction) {
    routes_.clear();
    events_ = letters_ = 0;
    const auto value = transaction.Get(store::QueueKey(number_));
    if (!value) return tl::unexpected(value.error());
    if (!*value) return Fail(Code::kReject, "source " + source_ + " was forgotten meanwhile");
    const auto envelope = store::Open(**value);
    if (!envelope) return tl::unexpected(envelope.error());
    auto record = store::DecodeQueue(envelope->body);
    if (!record) return tl::unexpected(record.error());
    auto view = ReadQueue(transaction, std::move(*record));
    if (!view) return tl::unexpected(view.error());
    record_ = view->record;
    uint64_t needed = record_.end;  // by those that stay
    stays_ = false;
    for (const CursorRecord& cursor : view->cursors) {
      if (!sink_.empty() && cursor.sink != sink_) {
        needed = std::min(needed, cursor.committed);
        stays_ = true;
        continue;
      }
      Route route;
      route.sink = cursor.sink;
      route.ledger = ForgottenLedger(record_, cursor, &route.given_up);
      routes_.push_back(std::move(route));
    }
    new_begin_ = std::max(record_.begin, std::min(needed, record_.end));
    for (const Route& route : routes_) events_ += route.given_up;
    // Events that no sink was ever to have.
    if (view->cursors.empty()) events_ = record_.end - record_.begin;
    for (const store::LetterCounts& c : view->letters) letters_ += c.kept();
    return {};
  }

  // First the cursors, in one transaction that also says which events are not needed any more, then
  // those, piece by piece. After a crash in between it can be asked for again.
  Result<void> Carry() {
    auto done = store_->Apply([this](Transaction& transaction) -> Result<void> {
      if (auto planned = Plan(transaction); !planned) return planned;
      for (const Route& route : routes_) {
        auto deleted = transaction.Delete(store::CursorKey(number_, route.sink));
        if (!deleted) return tl::unexpected(deleted.error());
      }
      record_.begin = new_begin_;
      if (!stays_ && sink_.empty()) record_.disk = false;
      return transaction.Put(store::QueueKey(number_),
                             store::Encode(record_, transaction.number()));
    });
    if (!done) return done;
    for (const Route& route : routes_) log::Info("ledger", route.ledger.ToString());
    log::Info(kMe, "source " + source_ + (sink_.empty() ? "" : ", sink " + sink_) +
                       ": forgotten, with " + std::to_string(events_) + " events");
    for (const Kind kind : {Kind::kChunk, Kind::kHole}) {
      if (auto deleted = DeleteBelow(kind, new_begin_); !deleted) return deleted;
    }
    if (!stays_ && letters_ == 0 && FindSource(config_, source_) == nullptr) return DeleteQueue();
    return {};
  }

  static Result<uint64_t> EndOf(Kind kind, const store::KeyValue& pair) {
    const auto envelope = store::Open(pair.value);
    if (!envelope) return tl::unexpected(envelope.error());
    if (kind == Kind::kHole) {
      const auto hole = store::DecodeHole(envelope->body);
      if (!hole) return tl::unexpected(hole.error());
      return hole->end;
    }
    const auto head = store::DecodeChunkHead(envelope->body);
    if (!head) return tl::unexpected(head.error());
    return head->first + head->count;
  }

  Result<void> DeleteBelow(Kind kind, uint64_t offset) {
    for (size_t deleted = kMaxDeleted; deleted == kMaxDeleted;) {
      auto done = store_->Apply([&](Transaction& transaction) -> Result<void> {
        deleted = 0;
        std::vector<std::string> keys;
        Result<void> bad;
        auto read =
            transaction.ForEach(store::KeyPrefix(kind, number_), [&](const store::KeyValue& pair) {
              const auto end = EndOf(kind, pair);
              if (!end) bad = tl::unexpected(end.error());
              if (!end || *end > offset || keys.size() == kMaxDeleted) return false;
              keys.emplace_back(pair.key);
              return true;
            });
        if (!read) return read;
        if (!bad) return bad;
        for (const std::string& key : keys) {
          if (auto gone = transaction.Delete(key); !gone) return tl::unexpected(gone.error());
        }
        deleted = keys.size();
        return {};
      });
      if (!done) return done;
    }
    return {};
  }

  // Its number may be given again, so that nothing of it may stay.
  Result<void> DeleteQueue() {
    return store_->Apply([this](Transaction& transaction) -> Result<void> {
      std::vector<std::string> keys = {store::QueueKey(number_)};
      for (const Kind kind : {Kind::kChunk, Kind::kHole, Kind::kCursor, Kind::kLetter}) {
        const std::string prefix = store::KeyPrefix(kind, number_);
        const auto left = transaction.Seek(prefix);
        if (!left) return tl::unexpected(left.error());
        if (*left && (**left).key.starts_with(prefix)) return {};
      }
      auto read = transaction.ForEach(store::KeyPrefix(Kind::kLetterCounts, number_),
                                      [&](const store::KeyValue& pair) {
                                        keys.emplace_back(pair.key);
                                        return true;
                                      });
      if (!read) return read;
      for (const std::string& key : keys) {
        if (auto gone = transaction.Delete(key); !gone) return tl::unexpected(gone.error());
      }
      return {};
    });
  }

  const config::Config* const config_;
  store::Store* const store_;
  const std::string source_, sink_;
  uint32_t number_ = 0;
  QueueRecord record_;
  std::vector<Route> routes_;
  bool stays_ = false;  // another sink's cursor
  uint64_t new_begin_ = 0, events_ = 0, letters_ = 0;
};

Outcome<admin::Response> Forget(const StoreAccess& access, store::Store* store,
                                const Query& query) {
  const auto config = access.Config();
  Forgetting forgetting(config.get(), store, Text(query, "queue"), Text(query, "sink"));
  auto done = forgetting.Run(Flag(query, "dry_run"));
  if (!done) return tl::unexpected(done.error());
  return Answer(*done);
}

// ---- dead letters

using Names = std::map<uint32_t, std::string>;

Result<Names> NamesOfQueues(const store::Store& store) {
  const auto queues = store.Queues();
  if (!queues) return tl::unexpected(queues.error());
  Names names;
  for (const QueueRecord& queue : *queues) names[queue.queue] = queue.name;
  return names;
}

Result<std::shared_ptr<const event::Block>> EventOf(const LetterRecord& letter) {
  auto block = store::DecodeRecord(letter.event, letter.offset);
  if (block) return block;
  return tl::unexpected(std::move(block.error()).Prefixed("dead letter " + letter.id));
}

Result<Json> LetterJson(const LetterRecord& letter, const Names& names, bool payload) {
  const auto block = EventOf(letter);
  if (!block) return tl::unexpected(block.error());
  const event::Event& event = (**block).at(letter.offset);
  const auto name = names.find(letter.queue);
  Json out = {{"id", letter.id},
              {"buried", Time(letter.buried_ns)},
              {"source", name == names.end() ? "#" + std::to_string(letter.queue) : name->second},
              {"sink", letter.sink},
              {"why", queue::DropReasonName(static_cast<queue::DropReason>(letter.why))},
              {"reason", letter.reason},
              {"code", letter.code},
              {"attempts", letter.attempts},
              {"replay", letter.replay != 0},
              {"offset", letter.offset},
              {"size", event.payload.size()}};
  if (!payload) return out;
  out["event"] = Json::object();
  AddEvent(event, &out["event"]);
  return out;
}

Outcome<admin::Response> ShowLetters(const StoreAccess&, store::Store* store, const Query& query) {
  const auto filter = FilterOf(*store, query);
  if (!filter) return tl::unexpected(filter.error());
  auto names = NamesOfQueues(*store);
  if (!names) return Failed(names.error());
  return Lines([store, filter = *filter, names = std::move(*names),
                payload = Flag(query, "payload"),
                place = std::string()]() mutable -> Result<std::string> {
    const auto letters = store::NextLetters(*store, filter, &place);
    if (!letters) return tl::unexpected(letters.error());
    std::string out;
    for (const LetterRecord& letter : *letters) {
      const auto json = LetterJson(letter, names, payload);
      if (!json) return tl::unexpected(json.error());
      out += Dump(*json);
    }
    return out;
  });
}

Outcome<admin::Response> ShowPayload(const StoreAccess&, store::Store* store, const Query& query) {
  const auto filter = FilterOf(*store, query);
  if (!filter) return tl::unexpected(filter.error());
  std::optional<LetterRecord> found;
  uint64_t n = 0;
  auto read = store::ForEachLetter(*store, *filter, [&](const LetterRecord& letter) {
    found = letter;
    return ++n < 2;
  });
  if (!read) return Failed(read.error());
  if (n == 0) return Refuse(404, "no dead letter matches");
  if (n > 1)
    return Refuse(409, "more than one dead letter matches: name the source and the sink, too");
  const auto block = EventOf(*found);
  if (!block) return Failed(block.error());
  return admin::Response{
      200, "application/octet-stream", std::string((**block).at(found->offset).payload), {}};
}

using Change = Result<uint64_t> (*)(store::Store*, const store::LetterFilter&);

Outcome<admin::Response> ChangeLetters(store::Store* store, const Query& query, Change change,
                                       const char* what,
                                       const std::function<Result<void>()>& afterwards) {
  const auto filter = FilterOf(*store, query);
  if (!filter) return tl::unexpected(filter.error());
  const auto n = change(store, *filter);
  if (!n) return Failed(n.error());
  if (*n > 0) log::Info(kMe, std::to_string(*n) + " dead letters were " + what);
  if (*n > 0 && afterwards) {
    if (const auto done = afterwards(); !done) {
      return Refuse(500, std::to_string(*n) + " dead letters were " + what +
                             ", but the gateway could not take that up: " + done.error().message +
                             "; it does at its next start");
    }
  }
  return Answer(Json{{"count", *n}});
}

// The first route of those letters that the configuration does not have, in words; empty: none.
Outcome<std::string> RouteThatIsGone(const config::Config& config, const store::Store& store,
                                     const Query& query) {
  const auto filter = FilterOf(store, query);
  if (!filter) return tl::unexpected(filter.error());
  const auto names = NamesOfQueues(store);
  if (!names) return Failed(names.error());
  std::string gone;
  auto read = store::ForEachLetter(store, *filter, [&](const LetterRecord& letter) {
    const auto source = names->find(letter.queue);
    if (source == names->end() || !config.HasRoute(source->second, letter.sink))
      gone =
          "source " + (source == names->end() ? "?" : source->second) + " and sink " + letter.sink;
    return gone.empty();
  });
  if (!read) return Failed(read.error());
  return gone;
}

Outcome<admin::Response> Replay(const StoreAccess& access, store::Store* store,
                                const Query& query) {
  if (const auto config = access.Config()) {
    const auto gone = RouteThatIsGone(*config, *store, query);
    if (!gone) return tl::unexpected(gone.error());
    if (!gone->empty())
      return Refuse(409, "no dead letter was marked: the configuration has no route from " + *gone +
                             ", so that its dead letters cannot be sent again; put it back, name "
                             "others with --source and --sink, or drop them");
  }
  return ChangeLetters(store, query, store::MarkForReplay, "marked to be sent again",
                       access.marked);
}

Outcome<admin::Response> Drop(const StoreAccess&, store::Store* store, const Query& query) {
  return ChangeLetters(store, query, store::DropLetters, "dropped by hand", nullptr);
}

}  // namespace

std::vector<Endpoint> StoreEndpoints(StoreAccess access) {
  const auto shared = std::make_shared<const StoreAccess>(std::move(access));
  using Operation = Outcome<admin::Response> (*)(const StoreAccess&, store::Store*, const Query&);
  const auto handler = [&shared](Operation operation) -> admin::Handler {
    return [shared, operation](const admin::Request& request) {
      const auto store = shared->store();
      if (!store) return Answer(Refusal{503, store.error().message});
      auto answer = operation(*shared, *store, request.query);
      return answer ? std::move(*answer) : Answer(answer.error());
    };
  };
  return {{"GET", "/queues", handler(ShowQueues)},
          {"GET", "/queues/events", handler(ShowEvents)},
          {"POST", "/queues/forget", handler(Forget)},
          {"GET", "/deadletters", handler(ShowLetters)},
          {"GET", "/deadletters/payload", handler(ShowPayload)},
          {"POST", "/deadletters/replay", handler(Replay)},
          {"POST", "/deadletters/drop", handler(Drop)}};
}

Result<void> ForgetQueue(store::Store* store, const config::Config& config,
                         const std::string& source) {
  const auto done = Forgetting(&config, store, source, "").Run(false);
  if (!done) return Fail(Code::kRetry, done.error().text);
  return {};
}

}  // namespace penstock::gateway
