#include "store/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <set>

#include "store/catalog.h"
#include "store/pages.h"
#include "store/repair.h"
#include "unit/store/sample_store.h"

namespace penstock::store {
namespace {

namespace fs = std::filesystem;
using test::Contents;
using test::Lmdb;
using test::Must;
using test::SampleStore;
using ::testing::HasSubstr;

constexpr size_t kPage = 4096;

template <typename T>
T At(const std::string& bytes, size_t at) {
  T out;
  std::memcpy(&out, bytes.data() + at, sizeof out);
  return out;
}

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// The pages in use by kind, found by following LMDB's own pointers in a sound file.
struct PageMap {
  std::vector<uint64_t> branch, leaf, overflow, free_leaf;
  uint64_t newest_meta = 0;

  explicit PageMap(const std::string& file) : file_(file) {
    const auto transaction = [&](size_t page) { return At<uint64_t>(file, page * kPage + 144); };
    newest_meta = transaction(0) < transaction(1) ? 1 : 0;
    const size_t meta = newest_meta * kPage + 16;
    Walk(At<uint64_t>(file, meta + 24 + 40), true);
    Walk(At<uint64_t>(file, meta + 72 + 40), false);
  }

 private:
  void Walk(uint64_t page, bool free) {
    const size_t base = page * kPage;
    const bool is_branch = At<uint16_t>(file_, base + 10) == 1;
    if (!is_branch)
      (free ? free_leaf : leaf).push_back(page);
    else if (!free)
      branch.push_back(page);
    const int nodes = (At<uint16_t>(file_, base + 12) - 16) / 2;
    for (int i = 0; i < nodes; ++i) {
      const size_t node = base + At<uint16_t>(file_, base + 16 + 2 * static_cast<size_t>(i));
      const auto number = At<uint32_t>(file_, node);
      if (is_branch)
        Walk(number, free);
      else if (At<uint16_t>(file_, node + 4) == 1 && !free)
        overflow.push_back(At<uint64_t>(file_, node + 8 + At<uint16_t>(file_, node + 6)));
    }
  }
  const std::string& file_;
};

// A sound store, made once; each test damages a copy.
class StoreCheck : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ =
        new fs::path(fs::path(::testing::TempDir()) / ("store_check." + std::to_string(getpid())));
    SampleStore(*root_ / "sample").Run(1200);
    sample_ = new std::string(ReadFile(*root_ / "sample/data.mdb"));
    map_ = new PageMap(*sample_);
    original_ = new Contents(Lmdb(*root_ / "sample", MDB_RDONLY | MDB_NOLOCK).ReadAll());
  }
  static void TearDownTestSuite() {
    fs::remove_all(*root_);
    delete root_;
    delete sample_;
    delete map_;
    delete original_;
  }
  void SetUp() override {
    directory_ = *root_ / "damaged";
    fs::remove_all(directory_);
    fs::create_directories(directory_);
    Restore();
  }
  void Restore() {
    WriteFile(directory_ / "data.mdb", *sample_);
    fs::copy_file(*root_ / "sample/seal", directory_ / "seal",
                  fs::copy_options::overwrite_existing);
  }

  Report Check(Depth depth = Depth::kFull) {
    auto report = Verify(directory_, depth);
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : Report();
  }
  static std::string Text(const Report& report) { return ToJson(report); }

