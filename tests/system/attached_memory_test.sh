# What an attached process keeps in shared memory never exceeds what it was given, measured from
# outside while the process fills its store until nothing fits any more.
port_base=21800
source_dir=$(readlink -f "$(dirname "$0")/../..")
. "$(dirname "$(readlink -f "$0")")/setup.bash"

# fill STORAGE_MIB METADATA_KIB METADATA_PORT DATA_PORT: datasets of several block sizes, parts of
# blocks and names, until ENOSPC; then "full", a line from standard input, and release.
cat > fill.c << 'EOF'
#include <errno.h>
#include <imss/imss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char content[4 << 20];

static void must(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "%s: errno %d, %s\n", what, errno, imss_last_error());
  exit(1);
}

/* Blocks of one size, whole or in part, until one does not fit. */
static void fill(const char* uri, int kib, size_t part) {
  const int32_t id = create_dataset(uri, "RR", 1 << 20, kib, NONE, 1);
  if (id < 0) must(errno == ENOSPC, uri);
  if (id < 0) return;
  for (int32_t block = 1; block <= 1 << 20; ++block) {
    if (set_data(id, block, content, part, 0) == 0) continue;
    must(errno == ENOSPC, uri);
    break;
  }
  must(release_dataset(id) == 0, "release_dataset");
}

int main(int argc, char** argv) {
  must(argc == 5, "arguments");
  const uint64_t bytes = strtoull(argv[1], NULL, 10) << 20;
  const uint64_t metadata_kib = strtoull(argv[2], NULL, 10);
  const uint16_t metadata_port = (uint16_t)atoi(argv[3]), data_port = (uint16_t)atoi(argv[4]);
  memset(content, 7, sizeof content);
  must(hercules_init(0, bytes, data_port, 1, metadata_port, metadata_kib, NULL) == 0, "hercules_init");
  must(stat_init(NULL, metadata_port, 1, 0) == 0, "stat_init");
  must(init_imss("imss://full", NULL, NULL, 1, data_port, 0, ATTACHED, NULL, metadata_port) == 0, "init_imss");
  fill("imss://full/large", 4096, 0);
  fill("imss://full/medium", 256, 0);
  fill("imss://full/parts", 1024, 5000);
  fill("imss://full/small", 4, 0);
  fill("imss://full/tiny", 1, 0);
  for (int number = 0, fits = 1; fits; ++number) {
    char uri[300];
    snprintf(uri, sizeof uri, "imss://full/names/%0200d", number);
    fits = imss_mkdir(uri, 0) == 0;
    if (!fits) must(errno == ENOSPC, "imss_mkdir");
  }
  puts("full");
  fflush(stdout);
  char line[16];
  must(fgets(line, sizeof line, stdin) != NULL, "reading a line");
  must(release_imss("imss://full", CLOSE_ATTACHED) == 0, "release_imss");
  must(stat_release() == 0, "stat_release");
  must(hercules_release() == 0, "hercules_release");
  puts("released");
  fflush(stdout);
  must(fgets(line, sizeof line, stdin) != NULL, "reading a second line");
  return 0;
}
EOF
expect 0 "${CC:-cc}" -std=c99 -Wall -Wextra -Werror -I"$source_dir/include" fill.c -o fill -L"$build/lib" \
  -limss_shared -Wl,-rpath,"$build/lib"

# KiB that the segments occupy.
occupied() { du -ks "$IMSS_SHM_DIR" | cut -f1; }
# The same, by what the process has open or mapped and no name stands for any more.
deleted_maps() { grep -c "$IMSS_SHM_DIR.*(deleted)" "/proc/$1/maps"; }
until_line() { timeout 100 tail -n +1 -s 0.02 -f fill.out | grep -q -m 1 "^$1\$" || fail "no '$1': $(cat fill.out)"; }

measure() {
  local mib=$1 metadata_kib=$2 filler most
  rm -f in
  mkfifo in
  : > fill.out
  ./fill "$mib" "$metadata_kib" $metadata_port $data_port < in > fill.out 2>&1 &
  filler=$!
  exec {line}> in
  until_line full
  most=$(occupied)
  # The folder itself counts a page.
  [ "$most" -le $((mib * 1024 + 4)) ] || fail "$mib MiB were given, $most KiB are occupied"
  [ "$most" -ge $((mib * 1024 * 3 / 4)) ] || fail "of $mib MiB only $most KiB can be used"
  echo "$mib MiB given: $most KiB occupied when full"
  echo go >&"$line"
  until_line released
  [ -z "$(ls -A "$IMSS_SHM_DIR")" ] || fail "left: $(ls "$IMSS_SHM_DIR")"
  [ "$(deleted_maps $filler)" -eq 0 ] || fail "released segments are still mapped"
  echo go >&"$line"
  wait $filler || fail "the program failed: $(cat fill.out)"
  exec {line}>&-
}
measure 32 0
measure 64 0
measure 64 20480
measure 200 0
finish
