# Sixteen ranks with attached servers, which leave in different orders or are killed while all work.
port_base=24600
. "$(dirname "$(readlink -f "$0")")/setup.bash"
ranks=16
seconds=90 # within which something that is waited for happens, or the test fails

no_segments() { [ -z "$(ls -A "$IMSS_SHM_DIR")" ] || fail "$1 left $(ls "$IMSS_SHM_DIR")"; }
has() { [ -e "$place/$1.$2" ]; }
until_there() { # NAME RANK...: until those ranks have said so, or one of the launched failed
  local name=$1 rank end=$((SECONDS + seconds))
  shift
  for rank; do
    until has "$name" "$rank"; do
      [ $SECONDS -lt $end ] || { fail "$job: rank $rank is not $name: $(cat "$place/out")"; return 1; }
      [ ! -s "$place/failed" ] || { fail "$job: a rank failed: $(cat "$place/out")"; return 1; }
      read -r -t 0.02 <> "$place/clock"
    done
  done
  return 0
}

# begin LAUNCHER...: the ranks, each in the background of its launcher; without one they are started one by one.
begin() {
  job="$*"
  place=$(mktemp -d "$work/job-XXXX")
  mkfifo "$place/clock"
  : > "$place/out"
  launched=()
  local rank
  if [ $# -gt 0 ]; then
    { "$@" "$bin/crowd_rank" "$place" $ranks $metadata_port $data_port || echo failed > "$place/failed"; } \
      > "$place/out" 2>&1 &
    launched=($!)
  else
    job="ranks without a launcher"
    for ((rank = 0; rank < ranks; ++rank)); do
      "$bin/crowd_rank" "$place" $ranks $metadata_port $data_port $rank >> "$place/out" 2>&1 &
      launched+=($!)
    done
  fi
  until_there ready $(seq 0 $((ranks - 1)))
}
# end: everything that was launched is gone within the time; those that were killed are no failure.
end() {
  local pid
  for pid in "${launched[@]}"; do timeout $seconds tail -s 0.02 --pid="$pid" -f /dev/null || fail "$job hangs"; done
  wait "${launched[@]}" 2> /dev/null
  launched=()
}
shuffled() { seq 0 $((ranks - 1)) | shuf --random-source=<(yes "$1"); }

# leave_in_order RANK...: each is told when the one before has left; the others go on meanwhile.
leave_in_order() {
  local rank
  for rank; do
    : > "$place/leave.$rank"
    until_there left "$rank" || return
  done
}

launchers=()
command -v mpirun.mpich > /dev/null && launchers+=("mpirun.mpich -n $ranks")
command -v mpirun.openmpi > /dev/null && launchers+=("mpirun.openmpi --allow-run-as-root --oversubscribe -n $ranks")
[ ${#launchers[@]} -gt 0 ] || launchers=("")
for launcher in "${launchers[@]}"; do
  for order in "$(seq 0 $((ranks - 1)))" "$(seq $((ranks - 1)) -1 0)" "$(shuffled 1)" "$(shuffled 2)"; do
    begin $launcher && leave_in_order $order
    end
    [ ! -e "$place/failed" ] || fail "$job, leaving in the order $(echo $order): $(cat "$place/out")"
    no_segments "$job, leaving in the order $(echo $order),"
  done
done
# All at once.
begin ${launchers[0]} && for rank in $(seq 0 $((ranks - 1))); do : > "$place/leave.$rank"; done
until_there left $(seq 0 $((ranks - 1)))
end
no_segments "leaving all at once"

# kill_ranks RANK...: with kill -9, as they work. They are stopped first, so that they neither leave by themselves nor
# clean up after one another.
kill_ranks() {
  local rank pid pids=()
  for rank; do
    read -r pid _ < "$place/ready.$rank"
    kill -STOP "$pid"
    pids+=("$pid")
  done
  for rank; do : > "$place/leave.$rank"; done
  kill -9 "${pids[@]}"
}
for victims in 15 0 "3 7 11" "$(shuffled 3 | head -n 8)"; do
  begin
  kill_ranks $victims
  alive=$(seq 0 $((ranks - 1)) | grep -vxF "$(printf '%s\n' $victims)")
  # Those who are left go on for a while and then leave, in any order.
  leave_in_order $(printf '%s\n' $alive | shuf --random-source=<(yes 4))
  end
  no_segments "the death of ranks $(echo $victims)"
done

# Nobody survives: what is left is of no use to anybody, and the next start removes it.
begin
kill_ranks $(seq 0 $((ranks - 1)))
end
[ "$(ls "$IMSS_SHM_DIR" | wc -l)" -eq $((ranks + 1)) ] || fail "$ranks killed ranks leave $(ls "$IMSS_SHM_DIR")"
expect 1 "$bin/imss" status
begin
leave_in_order $(shuffled 5)
end
no_segments "a start after the death of all"
finish