  void Overwrite(uint64_t at, const std::string& bytes) {
    std::fstream file(directory_ / "data.mdb", std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  void Flip(uint64_t at, int bit) {
    Overwrite(at, std::string(1, static_cast<char>((*sample_)[at] ^ 1 << bit)));
  }
  void Unflip(uint64_t at) { Overwrite(at, sample_->substr(at, 1)); }

  Contents ReadThroughLmdb() {
    Lmdb lmdb(directory_, MDB_RDONLY | MDB_NOLOCK);
    return lmdb.open_code() == 0 ? lmdb.ReadAll() : Contents();
  }
  // What was said of the store as it is now must hold.
  bool FoundOrHarmless() { return !Check().sound() || ReadThroughLmdb() == *original_; }
  // at_most: events that may be lost.
  void RepairAndCompare(uint64_t at_most = ~uint64_t{0});

  static fs::path* root_;
  static std::string* sample_;
  static PageMap* map_;
  static Contents* original_;
  fs::path directory_;
};
fs::path* StoreCheck::root_;
std::string* StoreCheck::sample_;
PageMap* StoreCheck::map_;
Contents* StoreCheck::original_;

// ---- repairs

using Offsets = std::map<uint64_t, std::string>;  // the events of a queue
struct Meaning {
  std::map<std::string, Offsets> events;
  std::map<std::string, QueueRecord> queues;
  std::map<std::string, std::string> letters, cursors;  // by key: the body
};

Meaning Understand(const Contents& contents) {
  Meaning out;
  std::map<uint32_t, std::string> names;
  for (const auto& [key, bytes] : contents) {
    const auto value = DecodeValue(bytes);
    if (!value) continue;
    if (const auto* queue = std::get_if<QueueRecord>(&value->record)) {
      names[queue->queue] = queue->name;
      out.queues[queue->name] = *queue;
    }
    if (value->envelope.kind == Kind::kLetter) out.letters[key] = value->envelope.body;
    if (value->envelope.kind == Kind::kCursor) out.cursors[key] = value->envelope.body;
  }
  for (const auto& [key, bytes] : contents) {
    const auto value = DecodeValue(bytes);
    if (!value || value->envelope.kind != Kind::kChunk) continue;
    const auto block = DecodeChunk(value->envelope.body);
    if (!block) continue;
    const uint32_t number = std::get<ChunkHead>(value->record).queue;
    for (uint64_t o = (*block)->first_offset(); o < (*block)->end_offset(); ++o)
      out.events[names[number]][o] = (*block)->at(o).payload;
  }
  return out;
}

bool Has(const std::vector<std::string>& texts, const std::string& beginning) {
  return std::any_of(texts.begin(), texts.end(),
                     [&](const std::string& t) { return t.starts_with(beginning); });
}

bool IsIn(const std::vector<LostRange>& ranges, const std::string& queue, uint64_t offset) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const LostRange& r) {
    return r.queue == queue && r.first <= offset && offset < r.end;
  });
}

