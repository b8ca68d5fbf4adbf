#include "faults/images/crash_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>

namespace penstock_faults {

namespace fs = std::filesystem;

std::string ToText(const PowerCut& cut) {
  return "image " + std::to_string(cut.number) + " of seed " + std::to_string(cut.seed) +
         " (cut at record " + std::to_string(cut.position) +
         ", unsynced changes: " + ToText(cut.fate) + ", names: " + ToText(cut.names) + ", " +
         std::to_string(cut.mark_bytes) + " bytes of marks before it)";
}

CutPlan::CutPlan(const CrashLog& log, uint64_t seed, NameChoice names)
    : log_(log), seed_(seed), names_(names) {
  std::map<uint64_t, size_t> begun;
  for (size_t i = 0; i < log.records().size(); ++i) {
    const penstock_record_head& head = log.records()[i].head;
    if (head.kind == RECORD_MARK) marks_.push_back(i + 1);
    if (head.kind == RECORD_SYNC || head.kind == RECORD_SYNC_WRITE) begun[head.op] = i + 1;
    if ((head.kind == RECORD_SYNC_DONE || head.kind == RECORD_SYNC_WRITE_DONE) &&
        begun.count(head.op) == 1)
      syncs_.emplace_back(begun[head.op], i);
  }
}

PowerCut CutPlan::Cut(uint64_t number) const {
  Rng rng(seed_, number);
  PowerCut cut{seed_, number, 0, Fate::kNone, NameModel::kExt4, 0};
  const size_t end = log_.records().size(), base = log_.base();
  const uint64_t where = rng.Below(3);
  if (where == 0 && !marks_.empty()) {
    cut.position = marks_[rng.Below(marks_.size())] + rng.Below(4);
  } else if (where == 1 && !syncs_.empty()) {
    const auto [from, to] = syncs_[rng.Below(syncs_.size())];
    cut.position = from + rng.Below(to - from + 1);
  } else {
    cut.position = base + rng.Below(end - base + 1);
  }
  cut.position = std::clamp(cut.position, base, end);
  static constexpr unsigned kWeights[kFates] = {10, 5, 15, 20, 30, 10, 10};
  unsigned drawn = static_cast<unsigned>(rng.Below(100)), fate = 0;
  while (drawn >= kWeights[fate]) drawn -= kWeights[fate++];
  cut.fate = static_cast<Fate>(fate);
  const bool strict = rng.Chance(50);
  if (names_ == NameChoice::kStrict || (names_ == NameChoice::kBoth && strict))
    cut.names = NameModel::kStrict;
  cut.mark_bytes = log_.MarkBytesBefore(cut.position);
  return cut;
}

namespace {

bool PlayOnce(const CrashLog& log, NameModel names, bool without_syncs,
              const std::vector<PowerCut>& cuts,
              const std::function<bool(const PowerCut&, const Image&)>& use) {
  Disk disk(names, without_syncs);
  size_t played = 0;
  for (const PowerCut& cut : cuts) {
    if (cut.names != names) continue;
    for (; played < cut.position; ++played) disk.Apply(log.records()[played]);
    Rng rng(cut.seed ^ 0x5ec7045ec704ULL, cut.number);
    if (!use(cut, disk.CutHere(cut.fate, &rng))) return false;
  }
  return true;
}

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path.string() + ": " + std::strerror(errno));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void CompareContent(const std::string& path, const std::string& expected, const std::string& found,
                    std::vector<std::string>* out) {
  if (expected == found || fs::path(path).filename() == "lock.mdb") return;
  size_t at = 0;
  while (at < std::min(expected.size(), found.size()) && expected[at] == found[at]) ++at;
  out->push_back(path + ": " + std::to_string(found.size()) + " bytes, the log gives " +
                 std::to_string(expected.size()) + "; they differ from byte " + std::to_string(at));
}

}  // namespace

void ForEachImage(const CrashLog& log, std::vector<PowerCut> cuts, bool without_syncs,
                  const std::function<bool(const PowerCut&, const Image&)>& use) {
  std::sort(cuts.begin(), cuts.end(), [](const PowerCut& a, const PowerCut& b) {
    return std::pair(a.position, a.number) < std::pair(b.position, b.number);
  });
  if (PlayOnce(log, NameModel::kExt4, without_syncs, cuts, use))
    PlayOnce(log, NameModel::kStrict, without_syncs, cuts, use);
}

void Materialise(const Image& image, const std::string& directory) {
  fs::remove_all(directory);  // of an earlier run
  fs::create_directories(directory);
  for (const std::string& path : image.directories) fs::create_directories(directory + "/" + path);
  for (const auto& [path, content] : image.files) {
    const std::string full = directory + "/" + path;
    const int fd = open(full.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    while (fd >= 0 && done < content.size()) {
      const ssize_t n = write(fd, content.data() + done, content.size() - done);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    const int error = errno;
    if (fd >= 0) close(fd);
    if (fd < 0 || done < content.size())
      throw std::runtime_error("cannot write " + full + ": " + std::strerror(error));
  }
}

std::vector<std::string> DifferencesAtEnd(const CrashLog& log, const std::string& directory) {
  Disk disk(NameModel::kExt4);
  for (const Record& record : log.records()) disk.Apply(record);
  const Image image = disk.Now();
  std::vector<std::string> differences;
  std::set<std::string> expected;
  for (const auto& [path, content] : image.files) {
    expected.insert(path);
    if (!fs::is_regular_file(directory + "/" + path))
      differences.push_back(path + ": is not there, the log has it");
    else
      CompareContent(path, content, ReadFile(directory + "/" + path), &differences);
  }
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    const std::string path = fs::relative(entry.path(), directory).string();
    if (entry.is_regular_file() && expected.count(path) == 0)
      differences.push_back(path + ": is there, the log does not have it");
  }
  return differences;
}

}  // namespace penstock_faults
