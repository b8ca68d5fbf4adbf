#include "faults/images/disk_model.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/falloc.h>

#include <deque>
#include <set>

namespace penstock_faults {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;
using ::testing::SizeIs;

constexpr uint64_t kRoot = 1, kFile = 2, kOther = 3, kDir = 4;

// A disk with the directory "" and, once made, files in it; each function is one call.
class DiskModelTest : public ::testing::TestWithParam<NameModel> {
 protected:
  DiskModelTest() : disk_(GetParam()) { Do(RECORD_BASE_DIR, kRoot); }

  void Do(penstock_record_kind kind, uint64_t inode, std::string path = "", std::string data = "",
          uint64_t offset = 0, uint64_t op = 0, int detail = 0, int64_t result = 0) {
    const std::string& kept_path = kept_.emplace_back(std::move(path));
    const std::string& kept_data = kept_.emplace_back(std::move(data));
    Record record{};
    record.head.kind = static_cast<uint16_t>(kind);
    record.head.inode = inode;
    record.head.offset = offset;
    record.head.op = op;
    record.head.detail = detail;
    record.head.result = result;
    record.path = kept_path;
    record.data = kept_data;
    disk_.Apply(record);
  }
  void Make(uint64_t inode, const std::string& path) { Do(RECORD_OPEN, inode, path, "", 0, 1); }
  void Write(uint64_t inode, uint64_t offset, const std::string& data) {
    Do(RECORD_WRITE, inode, "", data, offset);
  }
  void BeginSync(uint64_t inode, uint64_t op, int how = RECORD_SYNC_FDATASYNC) {
    Do(RECORD_SYNC, inode, "", "", 0, op, how);
  }
  void EndSync(uint64_t inode, uint64_t op, int result = 0) {
    Do(RECORD_SYNC_DONE, inode, "", "", 0, op, 0, result);
  }
  void Sync(uint64_t inode, int how = RECORD_SYNC_FDATASYNC) {
    BeginSync(inode, ++op_, how);
    EndSync(inode, op_);
  }
  void BeginThrough(uint64_t inode, uint64_t op, uint64_t offset, const std::string& data) {
    Do(RECORD_SYNC_WRITE, inode, "", data, offset, op);
  }
  void EndThrough(uint64_t inode, uint64_t op, int64_t result) {
    Do(RECORD_SYNC_WRITE_DONE, inode, "", "", 0, op, 0, result);
  }
  // A file whose name and these bytes are durable.
  void MakeDurable(uint64_t inode, const std::string& path, const std::string& data) {
    Make(inode, path);
    Write(inode, 0, data);
    Sync(inode);
    Sync(kRoot, RECORD_SYNC_FSYNC);
  }

  static std::string Content(const Image& image, const std::string& path) {
    for (const auto& [name, content] : image.files)
      if (name == path) return content;
    return "absent";
  }
  // All that a power cut now may leave of the file.
  std::set<std::string> Outcomes(const std::string& path, int tries = 2000) const {
    std::set<std::string> found;
    for (int i = 0; i < tries; ++i) {
      Rng rng(static_cast<uint64_t>(i));
      found.insert(Content(disk_.CutHere(static_cast<Fate>(i % kFates), &rng), path));
    }
    return found;
  }
  std::string With(Fate fate, const std::string& path) const {
    Rng rng(7);
    return Content(disk_.CutHere(fate, &rng), path);
  }

  std::deque<std::string> kept_;
  Disk disk_;
  uint64_t op_ = 1000;
};

std::string Sectors(const std::string& letters) {
  std::string out;
  for (const char letter : letters) out += std::string(kSector, letter);
  return out;
}

TEST_P(DiskModelTest, WhatWasSyncedIsThere) {
  MakeDurable(kFile, "a", Sectors("xy"));
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("xy")));
}

TEST_P(DiskModelTest, EverySectorOfAnUnsyncedWriteIsOldOrNew) {
  MakeDurable(kFile, "a", Sectors("ab"));
  Write(kFile, 0, Sectors("AB"));
  EXPECT_THAT(Outcomes("a"),
              ElementsAre(Sectors("AB"), Sectors("Ab"), Sectors("aB"), Sectors("ab")));
  EXPECT_EQ(With(Fate::kNone, "a"), Sectors("ab"));
  EXPECT_EQ(With(Fate::kAll, "a"), Sectors("AB"));
}

