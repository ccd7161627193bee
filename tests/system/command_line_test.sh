# Command lines: help, versions, exit codes, positional forms, JSON that parses.
port_base=21500
. "$(dirname "$(readlink -f "$0")")/setup.bash"

commands="status ls stat put get rm mkdir rmdir mv df check config placement bench"
expect 0 "$bin/imss" --help
cp out help
for command in $commands; do
  grep -q "^  $command " help || fail "imss --help does not name $command"
  expect 0 "$bin/imss" help "$command"
  cp out help_of_command
  says out "^ *imss $command "
  expect 0 "$bin/imss" "$command" --help
  same_file out help_of_command
  expect 2 "$bin/imss" "$command" --no-such-option
  says err "imss $command: .*no-such-option"
done
for command in $commands; do
  [ "$command" = placement ] || [ "$command" = bench ] && continue
  expect 0 "$bin/imss" "$command" --version
  [ "$command" = config ] && continue
  "$bin/imss" help "$command" | grep -q '^ *Example' || fail "no example in the help of $command"
done
for program in server mount.imss umount.imss; do
  expect 0 "$bin/$program" --help
  says out '^Examples:'
  expect 0 "$bin/$program" --version
  says out "^$program \(IMSS\) [0-9]"
  expect 2 "$bin/$program" --no-such-option
  says err "^$program: .*no-such-option"
done
expect 0 "$bin/imss" version
expect 2 "$bin/imss"
expect 2 "$bin/imss" dance
says err "no command 'dance'"
expect 2 "$bin/imss" help dance
for call in stat put "put input" get "get imss://x/a" rm mkdir rmdir mv "mv imss://x/a" \
  "status surplus" "ls --port 0" "ls --port 70000"; do
  expect 2 "$bin/imss" $call
done
for call in "" metadata\ surplus "file port 0" "./m 5569" "metadata --servers 2" "data --file m"; do
  expect 2 "$bin/server" $call
done
expect 1 "$bin/imss" status
one_sentence 'imss status'
says err "no metadata server serves port $metadata_port"

# The positional forms that users know.
echo localhost > hostfile
expect 0 "$bin/server" ./metadata $metadata_port 0 --daemonize --pid-file metadata.pid --log m.log
expect 0 "$bin/server" imss:// $data_port 1 localhost $metadata_port 1 ./hostfile 1 --daemonize \
  --pid-file data.pid
expect 1 "$bin/server" ./metadata $metadata_port 0
one_sentence server
says err 'served already'
head -c 100000 "$bin/imss" > input
expect 0 "$bin/imss" put input imss:///a/b
expect 0 "$bin/imss" ls
says out '^a$'
printf 'x' > odd
odd=$(printf 'imss:///a/"q\\ \001 \377')
expect 0 "$bin/imss" put odd "$odd"
expect 2 "$bin/imss" ls nonsense
expect 1 "$bin/imss" ls imss://none
one_sentence 'imss ls'
expect 0 "$bin/imss" put input imss:///a
expect 1 "$bin/imss" put input imss:///a/b/c
expect 1 "$bin/imss" put /dev/null imss:///null
says err 'not a regular file'
expect 2 "$bin/imss" put --policy FOO input imss:///c
expect 1 "$bin/imss" put --replicas 2 input imss:///c

expect 1 "$bin/imss" check imss-data-1-1
says out 'cannot be checked: there is no segment'
head -c 4194304 /dev/zero > "$IMSS_SHM_DIR/imss-data-9-9"
expect 1 "$bin/imss" check
says out '^imss-data-9-9: cannot be checked'
[ "$(grep -c ': sound' "$work/out")" -eq 2 ] || fail "a foreign file spoils the check of the others"
rm "$IMSS_SHM_DIR/imss-data-9-9"

# A put that is interrupted stores nothing; 2 GiB do not fit, should the signal come too late.
truncate -s 2G sparse
"$bin/imss" put sparse imss:///sparse 2> err &
put=$!
until "$bin/imss" ls -a imss:// | grep -q '^\.imss-put' || ! kill -0 $put 2> /dev/null; do :; done
kill -TERM $put 2> /dev/null
wait $put
[ $? -ne 0 ] || fail "an interrupted put succeeded"
expect 0 "$bin/imss" ls -a imss://
grep -q 'put\|sparse' out && fail "an interrupted put left $(cat out)"

if command -v python3 > /dev/null; then
  for call in "status" "ls -R imss://" "ls imss:///a" "stat -L imss:///a/b imss:///a imss://" df check config; do
    "$bin/imss" $call --json | python3 -m json.tool > /dev/null || fail "imss $call --json does not parse"
  done
  "$bin/imss" ls --json imss:///a | python3 -c '
import json, sys
names = {e["name"] for e in json.load(sys.stdin)}
assert "\"q\\ \x01 \udcff" in names, names' || fail "an odd name does not survive JSON"
  "$bin/imss" config --json | IMSS_X=1 python3 -c '
import json, os, sys
rows = {r["key"]: r for r in json.load(sys.stdin)}
assert rows["METADATA_PORT"]["origin"] == "environment IMSS_METADATA_PORT", rows
assert rows["POLICY"]["origin"] == "built-in", rows' || fail "origins are wrong"
fi

# SIGTERM keeps the segment, SIGUSR1 removes it; both take the pid file away.
for signal in TERM USR1; do
  for name in data metadata; do
    pid=$(cat $name.pid)
    kill -$signal "$pid"
    wait_for_end "$pid"
    [ ! -e $name.pid ] || fail "$name.pid is left after SIG$signal"
  done
  if [ $signal = TERM ]; then
    [ "$(find "$IMSS_SHM_DIR" -type f | wc -l)" -eq 2 ] || fail "SIGTERM removed a segment"
    says_served=$("$bin/server" ./metadata $metadata_port 0 -d --pid-file metadata.pid --log m.log && cat m.log)
    echo "$says_served" | grep -q 'serving what was there' || fail "not taken over: $says_served"
    expect 0 "$bin/server" data -u imss:// -p $data_port -d --pid-file data.pid
    expect 0 "$bin/imss" get imss:///a/b copy
    same_file input copy
  fi
done
empty_dir "$IMSS_SHM_DIR"
finish
