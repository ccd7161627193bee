# Attached servers of ranks on several hosts form one instance: the examples for one node run unchanged under both
# MPIs; a rank or a host that dies costs the others errors for its blocks and nothing else; others use the instance
# while the ranks compute; nothing is left behind in the end.
export CLUSTER_BUILD=$1
CLUSTER_LIMIT=280
source "$(dirname "$(readlink -f "$0")")/checks.bash"
source_dir=$(dirname "$(readlink -f "$0")")
cluster_up --ssh node1 node2 client1 || exit 1
hosts=$CLUSTER_SHARED/hosts
printf 'node1\nnode2\n' >"$hosts"
head -c 5M /dev/urandom >"$CLUSTER_SHARED/input"

listening_on() { cluster_run "$1" ss -ltnH | grep -Eo ':(555|556)[0-9] ' | sort -u; }
left_on() { cluster_run "$1" ls /dev/shm && listening_on "$1"; }
nothing_left() {
  local host
  for host in node1 node2; do check "$1 leaves nothing on $host" -z "$(left_on "$host")"; done
}

# --- the examples, as they are for one node, by both MPIs

# example SENTENCE COUNT COMMAND...: it succeeds and says the sentence so often.
example() {
  local sentence=$1 count=$2
  shift 2
  cluster_run client1 timeout 60 "$@" </dev/null >"$scratch/out" 2>"$scratch/err" ||
    fail "exit code $?: $* ($(tail -n 3 "$scratch/err"))"
  check "'$sentence' is said by all: $*" "$(grep -c "$sentence" "$scratch/out")" -eq "$count"
  nothing_left "$*"
}
examples() {
  local mpi=$1 programs=$CLUSTER_BUILD/examples
  shift
  example 'steps, ok$' 4 "$@" "$programs/halo_exchange_$mpi"
  example 'checksums agree$' 1 "$@" "$programs/store_file_$mpi" "$CLUSTER_SHARED/input"
}
if [[ -x $CLUSTER_BUILD/examples/halo_exchange_mpich ]] && command -v mpirun.mpich >/dev/null; then
  launch=(mpirun.mpich -genv LD_PRELOAD "$CLUSTER_BUILD/lib/libcluster_mpich_finalize.so" --hostfile "$hosts" -np 4)
  examples mpich "${launch[@]}"
  examples mpich "${launch[@]}" -genv IMSS_METADATA_HOSTFILE "$hosts"
fi
if [[ -x $CLUSTER_BUILD/examples/halo_exchange_openmpi ]] && command -v mpirun.openmpi >/dev/null; then
  launch=(mpirun.openmpi --map-by node --hostfile "$hosts" -np 4)
  examples openmpi "${launch[@]}"
  examples openmpi "${launch[@]}" -x IMSS_METADATA_HOSTFILE="$hosts"
fi

# Before MPI_Init and after MPI_Finalize, when no rank waits for another.
cat >"$scratch/apart.c" <<'EOC'
#include <imss/imss.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static char block[1 << 20], back[1 << 20];
static int must(int64_t returned, const char* call) {
  if (returned < 0) printf("%s: %s\n", call, imss_last_error());
  return returned < 0;
}

