/* recorder.so, for LD_PRELOAD: writes down what a process does to the files below one directory, in
 * its order, so that the state of the disk after a power cut at any moment can be built from it.
 *
 *   PENSTOCK_RECORD_DIR    the directory; it must exist
 *   PENSTOCK_RECORD_LOG    where the log goes, outside of the directory; it is appended to, so that
 *                          a restarted process goes on in it
 *   PENSTOCK_RECORD_MARK   optional: what is written to this file or FIFO is put into the log too
 *
 * A test may also call penstock_record_mark(), found with dlsym(RTLD_DEFAULT, ...).
 *
 * Each call takes effect and is logged under one lock, except those that wait for the disk: they
 * are logged when they begin and when they have ended, and the disk did its work somewhere in
 * between. What cannot be followed (shared writable mappings, stdio, copying inside the kernel) is
 * logged as an error, and the image builder refuses such a log. LMDB's lock file is exempt: it is
 * no durable state. Calls that glibc makes inside itself are not seen; comparing the end of the log
 * with the real directory (crash-images verify) finds what that hid. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log_format.h"

#define EXPORT __attribute__((visibility("default")))
#define MAX_FD 65536

enum what { NOTHING = 0, FILE_BELOW, DIR_BELOW, MARK_FILE };

struct tracked {
  uint64_t device, inode;
  int flags;
  bool lock_file;
};

static struct tracked files[MAX_FD];
static _Atomic unsigned char kinds[MAX_FD];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], mark_path[PATH_MAX];
static size_t root_len;
static int log_fd = -1;
static uint64_t next_op;

static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }

static void die(const char* what, const char* about) {
  dprintf(2, "recorder: %s: %s: %s\n", what, about, strerror(errno));
  abort();
}

/* ---- the log; the lock is held ---- */

/* Names one call among those of all processes that write this log. */
static uint64_t new_op(void) { return (uint64_t)getpid() << 32 | ++next_op; }

static void append(struct penstock_record_head head, const char* path, size_t path_len,
                   const void* data, size_t data_len) {
  head.magic = RECORD_MAGIC;
  head.pid = (uint32_t)getpid();
  head.path_len = (uint32_t)path_len;
  head.data_len = (uint32_t)data_len;
  const struct iovec parts[3] = {
      {&head, sizeof head}, {(void*)path, path_len}, {(void*)data, data_len}};
  const ssize_t want = (ssize_t)(sizeof head + path_len + data_len);
  if (syscall(SYS_writev, log_fd, parts, 3) != want) die("cannot write the log", "writev");
}

static void append_path(uint16_t kind, uint64_t inode, const char* path) {
  append((struct penstock_record_head){.kind = kind, .inode = inode}, path, strlen(path), NULL, 0);
}

static void append_error(const char* what, const char* path) {
  char text[PATH_MAX + 200];
  const int n = snprintf(text, sizeof text, "%s of %s", what, path);
  append((struct penstock_record_head){.kind = RECORD_ERROR}, NULL, 0, text, (size_t)n);
}

/* ---- paths ---- */

/* The part of an absolute path below the recorded directory; NULL when it is elsewhere. */
static const char* below(const char* path) {
  if (log_fd < 0 || strncmp(path, root, root_len) != 0) return NULL;
  if (path[root_len] == '\0') return path + root_len;
  return path[root_len] == '/' ? path + root_len + 1 : NULL;
}

static bool path_of_fd(int fd, char* out) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, out, PATH_MAX - 1);
  out[n < 0 ? 0 : n] = '\0';
  return n > 0;
}

