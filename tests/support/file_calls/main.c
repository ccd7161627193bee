/* Calls that reach files, and what they answer: the same on every file system. Run it in an empty folder of tmpfs and in one
   of the store, and compare. Called as `file_calls DIRECTORY [AREA...]`; other first arguments are for the copies of itself that
   it executes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_calls.h"

char self[PATH_MAX];
char top[PATH_MAX];
FILE* out;

long say(int line, const char* what, long value) {
  const int error = errno;
  if (value == -1) {
    fprintf(out, "%d %s = %s\n", line, what, strerrorname_np(error));
  } else {
    fprintf(out, "%d %s = %ld\n", line, what, value);
  }
  errno = error;
  return value;
}
void say_text(int line, const char* text) {
  const char* found = text == NULL ? strerrorname_np(errno) : text;
  if (text != NULL && strncmp(text, top, strlen(top)) == 0) fprintf(out, "%d TOP%s\n", line, text + strlen(top));
  else fprintf(out, "%d %s\n", line, found);
}

void show(int line, const char* path) {
  char buffer[256] = "";
  const int fd = open(path, O_RDONLY);
  const ssize_t bytes = fd < 0 ? -1 : read(fd, buffer, sizeof(buffer) - 1);
  if (fd >= 0) close(fd);
  fprintf(out, "%d %s: ", line, path);
  for (ssize_t i = 0; i < bytes; ++i) fprintf(out, buffer[i] >= ' ' ? "%c" : "\\%03o", buffer[i]);
  fprintf(out, "%s\n", bytes < 0 ? strerrorname_np(errno) : "");
}

static int helper(int count, char** arguments) {
  if (strcmp(arguments[1], "--write-to") == 0) return write(atoi(arguments[2]), "two ", 4) == 4 ? 0 : 1;
  if (strcmp(arguments[1], "--print") == 0) return printf("printed by another\n") > 0 ? 0 : 1;
  if (strcmp(arguments[1], "--read-word") == 0) {
    char word[4] = "";
    return read(0, word, 4) == 4 && memcmp(word, "two ", 4) == 0 ? 0 : 1;
  }
  char buffer[PATH_MAX];
  if (count < 3 || getcwd(buffer, sizeof(buffer)) == NULL) return 2;
  const size_t length = strlen(arguments[2]);
  return strncmp(buffer, arguments[2], length) == 0 && strcmp(buffer + length, "/names") == 0 ? access("sl", F_OK) : 3;
}

int main(int count, char** arguments) {
  static const struct {
    const char* name;
    void (*run)(void);
  } areas[] = {{"opening", opening}, {"numbers", numbers},     {"streams", streams},
               {"directories", directories}, {"names", names}, {"mapping", mapping},
               {"passing", passing}, {"threads", threads},
               {"locks", locks}};
  if (count < 2) return 2;
  if (arguments[1][0] == '-') return helper(count, arguments);
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || strlen(arguments[1]) >= sizeof(top)) return 2;
  strcpy(top, arguments[1]);
  out = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 100), "w");
  setvbuf(out, NULL, _IONBF, 0);
  for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); ++i) {
    int wanted = count == 2;
    for (int j = 2; j < count; ++j) wanted |= strcmp(arguments[j], areas[i].name) == 0;
    if (!wanted) continue;
    if (chdir(top) != 0 || mkdir(areas[i].name, 0755) != 0 || chdir(areas[i].name) != 0) {
      fprintf(out, "%s: %s\n", areas[i].name, strerror(errno));
      return 1;
    }
    umask(022);
    areas[i].run();
  }
  return 0;
}
