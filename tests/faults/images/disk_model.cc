#include "faults/images/disk_model.h"

#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <stdexcept>

namespace penstock_faults {
namespace {

std::string Parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::string Name(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

void Overlay(std::string* content, uint64_t offset, std::string_view data) {
  if (content->size() < offset + data.size()) content->resize(offset + data.size());
  content->replace(offset, data.size(), data);
}

}  // namespace

const char* ToText(NameModel names) { return names == NameModel::kExt4 ? "ext4" : "strict"; }

const char* ToText(Fate fate) {
  static constexpr const char* kNames[kFates] = {"none", "all",       "prefix", "subset",
                                                 "torn", "torn-last", "mixed"};
  return kNames[static_cast<int>(fate)];
}

// ---- changes of a file

void Disk::ApplyTo(std::string* content, const Change& change) {
  const uint64_t end = change.offset + change.length;
  switch (change.kind) {
    case Change::kWrite:
      Overlay(content, change.offset, change.data);
      break;
    case Change::kSetSize:
      content->resize(change.offset);
      break;
    case Change::kGrow:
      if (content->size() < end) content->resize(end);
      break;
    case Change::kZero:
      for (uint64_t i = change.offset; i < std::min<uint64_t>(end, content->size()); ++i)
        (*content)[i] = '\0';
      break;
  }
}

void Disk::ApplyTorn(std::string* content, const Change& change, Rng* rng) {
  if (change.kind != Change::kWrite) {
    if (rng->Chance(50)) ApplyTo(content, change);
    return;
  }
  static constexpr unsigned kPercent[] = {10, 50, 90};
  const unsigned percent = kPercent[rng->Below(3)];
  for (uint64_t at = 0; at < change.data.size();) {
    const uint64_t piece =
        std::min<uint64_t>(kSector - (change.offset + at) % kSector, change.data.size() - at);
    if (rng->Chance(percent)) Overlay(content, change.offset + at, change.data.substr(at, piece));
    at += piece;
  }
}

bool Disk::Overlap(const Change& a, const Change& b) {
  return a.offset < b.offset + b.data.size() && b.offset < a.offset + a.data.size();
}

// All that was done before this position. A write through that has not ended stays: nobody knows
// whether the sync met it. If its process was killed it never ends, and goes when its place is
// written again.
void Disk::MakeDurable(Node* node, size_t before) {
  std::vector<Change> left;
  for (const Change& change : node->pending) {
    if (change.position >= before || change.op != 0) {
      left.push_back(change);
      continue;
    }
    ApplyTo(&node->durable, change);
    const auto replaced = [&](const Change& c) { return Overlap(c, change); };
    left.erase(std::remove_if(left.begin(), left.end(), replaced), left.end());
  }
  node->pending = std::move(left);
}

// The write of this index has reached the disk, and with it what its sectors held before; what is
// pending elsewhere in the file is not touched. Size changes are rare enough to be simple about:
// all before them counts as durable, too.
void Disk::MakeRangeDurable(Node* node, size_t index) {
  const Change through = node->pending[index];
  const auto is_size = [](const Change& c) { return c.kind != Change::kWrite; };
  const auto begin = node->pending.begin();
  if (std::any_of(begin, begin + static_cast<ptrdiff_t>(index), is_size))
    MakeDurable(node, through.position);
  const uint64_t from = through.offset / kSector * kSector;
  const uint64_t to = (through.offset + through.data.size() + kSector - 1) / kSector * kSector;
  std::vector<Change> left;
  for (const Change& change : node->pending) {
    if (change.position == through.position) continue;
    const uint64_t end = change.offset + change.data.size();
    if (change.position > through.position || end <= from || change.offset >= to) {
      left.push_back(change);
      continue;
    }
    const uint64_t a = std::max(change.offset, from), b = std::min(end, to);
    Overlay(&node->durable, a, change.data.substr(a - change.offset, b - a));
    Change head = change, tail = change;
    head.data = change.data.substr(0, a - change.offset);
    tail.data = change.data.substr(b - change.offset);
    tail.offset = b;
    if (!head.data.empty()) left.push_back(head);
    if (!tail.data.empty()) left.push_back(tail);
  }
  Overlay(&node->durable, through.offset, through.data);
  node->pending = std::move(left);
}

std::string Disk::ContentAfterCut(const Node& node, Fate fate, Rng* rng) const {
  if (fate == Fate::kMixed) fate = static_cast<Fate>(rng->Below(kFates - 1));
  std::string content = node.durable;
  const size_t count = node.pending.size();
  const size_t prefix = fate == Fate::kPrefix ? rng->Below(count + 1) : count;
  const unsigned percent = fate == Fate::kSubset ? 10 + 10 * rng->Below(9) : 0;
  uint64_t full_size = node.durable.size();
  for (size_t i = 0; i < count; ++i) {
    const Change& change = node.pending[i];
    if (change.kind == Change::kSetSize)
      full_size = change.offset;
    else if (change.kind != Change::kZero)
      full_size = std::max(full_size, change.offset + std::max(change.length, change.data.size()));
    const bool torn = fate == Fate::kTorn || (fate == Fate::kTornLast && i + 1 == count);
    if (torn)
      ApplyTorn(&content, change, rng);
    else if (fate == Fate::kSubset ? rng->Chance(percent) : fate != Fate::kNone && i < prefix)
      ApplyTo(&content, change);
  }
  // The size goes to the disk on its own way.
  const uint64_t old_size = node.durable.size();
  if ((fate == Fate::kSubset || fate == Fate::kTorn) && full_size > old_size) {
    const uint64_t sectors = (full_size - old_size) / kSector;
    switch (rng->Below(5)) {
      case 0:
        content.resize(old_size);
        break;
      case 1:
        content.resize(full_size);
        break;
      case 2:
        content.resize(old_size + rng->Below(sectors + 1) * kSector);
        break;
      default:
        break;
    }
  }
  return content;
}

// ---- names

// What the change does to names that may lack what it builds on: then it does nothing.
void Disk::ApplyTo(Names* names, const NameChange& change) {
  if (change.kind == NameChange::kAdd) {
    (*names)[change.to] = change.id;
    return;
  }
  const auto found = names->find(change.from);
  if (found == names->end() || found->second != change.id) return;
  names->erase(found);
  if (change.kind == NameChange::kRemove) return;
  (*names)[change.to] = change.id;
  const std::string inside = change.from + "/";
  Names moved;
  for (auto it = names->lower_bound(inside);
       it != names->end() && it->first.compare(0, inside.size(), inside) == 0;
       it = names->erase(it))
    moved[change.to + "/" + it->first.substr(inside.size())] = it->second;
  names->merge(moved);
}

// Makes one pending change durable, and forgets the earlier ones of the same file: they are
// included in it.
void Disk::CommitName(size_t index) {
  const NameChange change = pending_names_[index];
  const auto from = durable_names_.find(change.from);
  const bool known = from != durable_names_.end() && from->second == change.id;
  if (change.kind == NameChange::kMove && !known)
    durable_names_[change.to] = change.id;
  else
    ApplyTo(&durable_names_, change);
  const auto included = [&](const NameChange& c) {
    return c.id == change.id && c.position <= change.position;
  };
  pending_names_.erase(std::remove_if(pending_names_.begin(), pending_names_.end(), included),
                       pending_names_.end());
}

// A sync of this file or directory, which began at `before`, has ended.
void Disk::MakeNamesDurable(Id id, size_t before) {
  std::string directory;
  const bool is_dir = nodes_[id].is_dir;
  if (is_dir) {
    const auto found = std::find_if(names_.begin(), names_.end(),
                                    [&](const auto& entry) { return entry.second == id; });
    if (found == names_.end()) return;
    directory = found->first;
  }
  const auto concerns = [&](const NameChange& c) {
    if (c.position >= before) return false;
    const std::string& path = c.kind == NameChange::kRemove ? c.from : c.to;
    if (is_dir && Parent(path) == directory) return true;
    return name_model_ == NameModel::kExt4 && c.id == id;
  };
  if (name_model_ == NameModel::kStrict) {
    for (size_t i = 0; i < pending_names_.size();) {
      if (!concerns(pending_names_[i])) {
        ++i;
        continue;
      }
      CommitName(i);
      i = 0;
    }
    return;
  }
  const auto last = std::find_if(pending_names_.rbegin(), pending_names_.rend(), concerns);
  if (last == pending_names_.rend()) return;
  const size_t position = last->position;
  while (!pending_names_.empty() && pending_names_.front().position <= position) CommitName(0);
}

Disk::Names Disk::NamesAfterCut(Fate fate, Rng* rng) const {
  Names names = durable_names_;
  const size_t count = pending_names_.size();
  const bool in_order = name_model_ == NameModel::kExt4 || fate == Fate::kPrefix;
  const size_t prefix = fate == Fate::kNone  ? 0
                        : fate == Fate::kAll ? count
                        : in_order           ? rng->Below(count + 1)
                                             : count;
  for (size_t i = 0; i < prefix; ++i)
    if (fate == Fate::kAll || in_order || rng->Chance(50)) ApplyTo(&names, pending_names_[i]);
  return names;
}

// ---- records

Disk::Id Disk::NewNode(uint64_t inode, bool is_dir) {
  const Id id = next_id_++;
  ids_[inode] = id;
  nodes_[id].is_dir = is_dir;
  return id;
}

Disk::Node* Disk::NodeOf(uint64_t inode) {
  const auto found = ids_.find(inode);
  if (found == ids_.end())
    throw std::runtime_error("record " + std::to_string(position_) +
                             " is about an inode that the log never mentioned");
  return &nodes_[found->second];
}

void Disk::AddName(NameChange::Kind kind, std::string from, std::string to, Id id) {
  NameChange change{kind, position_, std::move(from), std::move(to), id};
  ApplyTo(&names_, change);
  pending_names_.push_back(std::move(change));
}

void Disk::AddChange(const Record& record, Change::Kind kind, uint64_t offset, uint64_t length) {
  NodeOf(record.head.inode)
      ->pending.push_back({kind, position_, offset, length, record.data, record.head.op});
}

void Disk::Fallocate(const Record& record) {
  const int mode = record.head.detail;
  const uint64_t offset = record.head.offset, length = record.head.length;
  constexpr int kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
  if ((mode & ~kKnown) != 0) throw std::runtime_error("fallocate with a mode that is not modelled");
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0)
    AddChange(record, Change::kZero, offset, length);
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0) AddChange(record, Change::kGrow, offset, length);
}

