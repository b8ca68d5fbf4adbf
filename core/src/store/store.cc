#include "store/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace penstock::store {
namespace {

constexpr char kMe[] = "store";
// Changes that only a crash would show wait so long for company.
constexpr Nanoseconds kSoon = std::chrono::milliseconds(100);
// Without room the next try comes after the first, then twice as late each time, up to the second:
// what one try's commit freed may be used by the next but one.
constexpr Nanoseconds kFirstRetry = std::chrono::milliseconds(10);
constexpr Nanoseconds kLastRetry = std::chrono::seconds(1);
// Room for commits that write no events: LMDB copies each page that it changes, also to delete.
constexpr uint64_t kHeadroom = 1 << 20;
constexpr uint64_t kAllocateStep = 1 << 20;

std::string SystemText(const std::string& what) { return what + ": " + std::strerror(errno); }

uint64_t Random64() {
  uint64_t out = 0;
  if (getrandom(&out, sizeof out, 0) != sizeof out) std::abort();
  return out;
}

FormatRecord NewFormat(const Clock* clock) {
  FormatRecord format;
  format.store_id = {Random64(), Random64()};
  format.created_ns = clock->WallNs();
  return format;
}

Result<void> SyncDirectory(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Fail(Code::kFatal, SystemText("opening " + path.string()));
  // A file system that cannot sync a directory says EINVAL: it keeps names in its own way.
  const bool synced = fsync(fd) == 0 || errno == EINVAL || errno == EROFS;
  const int error = errno;
  close(fd);
  errno = error;
  if (!synced) return Fail(Code::kFatal, SystemText("syncing " + path.string()));
  return {};
}

// Whether the disk, not the configuration, is what is wrong: that may get well without anybody
// changing a file, so that the service manager shall try again.
Code CodeOf(int error) {
  return error == EROFS || error == EIO || error == ENOSPC || error == EDQUOT ? Code::kFatal
                                                                              : Code::kConfig;
}

std::string HintOf(int error) {
  if (error == EROFS || error == EIO)
    return "; the file system may have had an error: see the kernel's log, check and mount it";
  return error == ENOSPC || error == EDQUOT ? "; free some disk space there" : "";
}

}  // namespace

// ---- Lock

Result<Lock> Lock::Take(const std::string& directory) {
  const std::string parent = directory.substr(0, directory.rfind('/'));
  if (!parent.empty()) mkdir(parent.c_str(), 0750);  // the next line tells if that failed
  if (mkdir(directory.c_str(), 0750) != 0 && errno != EEXIST) {
    const Code code = CodeOf(errno);
    const std::string hint =
        code == Code::kConfig
            ? "; gateway.state_dir must be a directory of the user that the gateway runs as"
            : HintOf(errno);
    return Fail(code, SystemText("cannot make the store's directory " + directory) + hint);
  }
  const std::string path = directory + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return Fail(CodeOf(errno), SystemText("cannot open " + path) + HintOf(errno));
  Lock lock(directory, fd);
  char holder[32] = {};
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (pread(fd, holder, sizeof holder - 1, 0) < 0) holder[0] = '\0';
    return Fail(Code::kRetry, "the store in " + directory + " is in use by process " +
                                  (holder[0] != '\0' ? holder : "?") +
                                  ": one gateway at a time; stop that one, or give this one its "
                                  "own gateway.state_dir");
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0)
    log::Warn(kMe, SystemText("cannot write " + path));
  return lock;
}

