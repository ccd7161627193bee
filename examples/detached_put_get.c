// A client of an instance whose servers are daemons: stores a file (or, without one, 5 MiB of
// made-up bytes) as a dataset, closes it, opens it again as any other process could, reads it back
// and compares.
//
// The instance must be deployed, for example:
//   server ./metadata 5569 0 &
//   server imss://demo 5555 0 localhost 5569 1 ./hostfile 1 &
// Usage: detached_put_get [INSTANCE_URI [METADATA_PORT [FILE]]]
#include <imss/imss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_KIB = 1024, BLOCK_BYTES = BLOCK_KIB * 1024 };

static void must(int64_t returned, const char* call) {
  if (returned >= 0) return;
  fprintf(stderr, "%s: %s\n", call, imss_last_error());
  exit(EXIT_FAILURE);
}

// The bytes to store: those of the file, or made-up ones. The caller frees them.
static unsigned char* load(const char* path, size_t* size) {
  unsigned char* bytes;
  if (path == NULL) {
    *size = 5u << 20;
    bytes = malloc(*size);
    if (bytes == NULL) return NULL;
    for (size_t i = 0; i < *size; ++i) bytes[i] = (unsigned char)(i * 2654435761u >> 24);
    return bytes;
  }
  FILE* file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) return NULL;
  const long end = ftell(file);
  rewind(file);
  *size = end > 0 ? (size_t)end : 0;
  bytes = malloc(*size + 1);
  if (bytes != NULL && fread(bytes, 1, *size, file) != *size) *size = 0;
  fclose(file);
  return bytes;
}

static void put(const char* uri, const unsigned char* bytes, size_t size) {
  const int32_t blocks = (int32_t)((size + BLOCK_BYTES - 1) / BLOCK_BYTES);
  // The dataset's size is the file's; create_dataset would make it that of all blocks.
  imss_dataset_options options = {0};
  options.struct_size = sizeof options;
  options.block_count = (uint64_t)blocks;
  options.block_size_bytes = BLOCK_BYTES;
  options.size_bytes = size;
  const int32_t id = create_dataset_opt(uri, &options);
  must(id, "create_dataset_opt");
  for (int32_t block = 1; block <= blocks; ++block) {
    const size_t begin = (size_t)(block - 1) * BLOCK_BYTES;
    const size_t length = size - begin < BLOCK_BYTES ? size - begin : BLOCK_BYTES;
    // The last block may be shorter than the others; the rest of it becomes zeros.
    must(set_ndata(id, block, bytes + begin, (uint32_t)length), "set_ndata");
  }
  must(release_dataset(id), "release_dataset");
  printf("put %zu bytes in %d blocks\n", size, blocks);
}

// Reads the dataset; true when it has exactly these bytes.
static int same_bytes(const char* uri, const unsigned char* bytes, size_t size) {
  dataset_info info;
  must(stat_dataset(uri, &info) > 0 ? 0 : -1, "stat_dataset");
  int same = (size_t)info.size == size;
  const int32_t blocks = info.num_data_elem;
  must(free_dataset(&info), "free_dataset");

  const int32_t id = open_dataset(uri);
  must(id, "open_dataset");
  unsigned char* buffer = malloc(BLOCK_BYTES);
  if (buffer == NULL) exit(EXIT_FAILURE);
  for (int32_t block = 1; same && block <= blocks; ++block) {
    const size_t begin = (size_t)(block - 1) * BLOCK_BYTES;
    const size_t length = size - begin < BLOCK_BYTES ? size - begin : BLOCK_BYTES;
    must(get_data(id, block, buffer), "get_data");
    same = memcmp(buffer, bytes + begin, length) == 0;
  }
  free(buffer);
  must(release_dataset(id), "release_dataset");
  return same;
}

int main(int argc, char** argv) {
  const char* instance = argc > 1 ? argv[1] : "imss://demo";
  const uint64_t metadata_port = argc > 2 ? strtoull(argv[2], NULL, 10) : 5569;
  size_t size = 0;
  unsigned char* bytes = load(argc > 3 ? argv[3] : NULL, &size);
  if (bytes == NULL || size == 0) {
    fprintf(stderr, "no bytes to store\n");
    return EXIT_FAILURE;
  }
  char uri[IMSS_URI_BYTES_MAX + 1];
  snprintf(uri, sizeof uri, "%s/examples/put_get", instance);

  must(stat_init(NULL, metadata_port, 1, 0), "stat_init");
  must(open_imss(instance), "open_imss");
  put(uri, bytes, size);
  const int same = same_bytes(uri, bytes, size);
  must(delete_dataset(uri), "delete_dataset");
  must(release_imss(instance, DISCONNECT), "release_imss");
  must(stat_release(), "stat_release");
  free(bytes);
  puts(same ? "ok" : "MISMATCH");
  return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