void Disk::Open(const Record& record) {
  if (record.head.op == 0) {
    NodeOf(record.head.inode);
    return;
  }
  const Id id = NewNode(record.head.inode, false);
  AddName(NameChange::kAdd, "", std::string(record.path), id);
}

void Disk::Rename(const Record& record) {
  const auto [from, to] = SplitPath(record.path);
  const Id id = ids_.at(record.head.inode);
  const auto target = names_.find(std::string(to));
  if (target != names_.end() && target->second == id) return;  // POSIX: both names stay
  if (record.head.kind == RECORD_LINK)
    AddName(NameChange::kAdd, "", std::string(to), id);
  else
    AddName(NameChange::kMove, std::string(from), std::string(to), id);
}

void Disk::Remove(const Record& record) {
  const auto found = names_.find(std::string(record.path));
  if (found == names_.end())
    throw std::runtime_error("a name is removed that the log never mentioned: " +
                             std::string(record.path));
  AddName(NameChange::kRemove, found->first, "", found->second);
}

void Disk::EndSync(const Record& record) {
  const auto found = syncs_.find(record.head.op);
  if (found == syncs_.end()) throw std::runtime_error("a sync ends that never began");
  const Sync sync = found->second;
  syncs_.erase(found);
  if (record.head.result != 0 || without_syncs_) return;  // a failed sync promises nothing
  if (sync.how == RECORD_SYNC_ALL) {
    for (auto& [id, node] : nodes_) MakeDurable(&node, sync.position);
    while (!pending_names_.empty() && pending_names_.front().position < sync.position)
      CommitName(0);
  } else if (sync.how == RECORD_SYNC_FSYNC || sync.how == RECORD_SYNC_FDATASYNC) {
    MakeDurable(NodeOf(sync.inode), sync.position);
    MakeNamesDurable(ids_.at(sync.inode), sync.position);
  }
}

