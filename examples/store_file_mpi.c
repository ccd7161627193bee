// The main job on a real file: MPI ranks with attached servers store it block by block, and each
// rank reads the blocks that the rank before it wrote. Checksums prove the bytes; a table shows the
// bandwidth of set_data and get_data beside memcpy and tmpfs, all measured in the same run.
//
// Usage: mpirun -n RANKS store_file_mpi FILE [BLOCK_KIB [METADATA_PORT [DATA_PORT]]]
#include <fcntl.h>
#include <imss/imss.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define URI "imss://quickstart"

enum { PASSES = 3 };

typedef struct Job {
  int rank, ranks, blocks, mine;
  size_t block_bytes, file_bytes;
  char *content, *back;  // this rank's blocks as the file has them; room for those it reads
  uint64_t* sums;        // of every block, from the rank that wrote it
} Job;

static void must(int64_t returned, const char* call) {
  if (returned >= 0) return;
  fprintf(stderr, "%s: %s\n", call, imss_last_error());
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void fail(const char* what) {
  perror(what);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

// FNV-1a over 64-bit words: different for any single changed word.
static uint64_t checksum(const char* bytes, size_t size) {
  uint64_t sum = 14695981039346656037u;
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t word;
    memcpy(&word, bytes + i, 8);
    sum = (sum ^ word) * 1099511628211u;
  }
  return sum;
}

static void load_my_blocks(Job* job, const char* path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) fail(path);
  for (int i = 0; i < job->mine; ++i) {
    int block = i * job->ranks + job->rank;
    char* to = job->content + (size_t)i * job->block_bytes;
    ssize_t got = pread(fd, to, job->block_bytes, (off_t)block * (off_t)job->block_bytes);
    if (got <= 0) fail(path);
    memset(to + got, 0, job->block_bytes - (size_t)got);  // the last block ends in zeros
    job->sums[block] = checksum(to, job->block_bytes);
  }
  close(fd);
  MPI_Allreduce(MPI_IN_PLACE, job->sums, job->blocks, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
}

// Time from a common start until the slowest rank is done, in seconds.
static double finish(double start) {
  double own = MPI_Wtime() - start, slowest;
  MPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return slowest;
}

static double start_together(void) {
  MPI_Barrier(MPI_COMM_WORLD);
  return MPI_Wtime();
}

static void keep_best(double* best, double seconds) {
  if (*best == 0 || seconds < *best) *best = seconds;
}

static void use_store(Job* job, int32_t id, double* first_set, double* set, double* get) {
  for (int pass = 0; pass < PASSES; ++pass) {
    double start = start_together();
    for (int i = 0; i < job->mine; ++i)
      must(set_data(id, 1 + i * job->ranks + job->rank, job->content + (size_t)i * job->block_bytes,
                    0, 0),
           "set_data");
    double seconds = finish(start);
    if (pass == 0) *first_set = seconds;
    if (pass > 0) keep_best(set, seconds);
    int other = (job->rank + 1) % job->ranks;  // whose blocks this rank reads
    start = start_together();
    for (int i = 0; i * job->ranks + other < job->blocks; ++i)
      must(get_data(id, 1 + i * job->ranks + other, job->back + (size_t)i * job->block_bytes),
           "get_data");
    keep_best(get, finish(start));
    for (int i = 0; i * job->ranks + other < job->blocks; ++i) {
      if (checksum(job->back + (size_t)i * job->block_bytes, job->block_bytes) ==
          job->sums[i * job->ranks + other])
        continue;
      fprintf(stderr, "rank %d: block %d is not what rank %d wrote\n", job->rank,
              1 + i * job->ranks + other, other);
      MPI_Abort(MPI_COMM_WORLD, 1);
    }
  }
}

// The same bytes through a file of this rank in tmpfs, and through memcpy alone.
static void use_references(Job* job, double* first_write, double* write_time, double* read_time,
                           double* copy) {
  char path[64];
  snprintf(path, sizeof path, "/dev/shm/quickstart-%d", (int)getpid());
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0) fail(path);
  unlink(path);
  for (int pass = 0; pass < PASSES; ++pass) {
    double start = start_together();
    for (int i = 0; i < job->mine; ++i)
      if (pwrite(fd, job->content + (size_t)i * job->block_bytes, job->block_bytes,
                 (off_t)i * (off_t)job->block_bytes) < 0)
        fail(path);
    double seconds = finish(start);
    if (pass == 0) *first_write = seconds;
    if (pass > 0) keep_best(write_time, seconds);
    start = start_together();
    for (int i = 0; i < job->mine; ++i)
      if (pread(fd, job->back + (size_t)i * job->block_bytes, job->block_bytes,
                (off_t)i * (off_t)job->block_bytes) < 0)
        fail(path);
    keep_best(read_time, finish(start));
    start = start_together();
    memcpy(job->back, job->content, (size_t)job->mine * job->block_bytes);
    keep_best(copy, finish(start));
  }
  close(fd);
}

