#!/usr/bin/env bash
# The model test over four hosts: clients on two of them, one beside a data server, while servers are killed and stopped
# and links are cut, lossy and slow, at random. No difference from the model, no operation that does not end, no leak.
# Usage: model_test.sh BUILD_FOLDER [SECONDS [SEED]]
export CLUSTER_BUILD=$1
seconds=${2:-120}
seed=${3:-$$}
RANDOM=$seed
CLUSTER_LIMIT=$((seconds + 240))
source "$(dirname "$(readlink -f "$0")")/checks.bash"
bin=$CLUSTER_BUILD/bin
echo "seed $seed, $seconds seconds"

declare -A server # host -> process
start_server() {  # HOST
  case $1 in
    node1)
      cluster_start node1 "$bin/server" metadata --file ./metadata --port 5569 --capacity 256MiB --address node1
      ;;
    *)
      cluster_start "$1" "$bin/server" data --instance imss://model --port 5555 --capacity 256MiB --metadata-host node1 \
        --servers 2 --rank "$((${1#node} - 2))" --host "$1" --address "$1"
      ;;
  esac || return
  server[$1]=$CLUSTER_PID
}

instance_stands() { cluster_run client1 "$bin/imss" ls --host node1 imss://model >/dev/null 2>&1; }

# A subshell would draw from a sequence of its own, not from that of the seed.
draw() { drawn=$((RANDOM % $1)); }
pick() {
  shift $((RANDOM % $#))
  host=$1
}

# The clients run all the time: what is waited here is how long a disturbance and the quiet after it last.
last() {  # LESS THAN THIS MANY MILLISECONDS
  draw "$1"
  sleep "$((drawn / 1000)).$(printf %03d $((drawn % 1000)))"
}

declare -A happened=([kill]=0 [pause]=0 [cut]=0 [separate]=0 [loss]=0 [delay]=0)
count() { happened[$1]=$((happened[$1] + 1)); }

disturb() {
  local host
  pick node1 node2 node3
  draw 8
  case $drawn in
    0 | 1)
      count kill
      cluster_kill "${server[$host]}" KILL
      cluster_wait "${server[$host]}" 20
      last 2000
      start_server "$host" || fail "the server of $host does not start again"
      ;;
    2 | 3)
      count pause
      cluster_pause "${server[$host]}"
      last 5000
      cluster_resume "${server[$host]}"
      ;;
    4)
      count cut
      pick node1 node2 node3 client1
      cluster_cut "$host"
      last 6000
      cluster_join "$host"
      ;;
    5)
      count separate
      cluster_cut_between "$host" client1
      last 6000
      cluster_heal
      ;;
    6)
      count loss
      draw 30
      cluster_loss "$host" $((5 + drawn))
      last 3000
      cluster_heal
      ;;
    7)
      count delay
      draw 50
      cluster_delay "$host" $((1 + drawn))
      last 2000
      cluster_delay "$host" 0
      ;;
  esac
}

cluster_up node1 node2 node3 client1 || exit 1
for host in node1 node2 node3; do start_server $host || exit 1; done
cluster_await 20 instance_stands || { fail "the instance does not stand" && finish; }

declare -A client
for number in 0 1 2; do
  host=$([[ $number == 2 ]] && echo node3 || echo client1)
  cluster_start "$host" "$bin/model_host_client" --host node1 --number "$number" --seed $((RANDOM * 32768 + RANDOM))
  client[$number]=$CLUSTER_PID
  output[$number]=$CLUSTER_LOG
done

# A server must not end by itself, whatever happens around it.
all_servers_live() {
  for host in node1 node2 node3; do
    [[ -d /proc/${server[$host]} ]] || { fail "the server of $host has ended by itself" && return 1; }
  done
}

while ((SECONDS < seconds)); do
  last 3000
  all_servers_live || break
  disturb
  for number in 0 1 2; do [[ -d /proc/${client[$number]} ]] || break 2; done
done
cluster_heal
echo "kills ${happened[kill]}, pauses ${happened[pause]}, cuts ${happened[cut]}, separations ${happened[separate]}," \
  "losses ${happened[loss]}, delays ${happened[delay]}"
for number in 0 1 2; do cluster_kill "${client[$number]}" TERM 2>/dev/null; done
for number in 0 1 2; do
  cluster_wait "${client[$number]}" 120
  check "client $number ends in peace" $? -eq 0
  tail -n 70 "${output[$number]}"
done
for host in node1 node2 node3; do
  cluster_run $host "$bin/imss" check >"$scratch/check" 2>&1 || { fail "imss check on $host" && cat "$scratch/check"; }
done
finish