int main(int argc, char** argv) {
  int rank = 0, ranks = 4, wrong = 0, init_first = argc > 1 && strcmp(argv[1], "init") == 0;
  if (init_first) MPI_Init(&argc, &argv);
  if (init_first) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (!init_first) sscanf(argv[1], "%d", &rank);
  wrong += must(hercules_init((uint32_t)rank, 64u << 20, 5555, rank == 0, 5569, 0, NULL), "hercules_init");
  if (!init_first) MPI_Init(&argc, &argv);
  wrong += must(stat_init(NULL, 5569, 1, (uint32_t)rank), "stat_init");
  wrong += must(init_imss("imss://apart", NULL, NULL, ranks, 5555, 0, ATTACHED, NULL, 5569), "init_imss");
  int32_t id = -1;
  if (rank == 0) wrong += must(id = create_dataset("imss://apart/d", "RR", 4, 1024, NONE, 4), "create_dataset");
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank != 0) wrong += must(id = open_dataset("imss://apart/d"), "open_dataset");
  memset(block, 65 + rank, sizeof block);
  wrong += must(set_data(id, 1 + rank, block, 0, 0), "set_data");
  MPI_Barrier(MPI_COMM_WORLD);
  for (int other = 0; other < ranks; ++other) {
    wrong += must(get_data(id, 1 + other, back), "get_data");
    wrong += back[0] != 65 + other || back[sizeof back - 1] != 65 + other;
  }
  MPI_Barrier(MPI_COMM_WORLD);
  if (init_first) MPI_Finalize();
  release_dataset(id); /* its home may have ended */
  wrong += must(release_imss("imss://apart", CLOSE_ATTACHED), "release_imss");
  wrong += must(stat_release(), "stat_release");
  wrong += must(hercules_release(), "hercules_release");
  if (!init_first) MPI_Finalize();
  printf("rank %d: %d wrong\n", rank, wrong);
  return wrong != 0;
}
EOC
for mpi in mpich openmpi; do
  command -v mpicc.$mpi >/dev/null && command -v mpirun.$mpi >/dev/null || continue
  mpicc.$mpi -I"$source_dir/../../include" "$scratch/apart.c" -o "$CLUSTER_SHARED/apart.$mpi" -L"$CLUSTER_BUILD/lib" \
    -limss_shared -Wl,-rpath,"$CLUSTER_BUILD/lib" || fail "apart.c does not compile for $mpi"
  case $mpi in
    mpich) launch=(mpirun.mpich -genv LD_PRELOAD "$CLUSTER_BUILD/lib/libcluster_mpich_finalize.so"
      -genv IMSS_METADATA_HOSTFILE "$hosts" --hostfile "$hosts" -np 4) variable=PMI_RANK ;;
    openmpi) launch=(mpirun.openmpi --map-by node -x IMSS_METADATA_HOSTFILE="$hosts" --hostfile "$hosts" -np 4)
      variable=OMPI_COMM_WORLD_RANK ;;
  esac
  example ': 0 wrong$' 4 "${launch[@]}" "$CLUSTER_SHARED/apart.$mpi" init
  example ': 0 wrong$' 4 "${launch[@]}" bash -c "exec $CLUSTER_SHARED/apart.$mpi \$$variable"
done

# --- ranks that are started by hand

declare -A rank log
ranks=3
# start RANK HOST [fork]: its process in rank[RANK], its output in the file log[RANK].
start() {
  cluster_start "$2" env IMSS_METADATA_HOSTFILE="$hosts" "$CLUSTER_BUILD/bin/attached_rank" "$1" $ranks "${@:3}"
  rank[$1]=$CLUSTER_PID
  log[$1]=$CLUSTER_LOG
}
said() { grep -q -- "$2" "${log[$1]}"; }
until_said() { cluster_await "${3:-20}" said "$1" "$2" || fail "rank $1 does not say '$2': $(tail -n 5 "${log[$1]}")"; }
start_all() { # [HOW OF RANK 1]
  start 0 node1
  start 1 node2 "$@"
  start 2 node2
  for number in 0 1 2; do until_said $number '^ready$'; done
}
# release RANK: it ends well.
release() {
  cluster_kill "${rank[$1]}" TERM
  cluster_wait "${rank[$1]}" 20 || fail "rank $1 ends with $?: $(tail -n 5 "${log[$1]}")"
  said "$1" '^released$' || fail "rank $1 is not released: $(tail -n 5 "${log[$1]}")"
}
# No call took longer than it takes to find out that a host is silent.
none_hung() { ! grep -E ' ([4-9]|[1-9][0-9])[0-9]{3} ms$' "${log[@]}" || fail "a call took too long"; }

