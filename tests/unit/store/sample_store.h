// A store as the gateway leaves it, made through LMDB with the format's own encoders: queues with
// small chunks and large ones, cursors, dead letters, and pages that were freed and used again.
#pragma once

#include <lmdb.h>

#include <deque>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/format.h"
#include "store/seal.h"

namespace penstock::store::test {

using Contents = std::map<std::string, std::string>;

inline void Must(int code) {
  if (code == 0) return;
  std::fprintf(stderr, "LMDB: %s\n", mdb_strerror(code));
  std::abort();
}

class Lmdb {
 public:
  explicit Lmdb(const std::string& directory, unsigned flags = 0) {
    Must(mdb_env_create(&env_));
    Must(mdb_env_set_mapsize(env_, 256 << 20));
    open_code_ =
        mdb_env_open(env_, directory.c_str(), flags | MDB_NOTLS | MDB_NOMEMINIT | MDB_NOSYNC, 0640);
  }
  ~Lmdb() { mdb_env_close(env_); }
  Lmdb(const Lmdb&) = delete;
  Lmdb& operator=(const Lmdb&) = delete;
  int open_code() const { return open_code_; }

  MDB_txn* Begin(unsigned flags = 0) {
    MDB_txn* txn = nullptr;
    Must(mdb_txn_begin(env_, nullptr, flags, &txn));
    Must(mdb_dbi_open(txn, nullptr, 0, &dbi_));
    return txn;
  }
  void Put(MDB_txn* txn, const std::string& key, const std::string& value) {
    MDB_val k = Val(key), v = Val(value);
    Must(mdb_put(txn, dbi_, &k, &v, 0));
  }
  void Delete(MDB_txn* txn, const std::string& key) {
    MDB_val k = Val(key);
    Must(mdb_del(txn, dbi_, &k, nullptr));
  }
  Contents ReadAll() {
    Contents out;
    MDB_txn* const txn = Begin(MDB_RDONLY);
    MDB_cursor* cursor = nullptr;
    Must(mdb_cursor_open(txn, dbi_, &cursor));
    MDB_val k{}, v{};
    while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == 0)
      out.emplace(std::string(static_cast<char*>(k.mv_data), k.mv_size),
                  std::string(static_cast<char*>(v.mv_data), v.mv_size));
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return out;
  }
  MDB_env* env() const { return env_; }

 private:
  static MDB_val Val(const std::string& text) {
    return {text.size(), const_cast<char*>(text.data())};
  }
  MDB_env* env_ = nullptr;
  MDB_dbi dbi_ = 0;
  int open_code_ = 0;
};

inline std::string Payload(uint32_t queue, uint64_t offset, size_t bytes) {
  std::string out = std::to_string(queue) + '/' + std::to_string(offset) + ' ';
  uint64_t x = offset * 0x9e3779b97f4a7c15u + queue + 1;
  while (out.size() < bytes) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    out.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  out.resize(bytes);
  return out;
}

class SampleStore {
 public:
  struct Queue {
    QueueRecord record;
    std::map<std::string, CursorRecord> cursors;
    std::deque<std::pair<uint64_t, uint32_t>> chunks;  // first, count
    size_t event_bytes = 100;
    uint32_t events = 3;     // in a commit
    uint64_t backlog = 100;  // that the slowest sink has
    LetterCounts letter_counts{};
  };

  explicit SampleStore(std::string directory) : directory_(std::move(directory)) {
    std::filesystem::create_directories(directory_);
    queues_[1] = {{1, 0x1111, "orders", true, 0, 0, 0, 0}, {}, {}, 220, 3, 2500};
    queues_[2] = {{2, 0x2222, "audit", true, 0, 0, 0, 0}, {}, {}, 3000, 7, 120};
    queues_[3] = {{3, 0x3333, "memory", false, 0, 0, 0, 0}, {}, {}, 0, 0, 0};
    for (const uint32_t queue : {1u, 2u})
      for (const char* sink : {"bus", "lake"})
        queues_[queue].cursors[sink] = {queue, sink, 0, 0, 0, {}};
  }

  // So many group commits, and a clean stop.
  void Run(int commits) {
    Lmdb lmdb(directory_);
    Must(lmdb.open_code());
    for (int i = 0; i < commits; ++i) Commit(&lmdb);
    MDB_envinfo info{};
    mdb_env_info(lmdb.env(), &info);
    WriteSeal(info.me_last_txnid, true);
  }
  void WriteSeal(uint64_t commit, bool clean) const {
    SealFile seal;
    if (!seal.Open(directory_) || !seal.Write({format_.store_id, commit, clean}, false))
      std::abort();
  }

