// What a disk may hold after a power cut.
//
// Content and size of a file are durable once an fsync or fdatasync of it has ended that began
// after the write; a write through O_DSYNC or O_SYNC is durable, without its neighbours, once it
// has ended. Of all else any mixture may be there: each 512-byte sector holds what the last sync
// left or any version written since, and the size is the old one, the new one or one in between. A
// name is durable by what NameModel says.
//
// The mixtures are those of a disk that keeps its promises: it does not lose what was synced.
#ifndef PENSTOCK_TESTS_FAULTS_IMAGES_DISK_MODEL_H
#define PENSTOCK_TESTS_FAULTS_IMAGES_DISK_MODEL_H

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "faults/images/crash_log.h"
#include "faults/images/rng.h"

namespace penstock_faults {

constexpr uint64_t kSector = 512;

enum class NameModel {
  kExt4,   // A journal: names become durable in their order; a sync of a file brings its name, and
           // all that happened to names before it.
  kStrict  // POSIX to the letter: only a sync of the directory brings a name; without, any subset.
};

// What becomes of the changes that no sync covers.
enum class Fate {
  kNone,      // none is there
  kAll,       // all are
  kPrefix,    // the first ones of each file
  kSubset,    // any of them, whole: later ones without earlier ones
  kTorn,      // any sectors of any of them
  kTornLast,  // all, but of the last write of each file only some sectors
  kMixed      // another of these for each file
};
constexpr int kFates = 7;

const char* ToText(NameModel names);
const char* ToText(Fate fate);

// The recorded directory at one moment. Paths are relative to it.
struct Image {
  std::vector<std::string> directories;                    // parents first
  std::vector<std::pair<std::string, std::string>> files;  // path, content
};

// The disk as the records go by.
class Disk {
 public:
  // without_syncs: as if nothing had ever been synced since the log began.
  explicit Disk(NameModel names, bool without_syncs = false)
      : name_model_(names), without_syncs_(without_syncs) {}

  // The next record of the log.
  void Apply(const Record& record);
  // One of the states that a power cut at this moment may leave.
  Image CutHere(Fate fate, Rng* rng) const;
  // The state without a power cut.
  Image Now() const;

 private:
  using Id = uint64_t;  // an inode number may be used again; an id is not

  struct Change {
    enum Kind { kWrite, kSetSize, kGrow, kZero } kind;
    size_t position;  // of its record
    uint64_t offset, length;
    std::string_view data;
    uint64_t op;  // of a write through that has not ended; else 0
  };
  struct Node {
    bool is_dir = false;
    std::string durable;
    std::vector<Change> pending;
  };
  struct NameChange {
    enum Kind { kAdd, kRemove, kMove } kind;
    size_t position;
    std::string from, to;  // kAdd has only to, kRemove only from
    Id id;
  };
  struct Sync {
    uint64_t inode;
    size_t position;
    int how;
  };
  using Names = std::map<std::string, Id>;

  static bool Overlap(const Change& a, const Change& b);
  static void ApplyTo(std::string* content, const Change& change);
  static void ApplyTorn(std::string* content, const Change& change, Rng* rng);
  static void ApplyTo(Names* names, const NameChange& change);

  Id NewNode(uint64_t inode, bool is_dir);
  Node* NodeOf(uint64_t inode);
  void AddName(NameChange::Kind kind, std::string from, std::string to, Id id);
  void AddChange(const Record& record, Change::Kind kind, uint64_t offset, uint64_t length);
  void Fallocate(const Record& record);
  void Open(const Record& record);
  void Rename(const Record& record);
  void Remove(const Record& record);
  void EndSync(const Record& record);
  void EndSyncWrite(const Record& record);
  static void MakeDurable(Node* node, size_t before);
  static void MakeRangeDurable(Node* node, size_t index);
  void MakeNamesDurable(Id id, size_t before);
  void CommitName(size_t index);
  Names NamesAfterCut(Fate fate, Rng* rng) const;
  std::string ContentAfterCut(const Node& node, Fate fate, Rng* rng) const;
  Image Collect(const Names& names, Fate fate, Rng* rng) const;

  NameModel name_model_;
  bool without_syncs_;
  size_t position_ = 0;
  Id next_id_ = 1;
  std::map<uint64_t, Id> ids_;  // by inode
  std::map<Id, Node> nodes_;
  Names names_, durable_names_;
  std::vector<NameChange> pending_names_;
  std::map<uint64_t, Sync> syncs_;  // by op
  std::map<uint64_t, Id> sync_writes_;
};

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_IMAGES_DISK_MODEL_H
