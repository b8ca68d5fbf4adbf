#include "store/check.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "store/catalog.h"
#include "store/seal.h"

namespace penstock::store {
namespace {

class Checker : public TreeVisitor {
 public:
  Checker(const std::string& directory, Depth depth, const PageFile::Progress& progress)
      : directory_(directory), depth_(depth), progress_(progress) {}

  Result<Report> Run();

  void OnFault(uint64_t page, const std::string& what) override { Fault(page, what); }
  void OnUnreadable(uint64_t page, const KeyRange& keys) override {
    report_.Damage(
        "page " + std::to_string(page) + ": with it " + Describe(keys) + " cannot be reached",
        page);
  }
  void OnEntry(const Entry& entry) override;

 private:
  void ReadSealFile();
  void NothingThere(const std::string& what);
  bool ReadRoots(const PageFile& file);
  bool NeverFinished(const PageFile& file) const;
  void WalkTrees(const PageFile& file);
  void CheckSize(const PageFile& file, const PageSet& used, const FreeList& free);
  void CheckSeal();
  void Fault(uint64_t page, const std::string& what) {
    report_.Damage("page " + std::to_string(page) + ": " + what, page);
  }

  const std::string directory_;
  const Depth depth_;
  const PageFile::Progress progress_;
  Report report_;
  std::optional<SealRecord> seal_;
  bool seal_good_ = true;
  Metas metas_;
  const MetaPage* meta_ = nullptr;
  Catalog catalog_;
};

Result<Report> Checker::Run() {
  ReadSealFile();
  const std::string path = directory_ + "/data.mdb";
  if (access(path.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
    NothingThere("is missing");
    return report_;
  }
  auto file = PageFile::Open(path, progress_);
  if (!file) return tl::unexpected(file.error());
  report_.file_bytes = file->size();
  if (file->size() == 0) {
    NothingThere("is empty");
    return report_;
  }
  if (!ReadRoots(*file)) return report_;
  WalkTrees(*file);
  CheckSeal();
  if (depth_ == Depth::kFull) catalog_.Judge(&report_);
  report_.fresh = meta_->transaction == 0 && !seal_ && report_.sound();
  return report_;
}

void Checker::ReadSealFile() {
  auto seal = ReadSeal(directory_);
  seal_good_ = seal.has_value();
  if (seal)
    seal_ = *seal;
  else
    report_.Note(seal.error().message + ": it cannot tell whether this is the last state");
}

void Checker::NothingThere(const std::string& what) {
  if (seal_ || !seal_good_) {
    report_.Damage("data.mdb " + what + ": all that was stored is lost" +
                   (seal_ ? ", commits 1 to " + std::to_string(seal_->commit) : ""));
  } else {
    report_.fresh = true;
    report_.Note("data.mdb " + what + ", and no seal says that there ever was one");
  }
}

// A crash before the first commit can leave pages that nothing was ever written to.
bool Checker::NeverFinished(const PageFile& file) const {
  if (seal_ || !seal_good_) return false;
  std::vector<char> bytes(1 << 20);
  for (uint64_t at = 0; at < file.size(); at += bytes.size()) {
    const size_t n = std::min<uint64_t>(bytes.size(), file.size() - at);
    if (!file.Read(at, n, bytes.data())) return false;
    if (std::any_of(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n),
                    [](char c) { return c != 0; }))
      return false;
  }
  return true;
}

bool Checker::ReadRoots(const PageFile& file) {
  metas_ = ReadMetas(file);
  const MetaPage& first = metas_.page[0];
  const MetaPage& second = metas_.page[1];
  if (!first.usable && !second.usable && NeverFinished(file)) {
    report_.fresh = true;
    report_.Note("data.mdb was never finished being made, and nothing was stored in it; remove it");
    return false;
  }
  for (uint64_t i = 0; i < kMetaPages; ++i)
    for (const std::string& fault : metas_.page[i].faults) Fault(i, fault);
  for (const std::string& fault : metas_.faults) report_.Damage(fault);
  if (!first.usable && !second.usable) {
    report_.Damage(
        "data.mdb is not a file of LMDB, or both of its meta pages are damaged: nothing "
        "in it can be reached");
    return false;
  }
  meta_ = first.usable && second.usable ? &metas_.newest() : first.usable ? &first : &second;
  report_.commit = meta_->transaction;
  report_.pages = meta_->last_page + 1;
  return true;
}

void Checker::WalkTrees(const PageFile& file) {
  uint64_t last = meta_->last_page;
  for (const MetaPage& meta : metas_.page)
    if (meta.usable) last = std::max(last, meta.last_page);
  const uint64_t in_file = file.size() / meta_->page_bytes;
  const uint64_t bound = std::max(kMetaPages, last < in_file ? last + 1 : in_file);
  PageSet used(bound);
  FreeList free(bound);
  ReadFreeList(file, *meta_, &used, &free,
               [this](uint64_t page, const std::string& what) { Fault(page, what); });
  TreeWalker::Options options;
  options.read_overflow = depth_ == Depth::kFull;
  options.free = &free.pages;
  TreeWalker walker(file, *meta_, options, &used, this);
  walker.Walk(meta_->main);
  report_.free_pages = free.pages.size() + free.beyond_file;
  CheckSize(file, used, free);
}

void Checker::CheckSize(const PageFile& file, const PageSet& used, const FreeList& free) {
  const uint64_t last = meta_->last_page;
  const uint64_t in_file = file.size() / meta_->page_bytes;
  const uint64_t accounted = kMetaPages + used.size() + free.pages.size() + free.beyond_file;
  if (accounted < last + 1) report_.leaked_pages = last + 1 - accounted;
  if (last >= in_file) {
    // LMDB need not have written pages at the end that are free again.
    const std::string text =
        "data.mdb ends behind page " + std::to_string(in_file) + " of " + std::to_string(last + 1);
    const bool all_free = free.beyond_file >= last + 1 - std::max(in_file, kMetaPages);
    if (all_free && report_.sound())
      report_.Note(text + "; only free pages are missing, so nothing is lost");
    else
      report_.Damage(text + ": it was cut off, or the number of the last page is damaged");
  } else if (report_.leaked_pages > 0 && report_.sound()) {
    report_.Note(std::to_string(report_.leaked_pages) +
                 " pages are neither in use nor free: room is lost, and nothing else");
  }
}

void Checker::CheckSeal() {
  if (!seal_) {
    // A power cut may take the seal's name, never what was committed.
    if (seal_good_ && meta_->transaction > 0)
      report_.Note("the seal is missing: it cannot tell whether this is the last state");
    return;
  }
  const uint64_t here = meta_->transaction;
  if (seal_->commit > here) {
    report_.Damage("an older state would be opened, of commit " + std::to_string(here) +
                   ": commits " + std::to_string(here + 1) + " to " +
                   std::to_string(seal_->commit) + " are lost");
  } else if (seal_->clean && seal_->commit < here) {
    report_.Damage("the store was closed at commit " + std::to_string(seal_->commit) +
                   " and is at " + std::to_string(here) +
                   ": something else has written to it, or the seal is of another time");
  }
  if (catalog_.format() && catalog_.format()->store_id != seal_->store_id)
    report_.Damage("the seal is of another store");
}

void Checker::OnEntry(const Entry& entry) {
  ++report_.values;
  // Inline values are here anyway, and one of them names the store.
  if (depth_ == Depth::kStructure && entry.key != FormatKey()) return;
  const auto damaged = [&](const std::string& why) {
    Fault(entry.page, Describe(entry.key) + " is damaged: " + why);
  };
  auto value = DecodeValue(entry.value);
  if (!value) {
    const bool format = entry.key == FormatKey();
    return damaged(value.error().message +
                   (format ? "; another release of penstock may have made it" : ""));
  }
  if (value->key != entry.key) return damaged("it stands in the place of " + Describe(value->key));
  if (value->bytes() != entry.value.size()) return damaged("its size is wrong");
  if (value->envelope.commit == 0 || value->envelope.commit > meta_->transaction)
    return damaged("it is of commit " + std::to_string(value->envelope.commit) +
                   ", later than the last");
  catalog_.Add(*value);
}

}  // namespace

Result<Report> Verify(const std::string& directory, Depth depth,
                      const PageFile::Progress& progress) {
  return Checker(directory, depth, progress).Run();
}

}  // namespace penstock::store