 private:
  void Commit(Lmdb* lmdb) {
    MDB_txn* const txn = lmdb->Begin();
    const uint64_t commit = mdb_txn_id(txn);
    if (commit == 1) lmdb->Put(txn, FormatKey(), Encode(format_, commit));
    for (auto& [number, queue] : queues_) {
      if (queue.record.disk) Append(lmdb, txn, commit, &queue);
      if (commit % 5 == number % 5) Bury(lmdb, txn, commit, &queue);
      if (queue.record.disk) Settle(lmdb, txn, commit, &queue);
      if (queue.record.disk || commit == 1)
        lmdb->Put(txn, QueueKey(number), Encode(queue.record, commit));
    }
    Must(mdb_txn_commit(txn));
  }

  void Append(Lmdb* lmdb, MDB_txn* txn, uint64_t commit, Queue* queue) {
    QueueRecord& record = queue->record;
    ChunkHead head{record.queue, queue->events, record.id, record.end, record.bytes_before, 0, 1};
    std::vector<std::string> payloads;
    std::vector<event::Event> events(queue->events);
    for (uint32_t i = 0; i < queue->events; ++i)
      payloads.push_back(Payload(record.queue, record.end + i, queue->event_bytes));
    for (uint32_t i = 0; i < queue->events; ++i) {
      events[i].payload = payloads[i];
      events[i].time_ns = 1;
      head.bytes += RecordBytes(events[i]);
    }
    std::string value(kEnvelopeBytes + kChunkHeadBytes + head.bytes, '\0');
    ChunkWriter writer(head, commit, value.data());
    for (const event::Event& event : events) writer.Add(event);
    writer.Finish();
    lmdb->Put(txn, ChunkKey(record.queue, head.first), value);
    queue->chunks.emplace_back(head.first, head.count);
    record.end += head.count;
    record.bytes_before += head.bytes;
  }

  void Bury(Lmdb* lmdb, MDB_txn* txn, uint64_t commit, Queue* queue) {
    LetterRecord letter{queue->record.queue,
                        queue->record.id,
                        commit,
                        "bus",
                        "id",
                        "poison",
                        1,
                        false,
                        0,
                        1,
                        1,
                        {}};
    event::Event event;
    const std::string payload = Payload(9, commit, commit % 3 == 0 ? 6000 : 300);
    event.payload = payload;
    event.time_ns = 1;
    letter.event.resize(RecordBytes(event));
    WriteRecord(event, letter.event.data());
    const auto key = [&](uint64_t offset) {
      return LetterKey(letter.queue, letter.queue_id, offset, letter.sink);
    };
    lmdb->Put(txn, key(commit), Encode(letter, commit));
    ++queue->letter_counts.buried;
    if (commit > 200) {
      lmdb->Delete(txn, key(commit - 200));
      ++queue->letter_counts.dropped;
    }
    queue->letter_counts.queue = letter.queue;
    queue->letter_counts.sink = letter.sink;
    lmdb->Put(txn, LetterCountsKey(letter.queue, letter.sink),
              Encode(queue->letter_counts, commit));
  }

  void Settle(Lmdb* lmdb, MDB_txn* txn, uint64_t commit, Queue* queue) {
    QueueRecord& record = queue->record;
    uint64_t lowest = record.end;
    for (auto& [sink, cursor] : queue->cursors) {
      const uint64_t behind = sink == "bus" ? queue->backlog / 2 : queue->backlog;
      const uint64_t to = record.end > behind ? record.end - behind : 0;
      cursor.counters[0] += to - cursor.committed;
      cursor.committed = to;
      lowest = std::min(lowest, to);
      lmdb->Put(txn, CursorKey(record.queue, sink), Encode(cursor, commit));
    }
    record.begin = std::max(record.begin, lowest);
    while (!queue->chunks.empty()) {
      const auto [first, count] = queue->chunks.front();
      if (first + count > lowest) break;
      lmdb->Delete(txn, ChunkKey(record.queue, first));
      queue->chunks.pop_front();
    }
  }

  const std::string directory_;
  FormatRecord format_{{0xaaaa, 0xbbbb}, 1};
  std::map<uint32_t, Queue> queues_;
};

}  // namespace penstock::store::test
