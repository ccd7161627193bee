# Command lines: help, versions, exit codes, positional forms, JSON that parses.
port_base=21500
. "$(dirname "$(readlink -f "$0")")/setup.bash"

commands="status ls stat put get rm mkdir rmdir ln mv df check config placement bench"
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
expect 2 "$bin/imss" version surplus
for call in stat put "put input" get "get imss://x/a" rm mkdir rmdir ln "ln imss://x/a" mv "mv imss://x/a" \
  "status surplus" "ls --port 0" "ls --port 70000"; do
  expect 2 "$bin/imss" $call
done
for call in "" metadata\ surplus "file port 0" "./m 5569" "metadata --instance imss://x" "data --file m"; do
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
expect 0 "$bin/imss" ln imss:///a/b imss:///a/c
expect 0 "$bin/imss" ln -s c imss:///a/link
expect 0 "$bin/imss" rm imss:///a/b
expect 0 "$bin/imss" get imss:///a/link linked
same_file input linked
expect 0 "$bin/imss" ls -l imss:///a
says out 'link -> c$'
expect 0 "$bin/imss" stat imss:///a/link
says out 'Target: c$'
expect 1 "$bin/imss" ln imss:///a imss:///d
expect 1 "$bin/imss" ln imss:///none imss:///d
expect 1 "$bin/imss" ln -s c imss:///a/link
expect 0 "$bin/imss" mv imss:///a/c imss:///a/b
expect 1 "$bin/imss" get imss:///a/link linked
expect 0 "$bin/imss" rm imss:///a/link
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
# The same while it waits for input that does not come.
mkfifo silent
"$bin/imss" put - imss:///silent < silent 2> err &
put=$!
exec {writer}> silent
until "$bin/imss" ls -a imss:// | grep -q '^\.imss-put' || ! kill -0 $put 2> /dev/null; do :; done
kill -TERM $put 2> /dev/null
wait_for_end $put
wait $put
[ $? -ne 0 ] || fail "a put that waited and was interrupted succeeded"
exec {writer}>&-
expect 0 "$bin/imss" ls -a imss://
grep -q 'put\|sparse\|silent' out && fail "an interrupted put left $(cat out)"

# Standard input and output: nothing, less than a block, whole blocks, and blocks with a rest.
for bytes in 0 1 65536 131072 1000003; do
  head -c $bytes "$bin/imss" > piece
  cat piece | "$bin/imss" put --block-size 64KiB - imss:///piped || fail "put of $bytes bytes from a pipe"
  "$bin/imss" get imss:///piped - | cmp - piece || fail "$bytes bytes went through a pipe"
  expect 0 "$bin/imss" stat imss:///piped
  says out "Size: *$bytes "
  expect 0 "$bin/imss" rm imss:///piped
done
"$bin/imss" put - imss:///piped < input || fail "put with a file as standard input"
expect 1 "$bin/imss" put - imss:///piped
says err 'exists'
"$bin/imss" put --force - imss:///piped < odd || fail "put --force from standard input"
"$bin/imss" get imss:///piped - | cmp - odd || fail "put --force from standard input"
expect 0 "$bin/imss" mkdir imss:///folder
expect 1 "$bin/imss" put - imss:///folder
says err 'is a directory'
"$bin/imss" get imss:///a/b - 2> err > /dev/full && fail "get into a full device succeeded"
one_sentence 'imss get'

# What placement says of a size no test machine has.
expect 0 "$bin/imss" placement --policy HRW --servers 1000 --blocks 100000 --add 1
says out '^HRW .*%.*%'
expect 0 "$bin/imss" placement --servers 7 --blocks 7000
[ "$(grep -cE '^(RR|BUCKETS|HASH|CRC16b|CRC64b|LOCAL|HRW) ' out)" -eq 7 ] || fail "not all policies: $(cat out)"
says out '^RR +1000 +1000\.00 +1000 '
expect 2 "$bin/imss" placement --policy FOO
says err "imss placement: .*FOO"
expect 2 "$bin/imss" placement --blocks -1
expect 2 "$bin/imss" placement surplus
for call in "--servers 2 --replicas 5" "--servers 0" "--blocks 0" "--replicas 0" "--servers 2 --remove 2" \
  "--add 1 --remove 1" "--servers many" "--servers"; do
  expect 2 "$bin/imss" placement $call
  says err '^imss placement: '
done

# JSON from standard input, as far as this machine can tell.
parses() {
  if command -v python3 > /dev/null; then
    python3 -m json.tool > /dev/null
  elif command -v jq > /dev/null; then
    jq . > /dev/null
  else
    tr -d '\n' | grep -Eq '^(\[.*\]|\{.*\})$'
  fi
}
quick_bench="bench --quick --attached --sizes 4KiB --threads 1 --processes 1 --no-names"
for call in status "ls -R imss://" "ls imss:///a" "stat -L imss:///a/b imss:///a imss://" df check config \
  "check --export exported imss://" "placement --servers 5 --blocks 100" \
  "placement --policy HRW --servers 5 --blocks 100 --remove 1" "$quick_bench"; do
  "$bin/imss" $call --json < /dev/null > json 2> err || fail "imss $call --json fails: $(cat err)"
  parses < json || fail "imss $call --json does not parse"
done
expect 2 "$bin/imss" bench --sizes 1000
expect 2 "$bin/imss" bench --growth-bytes 1GiB
if command -v python3 > /dev/null; then
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
