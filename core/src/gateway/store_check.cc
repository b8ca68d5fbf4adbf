#include "gateway/store_check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <thread>

#include "platform/log.h"
#include "platform/notify.h"
#include "store/seal.h"

namespace penstock::gateway {
namespace {

constexpr char kMe[] = "store";
constexpr char kDamaged[] = "store.damaged-";
constexpr char kCheck[] = "check";
constexpr char kRepair[] = "repair";
constexpr char kFull[] = "full";
constexpr char kStructure[] = "structure";
// The service manager is asked for so much more than the longest silence of a check.
constexpr std::chrono::seconds kSlack{30};
constexpr std::chrono::seconds kNotifyInterval{5};
constexpr std::chrono::seconds kToolTakes{2};
constexpr size_t kShownFindings = 20;

std::string SystemText(const std::string& what) { return what + ": " + std::strerror(errno); }

std::string ParentOf(const std::string& directory) {
  return directory.substr(0, directory.rfind('/'));
}

uint64_t SizeOf(const std::string& path) {
  struct stat file {};
  return stat(path.c_str(), &file) == 0 ? static_cast<uint64_t>(file.st_size) : 0;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// Something was stored there, or was to be.
bool HasStore(const std::string& directory) {
  return Exists(directory + "/data.mdb") || Exists(directory + "/seal");
}

void SyncDirectory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  if (fsync(fd) != 0) log::Warn(kMe, SystemText("syncing " + path));
  close(fd);
}

Result<void> Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0)
    return Fail(Code::kFatal, SystemText("cannot move " + from + " to " + to));
  SyncDirectory(ParentOf(to));
  return {};
}

// A name beside the store that is not taken: "store.damaged-20261123T215700Z".
std::string NameBeside(const std::string& directory, const std::string& prefix) {
  char now[32];
  const std::time_t seconds = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::strftime(now, sizeof now, "%Y%m%dT%H%M%SZ", &utc);
  const std::string base = ParentOf(directory) + "/" + prefix + now;
  std::string name = base;
  for (int i = 2; Exists(name); ++i) name = base + "-" + std::to_string(i);
  return name;
}

std::optional<std::string> NewestSetAside(const std::string& state_dir) {
  std::optional<std::string> newest;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(state_dir, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kDamaged) || !HasStore(entry.path())) continue;
    if (!newest || *newest < entry.path().string()) newest = entry.path();
  }
  return newest;
}

Result<store::Report> RunChild(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {kStoreChild};
  words.insert(words.end(), arguments.begin(), arguments.end());
  store::CheckLimits limits;
  const auto tell = [&limits] {
    NotifyBusy("checking the store", limits.no_progress + std::chrono::milliseconds(kSlack));
  };
  tell();
  auto told = std::chrono::steady_clock::now();
  limits.alive = [&tell, &told] {
    const auto now = std::chrono::steady_clock::now();
    if (now - told < kNotifyInterval) return;
    told = now;
    tell();
  };
  return store::CheckInChild("/proc/self/exe", words, limits);
}

std::string Bytes(uint64_t n) { return std::to_string(n) + (n == 1 ? " byte" : " bytes"); }

std::string Events(uint64_t n) { return std::to_string(n) + (n == 1 ? " event" : " events"); }

std::string Interval(uint64_t first, uint64_t end) {
  return "[" + std::to_string(first) + ", " + std::to_string(end) + ")";
}

std::vector<std::string> FindingLines(const store::Report& report) {
  std::vector<std::string> out;
  for (const store::Finding& finding : report.findings) {
    const bool note = finding.severity == store::Finding::Severity::kNote;
    out.push_back((note ? "note: " : "damage: ") + finding.text);
  }
  if (report.more_findings > 0)
    out.push_back("and " + std::to_string(report.more_findings) + " more findings");
  return out;
}

Result<void> SetAside(const std::string& directory, const store::Report& report) {
  size_t shown = 0;
  for (const std::string& line : FindingLines(report)) {
    if (++shown > kShownFindings) break;
    log::LogError(kMe, line);
  }
  const std::string aside = NameBeside(directory, kDamaged);
  const std::string lost = LostText(report);
  std::string text = "the store in " + directory + " is damaged (" +
                     std::to_string(report.findings.size() + report.more_findings) + " findings). ";
  if (const auto moved = Rename(directory, aside); !moved) {
    text += "It could not be set aside (" + moved.error().message + ") and is left as it is. ";
  } else {
    text += "It was set aside as " + aside + "; nothing in it was changed. ";
  }
  text += lost.empty()
              ? "Which events are lost, `penstock queue verify` says as far as can be known. "
              : "Lost are " + lost + ". ";
  return Fail(
      Code::kConfig,
      text +
          "Run `penstock queue repair`: it makes a new store of all that can still be read. "
          "Until then the next start ends here again, and never begins with an empty store");
}

