# Ranks with attached servers: under both MPI implementations, and when one of them is killed.
port_base=21600
source_dir=$(readlink -f "$(dirname "$0")/../..")
. "$(dirname "$(readlink -f "$0")")/setup.bash"

# Segments hold 64 GiB of addresses each, but not of memory; the names must be gone in the end.
no_segments() {
  [ -z "$(ls -A "$IMSS_SHM_DIR")" ] || fail "$1 left $(ls "$IMSS_SHM_DIR")"
}

halo() {
  local ranks=$1
  shift
  expect 0 timeout 60 "$@"
  [ "$(grep -c 'steps, ok$' out)" -eq "$ranks" ] || fail "not every rank agrees: $(cat out)"
  no_segments "$*"
}
ran=0
for ranks in 2 4; do
  if [ -x "$build/examples/halo_exchange_mpich" ] && command -v mpirun.mpich > /dev/null; then
    halo $ranks mpirun.mpich -n $ranks "$build/examples/halo_exchange_mpich" $metadata_port $data_port
    ran=$((ran + 1))
  fi
  if [ -x "$build/examples/halo_exchange_openmpi" ] && command -v mpirun.openmpi > /dev/null; then
    halo $ranks mpirun.openmpi --allow-run-as-root --oversubscribe -n $ranks \
      "$build/examples/halo_exchange_openmpi" $metadata_port $data_port
    ran=$((ran + 1))
  fi
done
[ $ran -gt 0 ] || echo "no MPI is installed: the halo exchange was not run"

# One rank of two without MPI: `rank NUMBER METADATA_PORT DATA_PORT`. Each stores what it can, and
# rank 0 removes nothing: both wait for a line on standard input. Then, as the survivor of the other,
# it expects EIO for the other's blocks, and its own to be there.
cat > rank.c << 'EOF'
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <imss/imss.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCKS = 8, BLOCK_BYTES = 64 * 1024 };
static unsigned char block[BLOCK_BYTES];

static void must(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "%s: errno %d, %s\n", what, errno, imss_last_error());
  exit(1);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Until the blocks of the dead rank's server, and only those, fail with EIO. */
static void expect_losses(int32_t id, int dead) {
  const double begin = seconds();
  for (int32_t index = 1; index <= BLOCKS; ++index) {
    const int lost = get_data_location(id, index, IMSS_LOCATION_GET) == dead;
    while (lost && get_data(id, index, block) == 0)
      must(seconds() - begin < 10, "noticing that the other rank died");
    if (lost) must(errno == EIO, "reading what is gone");
    if (!lost) must(get_data(id, index, block) == 0 && block[0] == index, "reading what is there");
  }
}

int main(int argc, char** argv) {
  const int rank = argc > 1 ? atoi(argv[1]) : 0;
  const uint16_t metadata_port = (uint16_t)atoi(argv[2]), data_port = (uint16_t)atoi(argv[3]);
  must(hercules_init((uint32_t)rank, 48u << 20, data_port, rank == 0, metadata_port, 0, NULL) == 0, "hercules_init");
  must(stat_init(NULL, metadata_port, 1, (uint32_t)rank) == 0, "stat_init");
  must(init_imss("imss://pair", NULL, NULL, 2, data_port, 0, ATTACHED, NULL, metadata_port) == 0, "init_imss");
  int32_t id = -1;
  if (rank == 0) {
    must((id = create_dataset("imss://pair/d", "RR", BLOCKS, BLOCK_BYTES / 1024, NONE, 2)) >= 0, "create");
    for (int32_t index = 1; index <= BLOCKS; ++index) {
      memset(block, index, sizeof block);
      must(set_data(id, index, block, 0, 0) == 0, "set_data");
    }
  } else {
    while ((id = open_dataset("imss://pair/d")) < 0) must(errno == ENOENT, "open_dataset");
    while (get_data(id, BLOCKS, block) == 0 && block[0] != BLOCKS) {
    }
  }
  puts("ready");
  fflush(stdout);
  char line[16];
  must(fgets(line, sizeof line, stdin) != NULL, "reading a line"); /* the other rank is dead now */
  expect_losses(id, 1 - rank);
  if (rank == 1) { /* the names went with rank 0 */
    const double begin = seconds();
    char uri[64];
    int made = 0;
    do {
      snprintf(uri, sizeof uri, "imss://pair/new%d", made++);
    } while (create_dataset(uri, "RR", 1, 64, NONE, 2) >= 0 && seconds() - begin < 10);
    must(errno == EIO, "creating a name without a metadata server");
  }
  release_dataset(id); /* its inode may be gone, too: any answer but no crash */
  must(release_imss("imss://pair", CLOSE_ATTACHED) == 0, "release_imss");
  must(stat_release() == 0, "stat_release");
  must(hercules_release() == 0, "hercules_release");
  puts("survived");
  return 0;
}
EOF
expect 0 "${CC:-cc}" -std=c99 -Wall -Wextra -Werror -I"$source_dir/include" rank.c -o rank -L"$build/lib" \
  -limss_shared -Wl,-rpath,"$build/lib"

# start RANK: its process id in pid[RANK], its output in rankN.out, standard input behind descriptor in[RANK].
declare -A pid in
start() {
  mkfifo "in$1"
  ./rank "$1" $metadata_port $data_port < "in$1" > "rank$1.out" 2>&1 &
  pid[$1]=$!
  exec {in[$1]}> "in$1"
}
until_ready() { timeout 30 tail -n +1 -s 0.02 -f "rank$1.out" | grep -q -m 1 '^ready$' || fail "rank $1: $(cat "rank$1.out")"; }
pair() {
  rm -f in0 in1
  start 0
  start 1
  until_ready 0
  until_ready 1
}
# The dead rank's segments go while the survivor still runs, by its upkeep.
one_dies() {
  local dead=$1 alive=$((1 - $1))
  pair
  # Ranks of one node do without the network.
  [ "$(cat "/proc/${pid[0]}/maps" "/proc/${pid[1]}/maps" | grep -Ec 'libimss_net|libucp|libzmq')" -eq 0 ] ||
    fail "ranks of one node load the network module"
  kill -9 "${pid[$dead]}"
  wait "${pid[$dead]}" 2> /dev/null
  echo go >&"${in[$alive]}"
  wait "${pid[$alive]}" || fail "the survivor of rank $dead: $(cat rank$alive.out)"
  grep -q '^survived$' rank$alive.out || fail "the survivor of rank $dead: $(cat rank$alive.out)"
  no_segments "the death of rank $dead"
  exec {in[0]}>&- {in[1]}>&-
}
one_dies 1
one_dies 0

# Both die: the next start removes what is left.
pair
kill -9 "${pid[0]}" "${pid[1]}"
wait "${pid[0]}" "${pid[1]}" 2> /dev/null
exec {in[0]}>&- {in[1]}>&-
[ "$(ls "$IMSS_SHM_DIR" | wc -l)" -eq 3 ] || fail "two killed ranks leave $(ls "$IMSS_SHM_DIR")"
expect 0 timeout 30 "$build/examples/attached_hello" $((metadata_port + 1)) $((data_port + 1))
no_segments "a start after two deaths"
finish
