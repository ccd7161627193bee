# MPI programs over virtual hosts: both implementations start their ranks by ssh and connect them by TCP.
export CLUSTER_BUILD=$1
source "$(dirname "$(readlink -f "$0")")/checks.bash"
cluster_up --ssh node1 node2 client1 || exit 1
printf 'node1\nnode2\n' >"$CLUSTER_SHARED/hostfile"

cat >"$scratch/where.c" <<'EOC'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Says where each rank is, and whether a megabyte from each rank reached all others. */
int main(int argc, char** argv) {
  enum { kInts = 1 << 18 };
  int rank, ranks, wrong = 0;
  char host[64];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  gethostname(host, sizeof host);
  int* values = malloc(sizeof(int) * kInts);
  for (int root = 0; root < ranks; ++root) {
    for (int i = 0; i < kInts; ++i) values[i] = rank == root ? root + i : -1;
    MPI_Bcast(values, kInts, MPI_INT, root, MPI_COMM_WORLD);
    for (int i = 0; i < kInts; ++i) wrong += values[i] != root + i;
  }
  printf("rank %d of %d on %s: %d wrong\n", rank, ranks, host, wrong);
  free(values);
  MPI_Finalize();
  return wrong != 0;
}
EOC

# spread FROM RANKS MPIRUN...: ranks are on both nodes in turn, and all agree.
spread() {
  local from=$1 ranks=$2 rank wanted=
  shift 2
  for ((rank = 0; rank < ranks; ++rank)); do
    wanted+="rank $rank of $ranks on node$((rank % 2 + 1)): 0 wrong"$'\n'
  done
  cluster_run "$from" timeout 60 "$@" </dev/null >"$scratch/out" 2>"$scratch/err" ||
    fail "exit code $? from $from: $* ($(tail -n 3 "$scratch/err"))"
  check "all ranks ran where they should: $*" "$(sort -V "$scratch/out")" = "${wanted%$'\n'}"
}

ran=0
for mpi in mpich openmpi; do
  command -v mpicc.$mpi >/dev/null && command -v mpirun.$mpi >/dev/null || continue
  mpicc.$mpi -O1 -o "$CLUSTER_SHARED/where.$mpi" "$scratch/where.c" || fail "cannot compile for $mpi"
  case $mpi in
    mpich) options=(-genv LD_PRELOAD "$CLUSTER_BUILD/lib/libcluster_mpich_finalize.so") ;;
    openmpi) options=(--map-by node) ;;
  esac
  launch=("mpirun.$mpi" "${options[@]}" --hostfile "$CLUSTER_SHARED/hostfile")
  spread client1 2 "${launch[@]}" -np 2 "$CLUSTER_SHARED/where.$mpi"
  spread node1 4 "${launch[@]}" -np 4 "$CLUSTER_SHARED/where.$mpi"
  ran=$((ran + 1))
done
if ((ran == 0 && failures == 0)); then
  echo "skipped, neither MPICH nor Open MPI is installed"
  exit 77
fi
finish
