# Whatever ends the script that made a cluster, nothing of it is left; and two clusters do not meet.
export CLUSTER_BUILD=$1
here=$(dirname "$(readlink -f "$0")")
source "$here/checks.bash"

idle_s=$((1000000 + $$)) # nobody else sleeps so long
# A script that makes two hosts and a process on one, says where, and waits to be ended.
cat >"$scratch/victim" <<END
source "$here/cluster.bash"
cluster_up node1 node2 || exit 1
cluster_start node1 sleep $idle_s
cluster_delay node2 5 || exit 1
[[ \${1:-} != foreground ]] || echo "\$CLUSTER_DIR \$\$" >"$scratch/where"
[[ \${1:-} != foreground ]] || cluster_run node2 sleep $idle_s
echo "\$CLUSTER_DIR \$\$" >"$scratch/where"
if [[ \${1:-} == fail ]]; then set -u; echo "\$no_such_variable"; fi
read -r -u 9
END
mkfifo "$scratch/never"
exec 9<>"$scratch/never"

# Everything that has the marks of that script's cluster: folder, processes, mounts and namespaces.
namespaces() { readlink /proc/[0-9]*/ns/{net,mnt,pid,uts,ipc} 2>/dev/null | sort -u; }
traces() {
  pgrep -f "$where|sleep $idle_s" || true
  grep -lsF "$where" /proc/[0-9]*/mounts 2>/dev/null || true
  ls -d "$where" 2>/dev/null || true
  namespaces | grep -Fxf "$scratch/namespaces" || true
}
no_traces() { [[ -z $(traces) ]]; }

for how in exit fail TERM KILL limit foreground; do
  rm -f "$scratch/where"
  limit=60
  [[ $how != limit ]] || limit=4
  { CLUSTER_LIMIT=$limit setsid bash "$scratch/victim" $how; } >"$scratch/log" 2>&1 &
  shell=$!
  cluster_await 20 test -s "$scratch/where" || fail "$how: no cluster: $(<"$scratch/log")"
  read -r where victim <"$scratch/where"
  : >"$scratch/namespaces"
  for file in "$where"/hosts/*/pid; do
    readlink "/proc/$(<"$file")"/ns/{net,mnt,pid,uts,ipc} 2>/dev/null >>"$scratch/namespaces"
  done
  [[ $how == fail ]] || ! no_traces || fail "$how: a standing cluster leaves no trace, so this test sees none"
  case $how in
    exit) echo >&9 ;;
    TERM | KILL) kill -s $how $victim ;;
    foreground) kill -KILL $victim ;;
  esac
  cluster_await 20 no_traces || fail "$how: left $(traces | tr '\n' ' ')"
  wait $shell
  [[ $how != limit ]] || grep -q "the limit of 4 seconds" "$scratch/log" ||
    fail "nothing says why it ended: $(<"$scratch/log")"
done

# Two at once: the same names and addresses, different hosts.
first=$scratch/first
cat >"$scratch/other" <<END
source "$here/cluster.bash"
cluster_up node1 client1 || exit 1
cluster_run node1 touch /dev/shm/other
echo ready >"$first"
read -r -u 9
cluster_run client1 ping -q -c 1 -W 5 node1 >/dev/null && cluster_run node1 test -e /dev/shm/other
END
bash "$scratch/other" &
other=$!
cluster_up node1 client1 || exit 1
cluster_await 20 test -s "$first" || fail "no second cluster"
check "a cluster sees its own node1" -z "$(cluster_run node1 find /dev/shm -mindepth 1)"
cluster_cut node1
! cluster_run client1 ping -q -c 1 -W 0.3 node1 >/dev/null || fail "client1 reaches another cluster's node1"
echo >&9
wait $other || fail "one cluster's cut is the other's"
finish
