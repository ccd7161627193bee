/* Mapped files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file_calls.h"

void mapping(void) {
  int fd = open("m", O_CREAT | O_RDWR, 0644);
  for (int i = 0; i < 10000; ++i) if (write(fd, "mapped", 6) != 6) abort();
  char* bytes = mmap(NULL, 60000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  SAY(bytes == MAP_FAILED ? -1 : 0);
  SAY(memcmp(bytes + 6 * 777, "mapped", 6));
  bytes[0] = 'X';
  char first = 0;
  SAY(pread(fd, &first, 1, 0));
  SAY(first);
  SAY(munmap(bytes, 60000));
  bytes = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 4096);
  SAY(memcmp(bytes, "edmapp", 6));
  SAY(munmap(bytes, 4096));
  SAY(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 1) == MAP_FAILED ? -1 : 0);
  close(fd);
  fd = open("m", O_RDONLY);
  SAY(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
  bytes = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
  SAY(memcmp(bytes + 600, "mapped", 6));
  SAY(munmap(bytes, 8192));
  close(fd);
}
