/* Locks, of processes and of descriptions. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_calls.h"

static int lock(int fd, int command, short type, off_t start, off_t bytes) {
  struct flock wanted = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes};
  const int answer = fcntl(fd, command, &wanted);
  return answer == 0 && command == F_GETLK ? wanted.l_type : answer;
}

/* What another process is told: a digit for each question, 'x' for a refusal. */
static void ask_another(int line) {
  int ends[2];
  char told[8] = "";
  if (pipe(ends) != 0) return;
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open("l", O_RDWR);
    char answers[6];
    answers[0] = lock(fd, F_SETLK, F_WRLCK, 0, 10) == 0 ? '0' : 'x';
    answers[1] = lock(fd, F_SETLK, F_WRLCK, 20, 10) == 0 ? '0' : 'x';
    answers[2] = lock(fd, F_SETLK, F_RDLCK, 40, 10) == 0 ? '0' : 'x';
    answers[3] = (char)('0' + lock(fd, F_GETLK, F_WRLCK, 5, 1));
    answers[4] = flock(fd, LOCK_EX | LOCK_NB) == 0 ? '0' : 'x';
    answers[5] = lock(fd, F_OFD_SETLK, F_WRLCK, 60, 1) == 0 ? '0' : 'x';
    _exit(write(ends[1], answers, 6) != 6);
  }
  waitpid(child, NULL, 0);
  close(ends[1]);
  const ssize_t got = read(ends[0], told, 6);
  close(ends[0]);
  fprintf(out, "%d %s %d\n", line, told, (int)got);
}

void locks(void) {
  int fd = open("l", O_CREAT | O_RDWR, 0644);
  ask_another(__LINE__);
  SAY(lock(fd, F_SETLK, F_WRLCK, 0, 10));
  SAY(lock(fd, F_SETLK, F_RDLCK, 40, 0));
  ask_another(__LINE__);
  SAY(lock(fd, F_SETLK, F_UNLCK, 5, 100));
  ask_another(__LINE__);
  int second = open("l", O_RDONLY);
  SAY(lock(second, F_SETLK, F_WRLCK, 0, 1));
  SAY(close(second)); /* which ends the locks of the process */
  ask_another(__LINE__);
  SAY(flock(fd, LOCK_SH));
  ask_another(__LINE__);
  second = open("l", O_RDWR);
  SAY(flock(second, LOCK_EX | LOCK_NB));
  SAY(flock(second, LOCK_SH | LOCK_NB));
  SAY(flock(second, 77));
  const int copy = dup(fd);
  SAY(close(fd));
  SAY(close(second));
  ask_another(__LINE__); /* the copy has it still */
  SAY(close(copy));
  ask_another(__LINE__);
  fd = open("l", O_RDWR);
  SAY(lock(fd, F_OFD_SETLK, F_WRLCK, 60, 1));
  ask_another(__LINE__);
  SAY(lockf(fd, F_TLOCK, 10));
  ask_another(__LINE__);
  SAY(lockf(fd, F_ULOCK, 10));
  SAY(lockf(fd, F_TEST, 10));
  SAY(lock(fd, F_SETLK, F_WRLCK, -1, 1));
  SAY(lock(fd, F_SETLKW, F_WRLCK, 0, 1));
  const pid_t child = fork();
  if (child == 0) _exit(lock(open("l", O_RDWR), F_SETLKW, F_WRLCK, 0, 1) != 0); /* may have to wait */
  SAY(lock(fd, F_SETLK, F_UNLCK, 0, 0));
  int status = 1;
  waitpid(child, &status, 0);
  SAY(status);
  close(fd);
}
