/* Opening files, bytes and positions. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file_calls.h"

static void positions(void) {
  char buffer[64] = "";
  int fd = open("f", O_CREAT | O_EXCL | O_RDWR, 0666);
  fprintf(out, "number %d\n", fd);
  SAY(write(fd, "0123456789", 10));
  SAY(open("f", O_CREAT | O_EXCL | O_RDWR, 0666));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(lseek(fd, -3, SEEK_END));
  SAY(read(fd, buffer, sizeof(buffer)));
  SAY(read(fd, buffer, sizeof(buffer)));
  SAY(lseek(fd, 2, SEEK_SET));
  SAY(write(fd, "ab", 2)); /* in place: the position is 4 then, not 10 */
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(lseek(fd, -20, SEEK_CUR));
  SAY(lseek(fd, 0, 77));
  SHOW("f");
  int second = open("f", O_RDONLY); /* with a position of its own */
  SAY(read(second, buffer, 1));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(write(second, "x", 1));
  SAY(ftruncate(second, 1));
  SAY(close(second));
  SAY(close(second));
  SAY(read(second, buffer, 1));
  close(fd);
}

static void appending(void) {
  char buffer[64] = "";
  int append = open("f", O_WRONLY | O_APPEND);
  SAY(write(append, "+", 1));
  SAY(lseek(append, 0, SEEK_CUR));
  SAY(lseek(append, 0, SEEK_SET));
  SAY(write(append, "+", 1));
  SAY(pwrite(append, "P", 1, 0));
  SAY(read(append, buffer, 1));
  SAY(fcntl(append, F_GETFL) & (O_ACCMODE | O_APPEND));
  SAY(fcntl(append, F_SETFL, 0));
  SAY(lseek(append, 0, SEEK_SET));
  SAY(write(append, "Z", 1));
  SHOW("f");
  close(append);
}

static void holes(void) {
  char buffer[64] = "";
  int fd = open("f", O_RDWR);
  SAY(pread(fd, buffer, 3, 1));
  SAY(pread(fd, buffer, 3, -1));
  SAY(pwrite(fd, "hole", 4, 100000));
  memset(buffer, 'x', sizeof(buffer));
  SAY(pread(fd, buffer, sizeof(buffer), 50000));
  SAY(buffer[0] + buffer[63]);
  struct stat status;
  SAY(fstat(fd, &status));
  SAY(status.st_size);
  SAY(S_ISREG(status.st_mode));
  SAY(ftruncate(fd, 5));
  SAY(ftruncate(fd, 8));
  SAY(ftruncate(fd, -1));
  SHOW("f");
  struct iovec parts[3] = {{buffer, 2}, {buffer + 2, 0}, {buffer + 2, 20}};
  lseek(fd, 0, SEEK_SET);
  SAY(readv(fd, parts, 3));
  SAY(preadv(fd, parts, 3, 4));
  lseek(fd, 0, SEEK_END);
  SAY(writev(fd, parts, 2));
  SAY(pwritev(fd, parts, 3, 1));
  SAY(pwritev2(fd, parts, 1, -1, 0));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(fsync(fd));
  SAY(fdatasync(fd));
  close(fd);
}

static void full_of_data(void) {
  int fd = open("f", O_CREAT | O_RDWR, 0644);
  SAY(write(fd, "0123456789", 10));
  SAY(lseek(fd, 3, SEEK_DATA));
  SAY(lseek(fd, 3, SEEK_HOLE));
  SAY(lseek(fd, 0, SEEK_CUR));
  SAY(lseek(fd, 10, SEEK_DATA));
  SAY(lseek(fd, 11, SEEK_HOLE));
  SAY(lseek(fd, -1, SEEK_DATA));
  close(fd);
}

static void refusals(void) {
  SAY(close(open("f", O_WRONLY | O_TRUNC)));
  SHOW("f");
  SAY(open("f", O_RDONLY | O_DIRECTORY));
  SAY(open(".", O_WRONLY));
  SAY(open("nothing", O_RDONLY));
  SAY(open("f/below", O_RDONLY));
  SAY(open("f/", O_RDONLY));
  SAY(open("new/", O_CREAT | O_WRONLY, 0666));
  SAY(open("nothing/new", O_CREAT | O_WRONLY, 0666));
  SAY(open("", O_RDONLY));
  SAY(symlink("later", "dangling"));
  SAY(open("dangling", O_RDONLY));
  SAY(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0666));
  SAY(close(open("dangling", O_CREAT | O_WRONLY, 0666)));
  SAY(access("later", F_OK));
  SAY(open("dangling", O_RDONLY | O_NOFOLLOW));
  SAY(symlink("loop", "loop"));
  SAY(open("loop", O_RDONLY));
}

static void at_directories(void) {
  char buffer[64] = "";
  struct stat status;
  int fd = open("f", O_RDWR);
  int directory = open(".", O_RDONLY);
  SAY(read(directory, buffer, 1));
  SAY(write(directory, buffer, 1));
  SAY(openat(directory, "nothing", O_RDONLY));
  SAY(close(openat(directory, "f", O_RDONLY)));
  SAY(close(openat(directory, "g", O_WRONLY | O_CREAT, 0644)));
  SAY(openat(fd, "g", O_RDONLY));
  SAY(openat(-1, "g", O_RDONLY));
  int path_only = open("g", O_PATH);
  SAY(read(path_only, buffer, 1));
  SAY(fstat(path_only, &status));
  SAY(close(path_only));
  close(directory);
  close(fd);
}

static void modes(void) {
  char buffer[8] = "";
  int fd = open("g", O_WRONLY);
  SAY(read(fd, buffer, 1));
  SAY(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0);
  close(fd);
  SAY(close(creat("f", 0600)));
}

static void temporary(void) {
  char buffer[64] = "";
  struct stat status;
  char name[] = "tmp-XXXXXX";
  int fd = mkstemp(name);
  SAY(fstat(fd, &status));
  SAY(status.st_mode);
  SAY(unlink(name));
  SAY(write(fd, "gone", 4)); /* stays as long as it is open */
  SAY(pread(fd, buffer, 9, 0));
  SAY(fstat(fd, &status));
  SAY(status.st_nlink);
  close(fd);
  char suffixed[] = "s-XXXXXX.txt";
  SAY(close(mkstemps(suffixed, 4)));
  char made[] = "d-XXXXXX";
  SAY_NULL(mkdtemp(made));
  char wrong[] = "wrong";
  SAY(mkstemp(wrong));
}

void opening(void) {
  positions();
  appending();
  holes();
  full_of_data();
  refusals();
  at_directories();
  modes();
  temporary();
}