std::optional<std::string> Lock::Holder(const std::string& directory) {
  const int fd = open((directory + "/lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::optional<std::string> holder;
  char pid[32] = {};
  if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    holder = pread(fd, pid, sizeof pid - 1, 0) > 0 ? pid : "?";
  close(fd);
  return holder;
}

Lock::Lock(Lock&& other) noexcept
    : directory_(std::move(other.directory_)), fd_(std::exchange(other.fd_, -1)) {}

Lock::~Lock() {
  if (fd_ >= 0) close(fd_);
}

// ---- opening and closing

Store::Store(Lock lock, const Options& options, const Clock* clock)
    : lock_(std::move(lock)), options_(options), clock_(clock) {}

Result<std::unique_ptr<Store>> Store::Open(Lock lock, const Options& options, const Clock* clock) {
  std::unique_ptr<Store> store(new Store(std::move(lock), options, clock));
  if (auto opened = store->OpenFiles(); !opened) return tl::unexpected(opened.error());
  if (options.thread) store->thread_ = std::thread([raw = store.get()] { raw->Run(); });
  return store;
}

Result<void> Store::OpenFiles() {
  struct stat file {};
  const std::string data = directory() + "/data.mdb";
  if (stat(data.c_str(), &file) != 0) {
    if (auto made = MakeFiles(); !made) return made;
    if (stat(data.c_str(), &file) != 0) return Fail(Code::kFatal, SystemText(data));
  }
  const auto size = static_cast<uint64_t>(file.st_size);
  // A file that grew under larger bounds than today's must still have room to shrink.
  const uint64_t map = std::max(options_.map_bytes, size + size / 4 + (16 << 20));
  if (auto opened = environment_.Open(directory(), map, options_.readers); !opened) return opened;
  if (auto opened = seal_.Open(directory()); !opened) return opened;
  allocated_ = size;
  if (auto read = ReadFormat(); !read)
    return tl::unexpected(std::move(read.error()).Prefixed("the store in " + directory()));
  // What is stored is delivered also without room for more.
  if (auto allocated = Allocate(0); !allocated) {
    if (allocated.error().code != Code::kRetry) return allocated;
    SetState(StoreState::Kind::kNoRoom, allocated.error().message);
  }
  // From here on the seal says that the store was not closed.
  auto sealed = seal_.Write({format_.store_id, environment_.last_commit(), false}, true);
  return sealed ? SyncDirectory(directory()) : sealed;
}

Result<void> Store::MakeFiles() {
  const std::string fresh = directory() + "/new";
  std::error_code failed;
  std::filesystem::remove_all(fresh, failed);
  // A seal without its database is what is left of one that somebody took away.
  std::filesystem::remove(directory() + "/seal", failed);
  if (!std::filesystem::create_directory(fresh, failed)) {
    return Fail(CodeOf(failed.value()),
                "cannot make " + fresh + ": " + failed.message() + HintOf(failed.value()));
  }
  {
    Environment environment;
    if (auto opened = environment.Open(fresh, 1 << 20, 1); !opened) return opened;
    Transaction transaction;
    if (auto begun = transaction.Begin(environment, Transaction::Mode::kWrite); !begun)
      return begun;
    auto put = transaction.Put(FormatKey(), Encode(NewFormat(clock_), transaction.number()));
    if (!put) return put;
    if (auto committed = transaction.Commit(); !committed) return committed;
    if (fsync(environment.fd()) != 0) return Fail(Code::kFatal, SystemText("syncing " + fresh));
  }
  std::filesystem::rename(fresh + "/data.mdb", directory() + "/data.mdb", failed);
  if (failed) return Fail(Code::kFatal, "moving " + fresh + "/data.mdb: " + failed.message());
  std::filesystem::remove_all(fresh, failed);
  // The names must survive as well, up to the state directory.
  const std::filesystem::path here = directory();
  for (const auto& path : {here, here.parent_path(), here.parent_path().parent_path()}) {
    if (auto synced = SyncDirectory(path); !synced) return synced;
  }
  return {};
}

Result<void> Store::ReadFormat() {
  return Read([&](const Transaction& transaction) -> Result<void> {
    const auto value = transaction.Get(FormatKey());
    if (!value) return tl::unexpected(value.error());
    if (!*value) return Fail(Code::kFatal, "it has no format record, so it is no store of ours");
    const auto envelope = store::Open(**value);
    if (!envelope) return tl::unexpected(envelope.error());
    const auto format = DecodeFormat(envelope->body);
    if (!format) return tl::unexpected(format.error());
    format_ = *format;
    return {};
  });
}

Store::~Store() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  signal_.Notify();
  if (thread_.joinable()) thread_.join();
  if (state_.kind != StoreState::Kind::kFailed && environment_.get() != nullptr) {
    const auto sealed = seal_.Write({format_.store_id, environment_.last_commit(), true}, true);
    if (!sealed) log::Warn(kMe, sealed.error().message);
  }
  environment_.Close();
}

// ---- reading

Result<void> Store::Read(const std::function<Result<void>(const Transaction&)>& f) const {
  Transaction transaction;
  if (auto begun = transaction.Begin(environment_, Transaction::Mode::kRead); !begun) return begun;
  return f(transaction);
}

namespace {

// All values of a kind below a prefix, decoded.
template <typename Record>
Result<std::vector<Record>> ReadAll(const Store& store, const std::string& prefix,
                                    Result<Record> (*decode)(std::string_view)) {
  std::vector<Record> out;
  Result<void> bad;
  auto read = store.Read([&](const Transaction& transaction) {
    return transaction.ForEach(prefix, [&](const KeyValue& pair) {
      const auto envelope = Open(pair.value);
      auto record = envelope ? decode(envelope->body) : tl::unexpected(envelope.error());
      if (!record) {
        bad = tl::unexpected(record.error());
        return false;
      }
      out.push_back(std::move(*record));
      return true;
    });
  });
  if (!read) return tl::unexpected(read.error());
  if (!bad) return tl::unexpected(bad.error());
  return out;
}

}  // namespace

Result<std::vector<QueueRecord>> Store::Queues() const {
  return ReadAll(*this, std::string(1, static_cast<char>(Kind::kQueue)), DecodeQueue);
}

Result<std::vector<CursorRecord>> Store::Cursors(uint32_t queue) const {
  return ReadAll(*this, KeyPrefix(Kind::kCursor, queue), DecodeCursor);
}

Result<QueueRecord> Store::FindOrMakeQueue(const std::string& name) {
  const auto known = Queues();
  if (!known) return tl::unexpected(known.error());
  QueueRecord record;
  for (const QueueRecord& other : *known) {
    if (other.name == name) return other;
    record.queue = std::max(record.queue, other.queue + 1);
  }
  record.id = Random64();
  record.name = name;
  auto made = Apply([&record](Transaction& transaction) {
    return transaction.Put(QueueKey(record.queue), Encode(record, transaction.number()));
  });
  if (!made) return tl::unexpected(made.error());
  return record;
}

// ---- what is to be committed, and when

void Store::Remove(Member* member) {
  std::lock_guard committing(commit_mutex_);
  std::erase(letter_watchers_, member);
  std::lock_guard lock(mutex_);
  std::erase_if(dirty_, [member](const Dirty& dirty) { return dirty.member == member; });
}

Result<void> Store::WatchLetters(Member* member, const std::function<Result<void>()>& f) {
  std::lock_guard committing(commit_mutex_);
  if (auto done = f(); !done) return done;
  letter_watchers_.push_back(member);
  return {};
}

void Store::Changed(Member* member, Urgency urgency, uint64_t events, uint64_t bytes) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    const auto known = std::find_if(dirty_.begin(), dirty_.end(),
                                    [member](const Dirty& d) { return d.member == member; });
    if (known == dirty_.end()) {
      dirty_.push_back({member, events, bytes});
    } else {
      known->events += events;
      known->bytes += bytes;
    }
    waiting_events_ += events;
    waiting_bytes_ += bytes;
    const TimePoint due =
        clock_->Now() + (urgency == Urgency::kNow ? options_.commit.interval : kSoon);
    const TimePoint before = Due();
    due_ = std::min(due_, due);
    wake = Due() < before;
  }
  if (wake) signal_.Notify();
}

