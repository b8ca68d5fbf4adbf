// What the gateway itself writes must always be called sound, and what a repair leaves must be
// usable by it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "fakes/fake_clock.h"
#include "fakes/fake_events.h"
#include "fakes/temp_dir.h"
#include "queue/disk_queue.h"
#include "store/check.h"
#include "store/letters.h"
#include "store/repair.h"

namespace penstock::store {
namespace {

namespace fs = std::filesystem;
using queue::DiskQueue;

// The gateway's store with two queues and a sink each, whose commits the test makes.
class WrittenStore : public ::testing::Test {
 protected:
  ~WrittenStore() override { Close(); }

  void Open(const std::string& directory) {
    auto lock = Lock::Take(directory);
    ASSERT_TRUE(lock) << lock.error().message;
    Store::Options options;
    options.thread = false;
    auto opened = Store::Open(std::move(*lock), options, &clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
    for (const char* name : {"orders", "audit"}) {
      auto queue = DiskQueue::Open(store_.get(), name, {1 << 20, 1 << 30, queue::WhenFull::kBlock},
                                   &budget_, 0, &clock_, {});
      ASSERT_TRUE(queue) << queue.error().message;
      queues_.push_back(*queue);
      readers_.push_back(queues_.back()->AddReader("bus", queue::Start::kOldest, wake_));
    }
  }
  void Close() {
    queues_.clear();
    readers_.clear();
    store_.reset();
  }
  void Append(size_t queue, size_t events, size_t bytes) {
    fakes::FakeBatch batch(&lender_);
    for (size_t i = 0; i < events; ++i) batch.Add(std::string(bytes, 'x'));
    size_t accepted = 0;
    EXPECT_EQ(batch.AppendTo(*queues_[queue], &accepted, Nanoseconds{0}), PENSTOCK_OK);
  }
  void Settle(size_t queue, uint64_t to) {
    queue::Progress progress{to, to, {}};
    progress.counters.delivered = to;
    queues_[queue]->Release(readers_[queue].id, progress);
  }
  // So many commits of both queues, with a backlog that grows and shrinks.
  void Live(int commits, std::mt19937* random) {
    for (int i = 0; i < commits; ++i) {
      Append(0, (*random)() % 20 + 1, (*random)() % 300);
      if (i % 3 == 0) Append(1, (*random)() % 5 + 1, (*random)() % 40000);
      for (const size_t queue : {size_t{0}, size_t{1}}) {
        const uint64_t end = queues_[queue]->end();
        if ((*random)() % 4 == 0) Settle(queue, end - (*random)() % (end / 2 + 1));
      }
      store_->CommitNow();
    }
  }
  // As a power cut leaves it.
  std::string Copy(const std::string& name) {
    const std::string to = dir_.path() + '/' + name;
    fs::create_directories(to);
    for (const char* file : {"data.mdb", "seal"})
      fs::copy_file(store_->directory() + '/' + file, to + '/' + file,
                    fs::copy_options::overwrite_existing);
    return to;
  }
  static void ExpectNothingFound(const std::string& directory) {
    const auto report = Verify(directory, Depth::kFull);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_TRUE(report->findings.empty()) << ToJson(*report);
  }

  fakes::TempDir dir_;
  fakes::FakeClock clock_;
  queue::MemoryBudget budget_{64 << 20};
  fakes::Lender lender_;
  std::shared_ptr<Signal> wake_ = std::make_shared<Signal>();
  std::unique_ptr<Store> store_;
  std::vector<std::shared_ptr<DiskQueue>> queues_;
  std::vector<queue::Reader> readers_;
};

TEST_F(WrittenStore, IsSoundOpenAndClosed) {
  const std::string directory = dir_.path() + "/store";
  std::mt19937 random(11);
  for (int round = 0; round < 4; ++round) {
    Open(directory);
    for (int i = 0; i < 20; ++i) {
      Live(10, &random);
      ExpectNothingFound(Copy("cut"));
    }
    Close();
    ExpectNothingFound(directory);
  }
}

TEST_F(WrittenStore, IsSoundAfterAChangeThatChangesNothing) {
  std::mt19937 random(12);
  Open(dir_.path() + "/store");
  Live(3, &random);
  EXPECT_EQ(DropLetters(store_.get(), {}).value(), 0u);
  ExpectNothingFound(Copy("cut"));
  Live(1, &random);
  ExpectNothingFound(Copy("cut"));
}

TEST_F(WrittenStore, GoesOnBehindAHole) {
  Open(dir_.path() + "/store");
  for (int i = 0; i < 10; ++i) {
    Append(1, 1, 20000);
    store_->CommitNow();
  }
  const std::string damaged = Copy("damaged");
  Close();
  std::string file;
  {
    std::ifstream in(damaged + "/data.mdb", std::ios::binary);
    file.assign(std::istreambuf_iterator<char>(in), {});
  }
  // In the last event of 20,000 bytes that stands in the file.
  const size_t at = file.rfind(std::string(3000, 'x'));
  ASSERT_NE(at, std::string::npos);
  file[at] = 'y';
  std::ofstream(damaged + "/data.mdb", std::ios::binary) << file;
  const std::string repaired = dir_.path() + "/repaired";
  const auto report = Repair(damaged, repaired);
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_EQ(report->repaired->holes.size(), 1u) << ToJson(*report);
  const LostRange hole = report->repaired->holes[0];
  EXPECT_EQ(hole.end, hole.first + 1);

  Open(repaired);
  EXPECT_EQ(queues_[1]->end(), 10u);
  std::vector<uint64_t> read;
  for (uint64_t next = 0; next < 10;) {
    const queue::ReadResult result = queues_[1]->Read(readers_[1].id, next, 100, 1 << 30);
    EXPECT_TRUE(result.begin == next || result.skipped == queue::DropReason::kCorrupted);
    for (const queue::Run& run : result.runs)
      for (uint64_t o = run.begin; o < run.end; ++o) read.push_back(o);
    ASSERT_GT(result.end, next);
    next = result.end;
  }
  EXPECT_EQ(read.size(), 9u);
  EXPECT_THAT(read, ::testing::Not(::testing::Contains(hole.first)));
  Settle(1, 10);
  Append(1, 3, 100);
  store_->CommitNow();
  EXPECT_EQ(queues_[1]->end(), 13u);
  Close();
  ExpectNothingFound(repaired);
}

}  // namespace
}  // namespace penstock::store