void StoreCheck::RepairAndCompare(uint64_t at_most) {
  const fs::path out = *root_ / "repaired";
  fs::remove_all(out);
  const auto report = Repair(directory_, out);
  ASSERT_TRUE(report) << report.error().message;
  const auto checked = Verify(out, Depth::kFull);
  ASSERT_TRUE(checked && checked->sound()) << Text(*checked);
  ASSERT_TRUE(report->repaired);
  const std::vector<LostRange> lost = report->lost();
  EXPECT_EQ(lost, report->repaired->holes);
  uint64_t n_lost = 0;
  for (const LostRange& range : lost) n_lost += range.end - range.first;
  EXPECT_LE(n_lost, at_most) << Text(*report);
  const Meaning before = Understand(*original_);
  Meaning after = Understand(Lmdb(out, MDB_RDONLY | MDB_NOLOCK).ReadAll());
  const bool all_queues = after.queues.count("orders") + after.queues.count("audit") == 2;
  const bool told = !report->repaired->changes.empty() || !report->repaired->beyond_tree.empty();
  EXPECT_TRUE(all_queues || told) << Text(*report);
  for (const auto& [name, queue] : after.queues) {
    if (before.queues.count(name) == 0) continue;
    const bool older = Has(report->repaired->changes, "queue " + name + ": its record is an older");
    EXPECT_TRUE(queue.end >= before.queues.at(name).end || older) << name << Text(*report);
    for (const auto& [offset, payload] : before.events.at(name == "memory" ? "orders" : name)) {
      if (name == "memory" || offset < before.queues.at(name).begin) continue;
      if (older && offset >= queue.end) break;
      const Offsets& events = after.events[name];
      const auto at = events.find(offset);
      const bool is_lost = at == events.end();
      ASSERT_EQ(is_lost, IsIn(lost, name, offset)) << name << ' ' << offset << Text(*report);
      ASSERT_TRUE(is_lost || at->second == payload) << name << ' ' << offset;
    }
  }
  for (const auto& [name, events] : after.events) {
    const auto known = before.events.find(name);
    if (known == before.events.end() || events.empty()) continue;
    EXPECT_LE(events.rbegin()->first, known->second.rbegin()->first) << "invented";
  }
  for (const auto& [key, body] : before.cursors) {
    const bool same = after.cursors.count(key) > 0 && after.cursors.at(key) == body;
    EXPECT_TRUE(same || told) << Describe(key) << Text(*report);
  }
  for (const auto& [key, body] : before.letters) {
    const auto at = after.letters.find(key);
    EXPECT_TRUE(at != after.letters.end() || told) << Describe(key) << Text(*report);
    EXPECT_TRUE(at == after.letters.end() || at->second == body) << Describe(key);
  }
  const size_t more = after.letters.size() > before.letters.size()
                          ? after.letters.size() - before.letters.size()
                          : 0;
  EXPECT_LE(more, report->repaired->letters_returned);
}

// ---- the layout

TEST_F(StoreCheck, ReadsWhatLmdbWrote) {
  const Report full = Check(), structure = Check(Depth::kStructure);
  EXPECT_TRUE(full.sound()) << Text(full);
  EXPECT_TRUE(full.findings.empty()) << Text(full);
  EXPECT_TRUE(structure.findings.empty()) << Text(structure);
  Lmdb lmdb(*root_ / "sample", MDB_RDONLY | MDB_NOLOCK);
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(lmdb.env(), &info);
  mdb_env_stat(lmdb.env(), &stat);
  EXPECT_EQ(full.commit, info.me_last_txnid);
  EXPECT_EQ(full.pages, info.me_last_pgno + 1);
  EXPECT_EQ(full.leaked_pages, 0u);
  EXPECT_EQ(full.values, stat.ms_entries);
  EXPECT_EQ(stat.ms_psize, kPage);
  EXPECT_GE(stat.ms_depth, 3u) << "the sample must have every kind of page";
  EXPECT_GT(full.free_pages, 0u);
  EXPECT_FALSE(map_->overflow.empty());
  ASSERT_EQ(full.queues.size(), 3u);
  EXPECT_EQ(full.queues[0].name, "orders");
  EXPECT_EQ(full.queues[0].end, 3600u);
  EXPECT_EQ(full.queues[0].begin, 1100u);
  EXPECT_EQ(full.queues[0].cursors.size(), 2u);
}

// Whatever LMDB does to its trees, its own files must never be called damaged.
TEST_F(StoreCheck, CallsNoStoreDamagedThatLmdbMade) {
  const fs::path directory = *root_ / "grown";
  for (const int commits : {0, 1, 2, 3, 10, 50, 150, 400}) {
    fs::remove_all(directory);
    SampleStore store(directory);
    for (const int more : {commits, 1, 7}) {
      store.Run(more);
      const auto report = Verify(directory, Depth::kFull);
      ASSERT_TRUE(report);
      EXPECT_TRUE(report->findings.empty()) << commits << Text(*report);
    }
  }
}

TEST_F(StoreCheck, TellsHowFarItIs) {
  uint64_t last = 0;
  // Once for 16 MiB: the sample is smaller, so a file is read until it must have been told.
  auto file = PageFile::Open(directory_ / "data.mdb", [&](uint64_t bytes) { last = bytes; });
  ASSERT_TRUE(file);
  std::string page(kPage, '\0');
  for (int i = 0; i < 4097; ++i) ASSERT_TRUE(file->Read(0, kPage, page.data()));
  EXPECT_GE(last, 16u << 20);
}

