#!/usr/bin/env bash
# Servers on four hosts and clients on two others: what one client stores the other reads, and a killed server comes
# back with everything.
source "$(dirname "$0")/cluster.bash"

bin=$CLUSTER_BUILD/bin

fail() {
  echo "FAILED: $*" >&2
  cluster_logs >&2
  exit 1
}

client() {  # HOST SUBCOMMAND...: an imss command that asks the metadata server on node1
  local host=$1 command=$2
  shift 2
  cluster_run "$host" "$bin/imss" "$command" --host node1 "$@"
}

start_data_server() {  # NUMBER OF THE NODE, RANK
  cluster_start "node$1" "$bin/server" data --instance imss://x --port 5555 --capacity 512MiB --metadata-host node1 \
    --servers 2 --rank "$2" --host "node$1" --address "node$1"
}

instance_stands() { client client1 ls imss://x >/dev/null 2>&1; }

cluster_up node1 node3 node4 client1 client2
cluster_start node1 "$bin/server" metadata --file ./metadata --port 5569 --capacity 256MiB --address node1
start_data_server 3 0
start_data_server 4 1
node4_server=$CLUSTER_PID
cluster_await 20 instance_stands || fail "the instance does not stand"

head -c 20M /dev/urandom >"$CLUSTER_SHARED/input"
client client1 put "$CLUSTER_SHARED/input" imss://x/dir/file || fail "put"
client client2 get imss://x/dir/file - | cmp - "$CLUSTER_SHARED/input" || fail "another client reads something else"
[[ $(client client2 ls imss://x/dir) == *file* ]] || fail "the name is not listed"
for host in node3 node4; do
  used=$(cluster_run "$host" sh -c 'du -sk /dev/shm | cut -f1')
  ((used > 5000)) || fail "$host has only $used KiB: the blocks are not spread"
done

cluster_kill "$node4_server" KILL
start_data_server 4 1
cluster_await 20 instance_stands || fail "the instance does not come back"
client client2 get imss://x/dir/file - | cmp - "$CLUSTER_SHARED/input" || fail "what was stored is gone after a kill"

client client2 mv imss://x/dir/file imss://x/moved || fail "mv"
client client1 rm imss://x/moved || fail "rm"
client client1 get imss://x/moved - >/dev/null 2>&1 && fail "a removed file is read"
echo "PASSED"