TEST_P(DiskModelTest, UnsyncedWritesAreReordered) {
  MakeDurable(kFile, "a", Sectors("ab"));
  Write(kFile, 0, Sectors("A"));
  Write(kFile, kSector, Sectors("B"));
  EXPECT_THAT(Outcomes("a"), Contains(Sectors("aB")));
}

TEST_P(DiskModelTest, AnOlderVersionNeverReplacesASyncedOne) {
  MakeDurable(kFile, "a", Sectors("a"));
  Write(kFile, 0, Sectors("b"));
  Write(kFile, 0, Sectors("c"));
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("a"), Sectors("b"), Sectors("c")));
  Sync(kFile);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("c")));
}

TEST_P(DiskModelTest, ASyncCoversWhatCameBeforeItsBegin) {
  MakeDurable(kFile, "a", Sectors("ab"));
  Write(kFile, 0, Sectors("A"));
  BeginSync(kFile, 1);
  EXPECT_THAT(Outcomes("a"), SizeIs(2)) << "it has not ended";
  Write(kFile, kSector, Sectors("B"));
  EndSync(kFile, 1);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("AB"), Sectors("Ab")));
}

TEST_P(DiskModelTest, AFailedSyncPromisesNothing) {
  MakeDurable(kFile, "a", Sectors("a"));
  Write(kFile, 0, Sectors("A"));
  BeginSync(kFile, 1);
  EndSync(kFile, 1, -EIO);
  EXPECT_THAT(Outcomes("a"), SizeIs(2));
}

TEST_P(DiskModelTest, SyncFileRangePromisesNothing) {
  MakeDurable(kFile, "a", Sectors("a"));
  Write(kFile, 0, Sectors("A"));
  Sync(kFile, RECORD_SYNC_RANGE);
  Sync(kFile, RECORD_SYNC_MSYNC);
  EXPECT_THAT(Outcomes("a"), SizeIs(2));
}

TEST_P(DiskModelTest, AWriteThroughBringsItselfOnly) {
  MakeDurable(kFile, "a", Sectors("abc"));
  Write(kFile, 0, Sectors("AB"));
  BeginThrough(kFile, 1, kSector, Sectors("X"));
  EXPECT_THAT(Outcomes("a"), AllOf(Contains(Sectors("abc")), Contains(Sectors("aBc"))));
  EndThrough(kFile, 1, kSector);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("AXc"), Sectors("aXc")));
}

TEST_P(DiskModelTest, AWriteThroughOfAKilledProcessIsOutdatedByTheNextOne) {
  MakeDurable(kFile, "a", Sectors("a"));
  BeginThrough(kFile, 1, 0, Sectors("k"));
  BeginThrough(kFile, 2, 0, Sectors("n"));
  EndThrough(kFile, 2, kSector);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("n")));
  BeginThrough(kFile, 3, 0, Sectors("k"));
  Write(kFile, 0, Sectors("m"));
  Sync(kFile);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("m")));
}

TEST_P(DiskModelTest, ASizeMayLagBehindOrRunAhead) {
  MakeDurable(kFile, "a", Sectors("a"));
  Write(kFile, kSector, Sectors("bc"));
  const auto found = Outcomes("a");
  EXPECT_THAT(found, Contains(Sectors("a")));
  EXPECT_THAT(found, Contains(Sectors("ab"))) << "cut";
  EXPECT_THAT(found, Contains(Sectors("a") + std::string(2 * kSector, '\0'))) << "without data";
  EXPECT_THAT(found, Contains(Sectors("a") + std::string(kSector, '\0') + Sectors("c")));
}

TEST_P(DiskModelTest, AShorterFileMayStillBeLong) {
  MakeDurable(kFile, "a", Sectors("ab"));
  Do(RECORD_TRUNCATE, kFile, "", "", kSector);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("a"), Sectors("ab")));
  Sync(kFile);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("a")));
}

TEST_P(DiskModelTest, AllocatedSpaceIsZeros) {
  MakeDurable(kFile, "a", Sectors("a"));
  Record record{};
  record.head.kind = RECORD_FALLOCATE;
  record.head.inode = kFile;
  record.head.length = 2 * kSector;
  disk_.Apply(record);
  Sync(kFile);
  EXPECT_THAT(Outcomes("a"), ElementsAre(Sectors("a") + std::string(kSector, '\0')));
  record.head.detail = FALLOC_FL_COLLAPSE_RANGE;
  EXPECT_THROW(disk_.Apply(record), std::runtime_error);
}

