# Virtual hosts on this machine, made of namespaces: each has a network, processes, shared memory, /tmp, /run, home
# folder and names of its own, and sees the file system of the machine read-only, so that nothing but TCP connects
# them. Source this file, call cluster_up, and everything ends with the shell that called it, however that ends.
# See README.md for the commands; a command that fails says why and returns 1.
#
# Names with two underscores are internal. The state is in files below $CLUSTER_DIR, so that another shell can use
# the same cluster (cluster_attach); only processes started by cluster_start are known to their own shell alone.

CLUSTER_SOURCE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# Seconds after which a cluster and the script that made it are ended; 0 is never.
CLUSTER_LIMIT=${CLUSTER_LIMIT:-120}
# The build folder; what lies in it is visible to the hosts wherever it is.
CLUSTER_BUILD=$(readlink -f "${CLUSTER_BUILD:-$CLUSTER_SOURCE/../../build/release}")
CLUSTER_DIR=
CLUSTER_DEFAULT_HOSTS=(node1 node2 node3 node4 client1 client2)
declare -A CLUSTER_PROXY=() # process of a host -> the child of this shell that ends with it

source "$CLUSTER_SOURCE/processes.bash"
source "$CLUSTER_SOURCE/network.bash"

__cluster_fail() {
  echo "cluster: $*" >&2
  return 1
}

