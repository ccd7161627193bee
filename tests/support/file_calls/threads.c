/* Many threads at once, while others fork. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_calls.h"

enum { kThreads = 4, kRounds = 300 };

static int shared = -1;
static long failures;

#define EXPECT(condition) \
  do { \
    if (!(condition)) __atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED); \
  } while (0)

/* Each opens, copies, reads and closes its own, and writes to what all have. */
static void* work(void* number) {
  char name[32];
  char back[16];
  struct stat status;
  const long mine = (long)number;
  snprintf(name, sizeof(name), "thread%ld", mine);
  for (int round = 0; round < kRounds; ++round) {
    const int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0644);
    EXPECT(write(fd, name, sizeof(name)) == sizeof(name));
    const int copy = dup(fd);
    EXPECT(close(fd) == 0);
    EXPECT(pread(copy, back, 8, 0) == 8 && memcmp(back, name, 8) == 0);
    EXPECT(fstat(copy, &status) == 0 && status.st_size == sizeof(name));
    EXPECT(close(copy) == 0);
    EXPECT(write(shared, "0123456789", 10) == 10);
    EXPECT(round % 10 != 0 || unlink(name) == 0);
  }
  return NULL;
}

static void* forks(void* unused) {
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) _exit(write(shared, "0123456789", 10) == 10 && access("shared", F_OK) == 0 ? 0 : 1);
    int status = 0;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
  }
  return unused;
}

void threads(void) {
  pthread_t started[kThreads + 1];
  shared = open("shared", O_CREAT | O_WRONLY, 0644);
  for (long i = 0; i < kThreads; ++i) pthread_create(&started[i], NULL, work, (void*)i);
  pthread_create(&started[kThreads], NULL, forks, NULL);
  for (int i = 0; i <= kThreads; ++i) pthread_join(started[i], NULL);
  SAY(failures);
  struct stat status;
  SAY(fstat(shared, &status));
  SAY(status.st_size);
  SAY(lseek(shared, 0, SEEK_CUR));
  close(shared);
}
