/* What an attached rank costs that computes nothing: forms an instance of its own servers, sleeps,
 * and prints the processor time that its process took meanwhile and its memory without the
 * segments. With IMSS_ADDRESS=localhost its servers listen for other nodes. Usage: idle_rank
 * [SECONDS] */
#include <errno.h>
#include <imss/imss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { kDataPort = 25555, kMetadataPort = 25569 };

static void must(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "%s: errno %d, %s\n", what, errno, imss_last_error());
  exit(1);
}

static double used_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static long own_memory_kib(void) {
  char line[128];
  long kib = -1;
  FILE* const file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "RssAnon:", 8) == 0) kib = strtol(line + 8, NULL, 10);
  }
  if (file != NULL) fclose(file);
  return kib;
}

int main(int argc, char** argv) {
  const unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 30;
  must(hercules_init(0, UINT64_C(256) << 20, kDataPort, 1, kMetadataPort, 64 << 10, NULL) == 0,
       "hercules_init");
  must(stat_init(NULL, kMetadataPort, 1, 0) == 0, "stat_init");
  must(init_imss("imss://idle", NULL, NULL, 1, kDataPort, 0, ATTACHED, NULL, kMetadataPort) == 0,
       "init_imss");
  sleep(1); /* for what a start leaves to be done */
  const double before = used_seconds();
  sleep(seconds);
  printf("attached rank, %s: %.2f %% of a core, %ld KiB\n",
         getenv("IMSS_ADDRESS") != NULL ? "listening" : "alone",
         100 * (used_seconds() - before) / seconds, own_memory_kib());
  must(release_imss("imss://idle", CLOSE_ATTACHED) == 0, "release_imss");
  must(stat_release() == 0, "stat_release");
  must(hercules_release() == 0, "hercules_release");
  return 0;
}