// ---- damage

std::vector<std::pair<const char*, size_t>> PlacesToFlip(const std::string& sample,
                                                         const PageMap& map) {
  const auto meta = [&](bool newest) { return (map.newest_meta ^ (newest ? 0 : 1)) * kPage; };
  const size_t branch = map.branch.back() * kPage, leaf = map.leaf[map.leaf.size() / 2] * kPage;
  const size_t root = map.branch.front() * kPage;
  const size_t overflow = map.overflow.front() * kPage, free_leaf = map.free_leaf[0] * kPage;
  const auto node = [&](size_t page, size_t i) {
    return page + At<uint16_t>(sample, page + 16 + 2 * i);
  };
  const size_t leaf_key = node(leaf, 1) + 8;
  const size_t leaf_value = leaf_key + At<uint16_t>(sample, node(leaf, 1) + 6);
  return {
      {"magic of the newest meta page", meta(true) + 16},
      {"magic of the other meta page", meta(false) + 16},
      {"version of the newest meta page", meta(true) + 20},
      {"page size of the newest meta page", meta(true) + 41},
      {"page size of the other meta page", meta(false) + 41},
      {"flags of the main tree", meta(true) + 16 + 72 + 4},
      {"depth of the main tree", meta(true) + 16 + 72 + 6},
      {"entries of the main tree", meta(true) + 16 + 72 + 32},
      {"root of the main tree", meta(true) + 16 + 72 + 40},
      {"root of the free list", meta(true) + 16 + 24 + 40},
      {"transaction of the newest meta page", meta(true) + 144},
      {"transaction of the other meta page", meta(false) + 144},
      {"page number of a branch", branch},
      {"flags of a branch", branch + 10},
      {"lower bound of a branch", branch + 12},
      {"upper bound of a branch", branch + 14},
      {"node pointer of a branch", branch + 18},
      {"page number below a branch", node(branch, 1)},
      {"page number below the root", node(root, 1)},
      {"key size in a branch", node(branch, 1) + 6},
      {"kind byte of a key in a branch", node(branch, 1) + 8},
      {"page number of a leaf", leaf},
      {"flags of a leaf", leaf + 10},
      {"lower bound of a leaf", leaf + 12},
      {"upper bound of a leaf", leaf + 14},
      {"node pointer of a leaf", leaf + 18},
      {"value size in a leaf", node(leaf, 1)},
      {"node flags in a leaf", node(leaf, 1) + 4},
      {"key size in a leaf", node(leaf, 1) + 6},
      {"key in a leaf", leaf_key},
      {"last byte of a key in a leaf", leaf_value - 1},
      {"magic of a value", leaf_value},
      {"commit of a value", leaf_value + 16},
      {"checksum of a value", leaf_value + 24},
      {"body of a value", leaf_value + 60},
      {"page number of an overflow page", overflow},
      {"flags of an overflow page", overflow + 10},
      {"length of an overflow run", overflow + 12},
      {"value on an overflow page", overflow + 16},
      {"second page of an overflow run", overflow + kPage + 5},
      {"header of a free list leaf", free_leaf + 12},
      {"key of a free list leaf", node(free_leaf, 0) + 8 + 5},
      {"length of a free list entry", node(free_leaf, 0) + 8 + 8},
      {"a free page's number", node(free_leaf, 0) + 8 + 8 + 8},
  };
}

TEST_F(StoreCheck, FindsOneFlippedBitInEveryKindOfPage) {
  for (const auto& [what, at] : PlacesToFlip(*sample_, *map_)) {
    SCOPED_TRACE(what);
    for (const int bit : {0, 2, 5}) {
      SCOPED_TRACE(bit);
      Flip(at, bit);
      const Report report = Check();
      EXPECT_FALSE(report.sound()) << Text(report);
      RepairAndCompare(7);  // one chunk
      Unflip(at);
    }
  }
}