TEST_P(DiskModelTest, ANameNeedsItsSync) {
  Make(kFile, "a");
  EXPECT_THAT(Outcomes("a"), ElementsAre("", "absent"));
  Sync(kFile, RECORD_SYNC_FSYNC);
  if (GetParam() == NameModel::kExt4)
    EXPECT_THAT(Outcomes("a"), ElementsAre(""));
  else
    EXPECT_THAT(Outcomes("a"), ElementsAre("", "absent"));
  Sync(kRoot, RECORD_SYNC_FSYNC);
  EXPECT_THAT(Outcomes("a"), ElementsAre(""));
}

TEST_P(DiskModelTest, ADirectoryThatIsLostTakesItsFilesAlong) {
  Do(RECORD_MKDIR, kDir, "d");
  Make(kFile, "d/a");
  Write(kFile, 0, "x");
  Sync(kFile);
  Sync(kDir, RECORD_SYNC_FSYNC);
  if (GetParam() == NameModel::kStrict) {
    EXPECT_THAT(Outcomes("d/a"), ElementsAre("absent", "x")) << "nobody synced the parent";
    Sync(kRoot, RECORD_SYNC_FSYNC);
  }
  EXPECT_THAT(Outcomes("d/a"), ElementsAre("x"));
}

TEST_P(DiskModelTest, ARenameIsWholeOrNotAtAll) {
  MakeDurable(kFile, "a", "old");
  Make(kOther, "tmp");
  Write(kOther, 0, "new");
  Sync(kOther);
  Do(RECORD_RENAME, kOther, std::string("tmp\0a", 5));
  EXPECT_THAT(Outcomes("a"), ElementsAre("new", "old"));
  Sync(kRoot, RECORD_SYNC_FSYNC);
  EXPECT_THAT(Outcomes("a"), ElementsAre("new"));
  EXPECT_THAT(Outcomes("tmp"), ElementsAre("absent"));
}

TEST_P(DiskModelTest, ARemovedFileMayComeBack) {
  MakeDurable(kFile, "a", "x");
  Do(RECORD_UNLINK, kFile, "a");
  EXPECT_THAT(Outcomes("a"), ElementsAre("absent", "x"));
  Sync(kRoot, RECORD_SYNC_FSYNC);
  EXPECT_THAT(Outcomes("a"), ElementsAre("absent"));
  Make(kFile, "b");
  Sync(kRoot, RECORD_SYNC_FSYNC);
  EXPECT_THAT(Outcomes("b"), ElementsAre("")) << "the inode's second life has nothing of its first";
}

TEST_P(DiskModelTest, NamesAreInOrderInAJournalOnly) {
  Make(kFile, "a");
  Make(kOther, "b");
  bool second_only = false;
  for (int i = 0; i < 500; ++i) {
    Rng rng(static_cast<uint64_t>(i));
    const Image image = disk_.CutHere(Fate::kSubset, &rng);
    second_only |= Content(image, "a") == "absent" && Content(image, "b") != "absent";
  }
  EXPECT_EQ(second_only, GetParam() == NameModel::kStrict);
}

TEST_P(DiskModelTest, TheLockFileHoldsAnything) {
  MakeDurable(kFile, "lock.mdb", Sectors("a"));
  EXPECT_THAT(Outcomes("lock.mdb"), AllOf(Contains("absent"), Contains(std::string(kSector, '\0')),
                                          Not(Contains(Sectors("a")))));
}

TEST_P(DiskModelTest, NowIsTheStateWithoutAPowerCut) {
  Make(kFile, "a");
  Write(kFile, 0, "abc");
  BeginThrough(kFile, 1, 1, "X");
  EXPECT_EQ(Content(disk_.Now(), "a"), "aXc");
}

TEST_P(DiskModelTest, TheSameSeedGivesTheSameImage) {
  MakeDurable(kFile, "a", Sectors("abcdefgh"));
  Write(kFile, 0, Sectors("ABCDEFGH"));
  EXPECT_EQ(With(Fate::kTorn, "a"), With(Fate::kTorn, "a"));
}

INSTANTIATE_TEST_SUITE_P(Names, DiskModelTest,
                         ::testing::Values(NameModel::kExt4, NameModel::kStrict),
                         [](const auto& each) { return std::string(ToText(each.param)); });

}  // namespace
}  // namespace penstock_faults
