/* Names, attributes, links and the working directory. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_calls.h"

static void renaming(void) {
  struct stat status;
  SAY(mkdir("d", 0777));
  SAY(stat("d", &status));
  SAY(status.st_mode);
  SAY(status.st_nlink);
  SAY(mkdir("d", 0777));
  SAY(mkdir("d/e/", 0777));
  SAY(mkdir("nothing/e", 0777));
  SAY(rmdir("d"));
  SAY(rmdir("nothing"));
  SAY(rmdir("d/."));
  close(creat("f", 0666));
  SAY(lstat("f", &status));
  SAY(status.st_mode);
  SAY(rmdir("f"));
  SAY(unlink("d"));
  SAY(unlink("nothing"));
  SAY(mkdir("f/x", 0777));
  SAY(link("f", "d/f2"));
  SAY(link("f", "d/f2"));
  SAY(link("d", "d2"));
  SAY(stat("d/f2", &status));
  SAY(status.st_nlink);
  SAY(rename("f", "d/f2")); /* two names of one file stay */
  SAY(access("f", F_OK));
  SAY(rename("nothing", "f"));
  SAY(rename("d", "f"));
  SAY(rename("f", "d"));
  SAY(rename("d", "d/e/below"));
  SAY(mkdir("empty", 0700));
  SAY(rename("d", "empty"));
  SAY(access("empty/e", F_OK));
  SAY(rename("f", "name with 'quotes' and \"blanks\""));
  SAY(access("name with 'quotes' and \"blanks\"", F_OK));
  close(creat("r1", 0600));
  close(creat("r2", 0600));
  SAY(renameat2(AT_FDCWD, "r1", AT_FDCWD, "r2", RENAME_NOREPLACE));
  SAY(renameat2(AT_FDCWD, "r1", AT_FDCWD, "r3", RENAME_NOREPLACE));
  SAY(remove("r3"));
  SAY(remove("empty/e"));
}

static void links(void) {
  char buffer[PATH_MAX];
  struct stat status;
  memset(buffer, 'n', 255);
  buffer[255] = 0;
  SAY(close(creat(buffer, 0600)));
  buffer[255] = 'n';
  buffer[256] = 0;
  SAY(creat(buffer, 0600));
  SAY(symlink("empty", "sl"));
  SAY(symlink("x", "sl"));
  SAY(readlink("sl", buffer, sizeof(buffer)));
  SAY(readlink("sl", buffer, 2));
  SAY(readlink("r2", buffer, sizeof(buffer)));
  SAY(lstat("sl", &status));
  SAY(S_ISLNK(status.st_mode));
  SAY(status.st_size);
  SAY(stat("sl", &status));
  SAY(S_ISDIR(status.st_mode));
  SAY(stat("sl/f2", &status));
  SAY(stat("sl/nothing", &status));
  SAY(lstat("sl/", &status));
  SAY(S_ISDIR(status.st_mode));
  struct statx extended;
  SAY(statx(AT_FDCWD, "r2", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &extended));
  SAY(extended.stx_mode);
  SAY(extended.stx_size);
}

static void attributes(void) {
  struct stat status;
  SAY(chmod("r2", 04751));
  SAY(stat("r2", &status));
  SAY(status.st_mode);
  SAY(access("r2", X_OK));
  SAY(access("empty/f2", X_OK));
  SAY(faccessat(AT_FDCWD, "nothing", W_OK, 0));
  struct timespec times[2] = {{1000000000, 123456789}, {0, UTIME_OMIT}};
  SAY(utimensat(AT_FDCWD, "r2", times, 0));
  SAY(stat("r2", &status));
  SAY(status.st_atim.tv_sec);
  SAY(status.st_atim.tv_nsec);
  times[1].tv_nsec = 2000000000;
  SAY(utimensat(AT_FDCWD, "r2", times, 0));
  SAY(truncate("r2", 77));
  SAY(truncate("empty", 77));
  SAY(truncate("nothing", 77));
  SAY(stat("r2", &status));
  SAY(status.st_size);
  SAY(mkfifo("fifo", 0600));
  SAY(stat("fifo", &status));
  SAY(S_ISFIFO(status.st_mode));
}

static void working_directory(void) {
  char buffer[PATH_MAX];
  /* Where one is. */
  SAY_TEXT(getcwd(buffer, sizeof(buffer)));
  SAY(chdir("sl"));
  SAY_TEXT(getcwd(buffer, sizeof(buffer)));
  SAY(access("f2", F_OK));
  SAY(access("../r2", F_OK));
  SAY_TEXT(realpath("../sl/./f2", buffer));
  SAY_TEXT(realpath("nothing", buffer));
  SAY_NULL(getcwd(buffer, 3));
  SAY(chdir("nothing"));
  SAY(chdir("f2"));
  int fd = open("..", O_RDONLY | O_DIRECTORY);
  SAY(fchdir(fd));
  close(fd);
  SAY_TEXT(getcwd(buffer, sizeof(buffer)));
  SAY(chdir("/usr"));
  SAY_TEXT(getcwd(buffer, sizeof(buffer)));
  SAY(access("bin", F_OK));
  SAY(chdir(top));
  SAY(chdir("names"));
  pid_t child = fork();
  if (child == 0) {
    execl(self, self, "--where", top, (char*)NULL);
    _exit(9);
  }
  int ended = 0;
  waitpid(child, &ended, 0);
  SAY(ended);
  struct statvfs space;
  SAY(statvfs(".", &space));
  SAY(space.f_namemax);
}

void names(void) {
  umask(027);
  renaming();
  links();
  attributes();
  working_directory();
}