TEST_F(StoreCheck, FindsRandomFlips) {
  const uint64_t seed = 20240611;
  std::cout << "seed " << seed << '\n';
  std::mt19937_64 random(seed);
  int found = 0;
  for (int i = 0; i < 3500; ++i) {
    // Half of them where they hurt: most of the file is free pages and event bytes.
    const uint64_t page = i % 2 == 0 ? random() % (sample_->size() / kPage)
                          : i % 4 == 1
                              ? map_->leaf[random() % map_->leaf.size()]
                              : (i % 8 == 3 ? map_->branch[random() % map_->branch.size()]
                                            : map_->free_leaf[random() % map_->free_leaf.size()]);
    const uint64_t at = page * kPage + (i % 16 == 1 ? random() % 64 : random() % kPage);
    const int bit = static_cast<int>(random() % 8);
    Flip(at, bit);
    SCOPED_TRACE("byte " + std::to_string(at) + " bit " + std::to_string(bit));
    const bool sound = Check().sound();
    if (sound) {
      ASSERT_EQ(ReadThroughLmdb(), *original_);
    } else {
      ++found;
    }
    // What the structure alone shows can only be less.
    if (sound && i % 10 == 0) {
      ASSERT_TRUE(Check(Depth::kStructure).sound());
    }
    if (!sound && i % 40 == 1) RepairAndCompare(7);
    Unflip(at);
  }
  EXPECT_GT(found, 500);
}

TEST_F(StoreCheck, FindsSeveralRandomFlipsAtOnce) {
  const uint64_t seed = 7;
  std::cout << "seed " << seed << '\n';
  std::mt19937_64 random(seed);
  for (int i = 0; i < 40; ++i) {
    std::vector<uint64_t> places;
    for (int n = 0; n < 20; ++n) {
      const auto& pages = n % 3 == 0 ? map_->branch : n % 3 == 1 ? map_->leaf : map_->free_leaf;
      places.push_back(pages[random() % pages.size()] * kPage + random() % kPage);
      Flip(places.back(), static_cast<int>(random() % 8));
    }
    EXPECT_TRUE(FoundOrHarmless());
    RepairAndCompare();
    for (const uint64_t at : places) Unflip(at);
  }
}

TEST_F(StoreCheck, FindsZeroedPages) {
  const struct {
    const char* what;
    uint64_t page;
  } pages[] = {
      {"newest meta page", map_->newest_meta},
      {"other meta page", 1 - map_->newest_meta},
      {"root", map_->branch.front()},
      {"branch", map_->branch.back()},
      {"first leaf", map_->leaf.front()},
      {"leaf", map_->leaf[map_->leaf.size() / 2]},
      {"last leaf", map_->leaf.back()},
      {"overflow", map_->overflow.back()},
      {"overflow body", map_->overflow.back() + 1},
      {"free list", map_->free_leaf.front()},
  };
  for (const auto& [what, page] : pages) {
    SCOPED_TRACE(what);
    Overwrite(page * kPage, std::string(kPage, '\0'));
    EXPECT_FALSE(Check().sound());
    EXPECT_FALSE(Check(Depth::kStructure).sound() && std::string(what) != "overflow body");
    RepairAndCompare();
    Overwrite(page * kPage, sample_->substr(page * kPage, kPage));
  }
  Overwrite(0, std::string(2 * kPage, '\0'));
  EXPECT_FALSE(Check().sound());
  RepairAndCompare();
}