TimePoint Store::Due() const {
  if (dirty_.empty() || state_.kind == StoreState::Kind::kFailed) return TimePoint::max();
  const bool enough = waiting_events_ >= options_.commit.events ||
                      waiting_bytes_ >= options_.commit.bytes || flush_ || stopping_;
  return std::max(enough ? TimePoint::min() : due_, retry_at_);
}

void Store::Run() {
  const std::shared_ptr<Beat> beat = options_.heartbeats == nullptr
                                         ? std::make_shared<Beat>()
                                         : options_.heartbeats->Add(kMe, "the writer");
  for (;;) {
    const Signal::Ticket ticket = signal_.Take();
    const TimePoint pulse = beat->Pass(clock_->Now());
    TimePoint due;
    bool stopping;
    {
      std::lock_guard lock(mutex_);
      due = Due();
      stopping = stopping_;
    }
    if (due <= clock_->Now() || (stopping && due != TimePoint::max())) {
      CommitDirty();
      std::lock_guard lock(mutex_);
      if (!stopping || last_round_good_) continue;
      return;  // there is still no room
    }
    if (stopping) return;
    signal_.WaitPast(ticket, std::min(due, pulse));
  }
}

void Store::CommitNow() {
  {
    std::lock_guard lock(mutex_);
    if (dirty_.empty()) return;
  }
  CommitDirty();
}

