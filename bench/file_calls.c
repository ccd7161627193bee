// Time per call of what programs do with files, below two folders in turns: a tmpfs and the store.
//
// usage: file_calls TMPFS-FOLDER STORE-FOLDER
//
// Each line says the smallest of several rounds for both, and how many times faster the store is. Warm: files and blocks
// were touched before, as was everything that the process connects to.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { kRounds = 7, kFiles = 2000, kFileBytes = 64 << 20 };

struct Place {
  const char* folder;
  int fd;  // of a file of kFileBytes
  double best;
};

static char* buffer;
static size_t transfer_bytes;

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void must(int fine, const char* what) {
  if (fine) return;
  perror(what);
  exit(1);
}

static const char* name(const struct Place* place, const char* kind, int number) {
  static char path[4096];
  snprintf(path, sizeof path, "%s/%s%d", place->folder, kind, number);
  return path;
}

// Each does its work and returns how many calls that were.
static int read_some(struct Place* place) {
  const int calls = transfer_bytes > 65536 ? 64 : 2000;
  for (int i = 0; i < calls; ++i) {
    const off_t offset = (off_t)(((size_t)i * 7919 * transfer_bytes) % (kFileBytes - transfer_bytes)) / 4096 * 4096;
    must(pread(place->fd, buffer, transfer_bytes, offset) == (ssize_t)transfer_bytes, "pread");
  }
  return calls;
}
static int write_some(struct Place* place) {
  const int calls = transfer_bytes > 65536 ? 64 : 2000;
  for (int i = 0; i < calls; ++i) {
    const off_t offset = (off_t)(((size_t)i * 7919 * transfer_bytes) % (kFileBytes - transfer_bytes)) / 4096 * 4096;
    must(pwrite(place->fd, buffer, transfer_bytes, offset) == (ssize_t)transfer_bytes, "pwrite");
  }
  return calls;
}
static int open_all(struct Place* place) {
  for (int i = 0; i < kFiles; ++i) {
    const int fd = open(name(place, "f", i), O_RDONLY);
    must(fd >= 0, "open");
    close(fd);
  }
  return kFiles;
}
static int stat_all(struct Place* place) {
  struct stat status;
  for (int i = 0; i < kFiles; ++i) must(stat(name(place, "f", i), &status) == 0, "stat");
  return kFiles;
}
static int rename_all(struct Place* place) {
  char to[4096];
  for (int i = 0; i < kFiles; ++i) {
    strcpy(to, name(place, "r", i));
    must(rename(name(place, "f", i), to) == 0, "rename");
  }
  char from[4096];
  for (int i = 0; i < kFiles; ++i) {
    strcpy(from, name(place, "r", i));
    must(rename(from, name(place, "f", i)) == 0, "rename");
  }
  return 2 * kFiles;
}
static int list_all(struct Place* place) {
  DIR* const folder = opendir(place->folder);
  must(folder != NULL, "opendir");
  int count = 0;
  while (readdir(folder) != NULL) ++count;
  closedir(folder);
  return count;
}
static int create_all(struct Place* place) {
  for (int i = 0; i < kFiles; ++i) {
    const int fd = open(name(place, "c", i), O_CREAT | O_EXCL | O_WRONLY, 0644);
    must(fd >= 0, "create");
    close(fd);
  }
  return kFiles;
}
static int unlink_all(struct Place* place) {
  for (int i = 0; i < kFiles; ++i) must(unlink(name(place, "c", i)) == 0, "unlink");
  return kFiles;
}

// Rounds in turns, so that a disturbance meets both. `before` and `after` are not timed.
static void compare(struct Place places[2], const char* what, const char* goal, int (*work)(struct Place*),
                    int (*before)(struct Place*), int (*after)(struct Place*)) {
  places[0].best = places[1].best = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    for (int p = 0; p < 2; ++p) {
      if (before != NULL) before(&places[p]);
      const double begin = now_us();
      const int calls = work(&places[p]);
      const double each = (now_us() - begin) / calls;
      if (each < places[p].best) places[p].best = each;
      if (after != NULL) after(&places[p]);
    }
  }
  printf("%-16s %9.2f us %9.2f us %6.2f x   %s\n", what, places[0].best, places[1].best, places[0].best / places[1].best, goal);
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: file_calls TMPFS-FOLDER STORE-FOLDER\n");
    return 2;
  }
  struct Place places[2] = {{argv[1], -1, 0}, {argv[2], -1, 0}};
  buffer = malloc(16 << 20);
  memset(buffer, 7, 16 << 20);
  for (int p = 0; p < 2; ++p) {
    for (int i = 0; i < kFiles; ++i) {
      const int fd = open(name(&places[p], "f", i), O_CREAT | O_WRONLY, 0644);
      must(fd >= 0 && write(fd, buffer, 3901) == 3901, "a file");
      close(fd);
    }
    places[p].fd = open(name(&places[p], "large", 0), O_CREAT | O_RDWR, 0644);
    must(places[p].fd >= 0, "the large file");
    for (off_t at = 0; at < kFileBytes; at += 1 << 20) must(pwrite(places[p].fd, buffer, 1 << 20, at) == 1 << 20, "pwrite");
  }
  printf("%-16s %12s %12s %8s   goal\n", "", "tmpfs", "store", "faster");
  const struct {
    size_t bytes;
    const char* read;
    const char* write;
    const char* goal;
  } sizes[] = {{4096, "pread 4 KiB", "pwrite 4 KiB", "3 x"},
               {65536, "pread 64 KiB", "pwrite 64 KiB", "2 x"},
               {1 << 20, "pread 1 MiB", "pwrite 1 MiB", "2 x"},
               {16 << 20, "pread 16 MiB", "pwrite 16 MiB", "1.5 x"}};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    transfer_bytes = sizes[i].bytes;
    compare(places, sizes[i].read, sizes[i].goal, read_some, NULL, NULL);
    compare(places, sizes[i].write, sizes[i].goal, write_some, NULL, NULL);
  }
  compare(places, "stat", "4 x", stat_all, NULL, NULL);
  compare(places, "open+close", "1 x", open_all, NULL, NULL);
  compare(places, "create+close", "2 x", create_all, NULL, unlink_all);
  compare(places, "unlink", "4 x", unlink_all, create_all, NULL);
  compare(places, "rename", "2 x", rename_all, NULL, NULL);
  compare(places, "readdir", "2 x", list_all, NULL, NULL);
  return 0;
}
