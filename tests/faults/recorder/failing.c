/* failing.so, for LD_PRELOAD: lets chosen calls on the files below one directory fail, from the
 * moment on that a control file says so.
 *
 *   PENSTOCK_FAIL_DIR      the directory; it must exist
 *   PENSTOCK_FAIL_CONTROL  the control file; as long as it is not there nothing fails
 *   PENSTOCK_FAIL_MARK     optional: this line is appended there, to a file or FIFO, when the first
 *                          call fails: "F CALL FILE"
 *
 * The control file holds "CALL ERRNO FILE": one of the names below or `any`, a number, and how the
 * file's path ends, or `*`. A failed call has no effect. Names: write, pwrite, writev, pwritev,
 * sync (fsync, fdatasync), allocate (fallocate, ftruncate), and meta: pwrite to the first two
 * pages, where LMDB says what a commit was. What a shared mapping writes cannot fail here; LMDB
 * uses none. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define META_END (2 * 4096)
#define EXPORT __attribute__((visibility("default")))

static atomic_flag told = ATOMIC_FLAG_INIT;

static size_t read_control(char* out, size_t size) {
  const char* path = getenv("PENSTOCK_FAIL_CONTROL");
  const int fd = path == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = syscall(SYS_read, fd, out, size - 1);
  syscall(SYS_close, fd);
  out[n < 0 ? 0 : n] = '\0';
  return n < 0 ? 0 : (size_t)n;
}

static void tell(const char* call, const char* file) {
  const char* path = getenv("PENSTOCK_FAIL_MARK");
  if (path == NULL || atomic_flag_test_and_set(&told)) return;
  char line[PATH_MAX + 32];
  const int n = snprintf(line, sizeof line, "F %s %s\n", call, file);
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0 || syscall(SYS_write, fd, line, (size_t)n) != n) abort();
  syscall(SYS_close, fd);
}

static bool ends_with(const char* text, const char* end) {
  const size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

/* Whether this call is to fail; errno is set then. */
static bool fails(const char* call, int fd) {
  const int before = errno;
  const char* directory = getenv("PENSTOCK_FAIL_DIR");
  char control[256], name[32], file[192], link[64], path[PATH_MAX];
  int error = 0;
  bool out = false;
  if (directory != NULL && read_control(control, sizeof control) > 0 &&
      sscanf(control, "%31s %d %191s", name, &error, file) == 3 &&
      (strcmp(name, call) == 0 || strcmp(name, "any") == 0)) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = '\0';
    out = strncmp(path, directory, strlen(directory)) == 0 &&
          (strcmp(file, "*") == 0 || ends_with(path, file));
  }
  if (out) tell(call, path);
  errno = out ? error : before;
  return out;
}

static void* real(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

/* NAME fails as CALL does. */
#define WRAP(TYPE, NAME, CALL, PARAMETERS, ARGUMENTS) \
  EXPORT TYPE NAME PARAMETERS {                       \
    if (fails(CALL, fd)) return -1;                   \
    static TYPE(*_Atomic next) PARAMETERS;            \
    TYPE(*call) PARAMETERS = next;                    \
    if (call == NULL) {                               \
      *(void**)&call = real(#NAME);                   \
      next = call;                                    \
    }                                                 \
    return call ARGUMENTS;                            \
  }

WRAP(ssize_t, write, "write", (int fd, const void* data, size_t n), (fd, data, n))
static const char* name_of_pwrite(off64_t at) { return at < META_END ? "meta" : "pwrite"; }

WRAP(ssize_t, pwrite, name_of_pwrite(at), (int fd, const void* data, size_t n, off_t at),
     (fd, data, n, at))
WRAP(ssize_t, pwrite64, name_of_pwrite(at), (int fd, const void* data, size_t n, off64_t at),
     (fd, data, n, at))
WRAP(ssize_t, writev, "writev", (int fd, const struct iovec* v, int n), (fd, v, n))
WRAP(ssize_t, pwritev, "pwritev", (int fd, const struct iovec* v, int n, off_t at), (fd, v, n, at))
WRAP(ssize_t, pwritev64, "pwritev", (int fd, const struct iovec* v, int n, off64_t at),
     (fd, v, n, at))
WRAP(int, fsync, "sync", (int fd), (fd))
WRAP(int, fdatasync, "sync", (int fd), (fd))
WRAP(int, fallocate, "allocate", (int fd, int mode, off_t from, off_t n), (fd, mode, from, n))
WRAP(int, fallocate64, "allocate", (int fd, int mode, off64_t from, off64_t n), (fd, mode, from, n))
WRAP(int, ftruncate, "allocate", (int fd, off_t size), (fd, size))
WRAP(int, ftruncate64, "allocate", (int fd, off64_t size), (fd, size))
