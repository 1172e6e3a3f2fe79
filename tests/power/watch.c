/* Preloaded into a program, writes down what it does to the files of one directory and what it
 * sends, in the order in which it happens: each call is made and noted under one lock.
 *
 * WATCH_DIR is the directory, WATCH_LOG the file that takes the notes. A note is its kind (one
 * letter), then in the machine's own order the length of the path (4 octets), the offset or length
 * (8) and the length of the data (8), then path and data.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int notes = -1;
static const char *directory;

__attribute__((constructor)) static void begin(void) {
  const char *log = getenv("WATCH_LOG");
  directory = getenv("WATCH_DIR");
  if (!log || !directory) return;
  notes = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int is_watched(const char *path) {
  size_t length = directory ? strlen(directory) : 0;
  if (notes < 0) return 0;
  if (strncmp(path, "socket:", 7) == 0) return 1;
  return length && strncmp(path, directory, length) == 0 && (path[length] == '/' || !path[length]);
}

static void note(char kind, const char *path, uint64_t number, const void *data, uint64_t size) {
  uint32_t length = strlen(path);
  char head[21];
  head[0] = kind;
  memcpy(head + 1, &length, 4);
  memcpy(head + 5, &number, 8);
  memcpy(head + 13, &size, 8);
  struct iovec parts[] = {{head, 21}, {(void *)path, length}, {(void *)data, size}};
  if (syscall(SYS_writev, notes, parts, 3) != (long)(21 + length + size)) abort();
}

/* The path behind a descriptor; empty if it is not watched. */
static void path_of(int fd, char *path, size_t size) {
  char link[64];
  path[0] = 0;
  if (notes < 0 || fd == notes) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
  path[length > 0 ? length : 0] = 0;
  if (!is_watched(path)) path[0] = 0;
}

#define WATCHED(fd)            \
  char path[4096];             \
  path_of(fd, path, sizeof path); \
  if (path[0]) pthread_mutex_lock(&lock)
#define DONE                                 \
  if (path[0]) {                             \
    int kept = errno;                        \
    pthread_mutex_unlock(&lock);             \
    errno = kept;                            \
  }
#define IS_SOCKET (path[0] == 's')

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  WATCHED(fd);
  ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
  if (path[0] && done > 0) note('W', path, offset, data, done);
  DONE;
  return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  return pwrite64(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size) {
  WATCHED(fd);
  off64_t at = path[0] && !IS_SOCKET ? syscall(SYS_lseek, fd, 0, SEEK_CUR) : 0;
  ssize_t done = syscall(SYS_write, fd, data, size);
  if (path[0] && done > 0) note(IS_SOCKET ? 'N' : 'W', path, at, data, done);
  DONE;
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  /* As one write: what is watched must be noted as it was sent. */
  WATCHED(fd);
  if (!path[0]) return syscall(SYS_writev, fd, parts, count);
  pthread_mutex_unlock(&lock);
  size_t size = 0, at = 0;
  for (int i = 0; i < count; i++) size += parts[i].iov_len;
  char *data = malloc(size ? size : 1);
  if (!data) abort();
  for (int i = 0; i < count; at += parts[i++].iov_len) {
    memcpy(data + at, parts[i].iov_base, parts[i].iov_len);
  }
  ssize_t done = write(fd, data, size);
  int kept = errno;
  free(data);
  errno = kept;
  return done;
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t length) {
  WATCHED(fd);
  ssize_t done = syscall(SYS_sendto, fd, data, size, flags, to, length);
  if (path[0] && done > 0) note('N', path, 0, data, done);
  DONE;
  return done;
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
  return sendto(fd, data, size, flags, NULL, 0);
}

static int sync_by(long call, int fd) {
  WATCHED(fd);
  int done = syscall(call, fd);
  if (path[0] && done == 0) note('S', path, 0, "", 0);
  DONE;
  return done;
}

int fsync(int fd) { return sync_by(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }

int ftruncate64(int fd, off64_t size) {
  WATCHED(fd);
  int done = syscall(SYS_ftruncate, fd, size);
  if (path[0] && done == 0) note('T', path, size, "", 0);
  DONE;
  return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* Names that are made and removed. */
static int open_at(int at, const char *name, int flags, mode_t mode) {
  int is_new = (flags & O_CREAT) && syscall(SYS_faccessat, at, name, F_OK) != 0;
  pthread_mutex_lock(&lock);
  int fd = syscall(SYS_openat, at, name, flags, mode);
  int kept = errno;
  if (fd >= 0) {
    char path[4096];
    path_of(fd, path, sizeof path);
    if (path[0] && is_new) note('C', path, 0, "", 0);
    if (path[0] && !is_new && (flags & O_TRUNC)) note('T', path, 0, "", 0);
  }
  pthread_mutex_unlock(&lock);
  errno = kept;
  return fd;
}

#define MODE                                       \
  mode_t mode = 0;                                 \
  if (flags & (O_CREAT | O_TMPFILE)) {             \
    va_list more;                                  \
    va_start(more, flags);                         \
    mode = va_arg(more, int);                      \
    va_end(more);                                  \
  }

int open(const char *name, int flags, ...) {
  MODE;
  return open_at(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
  MODE;
  return open_at(AT_FDCWD, name, flags, mode);
}

int openat(int at, const char *name, int flags, ...) {
  MODE;
  return open_at(at, name, flags, mode);
}

int openat64(int at, const char *name, int flags, ...) {
  MODE;
  return open_at(at, name, flags, mode);
}

/* The whole path of a name; the directory it is in exists. */
static void whole(const char *name, char *path, size_t size) {
  char copy[4096], folder[4096];
  snprintf(copy, sizeof copy, "%s", name);
  char *slash = strrchr(copy, '/');
  const char *last = slash ? slash + 1 : copy;
  if (slash) *slash = 0;
  path[0] = 0;
  if (!realpath(slash ? (copy[0] ? copy : "/") : ".", folder)) return;
  if ((size_t)snprintf(path, size, "%s/%s", folder, last) >= size || !is_watched(path)) path[0] = 0;
}

int unlink(const char *name) {
  char path[4096];
  whole(name, path, sizeof path);
  pthread_mutex_lock(&lock);
  int done = syscall(SYS_unlinkat, AT_FDCWD, name, 0);
  int kept = errno;
  if (path[0] && done == 0) note('U', path, 0, "", 0);
  pthread_mutex_unlock(&lock);
  errno = kept;
  return done;
}

int mkdir(const char *name, mode_t mode) {
  char path[4096];
  whole(name, path, sizeof path);
  pthread_mutex_lock(&lock);
  int done = syscall(SYS_mkdirat, AT_FDCWD, name, mode);
  int kept = errno;
  if (path[0] && done == 0) note('M', path, 0, "", 0);
  pthread_mutex_unlock(&lock);
  errno = kept;
  return done;
}
