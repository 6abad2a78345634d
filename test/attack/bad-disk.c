// A disk that is slow, or fails now and then, under one process (LD_PRELOAD). The file that BAD_DISK names is read at each operation: how many
// milliseconds one takes, and how many of a thousand fail. Only what makes data durable is touched, in one folder's worth of files: fsync,
// fdatasync, rename, link, and files that are created.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int bad(void) {
  static __thread unsigned seed = 1;
  const char *name = getenv("BAD_DISK");
  FILE *file = name ? fopen(name, "re") : NULL;
  int delay = 0, failing = 0;
  if (file == NULL) return 0;
  if (fscanf(file, "%d %d", &delay, &failing) != 2) delay = failing = 0;
  fclose(file);
  if (delay > 0) {
    struct timespec pause = {delay / 1000, (delay % 1000) * 1000000L};
    nanosleep(&pause, NULL);
  }
  if (rand_r(&seed) % 1000 >= failing) return 0;
  errno = EIO;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return bad() ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return bad() ? -1 : REAL(fdatasync)(fd); }
int rename(const char *from, const char *to) { return bad() ? -1 : REAL(rename)(from, to); }
int link(const char *from, const char *to) { return bad() ? -1 : REAL(link)(from, to); }

int open64(const char *path, int flags, ...) {
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
    if (bad()) return -1;
  }
  return REAL(open64)(path, flags, mode);
}
int open(const char *path, int flags, ...) {
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
    if (bad()) return -1;
  }
  return REAL(open)(path, flags, mode);
}
