# A detached instance from mount to umount: everything a user does in between, and nothing is left.
port_base=21200
. "$(dirname "$(readlink -f "$0")")/setup.bash"

# Not a multiple of the block size, and a name with a blank, a quote and a byte that is no UTF-8.
cat "$bin/imss" "$bin/imss" "$bin/server" "$bin/server" "$bin/server" | head -c 4000001 > input
[ "$(stat -c %s input)" -eq 4000001 ] || fail "the input is too small"
odd=$(printf "imss://life/dir/a 'b\" \\377")

expect 0 "$bin/mount.imss" -u imss://life -n 2 -S 64MiB
says out 'imss://life is ready: 2 data servers'
[ "$(stat -c %a "$XDG_RUNTIME_DIR/imss")" = 700 ] || fail "others can reach the run directory"
for pid in $(cat "$XDG_RUNTIME_DIR"/imss/*/*.pid); do
  [ "$(ps -o sid= -p "$pid" | tr -d ' ')" != "$(ps -o sid= -p $$ | tr -d ' ')" ] ||
    fail "process $pid would end with the terminal"
done
expect 0 "$bin/imss" status
says out 'imss://life  detached, servers'
[ "$(grep -c ' serving ' "$work/out")" -eq 2 ] || fail "not two serving data servers"

expect 0 "$bin/imss" put input imss://life/dir/data
expect 1 "$bin/imss" put input imss://life/dir/data
one_sentence 'imss put'
says err 'exists'
expect 0 "$bin/imss" put --force input imss://life/dir/data
expect 0 "$bin/imss" put --block-size 64KiB --policy HASH --replicas 2 input "$odd"
: > empty
expect 0 "$bin/imss" put empty imss://life/empty
expect 0 "$bin/imss" ls -l imss://life/dir
says out "^-rw.* $(stat -c %s input) .* data$"
[ "$(wc -l < "$work/out")" -eq 2 ] || fail "not two names: $(cat "$work/out")"
expect 0 "$bin/imss" ls -R imss://life
says out '^imss://life/dir:$'
expect 0 "$bin/imss" stat imss://life/dir/data
says out "Size: $(stat -c %s input) "
expect 0 "$bin/imss" stat "$odd"
says out 'Policy: HASH'
says out 'Replicas: 2'

expect 0 "$bin/imss" get imss://life/dir/data copy
same_file input copy
expect 0 "$bin/imss" get "$odd" copy
same_file input copy
"$bin/imss" get imss://life/dir/data - | cmp - input || fail "get to standard output differs"
expect 0 "$bin/imss" get imss://life/empty copy
same_file empty copy
expect 1 "$bin/imss" get imss://life/none copy2
[ ! -e copy2 ] || fail "a get that failed made a file"

expect 0 "$bin/imss" mkdir -p imss://life/a/b/c
expect 1 "$bin/imss" mkdir imss://life/a/b
expect 0 "$bin/imss" mv imss://life/dir/data imss://life/a/b
expect 1 "$bin/imss" stat imss://life/dir/data
expect 0 "$bin/imss" mv imss://life/a imss://life/moved
expect 0 "$bin/imss" get imss://life/moved/b/data copy
same_file input copy
expect 1 "$bin/imss" mv imss://life/moved imss://life/moved/b/c
one_sentence 'imss mv'
expect 1 "$bin/imss" rmdir imss://life/moved
expect 0 "$bin/imss" rmdir imss://life/moved/b/c
expect 1 "$bin/imss" rm imss://life/moved
says err '-r'
used() { "$bin/imss" df --json | grep -o '"used_bytes": [0-9]*' | awk '{sum += $2} END {print sum}'; }

# A file that does not fit is refused with a sentence and leaves neither a name nor used memory.
before=$(used)
truncate -s 150M large
expect 1 "$bin/imss" put large imss://life/dir/large
one_sentence 'imss put'
says err 'capacity'
expect 0 "$bin/imss" ls -a imss://life/dir
grep -q 'large\|put' "$work/out" && fail "a put that failed left $(cat "$work/out")"
after=$(used)
[ $after -le $((before + 4000000)) ] || fail "a put that failed keeps $((after - before)) bytes"
expect 0 "$bin/imss" get imss://life/moved/b/data copy
same_file input copy

before=$(used)
expect 0 "$bin/imss" rm -r imss://life/moved imss://life/dir
after=$(used)
[ $((before - after)) -ge 11000000 ] || fail "rm gave back only $((before - after)) bytes"
expect 1 "$bin/imss" rm imss://life/moved
expect 0 "$bin/imss" rm -f imss://life/moved
expect 0 "$bin/imss" ls imss://life
[ "$(cat "$work/out")" = empty ] || fail "left: $(cat "$work/out")"
expect 0 "$bin/imss" df imss://life
says out '64 MiB'

expect 0 "$bin/imss" check imss://life
[ "$(grep -c ': sound' "$work/out")" -eq 3 ] || fail "not three sound segments: $(cat "$work/out")"

expect 0 "$bin/umount.imss" -u imss://life
empty_dir "$IMSS_SHM_DIR"
empty_dir "$XDG_RUNTIME_DIR"
expect 1 "$bin/umount.imss" -u imss://life
one_sentence umount.imss
says err 'imss://life is not mounted'
expect 1 "$bin/imss" ls imss://life
one_sentence 'imss ls'
finish
