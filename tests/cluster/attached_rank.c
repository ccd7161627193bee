/*
 * A rank with an attached server for the tests over virtual hosts: `attached_rank RANK RANKS [idle|fork]`.
 *
 * Rank 0 serves the names and stores two blocks for each server; every rank reads all of them, says "ready", and goes
 * on reading: what a block is read with is said whenever it changes ("block 3 of rank 1: Input/output error, 0 ms").
 * SIGTERM makes it release everything, and "released" is its last word. An idle rank does nothing between the two. A
 * rank with "fork" first makes a child, which reads everything ("child read") and then waits for its own end.
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <imss/imss.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define URI "imss://ranks"
enum { BLOCK_KIB = 64, BLOCKS_MAX = 64 };
static unsigned char block[BLOCK_KIB * 1024];
static volatile sig_atomic_t ended = 0;

static void must(int holds, const char* what) {
  if (holds) return;
  printf("%s: errno %d, %s\n", what, errno, imss_last_error());
  fflush(stdout);
  exit(1);
}

static void end(int signal_number) {
  (void)signal_number;
  ended = 1;
}

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void say(const char* word) {
  puts(word);
  fflush(stdout);
}

static void pause_ms(long ms) {
  const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static int is_right(int32_t id, int32_t index) {
  return get_data(id, index, block) == 0 && block[0] == index && block[sizeof block - 1] == index;
}

static void watch(int32_t id, int32_t blocks) {
  int before[BLOCKS_MAX + 1] = {0};
  while (!ended) {
    for (int32_t index = 1; index <= blocks; ++index) {
      const double begin = milliseconds();
      const int now = get_data(id, index, block) == 0 ? 0 : errno;
      const double took = milliseconds() - begin;
      if (now != before[index] || took > 1000) {
        printf("block %d of rank %d: %s, %.0f ms\n", index, get_data_location(id, index, IMSS_LOCATION_GET),
               now == 0 ? "read" : strerror(now), took);
        fflush(stdout);
      }
      before[index] = now;
    }
    pause_ms(5);
  }
}

static void make_child(int32_t id, int32_t blocks) {
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child > 0) return;
  for (int32_t index = 1; index <= blocks; ++index) must(is_right(id, index), "reading in the child");
  say("child read");
  signal(SIGTERM, SIG_DFL);
  for (;;) pause();
}

int main(int argc, char** argv) {
  const int rank = atoi(argv[1]), ranks = atoi(argv[2]);
  const char* const how = argc > 3 ? argv[3] : "";
  const int32_t blocks = 2 * ranks;
  const struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  imss_set_deadline_ms(10000);
  must(hercules_init((uint32_t)rank, 64u << 20, 5555, rank == 0, 5569, 0, NULL) == 0, "hercules_init");
  must(stat_init(NULL, 5569, 1, (uint32_t)rank) == 0, "stat_init");
  must(init_imss(URI, NULL, NULL, ranks, 5555, 0, ATTACHED, NULL, 5569) == 0, "init_imss");
  int32_t id = -1;
  if (rank == 0) {
    must((id = create_dataset(URI "/d", "RR", blocks, BLOCK_KIB, NONE, ranks)) >= 0, "create_dataset");
    for (int32_t index = 1; index <= blocks; ++index) {
      memset(block, index, sizeof block);
      must(set_data(id, index, block, 0, 0) == 0, "set_data");
    }
  } else {
    while ((id = open_dataset(URI "/d")) < 0) {
      must(errno == ENOENT, "open_dataset");
      pause_ms(5);
    }
  }
  for (int32_t index = 1; index <= blocks; ++index) {
    while (!is_right(id, index)) pause_ms(5);
  }
  if (strcmp(how, "fork") == 0) make_child(id, blocks);
  say("ready");
  if (strcmp(how, "idle") == 0) {
    while (!ended) pause_ms(100);
  } else {
    watch(id, blocks);
  }
  release_dataset(id); /* its inode may be gone: any answer but no crash */
  const double begin = milliseconds();
  must(release_imss(URI, CLOSE_ATTACHED) == 0, "release_imss");
  must(stat_release() == 0, "stat_release");
  must(hercules_release() == 0, "hercules_release");
  printf("released after %.0f ms\n", milliseconds() - begin);
  say("released");
  return 0;
}
