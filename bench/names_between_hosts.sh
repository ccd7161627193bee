#!/usr/bin/env bash
# How many names a client creates, looks up and removes per second on other virtual hosts, with one and two metadata servers.
# Usage: bench/names_between_hosts.sh [BUILD FOLDER]   (default: build/release; needs root and `scripts/packages.sh test`)
set -uo pipefail
cd "$(dirname "$0")/.."
export CLUSTER_BUILD=${1:-$PWD/build/release} CLUSTER_LIMIT=300
source tests/cluster/cluster.bash
bin=$CLUSTER_BUILD/bin

cluster_up node1 node2 node3 client1
listening() { cluster_run client1 "$bin/imss" ls --host node1 imss://bench >/dev/null 2>&1; }

for servers in 1 2; do
  printf 'node1\nnode2\n' | head -n $servers >"$CLUSTER_SHARED/hosts"
  for ((rank = 0; rank < servers; ++rank)); do
    cluster_start node$((rank + 1)) "$bin/server" metadata --file ./metadata --capacity 256MiB --rank $rank \
      --hostfile "$CLUSTER_SHARED/hosts" --address node$((rank + 1))
  done
  cluster_start node3 "$bin/server" data --instance imss://bench --capacity 512MiB --metadata-host node1 --host node3 \
    --address node3
  cluster_await 30 listening
  for threads in 1 4; do
    echo "$servers metadata servers, $threads threads:"
    cluster_run client1 "$bin/names_bench" node1 $threads
  done
  cluster_run client1 "$bin/imss" stop --host node1 --all --retire >/dev/null
  for host in node1 node2 node3; do cluster_run $host bash -c 'rm -f metadata metadata.1'; done
done