static void print_table(const Job* job, const double* s) {
  const double gigabytes = (double)job->blocks * (double)job->block_bytes / 1e9;
  const char* names[] = {"set_data",
                         "get_data",
                         "memcpy",
                         "tmpfs write",
                         "tmpfs read",
                         "set_data, first time",
                         "tmpfs write, first time"};
  printf("\n  %-26s %10s\n", "", "GB/s");
  for (int i = 0; i < 7; ++i) printf("  %-26s %10.2f\n", names[i], gigabytes / s[i]);
  printf("\n  set_data is %.1f x tmpfs, get_data %.1f x (%d ranks together, blocks of %zu KiB)\n",
         s[3] / s[0], s[4] / s[1], job->ranks, job->block_bytes / 1024);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  Job job = {0};
  MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &job.ranks);
  struct stat status;
  if (argc < 2 || stat(argv[1], &status) != 0) {
    if (job.rank == 0)
      fprintf(stderr, "usage: store_file_mpi FILE [BLOCK_KIB [METADATA_PORT [DATA_PORT]]]\n");
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  const int block_kib = argc > 2 ? atoi(argv[2]) : 1024;
  const uint16_t metadata_port = (uint16_t)(argc > 3 ? atoi(argv[3]) : 5569);
  const uint16_t data_port = (uint16_t)(argc > 4 ? atoi(argv[4]) : 5555);
  job.file_bytes = (size_t)status.st_size;
  job.block_bytes = (size_t)block_kib * 1024;
  job.blocks = (int)((job.file_bytes + job.block_bytes - 1) / job.block_bytes);
  job.mine = (job.blocks - job.rank + job.ranks - 1) / job.ranks;
  const size_t room = ((size_t)job.mine + 1) * job.block_bytes;
  job.content = malloc(room);
  job.back = malloc(room);
  job.sums = calloc((size_t)job.blocks, sizeof(uint64_t));
  if (job.content == NULL || job.back == NULL || job.sums == NULL) fail("memory");
  memset(job.back, 1, room);
  load_my_blocks(&job, argv[1]);

  // Room for this rank's share of the blocks, those that are being replaced, and the metadata.
  const uint64_t storage = (uint64_t)room + (uint64_t)room / 4 + ((uint64_t)256 << 20);
  must(hercules_init((uint32_t)job.rank, storage, data_port, job.rank == 0, metadata_port, 0, NULL),
       "hercules_init");
  must(stat_init(NULL, metadata_port, 1, (uint32_t)job.rank), "stat_init");
  must(init_imss(URI, NULL, NULL, job.ranks, data_port, 0, ATTACHED, NULL, metadata_port),
       "init_imss");
  int32_t id = -1;
  if (job.rank == 0)
    must(id = create_dataset(URI "/file", "RR", job.blocks, block_kib, NONE, job.ranks),
         "create_dataset");
  MPI_Barrier(MPI_COMM_WORLD);
  if (job.rank != 0) must(id = open_dataset(URI "/file"), "open_dataset");

  double seconds[7] = {0};
  use_store(&job, id, &seconds[5], &seconds[0], &seconds[1]);
  use_references(&job, &seconds[6], &seconds[3], &seconds[4], &seconds[2]);
  if (job.rank == 0) {
    printf(
        "  %d ranks with attached servers stored %zu bytes; each read what another wrote: "
        "checksums agree\n",
        job.ranks, job.file_bytes);
    print_table(&job, seconds);
  }
  must(release_dataset(id), "release_dataset");
  MPI_Barrier(MPI_COMM_WORLD);
  must(release_imss(URI, CLOSE_ATTACHED), "release_imss");
  must(stat_release(), "stat_release");
  must(hercules_release(), "hercules_release");
  free(job.sums);
  free(job.back);
  free(job.content);
  MPI_Finalize();
  return 0;
}
