/* MPI-IO of several ranks on one file: independent, collective and strided access, atomic mode and shared pointers. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kCount = 5000, kRounds = 50 };

static int rank, ranks;
static char path[4096];

static void check(int fine, const char* what) {
  if (fine) return;
  fprintf(stderr, "rank %d: %s is wrong\n", rank, what);
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static MPI_File open_file(const char* name, int mode) {
  MPI_File file;
  char whole[5000];
  snprintf(whole, sizeof whole, "%s.%s", path, name);
  check(MPI_File_open(MPI_COMM_WORLD, whole, mode, MPI_INFO_NULL, &file) == MPI_SUCCESS, "open");
  return file;
}

/* Each rank writes its part and reads that of the next one. */
static void independent(void) {
  static int values[kCount], other[kCount];
  MPI_File file = open_file("independent", MPI_MODE_CREATE | MPI_MODE_RDWR);
  for (int i = 0; i < kCount; ++i) values[i] = rank * kCount + i;
  MPI_File_write_at(file, (MPI_Offset)rank * (MPI_Offset)sizeof values, values, kCount, MPI_INT, MPI_STATUS_IGNORE);
  MPI_File_sync(file);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_File_sync(file);
  const int next = (rank + 1) % ranks;
  MPI_File_read_at(file, (MPI_Offset)next * (MPI_Offset)sizeof other, other, kCount, MPI_INT, MPI_STATUS_IGNORE);
  for (int i = 0; i < kCount; ++i) check(other[i] == next * kCount + i, "what the next rank wrote");
  MPI_Offset size;
  MPI_File_get_size(file, &size);
  check(size == (MPI_Offset)ranks * (MPI_Offset)sizeof values, "the size");
  MPI_File_close(&file);
}

/* Ranks take turns, element by element, through a view; once collectively and once by data sieving. */
static void strided(const char* name, int collective) {
  static int values[kCount], other[kCount];
  MPI_Datatype type;
  MPI_File file = open_file(name, MPI_MODE_CREATE | MPI_MODE_RDWR);
  MPI_Type_vector(kCount, 1, ranks, MPI_INT, &type);
  MPI_Type_commit(&type);
  MPI_File_set_view(file, (MPI_Offset)rank * (MPI_Offset)sizeof(int), MPI_INT, type, "native", MPI_INFO_NULL);
  for (int i = 0; i < kCount; ++i) values[i] = i * ranks + rank;
  if (collective) {
    MPI_File_write_all(file, values, kCount, MPI_INT, MPI_STATUS_IGNORE);
  } else {
    /* Data sieving reads and writes what lies between, so the ranks lock. */
    MPI_File_write(file, values, kCount, MPI_INT, MPI_STATUS_IGNORE);
  }
  MPI_File_sync(file);
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_File_sync(file);
  MPI_File_seek(file, 0, MPI_SEEK_SET);
  if (collective) {
    MPI_File_read_all(file, other, kCount, MPI_INT, MPI_STATUS_IGNORE);
  } else {
    MPI_File_read(file, other, kCount, MPI_INT, MPI_STATUS_IGNORE);
  }
  check(memcmp(values, other, sizeof values) == 0, "strided data");
  MPI_File_close(&file);
  MPI_Type_free(&type);
  file = open_file(name, MPI_MODE_RDONLY);
  for (int i = rank; i < kCount * ranks; i += 997) {
    int value;
    MPI_File_read_at(file, (MPI_Offset)i * (MPI_Offset)sizeof(int), &value, 1, MPI_INT, MPI_STATUS_IGNORE);
    check(value == i, "an element of all ranks");
  }
  MPI_File_close(&file);
}

#ifndef OPEN_MPI
/* In atomic mode a reader sees one whole write or another. */
static void atomic_mode(void) {
  static int values[kCount];
  MPI_File file = open_file("atomic", MPI_MODE_CREATE | MPI_MODE_RDWR);
  check(MPI_File_set_atomicity(file, 1) == MPI_SUCCESS, "atomic mode");
  if (rank == 0) MPI_File_write_at(file, 0, values, kCount, MPI_INT, MPI_STATUS_IGNORE);
  MPI_Barrier(MPI_COMM_WORLD);
  for (int round = 0; round < kRounds; ++round) {
    if (rank % 2 == 0) {
      for (int i = 0; i < kCount; ++i) values[i] = rank * kRounds + round;
      MPI_File_write_at(file, 0, values, kCount, MPI_INT, MPI_STATUS_IGNORE);
    } else {
      MPI_File_read_at(file, 0, values, kCount, MPI_INT, MPI_STATUS_IGNORE);
      for (int i = 1; i < kCount; ++i) check(values[i] == values[0], "an atomic read");
    }
  }
  MPI_File_close(&file);
}

#endif

/* Appends through the shared pointer: every line once, none torn. */
static void shared_pointer(void) {
  MPI_File file = open_file("pointer", MPI_MODE_CREATE | MPI_MODE_RDWR);
  for (int round = 0; round < kRounds; ++round) {
    int pair[2] = {rank, round};
    MPI_File_write_shared(file, pair, 2, MPI_INT, MPI_STATUS_IGNORE);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) {
    int* seen = calloc((size_t)(ranks * kRounds), sizeof(int));
    for (int i = 0; i < ranks * kRounds; ++i) {
      int pair[2];
      MPI_File_read_at(file, (MPI_Offset)i * (MPI_Offset)sizeof pair, pair, 2, MPI_INT, MPI_STATUS_IGNORE);
      check(pair[0] >= 0 && pair[0] < ranks && pair[1] >= 0 && pair[1] < kRounds, "a pair");
      check(seen[pair[0] * kRounds + pair[1]]++ == 0, "a pair that came twice");
    }
    free(seen);
  }
  MPI_File_close(&file);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  snprintf(path, sizeof path, "%s", argc > 1 ? argv[1] : "shared");
  independent();
  strided("collective", 1);
  strided("sieved", 0);
#ifndef OPEN_MPI /* whose OMPIO accepts atomic mode and tears reads all the same, also on tmpfs */
  atomic_mode();
#endif
  shared_pointer();
  if (rank == 0) puts("all is well");
  MPI_Finalize();
  return 0;
}
