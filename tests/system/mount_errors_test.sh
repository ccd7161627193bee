# What can go wrong with a mount: one clear sentence, the right exit code, and nothing left behind.
port_base=21400
. "$(dirname "$(readlink -f "$0")")/setup.bash"

nothing_left() {
  empty_dir "$IMSS_SHM_DIR"
  empty_dir "$XDG_RUNTIME_DIR"
}

expect 1 "$bin/mount.imss" -u imss://m --hostfile ./none
one_sentence mount.imss
says err 'there is no host file ./none'
nothing_left

echo 'node-that-is-elsewhere.example' > remote
expect 1 "$bin/mount.imss" -u imss://m --hostfile remote --launcher local
one_sentence mount.imss
says err 'is not this machine'
expect 1 "$bin/mount.imss" -u imss://m --meta-hostfile remote --launcher local
says err 'is not this machine'
expect 1 "$bin/mount.imss" -u imss://m --hostfile remote --launcher rocket
one_sentence mount.imss
says err "'rocket' is no launcher"
expect 1 "$bin/mount.imss" -u imss://m --hostfile remote --launcher /nowhere/ssh
says err 'launcher /nowhere/ssh is not installed'
printf 'local host\n' > bad
expect 1 "$bin/mount.imss" -u imss://m --hostfile bad
says err 'bad:1'
nothing_left

expect 1 "$bin/mount.imss" -u imss://m -S 1MiB
one_sentence mount.imss
says err 'data server 0, port 21400, did not start: .*16 MiB'
nothing_left
expect 2 "$bin/mount.imss" -u imss://m -S 12parsecs
says err '12parsecs'
expect 2 "$bin/mount.imss" -u nonsense
expect 2 "$bin/mount.imss" -u imss://m/dir
expect 2 "$bin/mount.imss" --no-such-option
expect 2 "$bin/mount.imss" surplus
expect 1 "$bin/mount.imss" -u imss://m -p 65535 -n 2
says err 'port'
nothing_left

# A server that is killed while it starts says so by its parent.
expect 1 env IMSS_FAULT=host.obtained:1:kill "$bin/mount.imss" -u imss://m -S 64MiB
one_sentence mount.imss
says err 'did not start: the server ended before it was ready: it was ended by signal 9 .SIGKILL.'
expect 1 env IMSS_FAULT=host.obtained:1:exit "$bin/server" metadata --port $metadata_port --capacity 64MiB --daemonize
one_sentence server
says err 'the server ended before it was ready: it ended with exit code'
rm -f "$IMSS_SHM_DIR"/imss-*
nothing_left

mkdir -m 755 open
expect 1 "$bin/mount.imss" -u imss://m --run-dir open
one_sentence mount.imss
says err 'open to other users'

# Twice, and a second instance on the ports of the first.
printf 'localhost\nlocalhost\n' > two
expect 0 "$bin/mount.imss" -u imss://m --hostfile two -S 64MiB
says out '2 data servers'
expect 1 "$bin/mount.imss" -u imss://m --hostfile two -S 64MiB
one_sentence mount.imss
says err 'mounted already'
expect 1 "$bin/mount.imss" -u imss://other -S 64MiB
one_sentence mount.imss
says err 'metadata server, port 21450, did not start: .*served already'
expect 1 "$bin/mount.imss" -u imss://other -S 64MiB -m 21460
one_sentence mount.imss
says err 'metadata server, port 21460, did not start: .*in use by another server'
expect 1 "$bin/mount.imss" -u imss://other -S 64MiB -m 21460 -M "$work/other"
one_sentence mount.imss
says err 'data server 0, port 21400, did not start: .*served already'
expect 1 "$bin/imss" status --port 21460
expect 0 "$bin/imss" ls imss://m
expect 0 "$bin/imss" status
[ "$(grep -c ' serving ' "$work/out")" -eq 2 ] || fail "the first instance suffered"

# A second instance beside the first, with ports of its own.
expect 0 "$bin/mount.imss" -u imss://other -S 64MiB -m 21460 -p 21410 -M "$work/other"
expect 0 "$bin/imss" ls --port 21460 imss://other
expect 0 "$bin/umount.imss" -u imss://other
expect 0 "$bin/imss" ls imss://m
expect 0 "$bin/umount.imss" -u imss://m
nothing_left

# A data server whose metadata server is missing gives up when it is told to.
"$bin/server" data --instance imss://m --capacity 64MiB --pid-file lonely.pid > lonely.log 2>&1 &
lonely=$!
until [ -s lonely.pid ] || ! kill -0 $lonely; do :; done
kill -TERM $lonely
wait $lonely
[ $? -eq 1 ] || fail "the lonely server did not fail"
grep -q '^server: no metadata server serves port 21450' lonely.log || fail "$(cat lonely.log)"
nothing_left
# A memory file system as small as containers have it: what fits is stored, the rest refused, and who cannot start
# says where there is no room. Only root can make one.
mkdir small tiny
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64m none small 2> /dev/null; then
  trap 'umount -l "$work/small" "$work/tiny"; end_test' EXIT
  mount -t tmpfs -o size=16m none tiny
  head -c 3000000 /dev/zero | tr '\0' x > input
  head -c 100000000 /dev/zero | tr '\0' y > large
  expect 0 env IMSS_SHM_DIR="$work/small" "$bin/mount.imss" -u imss://small -S 1GiB
  expect 0 env IMSS_SHM_DIR="$work/small" "$bin/imss" put input imss://small/input
  expect 1 env IMSS_SHM_DIR="$work/small" "$bin/imss" put large imss://small/large
  one_sentence 'imss put'
  says err 'no room is left'
  expect 0 env IMSS_SHM_DIR="$work/small" "$bin/imss" put input imss://small/more
  expect 0 env IMSS_SHM_DIR="$work/small" "$bin/imss" get imss://small/input copy
  same_file input copy
  expect 0 env IMSS_SHM_DIR="$work/small" "$bin/imss" check imss://small
  expect 0 env IMSS_SHM_DIR="$work/small" "$bin/umount.imss" -u imss://small
  empty_dir small
  expect 1 env IMSS_SHM_DIR="$work/tiny" "$bin/mount.imss" -u imss://small -S 1GiB
  one_sentence mount.imss
  says err "$work/tiny"
  empty_dir tiny
fi
finish