void Disk::EndSyncWrite(const Record& record) {
  const auto found = sync_writes_.find(record.head.op);
  if (found == sync_writes_.end()) throw std::runtime_error("a write ends that never began");
  const Id id = found->second;
  sync_writes_.erase(found);
  Node& node = nodes_[id];
  const auto change = std::find_if(node.pending.begin(), node.pending.end(),
                                   [&](const Change& c) { return c.op == record.head.op; });
  if (change == node.pending.end() || record.head.result < 0) return;
  change->op = 0;
  change->data = change->data.substr(0, static_cast<size_t>(record.head.result));
  if (without_syncs_) return;
  const size_t position = change->position;
  MakeRangeDurable(&node, static_cast<size_t>(change - node.pending.begin()));
  if (name_model_ == NameModel::kExt4) MakeNamesDurable(id, position);
}

void Disk::Apply(const Record& record) {
  const penstock_record_head& head = record.head;
  switch (head.kind) {
    case RECORD_BASE_DIR:
    case RECORD_BASE_FILE: {
      const Id id = NewNode(head.inode, head.kind == RECORD_BASE_DIR);
      nodes_[id].durable = std::string(record.data);
      names_[std::string(record.path)] = durable_names_[std::string(record.path)] = id;
      break;
    }
    case RECORD_OPEN:
      Open(record);
      break;
    case RECORD_WRITE:
      AddChange(record, Change::kWrite, head.offset, 0);
      break;
    case RECORD_SYNC_WRITE:
      AddChange(record, Change::kWrite, head.offset, 0);
      sync_writes_[head.op] = ids_.at(head.inode);
      break;
    case RECORD_SYNC_WRITE_DONE:
      EndSyncWrite(record);
      break;
    case RECORD_TRUNCATE:
      AddChange(record, Change::kSetSize, head.offset, 0);
      break;
    case RECORD_FALLOCATE:
      Fallocate(record);
      break;
    case RECORD_SYNC:
      syncs_[head.op] = {head.inode, position_, head.detail};
      break;
    case RECORD_SYNC_DONE:
      EndSync(record);
      break;
    case RECORD_RENAME:
    case RECORD_LINK:
      Rename(record);
      break;
    case RECORD_UNLINK:
    case RECORD_RMDIR:
      Remove(record);
      break;
    case RECORD_MKDIR:
      AddName(NameChange::kAdd, "", std::string(record.path), NewNode(head.inode, true));
      break;
    default:
      break;  // close, mark, error: nothing happens to the disk
  }
  ++position_;
}

