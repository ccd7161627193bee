# What other processes of a node may do with a server's memory (--share), other users among them, and
# clients that cannot map it.
port_base=24100
. "$(dirname "$(readlink -f "$0")")/setup.bash"
chmod 755 "$IMSS_SHM_DIR" "$work"
umask 022

cat "$bin/imss" "$bin/imss" | head -c 3000001 > input
imss=$bin/imss
# life_cycle NAME: everything that a client does.
life_cycle() {
  expect 0 "$imss" mkdir "imss://$1/dir"
  expect 0 "$imss" put input "imss://$1/dir/data"
  expect 0 "$imss" get "imss://$1/dir/data" copy
  same_file input copy
  expect 0 "$imss" mv "imss://$1/dir/data" "imss://$1/dir/moved"
  expect 0 "$imss" ls -l "imss://$1/dir"
  says out '3000001 .* moved$'
  expect 0 "$imss" stat "imss://$1/dir/moved"
  expect 0 "$imss" df
  expect 0 "$imss" status
  expect 0 "$imss" rm -r "imss://$1/dir"
  expect 0 "$imss" put input "imss://$1/kept"
}
modes() {
  local file
  for file in "$IMSS_SHM_DIR"/imss-*; do
    [ "$(stat -c %a "$file")" = "$1" ] || fail "$file has mode $(stat -c %a "$file"), not $1"
  done
}
# Another user of this node. Only root can become one.
may_switch=no
[ "$(id -u)" = 0 ] && setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$imss" && may_switch=yes
as_other() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
other_dir=$work/other
mkdir -m 777 "$other_dir"

# --- ro: the owner works, others read ---
expect 0 "$bin/mount.imss" -u imss://ro -S 64MiB --share ro
modes 644
life_cycle ro
expect 0 "$imss" status --json
says out '"sharing": *"ro"'
expect 0 "$imss" status
says out 'shared ro'
if [ $may_switch = yes ]; then
  expect 0 as_other "$imss" get imss://ro/kept "$other_dir/copy"
  same_file input "$other_dir/copy"
  expect 0 as_other "$imss" ls -l imss://ro
  says out 'kept$'
  expect 0 as_other "$imss" stat imss://ro/kept
  expect 1 as_other "$imss" put input imss://ro/new
  says err 'ermission denied|read from and not written'
  expect 1 as_other "$imss" rm imss://ro/kept
  expect 1 as_other "$imss" mkdir imss://ro/dir
  expect 1 as_other "$imss" mv imss://ro/kept imss://ro/other
  expect 1 as_other "$imss" stop --all
  expect 0 "$imss" get imss://ro/kept copy
  same_file input copy
fi
expect 0 "$bin/umount.imss" -u imss://ro
empty_dir "$IMSS_SHM_DIR"

# --- none: everything by message, of the owner alone ---
mount=("$bin/mount.imss" -u imss://none -n 2 -S 64MiB --share none)
expect 0 "${mount[@]}"
modes 600
life_cycle none
expect 0 "$imss" status
says out 'shared none'
if [ $may_switch = yes ]; then
  expect 1 as_other "$imss" get imss://none/kept "$other_dir/copy"
  says err 'belongs to another user'
  one_sentence 'imss get'
fi
# Killed and started again, it goes on.
kill -9 "$(cat "$XDG_RUNTIME_DIR/imss/instance-none/data-0.pid")"
wait_for_end "$(cat "$XDG_RUNTIME_DIR/imss/instance-none/data-0.pid")"
expect 0 "${mount[@]}"
expect 0 "$imss" get imss://none/kept copy
same_file input copy
# A process without the address space, and one that sees another shared-memory file system.
expect 0 prlimit --as=8589934592 "$imss" get imss://none/kept copy
same_file input copy
mkdir elsewhere
expect 0 env IMSS_SHM_DIR="$work/elsewhere" "$imss" get imss://none/kept copy
same_file input copy
expect 0 "$bin/umount.imss" -u imss://none
empty_dir "$IMSS_SHM_DIR"

# --- rw: others have no way, and are told what would help ---
expect 0 "$bin/mount.imss" -u imss://rw -S 64MiB
modes 600
expect 0 "$imss" put input imss://rw/kept
expect 1 prlimit --as=8589934592 "$imss" get imss://rw/kept copy
says err '--share='
one_sentence 'imss get'
expect 0 "$bin/umount.imss" -u imss://rw
# With an address they have, and everybody else maps.
expect 0 "$bin/server" metadata --port "$metadata_port" -S 64MiB --address localhost --daemonize \
  --pid-file "$work/m.pid"
expect 0 "$bin/server" data -u imss://open --port "$data_port" -S 64MiB --address localhost --daemonize \
  --pid-file "$work/d.pid"
expect 0 "$imss" put input imss://open/kept
expect 0 prlimit --as=8589934592 "$imss" get imss://open/kept copy
same_file input copy
expect 0 "$imss" stop --all --retire

# --- the option ---
expect 2 "$bin/server" metadata --share
expect 1 "$bin/server" metadata --share all
says err "'all' is not rw, ro or none"
expect 1 "$bin/mount.imss" -u imss://x --share all
says err "'all' is not rw, ro or none"
expect 0 env IMSS_SHARE=none "$imss" config
says out '^SHARE +none +.*IMSS_SHARE'
finish
