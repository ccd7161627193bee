# Servers that are killed, or stopped, and started again go on with everything that was stored.
port_base=21300
. "$(dirname "$(readlink -f "$0")")/setup.bash"

head -c 500001 "$bin/imss" > input
pid_file() { echo "$XDG_RUNTIME_DIR/imss/instance-again/$1.pid"; }
kill_server() {
  local pid
  pid=$(cat "$(pid_file "$1")")
  kill -9 "$pid" || fail "there is no process $pid of $1"
  wait_for_end "$pid"
}
everything_is_there() {
  expect 0 "$bin/imss" get imss://again/dir/data copy
  same_file input copy
  expect 0 "$bin/imss" ls -l imss://again
  says out '^drwx.* dir$'
}
mount=("$bin/mount.imss" -u imss://again -n 2 -S 128MiB)

expect 0 "${mount[@]}"
expect 0 "$bin/imss" put input imss://again/dir/data
id_before=$("$bin/imss" stat imss://again/dir/data | grep ' Id:')

# One data server, by hand, in the positional form.
kill_server data-0
expect 1 "$bin/imss" status
says out 'stopped'
expect 0 "$bin/server" data --instance imss://again --port $data_port --rank 0 --servers 2 \
  --host localhost --capacity 128MiB --daemonize --pid-file "$(pid_file data-0)"
everything_is_there
expect 0 "$bin/imss" status

# The metadata server, by hand.
kill_server metadata
expect 1 "$bin/imss" ls imss://again
one_sentence 'imss ls'
expect 0 "$bin/server" metadata --port $metadata_port --daemonize --pid-file "$(pid_file metadata)"
everything_is_there

# Two at once, by mount.imss, which starts what is missing.
kill_server metadata
kill_server data-1
expect 0 "${mount[@]}"
says out 'metadata server goes on with what it had stored'
says out 'data server 1 goes on with what it had stored'
everything_is_there
expect 0 "$bin/imss" put input imss://again/more
expect 0 "$bin/imss" get imss://again/more copy
same_file input copy
expect 0 "$bin/imss" rm imss://again/more

# All of them killed.
for name in metadata data-0 data-1; do kill_server $name; done
expect 0 "${mount[@]}"
everything_is_there

# Unmounted with the data kept: the segments stay, and the next mount serves them.
expect 0 "$bin/umount.imss" -u imss://again --keep-data
empty_dir "$XDG_RUNTIME_DIR"
[ "$(find "$IMSS_SHM_DIR" -type f | wc -l)" -eq 3 ] || fail "not three segments: $(ls "$IMSS_SHM_DIR")"
expect 0 "${mount[@]}"
everything_is_there
id_after=$("$bin/imss" stat imss://again/dir/data | grep ' Id:')
[ "$id_before" = "$id_after" ] || fail "the dataset has another id: $id_before, $id_after"

# A server that was killed before umount leaves nothing either.
kill_server data-0
expect 0 "$bin/umount.imss" -u imss://again
empty_dir "$IMSS_SHM_DIR"
empty_dir "$XDG_RUNTIME_DIR"

# The metadata file outlives the deployment: the next one has the names, and says that the data of
# the earlier one is gone. New data can be stored under the same names.
expect 0 "${mount[@]}"
expect 0 "$bin/imss" ls -R imss://again
says out '^imss://again/dir:$'
says out '^data$'
expect 1 "$bin/imss" get imss://again/dir/data copy2
one_sentence 'imss get'
expect 0 "$bin/imss" put --force input imss://again/dir/data
everything_is_there
expect 0 "$bin/imss" check

# What datasets and directories were is shown by the next deployment as it was, data or not.
chmod 640 input
expect 0 "$bin/imss" put --policy HASH input imss://again/dir/deeper/more
expect 0 "$bin/imss" mkdir imss://again/empty
: > nothing
expect 0 "$bin/imss" put nothing imss://again/nothing
show() {
  "$bin/imss" ls -lR imss://again || fail "ls -lR"
  local name
  for name in '' /dir /dir/data /dir/deeper/more /empty /nothing; do "$bin/imss" stat "imss://again$name" || fail "stat $name"; done
}
show > before
expect 0 "$bin/umount.imss" -u imss://again
empty_dir "$IMSS_SHM_DIR"
for deployment in 1 2; do
  expect 0 "${mount[@]}"
  show > after
  diff before after || fail "deployment $deployment shows something else"
  expect 1 "$bin/imss" get imss://again/nothing copy3
  one_sentence 'imss get'
  expect 0 "$bin/umount.imss" -u imss://again
done
empty_dir "$IMSS_SHM_DIR"
finish