bool Store::Flush(TimePoint deadline) {
  std::unique_lock lock(mutex_);
  // What is being committed now may have been taken before the latest announcement.
  const uint64_t target = rounds_begun_ + (dirty_.empty() ? 0 : 1);
  if (!dirty_.empty()) flush_ = true;
  lock.unlock();
  signal_.Notify();
  lock.lock();
  const auto done = [&] { return rounds_ended_ >= target && last_round_good_; };
  while (!done() && state_.kind != StoreState::Kind::kFailed) {
    if (deadline == TimePoint::max()) {
      ended_.wait(lock);
    } else if (ended_.wait_until(lock, deadline) == std::cv_status::timeout) {
      break;
    }
  }
  return done() && state_.kind != StoreState::Kind::kFailed;
}

// ---- committing

void Store::CommitDirty() {
  std::lock_guard committing(commit_mutex_);
  std::vector<Dirty> dirty;
  {
    std::lock_guard lock(mutex_);
    dirty.swap(dirty_);
    waiting_events_ = waiting_bytes_ = 0;
    due_ = TimePoint::max();
    flush_ = false;
    ++rounds_begun_;
  }
  auto done = CommitAll(dirty);
  const bool no_room = !done && done.error().code == Code::kRetry;
  uint64_t taken = 0;
  if (no_room) {
    const auto some = CommitWhatFits(dirty);
    taken = some.value_or(0);
    if (!some && some.error().code != Code::kRetry) done = tl::unexpected(some.error());
  }
  if (done) {
    SetState(StoreState::Kind::kGood, "");
  } else {
    SetState(no_room && done.error().code == Code::kRetry ? StoreState::Kind::kNoRoom
                                                          : StoreState::Kind::kFailed,
             done.error().message);
  }
  {
    std::lock_guard lock(mutex_);
    ++rounds_ended_;
    last_round_good_ = done.has_value();
    retry_delay_ =
        !no_room || taken > 0 ? kFirstRetry : std::clamp(2 * retry_delay_, kFirstRetry, kLastRetry);
    retry_at_ = no_room ? clock_->Now() + retry_delay_ : TimePoint{};
    if (no_room) {
      for (const Dirty& d : dirty) {
        const bool again = std::any_of(dirty_.begin(), dirty_.end(),
                                       [&](const Dirty& o) { return o.member == d.member; });
        if (!again) dirty_.push_back({d.member, 0, 0});
      }
      due_ = retry_at_;
    }
  }
  ended_.notify_all();
}

Result<void> Store::CommitAll(const std::vector<Dirty>& dirty) {
  uint64_t bytes = 0;
  for (const Dirty& d : dirty) bytes += d.bytes;
  if (auto allocated = Allocate(bytes); !allocated) return allocated;
  uint64_t room = UINT64_MAX;
  return CommitTogether(dirty, &room);
}

Result<uint64_t> Store::CommitWhatFits(const std::vector<Dirty>& dirty) {
  const uint64_t free = FreeBytes();
  for (uint64_t most = free > kHeadroom ? (free - kHeadroom) / 2 : 0;; most /= 2) {
    if (most < kChunkBytes) most = 0;
    uint64_t room = most;
    const auto done = CommitTogether(dirty, &room);
    if (done) return most - room;
    // Free pages that do not lie together are of no use to a value of several pages.
    if (most == 0 || done.error().code != Code::kRetry) return tl::unexpected(done.error());
  }
}

Result<void> Store::CommitTogether(const std::vector<Dirty>& dirty, uint64_t* room) {
  auto done = Transact([&](Transaction& transaction) -> Result<void> {
    for (const Dirty& d : dirty) {
      if (auto written = d.member->Write(transaction, room); !written) return written;
    }
    return {};
  });
  if (!done) return done;
  for (const Dirty& d : dirty) d.member->Committed();
  return {};
}

Result<void> Store::Apply(const std::function<Result<void>(Transaction&)>& f,
                          const LetterSums* dropped) {
  std::lock_guard committing(commit_mutex_);
  if (state().kind == StoreState::Kind::kFailed) return Fail(Code::kFatal, state().reason);
  auto done = Transact(f);
  if (!done && done.error().code == Code::kFatal)
    SetState(StoreState::Kind::kFailed, done.error().message);
  if (done && dropped != nullptr) {
    for (Member* member : letter_watchers_) member->Dropped(*dropped);
  }
  return done;
}

