#!/usr/bin/env bash
# Names on two metadata servers that are killed again and again, one after the other and sometimes both, at any moment
# and at the points where a change over both of them is half done. Clients on two hosts change names of their own and
# of all: no difference from what they were told, no operation that takes longer than it may, nothing left of changes
# that were interrupted.
# Usage: metadata_death_test.sh BUILD_FOLDER [SECONDS [SEED]]
export CLUSTER_BUILD=$1
seconds=${2:-60}
seed=${3:-$$}
RANDOM=$seed
CLUSTER_LIMIT=$((seconds + 120))
source "$(dirname "$(readlink -f "$0")")/checks.bash"
bin=$CLUSTER_BUILD/bin
echo "seed $seed, $seconds seconds"

declare -A server # host -> process
# start_metadata HOST [FAULT]: a fault is a point of the program at which the server dies.
start_metadata() {
  cluster_start "$1" env IMSS_FAULT="${2:-}" "$bin/server" metadata --file ./metadata --port 5569 --capacity 128MiB \
    --servers 2 --rank "$((${1#node} - 1))" --metadata-host node1 --metadata-port 5569 --host "$1" --address "$1" &&
    server[$1]=$CLUSTER_PID
}
start_data() {
  cluster_start "$1" "$bin/server" data --instance imss://model --port 5555 --capacity 128MiB --metadata-host node1 \
    --metadata-port 5569 --servers 2 --rank "$((${1#node} - 3))" --host "$1" --address "$1" && server[$1]=$CLUSTER_PID
}
instance_stands() { cluster_run client1 "$bin/imss" ls --host node1 imss://model >/dev/null 2>&1; }

# A subshell would draw from a sequence of its own, not from that of the seed.
draw() { drawn=$((RANDOM % $1)); }
# The clients run all the time: what is waited here is how long a server runs, and how long it is missing.
last() { # LESS THAN THIS MANY MILLISECONDS
  draw "$1"
  sleep "$((drawn / 1000)).$(printf %03d $((drawn % 1000)))"
}

# Where a server is in the middle of a change, or has an answer that it has not given; how often it comes there first.
points=(changes.begun:20 changes.name_claimed:10 changes.directory_claimed:10 changes.decided:10 changes.name_finished:10
  changes.directory_finished:10 changes.directory_dropping:5 changes.aborted:1 transaction.prepared:200
  transaction.committed:200 transaction.applying:500 transaction.applied:200 request.executed:200 names.prepared:20
  names.removed:10 names.renamed:10)
draw_fault() {
  fault=
  draw 2
  ((drawn > 0)) || return 0
  draw ${#points[@]}
  fault=${points[drawn]%:*}
  draw "${points[drawn]#*:}"
  fault=$fault:$((drawn + 1)):kill
}

declare -A happened=([kill]=0 [point]=0 [both]=0)
count() { happened[$1]=$((happened[$1] + 1)); }
ended() { [[ ! -d /proc/${server[$1]} ]] || __cluster_ended "${server[$1]}"; }
# end_server HOST: where its fault point is, or wherever it is when it does not come there.
end_server() {
  if [[ -n ${armed[$1]} ]] && cluster_await 0 ended "$1"; then
    count point
  else
    count kill
    cluster_kill "${server[$1]}" KILL 2>/dev/null
  fi
  cluster_wait "${server[$1]}" 20
  (($? == 137)) || fail "the server of $1 has ended by itself"
}
begin_server() {
  draw_fault
  armed[$1]=$fault
  start_metadata "$1" "$fault" || fail "the server of $1 does not start again"
}
declare -A armed=([node1]= [node2]=)

cluster_up || exit 1
for host in node1 node2; do start_metadata $host || exit 1; done
for host in node3 node4; do start_data $host || exit 1; done
cluster_await 20 instance_stands || { fail "the instance does not stand" && finish; }

declare -A client output
for number in 0 1 2 3; do
  cluster_start "client$((1 + number % 2))" "$bin/names_host_client" run --host "node$((1 + number / 2))" \
    --number $number --seed $((RANDOM * 32768 + RANDOM))
  client[$number]=$CLUSTER_PID
  output[$number]=$CLUSTER_LOG
done
clients_live() {
  for number in 0 1 2 3; do
    [[ -d /proc/${client[$number]} ]] || { fail "client $number has ended" && return 1; }
  done
}

# All have gone on since, or one of the servers is gone again.
note_progress() { for number in 0 1 2 3; do before[$number]=$(stat -c %s "${output[$number]}"); done; }
progressed() {
  ended node1 || ended node2 && return
  for number in 0 1 2 3; do [[ $(stat -c %s "${output[$number]}") -gt ${before[$number]} ]] || return 1; done
}
declare -A before

round=0
while ((SECONDS < seconds)) && clients_live; do
  round=$((round + 1))
  victims=("node$((1 + round % 2))")
  if ((round % 5 == 0)); then
    count both
    victims=(node1 node2)
  fi
  note_progress
  cluster_await 15 progressed || { fail "clients do not go on although all servers are there" && break; }
  last 600
  for host in "${victims[@]}"; do end_server "$host"; done
  last 700
  for host in "${victims[@]}"; do begin_server "$host"; done
done
# In the end all is calm: servers that die at no point.
for host in node1 node2; do
  cluster_kill "${server[$host]}" KILL 2>/dev/null
  cluster_wait "${server[$host]}" 20
  start_metadata $host || fail "the server of $host does not start again"
done
echo "kills ${happened[kill]}, deaths at a point ${happened[point]}, both at once ${happened[both]}"

for number in 0 1 2 3; do cluster_kill "${client[$number]}" TERM 2>/dev/null; done
for number in 0 1 2 3; do
  cluster_wait "${client[$number]}" 60
  check "client $number ends in peace" $? -eq 0
  grep -v '^[0-9]*$' "${output[$number]}"
done
cluster_run client1 "$bin/names_host_client" shared --host node2 || fail "what all clients changed is not in order"

# count_of WHAT KIND: how often over all clients.
count_of() { sed -n "s/^$1: .*\<$2 \([0-9]*\).*/\1/p" "${output[@]}" | awk '{ sum += $1 } END { print sum + 0 }'; }
held_up=0
for kind in mkdir rmdir move movedir link; do
  check "enough changes of kind $kind went over both servers" "$(count_of crossed $kind)" -ge 20
  held_up=$((held_up + $(count_of 'held up' $kind)))
done
check "deaths held up changes that went over both servers" $held_up -ge 10
longest=$(sed -n 's/^longest: \([0-9]*\) ms.*/\1/p' "${output[@]}" | sort -n | tail -n 1)
check "every operation ends within its deadline" "$longest" -le 6000

# Nothing is claimed, and no change is unfinished.
nothing_claimed() { [[ $(cluster_run "$1" "$bin/names_host_client" claims --host "$1") == "0 of 1" ]]; }
for host in node1 node2; do
  cluster_await 15 nothing_claimed $host || fail "unfinished changes on $host"
done
for host in node1 node2 node3 node4; do
  cluster_run $host "$bin/imss" check >"$scratch/check" 2>&1 || { fail "imss check on $host" && cat "$scratch/check"; }
done
echo "$SECONDS seconds"
finish
