# Part of cluster.bash: processes on virtual hosts. Process ids are those of the machine, as kill and /proc outside
# of the hosts know them.

# __cluster_enter PID: sets CLUSTER_ENTER to what stands before a command to run it in all namespaces of a host. The
# command is killed when nsenter is, which waits for it outside, so that a killed caller leaves nothing behind.
__cluster_enter() {
  local environment
  mapfile -t environment <"$CLUSTER_DIR/environment"
  CLUSTER_ENTER=(nsenter --target "$1" --mount --uts --ipc --net --pid --wd env -i "${environment[@]}"
    setpriv --pdeathsig KILL)
}

# cluster_run HOST COMMAND...: runs it on the host, in the home folder there, with this shell's input and output.
# The exit code is the command's.
cluster_run() {
  local pid
  pid=$(__cluster_pid "$1") || return
  __cluster_enter "$pid"
  "${CLUSTER_ENTER[@]}" "${@:2}"
}

# cluster_start HOST COMMAND...: the same in the background. CLUSTER_PID is the process then, CLUSTER_LOG the file
# with its output.
cluster_start() {
  local host=$1 pid fifo fd
  shift
  pid=$(__cluster_pid "$host") || return
  fifo=$(mktemp -u "$CLUSTER_DIR/started-XXXXXX")
  mkfifo "$fifo" && exec {fd}<>"$fifo" && rm "$fifo" || return
  CLUSTER_LOG=$(mktemp "$CLUSTER_DIR/logs/$host.$(basename "$1").XXXX")
  # The process finds its number in the /proc of the machine, which the host does not have. The shell around it keeps
  # to itself that it was killed.
  __cluster_enter "$pid"
  {
    "${CLUSTER_ENTER[@]}" bash -c \
      'read -r pid _ </proc/self/fd/9/self/stat && echo "$pid" >&8 && exec "$@" 8>&- 9<&-' start "$@" \
      9</proc >"$CLUSTER_LOG" 2>&1
    exit $?
  } 8>&"$fd" {fd}>&- </dev/null >/dev/null 2>&1 &
  local proxy=$!
  read -r -t 20 -u "$fd" CLUSTER_PID || CLUSTER_PID=
  exec {fd}>&-
  [[ -n $CLUSTER_PID ]] || __cluster_fail "$1 does not start on $host: $(tail -n 3 "$CLUSTER_LOG")" || return
  CLUSTER_PROXY[$CLUSTER_PID]=$proxy
}

# cluster_wait PID [SECONDS]: waits for the end of a process that this shell started; its exit code, or 124 when it
# has not ended after that time (default 60).
cluster_wait() {
  local proxy=${CLUSTER_PROXY[$1]:-}
  [[ -n $proxy ]] || __cluster_fail "process $1 was not started here" || return
  timeout "${2:-60}" tail -s 0.02 --pid="$proxy" -f /dev/null || return
  unset "CLUSTER_PROXY[$1]"
  wait "$proxy"
}

# cluster_pids HOST [NAME]: all processes of a host but the first, or those of that name (15 characters).
cluster_pids() {
  local first name folder
  first=$(__cluster_pid "$1") || return
  for folder in /proc/[0-9]*; do
    [[ $folder/ns/pid -ef /proc/$first/ns/pid && $folder != /proc/$first ]] || continue
    [[ -z ${2:-} ]] || { read -r name 2>/dev/null <"$folder/comm" && [[ $name == "$2" ]]; } || continue
    echo "${folder#/proc/}"
  done
}

__cluster_is_host() { [[ ! $1 =~ ^[0-9]+$ ]]; }

# __cluster_signal_all HOST SIGNAL: all processes of a host but the first, at once: no fork slips through.
__cluster_signal_all() {
  local pid
  pid=$(__cluster_pid "$1") || return
  nsenter --target "$pid" --mount --pid bash -c 'kill -s "$1" -- -1 2>/dev/null; exit 0' signal "$2"
}

# A process that is stopped or gone; a zombie waits for nobody.
__cluster_stopped() {
  local stat
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
  stat=${stat##*) }
  [[ ${stat:0:1} == [TtZX] ]]
}

# The nsenter that waits outside for a process, if one does. It stops and continues with the process.
__cluster_proxy_of() {
  local stat parent name
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
  read -r _ parent _ <<<"${stat##*) }"
  read -r name 2>/dev/null <"/proc/$parent/comm" && [[ $name == nsenter ]] && echo "$parent"
  return 0
}

# cluster_kill PID|HOST [SIGNAL]: one process, or all of a host (which stays up). SIGKILL unless another is named,
# and then it returns when they are gone.
cluster_kill() {
  local signal=${2:-KILL} pids=$1 pid
  if __cluster_is_host "$1"; then
    __cluster_signal_all "$1" "$signal" && pids=$(cluster_pids "$1") || return
  else
    kill -s "$signal" "$1" || return
  fi
  [[ $signal == KILL ]] || return 0
  for pid in $pids; do
    cluster_await 20 __cluster_ended "$pid" || __cluster_fail "process $pid does not end" || return
  done
}

__cluster_ended() { [[ ! -d /proc/$1 ]] || grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null; }

# cluster_pause PID|HOST: stops one process, or all of a host, and returns when they have stopped. The kernel of a
# paused host still acknowledges what arrives, as that of a real one does.
cluster_pause() {
  local pids=$1 pid proxy
  if __cluster_is_host "$1"; then
    __cluster_signal_all "$1" STOP && pids=$(cluster_pids "$1") || return
  else
    kill -STOP "$1" || return
  fi
  for pid in $pids; do
    cluster_await 20 __cluster_stopped "$pid" || __cluster_fail "process $pid does not stop" || return
    proxy=$(__cluster_proxy_of "$pid")
    [[ -z $proxy ]] || cluster_await 20 __cluster_stopped "$proxy" || return
  done
}

# cluster_resume PID|HOST: the opposite.
cluster_resume() {
  local pids=$1 pid proxy
  if __cluster_is_host "$1"; then pids=$(cluster_pids "$1") || return; fi
  for pid in $pids; do
    proxy=$(__cluster_proxy_of "$pid")
    [[ -z $proxy ]] || kill -CONT "$proxy"
    kill -CONT "$pid" 2>/dev/null
  done
  return 0
}
