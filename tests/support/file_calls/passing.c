/* Descriptors through sockets, and calls by syscall(2). */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_calls.h"

/* A descriptor with its position, from one process to another. */
static void send_number(int socket, int fd) {
  char space[CMSG_SPACE(sizeof(int))] = "";
  struct iovec byte = {"x", 1};
  struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
  struct cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(part), &fd, sizeof(fd));
  SAY(sendmsg(socket, &message, 0));
}

static int receive_number(int socket) {
  char space[CMSG_SPACE(sizeof(int))] = "";
  char got = 0;
  struct iovec byte = {&got, 1};
  struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
  int fd = -1;
  if (recvmsg(socket, &message, 0) == 1) memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
  return fd;
}

static void sockets(void) {
  int ends[2];
  char word[8] = "";
  int status = 0;
  SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  pid_t child = fork();
  if (child == 0) {
    const int fd = receive_number(ends[1]);
    if (fd < 0 || read(fd, word, 4) != 4 || memcmp(word, "4567", 4) != 0) _exit(1);
    _exit(write(fd, "child", 5) == 5 ? 0 : 2);
  }
  int fd = open("passed", O_CREAT | O_RDWR, 0644);
  SAY(write(fd, "0123456789", 10));
  SAY(lseek(fd, 4, SEEK_SET));
  send_number(ends[0], fd);
  waitpid(child, &status, 0);
  SAY(WEXITSTATUS(status));
  SAY(lseek(fd, 0, SEEK_CUR));
  SHOW("passed");
  close(fd);
}

static void raw(void) {
  char buffer[4096] = "";
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, "raw", O_CREAT | O_RDWR, 0644);
  SAY(fd < 0);
  SAY(syscall(SYS_write, fd, "written", 7));
  SAY(syscall(SYS_lseek, fd, 3, SEEK_SET));
  SAY(syscall(SYS_read, fd, buffer, 10));
  SAY(syscall(SYS_pread64, fd, buffer, 10, 1));
  SAY(syscall(SYS_ftruncate, fd, 4));
  struct statx status;
  SAY(syscall(SYS_statx, AT_FDCWD, "raw", 0, STATX_SIZE, &status));
  SAY(status.stx_size);
  SAY(syscall(SYS_close, fd));
  SAY(syscall(SYS_mkdirat, AT_FDCWD, "below", 0755));
  const int directory = open(".", O_RDONLY | O_DIRECTORY);
  int entries = 0;
  for (long got = 0; (got = syscall(SYS_getdents64, directory, buffer, sizeof(buffer))) > 0;) {
    for (long at = 0; at < got; at += ((struct dirent64*)(buffer + at))->d_reclen) ++entries;
  }
  SAY(entries);
  SAY(syscall(SYS_getdents64, directory, buffer, 1));
  SAY(lseek(directory, 0, SEEK_SET));
  SAY(syscall(SYS_getdents64, directory, buffer, 1));
  close(directory);
  SAY(syscall(SYS_renameat2, AT_FDCWD, "raw", AT_FDCWD, "renamed", 0));
  SAY(syscall(SYS_unlinkat, AT_FDCWD, "renamed", 0));
  SAY(syscall(SYS_getpid) == getpid());
}

void passing(void) {
  sockets();
  raw();
}