TEST_F(StoreCheck, SaysWhichEventsAreLost) {
  Overwrite(map_->overflow.back() * kPage + 100, "x");
  const Report report = Check();
  const std::vector<LostRange> lost = report.lost();
  ASSERT_EQ(lost.size(), 1u) << Text(report);
  EXPECT_EQ(lost[0].queue, "audit");
  EXPECT_EQ(lost[0].end - lost[0].first, 7u);
  EXPECT_THAT(Text(report), HasSubstr("the events of queue #2 from offset " +
                                      std::to_string(lost[0].first) + " is damaged"));
}

TEST_F(StoreCheck, FindsAMissingChunkInASoundTree) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : *original_)
    if (key.starts_with(KeyPrefix(Kind::kChunk, 1))) keys.push_back(key);
  {
    Lmdb lmdb(directory_);
    MDB_txn* const txn = lmdb.Begin();
    lmdb.Delete(txn, keys[keys.size() / 2]);
    lmdb.Delete(txn, keys.back());
    Must(mdb_txn_commit(txn));
  }
  fs::remove(directory_ / "seal");
  EXPECT_TRUE(Check(Depth::kStructure).sound());
  const Report report = Check();
  ASSERT_EQ(report.lost().size(), 2u) << Text(report);
  EXPECT_EQ(report.lost()[1], (LostRange{1, "orders", 3597, 3600}));
}

TEST_F(StoreCheck, FindsAMissingLetterInASoundTreeAndCountsOnTheRest) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : *original_)
    if (key.starts_with(KeyPrefix(Kind::kLetter, 1))) keys.push_back(key);
  const std::string n = std::to_string(keys.size());
  {
    Lmdb lmdb(directory_);
    MDB_txn* const txn = lmdb.Begin();
    lmdb.Delete(txn, keys[keys.size() / 2]);
    lmdb.Delete(txn, LetterCountsKey(3, "bus"));
    Must(mdb_txn_commit(txn));
  }
  fs::remove(directory_ / "seal");
  const std::string found = Text(Check());
  EXPECT_THAT(found,
              HasSubstr("queue orders: of sink \\\"bus\\\" " + n + " dead letters were kept, and " +
                        std::to_string(keys.size() - 1) + " are there"));
  EXPECT_THAT(found, HasSubstr("queue memory: of sink \\\"bus\\\" 0 dead letters were kept"));
  const auto repaired = Repair(directory_, *root_ / "letters");
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_TRUE(repaired->sound()) << Text(*repaired);
  EXPECT_EQ(repaired->repaired->changes.size(), 2u) << Text(*repaired);
  EXPECT_TRUE(Verify(*root_ / "letters", Depth::kFull)->sound());
}

TEST_F(StoreCheck, FindsTruncation) {
  const size_t size = sample_->size();
  const size_t last_used =
      std::max(*std::max_element(map_->leaf.begin(), map_->leaf.end()),
               *std::max_element(map_->overflow.begin(), map_->overflow.end()));
  for (const size_t to : {size / 2, size / 3, size / 2 + 100, (last_used + 1) * kPage - 1,
                          last_used * kPage, 3 * kPage, 2 * kPage, 2 * kPage - 1, kPage,
                          size_t{100}, size_t{1}, size - kPage, size - 1}) {
    SCOPED_TRACE(to);
    Restore();
    fs::resize_file(directory_ / "data.mdb", to);
    const bool harmless = to >= (last_used + 1) * kPage;
    EXPECT_TRUE(harmless ? FoundOrHarmless() : !Check().sound());
    RepairAndCompare();
  }
}

TEST_F(StoreCheck, FindsAMissingOrEmptyOrForeignFile) {
  fs::resize_file(directory_ / "data.mdb", 0);
  EXPECT_THAT(Text(Check()), HasSubstr("data.mdb is empty: all that was stored is lost"));
  EXPECT_FALSE(Repair(directory_, *root_ / "nothing"));
  fs::remove(directory_ / "data.mdb");
  EXPECT_THAT(Text(Check()), HasSubstr("data.mdb is missing: all that was stored is lost"));
  EXPECT_FALSE(Check().sound());
  EXPECT_FALSE(Repair(directory_, *root_ / "nothing"));
  WriteFile(directory_ / "data.mdb", std::string(100000, 'x'));
  EXPECT_THAT(Text(Check()), HasSubstr("is not a file of LMDB"));
  EXPECT_FALSE(Check().sound());
}

