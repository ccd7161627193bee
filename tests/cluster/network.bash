# Part of cluster.bash: the network between virtual hosts, a bridge in the namespace of the switch with one port per
# host. Loss and broken paths are rules of the packet filter there. A delay is a program between the port and the
# bridge, because not every kernel has a queue that delays.

# __cluster_ip HOST: commands of ip(8) from standard input in the host's (or the switch's) network.
__cluster_ip() {
  local pid
  pid=$(__cluster_pid "$1") || return
  nsenter --target "$pid" --net ip -batch -
}

__cluster_plug() {
  local pid address
  pid=$(__cluster_pid "$1") && address=$(__cluster_address "$1") || return
  __cluster_ip switch <<<"link add name $1 type veth peer name eth0 address $(__cluster_link_address "$1") netns $pid
    link set dev $1 master br0 up" || return
  __cluster_ip "$1" <<<"link set dev lo up
    addr add $address/24 dev eth0
    link set dev eth0 up"
}

# The port would go by itself, but some time after the last process of its host.
__cluster_unplug() {
  __cluster_stop_delay "$1" 2>/dev/null
  __cluster_ip switch 2>/dev/null <<<"link delete dev $1" || true
  rm -f "$CLUSTER_DIR/cuts/$1,"* "$CLUSTER_DIR/cuts/"*",$1"
}

# cluster_cut HOST, cluster_join HOST: takes the cable out, and puts it in again.
cluster_cut() { __cluster_pid "$1" >/dev/null && __cluster_ip switch <<<"link set dev $1 down"; }
cluster_join() { __cluster_pid "$1" >/dev/null && __cluster_ip switch <<<"link set dev $1 up"; }

__cluster_drop_rules() {
  local file pair host link percent chance
  for file in "$CLUSTER_DIR"/cuts/*,*; do
    [[ -e $file ]] || continue
    pair=${file##*/}
    echo "ether saddr $(__cluster_link_address "${pair%,*}") ether daddr $(__cluster_link_address "${pair#*,}") drop"
    echo "ether saddr $(__cluster_link_address "${pair#*,}") ether daddr $(__cluster_link_address "${pair%,*}") drop"
  done
  for file in "$CLUSTER_DIR"/hosts/*/loss; do
    [[ -e $file ]] || continue
    host=$(basename "$(dirname "$file")") percent=$(<"$file") link=$(__cluster_link_address "$host")
    chance="numgen random mod 100 < $percent"
    [[ $percent != 100 ]] || chance=
    echo "ether saddr $link $chance drop"
    echo "ether daddr $link $chance drop"
  done
}

# Puts the rules that follow from the files in place, all at once.
__cluster_apply_rules() {
  local pid
  pid=$(__cluster_pid switch) || return
  {
    echo "table bridge cluster"
    echo "delete table bridge cluster"
    echo "table bridge cluster {"
    echo "chain forward {"
    echo "type filter hook forward priority 0; policy accept;"
    __cluster_drop_rules
    printf "}\n}\n"
  } | nsenter --target "$pid" --net nft -f -
}

# cluster_cut_between A B: no packet passes between these two; all other paths are as they were.
cluster_cut_between() {
  __cluster_pid "$1" >/dev/null && __cluster_pid "$2" >/dev/null || return
  touch "$CLUSTER_DIR/cuts/$1,$2" && __cluster_apply_rules
}

# cluster_loss HOST PERCENT: each packet to and from the host is lost with this probability (whole number).
cluster_loss() {
  __cluster_pid "$1" >/dev/null || return
  [[ $2 =~ ^[0-9]+$ ]] && (($2 <= 100)) || __cluster_fail "a loss is 0 to 100 percent, not '$2'" || return
  if (($2 > 0)); then echo "$2" >"$CLUSTER_DIR/hosts/$1/loss"; else rm -f "$CLUSTER_DIR/hosts/$1/loss"; fi
  __cluster_apply_rules
}

__cluster_stop_delay() {
  local pid
  read -r pid 2>/dev/null <"$CLUSTER_DIR/hosts/$1/delay" || return 0
  kill -KILL "$pid" 2>/dev/null
  cluster_await 20 __cluster_ended "$pid" || return
  rm -f "$CLUSTER_DIR/hosts/$1/delay"
  __cluster_ip switch <<<"link delete dev d.$1
    link set dev $1 master br0"
}

# cluster_delay HOST MS: every packet from and to the host arrives so much later (0: at once), which makes its round
# trips longer by twice as much. Packets on their way while this changes are lost, as TCP is used to.
cluster_delay() {
  local program=$CLUSTER_BUILD/bin/cluster_delay_line switch
  __cluster_pid "$1" >/dev/null && switch=$(__cluster_pid switch) || return
  [[ $2 =~ ^[0-9]+$ ]] || __cluster_fail "a delay is a whole number of milliseconds, not '$2'" || return
  __cluster_stop_delay "$1" || return
  (($2 > 0)) || return 0
  [[ -x $program ]] || __cluster_fail "$program is missing, build the target cluster_delay_line" || return
  __cluster_ip switch <<<"link add name d.$1 type veth peer name b.$1
    link set dev $1 nomaster
    link set dev b.$1 master br0 up
    link set dev d.$1 up" || return
  rm -f "$CLUSTER_DIR/logs/$1.delay"
  # In the switch's own process tree, so that it ends with the cluster and not with this shell; and before all other
  # processes, because servers that poll would make the delay longer.
  setsid nice -n -20 nsenter --target "$switch" --net --pid --ipc --uts \
    setpriv --pdeathsig KILL "$program" "$1" "d.$1" "$2" </dev/null >"$CLUSTER_DIR/logs/$1.delay" 2>&1 &
  echo $! >"$CLUSTER_DIR/hosts/$1/delay"
  disown $!
  cluster_await 20 test -s "$CLUSTER_DIR/logs/$1.delay"
  grep -q '^ready' "$CLUSTER_DIR/logs/$1.delay" || __cluster_fail "no delay for $1: $(<"$CLUSTER_DIR/logs/$1.delay")"
}

# cluster_heal: all links are up, fast and whole again.
cluster_heal() {
  local host
  rm -f "$CLUSTER_DIR"/cuts/*,* "$CLUSTER_DIR"/hosts/*/loss
  __cluster_apply_rules || return
  for host in $(cluster_hosts); do
    __cluster_stop_delay "$host" && cluster_join "$host" || return
  done
}