Result<void> Store::Transact(const std::function<Result<void>(Transaction&)>& f) {
  const TimePoint began = clock_->Now();
  Transaction transaction;
  if (auto begun = transaction.Begin(environment_, Transaction::Mode::kWrite); !begun) return begun;
  if (auto written = f(transaction); !written) return written;
  const uint64_t number = transaction.number();
  if (auto committed = transaction.Commit(); !committed) {
    // LMDB calls it an I/O error, too, when the disk had room for a part of a write only.
    return committed.error().code == Code::kFatal && DiskIsFull() ? NoRoom() : committed;
  }
  // What has changed nothing is no commit: LMDB gives its number to the next one.
  if (environment_.last_commit() < number) return {};
  const auto sealed = seal_.Write({format_.store_id, number, false}, false);
  // The disk fails: nobody shall rely on it, though this commit is there.
  if (!sealed && sealed.error().code == Code::kFatal) return sealed;
  // The seal is one more guard, so that without room for it the commit is as good.
  if (!sealed && seal_good_) log::Warn(kMe, sealed.error().message);
  seal_good_ = sealed.has_value();
  std::lock_guard lock(mutex_);
  ++stats_.commits;
  stats_.last_commit = clock_->Now() - began;
  return {};
}

Result<void> Store::Allocate(uint64_t bytes) {
  // Values fill their pages only in part, and pages of the tree are copied.
  const uint64_t needed = bytes + bytes / 2 + kHeadroom;
  const uint64_t wanted = environment_.used_bytes() + needed;
  if (wanted > environment_.map_bytes() && FreeBytes() < needed) {
    return Fail(Code::kRetry, "the store in " + directory() + " holds as much as its queues may; " +
                                  "it takes more once the sinks have caught up");
  }
  if (wanted <= allocated_ || wanted > environment_.map_bytes()) return {};
  const int fd = environment_.fd();
  const uint64_t rounded = (wanted / kAllocateStep + 1) * kAllocateStep;
  for (const uint64_t end : {rounded, wanted}) {
    const auto from = static_cast<off_t>(allocated_);
    if (fallocate(fd, 0, from, static_cast<off_t>(end) - from) == 0) {
      allocated_ = end;
      return {};
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) return {};  // the commit itself will tell
    if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG)
      return Fail(Code::kFatal, SystemText("setting disk space aside in " + directory()));
  }
  // Free pages may lie too far apart for the values: then the commit tells.
  return FreeBytes() >= needed ? Result<void>() : NoRoom();
}

Result<void> Store::NoRoom() const {
  return Fail(Code::kRetry, "no room for more events in " + directory() + ": " +
                                std::strerror(ENOSPC) +
                                "; free some disk space there, or let the sinks catch up");
}

bool Store::DiskIsFull() const {
  const int fd = environment_.fd();
  struct stat file {};
  return fstat(fd, &file) == 0 &&
         fallocate(fd, FALLOC_FL_KEEP_SIZE, file.st_size, kAllocateStep) != 0 &&
         (errno == ENOSPC || errno == EDQUOT);
}

uint64_t Store::FreeBytes() const {
  Transaction transaction;
  if (!transaction.Begin(environment_, Transaction::Mode::kRead)) return 0;
  const uint64_t used = environment_.used_bytes();
  const uint64_t end = std::min(allocated_, environment_.map_bytes());
  return transaction.FreePages() * environment_.page_bytes() + (end > used ? end - used : 0);
}

void Store::SetState(StoreState::Kind kind, std::string reason) {
  bool failed = false;
  {
    std::lock_guard lock(mutex_);
    if (state_.kind == kind || state_.kind == StoreState::Kind::kFailed) return;
    state_ = {kind, reason};
    failed = kind == StoreState::Kind::kFailed;
  }
  switch (kind) {
    case StoreState::Kind::kGood:
      if (no_room_told_) log::Info(kMe, "there is room again");
      break;
    case StoreState::Kind::kNoRoom:
      no_room_told_ = no_room_log_.Allow(clock_->Now());
      if (!no_room_told_) break;
      log::Warn(kMe, reason + "; events that are not stored yet wait, and so do their sources" +
                         no_room_log_.HeldBackNote());
      break;
    case StoreState::Kind::kFailed:
      log::LogError(kMe, reason +
                             "; nothing more is stored from here on. What was stored before is "
                             "kept: look into the kernel's log for errors of the disk under " +
                             directory() +
                             ", then start the gateway again, which checks the store first");
      break;
  }
  if (failed) ended_.notify_all();
  if (failed && on_failed_) on_failed_();
}

StoreState Store::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

StoreStats Store::stats() const {
  StoreStats out;
  {
    std::lock_guard lock(mutex_);
    out = stats_;
  }
  out.used_bytes = environment_.used_bytes();
  out.map_bytes = environment_.map_bytes();
  return out;
}

}  // namespace penstock::store
