// Ranks of an MPI job exchange halos through a dataset. A plate is cut into strips of rows, one
// strip per rank; in every step each point becomes the mean of itself and its neighbours above and
// below, so a rank needs the edge rows of the ranks next to it. Every rank runs an attached data
// server, rank 0 the metadata server too; together they form one instance.
//
// Usage: mpirun -n RANKS halo_exchange_mpi [METADATA_PORT [DATA_PORT]]
#include <imss/imss.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URI "imss://halo"
enum { ROWS = 8, COLUMNS = 8192, STEPS = 20, ROW_BYTES = COLUMNS * 8, ROW_KIB = ROW_BYTES / 1024 };

static void must(int64_t returned, const char* call) {
  if (returned >= 0) return;
  fprintf(stderr, "%s: %s\n", call, imss_last_error());
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static double start_value(int row, int column) { return (double)((row * 31 + column * 17) % 1009); }

static void fill(double* strip, int first_row, int rows) {
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < COLUMNS; ++column)
      strip[(row + 1) * COLUMNS + column] = start_value(first_row + row, column);
}

// One step over `rows` rows that lie between two halo rows.
static void step(const double* from, double* to, int rows) {
  for (int cell = COLUMNS; cell < (rows + 1) * COLUMNS; ++cell)
    to[cell] = (from[cell - COLUMNS] + from[cell] + from[cell + COLUMNS]) / 3.0;
}

// The blocks of a rank's edges. They alternate between two sets, so that a rank that is a step
// ahead does not replace an edge that its neighbour still has to read.
static int32_t edge_block(int rank, int is_lower, int step_number) {
  return 1 + rank * 4 + (step_number % 2) * 2 + is_lower;
}

static double* simulate(int32_t id, int rank, int ranks) {
  double* now = calloc((ROWS + 2) * COLUMNS, sizeof(double));
  double* next = calloc((ROWS + 2) * COLUMNS, sizeof(double));
  if (now == NULL || next == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
  fill(now, rank * ROWS, ROWS);
  for (int number = 0; number < STEPS; ++number) {
    must(set_data(id, edge_block(rank, 0, number), now + COLUMNS, 0, 0), "set_data");
    must(set_data(id, edge_block(rank, 1, number), now + ROWS * COLUMNS, 0, 0), "set_data");
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank > 0) must(get_data(id, edge_block(rank - 1, 1, number), now), "get_data");
    if (rank + 1 < ranks)
      must(get_data(id, edge_block(rank + 1, 0, number), now + (ROWS + 1) * COLUMNS), "get_data");
    step(now, next, ROWS);
    double* swap = now;
    now = next;
    next = swap;
  }
  free(next);
  return now;
}

// The same simulation of the whole plate in this process alone; true when this rank's strip agrees.
static int agrees(const double* strip, int rank, int ranks) {
  const int rows = ranks * ROWS;
  double* now = calloc((size_t)(rows + 2) * COLUMNS, sizeof(double));
  double* next = calloc((size_t)(rows + 2) * COLUMNS, sizeof(double));
  if (now == NULL || next == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
  fill(now, 0, rows);
  for (int number = 0; number < STEPS; ++number) {
    step(now, next, rows);
    double* swap = now;
    now = next;
    next = swap;
  }
  const int same =
      memcmp(strip + COLUMNS, now + (rank * ROWS + 1) * COLUMNS, (size_t)ROWS * ROW_BYTES) == 0;
  free(now);
  free(next);
  return same;
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank, ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const uint16_t metadata_port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 5569);
  const uint16_t data_port = (uint16_t)(argc > 2 ? atoi(argv[2]) : 5555);

  must(hercules_init((uint32_t)rank, 64u << 20, data_port, rank == 0, metadata_port, 0, NULL),
       "hercules_init");
  must(stat_init(NULL, metadata_port, 1, (uint32_t)rank), "stat_init");
  must(init_imss(URI, NULL, NULL, ranks, data_port, 0, ATTACHED, NULL, metadata_port), "init_imss");

  // LOCAL: an edge stays in the memory of the rank that computed it.
  int32_t id = 0;
  if (rank == 0)
    must(id = create_dataset(URI "/edges", "LOCAL", 4 * ranks, ROW_KIB, NONE, 0), "create");
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank != 0) must(id = open_dataset(URI "/edges"), "open_dataset");
  double* strip = simulate(id, rank, ranks);
  const int same = agrees(strip, rank, ranks);
  printf("rank %d of %d: %d steps, %s\n", rank, ranks, STEPS, same ? "ok" : "MISMATCH");
  free(strip);

  must(release_dataset(id), "release_dataset");
  MPI_Barrier(MPI_COMM_WORLD);  // nobody reads this rank's blocks any more
  must(release_imss(URI, CLOSE_ATTACHED), "release_imss");
  must(stat_release(), "stat_release");
  MPI_Barrier(MPI_COMM_WORLD);  // nobody needs the metadata server of rank 0 any more
  must(hercules_release(), "hercules_release");
  MPI_Finalize();
  return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
