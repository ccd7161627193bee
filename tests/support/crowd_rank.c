/*
 * One of many ranks with an attached server: `crowd_rank FOLDER RANKS METADATA_PORT DATA_PORT [RANK]`.
 *
 * Every rank sets blocks of its own and reads those of all, from the moment all are there until it leaves. A file
 * FOLDER/leave.RANK, which is made before the rank is told or killed, says that it leaves: it releases everything and
 * makes FOLDER/left.RANK. What others then hold against their calls: none takes more than kBoundSeconds, a block that
 * is read is whole, and nothing fails but what needs a server whose rank leaves, and that with EIO.
 *
 * Without RANK the launcher says which one it is.
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <imss/imss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS_OF_RANK = 4, BLOCK_BYTES = 64 * 1024, RANKS_MAX = 64 };
static const double kBoundSeconds = 10;
static unsigned char block[BLOCK_BYTES];
static const char* folder;
static int rank = -1, ranks;
static unsigned long rounds, losses;

static void must(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "rank %d, round %lu: %s: %s, %s\n", rank, rounds, what, strerror(errno), imss_last_error());
  exit(1);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int exists(const char* name, int number) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s.%d", folder, name, number);
  return access(path, F_OK) == 0;
}

static void say(const char* name) {
  char path[512], ready[520];
  snprintf(path, sizeof path, "%s/%s.%d", folder, name, rank);
  snprintf(ready, sizeof ready, "%s.new", path);
  FILE* file = fopen(ready, "w");
  must(file != NULL && fprintf(file, "%d %lu %lu\n", (int)getpid(), rounds, losses) > 0 && fclose(file) == 0, path);
  must(rename(ready, path) == 0, path);
}

static int anybody_leaves(void) {
  for (int other = 0; other < ranks; ++other)
    if (exists("leave", other)) return 1;
  return 0;
}

/* What a call said is right: it worked, or with EIO while a rank that it may need leaves (-1: any of them). */
static void expect(int returned, double begin, int needed, const char* what) {
  const int error = errno;
  must(seconds() - begin < kBoundSeconds, "a call took too long");
  errno = error;
  if (returned >= 0) return;
  must(error == EIO, what);
  must(needed < 0 ? anybody_leaves() : exists("leave", needed), what);
  ++losses;
}

static void work(int32_t id) {
  const int32_t mine = 1 + rank + ranks * (int32_t)(rounds % BLOCKS_OF_RANK);
  memset(block, (int)(rounds & 0xff), sizeof block);
  double begin = seconds();
  expect(set_data(id, mine, block, 0, 0), begin, get_data_location(id, mine, IMSS_LOCATION_SET), "set_data");

  const int32_t index = 1 + rand() % (ranks * BLOCKS_OF_RANK);
  begin = seconds();
  const int got = get_data(id, index, block);
  expect(got, begin, get_data_location(id, index, IMSS_LOCATION_GET), "get_data");
  must(got < 0 || (block[0] == block[BLOCK_BYTES / 2] && block[0] == block[BLOCK_BYTES - 1]), "a torn block");

  if (rounds % 16 != 0) return;
  char uri[64];
  snprintf(uri, sizeof uri, "imss://crowd/of-%d", rank);
  begin = seconds();
  const int32_t own = create_dataset(uri, "HASH", 1, BLOCK_BYTES / 1024, IMSS_COPIES_NONE, 1);
  expect(own, begin, -1, "create_dataset");
  if (own < 0) return;
  begin = seconds();
  expect(release_dataset(own), begin, -1, "release_dataset");
  begin = seconds();
  expect(delete_dataset(uri), begin, -1, "delete_dataset");
}

static int number_from_launcher(void) {
  const char* const names[] = {"PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK"};
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
    if (getenv(names[i]) != NULL) return atoi(getenv(names[i]));
  return -1;
}

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  folder = argv[1];
  ranks = atoi(argv[2]);
  const uint16_t metadata_port = (uint16_t)atoi(argv[3]), data_port = (uint16_t)atoi(argv[4]);
  rank = argc > 5 ? atoi(argv[5]) : number_from_launcher();
  must(rank >= 0 && rank < ranks && ranks <= RANKS_MAX, "the number of the rank");
  srand((unsigned)rank);
  must(hercules_init((uint32_t)rank, 48u << 20, data_port, rank == 0, metadata_port, 0, NULL) == 0, "hercules_init");
  must(stat_init(NULL, metadata_port, 1, (uint32_t)rank) == 0, "stat_init");
  must(init_imss("imss://crowd", NULL, NULL, ranks, data_port, 0, ATTACHED, NULL, metadata_port) == 0, "init_imss");
  int32_t id = -1;
  if (rank == 0) {
    id = create_dataset("imss://crowd/d", "RR", ranks * BLOCKS_OF_RANK, BLOCK_BYTES / 1024, NONE, ranks);
    must(id >= 0, "create_dataset");
  } else {
    while ((id = open_dataset("imss://crowd/d")) < 0) must(errno == ENOENT, "open_dataset");
  }
  say("ready");
  for (; !exists("leave", rank); ++rounds) work(id);

  double begin = seconds();
  expect(release_dataset(id), begin, -1, "release_dataset");
  begin = seconds();
  expect(release_imss("imss://crowd", CLOSE_ATTACHED), begin, -1, "release_imss");
  begin = seconds();
  must(stat_release() == 0, "stat_release");
  must(hercules_release() == 0, "hercules_release");
  must(seconds() - begin < kBoundSeconds, "the release took too long");
  say("left");
  return 0;
}