# Used from a third host while they compute; then released in an order that takes the names away first.
start_all
check "ports count on from the well-known one" "$(listening_on node2 | tr -d ' \n')" = ":5556:5557"
cluster_run client1 "$CLUSTER_BUILD/bin/imss" ls --host node1 imss://ranks >"$scratch/out" 2>&1 || fail "ls: $(<"$scratch/out")"
grep -q 'd$' "$scratch/out" || fail "another host does not see the dataset: $(<"$scratch/out")"
cluster_run client1 "$CLUSTER_BUILD/bin/imss" get --host node1 imss://ranks/d - >"$scratch/d" 2>"$scratch/err" ||
  fail "get: $(<"$scratch/err")"
check "another host reads all blocks" "$(stat -c %s "$scratch/d")" -eq $((6 * 65536))
check "what another host reads is right" "$(od -An -tu1 -j $((5 * 65536)) -N 1 "$scratch/d" | tr -d ' ')" -eq 6
cluster_run client1 "$CLUSTER_BUILD/bin/imss" status --host node1 >"$scratch/out" 2>&1
grep -Eq 'attached +node2 +5557 +2 +serving' "$scratch/out" || fail "status: $(<"$scratch/out")"
for number in 0 1 2; do check "no call of rank $number fails" -z "$(grep 'block' "${log[$number]}")"; done
release 0
release 2
release 1
nothing_left "release"
none_hung

# A rank is killed: its blocks are EIO, those of the others are read, and its node cleans up after it.
start_all
cluster_kill "${rank[1]}"
for number in 0 2; do
  until_said $number '^block 2 of rank 1: Input/output error'
  until_said $number '^block 5 of rank 1: Input/output error'
  check "rank $number has all else" -z "$(grep -E 'of rank [02]' "${log[$number]}")"
done
only_others() { [[ $(cluster_run node2 ls /dev/shm | tr '\n' ' ') != *imss-data-5555-1* ]]; }
cluster_await 10 only_others || fail "the segment of a dead rank stays: $(cluster_run node2 ls /dev/shm)"
release 2
release 0
nothing_left "the death of a rank"
none_hung

# A rank with a child listens no more when it is killed, though the child lives on.
start_all fork
until_said 1 '^child read$'
cluster_kill "${rank[1]}"
until_said 0 '^block 2 of rank 1: Input/output error'
check "the child holds no port" "$(listening_on node2 | tr -d ' \n')" = ":5557"
for process in $(cluster_pids node2 attached_rank); do
  [[ $process == "${rank[2]}" ]] || cluster_kill "$process"
done
cluster_await 10 only_others || fail "the segment of a dead rank stays: $(cluster_run node2 ls /dev/shm)"
release 0
release 2
nothing_left "a rank with a child"
none_hung

# A stopped rank is an error within the deadline, and is used again when it goes on.
start_all
cluster_pause "${rank[1]}"
until_said 0 '^block 2 of rank 1: \(Input\|Connection timed\)' 15
cluster_resume "${rank[1]}"
until_said 0 '^block 2 of rank 1: read'
for number in 1 2 0; do release $number; done
nothing_left "a stopped rank"

# The rank with the names is killed: the others keep what they have, and can be released.
start_all
cluster_kill "${rank[0]}"
until_said 2 '^block 1 of rank 0: Input/output error'
release 1
release 2
check "the death of the rank with the names leaves nothing on node2" -z "$(left_on node2)"
none_hung

# The host of two ranks is gone from one moment to the next.
cluster_run node1 bash -c 'rm -f /dev/shm/imss-*'
start_all
cluster_crash node2
until_said 0 '^block 2 of rank 1: Input/output error'
until_said 0 '^block 3 of rank 2: Input/output error'
release 0
check "the end of a host leaves nothing on the other" -z "$(left_on node1)"
none_hung
cluster_up --ssh node2

# A port that is taken is named.
cluster_start node2 python3 -c 'import socket, time
s = socket.socket(); s.bind(("", 5557)); s.listen(); print("bound", flush=True); time.sleep(100)'
cluster_await 10 grep -q bound "$CLUSTER_LOG"
start 2 node2
cluster_wait "${rank[2]}" 40
check "a rank whose port is taken ends" $? -eq 1
said 2 "port 5557 is taken on this node" ||
  fail "the port is not named: $(tail -n 3 "${log[2]}")"
finish