TEST_F(StoreCheck, CallsAStoreFreshThatNeverWas) {
  const fs::path directory = *root_ / "fresh";
  EXPECT_TRUE(Verify(directory, Depth::kFull)->fresh);
  fs::create_directories(directory);
  EXPECT_TRUE(Verify(directory, Depth::kFull)->fresh);
  WriteFile(directory / "data.mdb", "");
  EXPECT_TRUE(Verify(directory, Depth::kFull)->fresh);
  WriteFile(directory / "data.mdb", std::string(1 << 20, '\0'));
  EXPECT_TRUE(Verify(directory, Depth::kFull)->fresh);
  EXPECT_TRUE(Verify(directory, Depth::kFull)->sound());
  fs::remove(directory / "data.mdb");
  Lmdb(directory).open_code();
  EXPECT_TRUE(Verify(directory, Depth::kFull)->fresh);
  EXPECT_FALSE(Check().fresh);
}

TEST_F(StoreCheck, SaysThatAnotherReleaseMadeTheStore) {
  {
    Lmdb lmdb(directory_);
    MDB_txn* const txn = lmdb.Begin();
    std::string value = original_->at(FormatKey());
    value[4] = 9;
    lmdb.Put(txn, FormatKey(), value);
    Must(mdb_txn_commit(txn));
  }
  EXPECT_FALSE(Check().sound());
  EXPECT_THAT(Text(Check()), HasSubstr("format version 9, expected 1; another release"));
}

TEST_F(StoreCheck, ComparesTheSeal) {
  const SampleStore store(directory_);
  const uint64_t commit = Check().commit;
  const auto seal = [&](uint64_t at, bool clean) {
    store.WriteSeal(at, clean);
    return Check();
  };
  EXPECT_TRUE(seal(commit, true).findings.empty());
  EXPECT_TRUE(seal(commit, false).findings.empty());
  EXPECT_TRUE(seal(commit - 5, false).findings.empty());
  EXPECT_THAT(Text(seal(commit - 5, true)), HasSubstr("something else has written to it"));
  const Report newer = seal(commit + 2, false);
  EXPECT_FALSE(newer.sound());
  EXPECT_THAT(Text(newer), HasSubstr("commits " + std::to_string(commit + 1) + " to " +
                                     std::to_string(commit + 2) + " are lost"));
  SealFile other;
  ASSERT_TRUE(other.Open(directory_) && other.Write({{1, 2}, commit, true}, false));
  EXPECT_THAT(Text(Check()), HasSubstr("of another store"));
  WriteFile(directory_ / "seal", "garbage, and not short enough to be a seal that was cut off");
  EXPECT_THAT(Text(Check()), HasSubstr("not a whole seal"));
  EXPECT_TRUE(Check().sound()) << "nothing is lost with it";
  fs::remove(directory_ / "seal");
  EXPECT_THAT(Text(Check()), HasSubstr("the seal is missing"));
  EXPECT_TRUE(Check().sound());
}

// Meta pages that point at themselves, at each other's pages, or at pages in a ring.
TEST_F(StoreCheck, EndsOnRings) {
  const size_t root = map_->branch.front() * kPage;
  const size_t below = root + At<uint16_t>(*sample_, root + 18);
  const auto own = static_cast<uint32_t>(map_->branch.front());
  Overwrite(below, std::string(reinterpret_cast<const char*>(&own), 4));
  EXPECT_THAT(Text(Check()), HasSubstr("referred to twice"));
  RepairAndCompare();
}

// ---- repairs of what is sound, and twice