/* The full path of a name whose last part need not exist and is not followed. */
static bool resolve(int dir, const char* path, char* out) {
  char parent[PATH_MAX];
  if (path == NULL || strlen(path) >= sizeof parent) return false;
  strcpy(parent, path);
  size_t end = strlen(parent);
  while (end > 1 && parent[end - 1] == '/') parent[--end] = '\0';
  char* slash = strrchr(parent, '/');
  char name[PATH_MAX];
  strcpy(name, slash != NULL ? slash + 1 : parent);
  if (slash != NULL) slash[slash == parent ? 1 : 0] = '\0';
  const int fd = (int)syscall(SYS_openat, dir, slash != NULL ? parent : ".",
                              O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool found = path_of_fd(fd, out);
  syscall(SYS_close, fd);
  const size_t have = strlen(out);
  if (!found || have + 1 + strlen(name) >= PATH_MAX) return false;
  sprintf(out + have, "%s%s", have == 1 ? "" : "/", name);
  return true;
}

/* resolve() and below() in one; NULL when the name is of no interest. */
static const char* resolve_below(int dir, const char* path, char* space) {
  const int saved = errno;
  const char* found = log_fd >= 0 && resolve(dir, path, space) ? below(space) : NULL;
  errno = saved;
  return found;
}

static uint64_t inode_of(int dir, const char* path) {
  struct stat found;
  return fstatat(dir, path, &found, AT_SYMLINK_NOFOLLOW) == 0 ? found.st_ino : 0;
}

/* ---- start ---- */

static void record_base_file(const char* path, const char* name, const struct stat* found) {
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  char* bytes = malloc((size_t)found->st_size + 1);
  ssize_t have = 0, n = 0;
  while (have < found->st_size &&
         (n = pread(fd, bytes + have, (size_t)(found->st_size - have), have)) > 0)
    have += n;
  if (fd < 0 || have != found->st_size) die("cannot read", path);
  append((struct penstock_record_head){.kind = RECORD_BASE_FILE, .inode = found->st_ino}, name,
         strlen(name), bytes, (size_t)have);
  free(bytes);
  syscall(SYS_close, fd);
}

static void record_base(const char* path) {
  struct stat found;
  if (lstat(path, &found) != 0) die("cannot look at", path);
  if (S_ISREG(found.st_mode)) record_base_file(path, below(path), &found);
  if (!S_ISDIR(found.st_mode)) return;
  append_path(RECORD_BASE_DIR, found.st_ino, below(path));
  DIR* dir = opendir(path);
  if (dir == NULL) die("cannot list", path);
  for (struct dirent* entry; (entry = readdir(dir)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    char child[PATH_MAX];
    if (snprintf(child, sizeof child, "%s/%s", path, entry->d_name) >= (int)sizeof child)
      die("path too long", path);
    record_base(child);
  }
  closedir(dir);
}

static void __attribute__((constructor)) start(void) {
  const char* dir = getenv("PENSTOCK_RECORD_DIR");
  const char* log = getenv("PENSTOCK_RECORD_LOG");
  const char* mark = getenv("PENSTOCK_RECORD_MARK");
  if (dir == NULL || log == NULL) return;
  if (realpath(dir, root) == NULL) die("PENSTOCK_RECORD_DIR", dir);
  root_len = strlen(root);
  if (mark != NULL && !resolve(AT_FDCWD, mark, mark_path)) die("PENSTOCK_RECORD_MARK", mark);
  const int fd =
      (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) die("PENSTOCK_RECORD_LOG", log);
  log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900); /* out of the way of programs that count theirs */
  if (log_fd < 0) log_fd = fd;
  struct stat written;
  char path[PATH_MAX];
  if (path_of_fd(log_fd, path) && below(path) != NULL) {
    errno = EINVAL;
    die("PENSTOCK_RECORD_LOG lies in the recorded directory", log);
  }
  if (fstat(log_fd, &written) == 0 && written.st_size == 0) record_base(root);
  pthread_atfork(lock, unlock, unlock);
}

EXPORT void penstock_record_mark(const void* data, size_t n) {
  if (log_fd < 0) return;
  lock();
  append((struct penstock_record_head){.kind = RECORD_MARK}, NULL, 0, data, n);
  unlock();
}

/* ---- open and close ---- */

static bool ends_with(const char* text, const char* end) {
  const size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

/* After a successful open; the lock is held. */
static void track(int fd, int flags, bool created) {
  char path[PATH_MAX];
  struct stat found;
  if (fd < 0 || fd >= MAX_FD || !path_of_fd(fd, path) || fstat(fd, &found) != 0) return;
  if (mark_path[0] != '\0' && strcmp(path, mark_path) == 0) {
    kinds[fd] = MARK_FILE;
    return;
  }
  const char* name = below(path);
  if (name == NULL || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return;
  files[fd] = (struct tracked){found.st_dev, found.st_ino, flags, ends_with(name, "lock.mdb")};
  kinds[fd] = S_ISDIR(found.st_mode) ? DIR_BELOW : FILE_BELOW;
  append(
      (struct penstock_record_head){
          .kind = RECORD_OPEN, .inode = found.st_ino, .detail = flags, .op = created ? 1 : 0},
      name, strlen(name), NULL, 0);
  if ((flags & O_TRUNC) != 0 && !created)
    append((struct penstock_record_head){.kind = RECORD_TRUNCATE, .inode = found.st_ino}, NULL, 0,
           NULL, 0);
}

/* What fd is, if it is still what it was when it was opened; the lock is held. */
static enum what look_up(int fd) {
  const enum what kind = kinds[fd];
  struct stat found;
  if (kind == NOTHING || kind == MARK_FILE) return kind;
  if (fstat(fd, &found) == 0 && found.st_dev == files[fd].device && found.st_ino == files[fd].inode)
    return kind;
  kinds[fd] = NOTHING;
  return NOTHING;
}

static bool may_matter(int fd) { return log_fd >= 0 && fd >= 0 && fd < MAX_FD && kinds[fd] != 0; }

static int do_open(int dir, const char* path, int flags, mode_t mode) {
  if (log_fd < 0) return (int)syscall(SYS_openat, dir, path, flags, mode);
  lock();
  const int before = errno;
  struct stat found;
  const bool absent = (flags & O_CREAT) != 0 && fstatat(dir, path, &found, 0) != 0;
  errno = before;
  const int fd = (int)syscall(SYS_openat, dir, path, flags, mode);
  const int saved = errno;
  if (fd >= 0 && fd < MAX_FD) kinds[fd] = NOTHING;
  if (fd >= 0 && (flags & O_PATH) == 0) track(fd, flags, absent);
  unlock();
  errno = saved;
  return fd;
}

#define MODE_OF(flags, mode)                      \
  mode_t mode = 0;                                \
  if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) { \
    va_list args;                                 \
    va_start(args, flags);                        \
    mode = va_arg(args, mode_t);                  \
    va_end(args);                                 \
  }

EXPORT int open(const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return do_open(AT_FDCWD, path, flags, mode);
}
EXPORT int open64(const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return do_open(AT_FDCWD, path, flags, mode);
}
EXPORT int openat(int dir, const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return do_open(dir, path, flags, mode);
}
EXPORT int openat64(int dir, const char* path, int flags, ...) {
  MODE_OF(flags, mode)
  return do_open(dir, path, flags, mode);
}
int __open_2(const char* path, int flags);
EXPORT int __open_2(const char* path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __open64_2(const char* path, int flags);
EXPORT int __open64_2(const char* path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int __openat_2(int dir, const char* path, int flags);
EXPORT int __openat_2(int dir, const char* path, int flags) { return do_open(dir, path, flags, 0); }
int __openat64_2(int dir, const char* path, int flags);
EXPORT int __openat64_2(int dir, const char* path, int flags) {
  return do_open(dir, path, flags, 0);
}
EXPORT int creat(const char* path, mode_t mode) {
  return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
EXPORT int creat64(const char* path, mode_t mode) { return creat(path, mode); }

/* Sets *function, a pointer to a function, to the next definition of the name: for those that are
 * more than one system call. */
static void find_next(const char* name, void* function) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == NULL) die("no such function", name);
  memcpy(function, &found, sizeof found);
}

static int track_temporary(int fd, int flags) {
  const int saved = errno;
  if (log_fd >= 0 && fd >= 0) {
    lock();
    track(fd, O_RDWR | O_CREAT | O_EXCL | flags, true);
    unlock();
  }
  errno = saved;
  return fd;
}
EXPORT int mkstemp(char* pattern) {
  int (*real)(char*);
  find_next("mkstemp", &real);
  return track_temporary(real(pattern), 0);
}
EXPORT int mkstemp64(char* pattern) { return mkstemp(pattern); }
EXPORT int mkostemp(char* pattern, int flags) {
  int (*real)(char*, int);
  find_next("mkostemp", &real);
  return track_temporary(real(pattern, flags), flags);
}
EXPORT int mkostemp64(char* pattern, int flags) { return mkostemp(pattern, flags); }

EXPORT int close(int fd) {
  if (may_matter(fd)) {
    lock();
    const enum what kind = look_up(fd);
    if (kind == FILE_BELOW || kind == DIR_BELOW)
      append((struct penstock_record_head){.kind = RECORD_CLOSE, .inode = files[fd].inode}, NULL, 0,
             NULL, 0);
    kinds[fd] = NOTHING;
    unlock();
  }
  return (int)syscall(SYS_close, fd);
}

static int track_copy(int from, int to) {
  if (to < 0 || to >= MAX_FD || from == to || log_fd < 0) return to;
  lock();
  kinds[to] = from >= 0 && from < MAX_FD ? kinds[from] : NOTHING;
  if (kinds[to] != NOTHING) files[to] = files[from];
  unlock();
  return to;
}
EXPORT int dup(int fd) { return track_copy(fd, (int)syscall(SYS_dup, fd)); }
EXPORT int dup2(int fd, int to) { return track_copy(fd, (int)syscall(SYS_dup2, fd, to)); }
EXPORT int dup3(int fd, int to, int flags) {
  return track_copy(fd, (int)syscall(SYS_dup3, fd, to, flags));
}
static int do_fcntl(int fd, int command, void* argument) {
  const int result = (int)syscall(SYS_fcntl, fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? track_copy(fd, result) : result;
}
EXPORT int fcntl(int fd, int command, ...) {
  va_list args;
  va_start(args, command);
  void* argument = va_arg(args, void*);
  va_end(args);
  return do_fcntl(fd, command, argument);
}
EXPORT int fcntl64(int fd, int command, ...) {
  va_list args;
  va_start(args, command);
  void* argument = va_arg(args, void*);
  va_end(args);
  return do_fcntl(fd, command, argument);
}

/* ---- writes ---- */

struct bytes {
  char* data;
  size_t size;
};

static struct bytes gather(const struct iovec* parts, int n) {
  struct bytes all = {NULL, 0};
  for (int i = 0; i < n; ++i) all.size += parts[i].iov_len;
  all.data = malloc(all.size + 1);
  if (all.data == NULL) die("no memory", "gather");
  size_t at = 0;
  for (int i = 0; i < n; at += parts[i].iov_len, ++i)
    memcpy(all.data + at, parts[i].iov_base, parts[i].iov_len);
  return all;
}

/* offset < 0: at the file's position. */
static ssize_t call_write(int fd, const struct iovec* parts, int n, off_t offset) {
  return offset < 0 ? syscall(SYS_writev, fd, parts, n)
                    : syscall(SYS_pwritev, fd, parts, n, offset, 0L);
}

/* Where a write of this file goes that is about to be called. */
static off_t place(int fd, off_t offset) {
  struct stat found;
  if ((files[fd].flags & O_APPEND) != 0) return fstat(fd, &found) == 0 ? found.st_size : 0;
  return offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset;
}

static ssize_t write_through(int fd, const struct iovec* parts, int n, off_t offset) {
  const struct bytes all = gather(parts, n);
  const uint64_t op = new_op(), inode = files[fd].inode;
  append((struct penstock_record_head){.kind = RECORD_SYNC_WRITE,
                                       .inode = inode,
                                       .offset = (uint64_t)place(fd, offset),
                                       .op = op},
         NULL, 0, all.data, all.size);
  unlock();
  free(all.data);
  const ssize_t result = call_write(fd, parts, n, offset);
  const int saved = errno;
  lock();
  append((struct penstock_record_head){.kind = RECORD_SYNC_WRITE_DONE,
                                       .inode = inode,
                                       .op = op,
                                       .result = result < 0 ? -saved : result},
         NULL, 0, NULL, 0);
  errno = saved;
  return result;
}

static ssize_t write_cached(int fd, const struct iovec* parts, int n, off_t offset) {
  const off_t at = place(fd, offset);
  const ssize_t result = call_write(fd, parts, n, offset);
  if (result <= 0) return result;
  const int saved = errno;
  const struct bytes all = gather(parts, n);
  append(
      (struct penstock_record_head){
          .kind = RECORD_WRITE, .inode = files[fd].inode, .offset = (uint64_t)at},
      NULL, 0, all.data, (size_t)result);
  free(all.data);
  errno = saved;
  return result;
}

/* The pipe may block, so its write is not under the lock; it is in the log once it has happened. */
static ssize_t write_mark(int fd, const struct iovec* parts, int n) {
  const ssize_t result = call_write(fd, parts, n, -1);
  if (result <= 0) return result;
  const int saved = errno;
  const struct bytes all = gather(parts, n);
  penstock_record_mark(all.data, (size_t)result);
  free(all.data);
  errno = saved;
  return result;
}

static ssize_t do_write(int fd, const struct iovec* parts, int n, off_t offset) {
  if (!may_matter(fd)) return call_write(fd, parts, n, offset);
  if (kinds[fd] == MARK_FILE) return write_mark(fd, parts, n);
  lock();
  ssize_t result;
  if (look_up(fd) != FILE_BELOW)
    result = call_write(fd, parts, n, offset);
  else if ((files[fd].flags & (O_DSYNC | O_SYNC)) != 0)
    result = write_through(fd, parts, n, offset);
  else
    result = write_cached(fd, parts, n, offset);
  unlock();
  return result;
}

EXPORT ssize_t write(int fd, const void* data, size_t n) {
  if (!may_matter(fd)) return syscall(SYS_write, fd, data, n);
  return do_write(fd, &(struct iovec){(void*)data, n}, 1, -1);
}
EXPORT ssize_t pwrite(int fd, const void* data, size_t n, off_t offset) {
  if (!may_matter(fd)) return syscall(SYS_pwrite64, fd, data, n, offset);
  return do_write(fd, &(struct iovec){(void*)data, n}, 1, offset);
}
EXPORT ssize_t pwrite64(int fd, const void* data, size_t n, off64_t offset) {
  return pwrite(fd, data, n, offset);
}
EXPORT ssize_t writev(int fd, const struct iovec* parts, int n) {
  return do_write(fd, parts, n, -1);
}
EXPORT ssize_t pwritev(int fd, const struct iovec* parts, int n, off_t offset) {
  return do_write(fd, parts, n, offset);
}
EXPORT ssize_t pwritev64(int fd, const struct iovec* parts, int n, off64_t offset) {
  return do_write(fd, parts, n, offset);
}

/* ---- sizes ---- */

static int truncated(int result, uint64_t inode, off_t size) {
  const int saved = errno;
  if (result == 0)
    append(
        (struct penstock_record_head){
            .kind = RECORD_TRUNCATE, .inode = inode, .offset = (uint64_t)size},
        NULL, 0, NULL, 0);
  errno = saved;
  return result;
}

EXPORT int ftruncate(int fd, off_t size) {
  if (!may_matter(fd)) return (int)syscall(SYS_ftruncate, fd, size);
  lock();
  const bool ours = look_up(fd) == FILE_BELOW;
  int result = (int)syscall(SYS_ftruncate, fd, size);
  if (ours) result = truncated(result, files[fd].inode, size);
  unlock();
  return result;
}
EXPORT int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

EXPORT int truncate(const char* path, off_t size) {
  char space[PATH_MAX];
  if (resolve_below(AT_FDCWD, path, space) == NULL) return (int)syscall(SYS_truncate, path, size);
  lock();
  const uint64_t inode = inode_of(AT_FDCWD, path);
  const int result = truncated((int)syscall(SYS_truncate, path, size), inode, size);
  unlock();
  return result;
}
EXPORT int truncate64(const char* path, off64_t size) { return truncate(path, size); }

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length) {
  if (!may_matter(fd)) return (int)syscall(SYS_fallocate, fd, mode, offset, length);
  lock();
  const bool ours = look_up(fd) == FILE_BELOW;
  const int result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
  const int saved = errno;
  if (ours && result == 0)
    append((struct penstock_record_head){.kind = RECORD_FALLOCATE,
                                         .inode = files[fd].inode,
                                         .detail = mode,
                                         .offset = (uint64_t)offset,
                                         .length = (uint64_t)length},
           NULL, 0, NULL, 0);
  unlock();
  errno = saved;
  return result;
}
EXPORT int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  return fallocate(fd, mode, offset, length);
}
/* Without glibc's way around file systems that have no fallocate. */
EXPORT int posix_fallocate(int fd, off_t offset, off_t length) {
  const int saved = errno;
  const int result = fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
  errno = saved;
  return result;
}
EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  return posix_fallocate(fd, offset, length);
}

/* ---- syncs ---- */

static uint64_t begin_sync(uint64_t inode, enum penstock_record_sync how) {
  lock();
  const uint64_t op = new_op();
  append(
      (struct penstock_record_head){.kind = RECORD_SYNC, .inode = inode, .detail = how, .op = op},
      NULL, 0, NULL, 0);
  unlock();
  return op;
}

static int end_sync(uint64_t inode, uint64_t op, int result) {
  const int saved = errno;
  lock();
  append(
      (struct penstock_record_head){
          .kind = RECORD_SYNC_DONE, .inode = inode, .op = op, .result = result == 0 ? 0 : -saved},
      NULL, 0, NULL, 0);
  unlock();
  errno = saved;
  return result;
}

/* The inode behind fd; 0 when it is of no interest. */
static uint64_t inode_below(int fd) {
  if (!may_matter(fd)) return 0;
  lock();
  const enum what kind = look_up(fd);
  const uint64_t inode = kind == FILE_BELOW || kind == DIR_BELOW ? files[fd].inode : 0;
  unlock();
  return inode;
}

EXPORT int fsync(int fd) {
  const uint64_t inode = inode_below(fd);
  if (inode == 0) return (int)syscall(SYS_fsync, fd);
  const uint64_t op = begin_sync(inode, RECORD_SYNC_FSYNC);
  return end_sync(inode, op, (int)syscall(SYS_fsync, fd));
}
EXPORT int fdatasync(int fd) {
  const uint64_t inode = inode_below(fd);
  if (inode == 0) return (int)syscall(SYS_fdatasync, fd);
  const uint64_t op = begin_sync(inode, RECORD_SYNC_FDATASYNC);
  return end_sync(inode, op, (int)syscall(SYS_fdatasync, fd));
}
EXPORT int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  const uint64_t inode = inode_below(fd);
  if (inode == 0) return (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
  const uint64_t op = begin_sync(inode, RECORD_SYNC_RANGE);
  return end_sync(inode, op, (int)syscall(SYS_sync_file_range, fd, offset, length, flags));
}
EXPORT int msync(void* start_of, size_t length, int flags) {
  if (log_fd < 0) return (int)syscall(SYS_msync, start_of, length, flags);
  const uint64_t op = begin_sync(0, RECORD_SYNC_MSYNC);
  return end_sync(0, op, (int)syscall(SYS_msync, start_of, length, flags));
}
EXPORT int syncfs(int fd) {
  if (log_fd < 0) return (int)syscall(SYS_syncfs, fd);
  struct stat ours, theirs;
  if (stat(root, &ours) != 0 || fstat(fd, &theirs) != 0 || ours.st_dev != theirs.st_dev)
    return (int)syscall(SYS_syncfs, fd);
  const uint64_t op = begin_sync(0, RECORD_SYNC_ALL);
  return end_sync(0, op, (int)syscall(SYS_syncfs, fd));
}
EXPORT void sync(void) {
  if (log_fd < 0) {
    syscall(SYS_sync);
    return;
  }
  const uint64_t op = begin_sync(0, RECORD_SYNC_ALL);
  syscall(SYS_sync);
  end_sync(0, op, 0);
}

/* ---- names ---- */

static int do_rename(int from_dir, const char* from, int to_dir, const char* to, unsigned flags,
                     uint16_t kind) {
  char from_space[PATH_MAX], to_space[PATH_MAX];
  const long number = kind == RECORD_RENAME ? SYS_renameat2 : SYS_linkat;
  const char* a = resolve_below(from_dir, from, from_space);
  const char* b = resolve_below(to_dir, to, to_space);
  if (a == NULL && b == NULL) return (int)syscall(number, from_dir, from, to_dir, to, flags);
  lock();
  const uint64_t inode = inode_of(from_dir, from);
  const int result = (int)syscall(number, from_dir, from, to_dir, to, flags);
  const int saved = errno;
  if (result == 0 && (a == NULL || b == NULL || (kind == RECORD_RENAME && flags != 0))) {
    append_error("a rename or link into, out of or exchanging below the directory", to_space);
  } else if (result == 0) {
    char both[2 * PATH_MAX];
    const size_t n = strlen(a) + 1;
    memcpy(both, a, n);
    strcpy(both + n, b);
    append((struct penstock_record_head){.kind = kind, .inode = inode}, both, n + strlen(b), NULL,
           0);
  }
  unlock();
  errno = saved;
  return result;
}
EXPORT int rename(const char* from, const char* to) {
  return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0, RECORD_RENAME);
}
EXPORT int renameat(int from_dir, const char* from, int to_dir, const char* to) {
  return do_rename(from_dir, from, to_dir, to, 0, RECORD_RENAME);
}
EXPORT int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  return do_rename(from_dir, from, to_dir, to, flags, RECORD_RENAME);
}
EXPORT int link(const char* from, const char* to) {
  return do_rename(AT_FDCWD, from, AT_FDCWD, to, 0, RECORD_LINK);
}
EXPORT int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
  return do_rename(from_dir, from, to_dir, to, (unsigned)flags, RECORD_LINK);
}

