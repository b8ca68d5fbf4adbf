#include "store/pages.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace penstock::store {
namespace {

// The format's numbers.
constexpr uint32_t kLmdbMagic = 0xbeefc0de, kLmdbVersion = 1;
constexpr uint16_t kBranch = 0x01, kLeaf = 0x02, kOverflow = 0x04, kMeta = 0x08;
constexpr uint16_t kOnOverflowPage = 0x01;  // a node's flag
constexpr uint16_t kFreeTreeFlags = 0x08;   // keys are numbers
constexpr size_t kFlagsAt = 10, kLowerAt = 12, kUpperAt = 14, kRunAt = 12;
constexpr size_t kTreeRecordBytes = 48, kMetaBytes = 24 + 2 * kTreeRecordBytes + 16;
constexpr size_t kMinPageBytes = 256, kMaxPageBytes = 32768;
constexpr size_t kMaxKeyBytes = 511;
constexpr unsigned kMaxDepth = 32;

constexpr uint64_t kProgressStep = 16 << 20;
// A value on pages that something else claims too is looked at only up to this size, so that a
// thousand keys with the number of one large page cost little.
constexpr uint64_t kMaxSharedPages = 64;

template <typename T>
T Load(const char* at) {
  T out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

uint64_t PagesFor(uint64_t value_bytes, uint64_t page_bytes) {
  return (kPageHeadBytes - 1 + value_bytes) / page_bytes + 1;
}

uint64_t Number(std::string_view key) {
  return key.size() == sizeof(uint64_t) ? Load<uint64_t>(key.data()) : 0;
}

}  // namespace

// ---- the file

Result<PageFile> PageFile::Open(const std::string& path, Progress progress) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Fail(Code::kFatal, path + ": " + std::strerror(errno));
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    return Fail(Code::kFatal, path + ": not a regular file");
  }
  return PageFile(fd, static_cast<uint64_t>(status.st_size), std::move(progress));
}