void LogSound(const store::Report& report) {
  uint64_t events = 0, letters = 0;
  for (const store::QueueSummary& queue : report.queues) {
    events += queue.end - queue.begin;
    letters += queue.letters;
  }
  log::Info(kMe, "the store is sound after an unclean stop: commit " +
                     std::to_string(report.commit) + ", " + Events(events) + ", " +
                     std::to_string(letters) + " dead letters");
}

bool ClosedCleanly(const std::string& directory) {
  const auto seal = store::ReadSeal(directory);
  return seal && *seal && (**seal).clean;
}

}  // namespace

int StoreChildMain(const std::vector<std::string>& arguments) {
  // Whoever asked is the only one who wants to know.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (arguments.size() == 3 && arguments[0] == kCheck)
    return store::CheckMain(arguments[1],
                            arguments[2] == kFull ? store::Depth::kFull : store::Depth::kStructure);
  if (arguments.size() == 3 && arguments[0] == kRepair)
    return store::RepairMain(arguments[1], arguments[2]);
  return 2;
}

std::string StoreIn(const std::string& state_dir) { return state_dir + "/store"; }

std::optional<FoundStore> FindStore(const std::string& state_dir) {
  if (HasStore(StoreIn(state_dir))) return FoundStore{StoreIn(state_dir), false};
  if (auto aside = NewestSetAside(state_dir)) return FoundStore{std::move(*aside), true};
  return {};
}

Result<store::Report> CheckStore(const std::string& directory, store::Depth depth) {
  auto report = RunChild({kCheck, directory, depth == store::Depth::kFull ? kFull : kStructure});
  if (!report) {
    return tl::unexpected(
        std::move(report.error()).Prefixed("the store in " + directory + " could not be checked"));
  }
  return report;
}

Result<store::Report> CheckStoreBeforeUse(const std::string& directory) {
  return CheckStore(directory,
                    ClosedCleanly(directory) ? store::Depth::kStructure : store::Depth::kFull);
}