static int do_unlink(int dir, const char* path, int flags) {
  char space[PATH_MAX];
  const char* name = resolve_below(dir, path, space);
  if (name == NULL) return (int)syscall(SYS_unlinkat, dir, path, flags);
  lock();
  const uint64_t inode = inode_of(dir, path);
  const int result = (int)syscall(SYS_unlinkat, dir, path, flags);
  const int saved = errno;
  if (result == 0)
    append_path((flags & AT_REMOVEDIR) != 0 ? RECORD_RMDIR : RECORD_UNLINK, inode, name);
  unlock();
  errno = saved;
  return result;
}
EXPORT int unlink(const char* path) { return do_unlink(AT_FDCWD, path, 0); }
EXPORT int unlinkat(int dir, const char* path, int flags) { return do_unlink(dir, path, flags); }
EXPORT int rmdir(const char* path) { return do_unlink(AT_FDCWD, path, AT_REMOVEDIR); }
EXPORT int remove(const char* path) {
  const int result = do_unlink(AT_FDCWD, path, 0);
  return result != 0 && errno == EISDIR ? do_unlink(AT_FDCWD, path, AT_REMOVEDIR) : result;
}

EXPORT int mkdirat(int dir, const char* path, mode_t mode) {
  char space[PATH_MAX];
  const char* name = resolve_below(dir, path, space);
  if (name == NULL) return (int)syscall(SYS_mkdirat, dir, path, mode);
  lock();
  const int result = (int)syscall(SYS_mkdirat, dir, path, mode);
  const int saved = errno;
  if (result == 0) append_path(RECORD_MKDIR, inode_of(dir, path), name);
  unlock();
  errno = saved;
  return result;
}
EXPORT int mkdir(const char* path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- what cannot be followed ---- */

static void refuse(int fd, const char* what) {
  const int saved = errno;
  char path[PATH_MAX];
  if (log_fd >= 0 && path_of_fd(fd, path) && below(path) != NULL) {
    lock();
    append_error(what, path);
    unlock();
  }
  errno = saved;
}

EXPORT void* mmap(void* at, size_t length, int protection, int flags, int fd, off_t offset) {
  void* result = (void*)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
  const bool written = (protection & PROT_WRITE) != 0 && (flags & MAP_TYPE) != MAP_PRIVATE;
  if (result != MAP_FAILED && written && (flags & MAP_ANONYMOUS) == 0 && may_matter(fd) &&
      !files[fd].lock_file)
    refuse(fd, "a shared writable mapping");
  return result;
}
EXPORT void* mmap64(void* at, size_t length, int protection, int flags, int fd, off64_t offset) {
  return mmap(at, length, protection, flags, fd, offset);
}

static FILE* opened(FILE* file, const char* mode) {
  if (file != NULL && (mode[0] != 'r' || strchr(mode, '+') != NULL))
    refuse(fileno(file), "writing through stdio");
  return file;
}
EXPORT FILE* fopen(const char* path, const char* mode) {
  FILE* (*real)(const char*, const char*);
  find_next("fopen", &real);
  return opened(real(path, mode), mode);
}
EXPORT FILE* fopen64(const char* path, const char* mode) { return fopen(path, mode); }
EXPORT FILE* fdopen(int fd, const char* mode) {
  FILE* (*real)(int, const char*);
  find_next("fdopen", &real);
  return opened(real(fd, mode), mode);
}
EXPORT ssize_t sendfile(int to, int from, off_t* offset, size_t n) {
  refuse(to, "sendfile");
  return syscall(SYS_sendfile, to, from, offset, n);
}
EXPORT ssize_t copy_file_range(int from, off64_t* from_at, int to, off64_t* to_at, size_t n,
                               unsigned flags) {
  refuse(to, "copy_file_range");
  return syscall(SYS_copy_file_range, from, from_at, to, to_at, n, flags);
}
EXPORT ssize_t pwritev2(int fd, const struct iovec* parts, int n, off_t offset, int flags) {
  refuse(fd, "pwritev2");
  return syscall(SYS_pwritev2, fd, parts, n, offset, 0L, flags);
}
