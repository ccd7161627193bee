# The README's commands for several nodes do what they say, on the hosts that they name.
export CLUSTER_BUILD=$1
PATH=$1/bin:$PATH # of the hosts too
source "$(dirname "$(readlink -f "$0")")/checks.bash"
root=$(readlink -f "$(dirname "$(readlink -f "$0")")/../..")
cluster_up --ssh || exit 1

# A server that no longer listens has yet to end.
is_clean() { [[ -z $(cluster_pids "$1" server)$(cluster_run "$1" ls /dev/shm) ]]; }

# run_block NUMBER LEAST: the commands, at least so many, of that console block below the heading, in one shell on client1.
run_block() {
  awk -v number="$1" '
    /^## / { inside = $0 == "## Several nodes" }
    inside && /^```console/ { ++block }
    inside && block == number && sub(/^\$ /, "") { print }' "$root/README.md" >"$scratch/block"
  check "block $1 has commands" "$(wc -l <"$scratch/block")" -ge "$2"
  sed -i "s# build/release/# $CLUSTER_BUILD/#g" "$scratch/block"
  { echo "set -e; cd $root" && cat "$scratch/block"; } >"$CLUSTER_SHARED/block"
  cluster_run client1 timeout 90 bash -x "$CLUSTER_SHARED/block" </dev/null >"$scratch/out" 2>&1 ||
    fail "block $1 of the README fails: $(tail -n 15 "$scratch/out")"
  for host in node1 node2 node3 node4; do
    cluster_await 10 is_clean "$host" || fail "on $host is left: $(cluster_run "$host" ls /dev/shm)"
  done
}

run_block 1 5
grep -q 'imss://shared is ready: 2 metadata servers, 2 data servers' "$scratch/out" || fail "mount.imss says nothing: $(<"$scratch/out")"
command -v mpirun.openmpi >/dev/null && [[ $(readlink -f "$(command -v mpirun)") == *orterun ]] || finish
run_block 2 5
grep -q 'imss://job +node4 +5555 +1 +serving' -E "$scratch/out" || fail "imss status does not show all: $(<"$scratch/out")"
[[ -x $CLUSTER_BUILD/examples/halo_exchange_openmpi ]] || finish
run_block 3 1
check "all ranks agree" "$(grep -c 'steps, ok$' "$scratch/out")" -eq 4
finish
