// LMDB's file, read page by page and without LMDB: nothing is mapped, and no byte of it is trusted,
// so that a damaged file can be looked at without a fault, a loop or an abort. What is known here
// of the format is that of LMDB 0.9 on 64-bit little-endian machines; the tests compare it with
// files that LMDB wrote.
//
//   page 0, 1   meta pages: a snapshot's roots; commit n writes page n % 2
//   branch      keys and the numbers of the pages below; a page's first key counts as the least
//   leaf        keys with their values, or with the number of the overflow page that has it
//   overflow    one value on neighbouring pages, of which only the first has a header
//
// There are two trees: the main one, and the list of free pages (transaction -> page numbers).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/result.h"

namespace penstock::store {

inline constexpr uint64_t kNoPage = ~uint64_t{0};  // the root of an empty tree
inline constexpr size_t kPageHeadBytes = 16;
inline constexpr size_t kNodeHeadBytes = 8;
inline constexpr uint64_t kMetaPages = 2;

// data.mdb, open for reading.
class PageFile {
 public:
  // Called with the bytes read so far, every now and then.
  using Progress = std::function<void(uint64_t bytes)>;

  static Result<PageFile> Open(const std::string& path, Progress progress = {});
  PageFile(PageFile&& other) noexcept;
  PageFile& operator=(PageFile&&) = delete;
  ~PageFile();

  uint64_t size() const { return size_; }  // when it was opened
  // Exactly these bytes. The error says why not: the file ends before, or the disk's own.
  Result<void> Read(uint64_t at, size_t bytes, char* out) const;
  // These bytes will be read soon.
  void Announce(uint64_t at, uint64_t bytes) const;

 private:
  PageFile(int fd, uint64_t size, Progress progress)
      : fd_(fd), size_(size), progress_(std::move(progress)) {}
  int fd_;
  uint64_t size_;
  Progress progress_;
  mutable uint64_t read_ = 0, reported_ = 0;
};

// What a meta page says of a tree.
struct TreeRecord {
  uint32_t pad = 0;
  uint16_t flags = 0;
  uint16_t depth = 0;
  uint64_t branch_pages = 0, leaf_pages = 0, overflow_pages = 0;
  uint64_t entries = 0;
  uint64_t root = kNoPage;
};

struct MetaPage {
  uint32_t page_bytes = 0;
  uint64_t map_bytes = 0;
  TreeRecord free, main;
  uint64_t last_page = 0;
  uint64_t transaction = 0;
  std::vector<std::string> faults;
  bool usable = false;  // magic, version and page size are right: the roots may be tried
};

struct Metas {
  MetaPage page[kMetaPages];
  std::vector<std::string> faults;  // of both together
  // The one that LMDB would take.
  const MetaPage& newest() const { return page[page[0].transaction < page[1].transaction ? 1 : 0]; }
};
Metas ReadMetas(const PageFile& file);

// A set of page numbers below a bound: one bit for each.
class PageSet {
 public:
  explicit PageSet(uint64_t pages) : pages_(pages), words_((pages + 63) / 64) {}
  uint64_t bound() const { return pages_; }
  uint64_t size() const { return size_; }
  bool Has(uint64_t page) const {
    return page < pages_ && (words_[page / 64] >> page % 64 & 1) != 0;
  }
  // false: it was there already. page is below the bound.
  bool Insert(uint64_t page);
  void Erase(uint64_t page);
  std::optional<uint64_t> FirstIn(const PageSet& other) const;  // of what is in both

 private:
  uint64_t pages_;
  uint64_t size_ = 0;
  std::vector<uint64_t> words_;
};

// Keys from `from` on, up to and without `to`.
struct KeyRange {
  std::string from;
  std::optional<std::string> to;  // nullopt: all that follow
};

struct Entry {
  std::string_view key;
  std::string_view value;  // empty if it was not read
  uint64_t value_bytes = 0;
  uint64_t page = 0;      // where the value is
  bool overflow = false;  // on pages of its own
};

// Who looks at a tree.
class TreeVisitor {
 public:
  virtual ~TreeVisitor() = default;
  virtual void OnFault(uint64_t page, const std::string& what) = 0;
  // The tree cannot tell which of these keys there are, or what their values are.
  virtual void OnUnreadable(uint64_t page, const KeyRange& keys) = 0;
  // In order of the keys, as far as the tree is in order. The views are good during the call.
  virtual void OnEntry(const Entry& entry) = 0;
};

// Walks one tree and tells a visitor what is there and what is wrong. What is damaged is left out,
// the rest is shown. Reads every page of the tree once at most.
class TreeWalker {
 public:
  enum class Keys { kBytes, kNumbers };  // kNumbers: 8 bytes each, compared as a number
  struct Options {
    Keys keys = Keys::kBytes;
    bool read_overflow = false;     // values on pages of their own
    bool distrust_free = false;     // a page that is also free counts as unreadable
    const PageSet* free = nullptr;  // pages that must not be in use
  };

  // used: pages in use, to which the tree's are added; its bound is that of the file's pages.
  TreeWalker(const PageFile& file, const MetaPage& meta, Options options, PageSet* used,
             TreeVisitor* visitor);
  void Walk(const TreeRecord& tree);
  // What the last walk came through.
  const TreeRecord& seen() const { return seen_; }

 private:
  struct Node {
    size_t at = 0, end = 0;  // end: even
    std::string_view key;
    uint64_t number = 0;  // the page below, or the size of the value
    bool overflow = false;
    bool good = false;
  };
  struct Page {
    uint64_t number = 0;
    bool branch = false;
    std::vector<char> bytes;
    std::vector<Node> nodes;
  };

  bool Claim(uint64_t page);  // false, and a fault, if it cannot be this tree's
  void Fault(uint64_t page, const std::string& what);
  void Visit(uint64_t number, unsigned level, const KeyRange& bounds);
  bool ReadPage(uint64_t number, unsigned level, Page* page);
  void ReadNodes(Page* page, size_t lower, size_t upper);
  Node ReadNode(const Page& page, size_t index) const;
  void CheckPacking(const Page& page, size_t upper);
  void CheckOrder(Page* page, const KeyRange& bounds);
  bool IsForeign(const Page& page, const KeyRange& bounds) const;
  void VisitChildren(const Page& page, unsigned level, const KeyRange& bounds);
  void VisitEntries(const Page& page, const KeyRange& bounds);
  void VisitOverflow(const Page& page, const Node& node, const KeyRange& only);
  bool Less(std::string_view a, std::string_view b) const;
  bool Inside(std::string_view key, const KeyRange& bounds) const;
  // The keys between the good neighbours of a node.
  KeyRange Around(const Page& page, size_t index, const KeyRange& bounds) const;
  void Compare(const TreeRecord& tree);

  const PageFile& file_;
  const uint64_t page_bytes_, last_page_;
  const Options options_;
  PageSet* const used_;
  TreeVisitor* const visitor_;
  unsigned depth_ = 0;
  bool faults_ = false;
  TreeRecord seen_;
  std::vector<char> value_;
};

// The pages that the free list names. Faults go to the visitor; a page that is not in the file is
// only counted.
struct FreeList {
  PageSet pages;
  uint64_t beyond_file = 0;
  uint64_t newest_transaction = 0;  // that freed some
  explicit FreeList(uint64_t bound) : pages(bound) {}
};
void ReadFreeList(const PageFile& file, const MetaPage& meta, PageSet* used, FreeList* out,
                  const std::function<void(uint64_t page, const std::string& what)>& fault);

}  // namespace penstock::store
