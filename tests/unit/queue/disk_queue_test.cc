#include "queue/disk_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fakes/before_read.h"
#include "fakes/fake_clock.h"
#include "fakes/fake_events.h"
#include "fakes/temp_dir.h"
#include "queue/replay_queue.h"
#include "store/catalog.h"

namespace penstock::queue {
namespace {

using fakes::FakeBatch;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Nanoseconds kTry{0};

std::vector<std::string> Payloads(const ReadResult& result) {
  std::vector<std::string> out;
  for (const Run& run : result.runs)
    for (uint64_t offset = run.begin; offset < run.end; ++offset)
      out.emplace_back(run.block->at(offset).payload);
  return out;
}

std::vector<std::string> Numbers(uint64_t first, size_t n) {
  std::vector<std::string> out;
  for (uint64_t i = first; i < first + n; ++i) out.push_back(std::to_string(i));
  return out;
}

// A store that commits only when told to, and queues in it.
class DiskQueueTest : public testing::Test {
 protected:
  DiskQueueTest() { OpenStore(); }
  ~DiskQueueTest() override {
    queues_.clear();
    store_.reset();
    EXPECT_EQ(budget_.used(), 0u);
    EXPECT_EQ(lender_.released.load(), lender_.lent.load());
  }

  void OpenStore() {
    auto lock = store::Lock::Take(dir_.path() + "/store");
    ASSERT_TRUE(lock) << lock.error().message;
    store::Store::Options options;
    options.thread = false;
    auto opened = store::Store::Open(std::move(*lock), options, &clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  // As after a kill: what was not committed is gone.
  void Crash() {
    queues_.clear();
    store_.reset();
    acks_.clear();
    OpenStore();
  }
  DiskQueue& Open(const std::string& name = "orders", Limits limits = Big(),
                  std::shared_ptr<StoredLetters> letters = nullptr) {
    auto queue = DiskQueue::Open(
        store_.get(), name, limits, &budget_, 0, &clock_,
        [this](const uint64_t* tokens, size_t n) { acks_.insert(acks_.end(), tokens, tokens + n); },
        std::move(letters));
    EXPECT_TRUE(queue) << queue.error().message;
    queues_.push_back(*queue);
    return **queue;
  }
  static Limits Big() { return {1 << 20, 1 << 30, WhenFull::kBlock}; }
  Reader Add(DiskQueue& queue, const std::string& name = "bus", Start start = Start::kOldest) {
    return queue.AddReader(name, start, wake_);
  }
  // Events "FIRST".."FIRST+n-1" with ack tokens of the same number; how many were taken.
  size_t Append(DiskQueue& queue, uint64_t first, size_t n,
                penstock_status expected = PENSTOCK_OK) {
    FakeBatch batch(&lender_);
    for (size_t i = 0; i < n; ++i) batch.Add(std::to_string(first + i), first + i);
    size_t accepted = 0;
    EXPECT_EQ(batch.AppendTo(queue, &accepted, kTry), expected);
    return accepted;
  }
  void AppendSized(DiskQueue& queue, size_t payload_bytes) {
    FakeBatch batch(&lender_);
    batch.Add(std::string(payload_bytes, 'x'));
    size_t accepted = 0;
    EXPECT_EQ(batch.AppendTo(queue, &accepted, kTry), PENSTOCK_OK);
  }
  static std::vector<std::string> ReadFrom(DiskQueue& queue, ReaderId reader, uint64_t offset) {
    std::vector<std::string> out;
    for (;;) {
      const ReadResult result = queue.Read(reader, offset, ~0ull, ~0ull);
      if (result.runs.empty()) return out;
      for (std::string& payload : Payloads(result)) out.push_back(std::move(payload));
      offset = result.end;
    }
  }
  static Progress To(uint64_t settled, uint64_t delivered) {
    Progress progress{settled, settled};
    progress.counters.delivered = delivered;
    return progress;
  }
  std::shared_ptr<StoredLetters> OpenLetters(StoredLetters::Limits limits = {}) {
    auto letters = StoredLetters::Open(store_.get(), "orders", limits, &clock_);
    EXPECT_TRUE(letters) << letters.error().message;
    return std::move(*letters);
  }
  // The event at offset as a dead letter, room for it reserved.
  static Letter Bury(DiskQueue& queue, StoredLetters& letters, ReaderId reader, uint64_t offset) {
    const ReadResult read = queue.Read(reader, offset, 1, ~0ull);
    Letter letter;
    letter.queue_id = queue.id();
    letter.offset = letter.place = offset;
    letter.block = read.runs.at(0).block;
    letter.id = "id-" + std::to_string(offset);
    letter.reason = "too large";
    letter.attempts = 1;
    EXPECT_EQ(letters.Reserve(letter, "bus"), DeadLetters::Room::kReserved);
    return letter;
  }
  std::vector<std::string> LetterIds() {
    std::vector<std::string> out;
    EXPECT_TRUE(store::ForEachLetter(*store_, {}, [&](const store::LetterRecord& letter) {
      out.push_back(letter.id);
      return true;
    }));
    return out;
  }
  size_t Chunks() {
    size_t n = 0;
    EXPECT_TRUE(store_->Read([&](const store::Transaction& transaction) {
      return transaction.ForEach("E", [&](const store::KeyValue&) { return ++n > 0; });
    }));
    return n;
  }

  fakes::TempDir dir_;
  fakes::FakeClock clock_;
  MemoryBudget budget_{64 << 20};
  fakes::Lender lender_;
  std::shared_ptr<Signal> wake_ = std::make_shared<Signal>();
  std::vector<uint64_t> acks_;
  std::unique_ptr<store::Store> store_;
  std::vector<std::shared_ptr<DiskQueue>> queues_;
};

TEST_F(DiskQueueTest, AQueueThatHadOnlyDeadLettersIsOnDiskFromNowOn) {
  const auto letters = OpenLetters();
  EXPECT_FALSE(store_->Queues()->at(0).disk);
  Open();
  EXPECT_TRUE(store_->Queues()->at(0).disk);
}

TEST_F(DiskQueueTest, ShowsAndAcknowledgesEventsOnlyOnceTheyAreStored) {
  DiskQueue& queue = Open();
  const Reader reader = Add(queue);
  Append(queue, 0, 3);
  EXPECT_EQ(queue.end(), 0u);
  EXPECT_THAT(ReadFrom(queue, reader.id, 0), IsEmpty());
  EXPECT_THAT(acks_, IsEmpty());
  const Signal::Ticket ticket = wake_->Take();
  store_->CommitNow();
  EXPECT_NE(wake_->Take(), ticket);
  EXPECT_EQ(queue.end(), 3u);
  EXPECT_THAT(ReadFrom(queue, reader.id, 0), ElementsAre("0", "1", "2"));
  EXPECT_THAT(acks_, ElementsAre(0, 1, 2));
}

TEST_F(DiskQueueTest, AReaderThatIsRemovedLeavesTheStoreWithTheNextCommit) {
  DiskQueue& queue = Open();
  const Reader stays = Add(queue, "stays"), goes = Add(queue, "goes");
  Append(queue, 0, 3);
  store_->CommitNow();
  queue.Release(stays.id, To(3, 3));
  store_->CommitNow();
  EXPECT_EQ(queue.stats().events, 3u);
  queue.RemoveReader(goes.id);
  store_->CommitNow();
  store_->CommitNow();
  EXPECT_EQ(queue.stats().events, 0u);
  const auto cursors = store_->Cursors(store_->Queues()->at(0).queue);
  ASSERT_EQ(cursors->size(), 1u);
  EXPECT_EQ(cursors->at(0).sink, "stays");
  const Reader anew = Add(queue, "goes", Start::kNew);
  store_->CommitNow();
  EXPECT_EQ(anew.start, 3u);
  EXPECT_EQ(store_->Cursors(store_->Queues()->at(0).queue)->size(), 2u);
}

TEST_F(DiskQueueTest, ANewOwnerIsToldOfItsOwnEventsOnly) {
  DiskQueue& queue = Open();
  Append(queue, 0, 2);
  std::vector<uint64_t> told;
  queue.SetOnSafe([&](const uint64_t* tokens, size_t n) { told.assign(tokens, tokens + n); });
  Append(queue, 7, 2);
  store_->CommitNow();
  EXPECT_THAT(told, ElementsAre(7, 8));
  EXPECT_THAT(acks_, IsEmpty());
}

TEST_F(DiskQueueTest, KeepsWhatWasStoredAndItsIdsOverACrash) {
  uint64_t id = 0;
  {
    DiskQueue& queue = Open();
    Add(queue);
    id = queue.id();
    Append(queue, 0, 5);
    store_->CommitNow();
    Append(queue, 5, 5);  // never stored
  }
  Crash();
  DiskQueue& queue = Open();
  const Reader reader = Add(queue);
  EXPECT_EQ(queue.id(), id);
  EXPECT_EQ(queue.end(), 5u);
  EXPECT_THAT(ReadFrom(queue, reader.id, 0), ElementsAre("0", "1", "2", "3", "4"));
  Append(queue, 100, 1);
  store_->CommitNow();
  EXPECT_THAT(ReadFrom(queue, reader.id, 4), ElementsAre("4", "100"));
}

TEST_F(DiskQueueTest, KeepsAllOfAnEventOverACrash) {
  {
    DiskQueue& queue = Open();
    Add(queue);
    FakeBatch batch(&lender_);
    batch.Add(std::string("pay\0load", 8));
    penstock_event& event = batch.back();
    const penstock_kv attributes[] = {{batch.Keep("traceparent"), batch.Keep("00-1")},
                                      {batch.Keep("empty"), batch.Keep("")}};
    event.subject = batch.Keep("created");
    event.id = batch.Keep("my-id");
    event.type = batch.Keep("t");
    event.content_type = batch.Keep("application/json");
    event.attributes = attributes;
    event.n_attributes = 2;
    event.time_ns = 12345;
    size_t accepted = 0;
    batch.AppendTo(queue, &accepted, kTry);
    Append(queue, 1, 1);
    store_->CommitNow();
  }
  Crash();
  DiskQueue& queue = Open();
  const ReadResult result = queue.Read(Add(queue).id, 0, ~0ull, ~0ull);
  ASSERT_EQ(result.end, 2u);
  const event::Event& event = result.runs.at(0).block->at(0);
  EXPECT_EQ(event.payload, std::string("pay\0load", 8));
  EXPECT_EQ(event.subject, "created");
  EXPECT_EQ(event.id, "my-id");
  EXPECT_EQ(event.type, "t");
  EXPECT_EQ(event.content_type, "application/json");
  EXPECT_EQ(event.time_ns, 12345);
  ASSERT_EQ(event.attributes.size(), 2u);
  EXPECT_EQ(std::string(event.attributes[0].key.ptr, event.attributes[0].key.len), "traceparent");
  EXPECT_EQ(std::string(event.attributes[0].value.ptr, event.attributes[0].value.len), "00-1");
  EXPECT_EQ(event.attributes[1].value.len, 0u);
  EXPECT_EQ(result.runs[0].block->at(1).payload, "1");
  EXPECT_EQ(result.runs[0].block->at(1).attributes.size(), 0u);
}

TEST_F(DiskQueueTest, ResumesEachReaderWithItsCounters) {
  {
    DiskQueue& queue = Open();
    const Reader fast = Add(queue, "fast"), slow = Add(queue, "slow");
    Append(queue, 0, 10);
    store_->CommitNow();
    Progress progress = To(8, 5);
    progress.counters.dropped[static_cast<size_t>(DropReason::kRejected)] = 3;
    queue.Release(fast.id, progress);
    queue.Release(slow.id, To(2, 2));
    store_->CommitNow();
    queue.Release(slow.id, To(9, 9));  // never stored
  }
  Crash();
  DiskQueue& queue = Open();
  const Reader fast = Add(queue, "fast"), slow = Add(queue, "slow");
  EXPECT_EQ(fast.settled, 8u);
  EXPECT_EQ(fast.start, 0u);
  EXPECT_EQ(fast.counters.delivered, 5u);
  EXPECT_EQ(fast.counters.dropped[static_cast<size_t>(DropReason::kRejected)], 3u);
  EXPECT_EQ(slow.settled, 2u);
  EXPECT_EQ(queue.begin(), 2u);
  EXPECT_THAT(ReadFrom(queue, slow.id, slow.settled), testing::ElementsAreArray(Numbers(2, 8)));
}

TEST_F(DiskQueueTest, ANewReaderStartsAtTheEndOrAtTheOldestEvent) {
  {
    DiskQueue& queue = Open();
    Add(queue);
    Append(queue, 0, 4);
    store_->CommitNow();
  }
  Crash();
  DiskQueue& queue = Open();
  EXPECT_EQ(Add(queue, "late", Start::kNew).settled, 4u);
  EXPECT_EQ(Add(queue, "all", Start::kOldest).settled, 0u);
}

TEST_F(DiskQueueTest, DeletesWhatEveryReaderHasSettledInTheSameCommit) {
  DiskQueue& queue = Open();
  const Reader a = Add(queue, "a"), b = Add(queue, "b");
  for (int i = 0; i < 10; ++i) {
    Append(queue, static_cast<uint64_t>(i), 1);
    store_->CommitNow();
  }
  EXPECT_EQ(Chunks(), 10u);
  queue.Release(a.id, To(10, 10));
  store_->CommitNow();
  EXPECT_EQ(Chunks(), 10u);
  queue.Release(b.id, To(7, 7));
  store_->CommitNow();
  EXPECT_EQ(Chunks(), 3u);
  EXPECT_EQ(queue.stats().events, 3u);
}

TEST_F(DiskQueueTest, NeverUsesAnOffsetTwiceWhenItIsEmptied) {
  {
    DiskQueue& queue = Open();
    const Reader reader = Add(queue);
    Append(queue, 0, 5);
    store_->CommitNow();
    queue.Release(reader.id, To(5, 5));
    store_->CommitNow();
    EXPECT_EQ(Chunks(), 0u);
  }
  Crash();
  DiskQueue& queue = Open();
  EXPECT_EQ(queue.end(), 5u);
  const Reader reader = Add(queue);
  Append(queue, 5, 1);
  store_->CommitNow();
  EXPECT_THAT(ReadFrom(queue, reader.id, 5), ElementsAre("5"));
}

TEST_F(DiskQueueTest, ReadsBackFromTheStoreWhatHasLeftMemory) {
  {
    DiskQueue& queue = Open();
    Add(queue);
    for (uint64_t i = 0; i < 30; ++i) {
      Append(queue, i * 100, 100);
      if (i % 3 == 2) store_->CommitNow();
    }
  }
  Crash();  // leaves nothing in memory
  DiskQueue& queue = Open();
  const Reader reader = Add(queue);
  Append(queue, 3000, 10);
  store_->CommitNow();
  EXPECT_THAT(ReadFrom(queue, reader.id, 0), testing::ElementsAreArray(Numbers(0, 3010)));
  // In small steps, from the middle of a chunk, and over the border to what is in memory.
  uint64_t offset = 1234;
  while (offset < 3010) {
    const ReadResult result = queue.Read(reader.id, offset, 7, ~0ull);
    ASSERT_EQ(result.begin, offset);
    ASSERT_GT(result.end, offset);
    ASSERT_LE(result.end, offset + 7);
    EXPECT_EQ(Payloads(result).front(), std::to_string(offset));
    offset = result.end;
  }
}

TEST_F(DiskQueueTest, CutsACommitIntoChunksAndKeepsLargeEventsWhole) {
  DiskQueue& queue = Open();
  const Reader reader = Add(queue);
  for (const size_t size : {30'000, 30'000, 30'000, 200'000, 10, 10}) AppendSized(queue, size);
  store_->CommitNow();
  EXPECT_EQ(Chunks(), 4u);
  Crash();
  DiskQueue& again = Open();
  std::vector<size_t> sizes;
  for (const std::string& payload : ReadFrom(again, Add(again).id, 0))
    sizes.push_back(payload.size());
  EXPECT_THAT(sizes, ElementsAre(30'000, 30'000, 30'000, 200'000, 10, 10));
  (void)reader;
}

TEST_F(DiskQueueTest, BlocksAtItsBoundsUntilASettledCommitMakesRoom) {
  DiskQueue& queue = Open("orders", {3, 1 << 30, WhenFull::kBlock});
  const Reader reader = Add(queue);
  EXPECT_EQ(Append(queue, 0, 5, PENSTOCK_AGAIN), 3u);
  store_->CommitNow();
  queue.Release(reader.id, To(2, 2));
  EXPECT_EQ(Append(queue, 3, 1, PENSTOCK_AGAIN), 0u) << "a crash would bring them back";
  store_->CommitNow();
  EXPECT_EQ(Append(queue, 3, 3, PENSTOCK_AGAIN), 2u);
}

TEST_F(DiskQueueTest, BoundsBytesAsTheyLieInTheStore) {
  const uint64_t each = store::kRecordHeadBytes + 1000;
  DiskQueue& queue = Open("orders", {1 << 20, 4 * each, WhenFull::kDropNewest});
  Add(queue);
  for (int i = 0; i < 6; ++i) AppendSized(queue, 1000);
  store_->CommitNow();
  EXPECT_EQ(queue.end(), 4u);
  EXPECT_EQ(queue.stats().bytes, 4 * each);
  EXPECT_EQ(queue.stats().dropped_newest, 2u);
}

TEST_F(DiskQueueTest, KeepsTheCountOfDroppedNewestOverACrash) {
  {
    DiskQueue& queue = Open("orders", {2, 1 << 30, WhenFull::kDropNewest});
    Add(queue);
    EXPECT_EQ(Append(queue, 0, 5), 5u);
    EXPECT_THAT(acks_, ElementsAre(2, 3, 4)) << "dropped by the user's choice";
    store_->CommitNow();
  }
  Crash();
  DiskQueue& queue = Open("orders", {2, 1 << 30, WhenFull::kDropNewest});
  EXPECT_EQ(queue.stats().dropped_newest, 3u);
  EXPECT_EQ(Add(queue).dropped_newest_before, 0u);
  EXPECT_EQ(Add(queue, "late").dropped_newest_before, 3u);
}

TEST_F(DiskQueueTest, DropsTheOldestChunkAndTellsTheReader) {
  DiskQueue& queue = Open("orders", {4, 1 << 30, WhenFull::kDropOldest});
  const Reader reader = Add(queue);
  for (uint64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(Append(queue, i, 1), 1u);
    store_->CommitNow();
  }
  const ReadResult result = queue.Read(reader.id, 0, ~0ull, ~0ull);
  EXPECT_EQ(result.begin, 2u);
  EXPECT_EQ(result.skipped, DropReason::kWhenFull);
  EXPECT_EQ(Chunks(), 4u);
  Crash();
  DiskQueue& again = Open("orders", {4, 1 << 30, WhenFull::kDropOldest});
  const Reader resumed = Add(again);
  EXPECT_EQ(resumed.settled, 0u);
  EXPECT_EQ(again.Read(resumed.id, 0, ~0ull, ~0ull).begin, 2u);
}

TEST_F(DiskQueueTest, WhatIsDroppedJustBeforeItIsReadIsNotTakenForLost) {
  const Limits limits{4, 1 << 30, WhenFull::kDropOldest};
  {
    DiskQueue& queue = Open("orders", limits);
    Add(queue);
    for (uint64_t i = 0; i < 4; ++i) {
      Append(queue, i, 1);
      store_->CommitNow();
    }
  }
  Crash();
  DiskQueue& queue = Open("orders", limits);
  const Reader reader = Add(queue);
  fakes::BeforeNextRead([&] {
    Append(queue, 4, 2);
    store_->CommitNow();
  });
  const ReadResult result = queue.Read(reader.id, 0, 1, ~0ull);
  EXPECT_EQ(result.begin, 2u);
  EXPECT_EQ(result.skipped, DropReason::kWhenFull);
  EXPECT_THAT(Payloads(result), ElementsAre("2"));
}

TEST_F(DiskQueueTest, SkipsAHoleAndSaysThatItWasCorrupted) {
  {
    DiskQueue& queue = Open();
    Add(queue);
    for (uint64_t i = 0; i < 6; ++i) {
      Append(queue, i, 1);
      store_->CommitNow();
    }
    ASSERT_TRUE(store_->Apply([](store::Transaction& transaction) -> Result<void> {
      for (const uint64_t offset : {2, 3, 5}) {
        if (auto done = transaction.Delete(store::ChunkKey(0, offset)); !done)
          return tl::unexpected(done.error());
      }
      return {};
    }));
  }
  Crash();
  DiskQueue& queue = Open();
  const Reader reader = Add(queue);
  EXPECT_EQ(queue.end(), 6u);
  EXPECT_THAT(Payloads(queue.Read(reader.id, 0, 2, ~0ull)), ElementsAre("0"));
  ReadResult result = queue.Read(reader.id, 2, ~0ull, ~0ull);
  EXPECT_EQ(result.begin, 4u);
  EXPECT_EQ(result.skipped, DropReason::kCorrupted);
  EXPECT_THAT(Payloads(result), ElementsAre("4"));
  result = queue.Read(reader.id, 5, ~0ull, ~0ull);
  EXPECT_EQ(result.begin, 6u);
  EXPECT_EQ(result.skipped, DropReason::kCorrupted);
  EXPECT_THAT(result.runs, IsEmpty());
}

TEST_F(DiskQueueTest, AHoleBeforeTheOldestChunkWasCorruptedToo) {
  {
    DiskQueue& queue = Open();
    Add(queue);
    for (uint64_t i = 0; i < 3; ++i) {
      Append(queue, i, 1);
      store_->CommitNow();
    }
    ASSERT_TRUE(store_->Apply([](store::Transaction& transaction) -> Result<void> {
      for (const uint64_t offset : {0, 1}) {
        if (auto done = transaction.Delete(store::ChunkKey(0, offset)); !done)
          return tl::unexpected(done.error());
      }
      return {};
    }));
  }
  Crash();
  DiskQueue& queue = Open();
  const Reader reader = Add(queue);
  const ReadResult result = queue.Read(reader.id, 0, ~0ull, ~0ull);
  EXPECT_EQ(result.begin, 2u);
  EXPECT_EQ(result.skipped, DropReason::kCorrupted);
  EXPECT_THAT(Payloads(result), ElementsAre("2"));
}

TEST_F(DiskQueueTest, ForgetsAHoleOnceEveryReaderIsBehindIt) {
  const auto holes = [this] {
    size_t n = 0;
    EXPECT_TRUE(store_->Read([&](const store::Transaction& transaction) {
      return transaction.ForEach("H", [&](const store::KeyValue&) { return ++n > 0; });
    }));
    return n;
  };
  DiskQueue& queue = Open();
  const Reader fast = Add(queue, "fast"), slow = Add(queue, "slow");
  Append(queue, 0, 8);
  store_->CommitNow();
  ASSERT_TRUE(store_->Apply([&](store::Transaction& transaction) -> Result<void> {
    for (const store::HoleRecord& hole :
         {store::HoleRecord{0, queue.id(), 1, 3}, store::HoleRecord{0, queue.id(), 5, 6},
          store::HoleRecord{1, 7, 1, 2}}) {
      auto put = transaction.Put(store::HoleKey(hole.queue, hole.first),
                                 store::Encode(hole, transaction.number()));
      if (!put) return put;
    }
    return {};
  }));
  queue.Release(fast.id, To(8, 8));
  queue.Release(slow.id, To(2, 2));
  store_->CommitNow();
  EXPECT_EQ(holes(), 3u) << "one reader is in the first";
  queue.Release(slow.id, To(5, 5));
  store_->CommitNow();
  EXPECT_EQ(holes(), 2u);
  queue.Release(slow.id, To(8, 8));
  store_->CommitNow();
  EXPECT_EQ(holes(), 1u) << "of another queue";
}

TEST_F(DiskQueueTest, HoldsBackASourceThatIsFasterThanTheDisk) {
  DiskQueue& queue = Open();
  Add(queue);
  size_t taken = 0;
  penstock_status status = PENSTOCK_OK;
  while (status == PENSTOCK_OK) {
    FakeBatch batch(&lender_);
    batch.Add(std::string(100'000, 'x'));
    size_t accepted = 0;
    status = batch.AppendTo(queue, &accepted, kTry);
    taken += accepted;
  }
  EXPECT_EQ(status, PENSTOCK_AGAIN);
  EXPECT_EQ(taken, 2 * store_->commit_limits().bytes / 100'040);
  store_->CommitNow();
  AppendSized(queue, 100'000);
}

TEST_F(DiskQueueTest, WithinBoundFindsThePlaceOnDiskAsWellAsInMemory) {
  DiskQueue& queue = Open();
  Add(queue);
  const uint64_t each = store::kRecordHeadBytes + 1;
  for (uint64_t i = 0; i < 8; ++i) {
    Append(queue, i, 1);
    store_->CommitNow();
    clock_.Advance(seconds(1));
  }
  for (const bool crashed : {false, true}) {
    DiskQueue* q = &queue;
    if (crashed) {
      Crash();
      q = &Open();
      Add(*q);
    }
    EXPECT_EQ(q->WithinBound(0, 3, 0, Nanoseconds(0)), 5u);
    EXPECT_EQ(q->WithinBound(6, 3, 0, Nanoseconds(0)), 6u);
    EXPECT_EQ(q->WithinBound(0, 0, 2 * each, Nanoseconds(0)), 6u);
    EXPECT_EQ(q->WithinBound(0, 0, 1, Nanoseconds(0)), 7u) << "the newest is never too large";
    EXPECT_EQ(q->WithinBound(0, 0, 0, seconds(3)), 5u);
    EXPECT_EQ(q->WithinBound(0, 0, 0, Nanoseconds(1)), 8u);
  }
}

TEST_F(DiskQueueTest, QueuesShareACommit) {
  for (int i = 0; i < 20; ++i) {
    DiskQueue& queue = Open("q" + std::to_string(i));
    Add(queue);
  }
  store_->CommitNow();
  const uint64_t before = store_->stats().commits;
  for (const auto& queue : queues_) Append(*queue, 0, 3);
  store_->CommitNow();
  EXPECT_EQ(store_->stats().commits, before + 1);
  for (const auto& queue : queues_) EXPECT_EQ(queue->end(), 3u);
}

TEST_F(DiskQueueTest, TheFileStaysFlatBesideADeadReader) {
  DiskQueue& dead = Open("dead");
  Add(dead);
  DiskQueue& busy = Open("busy");
  const Reader reader = Add(busy);
  const auto append_kilobytes = [&](DiskQueue& queue) {
    for (int i = 0; i < 8; ++i) AppendSized(queue, 1000 + static_cast<size_t>(i) * 300);
  };
  uint64_t settled = 0, early = 0;
  for (int round = 0; round < 3000; ++round) {
    if (round < 100) append_kilobytes(dead);
    append_kilobytes(busy);
    store_->CommitNow();
    if (round >= 20) settled += 8;
    busy.Release(reader.id, To(settled, settled));
    if (round == 400) early = store_->stats().used_bytes;
  }
  EXPECT_EQ(dead.stats().events, 800u);
  EXPECT_LE(store_->stats().used_bytes, early + early / 10);
}

TEST_F(DiskQueueTest, AFullDiskHoldsEventsBackAndLosesNothing) {
  queues_.clear();
  store_.reset();
  store::Store::Options options;
  options.thread = false;
  options.map_bytes = 1 << 20;  // the store adds what it has to have at least
  auto lock = store::Lock::Take(dir_.path() + "/store");
  auto opened = store::Store::Open(std::move(*lock), options, &clock_);
  ASSERT_TRUE(opened);
  store_ = std::move(*opened);
  DiskQueue& queue = Open();
  const Reader reader = Add(queue);
  size_t taken = 0;
  // Fill until the store takes no more.
  while (store_->state().kind == store::StoreState::Kind::kGood) {
    FakeBatch batch(&lender_);
    batch.Add(std::string(50'000, 'x'));
    size_t accepted = 0;
    batch.AppendTo(queue, &accepted, kTry);
    taken += accepted;
    store_->CommitNow();
    ASSERT_LT(taken, 100'000u);
  }
  const uint64_t stored = queue.end();
  EXPECT_EQ(store_->state().kind, store::StoreState::Kind::kNoRoom);
  EXPECT_EQ(stored, taken - 1);
  // Cursors still move, and what they free makes room.
  queue.Release(reader.id, To(stored / 2, stored / 2));
  // LMDB uses pages again in the second commit after the one that freed them.
  for (int i = 0; i < 3; ++i) store_->CommitNow();
  EXPECT_EQ(store_->state().kind, store::StoreState::Kind::kGood) << store_->state().reason;
  EXPECT_EQ(queue.end(), taken);
}

TEST_F(DiskQueueTest, ALetterAndItsCursorAreStoredTogether) {
  {
    auto letters = OpenLetters();
    DiskQueue& queue = Open("orders", Big(), letters);
    const Reader reader = Add(queue);
    Append(queue, 0, 3);
    store_->CommitNow();
    Progress progress = To(2, 1);
    progress.counters.dead_lettered = 1;
    progress.letters.push_back(Bury(queue, *letters, reader.id, 1));
    queue.Release(reader.id, std::move(progress));
    EXPECT_THAT(LetterIds(), IsEmpty());
    store_->CommitNow();
    EXPECT_THAT(LetterIds(), ElementsAre("id-1"));
    EXPECT_EQ(letters->usage().events, 1u);
  }
  Crash();
  auto letters = OpenLetters();
  EXPECT_EQ(letters->usage().events, 1u);
  DiskQueue& queue = Open("orders", Big(), letters);
  const Reader reader = Add(queue);
  EXPECT_EQ(reader.settled, 2u);
  EXPECT_EQ(reader.counters.dead_lettered, 1u);
  EXPECT_TRUE(store::ForEachLetter(*store_, {}, [&](const store::LetterRecord& letter) {
    EXPECT_EQ(letter.sink, "bus");
    EXPECT_EQ(letter.reason, "too large");
    EXPECT_EQ(letter.queue_id, queue.id());
    EXPECT_EQ(letter.offset, 1u);
    const auto event = store::DecodeRecord(letter.event, 1);
    EXPECT_TRUE(event);
    EXPECT_EQ((*event)->at(1).payload, "1");
    return true;
  }));
}

TEST_F(DiskQueueTest, ALetterThatIsLostInACrashTakesItsCursorAlong) {
  {
    auto letters = OpenLetters();
    DiskQueue& queue = Open("orders", Big(), letters);
    const Reader reader = Add(queue);
    Append(queue, 0, 3);
    store_->CommitNow();
    Progress progress = To(2, 1);
    progress.letters.push_back(Bury(queue, *letters, reader.id, 1));
    queue.Release(reader.id, std::move(progress));
  }
  Crash();
  auto letters = OpenLetters();
  DiskQueue& queue = Open("orders", Big(), letters);
  EXPECT_EQ(Add(queue).settled, 0u);
  EXPECT_EQ(letters->usage().events, 0u);
}

TEST_F(DiskQueueTest, FullDeadLettersTakeNoMoreUntilSomeAreDropped) {
  auto letters = OpenLetters({2, 1 << 30, false});
  DiskQueue& queue = Open("orders", Big(), letters);
  const Reader reader = Add(queue);
  Append(queue, 0, 4);
  store_->CommitNow();
  Progress progress = To(2, 0);
  progress.letters.push_back(Bury(queue, *letters, reader.id, 0));
  progress.letters.push_back(Bury(queue, *letters, reader.id, 1));
  Letter third = progress.letters.back();
  EXPECT_EQ(letters->Reserve(third, "bus"), DeadLetters::Room::kFull) << "reserved is taken";
  queue.Release(reader.id, std::move(progress));
  store_->CommitNow();
  EXPECT_EQ(letters->Reserve(third, "bus"), DeadLetters::Room::kFull);
  store::LetterFilter filter;
  filter.id = "id-0";
  EXPECT_EQ(store::DropLetters(store_.get(), filter).value(), 1u);
  EXPECT_EQ(letters->Reserve(third, "bus"), DeadLetters::Room::kReserved);
  const auto counts = store::CountsOfLetters(*store_);
  ASSERT_EQ(counts->size(), 1u);
  EXPECT_EQ((*counts)[0].buried, 2u);
  EXPECT_EQ((*counts)[0].dropped, 1u);
}

TEST_F(DiskQueueTest, DeadLettersMayDropTheirOldestToMakeRoom) {
  auto letters = OpenLetters({2, 1 << 30, true});
  DiskQueue& queue = Open("orders", Big(), letters);
  const Reader reader = Add(queue);
  Append(queue, 0, 5);
  store_->CommitNow();
  Progress progress = To(5, 0);
  for (uint64_t i = 0; i < 5; ++i) progress.letters.push_back(Bury(queue, *letters, reader.id, i));
  queue.Release(reader.id, std::move(progress));
  store_->CommitNow();
  EXPECT_THAT(LetterIds(), ElementsAre("id-3", "id-4"));
  EXPECT_EQ(letters->usage().events, 2u);
  EXPECT_EQ(store::CountsOfLetters(*store_)->at(0).dropped, 3u);
}

class ReplayTest : public DiskQueueTest {
 protected:
  // The events "0".."n-1".
  void BuryFirst(uint64_t n) {
    letters_ = OpenLetters();
    DiskQueue& queue = Open("orders", Big(), letters_);
    id_ = queue.id();
    const Reader reader = Add(queue);
    Append(queue, 0, n);
    store_->CommitNow();
    Progress progress = To(n, 0);
    for (uint64_t i = 0; i < n; ++i)
      progress.letters.push_back(Bury(queue, *letters_, reader.id, i));
    queue.Release(reader.id, std::move(progress));
    store_->CommitNow();
  }
  std::shared_ptr<ReplayQueue> Replay() {
    return std::make_shared<ReplayQueue>(store_.get(), letters_, "bus", &budget_, &clock_);
  }
  void Mark(const std::string& id) {
    store::LetterFilter filter;
    filter.id = id;
    EXPECT_EQ(store::MarkForReplay(store_.get(), filter).value(), 1u);
  }
  uint64_t Drop(const std::string& id) {
    store::LetterFilter filter;
    filter.id = id;
    return store::DropLetters(store_.get(), filter).value_or(0);
  }
  // What is counted is what is there.
  void CheckUsage() {
    const StoredLetters::Usage usage = letters_->usage(), counted = OpenLetters()->usage();
    EXPECT_EQ(usage.events, LetterIds().size());
    EXPECT_EQ(usage.events, counted.events);
    EXPECT_EQ(usage.bytes, counted.bytes);
  }
  void TearDown() override { letters_.reset(); }

  std::shared_ptr<StoredLetters> letters_;
  uint64_t id_ = 0;
};

TEST_F(ReplayTest, SendsMarkedLettersUnderTheirOldIdsAndForgetsThemOnceDelivered) {
  BuryFirst(3);
  Mark("id-0");
  Mark("id-2");
  auto replay = Replay();
  EXPECT_EQ(replay->Load().value(), 2u);
  EXPECT_EQ(replay->Load().value(), 2u) << "what it knows already";
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  const ReadResult read = replay->Read(reader.id, 0, 10, ~0ull);
  EXPECT_THAT(Payloads(read), ElementsAre("0", "2"));
  EXPECT_THAT(replay->IdentityOf(1), testing::Pair(id_, 2));
  replay->Release(reader.id, {1, 1});
  store_->CommitNow();
  EXPECT_THAT(LetterIds(), ElementsAre("id-1", "id-2"));
  EXPECT_EQ(letters_->usage().events, 2u);
  replay->Release(reader.id, {2, 2});
  store_->CommitNow();
  EXPECT_THAT(LetterIds(), ElementsAre("id-1"));
  EXPECT_EQ(store::CountsOfLetters(*store_)->at(0).replayed, 2u);
}

TEST_F(ReplayTest, OneThatIsRejectedAgainStaysWithItsNewReason) {
  BuryFirst(3);
  Mark("id-1");
  auto replay = Replay();
  EXPECT_EQ(replay->Load().value(), 1u);
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  const ReadResult read = replay->Read(reader.id, 0, 10, ~0ull);
  Progress progress{1, 1};
  Letter letter;
  letter.place = 0;
  letter.block = read.runs.at(0).block;
  letter.why = DropReason::kRetryLimit;
  letter.reason = "still too large";
  letter.attempts = 2;
  progress.letters.push_back(letter);
  replay->Release(reader.id, std::move(progress));
  store_->CommitNow();
  EXPECT_THAT(LetterIds(), ElementsAre("id-0", "id-1", "id-2"));
  store::LetterFilter filter;
  filter.id = "id-1";
  EXPECT_TRUE(store::ForEachLetter(*store_, filter, [](const store::LetterRecord& kept) {
    EXPECT_EQ(kept.reason, "still too large");
    EXPECT_EQ(kept.why, static_cast<uint8_t>(DropReason::kRetryLimit));
    EXPECT_EQ(kept.attempts, 3u);
    EXPECT_EQ(kept.replay, 0u);
    return true;
  }));
  EXPECT_EQ(replay->Load().value(), 0u);
}

TEST_F(ReplayTest, OneThatIsMarkedOnItsWayIsSentAgainOnceItIsRejected) {
  BuryFirst(3);
  Mark("id-1");
  auto replay = Replay();
  EXPECT_EQ(replay->Load().value(), 1u);
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  const ReadResult read = replay->Read(reader.id, 0, 10, ~0ull);
  Letter letter;
  letter.block = read.runs.at(0).block;
  Progress progress{1, 1};
  progress.letters.push_back(letter);
  replay->Release(reader.id, std::move(progress));
  // Before that is recorded.
  Mark("id-1");
  EXPECT_EQ(replay->Load().value(), 0u) << "it still has its place in the row";
  const Signal::Ticket ticket = wake_->Take();
  store_->CommitNow();
  EXPECT_NE(wake_->Take(), ticket);
  EXPECT_EQ(replay->Load().value(), 1u);
  EXPECT_THAT(Payloads(replay->Read(reader.id, 1, 10, ~0ull)), ElementsAre("1"));
  EXPECT_THAT(replay->IdentityOf(1), testing::Pair(id_, 1));
  // One that is delivered was not to be sent again.
  Mark("id-1");
  replay->Release(reader.id, {2, 2});
  store_->CommitNow();
  EXPECT_EQ(replay->Load().value(), 0u);
  EXPECT_THAT(LetterIds(), ElementsAre("id-0", "id-2"));
}

TEST_F(ReplayTest, AReasonIsChargedAsLongAsItIs) {
  BuryFirst(3);
  auto replay = Replay();
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  uint64_t place = 0;
  for (const size_t bytes : {1000, 2000, 5}) {
    Mark("id-1");
    EXPECT_EQ(replay->Load().value(), 1u);
    const ReadResult read = replay->Read(reader.id, place, 10, ~0ull);
    Letter letter;
    letter.place = place++;
    letter.block = read.runs.at(0).block;
    letter.reason = std::string(bytes, 'x');
    Progress progress{place, place};
    progress.letters.push_back(std::move(letter));
    replay->Release(reader.id, std::move(progress));
    store_->CommitNow();
    CheckUsage();
  }
}

TEST_F(ReplayTest, ACrashSendsAgainWhatWasNotRecorded) {
  BuryFirst(3);
  Mark("id-0");
  Mark("id-1");
  {
    auto replay = Replay();
    ASSERT_TRUE(replay->Load());
    const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
    replay->Release(reader.id, {1, 1});
    store_->CommitNow();
    replay->Release(reader.id, {2, 2});
  }
  letters_.reset();
  Crash();
  letters_ = OpenLetters();
  auto replay = Replay();
  EXPECT_EQ(replay->Load().value(), 1u);
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  EXPECT_THAT(Payloads(replay->Read(reader.id, 0, 10, ~0ull)), ElementsAre("1"));
}

TEST_F(ReplayTest, OneThatWasDroppedMeanwhileIsSkipped) {
  BuryFirst(3);
  for (const char* id : {"id-0", "id-1", "id-2"}) Mark(id);
  auto replay = Replay();
  ASSERT_TRUE(replay->Load());
  EXPECT_EQ(Drop("id-0"), 1u);
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  const ReadResult read = replay->Read(reader.id, 0, 10, ~0ull);
  EXPECT_EQ(read.begin, 1u);
  EXPECT_THAT(Payloads(read), ElementsAre("1", "2"));
}

TEST_F(ReplayTest, WhatIsReplayedWhileOneIsDroppedIsSubtractedOnce) {
  BuryFirst(3);
  Mark("id-0");
  auto replay = Replay();
  ASSERT_TRUE(replay->Load());
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  replay->Release(reader.id, {1, 1});
  // Should a drop count what is left, the other one goes while it does.
  fakes::BeforeNextRead([&] { fakes::BeforeNextRead([&] { store_->CommitNow(); }); });
  EXPECT_EQ(Drop("id-2"), 1u);
  fakes::BeforeNextRead(nullptr);
  store_->CommitNow();
  EXPECT_THAT(LetterIds(), ElementsAre("id-1"));
  CheckUsage();
}

TEST_F(ReplayTest, DropsAndReplaysAtTheSameTimeCountEachLetterOnce) {
  constexpr uint64_t kLetters = 600, kReplayed = 400, kStep = 10;
  BuryFirst(kLetters);
  ASSERT_TRUE(store::MarkForReplay(store_.get(), {}));
  auto replay = Replay();
  ASSERT_TRUE(replay->Load());
  const Reader reader = replay->AddReader("bus", Start::kOldest, wake_);
  std::thread replays([&] {
    for (uint64_t settled = kStep; settled <= kReplayed; settled += kStep) {
      replay->Release(reader.id, {settled, settled});
      store_->CommitNow();
    }
  });
  // Some before they are replayed, some afterwards, some that are not.
  for (uint64_t i = 0; i < kLetters; i += 20) Drop("id-" + std::to_string(kLetters - 1 - i));
  replays.join();
  CheckUsage();
  Drop("");
  CheckUsage();
}

TEST_F(DiskQueueTest, KnowsWhenAnEventWasAppendedInMemoryAndInTheStore) {
  DiskQueue* queue = &Open();
  Add(*queue);
  const TimePoint first = clock_.Now();
  EXPECT_EQ(queue->AppendedAt(0), std::nullopt) << "not appended yet";
  Append(*queue, 0, 2);
  EXPECT_EQ(queue->AppendedAt(1), first) << "not stored yet";
  store_->CommitNow();
  clock_.Advance(seconds(5));
  Append(*queue, 2, 1);
  store_->CommitNow();
  Crash();
  queue = &Open();
  EXPECT_EQ(queue->AppendedAt(1), first) << "from the store";
  EXPECT_EQ(queue->AppendedAt(2), clock_.Now());
  EXPECT_EQ(queue->AppendedAt(3), std::nullopt);
}

}  // namespace
}  // namespace penstock::queue