// ---- images

Image Disk::Collect(const Names& names, Fate fate, Rng* rng) const {
  Image image;
  std::map<Id, std::string> contents;  // a file with two names is one file
  for (const auto& [path, id] : names) {
    const Node& node = nodes_.at(id);
    bool reachable = true;
    for (std::string up = path; !up.empty() && reachable; up = Parent(up))
      reachable = names.count(Parent(up)) == 1;
    if (!reachable) continue;
    if (node.is_dir) {
      image.directories.push_back(path);
      continue;
    }
    if (contents.count(id) == 0) contents[id] = ContentAfterCut(node, fate, rng);
    std::string content = contents[id];
    // Shared memory of LMDB's processes; after a power cut there may be anything in it.
    if (Name(path) == "lock.mdb" && rng != nullptr) {
      const uint64_t choice = rng->Below(3);
      if (choice == 0) continue;
      for (char& byte : content) byte = choice == 1 ? '\0' : static_cast<char>(rng->Next());
    }
    image.files.emplace_back(path, std::move(content));
  }
  return image;
}

Image Disk::CutHere(Fate fate, Rng* rng) const {
  return Collect(NamesAfterCut(fate, rng), fate, rng);
}

Image Disk::Now() const { return Collect(names_, Fate::kAll, nullptr); }

}  // namespace penstock_faults
