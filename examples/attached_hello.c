// The smallest program: one process is the whole store. It starts an attached data server and an
// attached metadata server in itself, stores a greeting in a block and reads it back.
//
// Usage: attached_hello [METADATA_PORT [DATA_PORT]]
#include <imss/imss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URI "imss://hello"
#define BLOCK_KIB 64

// Ends the program with the library's sentence when a call failed.
static void must(int64_t returned, const char* call) {
  if (returned >= 0) return;
  fprintf(stderr, "%s: %s\n", call, imss_last_error());
  exit(EXIT_FAILURE);
}

int main(int argc, char** argv) {
  const uint16_t metadata_port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 5569);
  const uint16_t data_port = (uint16_t)(argc > 2 ? atoi(argv[2]) : 5555);
  const uint64_t storage_bytes = 64u << 20;
  printf("IMSS %s\n", imss_version());

  // This process becomes a host (rank 0 runs the metadata server too), connects to the metadata
  // service and forms an instance of one server: its own.
  must(hercules_init(0, storage_bytes, data_port, 1, metadata_port, 0, NULL), "hercules_init");
  must(stat_init(NULL, metadata_port, 1, 0), "stat_init");
  must(init_imss(URI, NULL, NULL, 1, data_port, 0, ATTACHED, NULL, metadata_port), "init_imss");

  // A dataset of four blocks. Blocks are numbered from 1 on.
  const int32_t id = create_dataset(URI "/greeting", "RR", 4, BLOCK_KIB, NONE, 1);
  must(id, "create_dataset");

  char* written = calloc(BLOCK_KIB, 1024);
  char* read = malloc(BLOCK_KIB * 1024);
  if (written == NULL || read == NULL) return EXIT_FAILURE;
  strcpy(written, "hello from the memory of this process");
  must(set_data(id, 1, written, 0, 0), "set_data");
  must(get_data(id, 1, read), "get_data");
  printf("block 1: %s\n", read);
  int mismatch = memcmp(written, read, BLOCK_KIB * 1024) != 0;

  // A block that was never written reads as zeros.
  must(get_data(id, 2, read), "get_data");
  for (int byte = 0; byte < BLOCK_KIB * 1024; ++byte) mismatch |= read[byte] != 0;

  free(written);
  free(read);
  must(release_dataset(id), "release_dataset");
  must(release_imss(URI, CLOSE_ATTACHED), "release_imss");
  must(stat_release(), "stat_release");
  must(hercules_release(), "hercules_release");
  puts(mismatch ? "MISMATCH" : "ok");
  return mismatch ? EXIT_FAILURE : EXIT_SUCCESS;
}