PageFile::PageFile(PageFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      progress_(std::move(other.progress_)),
      read_(other.read_),
      reported_(other.reported_) {}

PageFile::~PageFile() {
  if (fd_ >= 0) close(fd_);
}

Result<void> PageFile::Read(uint64_t at, size_t bytes, char* out) const {
  if (at > size_ || bytes > size_ - at) return Fail(Code::kFatal, "the file ends before it");
  for (size_t done = 0; done < bytes;) {
    const ssize_t n = pread(fd_, out + done, bytes - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Fail(Code::kFatal, std::string("cannot be read: ") + std::strerror(errno));
    if (n == 0) return Fail(Code::kFatal, "the file ends before it");
    done += static_cast<size_t>(n);
  }
  read_ += bytes;
  if (progress_ && read_ - reported_ >= kProgressStep) {
    reported_ = read_;
    progress_(read_);
  }
  return {};
}

void PageFile::Announce(uint64_t at, uint64_t bytes) const {
  posix_fadvise(fd_, static_cast<off_t>(at), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
}

// ---- meta pages

namespace {

TreeRecord LoadTree(const char* at) {
  TreeRecord out;
  out.pad = Load<uint32_t>(at);
  out.flags = Load<uint16_t>(at + 4);
  out.depth = Load<uint16_t>(at + 6);
  out.branch_pages = Load<uint64_t>(at + 8);
  out.leaf_pages = Load<uint64_t>(at + 16);
  out.overflow_pages = Load<uint64_t>(at + 24);
  out.entries = Load<uint64_t>(at + 32);
  out.root = Load<uint64_t>(at + 40);
  return out;
}

void CheckTreeRecord(const TreeRecord& tree, uint16_t flags, const char* name, MetaPage* meta) {
  const std::string what = std::string("the record of the ") + name + " is damaged: ";
  if (tree.flags != flags) meta->faults.push_back(what + "its flags");
  if (tree.depth > kMaxDepth || (tree.depth == 0) != (tree.root == kNoPage))
    meta->faults.push_back(what + "its depth and root");
}

MetaPage ReadMeta(const PageFile& file, uint64_t number, uint64_t at) {
  MetaPage out;
  char bytes[kPageHeadBytes + kMetaBytes];
  if (auto read = file.Read(at, sizeof bytes, bytes); !read) {
    out.faults.push_back(read.error().message);
    return out;
  }
  const char* const meta = bytes + kPageHeadBytes;
  const bool is_meta = Load<uint32_t>(meta) == kLmdbMagic;
  if (!is_meta) out.faults.emplace_back("this is no page of an LMDB file");
  if (is_meta && Load<uint32_t>(meta + 4) != kLmdbVersion)
    out.faults.push_back("LMDB's format version is " + std::to_string(Load<uint32_t>(meta + 4)) +
                         ", expected " + std::to_string(kLmdbVersion));
  if (is_meta && (Load<uint64_t>(bytes) != number || Load<uint16_t>(bytes + kFlagsAt) != kMeta))
    out.faults.emplace_back("its page header is damaged");
  out.map_bytes = Load<uint64_t>(meta + 16);
  out.free = LoadTree(meta + 24);
  out.main = LoadTree(meta + 24 + kTreeRecordBytes);
  out.last_page = Load<uint64_t>(meta + 24 + 2 * kTreeRecordBytes);
  out.transaction = Load<uint64_t>(meta + 32 + 2 * kTreeRecordBytes);
  out.page_bytes = out.free.pad;
  const uint32_t size = out.page_bytes;
  const bool size_good = size >= kMinPageBytes && size <= kMaxPageBytes && (size & (size - 1)) == 0;
  if (is_meta && !size_good)
    out.faults.push_back("a page size of " + std::to_string(size) + " bytes is impossible");
  out.usable = is_meta && size_good && Load<uint32_t>(meta + 4) == kLmdbVersion;
  if (!out.usable) return out;
  CheckTreeRecord(out.free, kFreeTreeFlags, "free list", &out);
  CheckTreeRecord(out.main, 0, "main tree", &out);
  if (out.last_page < kMetaPages - 1 || out.last_page >= kNoPage / kMaxPageBytes)
    out.faults.emplace_back("the number of the last page is impossible");
  if (out.map_bytes / size <= out.last_page)
    out.faults.emplace_back("the map is smaller than the pages in use");
  return out;
}

// Where the second meta page is, if the first does not say: where a meta page is found.
uint64_t SecondMetaAt(const PageFile& file, const MetaPage& first) {
  if (first.usable) return first.page_bytes;
  for (uint64_t at = kMinPageBytes; at <= kMaxPageBytes; at *= 2) {
    const MetaPage meta = ReadMeta(file, 1, at);
    if (meta.usable && meta.page_bytes == at) return at;
  }
  return 4096;
}

}  // namespace

Metas ReadMetas(const PageFile& file) {
  Metas out;
  MetaPage& first = out.page[0];
  MetaPage& second = out.page[1];
  first = ReadMeta(file, 0, 0);
  second = ReadMeta(file, 1, SecondMetaAt(file, first));
  if (!second.usable && first.usable) {  // its page size may be what is wrong
    MetaPage unsized = first;
    unsized.usable = false;
    MetaPage other = ReadMeta(file, 1, SecondMetaAt(file, unsized));
    if (other.usable) {
      second = std::move(other);
      first.usable = false;
      first.faults.emplace_back("its page size is not the other's");
    }
  }
  if (!first.usable || !second.usable) return out;
  if (first.page_bytes != second.page_bytes) {
    out.faults.emplace_back("the two meta pages differ in the page size");
    second.usable = second.page_bytes == 4096;
    first.usable = first.page_bytes == 4096;
  }
  const uint64_t a = first.transaction, b = second.transaction;
  const bool made_only = a == 0 && b == 0;
  const bool in_turn = (a + 1 == b || b + 1 == a) && a % 2 == 0 && b % 2 == 1;
  if (!made_only && !in_turn) {
    out.faults.push_back("the two meta pages are of commits " + std::to_string(a) + " and " +
                         std::to_string(b) +
                         ", which cannot follow each other: an older state may be opened");
  }
  return out;
}

// ---- sets of pages

bool PageSet::Insert(uint64_t page) {
  assert(page < pages_);
  uint64_t& word = words_[page / 64];
  const uint64_t bit = uint64_t{1} << page % 64;
  if ((word & bit) != 0) return false;
  word |= bit;
  ++size_;
  return true;
}

void PageSet::Erase(uint64_t page) {
  if (!Has(page)) return;
  words_[page / 64] &= ~(uint64_t{1} << page % 64);
  --size_;
}

std::optional<uint64_t> PageSet::FirstIn(const PageSet& other) const {
  for (size_t i = 0; i < std::min(words_.size(), other.words_.size()); ++i) {
    const uint64_t both = words_[i] & other.words_[i];
    if (both != 0) return i * 64 + static_cast<uint64_t>(__builtin_ctzll(both));
  }
  return {};
}

// ---- trees

TreeWalker::TreeWalker(const PageFile& file, const MetaPage& meta, Options options, PageSet* used,
                       TreeVisitor* visitor)
    : file_(file),
      page_bytes_(meta.page_bytes),
      last_page_(meta.last_page),
      options_(options),
      used_(used),
      visitor_(visitor) {}

void TreeWalker::Walk(const TreeRecord& tree) {
  seen_ = {};
  seen_.depth = 0;
  faults_ = false;
  depth_ = tree.depth;
  if (tree.root != kNoPage) Visit(tree.root, 0, {});
  seen_.root = tree.root;
  if (!faults_) Compare(tree);
}

void TreeWalker::Compare(const TreeRecord& tree) {
  const auto differ = [&](const char* what, uint64_t said, uint64_t found) {
    if (said == found) return;
    Fault(tree.root, std::string("the meta page says ") + std::to_string(said) + ' ' + what +
                         ", the tree has " + std::to_string(found));
  };
  differ("levels", tree.depth, seen_.depth);
  differ("branch pages", tree.branch_pages, seen_.branch_pages);
  differ("leaf pages", tree.leaf_pages, seen_.leaf_pages);
  differ("overflow pages", tree.overflow_pages, seen_.overflow_pages);
  differ("entries", tree.entries, seen_.entries);
}

void TreeWalker::Fault(uint64_t page, const std::string& what) {
  faults_ = true;
  visitor_->OnFault(page, what);
}

bool TreeWalker::Less(std::string_view a, std::string_view b) const {
  if (options_.keys == Keys::kBytes) return a < b;
  if (a.empty() || b.empty()) return a.size() < b.size();
  return Number(a) < Number(b);
}

bool TreeWalker::Inside(std::string_view key, const KeyRange& bounds) const {
  return !Less(key, bounds.from) && (!bounds.to || Less(key, *bounds.to));
}

bool TreeWalker::Claim(uint64_t page) {
  if (page < kMetaPages) {
    Fault(page, "a meta page is referred to as part of a tree");
    return false;
  }
  if (page > last_page_) Fault(page, "it is referred to, and lies behind the last page in use");
  if (page >= used_->bound()) {
    Fault(page, "it is referred to, and the file ends before it");
    return false;
  }
  const bool is_free = options_.free != nullptr && options_.free->Has(page);
  if (is_free) Fault(page, "it is in use, and on the list of free pages");
  if (is_free && options_.distrust_free) return false;
  if (used_->Insert(page)) return true;
  Fault(page, "it is referred to twice");
  return false;
}

void TreeWalker::Visit(uint64_t number, unsigned level, const KeyRange& bounds) {
  if (level >= kMaxDepth) {
    Fault(number, "the tree is too deep");
    return visitor_->OnUnreadable(number, bounds);
  }
  if (!Claim(number)) return visitor_->OnUnreadable(number, bounds);
  Page page;
  page.number = number;
  if (!ReadPage(number, level, &page)) return visitor_->OnUnreadable(number, bounds);
  CheckOrder(&page, bounds);
  if (IsForeign(page, bounds)) {
    Fault(number, "it holds keys of another place in the tree");
    used_->Erase(number);  // who refers to it rightly shall find it
    return visitor_->OnUnreadable(number, bounds);
  }
  if (page.branch) {
    ++seen_.branch_pages;
    return VisitChildren(page, level, bounds);
  }
  ++seen_.leaf_pages;
  if (seen_.depth == 0) seen_.depth = static_cast<uint16_t>(level + 1);
  if (level + 1 != depth_)
    Fault(number, "a leaf at level " + std::to_string(level + 1) + " of " + std::to_string(depth_));
  VisitEntries(page, bounds);
}

bool TreeWalker::ReadPage(uint64_t number, unsigned level, Page* page) {
  page->bytes.resize(page_bytes_);
  if (auto read = file_.Read(number * page_bytes_, page_bytes_, page->bytes.data()); !read) {
    Fault(number, read.error().message);
    return false;
  }
  const char* const head = page->bytes.data();
  if (Load<uint64_t>(head) != number) Fault(number, "its header bears another page's number");
  const auto flags = Load<uint16_t>(head + kFlagsAt);
  page->branch = flags == kBranch;
  if (flags != kBranch && flags != kLeaf) {
    Fault(number, "its header is damaged: neither branch nor leaf");
    page->branch = level + 1 < depth_;
  }
  const size_t lower = Load<uint16_t>(head + kLowerAt), upper = Load<uint16_t>(head + kUpperAt);
  if (lower <= kPageHeadBytes || lower % 2 != 0 || lower > page_bytes_) {
    Fault(number, "its header is damaged: the number of nodes");
    return false;
  }
  ReadNodes(page, lower, upper);
  return true;
}

void TreeWalker::ReadNodes(Page* page, size_t lower, size_t upper) {
  const size_t count = (lower - kPageHeadBytes) / 2;
  size_t bad = 0;
  for (size_t i = 0; i < count; ++i) {
    page->nodes.push_back(ReadNode(*page, i));
    if (!page->nodes.back().good) ++bad;
  }
  // LMDB lets a branch of the free list, and only that, have a single node.
  if (page->branch && count < 2 && options_.keys == Keys::kBytes)
    Fault(page->number, "its header is damaged: a branch with one node");
  if (bad > 0)
    Fault(page->number, std::to_string(bad) + " of its nodes are damaged");
  else
    CheckPacking(*page, upper);
}

TreeWalker::Node TreeWalker::ReadNode(const Page& page, size_t index) const {
  Node out;
  const char* const bytes = page.bytes.data();
  const size_t at = Load<uint16_t>(bytes + kPageHeadBytes + 2 * index);
  const size_t lower = Load<uint16_t>(bytes + kLowerAt);
  if (at % 2 != 0 || at < lower || at + kNodeHeadBytes > page_bytes_) return out;
  const uint64_t low = Load<uint32_t>(bytes + at);
  const auto flags = Load<uint16_t>(bytes + at + 4);
  const size_t key_bytes = Load<uint16_t>(bytes + at + 6);
  const bool least = page.branch && index == 0;
  if (key_bytes > kMaxKeyBytes || (key_bytes == 0 && !least)) return out;
  if (options_.keys == Keys::kNumbers && !least && key_bytes != sizeof(uint64_t)) return out;
  if (!page.branch && (flags & ~kOnOverflowPage) != 0) return out;
  out.overflow = !page.branch && flags == kOnOverflowPage;
  out.number = page.branch ? low | uint64_t{flags} << 32 : low;
  const uint64_t value_bytes = page.branch ? 0 : out.overflow ? sizeof(uint64_t) : low;
  const uint64_t end = (at + kNodeHeadBytes + key_bytes + value_bytes + 1) & ~uint64_t{1};
  if (end > page_bytes_) return out;
  out.at = at;
  out.end = end;
  if (!least) out.key = {bytes + at + kNodeHeadBytes, key_bytes};
  out.good = true;
  return out;
}

// Nodes stand one behind the other from `upper` to the page's end, in any order.
void TreeWalker::CheckPacking(const Page& page, size_t upper) {
  std::vector<std::pair<size_t, size_t>> places;
  places.reserve(page.nodes.size());
  for (const Node& node : page.nodes) places.emplace_back(node.at, node.end);
  std::sort(places.begin(), places.end());
  size_t next = upper;
  for (const auto& [at, end] : places) {
    if (at != next) return Fault(page.number, "its nodes overlap, or have gaps between them");
    next = end;
  }
  if (next != page_bytes_) Fault(page.number, "its nodes do not fill it to the end");
}

void TreeWalker::CheckOrder(Page* page, const KeyRange& bounds) {
  std::vector<Node*> keyed;
  for (size_t i = page->branch ? 1 : 0; i < page->nodes.size(); ++i)
    if (page->nodes[i].good) keyed.push_back(&page->nodes[i]);
  std::string_view before = bounds.from;
  bool first = true;
  for (size_t i = 0; i < keyed.size(); ++i) {
    const std::string_view key = keyed[i]->key;
    const auto follows = [&](std::string_view k) {
      return Inside(k, bounds) && (first ? !Less(k, before) : Less(before, k));
    };
    // Of two keys in the wrong order, the one that does not fit to its neighbours is wrong.
    const bool next_is_less = i + 1 < keyed.size() && !Less(key, keyed[i + 1]->key);
    if (follows(key) && !(next_is_less && follows(keyed[i + 1]->key))) {
      before = key;
      first = false;
    } else {
      keyed[i]->good = false;
      Fault(page->number, "its key number " + std::to_string(i) + " is out of order");
    }
  }
}

bool TreeWalker::IsForeign(const Page& page, const KeyRange& bounds) const {
  size_t keyed = 0;
  for (size_t i = page.branch ? 1 : 0; i < page.nodes.size(); ++i) {
    const Node& node = page.nodes[i];
    if (node.good || (!node.key.empty() && Inside(node.key, bounds))) return false;
    if (!node.key.empty()) ++keyed;
  }
  return keyed > (page.branch ? 1 : 0);
}

KeyRange TreeWalker::Around(const Page& page, size_t index, const KeyRange& bounds) const {
  KeyRange out = bounds;
  for (size_t i = 0; i < index; ++i) {
    if (!page.nodes[i].good || page.nodes[i].key.empty()) continue;
    out.from = page.nodes[i].key;
    if (!page.branch) out.from.push_back('\0');  // the least key behind it
  }
  for (size_t i = page.nodes.size(); --i > index;)
    if (page.nodes[i].good) out.to = page.nodes[i].key;
  return out;
}

void TreeWalker::VisitChildren(const Page& page, unsigned level, const KeyRange& bounds) {
  for (size_t i = 0; i < page.nodes.size(); ++i) {
    const Node& node = page.nodes[i];
    KeyRange keys = Around(page, i, bounds);
    if (node.end == 0) {
      visitor_->OnUnreadable(page.number, keys);
      continue;
    }
    if (node.good && i > 0) keys.from = node.key;
    Visit(node.number, level + 1, keys);
  }
}

void TreeWalker::VisitEntries(const Page& page, const KeyRange& bounds) {
  const auto value_at = [](const Node& n) { return n.key.data() + n.key.size(); };
  if (options_.read_overflow) {
    for (const Node& node : page.nodes) {
      if (!node.good || !node.overflow) continue;
      const auto first = Load<uint64_t>(value_at(node));
      if (first < used_->bound())
        file_.Announce(first * page_bytes_, PagesFor(node.number, page_bytes_) * page_bytes_);
    }
  }
  for (size_t i = 0; i < page.nodes.size(); ++i) {
    const Node& node = page.nodes[i];
    ++seen_.entries;
    if (!node.good) {
      const KeyRange around = Around(page, i, bounds);
      visitor_->OnUnreadable(page.number, around);
      // A damaged key above can make good keys here look wrong.
      if (!node.key.empty() && !Inside(node.key, around))
        visitor_->OnUnreadable(page.number, {std::string(node.key), std::string(node.key) + '\0'});
    } else if (node.overflow) {
      std::string next(node.key);
      next.push_back('\0');
      VisitOverflow(page, node, {std::string(node.key), std::move(next)});
    } else {
      visitor_->OnEntry({node.key, {value_at(node), node.number}, node.number, page.number, false});
    }
  }
}

void TreeWalker::VisitOverflow(const Page& page, const Node& node, const KeyRange& only) {
  const auto number = Load<uint64_t>(node.key.data() + node.key.size());
  const uint64_t needed = PagesFor(node.number, page_bytes_);
  const uint64_t in_file = used_->bound();
  if (number < kMetaPages || number >= in_file || needed > in_file - number) {
    Fault(page.number, "a value of it is on page " + std::to_string(number) +
                           ", which the file does not have in full");
    return visitor_->OnUnreadable(page.number, only);
  }
  // The size of a value is believed, however large, only if its page says the same.
  char head[kPageHeadBytes];
  const bool large = needed > kMaxSharedPages;
  if (large && (!file_.Read(number * page_bytes_, sizeof head, head) ||
                Load<uint32_t>(head + kRunAt) < needed)) {
    Fault(page.number, "the size of a value, or the header of its page, is damaged");
    return visitor_->OnUnreadable(page.number, only);
  }
  const size_t bytes = kPageHeadBytes + (options_.read_overflow ? node.number : 0);
  value_.resize(std::max(bytes, value_.size()));
  if (auto read = file_.Read(number * page_bytes_, bytes, value_.data()); !read) {
    Fault(number, read.error().message);
    return visitor_->OnUnreadable(number, only);
  }
  uint64_t run = Load<uint32_t>(value_.data() + kRunAt);
  if (Load<uint64_t>(value_.data()) != number ||
      Load<uint16_t>(value_.data() + kFlagsAt) != kOverflow || run < needed ||
      run > in_file - number) {
    Fault(number, "the header of an overflow page is damaged");
    run = needed;
  }
  bool claimed = true;
  for (uint64_t i = 0; i < run && claimed; ++i) claimed = Claim(number + i);
  seen_.overflow_pages += run;
  if (!claimed && (options_.distrust_free || needed > kMaxSharedPages))
    return visitor_->OnUnreadable(number, only);
  const std::string_view value = options_.read_overflow
                                     ? std::string_view(value_.data() + kPageHeadBytes, node.number)
                                     : std::string_view();
  visitor_->OnEntry({node.key, value, node.number, number, true});
}

// ---- the list of free pages

namespace {

class FreeListVisitor : public TreeVisitor {
 public:
  using OnFaultFunction = std::function<void(uint64_t, const std::string&)>;
  FreeListVisitor(const MetaPage& meta, FreeList* out, const OnFaultFunction& fault)
      : meta_(meta), out_(out), fault_(fault) {}

  void OnFault(uint64_t page, const std::string& what) override {
    fault_(page, "free list: " + what);
  }
  void OnUnreadable(uint64_t, const KeyRange&) override {}  // its fault is told already
  void OnEntry(const Entry& entry) override {
    const uint64_t transaction = Number(entry.key);
    if (transaction == 0 || transaction > meta_.transaction)
      return OnFault(entry.page, "an entry of commit " + std::to_string(transaction));
    out_->newest_transaction = std::max(out_->newest_transaction, transaction);
    const std::string_view value = entry.value;
    const uint64_t room = value.size() / sizeof(uint64_t);
    const uint64_t count = room == 0 ? 1 : Load<uint64_t>(value.data());
    // LMDB reserves entries that then stay empty.
    if (value.size() % sizeof(uint64_t) != 0 || (count != 0 && count != room - 1))
      return OnFault(entry.page, "the length of an entry is wrong");
    uint64_t before = kNoPage;
    for (uint64_t i = 1; i <= count; ++i) {
      const auto page = Load<uint64_t>(value.data() + i * sizeof(uint64_t));
      if (page < kMetaPages || page > meta_.last_page || page >= before)
        return OnFault(entry.page, "the page numbers of an entry are out of order or range");
      before = page;
      Add(page, entry.page);
    }
  }

 private:
  void Add(uint64_t page, uint64_t where) {
    if (page >= out_->pages.bound())
      ++out_->beyond_file;
    else if (!out_->pages.Insert(page))
      OnFault(where, "page " + std::to_string(page) + " is on it twice");
  }

  const MetaPage& meta_;
  FreeList* const out_;
  const OnFaultFunction& fault_;
};

}  // namespace

void ReadFreeList(const PageFile& file, const MetaPage& meta, PageSet* used, FreeList* out,
                  const std::function<void(uint64_t page, const std::string& what)>& fault) {
  FreeListVisitor visitor(meta, out, fault);
  TreeWalker::Options options;
  options.keys = TreeWalker::Keys::kNumbers;
  options.read_overflow = true;
  TreeWalker walker(file, meta, options, used, &visitor);
  walker.Walk(meta.free);
  if (const auto both = used->FirstIn(out->pages))
    fault(*both, "free list: it names a page that the list itself uses");
}

}  // namespace penstock::store
