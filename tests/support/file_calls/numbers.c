/* Descriptors, and what children and new programs get of them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_calls.h"

static void copies(void) {
  char buffer[64] = "";
  int fd = open("n", O_CREAT | O_RDWR | O_TRUNC, 0644);
  SAY(write(fd, "abcdefgh", 8));
  lseek(fd, 0, SEEK_SET);
  int copy = dup(fd);
  SAY(read(copy, buffer, 2));
  SAY(lseek(fd, 0, SEEK_CUR)); /* one position for both */
  SAY(dup2(fd, 60));
  SAY(read(60, buffer, 2));
  SAY(lseek(copy, 0, SEEK_CUR));
  SAY(dup2(fd, fd));
  SAY(dup3(fd, fd, 0));
  SAY(dup2(-1, 61));
  SAY(fcntl(fd, F_DUPFD, 70));
  SAY(fcntl(fd, F_DUPFD_CLOEXEC, 70));
  SAY(fcntl(71, F_GETFD));
  SAY(dup3(fd, 61, O_CLOEXEC));
  SAY(fcntl(61, F_GETFD));
  SAY(close(fd));
  SAY(read(copy, buffer, 1));
  SAY(fcntl(copy, F_SETFL, O_APPEND));
  SAY(fcntl(60, F_GETFL) & (O_APPEND | O_ACCMODE));
  SAY(write(60, "!", 1));
  SHOW("n");
  SAY(close_range(60, 80, 0));
  SAY(read(60, buffer, 1));
  SAY(read(copy, buffer, 1));
  int other = open("/dev/null", O_RDWR);
  SAY(dup2(other, copy)); /* the number is another file's now */
  SAY(write(copy, "lost", 4));
  SHOW("n");
  close(other);
  close(copy);
}

static void children(void) {
  /* A child goes on where its parent is, and the other way round. */
  int fd = open("n", O_CREAT | O_RDWR | O_TRUNC, 0644);
  SAY(write(fd, "parent ", 7));
  pid_t child = fork();
  if (child == 0) _exit(write(fd, "child ", 6) == 6 ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  SAY(status);
  SAY(write(fd, "parent\n", 7));
  SHOW("n");
  lseek(fd, 0, SEEK_SET);
  for (int i = 0; i < 4; ++i) {
    child = fork();
    if (child == 0) {
      for (int j = 0; j < 50; ++j) if (write(fd, "0123456789", 10) != 10) _exit(1);
      _exit(0);
    }
  }
  while (wait(&status) > 0) SAY(status);
  SAY(lseek(fd, 0, SEEK_CUR)); /* nobody wrote over another */
  close(fd);
}

static void programs(void) {
  int status = 0;
  /* A new program goes on too: by its number, as its standard input and output, and by posix_spawn. */
  int fd = open("n", O_CREAT | O_RDWR | O_TRUNC, 0644);
  SAY(write(fd, "one ", 4));
  pid_t child = fork();
  if (child == 0) {
    char number[16];
    sprintf(number, "%d", fd);
    execl(self, self, "--write-to", number, (char*)NULL);
    _exit(9);
  }
  waitpid(child, &status, 0);
  SAY(status);
  SAY(write(fd, "three\n", 6));
  SHOW("n");
  child = vfork();
  if (child == 0) {
    dup2(fd, 1);
    execl(self, self, "--print", (char*)NULL);
    _exit(9);
  }
  waitpid(child, &status, 0);
  SAY(write(fd, "after\n", 6));
  SHOW("n");
  lseek(fd, 4, SEEK_SET);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fd, 0);
  char* arguments[] = {self, "--read-word", NULL};
  SAY(posix_spawn(&child, self, &actions, NULL, arguments, environ));
  waitpid(child, &status, 0);
  SAY(WEXITSTATUS(status));
  SAY(lseek(fd, 0, SEEK_CUR));
  close(fd);
}

static void shells(void) {
  char buffer[64] = "";
  int status = 0;
  int fd = open("n", O_RDWR);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  char number[16];
  sprintf(number, "%d", fd);
  pid_t child = fork();
  if (child == 0) {
    execl(self, self, "--write-to", number, (char*)NULL);
    _exit(9);
  }
  waitpid(child, &status, 0);
  SAY(WEXITSTATUS(status));
  /* Closed by an exec, but copied before it. */
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fd, 0);
  char* arguments[] = {self, "--read-word", NULL};
  lseek(fd, 4, SEEK_SET);
  SAY(posix_spawn(&child, self, &actions, NULL, arguments, environ));
  waitpid(child, &status, 0);
  SAY(WEXITSTATUS(status));
  SAY(system("echo from system > sys; cat sys >> sys2"));
  SHOW("sys2");
  FILE* pipe = popen("cat n", "r");
  SAY_NULL(fgets(buffer, sizeof(buffer), pipe));
  SAY_TEXT(buffer);
  SAY(pclose(pipe));
  close(fd);
}

void numbers(void) {
  copies();
  children();
  programs();
  shells();
}
