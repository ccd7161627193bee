/* Directory streams and what is built on them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_calls.h"

static int by_name(const void* a, const void* b) { return strcmp(*(char* const*)a, *(char* const*)b); }

static void list(int line, DIR* directory) {
  char* names[100];
  size_t count = 0;
  for (struct dirent* entry = readdir(directory); entry != NULL && count < 100; entry = readdir(directory)) {
    char text[400];
    sprintf(text, "%s(%d)", entry->d_name, entry->d_type);
    names[count++] = strdup(text);
  }
  qsort(names, count, sizeof(*names), by_name);
  fprintf(out, "%d", line);
  for (size_t i = 0; i < count; ++i) {
    fprintf(out, " %s", names[i]);
    free(names[i]);
  }
  fprintf(out, "\n");
}

static int walked;
static int count_walked(const char* path, const struct stat* status, int type) {
  (void)path;
  (void)status;
  walked += type == FTW_D ? 100 : 1;
  return 0;
}

static void listing(void) {
  mkdir("t", 0755);
  mkdir("t/sub", 0700);
  close(creat("t/one", 0644));
  close(creat("t/two", 0644));
  close(creat("t/sub/three", 0644));
  SAY(symlink("one", "t/link"));
  DIR* directory = opendir("t");
  DIR* below = opendir("t/sub"); /* two at once */
  SAY_TEXT(readdir(directory) != NULL ? "an entry" : NULL);
  list(__LINE__, below);
  rewinddir(directory);
  list(__LINE__, directory);
  rewinddir(directory);
  readdir(directory);
  const long place = telldir(directory);
  char name[256];
  strcpy(name, readdir(directory)->d_name);
  while (readdir(directory) != NULL) {}
  seekdir(directory, place);
  SAY(strcmp(name, readdir(directory)->d_name));
  errno = 0;
  while (readdir(directory) != NULL) {}
  SAY(errno);
  struct stat status;
  SAY(fstat(dirfd(directory), &status));
  SAY(S_ISDIR(status.st_mode));
  SAY(fstatat(dirfd(directory), "one", &status, 0));
  SAY(closedir(directory));
  closedir(below);
  int fd = open("t", O_RDONLY | O_DIRECTORY);
  directory = fdopendir(fd);
  list(__LINE__, directory);
  SAY(closedir(directory));
  SAY(close(fd));
  SAY_NULL(opendir("nothing"));
  SAY_NULL(opendir("t/one"));
  fd = open("t/one", O_RDONLY);
  SAY_NULL(fdopendir(fd));
  close(fd);
}

static void trees(void) {
  struct dirent** found = NULL;
  const int count = scandir("t", &found, NULL, alphasort);
  SAY(count);
  for (int i = 0; i < count; ++i) SAY_TEXT(found[i]->d_name);
  SAY(ftw("t", count_walked, 10));
  SAY(walked);
  glob_t matches;
  SAY(glob("t/*o*", 0, NULL, &matches));
  for (size_t i = 0; i < matches.gl_pathc; ++i) SAY_TEXT(matches.gl_pathv[i]);
  globfree(&matches);
}

static void removing_while_reading(void) {
  char name[256];
  for (int i = 0; i < 700; ++i) {
    sprintf(name, "t/sub/file %d", i);
    close(creat(name, 0644));
  }
  DIR* directory = opendir("t/sub");
  int all = 0;
  while (readdir(directory) != NULL) ++all;
  SAY(all);
  rewinddir(directory);
  for (struct dirent* entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    if (entry->d_name[0] == 'f') unlinkat(dirfd(directory), entry->d_name, 0);
  }
  closedir(directory);
  SAY(unlink("t/sub/three"));
  SAY(rmdir("t/sub"));
}

void directories(void) {
  listing();
  trees();
  removing_while_reading();
}
