// Queues and dead letters in a real store that commits only when told to, and forgets at a crash
// what it was not told to keep. Linked with fakes/no_sync.cc.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "fakes/fake_clock.h"
#include "fakes/fake_events.h"
#include "fakes/temp_dir.h"
#include "queue/disk_queue.h"
#include "queue/stored_letters.h"
#include "store/letters.h"
#include "store/store.h"

namespace penstock::delivery {

class StoredRig {
 public:
  StoredRig() { Open(); }

  store::Store* store() { return store_.get(); }
  fakes::FakeClock* clock() { return &clock_; }
  void Commit() {
    store_->CommitNow();
    EXPECT_EQ(store_->state().kind, store::StoreState::Kind::kGood) << store_->state().reason;
  }
  // All queues and letters must be gone.
  void Reopen() {
    store_.reset();
    Open();
  }
  // As if it were new, but for its format record.
  void Clear() {
    auto cleared = store_->Apply([](store::Transaction& transaction) -> Result<void> {
      std::vector<std::string> keys;
      for (const char* kind : {"C", "D", "E", "H", "L", "Q"}) {
        auto read = transaction.ForEach(kind, [&keys](const store::KeyValue& pair) {
          keys.emplace_back(pair.key);
          return true;
        });
        if (!read) return read;
      }
      for (const std::string& key : keys) {
        if (auto gone = transaction.Delete(key); !gone) return tl::unexpected(gone.error());
      }
      return {};
    });
    EXPECT_TRUE(cleared) << cleared.error().message;
  }
  std::vector<store::LetterRecord> Letters(uint32_t queue, const std::string& sink) {
    std::vector<store::LetterRecord> out;
    store::LetterFilter filter;
    filter.queue = queue;
    filter.sink = sink;
    EXPECT_TRUE(store::ForEachLetter(*store_, filter, [&out](const store::LetterRecord& letter) {
      out.push_back(letter);
      return true;
    }));
    return out;
  }

 private:
  void Open() {
    auto lock = store::Lock::Take(dir_.path() + "/store");
    ASSERT_TRUE(lock) << lock.error().message;
    store::Store::Options options;
    options.thread = false;
    auto opened = store::Store::Open(std::move(*lock), options, &clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }

  fakes::TempDir dir_;
  fakes::FakeClock clock_;
  std::unique_ptr<store::Store> store_;
};

}  // namespace penstock::delivery