# cluster_await SECONDS COMMAND...: repeats a command until it succeeds.
cluster_await() {
  local deadline=$((SECONDS + $1 + 1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.01
  done
}

# The network address of a host: nodeN is 10.77.0.(10+N), clientN is 10.77.0.(100+N), N from 1 to 89.
__cluster_address() {
  [[ $1 =~ ^(node|client)([1-9]|[1-8][0-9])$ ]] ||
    __cluster_fail "there is no host '$1': names are node1 to node89 and client1 to client89" || return
  local base=10
  [[ ${BASH_REMATCH[1]} == client ]] && base=100
  echo "10.77.0.$((base + BASH_REMATCH[2]))"
}

# The link address follows from the network address, so that a host that comes back is known at once.
__cluster_link_address() {
  local address
  address=$(__cluster_address "$1") || return
  printf '02:00:0a:4d:00:%02x\n' "${address##*.}"
}

# Ends the script with ctest's code for skipped tests where namespaces are not permitted.
__cluster_require() {
  local program
  ((EUID == 0)) || { echo "cluster: skipped, virtual hosts need root" && exit 77; }
  unshare --mount --uts --ipc --net --pid --fork true 2>/dev/null ||
    { echo "cluster: skipped, this system does not permit namespaces" && exit 77; }
  for program in ip nft nsenter setpriv; do
    command -v $program >/dev/null ||
      __cluster_fail "$program is missing, install it with scripts/packages.sh test" || return
  done
}

# The environment of every process on a virtual host, one NAME=VALUE per line. Root may start Open MPI's programs
# there, which use the network of the hosts and do not count the cores of the machine.
__cluster_write_environment() {
  printf '%s\n' HOME=/run/home USER=root LOGNAME=root SHELL=/bin/bash "PATH=$PATH" "TERM=${TERM:-dumb}" \
    LANG=C.UTF-8 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_tcp_if_include=eth0 \
    OMPI_MCA_oob_tcp_if_include=eth0 OMPI_MCA_rmaps_base_oversubscribe=1 \
    PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe >"$CLUSTER_DIR/environment"
}

# What is the same on all hosts: names, accounts, keys and settings of ssh.
__cluster_write_files() {
  local host home=$CLUSTER_DIR/home
  mkdir -p "$CLUSTER_DIR"/{hosts,logs,shared,cuts,stage} "$home"
  mkdir -m 700 "$home/.ssh"
  __cluster_write_environment
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$CLUSTER_DIR/names"
  for host in "${CLUSTER_DEFAULT_HOSTS[@]}"; do
    echo "$(__cluster_address "$host") $host" >>"$CLUSTER_DIR/names"
  done
  sed -E 's#^(root:.*:)[^:]*:[^:]*$#\1/run/home:/bin/bash#' /etc/passwd >"$CLUSTER_DIR/passwd"
  printf 'export PATH=%q\n' "$PATH" >"$home/.bashrc"
  printf '%s\n' "Host *" "  StrictHostKeyChecking no" "  UserKnownHostsFile /dev/null" "  LogLevel ERROR" \
    >"$home/.ssh/config"
}

# Removes the folder of a cluster once its owner is gone, and ends the owner when the time is over. It stands
# apart from the owner, in a session of its own, to outlive it whatever ends it.
__cluster_watch() {
  setsid bash -c '
    timeout "$2" tail -s 0.1 --pid="$1" -f /dev/null
    if kill -0 "$1" 2>/dev/null; then
      echo "cluster: ended, the limit of $2 seconds has passed" >&2
      kill -TERM "$1"
      timeout 3 tail -s 0.1 --pid="$1" -f /dev/null || kill -KILL "$1"
    fi
    for attempt in {1..100}; do
      rm -rf --one-file-system "$3" 2>/dev/null && exit
      sleep 0.05
    done' cluster-watch $$ "$CLUSTER_LIMIT" "$CLUSTER_DIR" </dev/null >/dev/null &
  disown $!
}

# The folder of the state, the end of it, and the switch: a network namespace with the bridge and nothing else, and
# the read-only view of the file system from which the hosts take theirs.
__cluster_create() {
  ((BASHPID == $$)) || __cluster_fail "cluster_up must not run in a subshell, its hosts would end with that" || return
  CLUSTER_DIR=$(mktemp -d /tmp/imss-cluster-XXXXXX) || return
  CLUSTER_SHARED=$CLUSTER_DIR/shared
  [[ -n $(trap -p EXIT) ]] || trap cluster_down EXIT
  __cluster_watch
  __cluster_write_files
  __cluster_spawn switch
  __cluster_booted switch || return
  __cluster_ip switch <<<"link add name br0 type bridge stp_state 0 forward_delay 0
    link set dev br0 up"
}

# Starts the first process of a host. A process whose parent is gone before it could ask to be killed with it ends.
__cluster_spawn() {
  local host=$1 enter=()
  mkdir -p "$CLUSTER_DIR/hosts/$host"
  [[ $host == switch ]] || enter=(nsenter --target "$(__cluster_pid switch)" --mount)
  setpriv --pdeathsig KILL bash -c '((PPID == $0)) && exec "$@"' $$ "${enter[@]}" \
    unshare --mount --uts --ipc --net --pid --fork --kill-child \
    env -i CLUSTER_VISIBLE="$(readlink -f "$CLUSTER_SOURCE/../.."):$CLUSTER_BUILD:$CLUSTER_SHARED" PATH="$PATH" \
    bash "$CLUSTER_SOURCE/host_init.bash" "$CLUSTER_DIR" "$host" </dev/null >"$CLUSTER_DIR/logs/$host.boot" 2>&1 &
  echo $! >"$CLUSTER_DIR/hosts/$host/holder"
  disown $!
}

# Waits until the first process has prepared its host.
__cluster_booted() {
  cluster_await 20 test -s "$CLUSTER_DIR/hosts/$1/pid" -o ! -d "/proc/$(<"$CLUSTER_DIR/hosts/$1/holder")"
  [[ -s $CLUSTER_DIR/hosts/$1/pid ]] ||
    __cluster_fail "host $1 does not start: $(tail -n 3 "$CLUSTER_DIR/logs/$1.boot")"
}

# The process id of a host's first process as seen from outside; fails where the host is not up.
__cluster_pid() {
  local pid
  [[ -n $CLUSTER_DIR ]] && read -r pid 2>/dev/null <"$CLUSTER_DIR/hosts/$1/pid" && [[ -d /proc/$pid ]] &&
    echo "$pid" && return
  __cluster_fail "host $1 is not up"
}

__cluster_ssh_keys() {
  [[ ! -e $CLUSTER_DIR/ssh ]] || return 0
  command -v dropbear >/dev/null && command -v ssh >/dev/null ||
    __cluster_fail "dropbear or ssh is missing, install them with scripts/packages.sh test" || return
  ssh-keygen -q -t ed25519 -N '' -C cluster -f "$CLUSTER_DIR/home/.ssh/id_ed25519" &&
    cp "$CLUSTER_DIR/home/.ssh/id_ed25519.pub" "$CLUSTER_DIR/home/.ssh/authorized_keys" &&
    dropbearkey -t ed25519 -f "$CLUSTER_DIR/host_key" >/dev/null 2>&1 && touch "$CLUSTER_DIR/ssh"
}

# cluster_up [--ssh] [HOST...]: brings the hosts up that are named, or all six usual ones, also after a crash. With
# --ssh every host that comes up from now on answers to ssh.
cluster_up() {
  local ssh=0 host fresh=()
  [[ ${1:-} == --ssh ]] && ssh=1 && shift
  (($# > 0)) || set -- "${CLUSTER_DEFAULT_HOSTS[@]}"
  for host in "$@"; do __cluster_address "$host" >/dev/null || return; done
  if [[ -z $CLUSTER_DIR ]]; then
    __cluster_require && __cluster_create || return
  fi
  ((ssh == 0)) || __cluster_ssh_keys || return
  for host in "$@"; do
    __cluster_pid "$host" >/dev/null 2>&1 && continue
    grep -q " $host\$" "$CLUSTER_DIR/names" || echo "$(__cluster_address "$host") $host" >>"$CLUSTER_DIR/names"
    rm -f "$CLUSTER_DIR/hosts/$host/pid"
    __cluster_spawn "$host"
    fresh+=("$host")
  done
  for host in "${fresh[@]}"; do
    __cluster_booted "$host" && __cluster_plug "$host" || return
  done
}

# cluster_attach DIR: uses the cluster of another shell.
cluster_attach() {
  CLUSTER_DIR=$1
  CLUSTER_SHARED=$1/shared
  __cluster_pid switch >/dev/null
}

# cluster_hosts: the names of the hosts that are up, one per line.
cluster_hosts() {
  local folder
  for folder in "$CLUSTER_DIR"/hosts/*/; do
    folder=$(basename "$folder")
    [[ $folder != switch ]] && __cluster_pid "$folder" >/dev/null 2>&1 && echo "$folder"
  done
  return 0
}

# cluster_crash HOST: the host is gone from one moment to the next, without a farewell to its peers: first its
# link, then all of its processes and memory. It comes back with a whole link.
cluster_crash() {
  local pid
  pid=$(__cluster_pid "$1") || return
  cluster_cut "$1"
  kill -KILL "$pid"
  cluster_await 20 __cluster_ended "$pid" || __cluster_fail "host $1 does not end" || return
  __cluster_unplug "$1"
  rm -rf "$CLUSTER_DIR/hosts/$1"
  __cluster_apply_rules
}

# cluster_down: ends all hosts and removes every trace. A shell that made a cluster does this when it exits.
cluster_down() {
  local folder pid
  [[ -d $CLUSTER_DIR ]] || return 0
  # The holder of a host ends with its first process, and kills one that has not said its number yet.
  for folder in "$CLUSTER_DIR"/hosts/*/; do
    { read -r pid <"$folder/pid" || read -r pid <"$folder/holder"; } 2>/dev/null && kill -KILL "$pid" 2>/dev/null
  done
  for folder in "$CLUSTER_DIR"/hosts/*/; do
    read -r pid 2>/dev/null <"$folder/pid" && cluster_await 20 __cluster_ended "$pid"
  done
  rm -rf --one-file-system "$CLUSTER_DIR"
  CLUSTER_DIR=
}

# cluster_logs: what the hosts and the processes of cluster_start have written, for the message of a failure.
cluster_logs() {
  local file
  for file in "$CLUSTER_DIR"/logs/*; do
    [[ -s $file ]] && printf -- '--- %s\n' "${file##*/}" && tail -n "${1:-50}" "$file"
  done
  return 0
}