Result<store::Lock> TakeStore(const std::string& state_dir) {
  const auto deadline = std::chrono::steady_clock::now() + kToolTakes;
  for (;;) {
    auto lock = store::Lock::Take(StoreIn(state_dir));
    const bool held = !lock && lock.error().code == Code::kRetry;
    if (!held || std::chrono::steady_clock::now() >= deadline) return lock;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Result<void> CheckStoreAtStart(const store::Lock& lock) {
  const std::string& directory = lock.directory();
  if (!HasStore(directory)) {
    const auto aside = NewestSetAside(ParentOf(directory));
    if (!aside) return {};
    return Fail(Code::kConfig,
                "there is no store in " + directory + ", but a damaged one was set aside as " +
                    *aside +
                    ": run `penstock queue repair`, which makes a new store of all that can still "
                    "be read; to begin with an empty one instead, move " +
                    *aside + " to another directory");
  }
  const bool clean = ClosedCleanly(directory);
  if (!clean) {
    log::Info(kMe, "the last stop was not a clean one: checking the store, " +
                       Bytes(SizeOf(directory + "/data.mdb")));
  }
  const auto report = CheckStoreBeforeUse(directory);
  if (!report) return tl::unexpected(report.error());
  if (!report->sound()) return SetAside(directory, *report);
  for (const std::string& line : FindingLines(*report)) log::Info(kMe, line);
  if (report->fresh && report->pages == 0 && SizeOf(directory + "/data.mdb") > 0) {
    const std::string data = directory + "/data.mdb";
    if (unlink(data.c_str()) != 0) return Fail(Code::kConfig, SystemText("cannot remove " + data));
    log::Info(kMe, "removed " + data + ", which was never finished being made");
  } else if (!clean && !report->fresh) {
    LogSound(*report);
  }
  return {};
}

namespace {

// The damaged store goes aside if it is not yet, the new one to its place.
Result<std::string> Exchange(const std::string& source, const std::string& fresh,
                             const std::string& place) {
  std::string damaged = source;
  if (source == place) {
    damaged = NameBeside(place, kDamaged);
    if (auto moved = Rename(place, damaged); !moved) return tl::unexpected(moved.error());
  } else {
    unlink((place + "/lock").c_str());  // nothing else is there
  }
  if (auto moved = Rename(fresh, place); !moved)
    return tl::unexpected(std::move(moved.error()).Prefixed("the repaired store is in " + fresh));
  return damaged;
}

}  // namespace

Result<RepairOutcome> RepairStore(const store::Lock& lock) {
  const std::string& place = lock.directory();
  const auto found = FindStore(ParentOf(place));
  if (!found) return Fail(Code::kConfig, "there is no store in " + place);
  auto checked = CheckStore(found->directory, store::Depth::kFull);
  if (!checked) return tl::unexpected(checked.error());
  RepairOutcome out;
  if (checked->sound()) {
    out.report = std::move(*checked);
    if (!found->set_aside) return out;
    unlink((place + "/lock").c_str());
    if (auto moved = Rename(found->directory, place); !moved) return tl::unexpected(moved.error());
    out.put_back = true;
    return out;
  }
  const std::string fresh = NameBeside(place, "store.repaired-");
  auto repaired = RunChild({kRepair, found->directory, fresh});
  const bool good = repaired && repaired->sound() && repaired->repaired &&
                    repaired->repaired->from_tree + repaired->repaired->from_pages > 0;
  if (!good) {
    std::error_code ignored;  // it is ours, and of no use
    std::filesystem::remove_all(fresh, ignored);
    if (!repaired && repaired.error().code == Code::kRetry)
      return tl::unexpected(std::move(repaired.error()).Prefixed("the store was not repaired"));
    std::string why = repaired ? "nothing of it can be read" : repaired.error().message;
    if (repaired && !repaired->sound()) why = FindingLines(*repaired).front();
    return Fail(Code::kConfig, "the store in " + found->directory + " cannot be repaired: " + why +
                                   "; to begin with an empty one, move it to another directory");
  }
  struct stat owner {};
  if (geteuid() == 0 && stat(found->directory.c_str(), &owner) == 0 &&
      chown(fresh.c_str(), owner.st_uid, owner.st_gid) != 0)
    log::Warn(kMe, SystemText("cannot give " + fresh + " to its owner"));
  GiveToOwner(fresh);
  auto damaged = Exchange(found->directory, fresh, place);
  if (!damaged) return tl::unexpected(damaged.error());
  out.report = std::move(*repaired);
  out.damaged = std::move(*damaged);
  return out;
}

bool LacksNothing(const store::Report& report) {
  if (!report.lost().empty()) return false;
  if (!report.repaired) return true;
  return report.repaired->beyond_tree.empty() && report.repaired->changes.empty() &&
         report.repaired->letters_returned == 0;
}

std::string LostText(const store::Report& report) {
  std::string out;
  for (const store::LostRange& range : report.lost()) {
    out += (out.empty() ? "" : ", ") + Events(range.end - range.first) + " of queue " +
           range.queue + ", offsets " + Interval(range.first, range.end);
  }
  return out;
}

namespace {

std::string QueueLine(const store::QueueSummary& queue) {
  std::string out = "queue " + queue.name + ": offsets " + Interval(queue.begin, queue.end) + ", " +
                    Events(queue.events) + " in " + std::to_string(queue.chunks) + " chunks, " +
                    std::to_string(queue.letters) + " dead letters";
  for (const store::CursorSummary& cursor : queue.cursors)
    out += "; sink " + cursor.sink + " at " + std::to_string(cursor.committed);
  for (const store::LostRange& hole : queue.holes)
    out += "; " + Interval(hole.first, hole.end) + " lost before an earlier repair";
  return out;
}

std::string RepairedLines(const store::Repaired& repaired) {
  std::string out = "saved: " + std::to_string(repaired.from_tree + repaired.from_pages) +
                    " values, of them " + std::to_string(repaired.from_pages) +
                    " that the index no longer named\n";
  if (repaired.letters_returned > 0) {
    out += "note: " + std::to_string(repaired.letters_returned) +
           " dead letters came back that may have been replayed or dropped before\n";
  }
  for (const std::string& keys : repaired.beyond_tree)
    out += "damaged: " + keys + "; what of it was found nowhere else is lost\n";
  for (const std::string& change : repaired.changes) out += "changed: " + change + "\n";
  return out;
}

}  // namespace

std::string ReportText(const store::Report& report, const std::string& directory) {
  std::string out = directory + ": ";
  if (report.fresh) {
    out += "nothing was stored yet\n";
  } else {
    out += std::string(report.sound() ? "sound" : "damaged") + "; commit " +
           std::to_string(report.commit) + ", " + Bytes(report.file_bytes) + ", " +
           std::to_string(report.pages) + " pages, of them " + std::to_string(report.free_pages) +
           " free, " + std::to_string(report.values) + " values\n";
  }
  for (const store::QueueSummary& queue : report.queues) out += QueueLine(queue) + "\n";
  if (report.repaired) out += RepairedLines(*report.repaired);
  for (const std::string& line : FindingLines(report)) out += line + "\n";
  return out;
}

void GiveToOwner(const std::string& directory) {
  struct stat owner {};
  if (geteuid() != 0 || stat(directory.c_str(), &owner) != 0 || owner.st_uid == 0) return;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string path = entry.path();
    if (lchown(path.c_str(), owner.st_uid, owner.st_gid) != 0)
      log::Warn(kMe, SystemText("cannot give " + path + " to its owner"));
  }
}

}  // namespace penstock::gateway