TEST_F(StoreCheck, RepairOfASoundStoreKeepsEverything) {
  RepairAndCompare();
  const auto report = Repair(directory_, *root_ / "again");
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->repaired->holes.empty());
  EXPECT_TRUE(report->repaired->changes.empty());
  EXPECT_EQ(report->repaired->from_tree, original_->size());
  EXPECT_EQ(report->repaired->from_pages, 0u);
  EXPECT_FALSE(Repair(directory_, *root_ / "again")) << "never over a store that is there";
}

TEST_F(StoreCheck, HolesOutliveASecondRepair) {
  Overwrite(map_->overflow.back() * kPage + 100, "x");
  const fs::path first = *root_ / "first", second = *root_ / "second";
  const auto once = Repair(directory_, first);
  ASSERT_TRUE(once);
  ASSERT_EQ(once->repaired->holes.size(), 1u);
  const auto twice = Repair(first, second);
  ASSERT_TRUE(twice);
  EXPECT_TRUE(twice->repaired->holes.empty()) << "lost once only";
  const auto checked = Verify(second, Depth::kFull);
  ASSERT_EQ(checked->queues.size(), 3u);
  EXPECT_EQ(checked->queues[1].holes, once->repaired->holes);
}

// ---- in a child

TEST_F(StoreCheck, ChildReportsWhatItFound) {
  const auto sound = CheckInChild(CHECK_CHILD, {"check", directory_});
  ASSERT_TRUE(sound) << sound.error().message;
  EXPECT_TRUE(sound->sound());
  EXPECT_EQ(sound->queues.size(), 3u);
  Overwrite(map_->overflow.back() * kPage + 100, "x");
  const auto damaged = CheckInChild(CHECK_CHILD, {"check", directory_});
  ASSERT_TRUE(damaged) << damaged.error().message;
  EXPECT_EQ(ToJson(*damaged), Text(Check()));
  const auto repaired = CheckInChild(CHECK_CHILD, {"repair", directory_, *root_ / "by-child"});
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_EQ(repaired->repaired->holes, damaged->lost());
  EXPECT_FALSE(CheckInChild(CHECK_CHILD, {"repair", directory_, *root_ / "by-child"}));
}

TEST_F(StoreCheck, AChildThatDiesOrHangsIsAFinding) {
  CheckLimits limits;
  EXPECT_THAT(Text(*CheckInChild(CHECK_CHILD, {"abort"})), HasSubstr("ended by a signal: Aborted"));
  limits.no_progress = std::chrono::milliseconds(50);
  for (const char* how : {"silent", "silent-closed"}) {
    const auto report = CheckInChild(CHECK_CHILD, {how}, limits);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_FALSE(report->sound());
    EXPECT_THAT(Text(*report), HasSubstr("no progress for 50 ms"));
  }
  limits.no_progress = std::chrono::minutes(1);
  EXPECT_THAT(Text(*CheckInChild(CHECK_CHILD, {"endless"}, limits)),
              HasSubstr("more than it should"));
  const auto bad = CheckInChild(CHECK_CHILD, {"nonsense"});
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("no report, and exit code 5"));
  EXPECT_FALSE(CheckInChild("/nowhere/at/all", {}));
}

TEST_F(StoreCheck, ASignalFromOutsideIsNoFinding) {
  for (const char* crash : {"SEGV", "BUS"})
    EXPECT_THAT(Text(*CheckInChild(CHECK_CHILD, {crash})), HasSubstr("ended by a signal"));
  for (const char* outside : {"KILL", "TERM"}) {
    const auto killed = CheckInChild(CHECK_CHILD, {outside});
    ASSERT_FALSE(killed) << outside;
    EXPECT_EQ(killed.error().code, Code::kRetry);
    EXPECT_THAT(killed.error().message, HasSubstr("Nothing was found out about the store"));
  }
}

}  // namespace
}  // namespace penstock::store
