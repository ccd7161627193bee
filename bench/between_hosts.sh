#!/usr/bin/env bash
# How fast two virtual hosts exchange blocks and names, beside ucx_perftest on the same path in the same run.
# Usage: bench/between_hosts.sh [BUILD FOLDER]   (default: build/release; needs root and `scripts/packages.sh test bench`)
set -uo pipefail
cd "$(dirname "$0")/.."
export CLUSTER_BUILD=${1:-$PWD/build/release} CLUSTER_LIMIT=300
source tests/cluster/cluster.bash
bin=$CLUSTER_BUILD/bin

reference() {  # TEST, BYTES, OPTION...: one run of ucx_perftest
  command -v ucx_perftest >/dev/null || { echo "  ucx_perftest is not installed: scripts/packages.sh bench"; return; }
  cluster_start node1 ucx_perftest
  local server=$CLUSTER_PID
  sleep 1 # it says nothing when it listens
  cluster_run client1 ucx_perftest node1 -t "$1" -s "$2" -n "$3" -w 100 2>/dev/null | grep -E '^\[thread|^Final' | tail -1
  cluster_kill "$server" KILL 2>/dev/null
}

listening() { cluster_run client1 "$bin/imss" ls --host node1 imss://x >/dev/null 2>&1; }

cluster_up node1 client1
echo "ucx_perftest, 1 MiB (am bandwidth), 8 B and 4 KiB (am latency):"
reference ucp_am_bw 1048576 2000
reference ucp_am_lat 8 20000
reference ucp_am_lat 4096 20000

echo "ports (port_bench):"
cluster_start node1 "$bin/port_bench" serve
port_server=$CLUSTER_PID
sleep 1 # the same
cluster_run client1 "$bin/port_bench" node1
cluster_kill "$port_server" KILL

cluster_start node1 "$bin/server" metadata --file ./metadata --port 5569 --capacity 256MiB --address node1
cluster_start node1 "$bin/server" data --instance imss://x --port 5555 --capacity 3GiB --metadata-host node1 --host node1 \
  --address node1
cluster_await 20 listening
head -c 512M /dev/urandom >"$CLUSTER_SHARED/input"
echo "imss put and get of 512 MiB:"
for round in 1 2 3; do
  cluster_run client1 "$bin/imss" put --host node1 -v --force "$CLUSTER_SHARED/input" imss://x/file 2>&1 | tail -1
  cluster_run client1 "$bin/imss" get --host node1 -v imss://x/file /dev/null 2>&1 | tail -1
done
