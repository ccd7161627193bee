// The whole life of an instance and of a dataset, in the order users know, attached or detached.
//
// Usage: life_cycle attached|detached [METADATA_PORT [DATA_PORT [SERVER_PROGRAM]]]
// Detached, a metadata server must be there: `server ./metadata METADATA_PORT 0 &`. The program
// then starts a data server as a daemon and stops it at the end.
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <imss/imss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define URI "imss://life"
enum { BLOCKS = 16, BLOCK_KIB = 256, BLOCK_BYTES = BLOCK_KIB * 1024, STORAGE_MIB = 64 };

static void must(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "%s failed: %s\n", what, imss_last_error());
  exit(EXIT_FAILURE);
}

static void use_blocks(int32_t id) {
  static unsigned char mine[BLOCK_BYTES], theirs[BLOCK_BYTES];
  for (int32_t block = 1; block <= BLOCKS; ++block) {
    memset(mine, block, sizeof mine);
    must(set_data(id, block, mine, 0, 0) == 0, "set_data of a whole block");
  }
  must(set_data(id, 3, "part", 4, 100) == 0, "set_data of a part");
  must(set_ndata(id, 4, "short", 5) == 0, "set_ndata");

  must(get_data(id, BLOCKS, theirs) == 0, "get_data");
  must(memcmp(mine, theirs, sizeof mine) == 0, "comparing a whole block");
  must(get_ndata(id, 3, theirs, 6, 99) == 0, "get_ndata");
  must(memcmp(theirs, "\3part\3", 6) == 0, "comparing a part");
  must(get_data(id, 4, theirs) == 0, "get_data");
  must(memcmp(theirs, "short\0", 6) == 0, "comparing a short block");
  must(get_data(id, BLOCKS + 1, theirs) == -1 && errno == EINVAL, "refusing a block out of range");
  must(get_data_location(id, 1, IMSS_LOCATION_GET) == 0, "get_data_location");
  imss_inner_metadata inner;
  must(get_data(id, 0, &inner) == 0 && inner.block_count == BLOCKS, "reading block 0");
  puts("blocks: set, set in part, read, compared");
}

static void use_names(void) {
  dataset_info info;
  must(stat_dataset(URI "/run/1/field", &info) > 0, "stat_dataset");
  printf("%s: policy %s, %d blocks of %d KiB\n", info.uri_, info.policy, info.num_data_elem,
         info.data_elem_size);
  must(free_dataset(&info) == 0, "free_dataset");

  int32_t host_count = 0;
  char** hosts = get_dataloc(URI "/run/1/field", 1, &host_count);
  must(hosts != NULL && host_count == 1, "get_dataloc");
  printf("block 1 is on %s\n", hosts[0]);
  free(hosts[0]);
  free(hosts);

  char *buffer, **items;
  const uint32_t count = get_dir(URI "/run/1", &buffer, &items);
  must(count == 2 && strcmp(items[1], URI "/run/1/field") == 0, "get_dir");
  free(items);
  free(buffer);

  must(rename_dataset(URI "/run/1/field", URI "/run/result") == 0, "rename_dataset");
  must(get_type(URI "/run/1/field") == IMSS_TYPE_NONE, "get_type of the old name");
  must(get_type(URI "/run/result") == IMSS_TYPE_DATASET, "get_type of the new name");
  must(get_type(URI) == IMSS_TYPE_INSTANCE, "get_type of the instance");
  puts("names: told, listed, renamed");
}

int main(int argc, char** argv) {
  const int attached = argc < 2 || strcmp(argv[1], "detached") != 0;
  const uint16_t metadata_port = (uint16_t)(argc > 2 ? atoi(argv[2]) : 5569);
  const uint16_t data_port = (uint16_t)(argc > 3 ? atoi(argv[3]) : 5555);
  const char* program = argc > 4 ? argv[4] : NULL;

  char directory[] = "/tmp/imss_life_XXXXXX";
  must(mkdtemp(directory) != NULL, "mkdtemp");
  char hostfile[64];
  snprintf(hostfile, sizeof hostfile, "%s/hostfile", directory);
  FILE* file = fopen(hostfile, "w");
  must(file != NULL && fputs("localhost\n", file) >= 0 && fclose(file) == 0, "hostfile");

  if (attached) {
    must(hercules_init(0, STORAGE_MIB << 20, data_port, 1, metadata_port, 0, NULL) == 0,
         "hercules_init");
  }
  must(stat_init(hostfile, metadata_port, 1, 0) == 0, "stat_init");
  must(init_imss(URI, hostfile, hostfile, 1, data_port, attached ? 0 : STORAGE_MIB * 1024,
                 attached ? ATTACHED : DETACHED, program, metadata_port) == 0,
       "init_imss");
  must(open_imss(URI) == -2, "noticing that the instance is open");
  printf("instance %s is deployed, %s\n", URI, attached ? "attached" : "detached");

  int32_t id = create_dataset(URI "/run/1/field", "BUCKETS", BLOCKS, BLOCK_KIB, NONE, 1);
  must(id >= 0, "create_dataset");
  use_blocks(id);
  must(release_dataset(id) == 0, "release_dataset");
  must(release_dataset(id) == -1 && errno == EBADF, "refusing a second release");
  use_names();

  // A deleted dataset lives on without a name until it is released.
  id = open_dataset(URI "/run/result");
  must(id >= 0, "open_dataset");
  must(delete_dataset(URI "/run/result") == 0, "delete_dataset");
  unsigned char byte = 0;
  must(get_ndata(id, 2, &byte, 1, 0) == 0 && byte == 2, "reading a deleted dataset");
  must(release_dataset(id) == 0, "release_dataset");

  must(release_imss(URI, attached ? CLOSE_ATTACHED : CLOSE_DETACHED) == 0, "release_imss");
  must(stat_release() == 0, "stat_release");
  if (attached) must(hercules_release() == 0, "hercules_release");
  unlink(hostfile);
  rmdir(directory);
  puts("ok");
  return EXIT_SUCCESS;
}
