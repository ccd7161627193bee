#!/usr/bin/env bash
# What servers cost that do nothing, and what clients on other nodes cost them: processor time over 30 s without clients
# and with 1, 100 and 500 that are silent, and the memory of the server's process, between two virtual hosts; and what
# three ranks with attached servers, on both hosts, cost while they only wait.
# Usage: bench/idle_and_memory.sh [BUILD FOLDER] [SECONDS]   (default: build/release, 30; needs root)
set -uo pipefail
cd "$(dirname "$0")/.."
export CLUSTER_BUILD=${1:-$PWD/build/release} CLUSTER_LIMIT=900
seconds=${2:-30}
source tests/cluster/cluster.bash
bin=$CLUSTER_BUILD/bin

ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
# Memory of the process alone; the segment is counted for itself.
memory_kib() { awk '/^RssAnon/ { print $2 }' "/proc/$1/status"; }
descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
listening() { cluster_run client1 "$bin/imss" ls --host node1 imss://x >/dev/null 2>&1; }
connected() { grep -q connected "$client_log"; }

cluster_up node1 client1
cluster_start node1 "$bin/server" metadata --file ./metadata --port 5569 --capacity 256MiB --address node1
metadata=$CLUSTER_PID
cluster_start node1 "$bin/server" data --instance imss://x --port 5555 --capacity 256MiB --metadata-host node1 --host node1 \
  --address node1
data=$CLUSTER_PID
cluster_await 30 listening || exit 1

# measure CLIENTS: a line for each server.
measure() {
  local name pid before_metadata before_data
  before_metadata=$(ticks "$metadata") before_data=$(ticks "$data")
  sleep "$seconds"
  local hz
  hz=$(getconf CLK_TCK)
  for name in metadata data; do
    pid=${!name}
    local before=before_$name
    awk -v name="$name" -v clients="$1" -v used=$(($(ticks "$pid") - ${!before})) -v hz="$hz" -v seconds="$seconds" \
      -v memory="$(memory_kib "$pid")" -v descriptors="$(descriptors "$pid")" 'BEGIN {
        printf "%-9s %4d clients   %6.2f %% of a core   %7d KiB   %5d descriptors\n",
          name, clients, 100 * used / hz / seconds, memory, descriptors }'
  done
}

measure 0
for count in 1 100 500; do
  mkfifo "$CLUSTER_SHARED/stay-$count"
  exec {stay}<>"$CLUSTER_SHARED/stay-$count"
  cluster_run client1 "$bin/cluster_remote_client" clients node1 imss://x "$count" <"$CLUSTER_SHARED/stay-$count" \
    >"$CLUSTER_SHARED/log-$count" {stay}<&- &
  client=$!
  client_log=$CLUSTER_SHARED/log-$count
  cluster_await 120 connected || exit 1
  measure "$count"
  exec {stay}>&- # which the clients wait for
  wait "$client"
  sleep 3 # the servers have noticed
done
echo "after all have gone:"
measure 0

for server in "$data" "$metadata"; do
  cluster_kill "$server" USR1 # which takes its segment along
  cluster_wait "$server"
done
echo node1 >"$CLUSTER_SHARED/ranks"
ready() { grep -q '^ready$' "$1"; }
ranks=() logs=()
for number in 0 1 2; do
  host=node1
  ((number == 0)) || host=client1
  cluster_start $host env IMSS_METADATA_HOSTFILE="$CLUSTER_SHARED/ranks" "$bin/attached_rank" $number 3 idle
  ranks+=("$CLUSTER_PID") logs+=("$CLUSTER_LOG")
done
for log in "${logs[@]}"; do cluster_await 30 ready "$log" || exit 1; done
before=()
for rank in "${ranks[@]}"; do before+=("$(ticks "$rank")"); done
sleep "$seconds"
for number in 0 1 2; do
  awk -v number=$number -v used=$(($(ticks "${ranks[number]}") - before[number])) -v hz="$(getconf CLK_TCK)" \
    -v seconds="$seconds" 'BEGIN { printf "idle rank %d        %6.2f %% of a core\n", number, 100 * used / hz / seconds }'
done
for rank in "${ranks[@]}"; do cluster_kill "$rank" TERM; done
for rank in "${ranks[@]}"; do cluster_wait "$rank"; done
